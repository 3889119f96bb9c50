//! Why something in the mesh failed: [`MeshError`], [`ConnectError`], [`AskError`].

use libp2p::{Multiaddr, PeerId};
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::CertificateFault;
use std::fmt;
use std::io;

/// Why a mesh does not start.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// Something else listens there.
    #[error("cannot listen on {address}: the port is taken by another program, or by another Orbit node")]
    Taken {
        /// The address.
        address: Multiaddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// None of the addresses can be listened on.
    #[error("cannot listen on any address: {}", Listed(failures))]
    Listen {
        /// Each address, and why not.
        failures: Vec<(Multiaddr, io::Error)>,
    },
    /// The node's key cannot be used for encryption.
    #[error("the node's key cannot be used for encryption")]
    Key(#[source] libp2p::noise::Error),
}

/// Why a peer could not be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address was given.
    #[error("no address to connect to")]
    NoAddress,
    /// No address answered; each with its reason.
    #[error("no address answered: {}", Listed(causes))]
    Unreachable {
        /// Each address that was tried, and why it failed.
        causes: Vec<(Multiaddr, AddressFault)>,
    },
    /// It took too long.
    #[error("no answer within {seconds} s from {}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Timeout {
        /// How long.
        seconds: u64,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// The other side answered, and refused our hello.
    #[error("{peer} refused")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The other side answered, and is not who a member would be.
    #[error("{peer} is not trusted: its certificate is not accepted")]
    Untrusted {
        /// Who.
        peer: PeerId,
        /// Why.
        #[source]
        fault: CertificateFault,
    },
    /// The other side answered, and belongs to another grid, or to none.
    #[error("{peer} does not belong to this grid")]
    OtherGrid {
        /// Who.
        peer: PeerId,
    },
    /// The other side claims to be the Nucleus of an epoch that is over.
    #[error("{peer} says it is the Nucleus of epoch {theirs}, and epoch {ours} has begun")]
    OldEpoch {
        /// Who.
        peer: PeerId,
        /// Its epoch.
        theirs: u32,
        /// The newest known here.
        ours: u32,
    },
    /// The connection was there, and the hello over it failed.
    #[error("the connection was made, but not the greeting that proves membership")]
    Hello(#[source] AskError),
    /// The mesh has been shut down.
    #[error("the mesh has been shut down")]
    Stopped,
}

/// Why one address failed.
#[derive(Debug, thiserror::Error)]
pub enum AddressFault {
    /// The network, or the handshake.
    #[error("{}", innermost(.0))]
    Io(#[source] io::Error),
    /// Another node answers there.
    #[error("another node answers there: {obtained}")]
    OtherPeer {
        /// Which.
        obtained: PeerId,
    },
    /// This node itself answers there.
    #[error("this node itself answers there")]
    Ourselves,
    /// Not an address that can be dialled: only TCP over IPv4 or IPv6 is.
    #[error("it is no address of the form /ip4/A.B.C.D/tcp/PORT or /ip6/A::B/tcp/PORT")]
    Unsupported,
    /// This node's own limits.
    #[error("this node has too many connections with that peer")]
    Denied,
    /// The attempt was given up.
    #[error("the attempt was given up")]
    GivenUp,
}

/// Why a peer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no connection.
    #[error("{peer} is not connected")]
    NotConnected {
        /// Who.
        peer: PeerId,
    },
    /// One of the two sides has not accepted the other as a member.
    #[error("{peer} and this node have not accepted each other as members")]
    NotAdmitted {
        /// Who.
        peer: PeerId,
    },
    /// It refused our hello.
    #[error("{peer} refused")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// It showed a certificate that is not accepted.
    #[error("{peer} is not trusted: its certificate is not accepted")]
    Untrusted {
        /// Who.
        peer: PeerId,
        /// Why.
        #[source]
        fault: CertificateFault,
    },
    /// It belongs to another grid, or to none.
    #[error("{peer} does not belong to this grid")]
    OtherGrid {
        /// Who.
        peer: PeerId,
    },
    /// It claims to be the Nucleus of an epoch that is over.
    #[error("{peer} says it is the Nucleus of epoch {theirs}, and epoch {ours} has begun")]
    OldEpoch {
        /// Who.
        peer: PeerId,
        /// Its epoch.
        theirs: u32,
        /// The newest known here.
        ours: u32,
    },
    /// It did not answer in time.
    #[error("{peer} did not answer in time")]
    Timeout {
        /// Who.
        peer: PeerId,
    },
    /// The connection ended.
    #[error("the connection to {peer} ended before it answered")]
    Closed {
        /// Who.
        peer: PeerId,
    },
    /// It answered something that is no answer.
    #[error("{peer} answered something that is no answer to the question")]
    Unexpected {
        /// Who.
        peer: PeerId,
    },
    /// As many streams as may be are open to it.
    #[error("{max} streams to {peer} are open already")]
    TooManyStreams {
        /// Who.
        peer: PeerId,
        /// The limit.
        max: usize,
    },
    /// The stream broke.
    #[error("talking to {peer} failed")]
    Io {
        /// Who.
        peer: PeerId,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The mesh has been shut down.
    #[error("the mesh has been shut down")]
    Stopped,
}

/// The innermost cause: the outer ones of a transport only repeat that it failed.
fn innermost(error: &io::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Addresses and reasons in one line.
struct Listed<'a, E>(&'a [(Multiaddr, E)]);

impl<E: fmt::Display> fmt::Display for Listed<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, cause)) in self.0.iter().enumerate() {
            write!(f, "{}{address}: {cause}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
