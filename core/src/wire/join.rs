//! The join protocol: all that a peer may speak before it has proved that it is a member.

use super::bytes::{self, Octets};
use crate::grid::{Fence, Refusal};
use crate::ids::{GridId, NodeId, PeerKey, TokenId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JoinRequest {
    /// Who are you? The asker shows what it has.
    Hello(Hello),
    /// Where is the Nucleus? It alone admits, and it alone is told a token's secret.
    Nuclei,
    /// Admit me by this token.
    Enrol(Enrol),
    /// My certificate expired; my key is the one you know.
    ReEnrol {
        /// Certificate request, DER, signed by the same key.
        #[serde(with = "bytes")]
        request: Vec<u8>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JoinReply {
    /// This is who I am. If the asker showed a certificate, it was accepted.
    Hello(Hello),
    /// Here; at most 8.
    Nuclei(Vec<NucleusAddress>),
    /// You are a member.
    Enrolled(Box<Enrolled>),
    /// No.
    Refused(Refusal),
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION).
    pub protocol: u32,
    /// The grid; none before joining one.
    pub grid: Option<GridId>,
    /// Highest epoch and term known.
    pub fence: Fence,
    /// Membership certificate, DER; empty before joining a grid.
    #[serde(with = "bytes")]
    pub certificate: Vec<u8>,
    /// The grid's authorities, self-signed and cross-signed certificates, DER: what a token's pin is checked against.
    /// At most eight. Only an answer carries them.
    pub anchors: Vec<Octets>,
    /// Whether this node acts as the Nucleus, in the term of `fence`.
    pub is_nucleus: bool,
    /// The speaker's clock, milliseconds since 1970.
    pub now_ms: i64,
}

/// A request for membership.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// The token.
    pub token: TokenId,
    /// Its secret. Sent only when the other side has proved that it is the Nucleus of the grid that the token pins.
    #[serde(with = "bytes")]
    pub secret: Vec<u8>,
    /// Certificate request, DER.
    #[serde(with = "bytes")]
    pub request: Vec<u8>,
    /// The name the node would like.
    pub name: String,
}

/// Without the secret.
impl fmt::Debug for Enrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrol").field("token", &self.token).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a new member is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The grid.
    pub grid: GridId,
    /// Its name.
    pub grid_name: String,
    /// The node's id.
    pub node: NodeId,
    /// The node's name, which may differ from the one it wished for.
    pub name: String,
    /// Its certificate, DER.
    #[serde(with = "bytes")]
    pub certificate: Vec<u8>,
    /// The authorities to trust, DER: self-signed, and cross-signed ones that lead from one to the next.
    pub anchors: Vec<Octets>,
    /// Where the Nucleus is.
    pub nuclei: Vec<NucleusAddress>,
    /// Epoch and term.
    pub fence: Fence,
}

/// A node that is or may become the Nucleus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NucleusAddress {
    /// Its id.
    pub node: NodeId,
    /// Its key.
    pub key: PeerKey,
    /// Multiaddresses it listens on; at most 16.
    pub addresses: Vec<String>,
}
