//! Puts staged objects into place and takes displaced ones away.
//!
//! Each operation opens the containing directory beneath the jail's root first and then names one component in it, so
//! a swapped-in link redirects nothing. What is there is compared with what the plan saw; between that look and the
//! rename lie microseconds, in which a program that replaces the same name loses to us as it would a moment later.
//! Where nothing was planned to be there, and for the trash, even those microseconds are closed by the kernel.

use super::rename::{Spot, exchange, is_unsupported, rename_no_replace, rename_over};
use super::trash::{Trash, enter_or_make};
use crate::local::jail::Jail;
use crate::local::metadata;
use orbit_core::system::SystemError;
use orbit_core::{EntryKind, Metadata, RelPath};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, linkat, unlinkat};
use rustix::io::Errno;

/// What is put into place.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Where it is staged.
    pub staged: Spot<'a>,
    /// Whether it is a directory.
    pub kind: IncomingKind,
}

/// Directories displace differently: a rename does not put one over a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncomingKind {
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Opens the directory that contains `path`, making what is missing on the way to it.
pub fn reach_parent<'p>(jail: &Jail, path: &'p RelPath) -> Result<(OwnedFd, &'p [u8]), SystemError> {
    match jail.open_parent(path) {
        Err(error) if error.is_not_found() => {}
        result => return result,
    }
    let mut missing = Vec::new();
    let mut reached = path.clone();
    let mut handle = loop {
        // The parent exists, or `open_parent` would have said that there is none.
        reached = reached.parent().expect("the root's directory was reached above");
        match jail.open_parent(&reached) {
            Ok((handle, name)) => {
                missing.push(name.to_vec());
                break handle;
            }
            Err(error) if error.is_not_found() => missing.push(reached.name().unwrap_or_default().to_vec()),
            Err(error) => return Err(error),
        }
    };
    for name in missing.iter().rev() {
        handle = enter_or_make(handle.as_fd(), name).map_err(|errno| match errno {
            // A link, or a file, that was put there meanwhile.
            Errno::EXIST => SystemError::Escapes { path: path.clone() },
            errno => failed("create the directory of", path, errno),
        })?;
    }
    Ok((handle, path.name().expect("the root has no parent to be missing")))
}

/// Puts `incoming` at `place`, which is `path`, if there is what was `expected`. `trash` gets what is displaced.
pub fn put(
    incoming: Incoming<'_>,
    place: Spot<'_>,
    path: &RelPath,
    expected: Option<&Metadata>,
    trash: Option<&Trash>,
) -> Result<(), SystemError> {
    let Some(expected) = expected else {
        return rename_no_replace(incoming.staged, place).map_err(|errno| appeared(path, errno));
    };
    let now = check(place, path, expected)?;
    if now.kind == EntryKind::Directory {
        remove_directory(place, path)?;
        let renamed = rename_no_replace(incoming.staged, place).map_err(|errno| appeared(path, errno));
        return renamed.and_then(|()| remember(trash, path, &now));
    }
    let displaced = match (trash, incoming.kind) {
        (Some(trash), _) => put_and_keep(incoming.staged, place, path, trash),
        (None, IncomingKind::Other) => rename_over(incoming.staged, place),
        (None, IncomingKind::Directory) => put_directory_over_file(incoming.staged, place),
    };
    displaced.map_err(|errno| match errno {
        Errno::ISDIR | Errno::EXIST | Errno::NOENT => SystemError::Changed { path: path.clone() },
        errno => failed("replace", path, errno),
    })
}

/// Removes what is at `place` if it is what was `expected`.
pub fn remove(
    place: Spot<'_>,
    path: &RelPath,
    expected: &Metadata,
    trash: Option<&Trash>,
) -> Result<(), SystemError> {
    let now = check(place, path, expected)?;
    if now.kind == EntryKind::Directory {
        remove_directory(place, path)?;
        return remember(trash, path, &now);
    }
    match trash {
        Some(trash) => trash.place(path, |spot| rename_no_replace(place, spot)),
        None => unlinkat(place.dir, place.name, AtFlags::empty()),
    }
    .map_err(|errno| failed("remove", path, errno))
}

/// What is at `place`, if that is what was `expected`.
fn check(place: Spot<'_>, path: &RelPath, expected: &Metadata) -> Result<Metadata, SystemError> {
    match metadata::of_name(place.dir, place.name) {
        Ok(now) if is_same_version(expected, &now) => Ok(now),
        Ok(_) => Err(SystemError::Changed { path: path.clone() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SystemError::Changed { path: path.clone() })
        }
        Err(error) => Err(SystemError::io("look at", path)(error)),
    }
}

/// Whether `now` is still the object that was `planned`, with its content.
///
/// A directory's size and times move with its entries, which this run itself changes. An inode with several names has
/// its change time moved by what happens to the other names, again by this run itself.
pub fn is_same_version(planned: &Metadata, now: &Metadata) -> bool {
    let mut now_identity = now.identity();
    if planned.links > 1 {
        now_identity.ctime = planned.ctime;
    }
    match planned.kind {
        EntryKind::Directory => (planned.kind, planned.dev, planned.ino) == (now.kind, now.dev, now.ino),
        _ => planned.kind == now.kind && planned.identity() == now_identity,
    }
}

fn remove_directory(place: Spot<'_>, path: &RelPath) -> Result<(), SystemError> {
    unlinkat(place.dir, place.name, AtFlags::REMOVEDIR).map_err(|errno| match errno {
        Errno::NOTEMPTY | Errno::EXIST => SystemError::Occupied { path: path.clone() },
        Errno::NOTDIR | Errno::NOENT => SystemError::Changed { path: path.clone() },
        errno => failed("remove", path, errno),
    })
}

fn remember(trash: Option<&Trash>, path: &RelPath, removed: &Metadata) -> Result<(), SystemError> {
    trash
        .map_or(Ok(()), |trash| trash.remember_directory(path, &removed.attributes))
        .map_err(|errno| failed("keep in the trash", path, errno))
}

/// The new object takes the trash's name first and is then exchanged with the old one, so the path is never empty and
/// the old object never lies where a sweep would find it.
fn put_and_keep(staged: Spot<'_>, place: Spot<'_>, path: &RelPath, trash: &Trash) -> rustix::io::Result<()> {
    trash.place(path, |spot| {
        rename_no_replace(staged, spot)?;
        let Err(errno) = exchange(spot, place) else { return Ok(()) };
        rename_no_replace(spot, staged)?;
        if is_unsupported(errno) { keep_without_exchange(staged, place, spot) } else { Err(errno) }
    })
}

/// Where names cannot be exchanged: the old object gets its second name in the trash before it loses the first. Only
/// where it cannot have two names (directories, vfat) the path is empty for a moment.
fn keep_without_exchange(staged: Spot<'_>, place: Spot<'_>, spot: Spot<'_>) -> rustix::io::Result<()> {
    match linkat(place.dir, place.name, spot.dir, spot.name, AtFlags::empty()) {
        Ok(()) => rename_over(staged, place),
        Err(Errno::EXIST) => Err(Errno::EXIST),
        Err(_) => {
            rename_no_replace(place, spot)?;
            rename_no_replace(staged, place)
        }
    }
}

fn put_directory_over_file(staged: Spot<'_>, place: Spot<'_>) -> rustix::io::Result<()> {
    match exchange(staged, place) {
        Ok(()) => unlinkat(staged.dir, staged.name, AtFlags::empty()),
        Err(errno) if is_unsupported(errno) => {
            unlinkat(place.dir, place.name, AtFlags::empty())?;
            rename_no_replace(staged, place)
        }
        Err(errno) => Err(errno),
    }
}

/// A refusal where nothing was expected to be.
fn appeared(path: &RelPath, errno: Errno) -> SystemError {
    match errno {
        Errno::EXIST | Errno::NOTEMPTY => SystemError::Changed { path: path.clone() },
        errno => failed("create", path, errno),
    }
}

/// An error of the operating system on `path`.
pub fn failed(operation: &'static str, path: &RelPath, errno: Errno) -> SystemError {
    SystemError::io(operation, path)(errno.into())
}
