//! What [`Call::Fetch`](super::Call::Fetch) and [`Call::Stream`](super::Call::Stream) are answered with: frames behind which bytes follow
//! as they are, without being copied into a message.

use super::WireSystemError;
use crate::byte_range::ByteRange;
use crate::chunk::Chunk;
use crate::entry::Metadata;
use crate::hash::ContentHash;
use crate::wire::bytes::{self, Octets};
use crate::wire::listing::varint;
use serde::{Deserialize, Serialize};

/// Objects that one call may ask for.
pub const FETCH_OBJECTS_MAX: usize = 4_096;
/// A file with more bytes is not fetched with others but opened and streamed.
pub const FETCH_FILE_BYTES_MAX: u64 = 2 << 20;
/// Bytes of a piece at most, on the wire and off it.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the contents of one parcel at most.
pub const PARCEL_BYTES_MAX: usize = 4 << 20;

/// Bytes that follow a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cargo {
    /// How many follow.
    pub wire: u32,
    /// How many they stand for. Another number than `wire` means that they are compressed: a zstd frame.
    pub bytes: u32,
}

/// A piece of a file; its cargo follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Its bytes.
    pub cargo: Cargo,
    /// BLAKE3 of them, as they were read.
    #[serde(with = "bytes::hash")]
    pub hash: ContentHash,
}

/// Some of the objects that were asked for, in order; the contents of the files follow as one cargo, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    /// All contents.
    pub cargo: Cargo,
    /// What was found, for one path after the other.
    pub found: Vec<Found>,
}

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// A regular file, with so many bytes of the cargo. It did not change while it was read.
    File(Metadata, Vec<(Octets, Octets)>, u32, #[serde(with = "bytes::hash")] ContentHash),
    /// A regular file that is too large for this.
    Large,
    /// A symbolic link, with its text.
    Symlink(Metadata, Vec<(Octets, Octets)>, Octets),
    /// Anything else.
    Other(Metadata, Vec<(Octets, Octets)>),
    /// It cannot be had.
    Failed(WireSystemError),
}

/// Bytes that are compared at a time within a chunk that changed.
pub const CELL_BYTES: usize = 4096;
/// Bytes of the hash of a cell, and of a chunk in a sketch: enough to find what is alike, as the identity of the whole file
/// proves the result.
pub const SHORT_HASH_LEN: usize = 8;

/// The beginning of a hash.
pub fn short_hash(hash: &ContentHash) -> u64 {
    let (short, _) = hash.as_bytes().split_first_chunk::<SHORT_HASH_LEN>().expect("a hash is longer");
    u64::from_le_bytes(*short)
}

/// Packs spans of a file: each as the gap since the one before and its length, varints.
pub fn pack_spans(spans: &[ByteRange]) -> Vec<u8> {
    let mut out = Vec::with_capacity(spans.len() * 5);
    let mut end = 0;
    for span in spans {
        varint::put(&mut out, span.offset().wrapping_sub(end));
        varint::put(&mut out, span.len());
        end = span.end();
    }
    out
}

/// Unpacks them; none if they are not in order, empty, or longer than `bytes_max` in all.
pub fn unpack_spans(mut packed: &[u8], bytes_max: u64) -> Option<Vec<ByteRange>> {
    let mut spans = Vec::new();
    let (mut end, mut bytes) = (0_u64, 0_u64);
    while !packed.is_empty() {
        let offset = end.checked_add(varint::take(&mut packed)?)?;
        let len = varint::take(&mut packed)?;
        bytes = bytes.checked_add(len)?;
        if len == 0 || bytes > bytes_max {
            return None;
        }
        let span = ByteRange::new(offset, len).ok()?;
        end = span.end();
        spans.push(span);
    }
    Some(spans)
}

/// Packs a chunk for a sketch: short hash, and length as a varint.
pub fn pack_sketched(out: &mut Vec<u8>, chunk: &Chunk) {
    out.extend_from_slice(&chunk.hash.as_bytes()[..SHORT_HASH_LEN]);
    varint::put(out, u64::from(chunk.len));
}

/// Takes a chunk of a sketch.
pub fn take_sketched(rest: &mut &[u8]) -> Option<(u64, u32)> {
    let (short, mut tail) = rest.split_first_chunk::<SHORT_HASH_LEN>()?;
    let len = u32::try_from(varint::take(&mut tail)?).ok().filter(|len| *len > 0)?;
    *rest = tail;
    Some((u64::from_le_bytes(*short), len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_come_back(gaps in prop::collection::vec((0_u64..1 << 40, 1_u64..1 << 20), 0..50)) {
            let mut end = 0;
            let mut spans = Vec::new();
            for (gap, len) in gaps {
                spans.push(ByteRange::new(end + gap, len).expect("it fits"));
                end += gap + len;
            }
            prop_assert_eq!(unpack_spans(&pack_spans(&spans), u64::MAX), Some(spans));
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(spans) = unpack_spans(&bytes, 1 << 30) {
                prop_assert!(spans.is_sorted_by(|a, b| a.end() <= b.offset()));
            }
            let mut rest = &bytes[..];
            while take_sketched(&mut rest).is_some() {}
        }

        #[test]
        fn sketches_come_back(hash: [u8; 32], len in 1_u32..) {
            let chunk = Chunk { hash: ContentHash::from_bytes(hash), len };
            let mut out = Vec::new();
            pack_sketched(&mut out, &chunk);
            prop_assert_eq!(take_sketched(&mut &out[..]), Some((short_hash(&chunk.hash), len)));
        }
    }
}
