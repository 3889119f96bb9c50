//! [`OrbitWriter`]: the writing side of a tree. Stage, write, verify, commit.
//!
//! Nothing is ever written under its final name. A *staged* object is built in a place of Orbit's own on the same file
//! system, and [`OrbitWriter::commit`] renames it into place. At any kill a path holds the old object or the new one.
//! The order that makes this hold through a power cut too is the job machine's: stage, [`flush`](OrbitWriter::flush),
//! commit, flush, report.

use crate::byte_range::ByteRange;
use crate::entry::{Attributes, Metadata};
use crate::rel_path::RelPath;
use crate::system::{SourceFile, SystemError, Xattr};
use std::io;

/// Writes below one root. All methods may be called from several threads at once.
pub trait OrbitWriter: Send + Sync {
    /// Starts a staged regular file.
    fn stage_file(&self, place: Place<'_>, outline: Outline) -> Result<Box<dyn StagedFile>, SystemError>;

    /// Starts a staged file, to be committed to `path`, that shares all bytes of the file now there, so that only what
    /// changed need be written. `None` where the file system cannot share; [`SystemError::Changed`] if that file is
    /// not `expected`.
    fn stage_copy_of(
        &self,
        path: &RelPath,
        expected: &Metadata,
        outline: Outline,
    ) -> Result<Option<Box<dyn StagedFile>>, SystemError>;

    /// Goes on with a file that an earlier run staged and checkpointed under this name; `None` if it is gone.
    fn reopen_staged(&self, staged: &StagedName) -> Result<Option<Box<dyn StagedFile>>, SystemError>;

    /// Stages a symbolic link, FIFO, device node, or another name of a committed file.
    fn stage_node(&self, place: Place<'_>, node: &Node<'_>) -> Result<StagedName, SystemError>;

    /// Starts a staged directory, to be committed to `path` (a hint: which file system to stage on). Files staged
    /// [`Inside`](Place::Inside) it already carry their final names.
    fn stage_directory(&self, path: &RelPath) -> Result<StagedName, SystemError>;

    /// Gives a staged node its attributes (a staged file has its own method).
    fn set_staged_attributes(
        &self,
        staged: &StagedName,
        change: &AttributeChange<'_>,
    ) -> Result<(), SystemError>;

    /// Renames a staged file or node to `path`, creating missing parent directories (with mode 0700, so their
    /// attributes are for the caller to set).
    ///
    /// `expected` is what the plan saw at `path`: if something else is there now, nothing is touched and the answer is
    /// [`SystemError::Changed`]. A displaced object goes where `disposal` says; a directory makes way only if it is
    /// empty, else [`SystemError::Occupied`].
    fn commit(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        disposal: Disposal,
    ) -> Result<(), SystemError>;

    /// Renames a staged directory to `path`; where a directory is already there, its files are renamed one by one, none
    /// over a file that is there. Returns the names of files that could not be committed, with the reason.
    fn commit_directory(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        disposal: Disposal,
    ) -> Result<Vec<(Vec<u8>, SystemError)>, SystemError>;

    /// Throws a staged object away.
    fn discard(&self, staged: &StagedName);

    /// Sets attributes of what is already in place; a symbolic link is not followed.
    fn set_attributes(&self, path: &RelPath, change: &AttributeChange<'_>) -> Result<(), SystemError>;

    /// Removes a file, or a directory if it is empty. `expected` as for [`commit`](Self::commit).
    fn remove(&self, path: &RelPath, expected: &Metadata, disposal: Disposal) -> Result<(), SystemError>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<(), SystemError>;
}

/// A regular file being staged.
pub trait StagedFile: Send {
    /// Its name among the staged, for commit and for checkpoints.
    fn name(&self) -> &StagedName;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads back; 0 means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Shares the whole extent list of `source` (a reflink). `false` if the file system cannot.
    fn clone_from(&mut self, source: &dyn SourceFile) -> io::Result<bool>;

    /// Lets the kernel copy a range at the same offset. Returns how many bytes it did; 0 where it cannot.
    fn copy_from(&mut self, source: &dyn SourceFile, range: ByteRange) -> io::Result<u64>;

    /// Sets the length: what was never written below it is a hole.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Makes its bytes durable, so that a checkpoint may count on them.
    fn sync(&mut self) -> io::Result<()>;

    /// Drops its bytes from the page cache after [`sync`](Self::sync), so that reading back asks the disk.
    fn forget_cache(&mut self) -> io::Result<()>;

    /// Sets attributes; the last call before commit.
    fn set_attributes(&mut self, change: &AttributeChange<'_>) -> io::Result<()>;
}

/// Name of a staged object, unique within its destination. Opaque to everyone but the writer that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StagedName(pub RelPath);

/// Where something is staged.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On its own, to be committed by itself to `path` (a hint: which file system to stage on).
    Alone(&'a RelPath),
    /// In a staged directory under its final name, to be committed with it.
    Inside(&'a StagedName, &'a [u8]),
}

/// What is known of a regular file before it is staged. Only hints: a wrong one costs time, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Length in bytes.
    pub size: u64,
    /// Permission bits it will be given; being created with them saves setting them. What the process's umask takes
    /// away comes back only by [`StagedFile::set_attributes`].
    pub mode: u32,
    /// Whether it will have holes.
    pub layout: Layout,
    /// How its bytes go to the disk.
    pub write: WriteMode,
}

/// Whether a file has holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every byte is written: room for all of it is reserved before the first.
    Dense,
    /// Only the data is written.
    Sparse,
}

/// How bytes go to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// Through the page cache.
    Cached,
    /// Past the page cache where the file system can and the buffer, its length and the offset are multiples of
    /// 4 096; otherwise through it.
    Direct,
}

/// What [`OrbitWriter::stage_node`] makes.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// A symbolic link with this text.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(u64),
    /// A block device.
    BlockDevice(u64),
    /// Another name of a file already in place.
    HardLink(&'a RelPath),
}

/// What happens to an object that is displaced or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// It is gone.
    Discard,
    /// It is moved to the run's trash.
    Trash,
}

/// Attributes to set. `None` leaves one alone.
#[derive(Clone, Copy, Debug)]
pub struct AttributeChange<'a> {
    /// Mode, owner, times as the source has them.
    pub attributes: Attributes,
    /// Sets the permission bits.
    pub set_mode: bool,
    /// Sets owner and group (needs privilege).
    pub set_owner: bool,
    /// Replaces the extended attributes.
    pub xattrs: Option<&'a [Xattr]>,
}
