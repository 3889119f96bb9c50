//! [`Input`]: bytes for a chunker, in order; and the two of them, a reader and a [`Source`] with holes.

use crate::error::ChunkError;
use orbit_core::ByteRange;
use std::io::{self, Read};

/// Bytes that arrive in order.
pub trait Input {
    /// Puts the next bytes at the front of `buffer` and says how many; 0 only at the end.
    ///
    /// `need` is how many the chunker cannot do without, at least 1 and at most the buffer. Fewer may be given, and
    /// more, except where a hole follows: then no more than needed, so that the chunker catches up with the hole.
    fn fill(&mut self, buffer: &mut [u8], need: usize) -> Result<usize, ChunkError>;

    /// How many of the next bytes are zero without a look at them.
    fn zeros_ahead(&self) -> u64 {
        0
    }

    /// Leaves out the next `len` bytes, at most [`Self::zeros_ahead`].
    fn skip_zeros(&mut self, _len: u64) {}
}

/// The bytes of a reader.
#[derive(Debug)]
pub struct ReadInput<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> ReadInput<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, offset: 0 }
    }
}

impl<R: Read> Input for ReadInput<R> {
    fn fill(&mut self, buffer: &mut [u8], _need: usize) -> Result<usize, ChunkError> {
        let len = retry(|| self.reader.read(buffer))
            .map_err(|source| ChunkError::Read { offset: self.offset, source })?;
        self.offset += len as u64;
        Ok(len)
    }
}

/// A file of known length, read at any offset through a closure, and where it is known to be zero.
///
/// The closure is like `pread`: it fills the front of the buffer with the bytes at the offset and says how many;
/// 0 at the end of the file.
pub struct Source<F> {
    len: u64,
    holes: Vec<ByteRange>,
    read_at: F,
}

impl<F: Fn(&mut [u8], u64) -> io::Result<usize>> Source<F> {
    /// A file of `len` bytes.
    pub fn new(len: u64, read_at: F) -> Self {
        Self { len, holes: Vec::new(), read_at }
    }

    /// The same file with ranges that are zero and need not be read, in any order. Where a range runs past the end of
    /// the file it is cut off.
    #[must_use]
    pub fn with_holes(mut self, holes: impl IntoIterator<Item = ByteRange>) -> Self {
        let mut ends: Vec<(u64, u64)> =
            holes.into_iter().map(|hole| (hole.offset(), hole.end().min(self.len))).collect();
        ends.sort_unstable();
        // Overlapping holes become one, so that each look-up has one answer.
        let mut covered = 0;
        self.holes.clear();
        for (start, end) in ends {
            let start = start.max(covered);
            if let Some(hole) = end.checked_sub(start).filter(|len| *len > 0) {
                self.holes.extend(ByteRange::new(start, hole));
                covered = end;
            }
        }
        self
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds no byte.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Checks that nothing follows the stated end.
    pub(crate) fn confirm_end(&self) -> Result<(), ChunkError> {
        match self.read(&mut [0], self.len)? {
            0 => Ok(()),
            _ => Err(ChunkError::SourceChanged { expected: self.len, found: self.len.saturating_add(1) }),
        }
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ChunkError> {
        retry(|| (self.read_at)(buffer, offset)).map_err(|source| ChunkError::Read { offset, source })
    }

    /// Where the bytes from `offset` stop being zero without a look, and where the next hole begins.
    fn hole_at(&self, offset: u64) -> (u64, u64) {
        let next = self.holes.partition_point(|hole| hole.end() <= offset);
        match self.holes.get(next) {
            Some(hole) if hole.offset() <= offset => (hole.end(), hole.end()),
            Some(hole) => (offset, hole.offset()),
            None => (offset, self.len),
        }
    }
}

/// The bytes of a [`Source`] from some offset on.
pub struct SourceInput<'a, F> {
    source: &'a Source<F>,
    offset: u64,
    /// Where the caller's interest ends: beyond it no more is read than is needed.
    horizon: u64,
}

impl<'a, F: Fn(&mut [u8], u64) -> io::Result<usize>> SourceInput<'a, F> {
    pub(crate) fn new(source: &'a Source<F>, offset: u64, horizon: u64) -> Self {
        Self { source, offset, horizon }
    }
}

impl<F: Fn(&mut [u8], u64) -> io::Result<usize>> Input for SourceInput<'_, F> {
    fn fill(&mut self, buffer: &mut [u8], need: usize) -> Result<usize, ChunkError> {
        let expected = self.source.len;
        if self.offset >= expected {
            self.source.confirm_end()?;
            return Ok(0);
        }
        let (hole_end, data_end) = self.source.hole_at(self.offset);
        let len = if hole_end > self.offset {
            let zeros = clamp(hole_end - self.offset, need);
            buffer[..zeros].fill(0);
            zeros
        } else {
            let wanted = clamp(self.horizon.saturating_sub(self.offset), buffer.len()).max(need);
            let wanted = clamp(data_end - self.offset, wanted);
            let len = self.source.read(&mut buffer[..wanted], self.offset)?;
            if len == 0 {
                return Err(ChunkError::SourceChanged { expected, found: self.offset });
            }
            len
        };
        self.offset += len as u64;
        Ok(len)
    }

    fn zeros_ahead(&self) -> u64 {
        self.source.hole_at(self.offset).0 - self.offset
    }

    fn skip_zeros(&mut self, len: u64) {
        self.offset += len;
    }
}

fn clamp(len: u64, max: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(max)
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(offset: u64, len: u64) -> ByteRange {
        ByteRange::new(offset, len).expect("small numbers")
    }

    #[test]
    fn holes_are_sorted_merged_and_cut_off() {
        let source = Source::new(100, |_: &mut [u8], _| Ok(0)).with_holes([
            range(90, 50),
            range(10, 20),
            range(15, 5),
            range(25, 10),
            range(200, 7),
            range(50, 0),
        ]);
        assert_eq!(source.holes, [range(10, 20), range(30, 5), range(90, 10)]);
    }

    proptest! {
        #[test]
        fn a_hole_is_found_where_it_is(
            holes in proptest::collection::vec((0_u64..300, 0_u64..40), 0..8),
            offset in 0_u64..250,
        ) {
            let source = Source::new(250, |_: &mut [u8], _| Ok(0))
                .with_holes(holes.iter().map(|(offset, len)| range(*offset, *len)));
            let inside = holes.iter().any(|(start, len)| (*start..start + len).contains(&offset));
            let (hole_end, data_end) = source.hole_at(offset);
            prop_assert_eq!(hole_end > offset, inside);
            prop_assert!(data_end > offset && data_end <= 250);
        }
    }
}
