//! [`LocalSystem`]: [`OrbitSystem`] by system calls, below one directory of this machine.

mod hashing;

use crate::local::jail::{Jail, open_file_at};
use crate::local::manifest_cache::ManifestCache;
use crate::local::scanner::LocalScan;
use crate::local::source_file::LocalFile;
use crate::local::{metadata, xattr};
use orbit_core::system::{ChunkDetail, OrbitSystem, Scan, ScanOptions, SourceFile, SystemError, Xattr};
use orbit_core::{ByteRange, Chunk, ContentHash, EntryKind, Metadata, RelPath};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Longest header that is read, whatever is asked for.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// A tree of this machine. Clones share the jail and the cache.
#[derive(Clone)]
pub struct LocalSystem {
    jail: Arc<Jail>,
    cache: Option<Arc<dyn ManifestCache>>,
    threads: NonZeroUsize,
    stop: Arc<AtomicBool>,
}

impl LocalSystem {
    /// What lies in `jail`; nothing is cached, and a file is chunked by the calling thread.
    pub fn new(jail: Arc<Jail>) -> Self {
        Self { jail, cache: None, threads: NonZeroUsize::MIN, stop: Arc::default() }
    }

    /// Has [`chunk`](OrbitSystem::chunk) ask `cache` first, and tell it what it found out.
    #[must_use]
    pub fn with_cache(self, cache: Arc<dyn ManifestCache>) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Has one large file be chunked by this many threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN), ..self }
    }

    /// Has hashing and chunking give up, with an interrupted error, once `stop` is set: whoever asked has gone.
    #[must_use]
    pub fn with_stop(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Where the tree lies.
    pub fn jail(&self) -> &Arc<Jail> {
        &self.jail
    }

    fn xattrs_of_name(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &RelPath,
    ) -> Result<Vec<Xattr>, SystemError> {
        const OPERATION: &str = "read the attributes of";
        let kind = metadata::of_name(directory, name).map_err(SystemError::io(OPERATION, path))?.kind;
        match kind {
            EntryKind::File => xattr::of_handle(open_file_at(directory, name, path)?.as_fd()),
            EntryKind::Directory => xattr::of_handle(self.jail.open_directory(path)?.as_fd()),
            EntryKind::Symlink if !rustix::process::geteuid().is_root() => Ok(Vec::new()),
            _ => xattr::of_name(directory, name),
        }
        .map_err(SystemError::io(OPERATION, path))
    }
}

impl OrbitSystem for LocalSystem {
    fn scan(&self, options: &ScanOptions) -> Result<Box<dyn Scan>, SystemError> {
        Ok(Box::new(LocalScan::start(Arc::clone(&self.jail), options)?))
    }

    fn metadata(&self, path: &RelPath) -> Result<Metadata, SystemError> {
        if path.is_root() {
            return metadata::of_handle(self.jail.root_fd()).map_err(SystemError::io("look at", path));
        }
        let (parent, name) = self.jail.open_parent(path)?;
        metadata::of_name(parent.as_fd(), name).map_err(SystemError::io("look at", path))
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, SystemError> {
        let (parent, name) = self.jail.open_parent(path)?;
        match rustix::fs::readlinkat(&parent, name, Vec::new()) {
            Ok(text) => Ok(text.into_bytes()),
            Err(Errno::INVAL) => {
                Err(SystemError::WrongKind { path: path.clone(), wanted: "a symbolic link".into() })
            }
            Err(errno) => Err(SystemError::io("read the link", path)(errno.into())),
        }
    }

    fn xattrs(&self, path: &RelPath) -> Result<Vec<Xattr>, SystemError> {
        if path.is_root() {
            return xattr::of_handle(self.jail.root_fd())
                .map_err(SystemError::io("read the attributes of", path));
        }
        let (parent, name) = self.jail.open_parent(path)?;
        self.xattrs_of_name(parent.as_fd(), name, path)
    }

    fn read_header(&self, path: &RelPath, len: usize) -> Result<Vec<u8>, SystemError> {
        let file = LocalFile::open(&self.jail, path)?;
        let mut header = vec![0; len.min(HEADER_BYTES_MAX)];
        let read = file.fill_at(&mut header, 0).map_err(SystemError::io("read", path))?;
        header.truncate(read);
        Ok(header)
    }

    fn hash_range(&self, path: &RelPath, range: ByteRange) -> Result<ContentHash, SystemError> {
        hashing::hash_range(&LocalFile::open(&self.jail, path)?, path, range, &self.stop)
    }

    fn chunk(
        &self,
        path: &RelPath,
        detail: ChunkDetail,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<ContentHash, SystemError> {
        let file = LocalFile::open(&self.jail, path)?;
        let cache = self.cache.as_deref();
        let stop = &*self.stop;
        hashing::Chunking { file: &file, path, threads: self.threads, cache, stop }.run(detail, sink)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn SourceFile>, SystemError> {
        let file = LocalFile::open(&self.jail, path)?;
        let size = file.metadata().map_err(SystemError::io("look at", path))?.size;
        file.expect_sequential(size);
        Ok(Box::new(file))
    }
}

impl fmt::Debug for LocalSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cached = self.cache.is_some();
        f.debug_struct("LocalSystem")
            .field("root", &self.jail.root_path())
            .field("cached", &cached)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
