//! Bytes of a segment. Everything is little-endian; a checksum is CRC-32 (IEEE).
//!
//! | offset of a segment | |
//! |---|---|
//! | 0 | "ORBITLOG" |
//! | 8 | version, u32: 1 |
//! | 12 | checksum of the head of the record before it, u32; 0 if the log was empty |
//! | 16 | index of its first entry, u64; its name says the same in 20 decimal digits |
//! | 24 | 0, u32 |
//! | 28 | checksum of bytes 0..28, u32 |
//! | 32 | records, each at a multiple of 8, without gaps; zeros behind the last one |
//!
//! | offset of a record | |
//! |---|---|
//! | 0 | checksum of the segment's first index (u64), the record's offset (u64) and bytes 4..40 |
//! | 4 | length of the payload, u32 |
//! | 8 | index, u64 |
//! | 16 | term, u64 |
//! | 24 | index of the first entry that was appended together with it, u64 |
//! | 32 | checksum of the payload, u32 |
//! | 36 | checksum of the record's, or the segment's, head before it, u32 |
//! | 40 | payload, then zeros up to a multiple of 8 |
//!
//! A head's checksum covers its place, so bytes that were part of a payload or of another file are no record, and it
//! covers the head before it, so a record that was truncated cannot follow the one that took its predecessor's place.
//! Whoever appended together may be torn together: that is what tells a torn tail from a damaged middle.

use super::{LogEntry, LogPosition};
use crate::record::Fields;

pub(super) const SEGMENT_HEAD_LEN: usize = 32;
pub(super) const RECORD_HEAD_LEN: usize = 40;
/// Largest payload.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
pub(super) const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"ORBITLOG";
const SUFFIX: &str = ".log";

/// Name of the segment that begins with entry `first`.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first index that a segment's name says; `None` if it is no segment's name.
pub(super) fn segment_first(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}

/// Bytes that a payload of `len` takes.
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// Appends the head of a segment; returns its checksum.
pub(super) fn encode_segment_head(first: u64, chain: u32, out: &mut Vec<u8>) -> u32 {
    let begin = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&chain.to_le_bytes());
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let crc = crc32fast::hash(&out[begin..]);
    out.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// Head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub version: u32,
    pub chain: u32,
    pub first: u64,
    pub crc: u32,
}

impl SegmentHead {
    /// `None` if the bytes do not begin with a segment's head.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<SEGMENT_HEAD_LEN>()?;
        let mut fields = Fields(head);
        let is_ours = fields.array::<8>()? == *MAGIC;
        let (version, chain, first) = (fields.u32()?, fields.u32()?, fields.u64()?);
        let _zero = fields.u32()?;
        let crc = fields.u32()?;
        let is_sound = crc == crc32fast::hash(&head[..SEGMENT_HEAD_LEN - 4]);
        (is_ours && is_sound).then_some(Self { version, chain, first, crc })
    }
}

/// Head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    pub crc: u32,
    pub len: u32,
    pub position: LogPosition,
    /// Index of the first entry of its batch.
    pub batch: u64,
    pub payload_crc: u32,
    pub chain: u32,
}

impl RecordHead {
    /// The head at `offset` of the segment that begins with `first`; `None` if `bytes` do not begin with one.
    pub fn decode(first: u64, offset: u64, bytes: &[u8]) -> Option<Self> {
        let (head, _) = bytes.split_first_chunk::<RECORD_HEAD_LEN>()?;
        let mut fields = Fields(head);
        let crc = fields.u32()?;
        if crc != head_crc(first, offset, &head[4..]) {
            return None;
        }
        let (len, index, term) = (fields.u32()?, fields.u64()?, fields.u64()?);
        let (batch, payload_crc, chain) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let position = LogPosition { term, index };
        let is_possible = len as usize <= PAYLOAD_BYTES_MAX && (first..=index).contains(&batch);
        is_possible.then_some(Self { crc, len, position, batch, payload_crc, chain })
    }

    /// The payload behind the head; `None` if it is cut off or not what the head says.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let payload = bytes.get(RECORD_HEAD_LEN..RECORD_HEAD_LEN + self.len as usize)?;
        (crc32fast::hash(payload) == self.payload_crc).then_some(payload)
    }

    /// Bytes of the record.
    pub fn record_len(&self) -> usize {
        RECORD_HEAD_LEN + padded(self.len as usize)
    }
}

/// Appends a record that will lie at `offset` of the segment that begins with `first`; returns its head's checksum.
pub(super) fn encode(
    first: u64,
    offset: u64,
    batch: u64,
    chain: u32,
    entry: &LogEntry,
    out: &mut Vec<u8>,
) -> u32 {
    let mut head = Vec::with_capacity(RECORD_HEAD_LEN);
    head.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());
    head.extend_from_slice(&entry.position.index.to_le_bytes());
    head.extend_from_slice(&entry.position.term.to_le_bytes());
    head.extend_from_slice(&batch.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&entry.payload).to_le_bytes());
    head.extend_from_slice(&chain.to_le_bytes());
    let crc = head_crc(first, offset, &head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&entry.payload);
    let padding = padded(entry.payload.len()) - entry.payload.len();
    out.extend_from_slice(&[0; ALIGNMENT][..padding]);
    crc
}

fn head_crc(first: u64, offset: u64, head: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&first.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(head);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip_at_their_place_only(
            first in 0..1_u64 << 40, more in 0..1000_u64, offset in 0..1_u64 << 20, term: u64, chain: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..100), flip: prop::sample::Index,
        ) {
            let entry = LogEntry { position: LogPosition { term, index: first + more }, payload };
            let mut bytes = Vec::new();
            let crc = encode(first, offset, first, chain, &entry, &mut bytes);
            let head = RecordHead::decode(first, offset, &bytes).expect("a record");
            prop_assert_eq!((head.crc, head.chain, head.position), (crc, chain, entry.position));
            prop_assert_eq!((head.payload(&bytes), head.record_len()), (Some(&entry.payload[..]), bytes.len()));
            prop_assert_eq!(RecordHead::decode(first, offset + 8, &bytes), None);
            prop_assert_eq!(RecordHead::decode(first + 1, offset, &bytes), None);
            let bit = flip.index((RECORD_HEAD_LEN + entry.payload.len()) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = RecordHead::decode(first, offset, &bytes).and_then(|head| head.payload(&bytes).map(<[_]>::to_vec));
            prop_assert_eq!(read, None);
        }

        #[test]
        fn any_bytes_are_a_record_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(head) = RecordHead::decode(0, 0, &bytes) {
                let _ = head.payload(&bytes);
            }
            let _ = SegmentHead::decode(&bytes);
        }
    }

    #[test]
    fn names_of_segments() {
        assert_eq!(segment_name(12), "00000000000000000012.log");
        assert_eq!(segment_first("00000000000000000012.log"), Some(12));
        assert_eq!(segment_first(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["12.log", "00000000000000000012", "99999999999999999999.log", "+0000000000000000012.log"]
        {
            assert_eq!(segment_first(name), None, "{name}");
        }
    }
}
