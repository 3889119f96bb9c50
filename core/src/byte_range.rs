//! [`ByteRange`]: a half-open range of bytes of a file.

use serde::{Deserialize, Serialize};

/// Bytes `offset .. offset + len` of a file. The end never overflows `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct ByteRange {
    offset: u64,
    len: u64,
}

/// A range whose end does not fit in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte range {offset}+{len} ends beyond 2^64")]
pub struct RangeOverflow {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl ByteRange {
    /// `len` bytes from `offset`.
    pub const fn new(offset: u64, len: u64) -> Result<Self, RangeOverflow> {
        if offset.checked_add(len).is_none() {
            return Err(RangeOverflow { offset, len });
        }
        Ok(Self { offset, len })
    }

    /// The first `len` bytes.
    pub const fn first(len: u64) -> Self {
        Self { offset: 0, len }
    }

    /// First byte.
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// Number of bytes.
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Whether it holds no byte.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// One past the last byte.
    pub const fn end(self) -> u64 {
        self.offset + self.len
    }
}

impl TryFrom<(u64, u64)> for ByteRange {
    type Error = RangeOverflow;

    fn try_from((offset, len): (u64, u64)) -> Result<Self, Self::Error> {
        Self::new(offset, len)
    }
}

impl From<ByteRange> for (u64, u64) {
    fn from(range: ByteRange) -> Self {
        (range.offset, range.len)
    }
}
