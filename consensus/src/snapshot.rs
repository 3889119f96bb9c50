//! [`SnapshotHandle`]: a snapshot as openraft passes it around, which is never in memory as a whole.

use crate::databases::Snapshot;
use crate::types::{Membership, Types, log_id, membership};
use openraft::SnapshotMeta;
use orbit_core::wire::WireError;
use orbit_core::wire::encode;
use orbit_store::SnapshotManifest;
use std::sync::Arc;

/// A snapshot that is on the disk.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotHandle {
    /// One of ours, to read from.
    Kept(Arc<dyn Snapshot>),
    /// One that was received in full, to install.
    Received(SnapshotManifest),
}

pub(crate) type Meta = SnapshotMeta<crate::types::Voter, openraft::EmptyNode>;

/// What openraft wants to know of a snapshot.
pub(crate) fn meta(manifest: &SnapshotManifest) -> Result<Meta, WireError> {
    Ok(meta_with(manifest, membership(&manifest.mark)?))
}

pub(crate) fn meta_with(manifest: &SnapshotManifest, last_membership: Membership) -> Meta {
    let last_log_id = manifest.mark.position.map(log_id);
    let snapshot_id = last_log_id.map(|last| last.to_string()).unwrap_or_default();
    SnapshotMeta { last_log_id, last_membership, snapshot_id }
}

/// A snapshot as openraft passes it around.
pub(crate) fn kept(snapshot: Arc<dyn Snapshot>) -> Result<openraft::Snapshot<Types>, WireError> {
    let meta = meta(snapshot.manifest())?;
    Ok(openraft::Snapshot { meta, snapshot: Box::new(SnapshotHandle::Kept(snapshot)) })
}

/// A manifest as it travels.
pub(crate) fn packed(manifest: &SnapshotManifest) -> Vec<u8> {
    encode(manifest)
}
