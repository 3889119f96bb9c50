//! What tables `contents` and `mark` hold. Integers are little-endian.
//!
//! | of a content | |
//! |---|---|
//! | 0 | CRC-32 of its number and all that follows |
//! | 4 | root of its manifest, 32 bytes |
//! | 36 | length, u64 |
//! | 44 | chunks, u32 |
//! | 48 | numbers of its holders, u32 each, ascending |
//!
//! | of the mark | |
//! |---|---|
//! | 0 | CRC-32 of all that follows |
//! | 4 | 1 if there is a position, else 0 |
//! | 5 | its term and index, u64 each |
//! | 21 | membership |

use crate::record::Fields;
use crate::{LogPosition, Mark};
use orbit_core::ContentHash;
use orbit_core::grid::Content;

/// A row of table `contents`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentRow {
    pub content: Content,
    /// Numbers of holders, ascending. Some may be gone.
    pub holders: Vec<u32>,
}

impl ContentRow {
    pub fn encode(&self, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(self.content.root.as_bytes());
        bytes.extend_from_slice(&self.content.bytes.to_le_bytes());
        bytes.extend_from_slice(&self.content.chunks.to_le_bytes());
        bytes.extend(self.holders.iter().flat_map(|holder| holder.to_le_bytes()));
        let crc = content_crc(number, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not a row of this number.
    pub fn decode(number: u64, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.u32()? != content_crc(number, fields.0) {
            return None;
        }
        let root = ContentHash::from_bytes(fields.array()?);
        let content = Content { root, bytes: fields.u64()?, chunks: fields.u32()? };
        let (holders, rest) = fields.0.as_chunks::<4>();
        let holders = holders.iter().map(|holder| u32::from_le_bytes(*holder)).collect();
        rest.is_empty().then_some(Self { content, holders })
    }

    /// Adds a holder; whether it was not there yet.
    pub fn add(&mut self, holder: u32) -> bool {
        let place = self.holders.binary_search(&holder);
        place.map_err(|place| self.holders.insert(place, holder)).is_err()
    }

    /// Takes a holder away.
    pub fn remove(&mut self, holder: u32) {
        if let Ok(place) = self.holders.binary_search(&holder) {
            self.holders.remove(place);
        }
    }
}

fn content_crc(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

pub(super) fn encode_mark(mark: &Mark) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.push(u8::from(mark.position.is_some()));
    let position = mark.position.unwrap_or(LogPosition { term: 0, index: 0 });
    bytes.extend_from_slice(&position.term.to_le_bytes());
    bytes.extend_from_slice(&position.index.to_le_bytes());
    bytes.extend_from_slice(&mark.membership);
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// `None` if the bytes are no mark.
pub(super) fn decode_mark(bytes: &[u8]) -> Option<Mark> {
    let mut fields = Fields(bytes);
    if fields.u32()? != crc32fast::hash(fields.0) {
        return None;
    }
    let [is_there] = fields.array()?;
    let position = LogPosition { term: fields.u64()?, index: fields.u64()? };
    Some(Mark { position: (is_there == 1).then_some(position), membership: fields.0.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn row()(
            root: [u8; 32], bytes: u64, chunks: u32, holders in proptest::collection::btree_set(any::<u32>(), 0..9),
        ) -> ContentRow {
            let content = Content { root: root.into(), bytes, chunks };
            ContentRow { content, holders: holders.into_iter().collect() }
        }
    }

    proptest! {
        #[test]
        fn contents_round_trip_and_a_flipped_bit_is_found(row in row(), number: u64, flip: prop::sample::Index) {
            let mut bytes = row.encode(number);
            prop_assert_eq!(ContentRow::decode(number, &bytes), Some(row));
            prop_assert_eq!(ContentRow::decode(number ^ 1, &bytes), None);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(ContentRow::decode(number, &bytes), None);
        }

        #[test]
        fn marks_round_trip_and_a_flipped_bit_is_found(
            position in proptest::option::of(any::<(u64, u64)>()), membership: Vec<u8>, flip: prop::sample::Index,
        ) {
            let position = position.map(|(term, index)| LogPosition { term, index });
            let mark = Mark { position, membership };
            let mut bytes = encode_mark(&mark);
            prop_assert_eq!(decode_mark(&bytes), Some(mark));
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode_mark(&bytes), None);
        }
    }
}
