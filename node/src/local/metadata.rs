//! [`Metadata`] by system calls, never following a symbolic link.

use orbit_core::Metadata;
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;
use std::io;

/// Metadata of `name` in an open directory. What the file system has at hand is enough: a network file system is not
/// made to ask its server.
pub fn of_name(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Metadata> {
    system::of_name(directory, name)
}

/// Fresh metadata of an open file: what is compared before and after reading must not come from a cache.
pub fn of_handle(file: BorrowedFd<'_>) -> io::Result<Metadata> {
    system::of_handle(file)
}

fn kind(mode: u32) -> io::Result<orbit_core::EntryKind> {
    use orbit_core::EntryKind;
    match FileType::from_raw_mode(mode as rustix::fs::RawMode) {
        FileType::RegularFile => Ok(EntryKind::File),
        FileType::Directory => Ok(EntryKind::Directory),
        FileType::Symlink => Ok(EntryKind::Symlink),
        FileType::Fifo => Ok(EntryKind::Fifo),
        FileType::Socket => Ok(EntryKind::Socket),
        FileType::CharacterDevice => Ok(EntryKind::CharDevice),
        FileType::BlockDevice => Ok(EntryKind::BlockDevice),
        FileType::Unknown => Err(io::Error::new(io::ErrorKind::InvalidData, "unknown kind of file")),
    }
}

/// `statx`: asks only for what is used.
#[cfg(target_os = "linux")]
mod system {
    use super::{Metadata, kind, stat};
    use orbit_core::{Attributes, Timestamp};
    use rustix::fd::BorrowedFd;
    use rustix::fs::{AtFlags, Statx, StatxFlags, StatxTimestamp, makedev, statx};
    use rustix::io::Errno;
    use std::io;

    const WANTED: StatxFlags = StatxFlags::BASIC_STATS.difference(StatxFlags::ATIME);

    pub fn of_name(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Metadata> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(directory, name, flags, WANTED) {
            Ok(found) => from_statx(&found),
            // A container's seccomp profile may not know the call.
            Err(Errno::NOSYS | Errno::PERM) => stat::of_name(directory, name),
            Err(errno) => Err(errno.into()),
        }
    }

    pub fn of_handle(file: BorrowedFd<'_>) -> io::Result<Metadata> {
        match statx(file, c"", AtFlags::EMPTY_PATH, WANTED) {
            Ok(found) => from_statx(&found),
            Err(Errno::NOSYS | Errno::PERM) => stat::of_handle(file),
            Err(errno) => Err(errno.into()),
        }
    }

    fn from_statx(found: &Statx) -> io::Result<Metadata> {
        let time = |t: &StatxTimestamp| Timestamp { seconds: t.tv_sec, nanos: t.tv_nsec };
        let mode = u32::from(found.stx_mode);
        Ok(Metadata {
            kind: kind(mode)?,
            size: found.stx_size,
            allocated: found.stx_blocks.saturating_mul(512),
            attributes: Attributes {
                mode: mode & 0o7777,
                uid: found.stx_uid,
                gid: found.stx_gid,
                mtime: time(&found.stx_mtime),
            },
            ctime: time(&found.stx_ctime),
            dev: makedev(found.stx_dev_major, found.stx_dev_minor),
            ino: found.stx_ino,
            links: found.stx_nlink,
            rdev: makedev(found.stx_rdev_major, found.stx_rdev_minor),
        })
    }
}

#[cfg(not(target_os = "linux"))]
use stat as system;

/// `fstatat`: for systems and sandboxes without `statx`.
// The widths of `stat`'s fields differ between systems; a cast that widens here is none there.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
mod stat {
    use super::{Metadata, kind};
    use orbit_core::{Attributes, Timestamp};
    use rustix::fd::BorrowedFd;
    use rustix::fs::{AtFlags, Stat, fstat, statat};
    use std::io;

    pub fn of_name(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Metadata> {
        from_stat(&statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub fn of_handle(file: BorrowedFd<'_>) -> io::Result<Metadata> {
        from_stat(&fstat(file)?)
    }

    fn from_stat(found: &Stat) -> io::Result<Metadata> {
        let mode = found.st_mode as u32;
        Ok(Metadata {
            kind: kind(mode)?,
            size: found.st_size as u64,
            allocated: (found.st_blocks as u64).saturating_mul(512),
            attributes: Attributes {
                mode: mode & 0o7777,
                uid: found.st_uid as u32,
                gid: found.st_gid as u32,
                mtime: Timestamp { seconds: found.st_mtime as i64, nanos: found.st_mtime_nsec as u32 },
            },
            ctime: Timestamp { seconds: found.st_ctime as i64, nanos: found.st_ctime_nsec as u32 },
            dev: found.st_dev as u64,
            ino: found.st_ino as u64,
            links: found.st_nlink as u32,
            rdev: found.st_rdev as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::EntryKind;
    use rustix::fd::AsFd;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn agrees_with_the_standard_library_and_with_the_fallback() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), vec![1; 10_000]).expect("written");
        fs::create_dir(directory.path().join("dir")).expect("made");
        symlink("nowhere", directory.path().join("link")).expect("linked");
        let handle = File::open(directory.path()).expect("opens");
        for (name, kind) in
            [("file", EntryKind::File), ("dir", EntryKind::Directory), ("link", EntryKind::Symlink)]
        {
            let found = of_name(handle.as_fd(), name.as_bytes()).expect("found");
            let wanted = fs::symlink_metadata(directory.path().join(name)).expect("found");
            assert_eq!(found, stat::of_name(handle.as_fd(), name.as_bytes()).expect("found"));
            assert_eq!(found.kind, kind);
            assert_eq!(
                (found.size, found.allocated, found.dev, found.ino),
                (wanted.size(), wanted.blocks() * 512, wanted.dev(), wanted.ino())
            );
            assert_eq!(found.attributes.mtime.seconds, wanted.mtime());
            assert_eq!(i64::from(found.attributes.mtime.nanos), wanted.mtime_nsec());
            assert_eq!(found.attributes.mode, wanted.mode() & 0o7777);
        }
        let file = File::open(directory.path().join("file")).expect("opens");
        let by_handle = of_handle(file.as_fd()).expect("found");
        assert_eq!(by_handle, of_name(handle.as_fd(), b"file").expect("found"));
        assert_eq!(by_handle, stat::of_handle(file.as_fd()).expect("found"));
    }

    #[test]
    fn device_numbers_survive() {
        let dev = File::open("/dev").expect("opens");
        let null = of_name(dev.as_fd(), b"null").expect("found");
        assert_eq!(null.kind, EntryKind::CharDevice);
        assert_eq!(null, stat::of_name(dev.as_fd(), b"null").expect("found"));
    }
}
