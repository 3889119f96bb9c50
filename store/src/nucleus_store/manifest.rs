//! [`SnapshotManifest`]: what a snapshot must be, so that its parts can come from anybody in any pieces.

use crate::Mark;
use orbit_core::wire::encode;
use serde::{Deserialize, Serialize};

/// Bytes of each part but the last, which has the rest.
pub const PART_BYTES: u32 = 1 << 20;
/// Largest snapshot that is taken.
pub const SNAPSHOT_BYTES_MAX: u64 = 64 << 30;

/// What a snapshot holds, and the hashes of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotManifest {
    /// What the databases had applied.
    pub mark: Mark,
    /// Bytes of all parts.
    pub bytes: u64,
    /// BLAKE3 of each part of [`PART_BYTES`].
    #[serde(with = "orbit_core::wire::bytes::hashes")]
    pub parts: Vec<[u8; 32]>,
}

impl SnapshotManifest {
    /// BLAKE3 of its CBOR: what names it.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&encode(self)).as_bytes()
    }

    /// Whether the parts are as many as the bytes need, and those not too many.
    pub fn is_possible(&self) -> bool {
        self.bytes <= SNAPSHOT_BYTES_MAX
            && self.bytes.div_ceil(u64::from(PART_BYTES)) == self.parts.len() as u64
    }

    /// Bytes of part `number`; `None` if there is none.
    pub fn part_len(&self, number: u32) -> Option<usize> {
        let begin = u64::from(number) * u64::from(PART_BYTES);
        let left = self.bytes.checked_sub(begin).filter(|&left| left > 0)?;
        usize::try_from(left.min(u64::from(PART_BYTES))).ok()
    }

    /// Whether `bytes` are part `number`.
    pub fn is_part(&self, number: u32, bytes: &[u8]) -> bool {
        let hash = self.parts.get(number as usize);
        self.part_len(number) == Some(bytes.len()) && hash == Some(blake3::hash(bytes).as_bytes())
    }
}
