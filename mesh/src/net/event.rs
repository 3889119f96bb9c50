//! What the mesh tells the daemon: [`MeshEvent`].

use super::stream::{MeshStream, Protocol};
use libp2p::{Multiaddr, PeerId};
use orbit_core::grid::{Fence, Role};
use orbit_core::ids::{NodeId, PeerKey};
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{JoinReply, JoinRequest};
use std::fmt;
use std::time::{Duration, Instant};

/// Something happened in the mesh.
#[derive(Debug)]
pub enum MeshEvent {
    /// A member is connected and has proved itself; or a connected member said something new of itself (another
    /// certificate, fence or office).
    Admitted(PeerLink),
    /// A member is gone: its last connection ended, or it was cut off.
    Gone {
        /// Its peer id.
        peer: PeerId,
        /// Its key.
        key: PeerKey,
        /// Its node id.
        node: NodeId,
    },
    /// mDNS found a peer, or more addresses of one.
    Discovered {
        /// Who. Nothing is proved yet.
        peer: PeerId,
        /// All its addresses known.
        addresses: Vec<Multiaddr>,
    },
    /// A peer asks to become a member, or to be one again. It may be anybody.
    Join {
        /// Who, as Noise proved.
        peer: PeerId,
        /// Its key.
        key: PeerKey,
        /// What it asks. Never a hello: the mesh answers those.
        request: JoinRequest,
        /// To be answered with.
        answer: Answer<JoinReply>,
    },
    /// A member asks.
    Asked {
        /// Who.
        from: Member,
        /// What.
        request: ControlRequest,
        /// To be answered with.
        answer: Answer<ControlReply>,
    },
    /// A member opened a stream.
    Opened {
        /// Who.
        from: Member,
        /// For what.
        protocol: Protocol,
        /// The stream.
        stream: MeshStream,
    },
}

/// A member, as its certificate and its hello say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its peer id.
    pub peer: PeerId,
    /// Its key.
    pub key: PeerKey,
    /// Its node id.
    pub node: NodeId,
    /// Its role, as its certificate says.
    pub role: Role,
    /// Whether it acts as the Nucleus. True only if its role allows it.
    pub is_nucleus: bool,
    /// The highest epoch and term it knew when it said hello.
    pub fence: Fence,
}

/// A member that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// Its peer id.
    pub peer: PeerId,
    /// Its key.
    pub key: PeerKey,
    /// Its node id.
    pub node: NodeId,
    /// Its role, as its certificate says.
    pub role: Role,
    /// Whether it acts as the Nucleus. True only if its role allows it.
    pub is_nucleus: bool,
    /// The highest epoch and term it knew when it said hello.
    pub fence: Fence,
    /// Where it is.
    pub address: Multiaddr,
    /// Who dialled.
    pub direction: Direction,
    /// How it is carried.
    pub kind: LinkKind,
    /// Round trip of the last ping; none before the first.
    pub rtt: Option<Duration>,
    /// Since when it is connected.
    pub since: Instant,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The other side.
    Inbound,
    /// This node.
    Outbound,
}

/// How a link is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp4 => "tcp4",
            Self::Tcp6 => "tcp6",
        })
    }
}

/// Answers a question. Dropped without an answer, the asker's stream is closed at once; after ten seconds it is closed
/// in any case.
#[must_use = "the asker waits"]
pub struct Answer<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Answer<T> {
    pub(super) fn new(send: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Sends the answer. If the asker is gone, nothing happens.
    pub fn send(self, reply: T) {
        (self.0)(reply);
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}
