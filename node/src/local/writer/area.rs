//! [`Area`]: the directory in which objects are staged, one a volume.
//!
//! ```text
//! <top of the volume>/.orbit-stage/        0700, ours
//!                       ├── lock           marker and pid; held with flock while a run lives
//!                       └── w0/ w1/ …      one a worker thread, so that they do not queue for one directory
//!                             ├── 0        a staged file or node
//!                             └── 1/…      a staged directory, its files under their final names
//! ```
//! Only we may enter it, so names below it are used without guarding each step against swapped links.

use super::errors::{BeginError, Busy};
use super::sweep;
use super::volume::Volume;
use crate::local::jail::{Jail, open_at};
use orbit_core::RelPath;
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::SystemError;
use orbit_core::writer::StagedName;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, flock,
    fremovexattr, fstat, ftruncate, futimens, mkdirat, openat, statat, unlinkat,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

/// Name of the lock file in an area.
pub const LOCK_NAME: &[u8] = b"lock";

/// How the lock file begins: what tells a directory of ours from a user's. Version 1 of the layout above.
const MARKER: &str = "orbit stage 1\n";

/// How often claiming starts over when another run makes or removes the area at the same time.
const ATTEMPTS: u32 = 16;
/// A probe by another process holds the lock for microseconds; a run holds it for its whole life.
const PROBES_OUTLASTED: u32 = 3;
const PAUSE: Duration = Duration::from_millis(5);

/// A claimed stage area; the claim ends when this is dropped.
#[derive(Debug)]
pub struct Area {
    /// The directory that holds it.
    pub at: RelPath,
    /// Where it is.
    pub path: RelPath,
    /// Its handle.
    pub dir: OwnedFd,
    /// What it can be renamed to.
    pub volume: Volume,
    /// What a file created in it is given.
    pub defaults: Defaults,
    parent: OwnedFd,
    _lock: OwnedFd,
}

/// Owner and missing permission bits of a file as created, looked at once instead of after every creation. They
/// depend on more than the process: set-group-id directories, mount options, what an NFS server makes of root.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits that creation takes away.
    pub umask: u32,
}

/// Whether [`Area::claim`] may make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Make it.
    Create,
    /// Leave it so.
    Keep,
}

impl Area {
    /// Takes the area in the directory `at` for this run. `None` if there is none and none is to be made.
    pub fn claim(jail: &Jail, at: &RelPath, absent: Absent) -> Result<Option<Self>, BeginError> {
        let path = at.join(STAGE_NAME).expect("the reserved name is a plain name");
        let parent = jail.open_directory(at)?;
        let io = |errno: Errno| SystemError::io("stage in", &path)(errno.into());
        for attempt in 1..=ATTEMPTS {
            if absent == Absent::Create {
                match keeping_times(parent.as_fd(), || mkdirat(&parent, STAGE_NAME, Mode::RWXU)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(io(errno).into()),
                }
            }
            let dir = match open_at(
                parent.as_fd(),
                STAGE_NAME,
                OFlags::RDONLY | OFlags::DIRECTORY,
                Mode::empty(),
            ) {
                Ok(dir) => dir,
                Err(Errno::NOENT) if absent == Absent::Keep => return Ok(None),
                Err(Errno::NOENT) => continue,
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(BeginError::NotOurs { path }),
                Err(errno) => return Err(io(errno).into()),
            };
            let volume = Volume::of(&parent).map_err(SystemError::io("stage in", &path))?;
            let same_volume = Volume::of(&dir).is_ok_and(|inner| inner == volume);
            if !same_volume || !is_ours(dir.as_fd()).map_err(io)? {
                return Err(BeginError::NotOurs { path });
            }
            let lock = match open_lock(dir.as_fd()) {
                Ok(Some(lock)) => lock,
                Ok(None) => return Err(BeginError::NotOurs { path }),
                Err(Errno::NOENT | Errno::EXIST) => continue,
                Err(errno) => return Err(io(errno).into()),
            };
            // Where files cannot be locked the lock on the tree is all there is.
            let locked = retry_on_intr(|| flock(&lock, FlockOperation::NonBlockingLockExclusive));
            if locked == Err(Errno::WOULDBLOCK) && attempt <= PROBES_OUTLASTED {
                thread::sleep(PAUSE);
                continue;
            }
            if locked == Err(Errno::WOULDBLOCK) {
                return Err(BeginError::Busy(Busy { pid: recorded_pid(lock.as_fd()) }));
            }
            if is_still(parent.as_fd(), STAGE_NAME, dir.as_fd())
                && is_still(dir.as_fd(), LOCK_NAME, lock.as_fd())
            {
                record_pid(lock.as_fd()).map_err(io)?;
                close_to_others(dir.as_fd());
                let defaults = Defaults::of(dir.as_fd()).map_err(io)?;
                let at = at.clone();
                return Ok(Some(Self { at, path, dir, volume, defaults, parent, _lock: lock }));
            }
            thread::sleep(PAUSE);
        }
        Err(BeginError::Busy(Busy { pid: None }))
    }

    /// Removes everything but what is `kept`.
    pub fn sweep(&self, kept: &BTreeSet<StagedName>) -> Result<(), SystemError> {
        let kept: Vec<&[u8]> = kept.iter().filter_map(|staged| self.relative(staged)).collect();
        sweep::sweep(self.dir.as_fd(), LOCK_NAME, &kept)
            .map_err(|errno| SystemError::io("clean up", &self.path)(errno.into()))
    }

    /// Removes everything but what is `kept`, and itself if that is nothing. The directory around it keeps its times: by
    /// then they are what they should be.
    pub fn close(&self, kept: &BTreeSet<StagedName>) -> Result<(), SystemError> {
        self.sweep(kept)?;
        let remove = || -> rustix::io::Result<()> {
            if sweep::names(self.dir.as_fd())?.iter().all(|name| name == LOCK_NAME) {
                unlinkat(&self.dir, LOCK_NAME, AtFlags::empty())?;
                keeping_times(self.parent(), || unlinkat(&self.parent, STAGE_NAME, AtFlags::REMOVEDIR))?;
            }
            Ok(())
        };
        remove().map_err(|errno| SystemError::io("remove", &self.path)(errno.into()))
    }

    /// A staged name seen from the area's handle; `None` if it is not in this area.
    pub fn relative<'s>(&self, staged: &'s StagedName) -> Option<&'s [u8]> {
        let bytes = staged.0.as_bytes().strip_prefix(self.path.as_bytes())?.strip_prefix(b"/")?;
        // Staged objects lie in a worker's directory: the lock file is none.
        bytes.contains(&b'/').then_some(bytes)
    }

    /// Handle of the directory that holds the area.
    pub fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }
}

/// Changes the entries of a directory and sets its modification time back. A wrong one is found by the next run.
fn keeping_times(
    directory: BorrowedFd<'_>,
    change: impl FnOnce() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let before = fstat(directory);
    change()?;
    if let Ok(before) = before {
        let mtime = Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ };
        let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let _ = futimens(directory, &Timestamps { last_access: omit, last_modification: mtime });
    }
    Ok(())
}

impl Defaults {
    /// Creates a file without a name, or with one where that is not possible, and looks at it.
    fn of(dir: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        const PROBE: &[u8] = b"probe";
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let nameless = openat(dir, c".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, all);
        let probe = if let Ok(probe) = nameless {
            probe
        } else {
            let _ = unlinkat(dir, PROBE, AtFlags::empty());
            let probe = open_at(dir, PROBE, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, all)?;
            unlinkat(dir, PROBE, AtFlags::empty())?;
            probe
        };
        let found = fstat(&probe)?;
        Ok(Self { uid: found.st_uid, gid: found.st_gid, umask: !found.st_mode & 0o777 })
    }
}

/// Whether the directory was made by this user: nobody else can have given it away to us.
fn is_ours(dir: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let owner = fstat(dir)?.st_uid;
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    // Some file systems give every file one owner, and a server may turn root into nobody. They are told from a
    // stranger's directory by creating a file; it is left alone where that would show in it.
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(dir, c".", flags, Mode::RUSR | Mode::WUSR) {
        Ok(probe) => Ok(fstat(&probe)?.st_uid == owner),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(Defaults::of(dir)?.uid == owner),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens the lock file, making it if the directory is empty. `None` if it is not one of ours.
fn open_lock(dir: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let lock = match open_at(dir, LOCK_NAME, flags, Mode::empty()) {
        Ok(lock) => lock,
        Err(Errno::NOENT) => {
            if !sweep::names(dir)?.is_empty() {
                return Ok(None);
            }
            return open_at(dir, LOCK_NAME, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)
                .map(Some);
        }
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if FileType::from_raw_mode(fstat(&lock)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let text = read_lock(lock.as_fd())?;
    // A run killed right after creating it leaves it empty.
    let ours = text.is_empty() || text.starts_with(MARKER.as_bytes());
    Ok(ours.then_some(lock))
}

fn read_lock(lock: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let mut text = vec![0; 64];
    let len = retry_on_intr(|| pread(lock, &mut text[..], 0))?;
    text.truncate(len);
    Ok(text)
}

fn record_pid(lock: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let text = format!("{MARKER}process {}\n", std::process::id());
    retry_on_intr(|| pwrite(lock, text.as_bytes(), 0))?;
    retry_on_intr(|| ftruncate(lock, text.len() as u64))
}

fn recorded_pid(lock: BorrowedFd<'_>) -> Option<u32> {
    let text = read_lock(lock).ok()?;
    let pid = text.strip_prefix(MARKER.as_bytes())?.strip_prefix(b"process ")?.strip_suffix(b"\n")?;
    std::str::from_utf8(pid).ok()?.parse().ok()
}

/// Who holds the lock of the area `dir`, if anyone does. Creates nothing.
pub fn is_lock_held(dir: BorrowedFd<'_>) -> Option<Busy> {
    let lock = open_at(dir, LOCK_NAME, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let held = flock(&lock, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK);
    held.then(|| Busy { pid: recorded_pid(lock.as_fd()) })
}

/// Whether `name` still stands for what is open: between opening and locking, a run that ended may have removed it.
fn is_still(dir: BorrowedFd<'_>, name: &[u8], open: BorrowedFd<'_>) -> bool {
    match (statat(dir, name, AtFlags::SYMLINK_NOFOLLOW), fstat(open)) {
        (Ok(named), Ok(open)) => (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

/// Nobody else may look into the area, and what is staged inherits no access control list from what surrounds it.
/// A file system without such notions refuses, which is as good. The set-group-id bit that the area inherited stays,
/// so that files get the group that files of this tree get.
fn close_to_others(dir: BorrowedFd<'_>) {
    let _ = fremovexattr(dir, c"system.posix_acl_default");
    let _ = fremovexattr(dir, c"system.posix_acl_access");
    if let Ok(found) = fstat(dir)
        && found.st_mode & 0o777 != 0o700
    {
        let _ = fchmod(dir, Mode::from_raw_mode((found.st_mode & 0o2000) | 0o700));
    }
}
