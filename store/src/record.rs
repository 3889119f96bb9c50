//! The records both databases share: chunks of 36 bytes, and the checksum over what a page cannot vouch for.
//!
//! A chunk: `0..32` content hash, `32..36` length (u32, little-endian).

use orbit_core::{Chunk, ContentHash, Timestamp};

/// Bytes of one chunk record.
pub(crate) const CHUNK_LEN: usize = ContentHash::LEN + 4;

/// Appends the records of `chunks`.
pub(crate) fn encode_chunks(chunks: &[Chunk], out: &mut Vec<u8>) {
    out.reserve(chunks.len() * CHUNK_LEN);
    for chunk in chunks {
        out.extend_from_slice(chunk.hash.as_bytes());
        out.extend_from_slice(&chunk.len.to_le_bytes());
    }
}

/// Appends the chunks of `records` to `out`; `None` if they do not end with a whole record.
pub(crate) fn decode_chunks(records: &[u8], out: &mut Vec<Chunk>) -> Option<()> {
    let (records, rest) = records.as_chunks::<CHUNK_LEN>();
    if !rest.is_empty() {
        return None;
    }
    out.reserve(records.len());
    for record in records {
        let (hash, len) = record.split_first_chunk::<{ ContentHash::LEN }>()?;
        let len = u32::from_le_bytes(len.try_into().ok()?);
        out.push(Chunk { hash: ContentHash::from_bytes(*hash), len });
    }
    Some(())
}

/// CRC-32 over `parts`, each preceded by its length, so that bytes cannot move between neighbours unnoticed.
pub(crate) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

/// Reads fixed little-endian fields from the front of a record.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Seconds (i64) and nanoseconds (u32).
    pub(crate) fn timestamp(&mut self) -> Option<Timestamp> {
        Some(Timestamp { seconds: i64::from_le_bytes(self.array()?), nanos: self.u32()? })
    }
}

/// Appends seconds (i64) and nanoseconds (u32).
pub(crate) fn encode_timestamp(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.seconds.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
        let chunk =
            (any::<[u8; 32]>(), any::<u32>()).prop_map(|(hash, len)| Chunk { hash: hash.into(), len });
        proptest::collection::vec(chunk, 0..40)
    }

    proptest! {
        #[test]
        fn chunk_records_round_trip(chunks in chunks()) {
            let (mut bytes, mut back) = (Vec::new(), Vec::new());
            encode_chunks(&chunks, &mut bytes);
            prop_assert_eq!(bytes.len(), chunks.len() * CHUNK_LEN);
            prop_assert_eq!(decode_chunks(&bytes, &mut back), Some(()));
            prop_assert_eq!(back, chunks);
        }

        #[test]
        fn any_bytes_are_whole_records_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut chunks, mut back) = (Vec::new(), Vec::new());
            let whole = decode_chunks(&bytes, &mut chunks).is_some();
            prop_assert_eq!(whole, bytes.len() % CHUNK_LEN == 0);
            if whole {
                encode_chunks(&chunks, &mut back);
                prop_assert_eq!(back, bytes);
            }
        }
    }
}
