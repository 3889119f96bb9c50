//! Keys and records of the universe, and the rule by which an entry is trusted. Byte tables: `lib.rs`.

use super::CachedManifest;
use crate::record::{CHUNK_LEN, Fields, checksum, decode_chunks, encode_chunks, encode_timestamp};
use orbit_core::{Chunk, ContentHash, FileIdentity, Timestamp};

/// Bytes of a `files` key.
pub(super) const FILE_KEY_LEN: usize = 20;
/// Bytes of a `files` record.
pub(super) const FILE_LEN: usize = 88;
/// Chunks in one part: 252 KB, which fills one of redb's 256 KiB pages.
pub(super) const PART_CHUNKS: usize = 7000;
/// File systems stamp changes by a clock that ticks every few milliseconds, network file systems up to two seconds.
/// A file changed within the tick in which it was observed may change again without another stamp.
const RACY_NANOS: i128 = 2_000_000_000;
const NO_LIST: u64 = u64::MAX;

/// `0` dev, `8` ino, `16` parameters; big-endian.
pub(super) type FileKey = [u8; FILE_KEY_LEN];
/// A [`FileKey`] with the number of the part (u32, big-endian) behind it.
pub(super) type PartKey = [u8; FILE_KEY_LEN + 4];

/// The value of one entry of `files`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileRecord {
    pub size: u64,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    /// Nanoseconds since 1970.
    pub observed_at: i64,
    pub root: ContentHash,
    /// `None`: the list is not kept.
    pub chunk_count: Option<u64>,
}

pub(super) fn file_key(identity: &FileIdentity, params_id: u32) -> FileKey {
    let mut key = [0; FILE_KEY_LEN];
    key[..8].copy_from_slice(&identity.dev.to_be_bytes());
    key[8..16].copy_from_slice(&identity.ino.to_be_bytes());
    key[16..].copy_from_slice(&params_id.to_be_bytes());
    key
}

pub(super) fn part_key(file: &FileKey, part: u32) -> PartKey {
    let mut key = [0; FILE_KEY_LEN + 4];
    key[..FILE_KEY_LEN].copy_from_slice(file);
    key[FILE_KEY_LEN..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Whether a file that was last stamped at `ctime` could not have changed under the same stamp after `observed_at`.
pub(super) fn settled(ctime: Timestamp, observed_at: i128) -> bool {
    ctime.as_nanos() < observed_at - RACY_NANOS
}

impl FileRecord {
    /// The record of `manifest`; `None` if its file had not [settled], or the clock is out of range.
    pub fn new(manifest: &CachedManifest, observed_at: Timestamp) -> Option<Self> {
        let identity = &manifest.identity;
        settled(identity.ctime, observed_at.as_nanos()).then_some(())?;
        Some(Self {
            size: identity.size,
            mtime: identity.mtime,
            ctime: identity.ctime,
            observed_at: i64::try_from(observed_at.as_nanos()).ok()?,
            root: manifest.root,
            chunk_count: manifest.chunks.as_ref().map(|chunks| chunks.len() as u64),
        })
    }

    /// Whether this entry answers for exactly this version of the file.
    pub fn answers_for(&self, identity: &FileIdentity) -> bool {
        self.size == identity.size
            && self.mtime == identity.mtime
            && self.ctime == identity.ctime
            && settled(self.ctime, i128::from(self.observed_at))
    }

    pub fn encode(&self, key: &FileKey) -> [u8; FILE_LEN] {
        let mut out = Vec::with_capacity(FILE_LEN);
        out.extend_from_slice(&self.size.to_le_bytes());
        encode_timestamp(self.mtime, &mut out);
        encode_timestamp(self.ctime, &mut out);
        out.extend_from_slice(&self.observed_at.to_le_bytes());
        out.extend_from_slice(self.root.as_bytes());
        out.extend_from_slice(&self.chunk_count.unwrap_or(NO_LIST).to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        out.extend_from_slice(&checksum(&[key, &out]).to_le_bytes());
        out.try_into().expect("the fields of a file record add up to FILE_LEN")
    }

    /// `None` if the bytes are not a record that was stored under `key`.
    pub fn decode(key: &FileKey, bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let record = Self {
            size: fields.u64()?,
            mtime: fields.timestamp()?,
            ctime: fields.timestamp()?,
            observed_at: i64::from_le_bytes(fields.array()?),
            root: ContentHash::from_bytes(fields.array()?),
            chunk_count: Some(fields.u64()?).filter(|&count| count != NO_LIST),
        };
        let _reserved = fields.u32()?;
        let sum = fields.u32()?;
        (fields.0.is_empty() && sum == checksum(&[key, &bytes[..FILE_LEN - 4]])).then_some(record)
    }
}

/// Bytes one chunk takes, for estimates of what a batch writes.
pub(super) const CHUNK_BYTES: u64 = CHUNK_LEN as u64;

/// The value of a part into `out`.
pub(super) fn encode_part(key: &PartKey, root: &ContentHash, chunks: &[Chunk], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    encode_chunks(chunks, out);
    let crc = checksum(&[key, root.as_bytes(), &out[4..]]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Appends the chunks of a part to `out`; `None` if the bytes are not a part of this root stored under `key`.
pub(super) fn decode_part(
    key: &PartKey,
    root: &ContentHash,
    bytes: &[u8],
    out: &mut Vec<Chunk>,
) -> Option<()> {
    let (crc, records) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*crc) != checksum(&[key, root.as_bytes(), records]) {
        return None;
    }
    decode_chunks(records, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
    }

    prop_compose! {
        fn record()(
            size: u64, mtime in time(), ctime in time(), observed_at: i64, root: [u8; 32],
            chunk_count in proptest::option::of(0..NO_LIST),
        ) -> FileRecord {
            FileRecord { size, mtime, ctime, observed_at, root: root.into(), chunk_count }
        }
    }

    proptest! {
        #[test]
        fn file_records_round_trip(record in record(), key: [u8; FILE_KEY_LEN]) {
            prop_assert_eq!(FileRecord::decode(&key, &record.encode(&key)), Some(record));
        }

        #[test]
        fn a_flipped_bit_is_found(
            record in record(), key: [u8; FILE_KEY_LEN], bit in 0..(FILE_KEY_LEN + FILE_LEN) * 8,
        ) {
            let (mut key, mut bytes) = (key, record.encode(&key));
            match bit.checked_sub(FILE_LEN * 8) {
                None => bytes[bit / 8] ^= 1 << (bit % 8),
                Some(bit) => key[bit / 8] ^= 1 << (bit % 8),
            }
            prop_assert_eq!(FileRecord::decode(&key, &bytes), None);
        }

        #[test]
        fn parts_round_trip_and_a_flipped_bit_is_found(
            hashes in proptest::collection::vec(any::<([u8; 32], u32)>(), 0..20),
            key: [u8; FILE_KEY_LEN], number: u32, root: [u8; 32], flip: prop::sample::Index,
        ) {
            let chunks: Vec<_> =
                hashes.into_iter().map(|(hash, len)| Chunk { hash: hash.into(), len }).collect();
            let (key, root, mut bytes) = (part_key(&key, number), root.into(), Vec::new());
            encode_part(&key, &root, &chunks, &mut bytes);
            let mut back = Vec::new();
            prop_assert_eq!(decode_part(&key, &root, &bytes, &mut back), Some(()));
            prop_assert_eq!(back, chunks);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode_part(&key, &root, &bytes, &mut Vec::new()), None);
        }

        #[test]
        fn keys_sort_by_number(a: (u64, u64, u32), b: (u64, u64, u32)) {
            let key = |(dev, ino, params): (u64, u64, u32)| {
                let zero = Timestamp::default();
                file_key(&FileIdentity { dev, ino, size: 0, mtime: zero, ctime: zero }, params)
            };
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }
    }

    #[test]
    fn a_change_within_two_seconds_is_not_settled() {
        let at = |seconds| Timestamp { seconds, nanos: 5 };
        assert!(!settled(at(100), at(102).as_nanos()));
        assert!(settled(at(100), at(102).as_nanos() + 1));
        assert!(!settled(at(100), at(50).as_nanos()), "a clock that was set back settles nothing");
    }
}
