//! A directory to sync from or to, and what its file system can do.

use super::Finding;
use crate::local::writer::{free_space as free_space_of, timestamp_granularity_ns};
use rustix::fs::{Mode, OFlags, ioctl_ficlone, open};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SUBJECT: &str = "path";

/// Below this many free bytes a disk is as good as full.
const FREE_BYTES_FAIL: u64 = 16 << 20;
/// Below this many it soon will be.
const FREE_BYTES_WARN: u64 = 1 << 30;
/// Below this many free inodes a disk takes no tree any more.
const FREE_INODES_WARN: u64 = 10_000;

pub(super) fn examine(path: &Path, found: &mut dyn FnMut(Finding)) {
    let name = path.display();
    match fs::metadata(path) {
        Err(error) => {
            let fix = "check the spelling, and that its disk is mounted";
            return found(Finding::fail(SUBJECT, format!("cannot look at {name}: {error}"), fix));
        }
        Ok(metadata) if !metadata.is_dir() => {
            return found(Finding::fail(SUBJECT, format!("{name} is no directory"), "name a directory"));
        }
        Ok(_) => {}
    }
    let scratch = match Scratch::new(path) {
        Ok(scratch) => scratch,
        Err(error) => {
            let message = format!("{name} cannot be written ({error}): it can be a source only");
            return found(Finding::warn(
                SUBJECT,
                message,
                "to sync to it, correct its permissions or remount it",
            ));
        }
    };
    found(Finding::ok(SUBJECT, format!("{name} can be written")));
    free_space("free space", path, found);
    found(reflinks(path, &scratch));
    found(direct_io(path));
    found(times(path, &scratch));
}

/// Room on the file system of `path`.
pub(super) fn free_space(subject: &'static str, path: &Path, found: &mut dyn FnMut(Finding)) {
    let name = path.display();
    let room = match File::open(path).and_then(free_space_of) {
        Ok(room) => room,
        Err(error) => {
            let fix = "check the permissions of the directory";
            return found(Finding::warn(
                subject,
                format!("cannot ask for free space on {name}: {error}"),
                fix,
            ));
        }
    };
    let mib = room.bytes >> 20;
    let message = format!("{name} has {mib} MiB free");
    let make_room = "make room, or use another disk";
    found(match room.bytes {
        ..FREE_BYTES_FAIL => Finding::fail(subject, message, make_room),
        FREE_BYTES_FAIL..FREE_BYTES_WARN => Finding::warn(subject, message, make_room),
        _ => Finding::ok(subject, message),
    });
    if let Some(inodes) = room.inodes.filter(|inodes| *inodes < FREE_INODES_WARN) {
        found(Finding::warn(subject, format!("{name} takes only {inodes} more files"), make_room));
    }
}

fn reflinks(path: &Path, source: &Scratch) -> Finding {
    let subject = "reflinks";
    let name = path.display();
    let shared = Scratch::new(path).and_then(|copy| Ok(ioctl_ficlone(&copy.file, &source.file)?));
    match shared {
        Ok(()) => Finding::ok(subject, format!("{name} shares extents: copies within it cost no space")),
        // Not a fault of the machine: most file systems cannot.
        Err(_) => Finding::ok(subject, format!("{name} does not share extents: copies are full copies")),
    }
}

#[cfg(target_os = "linux")]
fn direct_io(path: &Path) -> Finding {
    let subject = "direct writes";
    let name = path.display();
    let opened = open(path, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT, Mode::RUSR);
    match opened {
        Ok(_) => Finding::ok(subject, format!("{name} takes writes past the page cache")),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
            Finding::ok(subject, format!("{name} takes writes through the page cache only"))
        }
        Err(errno) => Finding::ok(subject, format!("not tried on {name}: {}", io::Error::from(errno))),
    }
}

#[cfg(not(target_os = "linux"))]
fn direct_io(path: &Path) -> Finding {
    Finding::ok("direct writes", format!("{} takes writes through the page cache only", path.display()))
}

fn times(path: &Path, scratch: &Scratch) -> Finding {
    let subject = "file times";
    let name = path.display();
    match timestamp_granularity_ns(&scratch.file) {
        Ok(1) => Finding::ok(subject, format!("{name} keeps modification times to the nanosecond")),
        Ok(step) => {
            let message =
                format!("{name} keeps modification times in steps of {:?}", Duration::from_nanos(step));
            Finding::warn(
                subject,
                message,
                "nothing to do: times are compared in these steps; --checksum is exact",
            )
        }
        Err(error) => {
            let fix = "check the permissions of the directory";
            Finding::warn(subject, format!("cannot tell how {name} keeps times: {error}"), fix)
        }
    }
}

/// A file to try things on: nameless where the file system can, else removed when it is dropped.
pub(super) struct Scratch {
    file: File,
    named: Option<PathBuf>,
}

impl Scratch {
    /// One byte in `directory`.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let (file, named) = if let Some(file) = nameless(directory) {
            (file?, None)
        } else {
            let path = directory.join(format!(".orbit-doctor-{}", std::process::id()));
            (OpenOptions::new().read(true).write(true).create_new(true).open(&path)?, Some(path))
        };
        let mut scratch = Self { file, named };
        scratch.file.write_all(b"?")?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // A leftover of one byte with a telling name; there is nobody to tell here.
            let _ = fs::remove_file(path);
        }
    }
}

/// A nameless file; `None` where they do not exist.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> Option<io::Result<File>> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Some(Ok(File::from(file))),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => None,
        Err(errno) => Some(Err(errno.into())),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<io::Result<File>> {
    None
}
