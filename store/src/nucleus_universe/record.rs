//! A chunk record: where a chunk lies in a content. 48 bytes, and their order as bytes is the order of runs.
//!
//! | offset | | |
//! |---|---|---|
//! | 0 | content hash of the chunk | 32 bytes |
//! | 32 | number of the content | 48 bits, big-endian |
//! | 38 | first byte of the chunk in the content | 48 bits, big-endian |
//! | 44 | length | u32, little-endian |

use orbit_core::{Chunk, ContentHash};
use std::cmp::Ordering;

/// Bytes of one record.
pub(super) const RECORD_LEN: usize = 48;
/// What a record says of *which* chunk and content; of records that agree in it the first is kept.
const NAME_LEN: usize = 38;
/// Numbers and offsets end here: 256 TiB are the largest content.
pub(super) const U48_END: u64 = 1 << 48;

/// One record, as it lies in memory and on the disk: a plain array, so that many are a slice of bytes.
pub(super) type Record = [u8; RECORD_LEN];

/// The record of a chunk of the content with this number. `number` and `offset` are below [`U48_END`].
pub(super) fn record(chunk: &Chunk, number: u64, offset: u64) -> Record {
    let mut bytes = [0; RECORD_LEN];
    bytes[..32].copy_from_slice(chunk.hash.as_bytes());
    bytes[32..38].copy_from_slice(&number.to_be_bytes()[2..]);
    bytes[38..44].copy_from_slice(&offset.to_be_bytes()[2..]);
    bytes[44..].copy_from_slice(&chunk.len.to_le_bytes());
    bytes
}

/// The chunk's hash.
pub(super) fn hash(record: &Record) -> ContentHash {
    let mut hash = [0; ContentHash::LEN];
    hash.copy_from_slice(&record[..32]);
    ContentHash::from_bytes(hash)
}

/// The number of the content.
pub(super) fn number(record: &Record) -> u64 {
    u48(record, 32)
}

/// Where the chunk begins in the content.
pub(super) fn offset(record: &Record) -> u64 {
    u48(record, 38)
}

/// The chunk's length.
pub(super) fn len(record: &Record) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&record[44..]);
    u32::from_le_bytes(bytes)
}

/// First eight bytes of the chunk's hash as a number that sorts as they do.
pub(super) fn prefix(record: &Record) -> u64 {
    prefix_of(record)
}

/// First eight bytes of anything longer.
pub(super) fn prefix_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The order of runs. Hashes are spread evenly, so the prefix nearly always decides.
pub(super) fn order(a: &Record, b: &Record) -> Ordering {
    prefix(a).cmp(&prefix(b)).then_with(|| a[8..].cmp(&b[8..]))
}

/// Whether both place the same chunk in the same content.
pub(super) fn same_name(a: &Record, b: &Record) -> bool {
    a[..NAME_LEN] == b[..NAME_LEN]
}

fn u48(record: &Record, at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&record[at..at + 6]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(bytes: [u8; 32], length: u32, place in 0..U48_END, of in 0..U48_END) {
            let record = record(&Chunk { hash: bytes.into(), len: length }, of, place);
            prop_assert_eq!(hash(&record), ContentHash::from_bytes(bytes));
            prop_assert_eq!((number(&record), offset(&record), len(&record)), (of, place, length));
        }

        #[test]
        fn their_order_is_that_of_bytes(a in any::<([u8; 32], [u8; 16])>(), b in any::<([u8; 32], [u8; 16])>()) {
            let whole = |(hash, rest): ([u8; 32], [u8; 16])| {
                let mut bytes = [0; RECORD_LEN];
                bytes[..32].copy_from_slice(&hash);
                bytes[32..].copy_from_slice(&rest);
                bytes
            };
            prop_assert_eq!(order(&whole(a), &whole(b)), whole(a).cmp(&whole(b)));
        }
    }
}
