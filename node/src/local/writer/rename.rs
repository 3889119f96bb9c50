//! Renames that never overwrite by accident, and what stands in for them where the file system lacks them.

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::{Errno, Result, retry_on_intr};

/// A name in an open directory. (From a stage area's handle it may have several components.)
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The directory.
    pub dir: BorrowedFd<'a>,
    /// The name.
    pub name: &'a [u8],
}

/// Renames; `EEXIST` if something is at `to`.
///
/// Where the kernel or the file system has no such rename (NFS, some FUSE): a link, which does not overwrite either,
/// and an unlink; a directory or a file system without links is renamed after a look, so there something that
/// appears within microseconds can be overwritten.
pub fn rename_no_replace(from: Spot<'_>, to: Spot<'_>) -> Result<()> {
    let rename = || renameat_with(from.dir, from.name, to.dir, to.name, RenameFlags::NOREPLACE);
    match retry_on_intr(rename) {
        Err(errno) if is_unsupported(errno) => {}
        result => return result,
    }
    match linkat(from.dir, from.name, to.dir, to.name, AtFlags::empty()) {
        Ok(()) => return unlinkat(from.dir, from.name, AtFlags::empty()),
        Err(Errno::PERM | Errno::MLINK) => {}
        Err(errno) if is_unsupported(errno) => {}
        Err(errno) => return Err(errno),
    }
    match statat(to.dir, to.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => rename_over(from, to),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

/// Renames over whatever non-directory is at `to`.
pub fn rename_over(from: Spot<'_>, to: Spot<'_>) -> Result<()> {
    retry_on_intr(|| renameat(from.dir, from.name, to.dir, to.name))
}

/// Swaps two names at one stroke. [`is_unsupported`] tells a file system that cannot.
pub fn exchange(a: Spot<'_>, b: Spot<'_>) -> Result<()> {
    retry_on_intr(|| renameat_with(a.dir, a.name, b.dir, b.name, RenameFlags::EXCHANGE))
}

/// Whether a refusal means that the call does not exist here.
pub const fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}
