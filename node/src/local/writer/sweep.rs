//! Removes what is in a stage area, relative to handles, never following a link and never entering a mount.

use crate::local::jail::open_at;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, openat2, renameat, unlinkat};
use rustix::io::{Errno, Result, retry_on_intr};

/// Names in an open directory.
pub fn names(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    // A description of its own: reading moves the position.
    let dir = open_at(dir, b".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut reader = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = reader.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes everything in the area `dir` but the file `lock` and the `kept` objects, named as seen from `dir`. Goes on
/// after an error and returns the first.
pub fn sweep(dir: BorrowedFd<'_>, lock: &[u8], kept: &[&[u8]]) -> Result<()> {
    let mut first_error = Ok(());
    for name in names(dir)? {
        if name != lock {
            first_error = first_error.and(sweep_worker(dir, &name, kept));
        }
    }
    first_error
}

/// Sweeps one worker's directory, and removes it if nothing in it is kept.
fn sweep_worker(dir: BorrowedFd<'_>, worker: &[u8], kept: &[&[u8]]) -> Result<()> {
    let kept: Vec<&[u8]> =
        kept.iter().filter_map(|name| name.strip_prefix(worker)?.strip_prefix(b"/")).collect();
    if kept.is_empty() {
        return remove_tree(dir, worker);
    }
    let inner = enter(dir, worker)?;
    let mut first_error = Ok(());
    for name in names(inner.as_fd())? {
        // What is kept of a staged directory keeps the whole of it.
        let is_kept = |kept: &&[u8]| kept.split(|&byte| byte == b'/').next() == Some(&name);
        if !kept.iter().any(is_kept) {
            first_error = first_error.and(remove_tree(inner.as_fd(), &name));
        }
    }
    first_error
}

/// Removes a file or a whole directory. What is already gone is fine.
///
/// However deep the tree, two handles are open: a subdirectory is moved up beside `name` and waits its turn there. A
/// mount point cannot be moved nor removed (`EBUSY`), so what is mounted is safe.
pub fn remove_tree(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let mut waiting = vec![name.to_vec()];
    let mut moved = 0_u64;
    while let Some(name) = waiting.pop() {
        if !unlink(dir, &name)? {
            let inner = enter(dir, &name)?;
            for child in names(inner.as_fd())? {
                if !unlink(inner.as_fd(), &child)? {
                    waiting.push(move_up(inner.as_fd(), &child, dir, &mut moved)?);
                }
            }
            unlinkat(dir, &name, AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// Removes a name; `false` if it is a directory.
fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match retry_on_intr(|| unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        // What POSIX says for a directory, and some file systems do; also said of files marked immutable.
        Err(Errno::PERM) if open_at(dir, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).is_ok() => {
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

fn move_up(from: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, moved: &mut u64) -> Result<Vec<u8>> {
    loop {
        let new_name = format!("swept-{moved}").into_bytes();
        *moved += 1;
        match renameat(from, name, to, &new_name) {
            Ok(()) => return Ok(new_name),
            // A leftover of a sweep that was killed.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(Errno::ACCESS) => open_up(from, name)?,
            Err(errno) => return Err(errno),
        }
    }
}

fn enter(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let open = || match openat2(dir, name, flags, Mode::empty(), stay) {
        Err(Errno::NOSYS | Errno::PERM) => open_at(dir, name, flags, Mode::empty()),
        result => result,
    };
    match open() {
        Err(Errno::ACCESS) => {
            open_up(dir, name)?;
            open()
        }
        result => result,
    }
}

/// Lets its owner into a directory that was staged with a mode that does not.
fn open_up(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let handle = open_at(dir, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    super::attributes::chmod_handle(handle.as_fd(), 0o700)
}
