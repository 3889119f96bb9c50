//! Copying a large file of a star over an old version of it, on two levels.
//!
//! Chunks say what is unchanged or only moved: it is taken from the old version. A chunk that is new is compared with the old
//! bytes at its place cell by cell, and only the cells that differ are sent. Every chunk is held against the short hash that the
//! star told, and all of them together against the file's identity, so a false match cannot pass.

use super::resume::Resumed;
use super::{Copied, Piece, read_full};
use crate::local::system::LocalSystem;
use crate::standalone::progress::Work;
use crate::standalone::run::{ItemFault, Run};
use orbit_cdc::{ManifestBuilder, ORBIT_64K, hash_bytes};
use orbit_core::system::{ChunkDetail, FileParts, OrbitSystem, SourceFile, SystemError};
use orbit_core::wire::system::{CELL_BYTES, short_hash};
use orbit_core::{ByteRange, Chunk, ContentHash, Metadata, RelPath};
use std::collections::HashMap;
use std::io;
use std::ops::Range;

/// Bytes of the new version that are put together at a time: two questions to the star.
const BATCH_BYTES: usize = 16 << 20;

/// After so many bytes it is looked whether the old version is of any use …
const TRIAL_BYTES: u64 = 128 << 20;
/// … which it is not if less than this part of them was found in it.
const USEFUL_PART: u64 = 20;

/// What both sides know of the two versions.
struct Versions<'a> {
    parts: &'a dyn FileParts,
    old: &'a dyn SourceFile,
    old_len: u64,
    /// Chunks of the old version by their short hashes.
    known: HashMap<u64, (u64, u32)>,
}

/// A chunk of the new version in the batch in hand.
struct Planned {
    short: u64,
    /// Where it lies in the batch.
    at: Range<usize>,
    /// Where the old version has it, or something like it.
    old: u64,
    is_known: bool,
}

/// Whether the old version of a file is worth looking at.
pub(super) fn is_promising(fresh: &Metadata, existing: &Metadata) -> bool {
    existing.is_file() && existing.size >= fresh.size / 16 && existing.allocated >= existing.size
}

/// Puts the new version together from the old one and what the star sends. None if the old version cannot be read as the plan
/// saw it: then nothing was done.
pub(super) fn go_on(
    mut resumed: Resumed,
    run: &Run<'_>,
    source: &dyn SourceFile,
    (fresh, existing): (&Metadata, &Metadata),
    path: &RelPath,
) -> Result<Copied, ItemFault> {
    let Some(parts) = source.parts() else { return resumed.go_on(run, source, fresh, path) };
    let Some(old) = open_old(run, existing, path) else { return resumed.go_on(run, source, fresh, path) };
    let result = Sketch::take(run, parts, path).and_then(|(sketch, old_chunks)| {
        let known = by_short_hash(&old_chunks);
        let versions = Versions { parts, old: old.as_ref(), old_len: existing.size, known };
        put_together(&mut resumed, run, &versions, &sketch, fresh, path)
    });
    match result {
        Ok(End::Complete) => resumed.complete(run, fresh, path),
        Ok(End::Useless) => resumed.go_on(run, source, fresh, path),
        Err(fault) => Err(resumed.give_up(run, fault, fresh, path)),
    }
}

enum End {
    Complete,
    /// The old version does not help: the rest is better just copied.
    Useless,
}

/// What the new version consists of.
struct Sketch {
    chunks: Vec<(u64, u32)>,
    identity: ContentHash,
}

impl Sketch {
    /// Has both sides find the chunks of their versions, at the same time.
    fn take(run: &Run<'_>, parts: &dyn FileParts, path: &RelPath) -> Result<(Self, Vec<Chunk>), ItemFault> {
        let mut chunks = Vec::new();
        let (old, identity) = std::thread::scope(|scope| {
            let old = scope.spawn(|| old_chunks(run.destination, path));
            let identity = parts.sketch(&mut |short, len| chunks.push((short, len)));
            (old.join().expect("chunking does not panic"), identity)
        });
        let identity = identity.map_err(SystemError::io("read", path))?;
        // An old version that cannot be chunked is none.
        Ok((Self { chunks, identity }, old.unwrap_or_default()))
    }
}

fn old_chunks(destination: &LocalSystem, path: &RelPath) -> Result<Vec<Chunk>, SystemError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut chunks = Vec::new();
    let system = destination.clone().with_threads(threads);
    system.chunk(path, ChunkDetail::Chunks, &mut |chunk| chunks.push(chunk))?;
    Ok(chunks)
}

fn open_old(run: &Run<'_>, existing: &Metadata, path: &RelPath) -> Option<Box<dyn SourceFile>> {
    let old = run.destination.open(path).ok()?;
    let is_same = old.metadata().is_ok_and(|now| now.identity() == existing.identity());
    is_same.then_some(old)
}

fn by_short_hash(chunks: &[Chunk]) -> HashMap<u64, (u64, u32)> {
    let mut offset = 0;
    let mut known = HashMap::with_capacity(chunks.len());
    for chunk in chunks {
        known.entry(short_hash(&chunk.hash)).or_insert((offset, chunk.len));
        offset += u64::from(chunk.len);
    }
    known
}

fn put_together(
    resumed: &mut Resumed,
    run: &Run<'_>,
    versions: &Versions<'_>,
    sketch: &Sketch,
    fresh: &Metadata,
    path: &RelPath,
) -> Result<End, ItemFault> {
    let changed = || ItemFault::from(SystemError::Changed { path: path.clone() });
    let len: u64 = sketch.chunks.iter().map(|chunk| u64::from(chunk.1)).sum();
    if len != fresh.size {
        return Err(changed());
    }
    let mut manifest = ManifestBuilder::new(&ORBIT_64K, ());
    let mut chunks = &sketch.chunks[..];
    let (mut offset, mut shift) = (0, 0_i64);
    // What an earlier attempt copied chunk by chunk is passed; what it copied otherwise, the plain way goes on with.
    for piece in resumed.pieces() {
        match chunks.split_first() {
            Some(((short, len), rest)) if (*short, *len) == (short_hash(&piece.hash), piece.len) => {
                let Ok(()) = manifest.push(Chunk { hash: piece.hash, len: piece.len });
                offset += u64::from(piece.len);
                chunks = rest;
            }
            _ => return Ok(End::Useless),
        }
    }
    let (mut seen, mut found) = (0, 0);
    let mut buffer = vec![0; BATCH_BYTES + ORBIT_64K.max_len()];
    while !chunks.is_empty() {
        if run.is_stopping() {
            return Err(ItemFault::Stopped);
        }
        let batch = versions.plan(&mut chunks, offset, &mut shift);
        // A chunk longer than chunks are: the star cuts otherwise than this one does.
        let Some(len) = batch.last().map(|chunk| chunk.at.end) else { return Err(changed()) };
        let bytes = &mut buffer[..len];
        let sent = versions.fill(run, bytes, &batch, offset).map_err(SystemError::io("read", path))?;
        for chunk in &batch {
            let hash = run.context.progress.timed(Work::Cpu, || hash_bytes(&bytes[chunk.at.clone()]));
            let hash = if short_hash(&hash) == chunk.short {
                hash
            } else {
                // Two cells had the same short hash, or the old version changed meanwhile.
                let span = span_of(chunk.at.clone(), offset);
                versions
                    .pick(&[span], |at, piece| {
                        let begin = (at - offset) as usize;
                        bytes[begin..begin + piece.len()].copy_from_slice(piece);
                    })
                    .map_err(SystemError::io("read", path))?;
                hash_bytes(&bytes[chunk.at.clone()])
            };
            if short_hash(&hash) != chunk.short {
                return Err(changed());
            }
            let len = chunk.at.len() as u32;
            let Ok(()) = manifest.push(Chunk { hash, len });
            resumed.push(Piece { offset: offset + chunk.at.start as u64, len, hash });
        }
        resumed.write(run, bytes, offset, path)?;
        resumed.checkpoint_if_due(run, fresh, path);
        offset += len as u64;
        seen += len as u64;
        found += len as u64 - sent;
        if seen >= TRIAL_BYTES && found * USEFUL_PART < seen {
            return Ok(End::Useless);
        }
    }
    let Ok((root, ())) = manifest.finish();
    if root.identity() == sketch.identity { Ok(End::Complete) } else { Err(changed()) }
}

fn span_of(at: Range<usize>, base: u64) -> ByteRange {
    ByteRange::new(base + at.start as u64, at.len() as u64).expect("it lies within the file")
}

impl Versions<'_> {
    /// Takes the chunks of the next batch, and says where the old version has them or may have something like them.
    fn plan(&self, chunks: &mut &[(u64, u32)], offset: u64, shift: &mut i64) -> Vec<Planned> {
        let mut batch = Vec::new();
        let mut at = 0;
        while let Some(((short, len), rest)) = chunks.split_first() {
            if at >= BATCH_BYTES || *len as usize > ORBIT_64K.max_len() {
                break;
            }
            let end = at + *len as usize;
            let found = self.known.get(short).filter(|known| known.1 == *len);
            let here = offset + at as u64;
            let old = match found {
                Some((old, _)) => {
                    *shift = *old as i64 - here as i64;
                    *old
                }
                None => here.saturating_add_signed(*shift),
            };
            batch.push(Planned { short: *short, at: at..end, old, is_known: found.is_some() });
            (at, *chunks) = (end, rest);
        }
        batch
    }

    /// Fills a batch. Gives how many bytes were sent for it.
    fn fill(&self, run: &Run<'_>, bytes: &mut [u8], batch: &[Planned], offset: u64) -> io::Result<u64> {
        let mut doubtful = Vec::new();
        for chunk in batch {
            let target = &mut bytes[chunk.at.clone()];
            let read = run.context.progress.timed(Work::Read, || {
                if chunk.old < self.old_len { read_full(self.old, target, chunk.old) } else { Ok(0) }
            });
            let read = read.unwrap_or(0);
            if read < target.len() || !chunk.is_known {
                target[read..].fill(0);
                doubtful.push(chunk);
            }
        }
        if doubtful.is_empty() {
            return Ok(0);
        }
        let wanted = self.differing(bytes, &doubtful, offset)?;
        let sent: u64 = wanted.iter().map(|span| span.len()).sum();
        run.throttle(sent);
        self.pick(&wanted, |at, piece| {
            let at = (at - offset) as usize;
            bytes[at..at + piece.len()].copy_from_slice(piece);
        })?;
        Ok(sent)
    }

    /// The spans of the new version that are not what the old one has at their place.
    fn differing(&self, bytes: &[u8], doubtful: &[&Planned], offset: u64) -> io::Result<Vec<ByteRange>> {
        let spans: Vec<_> = doubtful.iter().map(|chunk| span_of(chunk.at.clone(), offset)).collect();
        let mut cells = doubtful.iter().flat_map(|chunk| {
            chunk.at.clone().step_by(CELL_BYTES).map(|at| at..chunk.at.end.min(at + CELL_BYTES))
        });
        let mut wanted: Vec<Range<usize>> = Vec::new();
        let mut surplus = false;
        self.parts.cells(&spans, &mut |short| match cells.next() {
            Some(cell) if short_hash(&hash_bytes(&bytes[cell.clone()])) == short => {}
            Some(cell) => match wanted.last_mut() {
                Some(last) if last.end == cell.start => last.end = cell.end,
                _ => wanted.push(cell),
            },
            None => surplus = true,
        })?;
        if surplus || cells.next().is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(wanted.into_iter().map(|at| span_of(at, offset)).collect())
    }

    /// Has spans sent, and gives their bytes with their offsets.
    fn pick(&self, spans: &[ByteRange], mut sink: impl FnMut(u64, &[u8])) -> io::Result<()> {
        if spans.is_empty() {
            return Ok(());
        }
        let mut left = spans.iter().copied();
        let mut span: Option<(u64, u64)> = None;
        let mut surplus = false;
        self.parts.pick(spans, &mut |mut piece| {
            while !piece.is_empty() {
                let Some((at, len)) = span.take().or_else(|| left.next().map(|s| (s.offset(), s.len())))
                else {
                    surplus = true;
                    return;
                };
                let (now, rest) = piece.split_at(piece.len().min(len as usize));
                sink(at, now);
                span = Some((at + now.len() as u64, len - now.len() as u64)).filter(|span| span.1 > 0);
                piece = rest;
            }
        })?;
        if surplus || span.is_some() || left.next().is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}
