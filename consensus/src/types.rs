//! The types openraft works with here, and their ways to and from what [`orbit_store`] keeps.

use crate::runtime::Runtime;
use crate::snapshot::SnapshotHandle;
use openraft::{CommittedLeaderId, EmptyNode, EntryPayload, LogId, StoredMembership, Vote};
use orbit_core::grid::Outcome;
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::{WireError, decode, encode};
use orbit_store::{LogEntry, LogPosition, Mark, StoredVote};
use serde::{Deserialize, Serialize};
use std::fmt;

openraft::declare_raft_types!(
    /// How openraft is used.
    pub(crate) Types:
        D = Octets,
        R = Replies,
        NodeId = Voter,
        Node = EmptyNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = SnapshotHandle,
        Responder = openraft::raft::responder::OneshotResponder<Types>,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type Position = LogId<Voter>;
pub(crate) type Ballot = Vote<Voter>;
pub(crate) type Membership = StoredMembership<Voter, EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<Voter>;

/// A node of the group. Its id is drawn anew whenever a machine joins, so none is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Voter(pub NodeId);

/// What openraft uses where it needs any id; no node has it.
impl Default for Voter {
    fn default() -> Self {
        Self(NodeId::from_bytes([0; 16]))
    }
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of each command of a log entry.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Replies(pub Vec<Outcome>);

pub(crate) fn log_id(position: LogPosition) -> Position {
    LogId::new(CommittedLeaderId::new(position.term, Voter::default()), position.index)
}

pub(crate) fn position(log_id: &Position) -> LogPosition {
    LogPosition { term: log_id.leader_id.term, index: log_id.index }
}

/// An entry as the log keeps it.
pub(crate) fn stored_entry(entry: &Entry) -> LogEntry {
    LogEntry { position: position(&entry.log_id), payload: encode(&entry.payload) }
}

/// An entry as openraft takes it.
pub(crate) fn entry(stored: &LogEntry) -> Result<Entry, WireError> {
    let payload: EntryPayload<Types> = decode(&stored.payload)?;
    Ok(Entry { log_id: log_id(stored.position), payload })
}

pub(crate) fn stored_vote(vote: &Ballot) -> StoredVote {
    let candidate = vote.leader_id.voted_for.unwrap_or_default().0;
    StoredVote { term: vote.leader_id.term, candidate, is_committed: vote.committed }
}

pub(crate) fn ballot(stored: &StoredVote) -> Ballot {
    let mut vote = Vote::new(stored.term, Voter(stored.candidate));
    vote.committed = stored.is_committed;
    vote
}

/// What a database says it has applied.
pub(crate) fn mark(log_id: Option<&Position>, membership: &Membership) -> Mark {
    Mark { position: log_id.map(position), membership: encode(membership) }
}

/// The membership in a mark; a mark that never saw one has none.
pub(crate) fn membership(mark: &Mark) -> Result<Membership, WireError> {
    if mark.membership.is_empty() { Ok(Membership::default()) } else { decode(&mark.membership) }
}
