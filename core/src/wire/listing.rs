//! Listings packed as columns: what a scan sends over the network.
//!
//! A pack holds directories in the order of the walk, complete or in part, and is compressed as a whole by whoever sends
//! it. Entries of one directory differ little, so each property lies in a column of its own, and each column in the
//! shape that is shortest: what compression then has left is mostly what cannot be foreseen (nanoseconds and sizes).
//!
//! | | | |
//! |---|---|---|
//! | 0 | version, 1 | u8 |
//! | 1 | directories, at most 65 536 | varint |
//! | | entries of all of them, at most 65 536 | varint |
//! | | a number for each directory: 1 if the walk stops there, + 2 if more of its entries follow in the next pack | column |
//! | | number of its entries in this pack | column |
//! | | bytes its path shares with the path before (the first: 0) | column |
//! | | bytes of the rest of its path | column |
//! | | the rests of the paths | bytes |
//! | | for each entry: bytes its name shares with the beginning of the name before (the first: 0) | column |
//! | | bytes it shares with its end | column |
//! | | bytes between | column |
//! | | what lies between | bytes |
//! | | kind, [`EntryKind`](crate::EntryKind) by number | column |
//! | | mode, owner, group, links, device, device number of a device node | 6 columns |
//! | | size | column |
//! | | allocated: zigzag of the difference to the size rounded up to 4 096; what stands for nothing allocated and 1 are exchanged | column |
//! | | inode | column |
//! | | modification time: zigzag of the seconds; nanoseconds | 2 columns |
//! | | change time: how it is written (0 as it is, 1 as zigzag of the difference to the modification time) | u8 |
//! | | zigzag of the seconds, or of their difference; nanoseconds, or zigzag of their difference | 2 columns |
//!
//! A varint is LEB128: seven bits a byte, the lowest first, the top bit set in all but the last; at most ten bytes.
//! Zigzag writes 0, -1, 1, -2 as 0, 1, 2, 3; differences wrap around in 64 bits. Columns are described in `column`.
//!
//! Another layout gets another version. A pack lives as long as a message, so nothing is ever converted: both sides
//! speak the same [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).

mod column;
mod packer;
#[cfg(test)]
mod tests;
mod unpack;
pub(super) mod varint;

pub use packer::ListingPacker;
pub use unpack::{ListingError, unpack};

use crate::entry::Listing;

const VERSION: u8 = 1;

/// Most directories, and most entries, of a pack.
pub const PACK_ENTRIES_MAX: usize = 1 << 16;
/// Most bytes of a pack before it is compressed.
pub const PACK_BYTES_MAX: usize = super::MESSAGE_BYTES_MAX;
/// Most bytes that the names, and the paths, of one pack may have in all, written out. Names share bytes, so a few may
/// stand for many.
pub const PACK_TEXT_MAX: usize = 16 << 20;

/// Set for a directory at which the walk stops.
const IS_BOUNDARY: u64 = 1;
/// Set for a directory of which more follows.
const CONTINUES: u64 = 2;

/// A file usually has its size allocated, rounded up to 4 096: 0; or nothing: 1. Any other number stands for what
/// else it may be.
const fn allocation(size: u64, allocated: u64) -> u64 {
    exchange(size, varint::fold(allocated.wrapping_sub(rounded(size)) as i64))
}

/// Undoes [`allocation`].
const fn allocated(size: u64, number: u64) -> u64 {
    rounded(size).wrapping_add(varint::unfold(exchange(size, number)) as u64)
}

const fn rounded(size: u64) -> u64 {
    size.wrapping_add(4095) & !4095
}

/// Exchanges 1 and the number for nothing allocated, unless nothing is usual.
const fn exchange(size: u64, number: u64) -> u64 {
    let nothing = varint::fold(0_u64.wrapping_sub(rounded(size)) as i64);
    if nothing == 0 {
        number
    } else if number == nothing {
        1
    } else if number == 1 {
        nothing
    } else {
        number
    }
}

/// A directory of a pack.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Its path and entries, sorted.
    pub listing: Listing,
    /// Whether more of its entries follow, in the next pack.
    pub continues: bool,
}
