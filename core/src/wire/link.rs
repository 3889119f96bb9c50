//! How two stars agree on a direct link: `/orbit/link/1`, a stream on which frames of a length (4 bytes, little endian, at
//! most [`LINK_BYTES_MAX`]) and CBOR go both ways.
//!
//! The destination of a job opens the stream to the source and asks; each [`LinkCall`] has one [`LinkAnswer`].
//!
//! ```text
//!  destination                                          source
//!    Present { ticket } ─────────────────────────────────▶  judged; a lease begins
//!    ◀────────── Offer { lease, link, secret, cipher, addresses }
//!    ══ TCP to one of the addresses, Noise with the secret ══▶
//!
//!  if none answers, on the same stream:
//!    DialMe { link, addresses } ─────────────────────────▶  dials
//!    ◀────────── Dialled                      (TCP the other way round)
//!  if that fails too:
//!    Carry { link } ─────────────────────────────────────▶
//!    ◀────────── Carrying                     from here on the stream carries the link itself
//! ```
//!
//! Further connections of the same lease begin with [`LinkCall::More`]; no ticket is needed for them. A destination that cannot
//! reach the source at all asks the Nucleus to pass the stream on ([`LinkCall::Through`]), which says for whom it does
//! ([`LinkCall::For`]).

use super::bytes;
use crate::grid::Refusal;
use crate::ids::{LeaseId, LinkId, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest frame, bytes: a ticket with a long path, and certificates.
pub const LINK_BYTES_MAX: usize = 64 << 10;
/// Addresses told of a direct link, at most.
pub const LINK_ADDRESSES_MAX: usize = 16;

/// A ticket and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTicket {
    /// A [`Ticket`](crate::grid::Ticket) as CBOR: what was signed.
    #[serde(with = "bytes")]
    pub ticket: Vec<u8>,
    /// Membership certificate of whoever signed it, DER.
    #[serde(with = "bytes")]
    pub certificate: Vec<u8>,
    /// Ed25519 over [`signed_bytes`](Self::signed_bytes).
    #[serde(with = "bytes::fixed")]
    pub signature: [u8; 64],
}

impl SignedTicket {
    /// What a signature is over: what it is for, so that it is good for nothing else, and the ticket.
    pub fn signed_bytes(ticket: &[u8]) -> Vec<u8> {
        [b"orbit ticket v1\0".as_slice(), ticket].concat()
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LinkCall {
    /// To the Nucleus: pass this stream on to another node. Nothing is answered: the next answer is that node's, or a refusal.
    Through {
        /// To whom.
        to: NodeId,
    },
    /// From the Nucleus: what follows is said by this node.
    For {
        /// By whom.
        asker: NodeId,
    },
    /// By this ticket: begin a lease, and offer a first connection.
    Present {
        /// The ticket.
        ticket: Box<SignedTicket>,
        /// The asker's membership certificate, DER: when it is revoked, the lease ends.
        #[serde(with = "bytes")]
        certificate: Vec<u8>,
        /// The cipher that suits the asker's processor.
        cipher: LinkCipher,
    },
    /// Offer one more connection of a lease.
    More {
        /// The lease.
        lease: LeaseId,
        /// The cipher that suits the asker's processor.
        cipher: LinkCipher,
    },
    /// Your addresses do not answer: dial one of mine for the connection that was offered.
    DialMe {
        /// The connection.
        link: LinkId,
        /// `IP:PORT`, at most [`LINK_ADDRESSES_MAX`].
        addresses: Vec<String>,
    },
    /// Neither side can dial the other: carry the connection that was offered on this stream.
    Carry {
        /// The connection.
        link: LinkId,
    },
    /// The job has ended: so does the lease, with its connections.
    Release {
        /// The lease.
        lease: LeaseId,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum LinkAnswer {
    /// A connection may be opened.
    Offer(LinkOffer),
    /// The connection was dialled.
    Dialled {
        /// Where.
        address: String,
    },
    /// None of the addresses answered.
    NotDialled {
        /// Why, for people.
        reason: String,
    },
    /// From here on the stream carries the connection.
    Carrying,
    /// The lease has ended.
    Released,
    /// No.
    Refused(Refusal),
}

/// A connection that the source waits for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkOffer {
    /// The lease it belongs to.
    pub lease: LeaseId,
    /// Names the connection; good for one.
    pub link: LinkId,
    /// What both ends prove to have: the pre-shared key of the Noise handshake, drawn for this connection.
    #[serde(with = "bytes::fixed")]
    pub secret: [u8; 32],
    /// The cipher to use.
    pub cipher: LinkCipher,
    /// Where it is waited for: `IP:PORT`, at most [`LINK_ADDRESSES_MAX`].
    pub addresses: Vec<String>,
}

/// Without the secret.
impl fmt::Debug for LinkOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOffer")
            .field("lease", &self.lease)
            .field("link", &self.link)
            .field("cipher", &self.cipher)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// A cipher of the Noise protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkCipher {
    /// AES-256 in Galois counter mode.
    AesGcm,
    /// ChaCha20 with Poly1305.
    ChaChaPoly,
}

impl LinkCipher {
    /// What both ends use, of what suits each: AES only where both have instructions for it.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::ChaChaPoly }
    }
}

/// Which way the data of a direct link takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkRoute {
    /// A connection that the destination dialled.
    Dialled,
    /// A connection that the source dialled, since the destination could not.
    Reversed,
    /// Inside the connection that the two have in the mesh, since neither can dial the other's port for links.
    Mesh,
    /// Inside connections of the mesh, through the Nucleus, since the two do not reach each other at all.
    Relayed,
}

impl LinkRoute {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dialled => "dialled",
            Self::Reversed => "reversed",
            Self::Mesh => "mesh",
            Self::Relayed => "relayed",
        }
    }
}

/// As a person is told.
impl fmt::Display for LinkRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dialled => "direct",
            Self::Reversed => "direct, dialled by the source",
            Self::Mesh => "over the mesh connection",
            Self::Relayed => "relayed through the Nucleus",
        })
    }
}
