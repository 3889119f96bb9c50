//! [`Names`]: what a directory holds, before anything is looked at.

use crate::local::metadata;
use orbit_core::filter::is_reserved;
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;
use std::io;

/// Bytes of names one directory may have; a file system that gives more is broken, and a [`Listing`] holds 4 GiB.
///
/// [`Listing`]: orbit_core::Listing
const NAME_BYTES_MAX: usize = 1 << 31;

/// The names of one directory in one buffer.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    ino: u64,
    start: u32,
    len: u16,
    hint: KindHint,
}

/// What the directory itself says of a name's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindHint {
    /// A directory.
    Directory,
    /// Something else.
    Other,
    /// The file system does not say.
    Unknown,
}

impl Names {
    /// Forgets the names, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// A name and what the directory says of its kind.
    pub fn get(&self, index: usize) -> (&[u8], KindHint) {
        let row = &self.rows[index];
        (&self.bytes[row.start as usize..][..usize::from(row.len)], row.hint)
    }

    /// Every name with what the directory says of its kind.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], KindHint)> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Sorts by inode: inodes close to each other share blocks, and a cold disk is spared seeks.
    pub fn sort_by_inode(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.ino);
    }

    /// Keeps the names for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], KindHint) -> bool) {
        let bytes = &self.bytes;
        self.rows.retain(|row| keep(&bytes[row.start as usize..][..usize::from(row.len)], row.hint));
    }

    /// Appends a name unless it is `.`, `..` or one of Orbit's own.
    fn push(&mut self, name: &[u8], ino: u64, file_type: FileType) -> io::Result<()> {
        if matches!(name, b"." | b"..") || is_reserved(name) {
            return Ok(());
        }
        let broken = |text| io::Error::new(io::ErrorKind::InvalidData, text);
        if name.is_empty() || name.contains(&b'/') {
            return Err(broken("the file system gives a name that is none"));
        }
        if self.bytes.len() + name.len() > NAME_BYTES_MAX {
            return Err(broken("the file system gives more names than a directory can hold"));
        }
        let len = u16::try_from(name.len()).map_err(|_| broken("the file system gives an overlong name"))?;
        let hint = match file_type {
            FileType::Directory => KindHint::Directory,
            FileType::Unknown => KindHint::Unknown,
            _ => KindHint::Other,
        };
        self.rows.push(Row { ino, start: self.bytes.len() as u32, len, hint });
        self.bytes.extend_from_slice(name);
        Ok(())
    }
}

/// Reads the names of an open directory, with a buffer that is used again for the next.
#[derive(Debug, Default)]
pub struct NameReader {
    #[cfg(target_os = "linux")]
    buffer: Vec<u8>,
}

impl NameReader {
    /// Appends the names of `directory` to `names`.
    #[cfg(target_os = "linux")]
    pub fn read(&mut self, directory: BorrowedFd<'_>, names: &mut Names) -> io::Result<()> {
        // Large enough that most directories take one call; measured against 32 KiB and 1 MiB.
        const BUFFER_BYTES: usize = 256 * 1024;
        self.buffer.reserve(BUFFER_BYTES);
        let mut entries = rustix::fs::RawDir::new(directory, self.buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            names.push(entry.file_name().to_bytes(), entry.ino(), entry.file_type())?;
        }
        Ok(())
    }

    /// Appends the names of `directory` to `names`.
    #[cfg(not(target_os = "linux"))]
    pub fn read(&mut self, directory: BorrowedFd<'_>, names: &mut Names) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            names.push(entry.file_name().to_bytes(), entry.ino(), entry.file_type())?;
        }
        Ok(())
    }
}

/// Metadata of a name; `None` if it vanished since the directory was read.
pub fn look_at(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<orbit_core::Metadata>> {
    match metadata::of_name(directory, name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
