//! [`ManifestCache`]: hashes that were computed before, by version of a file.

use orbit_core::{Chunk, ContentHash, FileIdentity};

/// Remembers what a version of a file consists of. Losing it costs time, never data: an entry that cannot be read is
/// one that is not there, and one that cannot be stored is dropped.
///
/// All answers are for the chunking parameters in use, [`orbit_cdc::ORBIT_64K`].
pub trait ManifestCache: Send + Sync {
    /// The manifest root of exactly this version.
    fn root(&self, identity: &FileIdentity) -> Option<ContentHash>;

    /// The chunks of exactly this version, in order.
    fn chunks(&self, identity: &FileIdentity) -> Option<Vec<Chunk>>;

    /// Takes in what was computed; `chunks` if they were asked for.
    fn store(&self, identity: &FileIdentity, root: ContentHash, chunks: Option<Vec<Chunk>>);
}
