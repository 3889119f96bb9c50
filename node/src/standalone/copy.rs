//! Copying the bytes of one file into a staged one.
//!
//! Cheapest first: share extents; on a file system that can share, patch a clone of the old version; else read, hash and
//! write. Holes stay holes. A large file is read and hashed on one thread and written on another, past the page cache,
//! with checkpoints so that an interrupted run goes on in the middle.

mod delta;
mod resume;

pub(super) use resume::Resumed;

use super::progress::Work;
use super::run::{ItemFault, Run};
use super::state::now;
use crate::local::writer::AlignedBuffer;
use crate::remote::{ProtocolFault, RemoteError};
use orbit_cdc::{differing_cells, hash_bytes};
use orbit_core::batcher::LARGE_FILE_BYTES;
use orbit_core::system::{SourceFile, SystemError};
use orbit_core::writer::{Layout, OrbitWriter, Outline, Place, StagedFile, WriteMode};
use orbit_core::{ByteRange, ContentHash, Metadata, RelPath};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes read, hashed and written at a time.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// Pieces between the reading and the writing thread: enough to keep both busy, 4 MiB a file in hand.
const PIECES_IN_FLIGHT: usize = 4;
/// No single write takes longer than this, in nanoseconds.
const SETTLED_NS: i128 = 2_000_000_000;
/// Unit in which a changed file is compared with its old version.
const CELL_BYTES: usize = 4096;

/// A piece of a file that was copied, so that what was written can be checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub offset: u64,
    pub len: u32,
    pub hash: ContentHash,
}

/// A copied file and what it took.
pub(super) struct Copied {
    pub staged: Box<dyn StagedFile>,
    /// What was read from the source, piece by piece; empty where extents are shared.
    pub pieces: Vec<Piece>,
    /// Whether `jobs.db` knows a part of it, which is of use until the commit.
    pub has_checkpoint: bool,
}

/// Copies the file that `source` holds, of which `fresh` is the metadata at opening.
pub(super) fn copy_file(
    run: &Run<'_>,
    source: &dyn SourceFile,
    fresh: &Metadata,
    existing: Option<&Metadata>,
    path: &RelPath,
    place: Place<'_>,
    buffer: &mut AlignedBuffer,
) -> Result<Copied, ItemFault> {
    let is_large = fresh.size >= LARGE_FILE_BYTES;
    let is_sparse = fresh.allocated < fresh.size;
    let outline = Outline {
        size: fresh.size,
        mode: fresh.attributes.mode,
        layout: if is_sparse { Layout::Sparse } else { Layout::Dense },
        write: if is_large && !is_sparse { WriteMode::Direct } else { WriteMode::Cached },
    };
    let old = existing.filter(|existing| {
        is_large && !is_sparse && source.parts().is_some() && delta::is_promising(fresh, existing)
    });
    if is_large && let Some(resumed) = resume::find(run, path, fresh)? {
        return match old {
            Some(existing) => delta::go_on(resumed, run, source, (fresh, existing), path),
            None => resumed.go_on(run, source, fresh, path),
        };
    }
    if let Some(existing) = old {
        // Chunks seldom begin where writing past the page cache could.
        let outline = Outline { write: WriteMode::Cached, ..outline };
        let resumed = Resumed::fresh(run.writer.stage_file(place, outline)?);
        return delta::go_on(resumed, run, source, (fresh, existing), path);
    }
    if is_large
        // Comparing reads holes as zeros, and would fill them.
        && !is_sparse
        && run.can_share()
        && let Some(existing) = existing.filter(|e| e.is_file() && e.size > 0)
        && let Some(staged) = run.writer.stage_copy_of(path, existing, outline)?
    {
        // The source itself may be on the same file system: sharing all of it is cheaper still.
        return patch(run, source, fresh, path, staged);
    }
    let mut staged = run.writer.stage_file(place, outline)?;
    if fresh.size > 0 && run.can_share() {
        match staged.clone_from(source) {
            Ok(true) => {
                run.counters.bytes_reused.fetch_add(fresh.size, Ordering::Relaxed);
                run.context.progress.bytes_done.fetch_add(fresh.size, Ordering::Relaxed);
                return Ok(Copied { staged, pieces: Vec::new(), has_checkpoint: false });
            }
            Ok(false) => run.sharing_failed(),
            Err(error) => return Err(discarded(run, staged.as_ref(), "share the content of", path, error)),
        }
    }
    if is_large {
        let from = Resumed::fresh(staged);
        return from.go_on(run, source, fresh, path);
    }
    copy_small(run, source, fresh, path, staged, buffer)
}

/// Reads and writes on this thread.
fn copy_small(
    run: &Run<'_>,
    source: &dyn SourceFile,
    fresh: &Metadata,
    path: &RelPath,
    mut staged: Box<dyn StagedFile>,
    buffer: &mut AlignedBuffer,
) -> Result<Copied, ItemFault> {
    if fresh.size == 0 {
        // Some file systems do not know a file's size before it is read.
        match source.read_at(&mut buffer[..1], 0) {
            Ok(0) => {}
            Ok(_) => {
                run.writer.discard(staged.name());
                return Err(SystemError::Changed { path: path.clone() }.into());
            }
            Err(error) => return Err(discarded(run, staged.as_ref(), "read", path, error)),
        }
    }
    let mut pieces = Vec::new();
    let ranges = DataRanges::new(source, fresh);
    for range in ranges {
        let range = range.and_then(|range| source.read_ahead(range).map(|()| range));
        let range = range.map_err(|error| discarded(run, staged.as_ref(), "find holes of", path, error))?;
        let mut offset = range.offset();
        while offset < range.end() {
            if run.is_stopping() {
                run.writer.discard(staged.name());
                return Err(ItemFault::Stopped);
            }
            let wanted = run.limiter.piece_bytes(PIECE_BYTES).min((range.end() - offset) as usize);
            let piece = &mut buffer[..wanted];
            let read = run.context.progress.timed(Work::Read, || read_full(source, piece, offset));
            match read {
                Ok(read) if read == wanted => {}
                Ok(_) => {
                    run.writer.discard(staged.name());
                    return Err(SystemError::Changed { path: path.clone() }.into());
                }
                Err(error) => return Err(discarded(run, staged.as_ref(), "read", path, error)),
            }
            let piece = &buffer[..wanted];
            let hash = hash_bytes(piece);
            if !arrived_unharmed(source, offset, wanted, hash) {
                run.writer.discard(staged.name());
                return Err(damaged(path).into());
            }
            pieces.push(Piece { offset, len: wanted as u32, hash });
            run.throttle(wanted as u64);
            let wrote = run.context.progress.timed(Work::Write, || staged.write_at(piece, offset));
            if let Err(error) = wrote {
                return Err(discarded(run, staged.as_ref(), "write", path, error));
            }
            run.count_written(wanted as u64);
            offset += wanted as u64;
        }
    }
    finish_len(run, staged, fresh, path).map(|staged| Copied { staged, pieces, has_checkpoint: false })
}

/// Sets the length where the file ends in a hole.
fn finish_len(
    run: &Run<'_>,
    mut staged: Box<dyn StagedFile>,
    fresh: &Metadata,
    path: &RelPath,
) -> Result<Box<dyn StagedFile>, ItemFault> {
    if fresh.allocated < fresh.size
        && let Err(error) = staged.set_len(fresh.size)
    {
        return Err(discarded(run, staged.as_ref(), "set the length of", path, error));
    }
    Ok(staged)
}

/// Writes what differs into a clone of the old version.
fn patch(
    run: &Run<'_>,
    source: &dyn SourceFile,
    fresh: &Metadata,
    path: &RelPath,
    mut staged: Box<dyn StagedFile>,
) -> Result<Copied, ItemFault> {
    if let Ok(true) = staged.clone_from(source) {
        run.counters.bytes_reused.fetch_add(fresh.size, Ordering::Relaxed);
        run.context.progress.bytes_done.fetch_add(fresh.size, Ordering::Relaxed);
        return Ok(Copied { staged, pieces: Vec::new(), has_checkpoint: false });
    }
    let (mut new, mut old) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut pieces = Vec::new();
    let mut offset = 0;
    while offset < fresh.size {
        if run.is_stopping() {
            run.writer.discard(staged.name());
            return Err(ItemFault::Stopped);
        }
        let len = PIECE_BYTES.min((fresh.size - offset) as usize);
        let progress = &run.context.progress;
        let read = progress.timed(Work::Read, || {
            let got = read_full(source, &mut new[..len], offset)?;
            let had = read_full_staged(staged.as_ref(), &mut old[..len], offset)?;
            Ok::<_, io::Error>((got, had))
        });
        let had = match read {
            Ok((got, had)) if got == len => had,
            Ok(_) => {
                run.writer.discard(staged.name());
                return Err(SystemError::Changed { path: path.clone() }.into());
            }
            Err(error) => return Err(discarded(run, staged.as_ref(), "read", path, error)),
        };
        let (new, old) = (&new[..len], &old[..had]);
        pieces.push(Piece { offset, len: len as u32, hash: hash_bytes(new) });
        let mut written = 0;
        for cells in differing_cells(old, new, CELL_BYTES) {
            run.throttle(cells.len() as u64);
            let at = offset + cells.start as u64;
            let wrote = progress.timed(Work::Write, || staged.write_at(&new[cells.clone()], at));
            if let Err(error) = wrote {
                return Err(discarded(run, staged.as_ref(), "write", path, error));
            }
            written += cells.len() as u64;
        }
        run.counters.bytes_reused.fetch_add(len as u64 - written, Ordering::Relaxed);
        run.counters.bytes_written.fetch_add(written, Ordering::Relaxed);
        progress.bytes_done.fetch_add(len as u64, Ordering::Relaxed);
        offset += len as u64;
    }
    if let Err(error) = staged.set_len(fresh.size) {
        return Err(discarded(run, staged.as_ref(), "set the length of", path, error));
    }
    Ok(Copied { staged, pieces, has_checkpoint: false })
}

/// Checks that a staged file gives back what was read from the source, asking the disk rather than the cache.
pub(super) fn verify(
    staged: &mut dyn StagedFile,
    pieces: &[Piece],
    path: &RelPath,
    buffer: &mut AlignedBuffer,
) -> Result<(), SystemError> {
    let failed = |error| SystemError::io("read back", path)(error);
    staged.forget_cache().map_err(failed)?;
    for piece in pieces {
        let bytes = &mut buffer[..piece.len as usize];
        let read = read_full_staged(staged, bytes, piece.offset).map_err(failed)?;
        if read != bytes.len() || hash_bytes(bytes) != piece.hash {
            return Err(SystemError::Corrupt { path: path.clone() });
        }
    }
    Ok(())
}

/// Whether no write can be under way in a file of which this was just read.
pub(super) fn is_settled(fresh: &Metadata) -> bool {
    now().as_nanos() - fresh.ctime.as_nanos() > SETTLED_NS
}

/// Whether the source still gives what was copied; `was_settled` is of when it was opened. A write in progress sets the times when it begins: a file read in its
/// midst looks unchanged before and after. Only a second look tells, and only a file that changed just now needs it.
pub(super) fn is_steady(
    source: &dyn SourceFile,
    was_settled: bool,
    pieces: &[Piece],
    buffer: &mut AlignedBuffer,
) -> io::Result<bool> {
    let mut read: Vec<_> = pieces
        .iter()
        .filter_map(|piece| Some((ByteRange::new(piece.offset, piece.len.into()).ok()?, piece.hash)))
        .collect();
    read.sort_unstable_by_key(|(range, _)| range.offset());
    if let Some(is_settled) = source.is_settled(&read)? {
        return Ok(is_settled);
    }
    if was_settled {
        return Ok(true);
    }
    for piece in pieces {
        let bytes = &mut buffer[..piece.len as usize];
        if read_full(source, bytes, piece.offset)? != bytes.len() || hash_bytes(bytes) != piece.hash {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether what was read is what the source holds, as far as the source says.
fn arrived_unharmed(source: &dyn SourceFile, offset: u64, len: usize, hash: ContentHash) -> bool {
    let range = ByteRange::new(offset, len as u64).ok();
    range.and_then(|range| source.told_hash(range)).is_none_or(|told| told == hash)
}

/// A way on which bytes are harmed is as good as none: the file is asked for again over another one.
fn damaged(path: &RelPath) -> SystemError {
    RemoteError::from(ProtocolFault::Damaged).on(path)
}

/// Throws away what cannot be completed, and says why.
fn discarded(
    run: &Run<'_>,
    staged: &dyn StagedFile,
    operation: &'static str,
    path: &RelPath,
    error: io::Error,
) -> ItemFault {
    run.writer.discard(staged.name());
    SystemError::io(operation, path)(error).into()
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(source: &dyn SourceFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    fill(buffer, |rest, done| source.read_at(rest, offset + done))
}

fn read_full_staged(staged: &dyn StagedFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    fill(buffer, |rest, done| staged.read_at(rest, offset + done))
}

fn fill(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The runs of data of a file: one for a dense file, several between holes.
struct DataRanges<'a> {
    source: &'a dyn SourceFile,
    size: u64,
    dense: bool,
    offset: u64,
}

impl<'a> DataRanges<'a> {
    fn new(source: &'a dyn SourceFile, metadata: &Metadata) -> Self {
        Self { source, size: metadata.size, dense: metadata.allocated >= metadata.size, offset: 0 }
    }

    /// Leaves out what lies before `offset`.
    fn from(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }
}

impl Iterator for DataRanges<'_> {
    type Item = io::Result<ByteRange>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.size {
            return None;
        }
        let found = if self.dense {
            ByteRange::new(self.offset, self.size - self.offset).ok()
        } else {
            match self.source.next_data(self.offset) {
                Ok(found) => found,
                Err(error) => {
                    self.offset = self.size;
                    return Some(Err(error));
                }
            }
        };
        let range = found.filter(|range| range.offset() < self.size)?;
        let end = range.end().min(self.size);
        self.offset = end;
        ByteRange::new(range.offset(), end - range.offset()).ok().map(Ok)
    }
}

/// A piece on its way from the reading to the writing thread.
struct Passing {
    buffer: AlignedBuffer,
    piece: Piece,
}

/// Buffers that go round between the two threads.
fn buffers() -> (SyncSender<AlignedBuffer>, Receiver<AlignedBuffer>) {
    let (give_back, take) = sync_channel(PIECES_IN_FLIGHT);
    for _ in 0..PIECES_IN_FLIGHT {
        // There is room for each.
        let _ = give_back.try_send(AlignedBuffer::new(PIECE_BYTES));
    }
    (give_back, take)
}
