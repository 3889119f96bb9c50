//! Hashing where the data lies. A file that changes while it is read has no hash: [`SystemError::Changed`].

use crate::local::manifest_cache::ManifestCache;
use crate::local::source_file::LocalFile;
use orbit_cdc::{ChunkError, ContentHasher, ManifestBuilder, ORBIT_64K, Source, chunk_source, identity};
use orbit_core::system::{ChunkDetail, SourceFile, SystemError};
use orbit_core::{ByteRange, Chunk, ContentHash, FileIdentity, Metadata, RelPath};
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes read at a time; more was not faster.
const BUFFER_BYTES: usize = 1 << 20;

/// A hole shorter than an average chunk is not worth knowing about.
const HOLE_BYTES_MIN: u64 = 64 * 1024;

/// Holes that are remembered of one file: 1 MiB of memory. What lies beyond is read as the zeros it is.
const HOLES_MAX: usize = 65_536;

/// What a computation that was given up says.
fn given_up(path: &RelPath) -> SystemError {
    SystemError::io("read", path)(io::ErrorKind::Interrupted.into())
}

/// BLAKE3 of a range. A range that ends beyond the file is of another version of it.
pub fn hash_range(
    file: &LocalFile,
    path: &RelPath,
    range: ByteRange,
    stop: &AtomicBool,
) -> Result<ContentHash, SystemError> {
    let before = look_at(file, path)?;
    if range.end() > before.size {
        return Err(SystemError::Changed { path: path.clone() });
    }
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; range.len().min(BUFFER_BYTES as u64) as usize];
    let mut offset = range.offset();
    while offset < range.end() {
        let wanted = (range.end() - offset).min(buffer.len() as u64) as usize;
        match file.fill_at(&mut buffer[..wanted], offset).map_err(SystemError::io("read", path))? {
            read if read == wanted => hasher.update(&buffer[..wanted]),
            _ => return Err(SystemError::Changed { path: path.clone() }),
        };
        if stop.load(Ordering::Relaxed) {
            return Err(given_up(path));
        }
        offset += wanted as u64;
    }
    confirm(file, path, &before.identity())?;
    Ok(hasher.finish())
}

/// One file to be cut into chunks.
pub struct Chunking<'a> {
    /// The file.
    pub file: &'a LocalFile,
    /// Its path, for errors.
    pub path: &'a RelPath,
    /// How many threads read it.
    pub threads: NonZeroUsize,
    /// What was found out before.
    pub cache: Option<&'a dyn ManifestCache>,
    /// Set when nobody waits for the answer any more.
    pub stop: &'a AtomicBool,
}

impl Chunking<'_> {
    /// Chunks and identity, from the cache if it knows. After an error, what `sink` was given is void.
    pub fn run(&self, detail: ChunkDetail, sink: &mut dyn FnMut(Chunk)) -> Result<ContentHash, SystemError> {
        let before = look_at(self.file, self.path)?;
        let version = before.identity();
        if let Some(cache) = self.cache
            && let Some(root) = recall(cache, &version, detail, sink)
        {
            return Ok(root);
        }
        let mut kept = (self.cache.is_some() && detail == ChunkDetail::Chunks).then(Vec::new);
        let mut builder = ManifestBuilder::new(&ORBIT_64K, ());
        self.cut(&before, |chunk| {
            let Ok(()) = builder.push(chunk);
            if detail == ChunkDetail::Chunks {
                sink(chunk);
            }
            if let Some(kept) = &mut kept {
                kept.push(chunk);
            }
        })?;
        confirm(self.file, self.path, &version)?;
        let Ok((root, ())) = builder.finish();
        let root = root.identity();
        if let Some(cache) = self.cache {
            cache.store(&version, root, kept);
        }
        Ok(root)
    }

    fn cut(&self, file: &Metadata, mut each: impl FnMut(Chunk)) -> Result<(), SystemError> {
        self.file.expect_sequential(file.size);
        let read_at = |buffer: &mut [u8], offset: u64| self.file.read_at(buffer, offset);
        let source = Source::new(file.size, read_at).with_holes(self.holes(file)?);
        let cut = chunk_source(&ORBIT_64K, &source, self.threads, |chunk| {
            each(chunk);
            if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match cut {
            Ok(ControlFlow::Continue(())) => Ok(()),
            Ok(ControlFlow::Break(())) => Err(given_up(self.path)),
            Err(ChunkError::Read { source, .. }) => Err(SystemError::io("read", self.path)(source)),
            Err(ChunkError::SourceChanged { .. }) => Err(SystemError::Changed { path: self.path.clone() }),
        }
    }

    /// The holes of a file that has some.
    fn holes(&self, file: &Metadata) -> Result<Vec<ByteRange>, SystemError> {
        let mut holes = Vec::new();
        if file.allocated >= file.size {
            return Ok(holes);
        }
        let mut offset = 0;
        while offset < file.size && holes.len() < HOLES_MAX {
            let data = self.file.next_data(offset).map_err(SystemError::io("read", self.path))?;
            let end = data.map_or(file.size, ByteRange::offset);
            if end.saturating_sub(offset) >= HOLE_BYTES_MIN {
                holes.extend(ByteRange::new(offset, end - offset));
            }
            offset = data.map_or(file.size, ByteRange::end);
        }
        Ok(holes)
    }
}

fn recall(
    cache: &dyn ManifestCache,
    version: &FileIdentity,
    detail: ChunkDetail,
    sink: &mut dyn FnMut(Chunk),
) -> Option<ContentHash> {
    match detail {
        ChunkDetail::RootOnly => cache.root(version),
        ChunkDetail::Chunks => {
            let chunks = cache.chunks(version)?;
            for chunk in &chunks {
                sink(*chunk);
            }
            Some(identity(&ORBIT_64K, chunks))
        }
    }
}

fn look_at(file: &LocalFile, path: &RelPath) -> Result<Metadata, SystemError> {
    file.metadata().map_err(SystemError::io("look at", path))
}

fn confirm(file: &LocalFile, path: &RelPath, before: &FileIdentity) -> Result<(), SystemError> {
    if look_at(file, path)?.identity() == *before {
        Ok(())
    } else {
        Err(SystemError::Changed { path: path.clone() })
    }
}
