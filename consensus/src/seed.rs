//! How a group begins: with one voter that already has a state, as after founding, restoring or recovering a grid.

use crate::types::{Entry, Voter, log_id, mark, stored_entry};
use openraft::{EntryPayload, Membership, StoredMembership};
use orbit_core::ids::NodeId;
use orbit_store::{LogPosition, Mark, RaftLog, StoreError, StoredVote};
use std::collections::BTreeSet;

/// Where the state of a grid that is founded stands.
pub const FOUNDED: LogPosition = LogPosition { term: 1, index: 1 };

/// The mark of databases that hold a state as of `position`, with `node` as the only voter.
pub fn sole_voter(node: NodeId, position: LogPosition) -> Mark {
    let voter = Voter(node);
    let membership = Membership::new(vec![BTreeSet::from([voter])], None);
    let at = log_id(position);
    mark(Some(&at), &StoredMembership::new(Some(at), membership))
}

/// Ends the log of a member that lost its quorum with a membership of this node alone, in a term of its own. All entries
/// before it stay, also those that were not known to be committed, and are applied when it elects itself.
pub fn alone(log: &RaftLog, node: NodeId) -> Result<LogPosition, StoreError> {
    let last = log.last().or(log.purged());
    let voted = log.vote().map_or(0, |vote| vote.term);
    let term = last.map_or(0, |last| last.term).max(voted) + 1;
    let position = LogPosition { term, index: last.map_or(0, |last| last.index + 1) };
    let membership = Membership::new(vec![BTreeSet::from([Voter(node)])], None);
    let entry = Entry { log_id: log_id(position), payload: EntryPayload::Membership(membership) };
    log.append(&[stored_entry(&entry)])?;
    log.save_vote(&StoredVote { term, candidate: node, is_committed: false })?;
    Ok(position)
}

/// Makes an empty log begin behind `position`. The node votes for itself in the next term.
pub fn log(log: &RaftLog, node: NodeId, position: LogPosition) -> Result<(), StoreError> {
    log.seed(position)?;
    log.save_vote(&StoredVote { term: position.term, candidate: node, is_committed: false })
}
