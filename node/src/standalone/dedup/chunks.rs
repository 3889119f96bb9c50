//! [`ChunkReader`]: the chunks of every file, counted.

use super::super::{Context, RunError, default_threads};
use super::forest::{Faults, Forest, Found};
use super::parallel;
use super::sets::SHARED_FILE_BYTES;
use super::tally::{ChunkTotals, Tally};
use orbit_core::system::{ChunkDetail, SystemError};
use orbit_core::{Chunk, RelPath};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Files that are read together.
const BATCH_FILES: usize = 1024;

/// Reads files in batches, by several threads, and counts their chunks. Holds those of the files in hand: 36 bytes
/// each, 600 KB for a GB.
pub(super) struct ChunkReader<'r> {
    context: &'r Context,
    forest: &'r Forest<'r>,
    waiting: Vec<Waiting>,
    tally: Mutex<Tally>,
}

struct Waiting {
    tree: usize,
    path: RelPath,
    size: u64,
}

impl<'r> ChunkReader<'r> {
    pub fn new(context: &'r Context, forest: &'r Forest<'r>) -> Self {
        let tally = Mutex::new(Tally::new(&context.state_dir));
        Self { context, forest, waiting: Vec::new(), tally }
    }

    /// Takes a file, and reads all that wait if they are many.
    pub fn push(&mut self, found: Found<'_>, faults: &mut Faults) {
        let path = found.directory.join(found.name).expect("a path from a listing is a path");
        self.waiting.push(Waiting { tree: found.tree, path, size: found.metadata.size });
        if self.waiting.len() >= BATCH_FILES {
            self.read(faults);
        }
    }

    /// Reads what still waits, and counts.
    pub fn finish(mut self, faults: &mut Faults) -> Result<ChunkTotals, RunError> {
        self.read(faults);
        if self.context.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        let tally = self.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        tally.finish().map_err(|source| {
            let path = self.context.state_dir.clone();
            RunError::Path { operation: "sort chunk hashes in", path, source }
        })
    }

    fn read(&mut self, faults: &mut Faults) {
        let waiting = std::mem::take(&mut self.waiting);
        let read =
            parallel::map(&waiting, self.forest.calls(), &self.context.stop, |file| self.read_file(file));
        for (file, result) in waiting.iter().zip(read) {
            if let Some(Err(error)) = result {
                faults.report(self.forest, file.tree, error);
            }
        }
    }

    /// Counts the chunks of a file when all are there: those of one that failed say nothing.
    fn read_file(&self, file: &Waiting) -> Result<(), SystemError> {
        self.context.progress.set_current(|| file.path.display().into_owned());
        let threads = if file.size >= SHARED_FILE_BYTES { default_threads() } else { 1 };
        let site = self.forest.site(file.tree).with_threads(threads);
        let mut chunks: Vec<Chunk> = Vec::new();
        site.system().chunk(&file.path, ChunkDetail::Chunks, &mut |chunk| chunks.push(chunk))?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in &chunks {
            tally.add(chunk);
        }
        drop(tally);
        self.context.progress.bytes_done.fetch_add(file.size, Ordering::Relaxed);
        Ok(())
    }
}
