//! [`Chunk`]: one content-defined piece of a file, by hash and length.

use crate::hash::ContentHash;
use serde::{Deserialize, Serialize};

/// One chunk of a file. Chunks follow each other without gaps, so offsets are sums of lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub hash: ContentHash,
    /// Its length in bytes, at most the parameter set's maximum.
    pub len: u32,
}
