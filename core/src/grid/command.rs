//! [`Command`]: what may be done to a grid's state.

use super::record::{Anchor, CertificateRecord, GridHeader, NodeRecord, Profile, TokenRecord};
use crate::ids::{NodeId, TokenId};
use serde::{Deserialize, Serialize};

/// One change of the grid's state, complete with its time and its randomness, so that applying it needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Command {
    /// Founds the grid with its first node, which is its Nucleus.
    Found {
        /// The grid.
        header: GridHeader,
        /// Its first authority.
        anchor: Anchor,
        /// The first node.
        node: NodeRecord,
    },
    /// Admits a node by token. Applied twice with the same request it changes nothing the second time.
    Enrol {
        /// The token.
        token: TokenId,
        /// SHA-256 of the secret that was shown.
        #[serde(with = "crate::wire::bytes::fixed")]
        secret_hash: [u8; 32],
        /// The node as it would be admitted. Its role is overruled by the token's; a taken name gets a number.
        node: NodeRecord,
        /// The Nucleus's clock, milliseconds since 1970.
        now_ms: i64,
    },
    /// Gives a member a new certificate. The old one stays valid until it expires, since the member may lose the answer
    /// and go on with what it has; it is remembered, so that removing the member revokes it too.
    Renew {
        /// The member.
        node: NodeId,
        /// The new certificate.
        certificate: CertificateRecord,
    },
    /// A member's profile changed.
    Describe {
        /// The member.
        node: NodeId,
        /// What it says now.
        profile: Profile,
    },
    /// Gives a member another name.
    Rename {
        /// The member.
        node: NodeId,
        /// The new name.
        name: String,
    },
    /// Gives a member no new work, or does again.
    Drain {
        /// The member.
        node: NodeId,
        /// Whether it gets no new work.
        is_draining: bool,
    },
    /// Removes a member and revokes its certificate.
    Remove {
        /// The member.
        node: NodeId,
        /// The Nucleus's clock, milliseconds since 1970.
        now_ms: i64,
    },
    /// Keeps a new token.
    CreateToken {
        /// The token.
        token: TokenRecord,
    },
    /// Forgets a token.
    RemoveToken {
        /// The token.
        token: TokenId,
    },
    /// Makes an empty constellation.
    CreateConstellation {
        /// Its name.
        name: String,
    },
    /// Adds members to a constellation.
    AddToConstellation {
        /// Its name.
        name: String,
        /// Who joins it.
        nodes: Vec<NodeId>,
    },
    /// Removes members from a constellation, or, without any, the constellation.
    RemoveFromConstellation {
        /// Its name.
        name: String,
        /// Who leaves it; empty: the constellation itself goes.
        nodes: Vec<NodeId>,
    },
    /// Starts a new certificate authority; the older ones stay trusted.
    RotateAuthority {
        /// The new one, cross-signed by the current one.
        anchor: Anchor,
    },
    /// Stops trusting authorities that no member's certificate needs any more, and forgets expired tokens and
    /// revocations.
    Tidy {
        /// The Nucleus's clock, milliseconds since 1970.
        now_ms: i64,
        /// Authorities to stop trusting, by their certificate's DER. The current one is refused.
        retired: Vec<Anchor>,
    },
}
