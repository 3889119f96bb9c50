//! [`MeshCounters`]: what went through the mesh, and what was dropped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a mesh counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshCounters {
    /// Bytes received over all connections, encryption and framing included.
    pub bytes_in: u64,
    /// Bytes sent, likewise.
    pub bytes_out: u64,
    /// What was dropped or refused, by reason. Reasons are the constants of [`reason`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Connections with peers that have not proved membership, now.
    pub strangers: usize,
    /// Established connections, now.
    pub connections: usize,
}

/// Why something was dropped: keys of [`MeshCounters::dropped`].
pub mod reason {
    /// Too many connections in the handshake.
    pub const PENDING: &str = "pending connections";
    /// Too many strangers.
    pub const STRANGERS: &str = "strangers";
    /// Too many connections with one peer.
    pub const PER_PEER: &str = "connections of one peer";
    /// A stranger that took too long to become a member, or made way for others.
    pub const LINGERING: &str = "lingering strangers";
    /// A stranger that sent more than strangers may.
    pub const TALKATIVE: &str = "talkative strangers";
    /// A connection that broke in its handshake.
    pub const HANDSHAKE: &str = "failed handshakes";
    /// A message larger than its protocol allows.
    pub const OVERSIZED: &str = "oversized messages";
    /// A message that cannot be decoded.
    pub const MALFORMED: &str = "malformed messages";
    /// A message that did not arrive in time, or whose stream broke.
    pub const SLOW: &str = "slow messages";
    /// More requests than the rate allows.
    pub const RATE: &str = "too many requests";
    /// A certificate that was not accepted.
    pub const CERTIFICATE: &str = "refused certificates";
    /// A node of another grid, epoch or protocol version.
    pub const FOREIGN: &str = "foreign hellos";
    /// A question that this node had no room for.
    pub const BUSY: &str = "questions while busy";
    /// A question that was not answered in time.
    pub const UNANSWERED: &str = "unanswered questions";
    /// More streams than one peer may open.
    pub const STREAMS: &str = "streams of one peer";
    /// A member whose certificate was revoked or expired while it was connected.
    pub const REVOKED: &str = "members cut off";
    /// A connection replaced by a newer one of the same peer and direction.
    pub const REPLACED: &str = "replaced connections";
    /// A member that no longer answered pings.
    pub const SILENT: &str = "silent members";
    /// A discovered address beyond the table's size.
    pub const DISCOVERED: &str = "discovered addresses";
}

/// The counters while they count; shared by everything in the mesh.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) strangers: AtomicUsize,
    pub(super) connections: AtomicUsize,
    /// Keys are constants, so the map is bounded by their number. Locked for an increment only.
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    pub(super) fn drop_one(&self, reason: &'static str) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(super) fn read(&self) -> MeshCounters {
        MeshCounters {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            dropped: self.dropped.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            strangers: self.strangers.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }
}
