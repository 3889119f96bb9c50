//! The reference: FastCDC cut points one byte at a time.
//!
//! Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS
//! 2020. Every other scanner must find the same positions as this one, and this one the same as the
//! `fastcdc` crate given our table and masks.

use crate::gear::{GEAR, WINDOW};

/// Adds one byte to a hash.
pub(crate) fn roll(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}

/// The hash of the [`WINDOW`] bytes that end with the one at `position`.
pub(crate) fn hash_at(data: &[u8], position: usize) -> u64 {
    data[position + 1 - WINDOW..=position].iter().fold(0, |hash, byte| roll(hash, *byte))
}

/// The first position of `from..to` whose hash has no bit in common with `mask`.
///
/// Needs [`WINDOW`] bytes before `from`.
pub(crate) fn find(data: &[u8], from: usize, to: usize, mask: u64) -> Option<usize> {
    if from >= to {
        return None;
    }
    let mut hash = hash_at(data, from - 1);
    (from..to).zip(&data[from..to]).find_map(|(position, byte)| {
        hash = roll(hash, *byte);
        (hash & mask == 0).then_some(position)
    })
}
