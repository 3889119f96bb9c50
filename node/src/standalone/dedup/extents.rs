//! Sharing extents between files, and telling where a file's extents lie: `FIDEDUPERANGE` and `FIEMAP` (ioctl_fideduperange(2),
//! Documentation/filesystems/fiemap.rst), which rustix does not wrap.

use orbit_core::ContentHash;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes the kernel is asked to compare at once: what btrfs takes in one go.
const RANGE_BYTES_MAX: u64 = 16 << 20;

/// What the kernel said of two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// This many bytes from the beginning are equal and shared now: all, unless it was stopped.
    Shared(u64),
    /// A byte differs. What is before its range may be shared.
    Differs,
}

/// Makes the first `len` bytes of `destination` use the storage of `source`, range by range, as far as the kernel finds
/// them equal. Neither content nor times change. Both may be open for reading only; the destination must be the caller's
/// or writable to him.
pub(super) fn share(
    source: BorrowedFd<'_>,
    destination: BorrowedFd<'_>,
    len: u64,
    stop: &AtomicBool,
) -> Result<Comparison, Errno> {
    let mut done = 0;
    while done < len && !stop.load(Ordering::Relaxed) {
        match kernel::share_range(source, destination, done, (len - done).min(RANGE_BYTES_MAX))? {
            // Not even one whole unit of the file system: it would be asked for ever.
            Comparison::Shared(0) => return Err(Errno::INVAL),
            Comparison::Shared(bytes) => done += bytes,
            Comparison::Differs => return Ok(Comparison::Differs),
        }
    }
    Ok(Comparison::Shared(done.min(len)))
}

/// A name for the place on disk where the first `len` bytes of a file lie, if other files use all of it too. Files of one
/// file system with the same name share their storage. `None` where it is not shared or not known.
pub(super) fn shared_layout(file: BorrowedFd<'_>, len: u64) -> Option<ContentHash> {
    let mut layout = Layout::default();
    kernel::each_extent(file, len, &mut |extent| layout.add(extent, len)).ok()?;
    layout.finish()
}

/// A run of a file in one place on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    logical: u64,
    physical: u64,
    len: u64,
    flags: u32,
}

/// Extents, joined where one goes on where the other ended: how a file system divides them says nothing.
#[derive(Default)]
struct Layout {
    hasher: orbit_cdc::ContentHasher,
    open: Option<Extent>,
    is_unshared: bool,
}

impl Layout {
    /// Adds the next extent. Answers whether there is a point in going on.
    fn add(&mut self, extent: Extent, file_len: u64) -> bool {
        const UNKNOWN: u32 = 0x2;
        const DELAYED: u32 = 0x4;
        const ENCODED: u32 = 0x8;
        const INLINE: u32 = 0x200;
        const SHARED: u32 = 0x2000;
        if extent.flags & (UNKNOWN | DELAYED | INLINE) != 0 || extent.flags & SHARED == 0 {
            self.is_unshared = true;
            return false;
        }
        // Space that is set aside behind the end belongs to one file only.
        let extent = Extent { len: extent.len.min(file_len.saturating_sub(extent.logical)), ..extent };
        match &mut self.open {
            // Places within compressed extents do not add up.
            Some(open)
                if (open.flags | extent.flags) & ENCODED == 0
                    && open.logical + open.len == extent.logical
                    && open.physical + open.len == extent.physical =>
            {
                open.len += extent.len;
            }
            _ => self.close(Some(extent)),
        }
        true
    }

    fn close(&mut self, next: Option<Extent>) {
        if let Some(extent) = std::mem::replace(&mut self.open, next) {
            for number in [extent.logical, extent.physical, extent.len] {
                self.hasher.update(&number.to_le_bytes());
            }
        }
    }

    fn finish(mut self) -> Option<ContentHash> {
        let has_extents = self.open.is_some();
        self.close(None);
        (has_extents && !self.is_unshared).then(|| self.hasher.finish())
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    #![allow(unsafe_code, reason = "two ioctls that rustix does not wrap")]

    use super::{Comparison, Extent};
    use rustix::fd::{AsRawFd, BorrowedFd};
    use rustix::io::Errno;
    use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

    /// `struct file_dedupe_range` without its array.
    #[repr(C)]
    #[derive(Default)]
    struct DedupeHeader {
        source_offset: u64,
        source_length: u64,
        destination_count: u16,
        reserved: [u16; 3],
    }

    /// `struct file_dedupe_range` with an array of one.
    #[repr(C)]
    #[derive(Default)]
    struct DedupeRange {
        header: DedupeHeader,
        destination: i64,
        destination_offset: u64,
        bytes_deduped: u64,
        status: i32,
        reserved: u32,
    }

    /// The size in the number is that of the structure without its array.
    const FIDEDUPERANGE: Opcode = opcode::read_write::<DedupeHeader>(0x94, 54);
    /// `FILE_DEDUPE_RANGE_DIFFERS`; 0 is "same", negative an error.
    const DIFFERS: i32 = 1;

    /// One call: compares a range at the same offset in both files and shares it if it is equal.
    pub(super) fn share_range(
        source: BorrowedFd<'_>,
        destination: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> Result<Comparison, Errno> {
        let mut range = DedupeRange {
            header: DedupeHeader {
                source_offset: offset,
                source_length: len,
                destination_count: 1,
                ..DedupeHeader::default()
            },
            destination: i64::from(destination.as_raw_fd()),
            destination_offset: offset,
            ..DedupeRange::default()
        };
        // SAFETY: the number is FIDEDUPERANGE's, and `DedupeRange` has the layout of `struct file_dedupe_range` with the
        // one element that `destination_count` announces. It outlives the call, and the kernel writes only into it. Both
        // descriptors are borrowed, so they stay open.
        unsafe { ioctl(source, Updater::<FIDEDUPERANGE, _>::new(&mut range)) }?;
        match range.status {
            0 => Ok(Comparison::Shared(range.bytes_deduped)),
            DIFFERS => Ok(Comparison::Differs),
            status => Err(Errno::from_raw_os_error(-status)),
        }
    }

    /// Extents asked for at once: 56 bytes each.
    const EXTENTS: usize = 64;

    /// `struct fiemap` without its array.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct MapHeader {
        start: u64,
        length: u64,
        flags: u32,
        mapped_extents: u32,
        extent_count: u32,
        reserved: u32,
    }

    /// `struct fiemap_extent`.
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct MapExtent {
        logical: u64,
        physical: u64,
        length: u64,
        reserved: [u64; 2],
        flags: u32,
        reserved_too: [u32; 3],
    }

    /// `struct fiemap` with its array.
    #[repr(C)]
    struct Map {
        header: MapHeader,
        extents: [MapExtent; EXTENTS],
    }

    /// The size in the number is that of the structure without its array.
    const FIEMAP: Opcode = opcode::read_write::<MapHeader>(b'f', 11);
    /// `FIEMAP_EXTENT_LAST`.
    const LAST: u32 = 0x1;

    /// Gives the extents within the first `len` bytes, until `visit` has had enough.
    pub(super) fn each_extent(
        file: BorrowedFd<'_>,
        len: u64,
        visit: &mut dyn FnMut(Extent) -> bool,
    ) -> Result<(), Errno> {
        let mut start = 0;
        while start < len {
            let (flags, mapped_extents, reserved) = (0, 0, 0);
            let extent_count = EXTENTS as u32;
            let header =
                MapHeader { start, length: len - start, flags, mapped_extents, extent_count, reserved };
            let mut map = Map { header, extents: [MapExtent::default(); EXTENTS] };
            // SAFETY: the number is FIEMAP's, and `Map` has the layout of `struct fiemap` with as many elements as
            // `extent_count` announces. It outlives the call, and the kernel writes only into it.
            unsafe { ioctl(file, Updater::<FIEMAP, _>::new(&mut map)) }?;
            let mapped = &map.extents[..EXTENTS.min(map.header.mapped_extents as usize)];
            for found in mapped {
                let (logical, physical, len) = (found.logical, found.physical, found.length);
                if !visit(Extent { logical, physical, len, flags: found.flags }) {
                    return Ok(());
                }
            }
            match mapped.last() {
                Some(last) if last.flags & LAST == 0 && last.length > 0 => start = last.logical + last.length,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    const _: () = assert!(size_of::<DedupeHeader>() == 24 && size_of::<DedupeRange>() == 56);
    const _: () = assert!(size_of::<MapHeader>() == 32 && size_of::<MapExtent>() == 56);
}

/// Systems without these calls share nothing and know nothing.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{Comparison, Extent};
    use rustix::fd::BorrowedFd;
    use rustix::io::Errno;

    pub(super) fn share_range(
        _: BorrowedFd<'_>,
        _: BorrowedFd<'_>,
        _: u64,
        _: u64,
    ) -> Result<Comparison, Errno> {
        Err(Errno::OPNOTSUPP)
    }

    pub(super) fn each_extent(
        _: BorrowedFd<'_>,
        _: u64,
        _: &mut dyn FnMut(Extent) -> bool,
    ) -> Result<(), Errno> {
        Err(Errno::OPNOTSUPP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(extents: &[(u64, u64, u64)], file_len: u64) -> Option<ContentHash> {
        let mut layout = Layout::default();
        for &(logical, physical, len) in extents {
            assert!(layout.add(Extent { logical, physical, len, flags: 0x2000 }, file_len));
        }
        layout.finish()
    }

    #[test]
    fn the_division_of_extents_says_nothing() {
        let whole = name(&[(0, 4096, 8192)], 8192);
        assert!(whole.is_some());
        assert_eq!(whole, name(&[(0, 4096, 4096), (4096, 8192, 4096)], 8192));
        assert_eq!(name(&[(0, 4096, 8192)], 5000), name(&[(0, 4096, 65536)], 5000));
        assert_ne!(whole, name(&[(0, 4096, 4096), (4096, 4096, 4096)], 8192));
        assert_ne!(whole, name(&[(0, 8192, 8192)], 8192));
        assert_ne!(name(&[(0, 0, 10), (20, 20, 10)], 30), name(&[(0, 0, 30)], 30));
    }

    #[test]
    fn what_no_other_file_uses_has_no_name() {
        let mut layout = Layout::default();
        assert!(!layout.add(Extent { logical: 0, physical: 4096, len: 4096, flags: 1 }, 4096));
        assert_eq!(layout.finish(), None);
        assert_eq!(name(&[], 4096), None, "a file of holes shares nothing");
    }
}
