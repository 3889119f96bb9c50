//! [`NucleusStore`]: the two replicated databases, and snapshots of them.

mod manifest;

pub use manifest::{PART_BYTES, SNAPSHOT_BYTES_MAX, SnapshotManifest};
