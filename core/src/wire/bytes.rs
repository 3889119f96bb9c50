//! [`Octets`], and for `#[serde(with = "crate::wire::bytes")]`: a `Vec<u8>` as a CBOR byte string instead of a list of numbers.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes, as a CBOR byte string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Octets(#[serde(with = "crate::wire::bytes")] pub Vec<u8>);

/// Writes a byte string.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads a byte string; a list of numbers is taken too, as JSON has nothing else.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_byte_buf(Bytes)
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// For `#[serde(with = "crate::wire::bytes::fixed")]`: a `[u8; N]` as a CBOR byte string.
pub mod fixed {
    use super::{Bytes, Deserializer, Error, Serializer};

    /// Writes a byte string.
    pub fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads a byte string of that length.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        let len = bytes.len();
        bytes.try_into().map_err(|_| Error::custom(format_args!("{len} bytes instead of {N}")))
    }
}

/// For `#[serde(with = "crate::wire::bytes::hash")]`: a content hash as a CBOR byte string.
pub mod hash {
    use super::{Deserializer, Serializer, fixed};
    use crate::hash::ContentHash;

    /// Writes a byte string.
    pub fn serialize<S: Serializer>(hash: &ContentHash, serializer: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(hash.as_bytes(), serializer)
    }

    /// Reads a byte string of 32 bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentHash, D::Error> {
        fixed::deserialize(deserializer).map(ContentHash::from_bytes)
    }
}

/// For `#[serde(with = "crate::wire::bytes::hashes")]`: a list of 32-byte hashes as one CBOR byte string.
pub mod hashes {
    use super::{Bytes, Deserializer, Error, Serializer};

    /// Writes a byte string.
    pub fn serialize<S: Serializer>(hashes: &[[u8; 32]], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(hashes.as_flattened())
    }

    /// Reads a byte string of whole hashes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[u8; 32]>, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        let (hashes, rest) = bytes.as_chunks();
        if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(Error::custom("hashes of 32 bytes each")) }
    }
}

/// For `#[serde(with = "crate::wire::bytes::chunks")]`: chunks as one CBOR byte string, 36 bytes each: `0` content hash,
/// `32` length (u32, little endian).
pub mod chunks {
    use super::{Bytes, Deserializer, Error, Serializer};
    use crate::chunk::Chunk;
    use crate::hash::ContentHash;

    const LEN: usize = ContentHash::LEN + 4;

    /// Writes a byte string.
    pub fn serialize<S: Serializer>(chunks: &[Chunk], serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::with_capacity(chunks.len() * LEN);
        for chunk in chunks {
            bytes.extend_from_slice(chunk.hash.as_bytes());
            bytes.extend_from_slice(&chunk.len.to_le_bytes());
        }
        serializer.serialize_bytes(&bytes)
    }

    /// Reads a byte string of whole records.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Chunk>, D::Error> {
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        let (records, rest) = bytes.as_chunks::<LEN>();
        let chunk = |record: &[u8; LEN]| {
            let (hash, len) = record.split_first_chunk::<{ ContentHash::LEN }>()?;
            let len = u32::from_le_bytes(len.try_into().ok()?);
            Some(Chunk { hash: ContentHash::from_bytes(*hash), len })
        };
        let chunks = records.iter().map(chunk).collect::<Option<_>>();
        chunks.filter(|_| rest.is_empty()).ok_or_else(|| Error::custom("chunk records of 36 bytes each"))
    }
}
