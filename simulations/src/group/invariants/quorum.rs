//! Automation never takes the group's quorum: the voters are one, three or five, and a majority of those that it names is
//! alive when it names them.

use super::Broken;
use orbit_core::ids::NodeId;
use std::collections::BTreeSet;

const SIZES: [usize; 3] = [1, 3, 5];

/// What the voters were.
#[derive(Debug, Default)]
pub struct Quorums {
    seen: BTreeSet<BTreeSet<NodeId>>,
    changes: u64,
}

impl Quorums {
    /// These nodes vote, as a leader knows for certain.
    pub fn vote(&mut self, voters: &BTreeSet<NodeId>) -> Vec<Broken> {
        if !self.seen.insert(voters.clone()) || SIZES.contains(&voters.len()) {
            return Vec::new();
        }
        vec![("there are one, three or five voters", format!("{} voters", voters.len()))]
    }

    /// Automation makes these the voters, of whom `alive` are known to the world to be alive or to come back.
    pub fn names(&mut self, voters: &BTreeSet<NodeId>, alive: &BTreeSet<NodeId>) -> Vec<Broken> {
        self.changes += 1;
        let alive = voters.intersection(alive).count();
        if alive * 2 > voters.len() {
            return Vec::new();
        }
        let what = format!("{alive} of {} voters are alive", voters.len());
        vec![("automation never takes the quorum", what)]
    }

    /// Changes that automation made.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}
