//! [`TreeLock`]: one run writes to a tree, and none to a tree inside or around it.
//!
//! The lock is `flock` on the directories themselves, so it creates nothing and the kernel drops it with the process:
//! exclusive on the root, shared on every directory above it. A run into `/b` holds `/b` exclusively, which stops one
//! into `/b/sub` at its shared lock on `/b`, and the other way round; runs into `/b/x` and `/b/y` share `/b`.
//! Where a directory cannot be locked (NFS) the lock file of a stage area there is asked instead.

use super::area::is_lock_held;
use super::errors::{BeginError, Busy};
use crate::local::jail::{Jail, open_at};
use orbit_core::RelPath;
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::SystemError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, major, minor, openat};
use rustix::io::Errno;
use std::fs;
use std::thread;
use std::time::Duration;

/// A probe by another process holds a lock for microseconds; a run holds it for its whole life.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(5);

/// Held while a run writes below a root.
#[derive(Debug)]
pub struct TreeLock {
    _directories: Vec<OwnedFd>,
}

impl TreeLock {
    /// Locks the jail's root, or says who holds it or a tree that overlaps it.
    pub fn acquire(jail: &Jail) -> Result<Self, BeginError> {
        let root_path = RelPath::root();
        let root = jail.open_directory(&root_path)?;
        try_flock(root.as_fd(), FlockOperation::NonBlockingLockExclusive)?;
        let mut directories = vec![root];
        let mut below = identity(directories[0].as_fd())?;
        let mut here = openat(jail.root_fd(), c".", WAYPOINT, Mode::empty())
            .map_err(|e| SystemError::io("open", &root_path)(e.into()))?;
        loop {
            here = openat(&here, c"..", WAYPOINT, Mode::empty())
                .map_err(|e| SystemError::io("open a directory above", &root_path)(e.into()))?;
            let identity = identity(here.as_fd())?;
            if identity == below {
                return Ok(Self { _directories: directories });
            }
            below = identity;
            directories.extend(lock_above(here.as_fd())?);
        }
    }
}

const WAYPOINT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Locks a directory above the root. One that may not be read cannot be locked: whoever runs there is another user.
fn lock_above(directory: BorrowedFd<'_>) -> Result<Option<OwnedFd>, BeginError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Ok(readable) = openat(directory, c".", flags, Mode::empty())
        && try_flock(readable.as_fd(), FlockOperation::NonBlockingLockShared)?
    {
        return Ok(Some(readable));
    }
    if let Ok(area) = open_at(directory, STAGE_NAME, WAYPOINT, Mode::empty())
        && let Some(holder) = is_lock_held(area.as_fd())
    {
        return Err(BeginError::Busy(holder));
    }
    Ok(None)
}

/// `false` where directories cannot be locked.
fn try_flock(directory: BorrowedFd<'_>, operation: FlockOperation) -> Result<bool, BeginError> {
    for attempt in 1.. {
        match flock(directory, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if attempt < ATTEMPTS => thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(BeginError::Busy(Busy { pid: holder(directory) })),
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}

fn identity(directory: BorrowedFd<'_>) -> Result<(u64, u64), SystemError> {
    let found = fstat(directory).map_err(|e| SystemError::io("look at", &RelPath::root())(e.into()))?;
    Ok((found.st_dev, found.st_ino))
}

/// Process that holds a `flock` on an open directory, from `/proc/locks`; only asked for a message.
fn holder(directory: BorrowedFd<'_>) -> Option<u32> {
    let found = fstat(directory).ok()?;
    let wanted = format!("{:02x}:{:02x}:{}", major(found.st_dev), minor(found.st_dev), found.st_ino);
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let own = std::process::id();
    let holders = locks.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (kind, pid, file) = (fields.next()?, fields.nth(2)?, fields.next()?);
        (kind == "FLOCK" && file == wanted).then(|| pid.parse::<u32>().ok())?
    });
    // This process holds locks of its own only while it asks, unless it is the other run too.
    holders.fold(None, |best, pid| if best.is_none() || best == Some(own) { Some(pid) } else { best })
}
