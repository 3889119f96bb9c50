//! The records a grid consists of.

use super::content::Content;
use super::job::JobRecord;
use crate::ids::{GridId, JobId, NodeId, PeerKey, Serial, TokenId};
use crate::wire::bytes::Octets;
use crate::wire::pulse::Metering;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The grid itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridHeader {
    /// Its id.
    pub id: GridId,
    /// Its name, for people.
    pub name: String,
    /// Raised by a forced recovery: what carries a lower epoch belongs to a grid that was given up.
    pub epoch: u32,
    /// When it was founded, milliseconds since 1970.
    pub created_ms: i64,
}

/// What a command to a star carries, so that one from a Nucleus that has been replaced is refused. Ordered: epoch first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// Epoch of the grid.
    pub epoch: u32,
    /// Term of the leader.
    pub term: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} term {}", self.epoch, self.term)
    }
}

/// What a node is for. It stands in the node's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Does file work, and may become a Nucleus when promoted.
    Star,
    /// May vote, holds no user files.
    Witness,
    /// May act as the Nucleus; does file work too unless its jail is empty.
    Nucleus,
}

impl Role {
    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::Witness => "witness",
            Self::Nucleus => "nucleus",
        }
    }

    /// Whether a node with this role may vote and act as the Nucleus.
    pub const fn may_lead(self) -> bool {
        matches!(self, Self::Nucleus | Self::Witness)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a person wants of a member's vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voting {
    /// Nothing was said: it votes when a voter is needed.
    #[default]
    Auto,
    /// It was promoted: it votes before the others.
    Wanted,
    /// It was demoted: it does not vote.
    Unwanted,
}

impl Voting {
    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Wanted => "wanted",
            Self::Unwanted => "unwanted",
        }
    }
}

impl fmt::Display for Voting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A certificate that was issued to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRecord {
    /// Its serial number.
    pub serial: Serial,
    /// SHA-256 of the request it answers: the same request for the same token again gets the same certificate.
    #[serde(with = "crate::wire::bytes::fixed")]
    pub request_hash: [u8; 32],
    /// Pin of the authority that issued it: SHA-256 of its public key.
    pub authority: [u8; 32],
    /// The certificate, DER.
    #[serde(with = "crate::wire::bytes")]
    pub der: Vec<u8>,
    /// Valid from, milliseconds since 1970.
    pub not_before_ms: i64,
    /// Valid until, milliseconds since 1970.
    pub not_after_ms: i64,
}

/// What a node says of itself and rarely changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of its `orbit`.
    pub version: String,
    /// Operating system and processor, for example `linux x86_64`.
    pub platform: String,
    /// Its jail: what others may reach, as written in its `star.toml`.
    pub allowed_paths: Vec<String>,
    /// Multiaddresses it listens on.
    pub addresses: Vec<String>,
    /// How quickly its disk makes small writes durable, measured when it started. Older ones do not say.
    #[serde(default)]
    pub disk: DiskClass,
}

/// Whether a disk suits a voter, whose every answer waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskClass {
    /// Quick.
    Good,
    /// It was not measured.
    #[default]
    Unknown,
    /// Usable, but every change of the grid's state is slow.
    Slow,
    /// It stalls for longer than an election waits: such a node should not vote.
    Unfit,
}

impl DiskClass {
    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
            Self::Unfit => "unfit",
        }
    }
}

/// A member of the grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// Its name, unique in the grid.
    pub name: String,
    /// Its key.
    pub key: PeerKey,
    /// What it is for.
    pub role: Role,
    /// When it joined, milliseconds since 1970.
    pub joined_ms: i64,
    /// Gets no new work.
    pub is_draining: bool,
    /// What a person wants of its vote. Records from before there were several voters do not say.
    #[serde(default)]
    pub voting: Voting,
    /// Its newest certificate.
    pub certificate: CertificateRecord,
    /// What it last said of itself.
    pub profile: Profile,
}

/// A join token, as the Nucleus keeps it: the secret itself is nowhere but in the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of the secret.
    #[serde(with = "crate::wire::bytes::fixed")]
    pub secret_hash: [u8; 32],
    /// Pin of the authority that it leads to: SHA-256 of its public key.
    #[serde(with = "crate::wire::bytes::fixed")]
    pub authority: [u8; 32],
    /// The role it gives.
    pub role: Role,
    /// How many nodes it admits in all.
    pub uses: u32,
    /// Hashes of the requests it admitted, in order: a repeated one does not count again.
    #[serde(with = "crate::wire::bytes::hashes")]
    pub used_by: Vec<[u8; 32]>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends, milliseconds since 1970.
    pub expires_ms: i64,
    /// The node on which it was asked for.
    pub created_on: NodeId,
}

impl TokenRecord {
    /// How many nodes it still admits.
    pub fn uses_left(&self) -> u32 {
        self.uses.saturating_sub(u32::try_from(self.used_by.len()).unwrap_or(u32::MAX))
    }
}

/// A certificate authority the grid trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its self-signed certificate, DER.
    #[serde(with = "crate::wire::bytes")]
    pub der: Vec<u8>,
    /// The same key certified by the authority before it, DER, so that a token that pins the older one still works.
    /// Empty for the first.
    #[serde(with = "crate::wire::bytes")]
    pub cross_signed: Vec<u8>,
    /// When it began, milliseconds since 1970.
    pub created_ms: i64,
    /// Issues certificates; the others are only still trusted.
    pub is_current: bool,
}

/// A named group of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constellation {
    /// Its name.
    pub name: String,
    /// Who belongs to it.
    pub nodes: BTreeSet<NodeId>,
}

/// What a member did for the grid, over all its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metered {
    /// The member.
    pub node: NodeId,
    /// All it did.
    pub total: Metering,
    /// What of its latest process is in the total.
    pub counted: Metering,
}

/// One record that a command changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Change {
    /// The grid's header is this now.
    Header(GridHeader),
    /// The authorities the grid trusts are these now, oldest first.
    Anchors(Vec<Anchor>),
    /// This node's record is this now.
    Node(NodeRecord),
    /// This node is gone; its certificate is revoked.
    NodeRemoved(NodeId),
    /// This token's record is this now.
    Token(TokenRecord),
    /// This token is gone.
    TokenRemoved(TokenId),
    /// This constellation is this now.
    Constellation(Constellation),
    /// This constellation is gone.
    ConstellationRemoved(String),
    /// This certificate is revoked; the entry may be dropped a day after `until_ms`, when it would have expired: a clock
    /// may be behind.
    Revoked {
        /// The certificate.
        serial: Serial,
        /// The key it was for.
        key: PeerKey,
        /// When it would have expired, milliseconds since 1970.
        until_ms: i64,
    },
    /// This revocation is forgotten: the certificate has expired.
    RevocationForgotten(Serial),
    /// This certificate is not its member's newest any more, but valid until `until_ms`; dropped like a revocation.
    Superseded {
        /// The certificate.
        serial: Serial,
        /// The key it is for.
        key: PeerKey,
        /// When it expires, milliseconds since 1970.
        until_ms: i64,
    },
    /// This older certificate has expired or is revoked.
    SupersededForgotten(Serial),
    /// The private key of the authority with this pin, sealed, is this now.
    AuthorityKey {
        /// SHA-256 of the authority's public key.
        #[serde(with = "crate::wire::bytes::fixed")]
        pin: [u8; 32],
        /// The private key, sealed under the grid's seal key.
        sealed: Octets,
    },
    /// The private key of the authority with this pin is gone.
    AuthorityKeyForgotten(#[serde(with = "crate::wire::bytes::fixed")] [u8; 32]),
    /// This job is this now.
    Job(Box<JobRecord>),
    /// This job is forgotten.
    JobRemoved(JobId),
    /// This member holds these contents too. Not part of [`GridState`](super::GridState): a table of its own.
    Contents {
        /// The member.
        holder: NodeId,
        /// What it holds.
        #[serde(with = "crate::grid::content::packed")]
        contents: Vec<Content>,
    },
    /// Nothing is known any more of what this member holds. Not part of [`GridState`](super::GridState).
    ContentsForgotten(NodeId),
    /// A member's counters are these now. Not part of [`GridState`](super::GridState): a table of its own.
    Metered(Metered),
}
