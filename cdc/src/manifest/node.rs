//! [`Node`]: one node of a manifest, and its bytes.

use crate::hash::hash_for_purpose;
use orbit_core::{Chunk, ContentHash};

/// A node ends after the first child, from this many on, whose hash asks for it …
pub(super) const MIN_CHILDREN: usize = 16;

/// … which one in this many does, so that nodes have 48 children on average …
const END_ODDS: u8 = 32;

/// … or, whatever the hashes say, after this many.
pub(super) const MAX_CHILDREN: usize = 192;

/// Enough for 2^64 bytes in chunks of a byte with the fewest children a full node has.
pub(super) const MAX_HEIGHT: u8 = 16;

const VERSION: u8 = 1;
const HEADER_LEN: usize = 4;
const LEAF_PURPOSE: &str = "orbit-cdc 2026-11 manifest leaf v1";
const INNER_PURPOSE: &str = "orbit-cdc 2026-11 manifest inner node v1";

/// A run of chunks (a leaf, height 0) or of nodes one level lower.
///
/// # Format, version 1
/// | byte | length | field |
/// |---|---|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | height, 0 for a leaf, at most 16 |
/// | 2 | 2 | number of children, 1 to 192 |
/// | 4 | 36 or 40 each | the children: 32 bytes of hash, then their length, 4 bytes in a leaf, 8 in an inner node |
///
/// Numbers are little-endian; no length is 0. A node's hash is BLAKE3 in key-derivation mode over its bytes, with
/// one context string for leaves and another for inner nodes, so that no chunk and no other node has it.
/// Another version is another format: readers refuse it, and manifests are made again from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    height: u8,
    children: Vec<Child>,
}

/// A chunk or a lower node, as its parent holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Of the chunk's bytes, or of the node.
    pub hash: ContentHash,
    /// Bytes of the file it stands for.
    pub len: u64,
}

/// Bytes that are no manifest node or root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too few or too many bytes for what they announce.
    #[error("{found} bytes are not the length of this manifest record")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A format this version of Orbit does not know.
    #[error("unknown manifest format {0}")]
    Version(u8),
    /// A tree higher than any file needs.
    #[error("manifest height {0} is beyond the limit")]
    Height(u8),
    /// No children, or more than a node may have.
    #[error("a manifest node with {0} children")]
    Children(u16),
    /// A child without bytes, or children that exceed 2^64 bytes together.
    #[error("impossible lengths in a manifest record")]
    Lengths,
    /// A root of no known kind, or with bytes set where there must be none.
    #[error("a manifest root of an unknown kind")]
    Kind,
    /// Not the bytes that were asked for.
    #[error("expected manifest node {expected}, found {found}")]
    Hash {
        /// The hash asked for.
        expected: ContentHash,
        /// The hash of what came.
        found: ContentHash,
    },
}

impl Node {
    /// A node under construction.
    pub(super) fn new(height: u8, children: Vec<Child>) -> Self {
        Self { height, children }
    }

    /// 0 for a leaf, whose children are chunks.
    pub const fn height(&self) -> u8 {
        self.height
    }

    /// Its children in the order of the file.
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    /// Bytes of the file it stands for.
    pub fn len(&self) -> u64 {
        self.children.iter().map(|child| child.len).sum()
    }

    /// Whether it stands for no bytes, which none does that was decoded or built.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Its name: depends on all that is below it.
    pub fn hash(&self) -> ContentHash {
        hash_encoded(self.height, &self.encode())
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.children.len() * child_len(self.height));
        bytes.extend([VERSION, self.height]);
        bytes.extend((self.children.len() as u16).to_le_bytes());
        for child in &self.children {
            bytes.extend_from_slice(child.hash.as_bytes());
            bytes.extend_from_slice(&child.len.to_le_bytes()[..len_len(self.height)]);
        }
        bytes
    }

    /// Reads a node from bytes of any origin. Whether it is the right one, see [`Self::decode_verified`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let wrong_length = DecodeError::Length { found: bytes.len() };
        let ([version, height, count @ ..], entries) =
            bytes.split_first_chunk::<HEADER_LEN>().ok_or(wrong_length)?;
        if *version != VERSION {
            return Err(DecodeError::Version(*version));
        }
        if *height > MAX_HEIGHT {
            return Err(DecodeError::Height(*height));
        }
        let count = u16::from_le_bytes(*count);
        if count == 0 || usize::from(count) > MAX_CHILDREN {
            return Err(DecodeError::Children(count));
        }
        if entries.len() != usize::from(count) * child_len(*height) {
            return Err(wrong_length);
        }
        let children: Vec<Child> = entries.chunks_exact(child_len(*height)).map(decode_child).collect();
        let total = children.iter().try_fold(0_u64, |sum, child| sum.checked_add(child.len));
        if total.is_none() || children.iter().any(|child| child.len == 0) {
            return Err(DecodeError::Lengths);
        }
        Ok(Self { height: *height, children })
    }

    /// Reads a node from bytes of any origin and checks that it is the one with this hash.
    pub fn decode_verified(expected: ContentHash, bytes: &[u8]) -> Result<Self, DecodeError> {
        let node = Self::decode(bytes)?;
        let found = hash_encoded(node.height, bytes);
        if found != expected {
            return Err(DecodeError::Hash { expected, found });
        }
        Ok(node)
    }

    /// Whether a node with these children is complete.
    pub(super) fn is_complete(children: &[Child]) -> bool {
        let asks = |child: &Child| child.hash.as_bytes()[0].is_multiple_of(END_ODDS);
        children.len() >= MAX_CHILDREN || children.len() >= MIN_CHILDREN && children.last().is_some_and(asks)
    }
}

impl Child {
    /// The chunk it is, in a leaf.
    pub(super) fn as_chunk(&self) -> Chunk {
        Chunk { hash: self.hash, len: self.len as u32 }
    }
}

impl From<Chunk> for Child {
    fn from(chunk: Chunk) -> Self {
        Self { hash: chunk.hash, len: chunk.len.into() }
    }
}

fn hash_encoded(height: u8, bytes: &[u8]) -> ContentHash {
    let purpose = if height == 0 { LEAF_PURPOSE } else { INNER_PURPOSE };
    hash_for_purpose(purpose, bytes)
}

fn decode_child(bytes: &[u8]) -> Child {
    let (hash, len) = bytes.split_at(ContentHash::LEN);
    let mut hash_bytes = [0; ContentHash::LEN];
    hash_bytes.copy_from_slice(hash);
    let mut len_bytes = [0; 8];
    len_bytes[..len.len()].copy_from_slice(len);
    Child { hash: ContentHash::from_bytes(hash_bytes), len: u64::from_le_bytes(len_bytes) }
}

/// Bytes of a length field.
const fn len_len(height: u8) -> usize {
    if height == 0 { 4 } else { 8 }
}

const fn child_len(height: u8) -> usize {
    ContentHash::LEN + len_len(height)
}
