//! [`LocalFile`]: an open regular file.

use crate::local::jail::Jail;
use crate::local::{metadata, xattr};
use orbit_core::system::{SourceFile, SystemError, Xattr};
use orbit_core::{ByteRange, Metadata, RelPath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};
use std::io;

/// From which size the kernel is told that the file will be read from front to back, so that it reads farther ahead.
#[cfg(target_os = "linux")]
const SEQUENTIAL_BYTES_MIN: u64 = 1 << 20;

/// A regular file of this machine, open for reading.
#[derive(Debug)]
pub struct LocalFile {
    handle: OwnedFd,
}

impl LocalFile {
    /// Opens a regular file in a jail; anything else is [`SystemError::WrongKind`].
    pub fn open(jail: &Jail, path: &RelPath) -> Result<Self, SystemError> {
        Ok(Self { handle: jail.open_file(path)? })
    }

    /// Announces that it is read from front to back.
    #[cfg(target_os = "linux")]
    pub fn expect_sequential(&self, size: u64) {
        if size >= SEQUENTIAL_BYTES_MIN {
            // Only a hint: not being able to give it changes nothing.
            let _refused = rustix::fs::fadvise(&self.handle, 0, None, rustix::fs::Advice::Sequential);
        }
    }

    /// Announces that it is read from front to back.
    #[cfg(not(target_os = "linux"))]
    pub fn expect_sequential(&self, _: u64) {}

    /// Reads until `buffer` is full or the file ends; says how much it was.
    pub fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut len = 0;
        while len < buffer.len() {
            match self.read_at(&mut buffer[len..], offset + len as u64)? {
                0 => break,
                read => len += read,
            }
        }
        Ok(len)
    }
}

impl SourceFile for LocalFile {
    fn metadata(&self) -> io::Result<Metadata> {
        metadata::of_handle(self.handle.as_fd())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match pread(&self.handle, &mut *buffer, offset) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>> {
        // The position that `seek` moves is used by nobody, so threads do not disturb each other.
        let start = match seek(&self.handle, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system does not know about holes: all is data.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => offset,
            Err(errno) => return Err(errno.into()),
        };
        let end = match seek(&self.handle, SeekFrom::Hole(start)) {
            Ok(end) => end,
            // It was truncated since.
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => self.metadata()?.size,
            Err(errno) => return Err(errno.into()),
        };
        Ok(ByteRange::new(start, end.saturating_sub(start)).ok().filter(|range| !range.is_empty()))
    }

    fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        xattr::of_handle(self.handle.as_fd())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.handle.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::FileExt;

    fn open(directory: &tempfile::TempDir, name: &str) -> LocalFile {
        let jail = Jail::open(directory.path()).expect("the root opens");
        LocalFile::open(&jail, &RelPath::new(name).expect("a path")).expect("opens")
    }

    #[test]
    fn reads_anywhere_and_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), "0123456789").expect("written");
        let file = open(&directory, "file");
        let mut buffer = [0; 4];
        assert_eq!(file.read_at(&mut buffer, 3).expect("readable"), 4);
        assert_eq!(&buffer, b"3456");
        assert_eq!(file.fill_at(&mut buffer, 8).expect("readable"), 2);
        assert_eq!(file.read_at(&mut buffer, 10).expect("readable"), 0);
        assert_eq!(file.metadata().expect("there").size, 10);
        assert!(file.descriptor().is_some());
    }

    #[test]
    fn finds_data_between_holes() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::create(directory.path().join("file")).expect("created");
        file.set_len(4 << 20).expect("set");
        file.write_all_at(&[1; 4096], 1 << 20).expect("written");
        file.write_all_at(&[1; 4096], 3 << 20).expect("written");
        let file = open(&directory, "file");
        let mut data = Vec::new();
        let mut offset = 0;
        while let Some(range) = file.next_data(offset).expect("known") {
            data.push((range.offset(), range.len()));
            offset = range.end();
        }
        let whole = [(0, 4 << 20)];
        let pieces = [(1 << 20, 4096), (3 << 20, 4096)];
        assert!(data == pieces || data == whole, "{data:?}");
        assert_eq!(file.next_data(5 << 20).expect("known"), None);
    }

    #[test]
    fn a_file_that_is_only_a_hole_has_no_data() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, len) in [("hole", 1 << 20), ("empty", 0)] {
            File::create(directory.path().join(name)).expect("created").set_len(len).expect("set");
            assert_eq!(open(&directory, name).next_data(0).expect("known"), None, "{name}");
        }
    }
}
