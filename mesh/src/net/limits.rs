//! [`Limits`]: how much of this node peers may use before they have proved that they are members.

use std::time::Duration;

/// Bounds on what strangers may do. The defaults suit a node that a thousand members may call at the same moment.
///
/// A member is a stranger for the few milliseconds between its handshake and its hello. So the totals leave room for a
/// whole grid coming back after a restart, and the bounds on one address count only strangers older than two seconds:
/// many nodes behind one router, or containers on one host, are not taken for an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in the handshake. Each costs a few kilobytes for at most ten seconds.
    pub pending: usize,
    /// Of these, from one address (IPv4) or /64 network (IPv6), so that one host cannot take them all.
    pub pending_per_origin: usize,
    /// Established connections with peers that have not proved membership.
    pub strangers: usize,
    /// Of these, from one address or /64 network, counting those older than two seconds.
    pub strangers_per_origin: usize,
    /// How long a stranger may stay.
    pub stranger_time: Duration,
    /// Bytes that a stranger may send on one connection. Two join messages of the largest size fit.
    pub stranger_bytes: u64,
    /// Established connections with one peer, for a moment. Two are kept: one that each side dialled.
    pub connections_per_peer: u32,
    /// Join requests that one address may send at once. These do not count: a hello with a valid certificate, the first
    /// hello without one on a connection, and a request that was granted. So a thousand machines behind one router can
    /// join with one token. It is a bound on load: guessing a token's secret is hopeless at any rate.
    pub join_burst: u32,
    /// Join requests per second and address after that.
    pub join_per_second: u32,
    /// Join requests that wait for the daemon's answer at the same time. Their size is bounded by what all strangers
    /// together may send.
    pub join_waiting: usize,
    /// Streams that one member may have open, in each direction, without those of the nucleus group.
    pub streams_per_peer: usize,
    /// Streams of the nucleus group that one member may have open, in each direction. They are counted apart, so that
    /// nothing else keeps voters from each other. Two are used; those of a connection that broke linger for a moment.
    pub raft_streams_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending: 2_048,
            pending_per_origin: 1_536,
            strangers: 1_536,
            strangers_per_origin: 256,
            stranger_time: Duration::from_secs(30),
            stranger_bytes: 160 << 10,
            connections_per_peer: 4,
            join_burst: 1_024,
            join_per_second: 16,
            join_waiting: 1_024,
            streams_per_peer: 64,
            raft_streams_per_peer: 8,
        }
    }
}
