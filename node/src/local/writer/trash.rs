//! [`Trash`]: where displaced objects of one run go, under their own relative paths.

use super::errors::BeginError;
use super::rename::Spot;
use super::volume::Volume;
use super::{TrashPlace, WriterOptions};
use crate::local::jail::{Jail, open_at};
use crate::local::metadata;
use orbit_core::filter::TRASH_NAME;
use orbit_core::{Attributes, EntryKind, RelPath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat};
use rustix::io::{Errno, Result};
use std::path::Path;
use std::sync::Mutex;

/// How many objects of one name a run can displace; more than a path can hold in one run.
const SUFFIX_MAX: u32 = 10_000;

/// Bytes of a name left when a suffix is added, so that it stays below the 255 that file systems allow.
const STEM_BYTES_MAX: usize = 240;

/// A run's trash on one volume; its directories are made when the first object arrives.
#[derive(Debug)]
pub struct Trash {
    /// Directory in which the run's own is made.
    base: Base,
    run: Vec<u8>,
    opened: Mutex<Option<std::sync::Arc<OwnedFd>>>,
}

#[derive(Debug)]
enum Base {
    /// `.orbit-trash` in this directory.
    Below(OwnedFd),
    /// This directory.
    Given(OwnedFd),
}

impl Trash {
    /// The trash of the root's volume, checked without making anything.
    pub fn of_root(jail: &Jail, options: &WriterOptions) -> std::result::Result<Self, BeginError> {
        let root = jail.open_directory(&RelPath::root())?;
        match &options.trash {
            TrashPlace::InDestination => {
                let taken = match open_own(root.as_fd(), TRASH_NAME) {
                    Ok(found) => !found,
                    Err(Errno::NOENT) => false,
                    Err(_) => true,
                };
                if taken {
                    let path = RelPath::root().join(TRASH_NAME).expect("the reserved name is a plain name");
                    return Err(BeginError::NotOurs { path });
                }
                Ok(Self::below(root, &options.run_id))
            }
            TrashPlace::Directory(directory) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let given = openat(CWD, directory, flags, Mode::empty()).map_err(|errno| {
                    BeginError::Trash { directory: directory.clone(), source: errno.into() }
                })?;
                Self::given(&root, given, directory, options)
            }
            TrashPlace::Opened(jail) => {
                let given = jail.open_directory(&RelPath::root())?;
                Self::given(&root, given, jail.root_path(), options)
            }
        }
    }

    /// The trash in a directory that was named, which must lie on the root's volume.
    fn given(
        root: &OwnedFd,
        given: OwnedFd,
        named: &Path,
        options: &WriterOptions,
    ) -> std::result::Result<Self, BeginError> {
        let same = match (Volume::of(root), Volume::of(&given)) {
            (Ok(root), Ok(given)) => root == given,
            _ => false,
        };
        if !same {
            return Err(BeginError::TrashElsewhere { directory: named.to_path_buf() });
        }
        Ok(Self { base: Base::Given(given), run: options.run_id.clone(), opened: Mutex::default() })
    }

    /// The trash below a directory, for volumes mounted inside the destination.
    pub fn below(directory: OwnedFd, run_id: &[u8]) -> Self {
        Self { base: Base::Below(directory), run: run_id.to_vec(), opened: Mutex::default() }
    }

    /// Offers names for the object at `path`, in a directory made for it, until `move_in` accepts one: it answers
    /// `EEXIST` where the name is taken.
    pub fn place<T>(&self, path: &RelPath, mut move_in: impl FnMut(Spot<'_>) -> Result<T>) -> Result<T> {
        let run = self.open()?;
        let mut directory: Option<OwnedFd> = None;
        let mut names = path.components().peekable();
        while let Some(name) = names.next() {
            let here = directory.as_ref().map_or(run.as_fd(), AsFd::as_fd);
            if names.peek().is_none() {
                return with_suffixes(name, |name| move_in(Spot { dir: here, name }));
            }
            directory = Some(with_suffixes(name, |name| enter_or_make(here, name))?);
        }
        Err(Errno::INVAL)
    }

    /// Keeps an empty directory that was removed at `path`: its name, mode and owner.
    pub fn remember_directory(&self, path: &RelPath, attributes: &Attributes) -> Result<()> {
        self.place(path, |spot| {
            let made = enter_or_make(spot.dir, spot.name)?;
            let made = open_at(made.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            let gid = rustix::fs::Gid::from_raw(attributes.gid);
            // Without privilege it stays ours.
            let _ = chownat(&made, c"", Some(Uid::from_raw(attributes.uid)), Some(gid), AtFlags::EMPTY_PATH);
            fchmod(&made, Mode::from_raw_mode(attributes.mode | 0o700))
        })
    }

    fn open(&self) -> Result<std::sync::Arc<OwnedFd>> {
        let mut opened = self.opened.lock().expect("no thread panics while it opens the trash");
        if let Some(run) = &*opened {
            return Ok(run.clone());
        }
        let run = match &self.base {
            Base::Given(given) => enter_or_make(given.as_fd(), &self.run)?,
            Base::Below(directory) => {
                let top = enter_or_make(directory.as_fd(), TRASH_NAME)?;
                if !open_own(directory.as_fd(), TRASH_NAME)? {
                    return Err(Errno::PERM);
                }
                enter_or_make(top.as_fd(), &self.run)?
            }
        };
        Ok(opened.insert(std::sync::Arc::new(run)).clone())
    }
}

/// Opens a directory on the way to something, making it (for nobody but us) if it is missing. `EEXIST` if something
/// else has the name; a symbolic link is never followed.
pub fn enter_or_make(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let open = || open_at(dir, name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(Errno::EXIST),
        result => return result,
    }
    match mkdirat(dir, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => match open() {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Errno::EXIST),
            result => result,
        },
        Err(errno) => Err(errno),
    }
}

/// Whether `name` is a directory of this user (or of what stands for it on this file system, as its parent is).
fn open_own(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    let found = metadata::of_name(dir, name).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let owner = found.attributes.uid;
    let ours = owner == rustix::process::geteuid().as_raw() || owner == fstat(dir)?.st_uid;
    Ok(found.kind == EntryKind::Directory && ours)
}

/// Tries `name`, then `name~1`, `name~2`, … while they are taken.
fn with_suffixes<T>(name: &[u8], mut attempt: impl FnMut(&[u8]) -> Result<T>) -> Result<T> {
    match attempt(name) {
        Err(Errno::EXIST) => {}
        result => return result,
    }
    let stem = &name[..name.len().min(STEM_BYTES_MAX)];
    for number in 1..=SUFFIX_MAX {
        match attempt(&[stem, format!("~{number}").as_bytes()].concat()) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
    Err(Errno::EXIST)
}
