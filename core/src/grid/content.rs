//! [`Content`]: a file's content that some member holds, named by its manifest.

use crate::hash::ContentHash;

/// A file's content. Its chunks are in the manifest that the root names; they do not travel through the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// Root of its manifest.
    pub root: ContentHash,
    /// Its length.
    pub bytes: u64,
    /// Its chunks.
    pub chunks: u32,
}

impl Content {
    /// Bytes of a packed one.
    pub const PACKED_LEN: usize = ContentHash::LEN + 8 + 4;

    fn pack(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.root.as_bytes());
        into.extend_from_slice(&self.bytes.to_le_bytes());
        into.extend_from_slice(&self.chunks.to_le_bytes());
    }

    fn unpack(packed: &[u8; Self::PACKED_LEN]) -> Option<Self> {
        let (root, rest) = packed.split_first_chunk()?;
        let (bytes, chunks) = rest.split_first_chunk()?;
        Some(Self {
            root: ContentHash::from_bytes(*root),
            bytes: u64::from_le_bytes(*bytes),
            chunks: u32::from_le_bytes(chunks.try_into().ok()?),
        })
    }
}

/// For `#[serde(with = "crate::grid::content::packed")]`: contents as one CBOR byte string, 44 bytes each: `0` root, `32`
/// length (u64, little endian), `40` chunks (u32, little endian).
pub mod packed {
    use super::Content;
    use crate::wire::bytes;
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    /// Writes a byte string.
    pub fn serialize<S: Serializer>(contents: &[Content], serializer: S) -> Result<S::Ok, S::Error> {
        let mut packed = Vec::with_capacity(contents.len() * Content::PACKED_LEN);
        for content in contents {
            content.pack(&mut packed);
        }
        serializer.serialize_bytes(&packed)
    }

    /// Reads a byte string of whole records.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
        let packed = bytes::deserialize(deserializer)?;
        let (records, rest) = packed.as_chunks::<{ Content::PACKED_LEN }>();
        let contents = records.iter().map(Content::unpack).collect::<Option<_>>();
        contents.filter(|_| rest.is_empty()).ok_or_else(|| Error::custom("contents of 44 bytes each"))
    }
}
