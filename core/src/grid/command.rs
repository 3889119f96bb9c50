//! [`Command`]: what may be done to a grid's state.

use super::content::Content;
use super::job::JobCommand;
use super::record::{
    Anchor, CertificateRecord, Change, GridHeader, Metered, NodeRecord, Profile, Role, TokenRecord, Voting,
};
use super::state::bounds::CONTENTS_MAX;
use crate::ids::{NodeId, TokenId};
use crate::wire::bytes::Octets;
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
    /// Says what a person wants of a member's vote. Whether the grid can do without it is decided before, by those who
    /// know the voters.
    SetVoting {
        /// The member.
        node: NodeId,
        /// What is wanted.
        voting: Voting,
    },
    /// Makes a star a Nucleus before it votes, or a Nucleus a star after it stopped. Its certificate is renewed then.
    SetRole {
        /// The member.
        node: NodeId,
        /// The new role.
        role: Role,
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
    /// Keeps an authority's private key for those who may become the Nucleus, in place of what was kept with this pin.
    KeepAuthorityKey {
        /// SHA-256 of the authority's public key.
        #[serde(with = "crate::wire::bytes::fixed")]
        pin: [u8; 32],
        /// The private key, sealed under the grid's seal key.
        sealed: Octets,
    },
    /// Forgets the private key of an authority that does not issue any more.
    ForgetAuthorityKey {
        /// SHA-256 of the authority's public key.
        #[serde(with = "crate::wire::bytes::fixed")]
        pin: [u8; 32],
    },
    /// Records what a node holds, beside what is known of it. Like [`ForgetContents`](Self::ForgetContents) it does not
    /// depend on the state: see [`contents_change`](Self::contents_change).
    RecordContents {
        /// The node.
        holder: NodeId,
        /// What it holds; at most [`CONTENTS_MAX`](super::state::bounds::CONTENTS_MAX).
        #[serde(with = "crate::grid::content::packed")]
        contents: Vec<Content>,
    },
    /// Forgets all that a node holds. Removing a member does not do so by itself.
    ForgetContents {
        /// The node.
        holder: NodeId,
    },
    /// Keeps counters, in place of the older ones of the same members. Those of others are left out.
    Meter {
        /// The counters; at most [`METERED_MAX`](super::state::bounds::METERED_MAX).
        rows: Vec<Metered>,
    },
    /// Raises the grid's epoch after a forced recovery: whoever carries a lower one belongs to a grid that was given up.
    BeginEpoch {
        /// The new epoch.
        epoch: u32,
        /// The Nucleus's clock, milliseconds since 1970.
        now_ms: i64,
    },
    /// Does something to a job.
    Job(JobCommand),
}

impl Command {
    /// Version of the oldest program that can apply it: what came later would be left out by it, and its state would differ.
    pub const fn version(&self) -> u16 {
        match self {
            Self::Job(_) => 2,
            _ => 1,
        }
    }

    /// What the command changes in the table of contents. It follows from the command alone, so that a database that
    /// keeps only contents can be brought up to date without the grid's state; [`decide`](super::GridState::decide)
    /// says the same.
    pub fn contents_change(&self) -> Option<Change> {
        match self {
            Self::RecordContents { holder, contents } if (1..=CONTENTS_MAX).contains(&contents.len()) => {
                Some(Change::Contents { holder: *holder, contents: contents.clone() })
            }
            Self::ForgetContents { holder } => Some(Change::ContentsForgotten(*holder)),
            _ => None,
        }
    }
}
