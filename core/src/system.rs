//! [`OrbitSystem`]: the contract behind which the physical world lies.
//!
//! The specification's four operations (section 3.1) and what a sync needs beside them, over portable paths under one
//! root. `LocalSystem` implements it with system calls; a remote one asks a star. The operations block: callers that
//! must not are on threads of their own (ADR 0002).

use crate::byte_range::ByteRange;
use crate::chunk::Chunk;
use crate::entry::{Listing, Metadata};
use crate::filter::PathFilter;
use crate::hash::ContentHash;
use crate::rel_path::RelPath;
use std::borrow::Cow;
use std::io;
use std::sync::Arc;

/// The reading side of a tree on some machine. Every path is below the system's root; an implementation never follows
/// a symbolic link out of it.
pub trait OrbitSystem: Send + Sync {
    /// 1. Discovery: walks the tree, one [`Listing`] a directory, in [`RelPath`] order, streaming.
    fn scan(&self, options: &ScanOptions) -> Result<Box<dyn Scan>, SystemError>;

    /// Metadata of one path, not following a symbolic link.
    fn metadata(&self, path: &RelPath) -> Result<Metadata, SystemError>;

    /// Text of a symbolic link.
    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, SystemError>;

    /// Extended attributes of a path, access control lists among them; empty where there are none.
    fn xattrs(&self, path: &RelPath) -> Result<Vec<Xattr>, SystemError>;

    /// 2. Intelligence: at most `len` first bytes of a file, for its semantic priority.
    fn read_header(&self, path: &RelPath, len: usize) -> Result<Vec<u8>, SystemError>;

    /// 3. Compute: BLAKE3 of a byte range, where the data lies.
    fn hash_range(&self, path: &RelPath, range: ByteRange) -> Result<ContentHash, SystemError>;

    /// 3b. Compute: chunks of a file and its identity (the manifest root), where the data lies. `sink` gets the chunks
    /// in order; with [`ChunkDetail::RootOnly`] it is not called and a cached root may answer.
    fn chunk(
        &self,
        path: &RelPath,
        detail: ChunkDetail,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<ContentHash, SystemError>;

    /// 4. Transport: opens a regular file for reading. Never blocks on a FIFO or a device: they are refused.
    fn open(&self, path: &RelPath) -> Result<Box<dyn SourceFile>, SystemError>;
}

/// A walk in progress.
pub trait Scan: Send {
    /// The next directory, or what went wrong with it; `None` at the end. A directory that cannot be read is reported
    /// in its place in the order and the walk goes on.
    fn next(&mut self) -> Option<Result<Listing, ScanFault>>;

    /// Does not descend into `directory`, a subdirectory of the listing that [`next`](Self::next) returned last.
    fn prune(&mut self, directory: &RelPath);
}

/// A directory that could not be read, wholly or in part.
#[derive(Debug, thiserror::Error)]
#[error("cannot scan {path}")]
pub struct ScanFault {
    /// The directory.
    pub path: RelPath,
    /// Why.
    #[source]
    pub error: SystemError,
}

/// What a walk covers.
#[derive(Clone)]
pub struct ScanOptions {
    /// Where the walk starts: a directory below the system's root.
    pub start: RelPath,
    /// What is left out.
    pub filter: Arc<dyn PathFilter>,
    /// Does not descend into other file systems.
    pub one_file_system: bool,
    /// Threads that read directories.
    pub threads: usize,
}

/// How much [`OrbitSystem::chunk`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkDetail {
    /// Every chunk.
    Chunks,
    /// The identity alone.
    RootOnly,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its name with name space, for example `user.comment`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// An open regular file.
pub trait SourceFile: Send + Sync {
    /// Fresh metadata of the open file.
    fn metadata(&self) -> io::Result<Metadata>;

    /// Reads at `offset`; 0 means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The next run of data at or after `offset`: what lies between runs is a hole and reads as zeros. `None` when
    /// only a hole is left.
    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>>;

    /// Extended attributes.
    fn xattrs(&self) -> io::Result<Vec<Xattr>>;

    /// Says that this range will be read next, from front to back. A file elsewhere sends it ahead then.
    fn read_ahead(&self, range: ByteRange) -> io::Result<()> {
        let _ = range;
        Ok(())
    }

    /// BLAKE3 of exactly the range that was read last, as it was where the file lies, if that is known: whoever hashes
    /// what was read can tell whether it arrived unharmed.
    fn told_hash(&self, range: ByteRange) -> Option<ContentHash> {
        let _ = range;
        None
    }

    /// Whether no write was under way while it was read: whoever read it where it lies has made sure, or does now by a
    /// second look at these ranges, which are in order. `None` if whoever read it has to look for himself.
    fn is_settled(&self, read: &[(ByteRange, ContentHash)]) -> io::Result<Option<bool>> {
        let _ = read;
        Ok(None)
    }

    /// What a file elsewhere can tell of its parts, so that an old version here spares sending them.
    fn parts(&self) -> Option<&dyn FileParts> {
        None
    }

    /// The local descriptor, where there is one, so that the kernel can copy or share extents by itself.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// Parts of an open file elsewhere. Short hashes are [`short_hash`](crate::wire::system::short_hash).
pub trait FileParts {
    /// Gives the chunks in order, by short hash and length; then the file's identity.
    fn sketch(&self, sink: &mut dyn FnMut(u64, u32)) -> io::Result<ContentHash>;

    /// Gives the short hash of each cell of the spans, which are in order. Cells begin anew with each span.
    fn cells(&self, spans: &[ByteRange], sink: &mut dyn FnMut(u64)) -> io::Result<()>;

    /// Gives the bytes of the spans, which are in order, without gaps and in pieces of any size.
    fn pick(&self, spans: &[ByteRange], sink: &mut dyn FnMut(&[u8])) -> io::Result<()>;
}

/// Why an operation on a system failed.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The operating system refused.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: Cow<'static, str>,
        /// On what.
        path: RelPath,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A symbolic link, a mount or a race would have led outside the root.
    #[error("{path} leads outside the allowed directory")]
    Escapes {
        /// The path as asked.
        path: RelPath,
    },
    /// It is not what the operation needs (for example a FIFO where a regular file is read).
    #[error("{path} is not {wanted}")]
    WrongKind {
        /// The path.
        path: RelPath,
        /// What was needed.
        wanted: Cow<'static, str>,
    },
    /// It changed while it was read or since it was planned; it was left alone.
    #[error("{path} changed meanwhile")]
    Changed {
        /// The path.
        path: RelPath,
    },
    /// What was written does not read back as what was sent.
    #[error("{path} does not read back as it was written")]
    Corrupt {
        /// The path.
        path: RelPath,
    },
    /// A directory that would have to make way holds something.
    #[error("{path} is a directory that still holds something, so nothing can take its place")]
    Occupied {
        /// The path.
        path: RelPath,
    },
}

impl SystemError {
    /// Wraps an I/O error; use as `.map_err(SystemError::io("open", path))`.
    pub fn io<O: Into<Cow<'static, str>>>(
        operation: O,
        path: &RelPath,
    ) -> impl FnOnce(io::Error) -> Self + use<'_, O> {
        move |source| Self::Io { operation: operation.into(), path: path.clone(), source }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the destination has no room left (space, inodes or quota).
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// The path it happened on.
    pub const fn path(&self) -> &RelPath {
        match self {
            Self::Io { path, .. }
            | Self::Escapes { path }
            | Self::WrongKind { path, .. }
            | Self::Changed { path }
            | Self::Corrupt { path }
            | Self::Occupied { path } => path,
        }
    }
}
