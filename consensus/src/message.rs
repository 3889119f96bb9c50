//! What members of the group say to each other.

use crate::types::{Ballot, Membership, Types};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_store::LogPosition;
use serde::{Deserialize, Serialize};

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Question {
    /// The leader's entries, or none as a heartbeat.
    Append {
        /// Time between its heartbeats, milliseconds: how soon it counts as silent.
        heartbeat_ms: u32,
        /// It takes back what it told anybody in this term.
        is_void: bool,
        /// What openraft says.
        request: AppendEntriesRequest<Types>,
    },
    /// A candidate asks for a vote.
    Vote {
        /// What openraft says.
        request: VoteRequest<crate::types::Voter>,
        /// The leader told it to take over, and relies on nobody any more.
        is_told: bool,
    },
    /// Somebody who does not hear the leader asks whether a vote would have a chance, so that it does not disturb a grid
    /// that is well by raising the term.
    PreVote {
        /// The term it is in.
        term: u64,
        /// The end of its log.
        last: Option<LogPosition>,
    },
    /// The leader of this term wants this node to take over now.
    TakeOver {
        /// Its term.
        term: u64,
    },
    /// A snapshot is coming. The answer says how much of it is there already.
    Offer {
        /// The leader's vote.
        vote: Ballot,
        /// A CBOR snapshot manifest.
        manifest: Octets,
    },
    /// A part of the snapshot that was offered last.
    Part {
        /// Hash of its manifest.
        snapshot: Octets,
        /// Which part.
        number: u32,
        /// The part.
        bytes: Octets,
    },
    /// All parts were sent: use it.
    Install {
        /// The leader's vote.
        vote: Ballot,
        /// Its manifest again.
        manifest: Octets,
        /// The membership as of the snapshot.
        membership: Membership,
    },
    /// How far the node's log is, for people who recover a grid.
    HowFar,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Answer {
    /// To [`Question::Append`].
    Append(AppendEntriesResponse<crate::types::Voter>),
    /// To [`Question::Vote`].
    Vote(VoteResponse<crate::types::Voter>),
    /// To [`Question::PreVote`].
    PreVote {
        /// Whether it would vote so.
        is_granted: bool,
        /// The term it is in.
        term: u64,
    },
    /// To [`Question::TakeOver`].
    TakingOver(bool),
    /// To [`Question::Offer`] and [`Question::Part`]: parts that are there.
    Have(u32),
    /// To [`Question::Install`].
    Installed(SnapshotResponse<crate::types::Voter>),
    /// To [`Question::HowFar`].
    Far {
        /// Who answers.
        node: NodeId,
        /// Its term.
        term: u64,
        /// The end of its log.
        last: Option<LogPosition>,
        /// What it has applied.
        applied: Option<LogPosition>,
    },
    /// It cannot: it is stopping, or its disk failed.
    Failed(String),
}
