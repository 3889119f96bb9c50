//! What is asked of the file system a path lies on: where a rename reaches, how much room there is, how fine its times.

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, StatxFlags, fstatfs, fstatvfs, makedev, statx};
use rustix::io::Errno;
use std::io;

/// Files of one volume can be renamed to each other. A mount of the same file system elsewhere is another one, and so
/// is each btrfs subvolume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    dev: u64,
    mount: u64,
}

impl Volume {
    /// The volume of an open directory.
    pub fn of(directory: impl AsFd) -> io::Result<Self> {
        match statx(&directory, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
            Ok(found) => Ok(Self {
                dev: makedev(found.stx_dev_major, found.stx_dev_minor),
                mount: if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 { 0 } else { found.stx_mnt_id },
            }),
            Err(Errno::NOSYS | Errno::PERM) => {
                Ok(Self { dev: rustix::fs::fstat(directory)?.st_dev, mount: 0 })
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes this process may still write.
    pub bytes: u64,
    /// Files it may still create; `None` where the file system does not count them.
    pub inodes: Option<u64>,
}

/// Room on the file system of an open file or directory.
pub fn free_space(handle: impl AsFd) -> io::Result<FreeSpace> {
    let found = fstatvfs(handle)?;
    Ok(FreeSpace {
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// The coarsest step, in nanoseconds, in which the file system of an open file or directory keeps modification times:
/// two times that differ by less may be the same. Judged by its type, so it writes nothing.
pub fn timestamp_granularity_ns(handle: impl AsFd) -> io::Result<u64> {
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)] // the field's width differs between machines
    let kind = fstatfs(handle)?.f_type as u64 & 0xffff_ffff;
    Ok(granularity_of_type_ns(kind))
}

/// Magic numbers from `linux/magic.h` and the drivers' sources.
const fn granularity_of_type_ns(kind: u64) -> u64 {
    match kind {
        0x4d44 => 2_000_000_000,                                      // vfat
        0x2011_bab0 => 10_000_000,                                    // exfat
        0x4244 | 0x482b => 1_000_000_000,                             // hfs, hfs+
        0x1501_3346 => 1_000,                                         // udf
        0x5346_544e | 0x7366_746e | 0xff53_4d42 | 0xfe53_4d42 => 100, // ntfs, ntfs3, cifs, smb2
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn knows_the_coarse_ones() {
        assert_eq!(granularity_of_type_ns(0x4d44), 2_000_000_000);
        assert_eq!(granularity_of_type_ns(0xef53), 1);
    }

    #[test]
    fn tells_mounts_apart_and_counts_room() {
        let (root, proc) = (File::open("/").expect("opens"), File::open("/proc").expect("opens"));
        assert_ne!(Volume::of(&root).expect("asked"), Volume::of(&proc).expect("asked"));
        assert_eq!(
            Volume::of(&root).expect("asked"),
            Volume::of(File::open("/").expect("opens")).expect("asked")
        );
        assert!(free_space(&root).expect("asked").bytes > 0);
    }
}
