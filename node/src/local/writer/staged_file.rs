//! [`LocalStagedFile`]: a regular file in a stage area.

use super::area::{Area, Defaults};
use super::attributes::{self, Past, Target};
use super::buffer;
use orbit_core::system::SourceFile;
use orbit_core::writer::{AttributeChange, Layout, Outline, StagedFile, StagedName, WriteMode};
use orbit_core::{Attributes, ByteRange, Timestamp};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Advice, FallocateFlags, Mode, OFlags, copy_file_range, fadvise, fallocate, fdatasync, ftruncate,
    ioctl_ficlone, openat,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use std::io;

/// From this size on, room is reserved before the first byte is written: fewer fragments, and a full disk shows at
/// once. Below it the call costs more than it gains.
const RESERVE_BYTES_MIN: u64 = 1 << 20;

/// A staged regular file.
#[derive(Debug)]
pub struct LocalStagedFile {
    name: StagedName,
    file: OwnedFd,
    /// The same file opened with `O_DIRECT`, while that works.
    direct: Option<OwnedFd>,
    /// Bytes to reserve before the first write; not sooner, since sharing extents needs none.
    to_reserve: u64,
    /// What it has now.
    attributes: Attributes,
    past: Past,
}

impl LocalStagedFile {
    /// Creates `relative` in `area`; `EEXIST` if it is there.
    pub fn create(
        area: &Area,
        name: StagedName,
        relative: &[u8],
        outline: Outline,
    ) -> rustix::io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Set-id bits come with the owner, at the end.
        let mode = outline.mode & 0o777;
        let file = retry_on_intr(|| openat(&area.dir, relative, flags, Mode::from_raw_mode(mode)))?;
        let Defaults { uid, gid, umask } = area.defaults;
        let attributes = Attributes { mode: mode & !umask, uid, gid, mtime: Timestamp::default() };
        let reserves = outline.layout == Layout::Dense && outline.size >= RESERVE_BYTES_MIN;
        let to_reserve = if reserves { outline.size } else { 0 };
        let mut staged = Self { name, file, direct: None, to_reserve, attributes, past: Past::Fresh };
        if outline.write == WriteMode::Direct {
            staged.open_direct(area, relative);
        }
        Ok(staged)
    }

    /// Opens a file that an earlier run staged.
    pub fn reopen(area: &Area, name: StagedName, relative: &[u8]) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&area.dir, relative, flags, Mode::empty()) {
            Err(Errno::ACCESS) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = openat(&area.dir, relative, flags, Mode::empty())?;
                attributes::chmod_handle(handle.as_fd(), 0o600)?;
                openat(&area.dir, relative, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?
            }
            result => result?,
        };
        let found = crate::local::metadata::of_handle(file.as_fd())?;
        if found.kind != orbit_core::EntryKind::File {
            return Err(Errno::NOENT.into());
        }
        let (attributes, past) = (found.attributes, Past::Existing);
        let mut staged = Self { name, file, direct: None, to_reserve: 0, attributes, past };
        if found.size >= RESERVE_BYTES_MIN {
            staged.open_direct(area, relative);
        }
        Ok(staged)
    }

    fn reserve(&mut self) -> rustix::io::Result<()> {
        let size = std::mem::take(&mut self.to_reserve);
        if size == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            result => result,
        }
    }

    /// A file system that cannot leaves everything to the page cache.
    fn open_direct(&mut self, area: &Area, relative: &[u8]) {
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.direct = openat(&area.dir, relative, flags, Mode::empty()).ok();
    }

    /// Shares the extents of `source`; `false` where that is not possible.
    pub fn share(&self, source: BorrowedFd<'_>) -> io::Result<bool> {
        match retry_on_intr(|| ioctl_ficlone(&self.file, source)) {
            Ok(()) => Ok(true),
            Err(errno) if is_impossible(errno) || errno == Errno::NOTTY => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes the aligned first part past the page cache and returns its length; 0 where that is not possible.
    ///
    /// The kernel keeps the two ways coherent: before a direct write it writes out and drops cached pages of its
    /// range, and pages cached later are read back from the disk.
    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = buffer::direct_len(bytes, offset);
        let mut done = 0;
        while let Some(direct) = &self.direct
            && done < len
        {
            match pwrite(direct, &bytes[done..len], offset + done as u64) {
                // A short write that leaves the grid: the rest goes through the cache.
                Ok(written) if written == 0 || !written.is_multiple_of(buffer::ALIGNMENT) => {
                    return Ok(done + written);
                }
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::OPNOTSUPP) => self.direct = None,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(done)
    }
}

impl StagedFile for LocalStagedFile {
    fn name(&self) -> &StagedName {
        &self.name
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.reserve()?;
        let mut done = if self.direct.is_some() { self.write_direct(bytes, offset)? } else { 0 };
        while done < bytes.len() {
            match pwrite(&self.file, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(retry_on_intr(|| pread(&self.file, &mut *buffer, offset))?)
    }

    fn clone_from(&mut self, source: &dyn SourceFile) -> io::Result<bool> {
        source.descriptor().map_or(Ok(false), |source| self.share(source))
    }

    fn copy_from(&mut self, source: &dyn SourceFile, range: ByteRange) -> io::Result<u64> {
        let Some(source) = source.descriptor() else { return Ok(0) };
        let (mut from, mut to) = (range.offset(), range.offset());
        while to < range.end() {
            let len = usize::try_from(range.end() - to).unwrap_or(usize::MAX);
            match copy_file_range(source, Some(&mut from), &self.file, Some(&mut to), len) {
                // The source ends here.
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) if is_impossible(errno) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(to - range.offset())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| ftruncate(&self.file, len))?)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(retry_on_intr(|| fdatasync(&self.file))?)
    }

    fn forget_cache(&mut self) -> io::Result<()> {
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }

    fn set_attributes(&mut self, change: &AttributeChange<'_>) -> io::Result<()> {
        attributes::apply(Target::File(self.file.as_fd()), self.past, &self.attributes, change)?;
        Ok(())
    }
}

/// Whether the kernel says that these two files cannot be copied or shared by it, rather than that it failed.
const fn is_impossible(errno: Errno) -> bool {
    matches!(errno, Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::TXTBSY)
}
