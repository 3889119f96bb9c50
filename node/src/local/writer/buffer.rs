//! [`AlignedBuffer`]: memory that may be written past the page cache.

use std::ops::{Deref, DerefMut};

/// What direct writes need of address, length and offset. It covers every disk and file system in use.
pub const ALIGNMENT: usize = 4096;

/// A zeroed buffer whose first byte lies at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub struct AlignedBuffer {
    /// One alignment longer than asked, so that an aligned stretch fits wherever the allocator puts it.
    memory: Box<[u8]>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of `len` bytes.
    pub fn new(len: usize) -> Self {
        let memory = vec![0; len + ALIGNMENT].into_boxed_slice();
        // A boxed slice never moves, so where the aligned stretch starts is fixed.
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        assert!(start < ALIGNMENT, "bytes can be aligned to any power of two");
        Self { memory, start, len }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.len]
    }
}

/// How many first bytes of a write at `offset` can go past the page cache.
pub(super) fn direct_len(bytes: &[u8], offset: u64) -> usize {
    let aligned = bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) && offset.is_multiple_of(ALIGNMENT as u64);
    if aligned { bytes.len() / ALIGNMENT * ALIGNMENT } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_whatever_the_length() {
        for len in [0, 1, 4095, 4096, 1 << 20] {
            let mut buffer = AlignedBuffer::new(len);
            assert_eq!((buffer.len(), buffer.as_ptr().addr() % ALIGNMENT), (len, 0));
            buffer.fill(7);
        }
    }

    #[test]
    fn only_the_aligned_part_goes_direct() {
        let buffer = AlignedBuffer::new(10_000);
        assert_eq!(direct_len(&buffer, 4096), 8192);
        assert_eq!(direct_len(&buffer, 1), 0);
        assert_eq!(direct_len(&buffer[1..], 0), 0);
        assert_eq!(direct_len(&buffer[..100], 0), 0);
    }
}
