//! How a group begins: with one voter that already has a state, as after founding, restoring or recovering a grid.

use crate::types::{Voter, log_id, mark};
use openraft::{Membership, StoredMembership};
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

/// Makes an empty log begin behind `position`. The node votes for itself in the next term.
pub fn log(log: &RaftLog, node: NodeId, position: LogPosition) -> Result<(), StoreError> {
    log.seed(position)?;
    log.save_vote(&StoredVote { term: position.term, candidate: node, is_committed: false })
}
