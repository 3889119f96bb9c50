//! The mesh itself: one task that owns the libp2p swarm, and [`Mesh`], the handle on it.
//!
//! What is allowed is decided in three places, from the outside in:
//!
//! 1. [`Limits`] at the door: how many handshakes, strangers and connections of one peer there may be. Refused
//!    connections are closed without a word. Below encryption, a stranger's bytes are counted too.
//! 2. The gate: before a peer has proved its membership by a hello, `/orbit/join/1` is the only protocol that exists
//!    for it. Everything else is answered `na` by protocol negotiation.
//! 3. The bounds of each protocol: sizes, deadlines, streams and questions at a time, requests per second.
//!
//! ```text
//!  Mesh ──commands──▶ Task ── swarm ── door ▸ mDNS ▸ join ▸ gate( identify ping control streams )
//!       ◀──events───                    │
//!       ◀──shared view                  └─ TCP ▸ counted ▸ Noise ▸ yamux
//! ```
//!
//! A hello goes over the join protocol. The dialler begins: it shows its membership certificate; the listener verifies
//! that the grid's authority issued it for the key that Noise has proved, admits the peer, and answers with its own; the
//! dialler verifies that and admits too. A Nucleus of an epoch that is over is refused
//! ([`Refusal::OldTerm`](orbit_core::grid::Refusal::OldTerm), with the epochs as its terms); other members of an older
//! epoch are admitted, as they learn the new one from the answer.

mod behaviour;
mod bucket;
mod codec;
mod command;
mod counters;
mod door;
mod error;
mod event;
mod finder;
mod gate;
mod handle;
mod limits;
mod origin;
mod shared;
mod start;
mod stream;
mod streams;
mod task;
mod transport;

pub use counters::{MeshCounters, reason};
pub use error::{AddressFault, AskError, ConnectError, MeshError};
pub use event::{Answer, Direction, LinkKind, Member, MeshEvent, PeerLink};
pub use handle::Mesh;
pub use limits::Limits;
pub use stream::{MeshStream, Protocol};

use crate::key::NodeKey;
use crate::pki::Trust;
use libp2p::Multiaddr;
use orbit_core::grid::Fence;
use orbit_core::wire::bytes::Octets;

/// How a mesh is started.
#[derive(Debug)]
pub struct MeshConfig {
    /// The node's key.
    pub key: NodeKey,
    /// Where to listen; nowhere if empty. Port 0 takes any free one.
    pub listen: Vec<Multiaddr>,
    /// Whether to announce this node by mDNS and to look for others.
    pub mdns: bool,
    /// The program's version, for other members to see.
    pub version: String,
    /// Bounds on what strangers may do.
    pub limits: Limits,
}

/// What makes this node a member of a grid.
#[derive(Clone)]
pub struct Identity {
    /// Whom to believe.
    pub trust: Trust,
    /// Our membership certificate, DER.
    pub certificate: Vec<u8>,
    /// The highest epoch and term known.
    pub fence: Fence,
    /// Whether this node acts as the Nucleus.
    pub is_nucleus: bool,
    /// The grid's authorities, DER, for those who check a token's pin; at most eight.
    pub anchors: Vec<Octets>,
}
