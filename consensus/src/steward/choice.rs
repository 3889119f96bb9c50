//! Who should vote, and who should be ready to.

use super::{Observed, count, disk_rank, odd};
use crate::quorum::{VOTERS_MAX, voters_for};
use orbit_core::grid::{Role, Voting};
use orbit_core::ids::NodeId;
use std::collections::BTreeSet;

/// How much a node is preferred; the lowest first. Only what seldom changes, so that nothing swings.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_not_wanted: bool,
    does_not_vote: bool,
    is_silent: bool,
    is_not_leader: bool,
    does_not_learn: bool,
    is_no_witness: bool,
    disk: u8,
    has_files: bool,
    id: NodeId,
}

impl Observed {
    fn rank(&self, id: NodeId) -> Rank {
        let member = self.members.get(&id);
        let is = |what: fn(&super::Member) -> bool| member.is_some_and(what);
        Rank {
            is_not_wanted: !is(|member| member.voting == Voting::Wanted),
            does_not_vote: !self.voters.contains(&id),
            is_silent: !self.is_heard(id),
            is_not_leader: id != self.own,
            does_not_learn: !self.learners.contains(&id),
            // A witness is there to vote; of the others, the quick and the idle.
            is_no_witness: !is(|member| member.role == Role::Witness),
            disk: member.map_or(u8::MAX, |member| disk_rank(member.disk)),
            has_files: is(|member| member.has_files),
            id,
        }
    }

    /// Who should vote as things are: the present voters if nothing better is possible.
    pub(super) fn next_voters(&self) -> BTreeSet<NodeId> {
        let best = self.ranked(None);
        let size = self.next_size(best.len());
        best.into_iter().chain(self.the_rest(None)).take(usize::from(size)).collect()
    }

    /// The fit voters and the ready learners without `leaver`, best first.
    pub(super) fn ranked(&self, leaver: Option<NodeId>) -> Vec<NodeId> {
        let voters = self.voters.iter().copied().filter(|id| self.is_fit(*id));
        let learners = self.learners.iter().copied();
        let ready = learners.filter(|id| !self.voters.contains(id) && self.is_ready(*id));
        let mut ranked: Vec<_> = voters.chain(ready).filter(|id| Some(*id) != leaver).collect();
        ranked.sort_by_cached_key(|id| self.rank(*id));
        ranked
    }

    /// The other voters without `leaver`: those that are heard first.
    pub(super) fn the_rest(&self, leaver: Option<NodeId>) -> Vec<NodeId> {
        let others = self.voters.iter().copied().filter(|id| !self.is_fit(*id) && Some(*id) != leaver);
        let mut rest: Vec<_> = others.collect();
        rest.sort_by_key(|id| (!self.is_heard(*id), !self.members.contains_key(id), *id));
        rest
    }

    /// How many should vote, with this many that are fit or ready.
    fn next_size(&self, fit: usize) -> u8 {
        let wanted = voters_for(usize::from(self.rules.voters_wanted));
        let possible = odd(fit, wanted);
        let now = voters_for(self.voters.len()).min(wanted);
        if possible >= now {
            return possible;
        }
        // Five with one dead survive one more failure, as three would. With fewer, or when one wants to go, three do better.
        let is_one_merely_dead = fit == 4 && !self.voters.iter().any(|id| self.is_leaving(*id));
        if now == VOTERS_MAX && !is_one_merely_dead { 3 } else { now }
    }

    /// How many could vote once everybody who may is ready.
    pub(super) fn possible_voters(&self) -> u8 {
        odd(self.eligible().len(), self.rules.voters_wanted)
    }

    /// Who should vote or stand by, the best first: as many as can vote, and one more.
    pub(super) fn wanted(&self) -> Vec<NodeId> {
        let mut wanted = self.eligible();
        wanted.sort_by_cached_key(|id| self.rank(*id));
        wanted.truncate(usize::from(self.possible_voters()) + 1);
        wanted
    }

    fn eligible(&self) -> Vec<NodeId> {
        let takes_part = |id: &NodeId| self.voters.contains(id) || self.learners.contains(id);
        let may = |id: &NodeId| self.is_fit(*id) && (takes_part(id) || self.is_settled(*id));
        self.members.keys().copied().filter(may).collect()
    }

    /// How many more voters may fail.
    pub(super) fn margin(&self, voters: &BTreeSet<NodeId>) -> Option<usize> {
        self.heard_of(voters).checked_sub(usize::from(crate::quorum::quorum(count(voters))))
    }
}
