//! Copying a large file with checkpoints, from the start or from where an earlier run stopped.

use super::{Copied, DataRanges, PIECE_BYTES, PIECES_IN_FLIGHT, Passing, Piece, buffers};
use super::{arrived_unharmed, damaged, finish_len, read_full, read_full_staged};
use crate::local::writer::AlignedBuffer;
use crate::standalone::progress::Work;
use crate::standalone::run::{ItemFault, Run};
use orbit_cdc::hash_bytes;
use orbit_core::system::{SourceFile, SystemError};
use orbit_core::writer::{OrbitWriter, StagedFile, StagedName};
use orbit_core::{Chunk, Metadata, RelPath};
use orbit_store::Checkpoint;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// A checkpoint is written after so much time: a kill costs no more work than this.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);

/// A staged file and how far it is known to be good.
pub(in super::super) struct Resumed {
    staged: Box<dyn StagedFile>,
    pieces: Vec<Piece>,
    /// Pieces that the checkpoint already names.
    checkpointed: usize,
    offset: u64,
    last_checkpoint: Instant,
}

/// Looks for a checkpoint of this file that fits the source as it is now, and keeps as much of it as reads back right.
pub(super) fn find(run: &Run<'_>, path: &RelPath, fresh: &Metadata) -> Result<Option<Resumed>, ItemFault> {
    let Some((name, chunks)) = stored(run, path, fresh) else { return Ok(None) };
    let Some(staged) = run.writer.reopen_staged(&name)? else { return Ok(None) };
    let mut resumed = Resumed::fresh(staged);
    let mut buffer = vec![0; PIECE_BYTES];
    for chunk in chunks {
        let Some(bytes) = buffer.get_mut(..chunk.len as usize) else { break };
        let read = read_full_staged(resumed.staged.as_ref(), bytes, resumed.offset).unwrap_or(0);
        if read != bytes.len() || hash_bytes(bytes) != chunk.hash {
            break;
        }
        resumed.pieces.push(Piece { offset: resumed.offset, len: chunk.len, hash: chunk.hash });
        resumed.offset += u64::from(chunk.len);
    }
    resumed.checkpointed = resumed.pieces.len();
    run.counters.bytes_reused.fetch_add(resumed.offset, Ordering::Relaxed);
    run.context.progress.bytes_done.fetch_add(resumed.offset, Ordering::Relaxed);
    Ok(Some(resumed))
}

/// The checkpoint as it is stored. One that does not fit, or cannot be read, is as good as none.
fn stored(run: &Run<'_>, path: &RelPath, fresh: &Metadata) -> Option<(StagedName, Vec<Chunk>)> {
    let mut jobs = run.state.jobs();
    let found = jobs.checkpoint(&run.destination_key, path.as_bytes()).ok().flatten()?;
    if found.checkpoint.source != fresh.identity() {
        return None;
    }
    let name = RelPath::new(found.checkpoint.stage_name).ok()?;
    let chunks = jobs.checkpoint_chunks(&run.destination_key, path.as_bytes()).ok()?;
    Some((StagedName(name), chunks.map_while(Result::ok).flatten().collect()))
}

impl Resumed {
    /// Starts at the beginning of a staged file.
    pub(super) fn fresh(staged: Box<dyn StagedFile>) -> Self {
        Self { staged, pieces: Vec::new(), checkpointed: 0, offset: 0, last_checkpoint: Instant::now() }
    }

    /// What is known to be good so far.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        self.pieces.clone()
    }

    /// Takes note of a piece that is being written next.
    pub(super) fn push(&mut self, piece: Piece) {
        self.pieces.push(piece);
    }

    /// Writes bytes of which the pieces were noted.
    pub(super) fn write(
        &mut self,
        run: &Run<'_>,
        bytes: &[u8],
        offset: u64,
        path: &RelPath,
    ) -> Result<(), ItemFault> {
        let wrote = run.context.progress.timed(Work::Write, || self.staged.write_at(bytes, offset));
        wrote.map_err(SystemError::io("write", path))?;
        run.count_written(bytes.len() as u64);
        self.offset = offset + bytes.len() as u64;
        Ok(())
    }

    /// Writes a checkpoint if the last was long ago. Not being able to remember is no reason not to copy.
    pub(super) fn checkpoint_if_due(&mut self, run: &Run<'_>, fresh: &Metadata, path: &RelPath) {
        if self.last_checkpoint.elapsed() >= CHECKPOINT_EVERY {
            if self.checkpoint(run, fresh, path).is_err() {
                tracing::warn!(%path, "cannot write a checkpoint");
            }
            self.last_checkpoint = Instant::now();
        }
    }

    /// All bytes are there.
    pub(super) fn complete(
        self,
        run: &Run<'_>,
        fresh: &Metadata,
        path: &RelPath,
    ) -> Result<Copied, ItemFault> {
        let Self { staged, pieces, checkpointed, .. } = self;
        Ok(Copied { staged: finish_len(run, staged, fresh, path)?, pieces, has_checkpoint: checkpointed > 0 })
    }

    /// The file will not be complete in this run. What the next one can go on with is kept.
    pub(super) fn give_up(
        &mut self,
        run: &Run<'_>,
        fault: ItemFault,
        fresh: &Metadata,
        path: &RelPath,
    ) -> ItemFault {
        // A file with holes is not checkpointed: chunks follow each other without gaps.
        let is_dense = fresh.allocated >= fresh.size;
        // Pieces that were noted and not written are no part of it.
        self.pieces.retain(|piece| piece.offset + u64::from(piece.len) <= self.offset);
        if fault.is_stop() && is_dense && self.checkpoint(run, fresh, path).is_ok() {
            return fault;
        }
        run.writer.discard(self.staged.name());
        if self.checkpointed > 0 {
            run.forget_checkpoint(path);
        }
        fault
    }

    /// Copies the rest: this thread writes, another one reads and hashes.
    pub(super) fn go_on(
        mut self,
        run: &Run<'_>,
        source: &dyn SourceFile,
        fresh: &Metadata,
        path: &RelPath,
    ) -> Result<Copied, ItemFault> {
        // A file with holes is not checkpointed: chunks follow each other without gaps.
        let is_dense = fresh.allocated >= fresh.size;
        let offset = self.offset;
        let result = std::thread::scope(|scope| {
            let (give_back, empty) = buffers();
            let (send, filled) = sync_channel(PIECES_IN_FLIGHT);
            scope.spawn(move || read_pieces(run, source, fresh, offset, &empty, &send));
            // Dropping this end of the channels ends the reader, whatever it waits for.
            self.write_pieces(run, fresh, path, is_dense, &filled, &give_back)
        });
        match result {
            Ok(()) => self.complete(run, fresh, path),
            Err(fault) => Err(self.give_up(run, fault, fresh, path)),
        }
    }

    fn write_pieces(
        &mut self,
        run: &Run<'_>,
        fresh: &Metadata,
        path: &RelPath,
        is_dense: bool,
        filled: &Receiver<io::Result<Passing>>,
        give_back: &SyncSender<AlignedBuffer>,
    ) -> Result<(), ItemFault> {
        while let Ok(passing) = filled.recv() {
            if run.is_stopping() {
                return Err(ItemFault::Stopped);
            }
            let Passing { buffer, piece } = passing.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => {
                    SystemError::Changed { path: path.clone() }
                }
                io::ErrorKind::InvalidData if error.get_ref().is_none() => damaged(path),
                _ => SystemError::io("read", path)(error),
            })?;
            run.throttle(u64::from(piece.len));
            self.write(run, &buffer[..piece.len as usize], piece.offset, path)?;
            self.pieces.push(piece);
            // The reader may be gone already; then nobody needs the buffer.
            let _ = give_back.send(buffer);
            if is_dense {
                self.checkpoint_if_due(run, fresh, path);
            }
        }
        Ok(())
    }

    fn checkpoint(
        &mut self,
        run: &Run<'_>,
        fresh: &Metadata,
        path: &RelPath,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.staged.sync()?;
        let checkpoint = Checkpoint {
            destination_root: run.destination_key.clone(),
            path: path.as_bytes().to_vec(),
            stage_name: self.staged.name().0.as_bytes().to_vec(),
            source: fresh.identity(),
            verified_len: self.offset,
        };
        let chunks: Vec<_> =
            self.pieces[self.checkpointed..].iter().map(|p| Chunk { hash: p.hash, len: p.len }).collect();
        run.state.jobs().put_checkpoint(&checkpoint, self.checkpointed as u64, &chunks)?;
        self.checkpointed = self.pieces.len();
        run.keep_staged(self.staged.name());
        Ok(())
    }
}

/// The reading thread: fills buffers, hashes them and passes them on until the data ends or the writer is gone.
fn read_pieces(
    run: &Run<'_>,
    source: &dyn SourceFile,
    fresh: &Metadata,
    offset: u64,
    empty: &Receiver<AlignedBuffer>,
    send: &SyncSender<io::Result<Passing>>,
) {
    for range in DataRanges::new(source, fresh).from(offset) {
        let range = match range.and_then(|range| source.read_ahead(range).map(|()| range)) {
            Ok(range) => range,
            Err(error) => {
                let _ = send.send(Err(error));
                return;
            }
        };
        let mut at = range.offset();
        while at < range.end() {
            let Ok(mut buffer) = empty.recv() else { return };
            let len = run.limiter.piece_bytes(PIECE_BYTES).min((range.end() - at) as usize);
            let read = run.context.progress.timed(Work::Read, || read_full(source, &mut buffer[..len], at));
            let passing = match read {
                Ok(read) if read == len => {
                    let hash = run.context.progress.timed(Work::Cpu, || hash_bytes(&buffer[..len]));
                    if arrived_unharmed(source, at, len, hash) {
                        Ok(Passing { buffer, piece: Piece { offset: at, len: len as u32, hash } })
                    } else {
                        Err(io::ErrorKind::InvalidData.into())
                    }
                }
                Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(error),
            };
            let failed = passing.is_err();
            if send.send(passing).is_err() || failed {
                return;
            }
            at += len as u64;
        }
    }
}
