//! Sets mode, owner, times and extended attributes through a handle.
//!
//! The object is pinned by the handle before anything is changed, so what is swapped in under its name meanwhile is
//! not touched. One exception: extended attributes of a symbolic link have no call by handle; they are set by its name
//! in a directory that is pinned, without following. What a swap there gains is an attribute on an object of the same
//! directory that the swapper could write to anyway.
//!
//! The order matters: changing the owner clears the set-id bits and capabilities, an access control list changes the
//! group bits, and any change may move the times. So owner, extended attributes, mode, times.

use super::rename::Spot;
use orbit_core::system::Xattr;
use orbit_core::writer::AttributeChange;
use orbit_core::{Attributes, EntryKind, Timestamp};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, flistxattr, fremovexattr, fsetxattr, futimens, listxattr, llistxattr, lremovexattr, lsetxattr,
    removexattr, setxattr, utimensat,
};
use rustix::io::{Errno, Result};

const SET_ID_BITS: u32 = 0o6000;

/// What attributes are set on.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A regular file, open for writing.
    File(BorrowedFd<'a>),
    /// Anything, by an `O_PATH` handle. `spot` is where it was opened.
    Handle {
        /// The handle.
        handle: BorrowedFd<'a>,
        /// Its name.
        spot: Spot<'a>,
        /// What it is.
        kind: EntryKind,
    },
}

/// What an object has before the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// It was made by us a moment ago and has no extended attributes but what the system gave it.
    Fresh,
    /// It may have some that are to go.
    Existing,
}

/// Applies `change` to an object that has `now`, skipping what it already has. Goes on after an error, so that as much
/// as possible is kept, and returns the first.
pub fn apply(target: Target<'_>, past: Past, now: &Attributes, change: &AttributeChange<'_>) -> Result<()> {
    let wanted = &change.attributes;
    let mut mode_now = now.mode;
    let mut first_error = Ok(());
    let mut mode_wanted = wanted.mode;

    let owner_differs = (wanted.uid, wanted.gid) != (now.uid, now.gid);
    if change.set_owner && owner_differs {
        first_error = target.chown(wanted);
        mode_now &= !SET_ID_BITS;
        if first_error.is_err() {
            // These bits would speak for the wrong owner.
            mode_wanted &= !SET_ID_BITS;
        }
    }
    let has_mode = target.kind() != EntryKind::Symlink;
    if let Some(xattrs) = change.xattrs {
        if has_mode && !xattrs.is_empty() && mode_now & 0o200 == 0 {
            // Without this its owner could not set them.
            mode_now |= 0o200;
            first_error = first_error.and(target.chmod(mode_now));
        }
        first_error = first_error.and(replace_xattrs(target, past, xattrs));
        if xattrs.iter().any(|xattr| xattr.name == b"system.posix_acl_access") {
            mode_now = u32::MAX;
        }
    }
    if change.set_mode && has_mode && mode_wanted != mode_now {
        first_error = first_error.and(target.chmod(mode_wanted));
    } else if !change.set_mode && has_mode && mode_now != u32::MAX && mode_now != now.mode & !SET_ID_BITS {
        first_error = first_error.and(target.chmod(now.mode));
    }
    first_error.and(target.set_mtime(wanted.mtime))
}

/// Changes permission bits through an `O_PATH` handle of anything but a symbolic link.
pub fn chmod_handle(handle: BorrowedFd<'_>, mode: u32) -> Result<()> {
    // `fchmod` refuses such handles. The path leads to the pinned object, wherever it is now.
    chmodat(CWD, handle_path(handle), Mode::from_raw_mode(mode), AtFlags::empty())
}

fn handle_path(handle: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", handle.as_raw_fd()).into_bytes()
}

impl Target<'_> {
    const fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Handle { kind, .. } => *kind,
        }
    }

    fn chown(&self, wanted: &Attributes) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(wanted.uid)), Some(Gid::from_raw(wanted.gid)));
        match *self {
            Self::File(file) => fchown(file, uid, gid),
            Self::Handle { handle, .. } => chownat(handle, c"", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    fn chmod(&self, mode: u32) -> Result<()> {
        match *self {
            Self::File(file) => fchmod(file, Mode::from_raw_mode(mode)),
            Self::Handle { handle, .. } => chmod_handle(handle, mode),
        }
    }

    fn set_mtime(&self, mtime: Timestamp) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        match *self {
            Self::File(file) => futimens(file, &times),
            Self::Handle { handle, spot, .. } => match utimensat(handle, c"", &times, AtFlags::EMPTY_PATH) {
                // Kernels before 5.8. The name may have been swapped since; what is there then gets a time.
                Err(Errno::INVAL) => utimensat(spot.dir, spot.name, &times, AtFlags::SYMLINK_NOFOLLOW),
                result => result,
            },
        }
    }

    /// Path for the calls on extended attributes, which take none by `O_PATH` handle.
    fn xattr_path(handle: BorrowedFd<'_>, spot: Spot<'_>, kind: EntryKind) -> Vec<u8> {
        match kind {
            EntryKind::Symlink => [&handle_path(spot.dir), &b"/"[..], spot.name].concat(),
            _ => handle_path(handle),
        }
    }

    fn set_xattr(&self, xattr: &Xattr) -> Result<()> {
        let (name, value, flags) = (&xattr.name[..], &xattr.value[..], XattrFlags::empty());
        match *self {
            Self::File(file) => fsetxattr(file, name, value, flags),
            Self::Handle { handle, spot, kind } => match kind {
                EntryKind::Symlink => lsetxattr(Self::xattr_path(handle, spot, kind), name, value, flags),
                _ => setxattr(Self::xattr_path(handle, spot, kind), name, value, flags),
            },
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        match *self {
            Self::File(file) => fremovexattr(file, name),
            Self::Handle { handle, spot, kind } => match kind {
                EntryKind::Symlink => lremovexattr(Self::xattr_path(handle, spot, kind), name),
                _ => removexattr(Self::xattr_path(handle, spot, kind), name),
            },
        }
    }

    /// Names of its extended attributes, each ended by a NUL.
    fn list_xattrs(&self) -> Result<Vec<u8>> {
        let mut list = vec![0; 1024];
        loop {
            let result = match *self {
                Self::File(file) => flistxattr(file, &mut list[..]),
                Self::Handle { handle, spot, kind } => match kind {
                    EntryKind::Symlink => llistxattr(Self::xattr_path(handle, spot, kind), &mut list[..]),
                    _ => listxattr(Self::xattr_path(handle, spot, kind), &mut list[..]),
                },
            };
            match result {
                Ok(len) => {
                    list.truncate(len);
                    return Ok(list);
                }
                // The kernel's limit is 64 KiB.
                Err(Errno::RANGE) if list.len() < 1 << 17 => list.resize(list.len() * 4, 0),
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn replace_xattrs(target: Target<'_>, past: Past, wanted: &[Xattr]) -> Result<()> {
    let mut first_error = Ok(());
    if past == Past::Existing {
        let list = target.list_xattrs()?;
        for name in list.split(|&byte| byte == 0) {
            if is_replaced(name) && !wanted.iter().any(|xattr| xattr.name == name) {
                first_error = first_error.and(match target.remove_xattr(name) {
                    Err(Errno::NODATA) => Ok(()),
                    result => result,
                });
            }
        }
    }
    for xattr in wanted {
        first_error = first_error.and(target.set_xattr(xattr));
    }
    first_error
}

/// Whether an attribute goes when the source lacks it. Labels of the local security module, and what an overlay keeps,
/// belong to this system and stay.
fn is_replaced(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
        || matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default" | b"security.capability")
}
