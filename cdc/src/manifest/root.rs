//! [`Root`]: what a manifest begins with, and a file's identity.

use super::node::{DecodeError, MAX_HEIGHT};
use crate::hash::hash_for_purpose;
use crate::params::ParamsId;
use orbit_core::ContentHash;

const VERSION: u8 = 1;
const PURPOSE: &str = "orbit-cdc 2026-11 file identity v1";

/// The root of a manifest.
///
/// # Format, version 1
/// | byte | length | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | kind: 0 an empty file, 1 a single chunk, 2 a tree |
/// | 2 | 2 | parameter set |
/// | 4 | 1 | height of the top node; 0 for the other kinds |
/// | 5 | 3 | zero |
/// | 8 | 8 | length of the file |
/// | 16 | 32 | hash of the chunk or of the top node; zero for an empty file |
///
/// Numbers are little-endian. The identity is BLAKE3 in key-derivation mode over these 48 bytes, with a context string
/// of its own. Every file has exactly one root for a parameter set. Another version is another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// How the file was cut.
    pub params: ParamsId,
    /// Its length in bytes.
    pub len: u64,
    /// What is below.
    pub top: Top,
}

/// What is below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Top {
    /// Nothing: the file is empty.
    Empty,
    /// One chunk, the whole file. There are no nodes.
    Chunk(ContentHash),
    /// A node.
    Tree {
        /// 0 if it is a leaf.
        height: u8,
        /// Its hash.
        hash: ContentHash,
    },
}

impl Root {
    /// Length of the encoded form.
    pub const LEN: usize = 48;

    /// The hash that stands for the file: equal for equal content cut with equal parameters, and for nothing else.
    pub fn identity(&self) -> ContentHash {
        hash_for_purpose(PURPOSE, &self.encode())
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let nothing = ContentHash::from_bytes([0; ContentHash::LEN]);
        let (kind, height, hash) = match self.top {
            Top::Empty => (0, 0, nothing),
            Top::Chunk(hash) => (1, 0, hash),
            Top::Tree { height, hash } => (2, height, hash),
        };
        let mut bytes = [0; Self::LEN];
        bytes[0] = VERSION;
        bytes[1] = kind;
        bytes[2..4].copy_from_slice(&self.params.number().to_le_bytes());
        bytes[4] = height;
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..].copy_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads a root from bytes of any origin.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wrong_length = DecodeError::Length { found: bytes.len() };
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| wrong_length)?;
        let [version, kind, params_0, params_1, height, pad_0, pad_1, pad_2, rest @ ..] = *bytes;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        if height > MAX_HEIGHT {
            return Err(DecodeError::Height(height));
        }
        let (len, hash) = rest.split_at(8);
        let mut len_bytes = [0; 8];
        len_bytes.copy_from_slice(len);
        let mut hash_bytes = [0; ContentHash::LEN];
        hash_bytes.copy_from_slice(hash);
        let hash = ContentHash::from_bytes(hash_bytes);
        let root = Self {
            params: ParamsId::from_number(u16::from_le_bytes([params_0, params_1])),
            len: u64::from_le_bytes(len_bytes),
            top: match kind {
                0 => Top::Empty,
                1 => Top::Chunk(hash),
                2 => Top::Tree { height, hash },
                _ => return Err(DecodeError::Kind),
            },
        };
        let plain = matches!(root.top, Top::Tree { .. }) || height == 0;
        let unhashed = root.top != Top::Empty || hash_bytes == [0; ContentHash::LEN];
        if !plain || !unhashed || [pad_0, pad_1, pad_2] != [0; 3] {
            return Err(DecodeError::Kind);
        }
        if (root.len == 0) != (root.top == Top::Empty) || kind == 1 && root.len > u64::from(u32::MAX) {
            return Err(DecodeError::Lengths);
        }
        Ok(root)
    }
}
