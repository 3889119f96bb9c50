//! [`Copying`]: the bytes of one file on their way, with checkpoints where it is large.

use super::Run;
use super::stage::{ItemFault, change_to};
use crate::disk::SCALE;
use crate::plant::Plant;
use crate::store::Checkpoint;
use orbit_core::batcher::LARGE_FILE_BYTES;
use orbit_core::system::{OrbitSystem, SourceFile, SystemError};
use orbit_core::writer::{Layout, OrbitWriter, Outline, Place, StagedFile, StagedName, WriteMode};
use orbit_core::{Metadata, RelPath};

/// A file being copied.
pub struct Copying {
    path: RelPath,
    source: Box<dyn SourceFile>,
    /// The source as it was when it was opened.
    fresh: Metadata,
    staged: Box<dyn StagedFile>,
    bytes: Vec<u8>,
    checkpointed: usize,
}

impl Copying {
    /// Opens both ends; a large file goes on where a checkpoint that fits says.
    pub fn begin(
        run: &Run<'_>,
        path: &RelPath,
        planned: &Metadata,
        place: Place<'_>,
    ) -> Result<Self, ItemFault> {
        let source = run.source.open(path)?;
        let fresh = source.metadata().map_err(SystemError::io("read", path))?;
        if run.strict && fresh.identity() != planned.identity() {
            return Err(SystemError::Changed { path: path.clone() }.into());
        }
        let is_large = fresh.size >= LARGE_FILE_BYTES;
        let resumed = if is_large { find(run, path, &fresh)? } else { None };
        let (staged, bytes) = if let Some(resumed) = resumed {
            resumed
        } else {
            let outline = Outline {
                size: fresh.size,
                mode: fresh.attributes.mode,
                layout: Layout::Dense,
                write: if is_large { WriteMode::Direct } else { WriteMode::Cached },
            };
            (run.writer.stage_file(place, outline)?, Vec::new())
        };
        let checkpointed = bytes.len();
        Ok(Self { path: path.clone(), source, fresh, staged, bytes, checkpointed })
    }

    /// Copies a piece, or brings the copy to its end: its name and what is in it.
    pub fn advance(&mut self, run: &Run<'_>) -> Result<Option<(StagedName, Vec<u8>)>, ItemFault> {
        let result = self.go_on(run);
        match &result {
            Err(ItemFault::Stopped) if self.checkpoint(run).is_ok() => {}
            Err(_) => run.writer.discard(self.staged.name()),
            Ok(_) => {}
        }
        result
    }

    fn go_on(&mut self, run: &Run<'_>) -> Result<Option<(StagedName, Vec<u8>)>, ItemFault> {
        let is_large = self.fresh.size >= LARGE_FILE_BYTES;
        if is_large && run.halt.get() {
            return Err(ItemFault::Stopped);
        }
        let (offset, len) = (self.bytes.len(), (self.fresh.size / SCALE) as usize);
        if offset >= len {
            return self.end(run).map(Some);
        }
        let mut piece = vec![0; (1 + run.random.below(3)).min(len - offset)];
        let read = self.source.read_at(&mut piece, offset as u64);
        let read = read.map_err(SystemError::io("read", &self.path))?;
        if read != piece.len() {
            return Err(SystemError::Changed { path: self.path.clone() }.into());
        }
        let wrote = self.staged.write_at(&piece, offset as u64);
        wrote.map_err(SystemError::io("write", &self.path))?;
        self.bytes.extend(piece);
        if is_large && run.random.one_in(3) {
            // Not being able to remember is no reason not to copy.
            let _ = self.checkpoint(run);
        }
        Ok(None)
    }

    fn end(&mut self, run: &Run<'_>) -> Result<(StagedName, Vec<u8>), ItemFault> {
        if self.checkpointed > 0 {
            run.store.borrow_mut().checkpoints.remove(&self.path);
        }
        let attributes = self.staged.set_attributes(&change_to(&self.fresh));
        attributes.map_err(SystemError::io("set the attributes of", &self.path))?;
        let after = self.source.metadata().map_err(SystemError::io("read", &self.path))?;
        if after.identity() != self.fresh.identity() {
            return Err(SystemError::Changed { path: self.path.clone() }.into());
        }
        Ok((self.staged.name().clone(), std::mem::take(&mut self.bytes)))
    }

    fn checkpoint(&mut self, run: &Run<'_>) -> std::io::Result<()> {
        self.staged.sync()?;
        let stage_name = self.staged.name().clone();
        let checkpoint = Checkpoint { stage_name, source: self.fresh.identity(), bytes: self.bytes.clone() };
        run.store.borrow_mut().checkpoints.insert(self.path.clone(), checkpoint);
        self.checkpointed = self.bytes.len();
        Ok(())
    }
}

type Resumed = (Box<dyn StagedFile>, Vec<u8>);

/// The checkpoint of this file, if it fits the source as it is now, and as much of it as reads back right.
fn find(run: &Run<'_>, path: &RelPath, fresh: &Metadata) -> Result<Option<Resumed>, ItemFault> {
    let Some(checkpoint) = run.store.borrow().checkpoints.get(path).cloned() else { return Ok(None) };
    let takes_any = run.settings.plant == Some(Plant::KeepStaleStage);
    if checkpoint.source != fresh.identity() && !takes_any {
        return Ok(None);
    }
    let Some(staged) = run.writer.reopen_staged(&checkpoint.stage_name)? else { return Ok(None) };
    let mut bytes = vec![0; checkpoint.bytes.len().min((fresh.size / SCALE) as usize)];
    let read = staged.read_at(&mut bytes, 0).unwrap_or(0);
    let good =
        bytes[..read].iter().zip(&checkpoint.bytes).take_while(|(found, known)| found == known).count();
    bytes.truncate(good);
    Ok(Some((staged, bytes)))
}
