//! The steward: which nodes should vote, and the one next step that leads there.
//!
//! Pure: [`decide`] looks at what the leader observes ([`Observed`]) and names a [`Step`]; who carries it out looks
//! again then. All times are spans in milliseconds. Nothing here reads a clock.
//!
//! ```text
//!   star ──GiveRole──▶ nucleus ──AddLearner──▶ learner ──SetVoters──▶ voter
//!        ◀──TakeRole──         ◀─RemoveLearner─        ◀──SetVoters──
//! ```
//!
//! What it keeps:
//! - One, three or five voters, never two or four. The second eligible node stays a learner; with the third there are
//!   three voters in one change. One more learner stands by where there is a node for it.
//! - A change happens only while the voters before it and those after it have a majority that is heard.
//! - A dead voter is replaced when it was silent for [`Rules::stabilise_ms`] and a learner is ready. Without one it stays,
//!   since it may return: fewer voters would not survive more. (Five of which two are dead become three: those do.)
//! - A voter that is draining or was demoted is replaced when a learner is ready. Without one it stays; [`why_not`] says so.
//! - A node is preferred for what seldom changes (a person's wish, being a voter already, its disk), so that nothing swings.
//!
//! Reading order: this file, then `choice` (who), then `stopping` (what a person may ask).

mod choice;
mod stopping;
#[cfg(test)]
mod tests;

pub use stopping::{WhyNot, may_stop_voting, why_not};

use crate::quorum::{quorum, voters_for};
use orbit_core::grid::{DiskClass, Role, Voting};
use orbit_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// How patient the steward is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Voters that are wanted, if there are nodes for them: one, three or five. Other numbers mean the next lower one.
    pub voters_wanted: u8,
    /// Silent for this long: the node is given up for now. Milliseconds.
    pub stabilise_ms: u64,
    /// Heard for this long: the node may be relied upon. Milliseconds.
    pub settle_ms: u64,
    /// A leader that is less suited than another voter goes on for this long before it hands over. Milliseconds.
    pub hand_over_after_ms: u64,
    /// A leader that no quorum has acknowledged for longer than this decides nothing. Milliseconds.
    pub quorum_silent_max_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            voters_wanted: 3,
            stabilise_ms: 30_000,
            settle_ms: 2_000,
            hand_over_after_ms: 60_000,
            quorum_silent_max_ms: 2_000,
        }
    }
}

/// What the leader knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The leader, which decides.
    pub own: NodeId,
    /// Who votes; during an unfinished change, who is to vote.
    pub voters: BTreeSet<NodeId>,
    /// Who is sent the log without voting.
    pub learners: BTreeSet<NodeId>,
    /// Whether a change of the voters was begun and not finished.
    pub is_joint: bool,
    /// All members of the grid.
    pub members: BTreeMap<NodeId, Member>,
    /// How long it has led. Milliseconds.
    pub leads_for_ms: u64,
    /// How long ago a quorum acknowledged it last. Milliseconds.
    pub quorum_silent_for_ms: u64,
    /// How patient it is.
    pub rules: Rules,
}

/// What the leader knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, for people.
    pub name: String,
    /// The role in its record.
    pub role: Role,
    /// Whether the certificate that it uses says that role.
    pub is_certified: bool,
    /// What a person wants of its vote.
    pub voting: Voting,
    /// Whether it gets no new work.
    pub is_draining: bool,
    /// Whether it is heard.
    pub hearing: Hearing,
    /// Whether its log reaches, but for moments, as far as the leader's. False for who is sent none.
    pub has_log: bool,
    /// How quick its disk is.
    pub disk: DiskClass,
    /// Whether users' files are on it, so that their traffic and the Nucleus's are in each other's way.
    pub has_files: bool,
}

/// Whether a member is heard, and since when it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It is.
    Heard {
        /// For how long without a gap, milliseconds.
        for_ms: u64,
    },
    /// It is not.
    Silent {
        /// For how long, milliseconds: since it was heard last, or since the leader began to lead if that was later.
        for_ms: u64,
    },
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change of the voters was begun and not finished: finish it.
    FinishChange,
    /// Make this star a Nucleus (`Command::SetRole`) and let it renew its certificate.
    GiveRole(NodeId),
    /// Send this node the log, after handing it the seal key.
    AddLearner(NodeId),
    /// Let these vote, in one change. Whoever voted before and does not any more stays a learner or goes.
    SetVoters(BTreeSet<NodeId>),
    /// Send this node the log no longer.
    RemoveLearner(NodeId),
    /// Make this Nucleus a star again.
    TakeRole(NodeId),
    /// Let this voter lead.
    HandOver(NodeId),
}

/// The next step, if there is anything to do. Only the leader asks.
pub fn decide(observed: &Observed) -> Option<Step> {
    if observed.quorum_silent_for_ms > observed.rules.quorum_silent_max_ms {
        return None;
    }
    if observed.is_joint {
        return Some(Step::FinishChange);
    }
    if !observed.can_decide(&observed.voters) {
        return None;
    }
    observed
        .leave_office()
        .or_else(|| observed.change_voters())
        .or_else(|| observed.prepare())
        .or_else(|| observed.release())
        .or_else(|| observed.prefer())
}

impl Observed {
    /// Whether a majority of these is heard.
    fn can_decide(&self, voters: &BTreeSet<NodeId>) -> bool {
        self.heard_of(voters) >= usize::from(quorum(count(voters)))
    }

    fn heard_of(&self, voters: &BTreeSet<NodeId>) -> usize {
        voters.iter().filter(|id| self.is_heard(**id)).count()
    }

    /// Whether a node is heard now. The leader hears itself.
    fn is_heard(&self, id: NodeId) -> bool {
        id == self.own || self.members.get(&id).is_some_and(|member| member.heard_ms().is_some())
    }

    /// Whether a node is heard for long enough to be relied upon.
    fn is_settled(&self, id: NodeId) -> bool {
        let heard_ms = self.members.get(&id).and_then(Member::heard_ms);
        id == self.own || heard_ms.is_some_and(|ms| ms >= self.rules.settle_ms)
    }

    /// Whether a node has been silent for so long that it is given up for now.
    fn is_dead(&self, id: NodeId) -> bool {
        id != self.own
            && self.members.get(&id).is_none_or(|member| {
                matches!(member.hearing, Hearing::Silent { for_ms } if for_ms >= self.rules.stabilise_ms)
            })
    }

    /// Whether a person wants a node out of the vote, or out of the grid.
    fn is_leaving(&self, id: NodeId) -> bool {
        self.members.get(&id).is_none_or(|member| member.is_draining || member.voting == Voting::Unwanted)
    }

    /// Whether a node should go on voting, or begin to.
    fn is_fit(&self, id: NodeId) -> bool {
        !self.is_leaving(id) && !self.is_dead(id)
    }

    /// Whether a learner can begin to vote at once.
    fn is_ready(&self, id: NodeId) -> bool {
        let may = |member: &Member| member.has_log && member.is_certified && member.role.may_lead();
        self.is_fit(id) && self.is_settled(id) && self.members.get(&id).is_some_and(may)
    }

    /// A leader that is to stop voting lets another one lead first, who then does the rest.
    fn leave_office(&self) -> Option<Step> {
        let next = self.next_voters();
        if next.contains(&self.own) && !self.is_leaving(self.own) {
            return None;
        }
        let is_heir = |id: &&NodeId| next.contains(id) && self.is_fit(**id);
        let heirs = self.voters.iter().filter(is_heir).copied();
        heirs.filter(|id| self.can_take_over(*id)).min_by_key(|id| self.lead_rank(*id)).map(Step::HandOver)
    }

    fn change_voters(&self) -> Option<Step> {
        let mut next = self.next_voters();
        if !next.contains(&self.own) && self.voters.len() > 1 {
            // Nobody who votes now can take over: the others are replaced first, the leader then.
            next.pop_last();
            next.insert(self.own);
        }
        (next != self.voters && self.can_decide(&next)).then_some(Step::SetVoters(next))
    }

    /// Makes those learners that are missing.
    fn prepare(&self) -> Option<Step> {
        self.wanted().into_iter().find_map(|id| {
            let member = self.members.get(&id)?;
            let takes_part = self.voters.contains(&id) || self.learners.contains(&id);
            if !member.role.may_lead() {
                return Some(Step::GiveRole(id));
            }
            (!takes_part && member.is_certified).then_some(Step::AddLearner(id))
        })
    }

    /// Lets go of those that are not wanted any more, when the others are there.
    fn release(&self) -> Option<Step> {
        let wanted = self.wanted();
        let is_there = |id: &NodeId| {
            let has_log = self.members.get(id).is_some_and(|member| member.has_log);
            self.voters.contains(id) || (self.learners.contains(id) && has_log)
        };
        let are_all_there = wanted.len() > usize::from(self.possible_voters()) && wanted.iter().all(is_there);
        let is_free = |id: NodeId| {
            !self.voters.contains(&id) && (self.is_leaving(id) || (are_all_there && !wanted.contains(&id)))
        };
        if let Some(id) = self.learners.iter().copied().find(|id| is_free(*id)) {
            return Some(Step::RemoveLearner(id));
        }
        let is_nucleus =
            |id: &NodeId| self.members.get(id).is_some_and(|member| member.role == Role::Nucleus);
        if !self.voters.iter().any(is_nucleus) {
            return None;
        }
        let gone = self.members.keys().copied().filter(|id| is_nucleus(id) && is_free(*id));
        gone.filter(|id| !self.learners.contains(id)).map(Step::TakeRole).next()
    }

    /// A leader that is less suited than another voter hands over, once both have been what they are for a while.
    fn prefer(&self) -> Option<Step> {
        let patience_ms = self.rules.hand_over_after_ms;
        if self.leads_for_ms < patience_ms {
            return None;
        }
        let heard_ms = |id: NodeId| self.members.get(&id).and_then(Member::heard_ms);
        let is_better = |id: NodeId| {
            self.is_fit(id)
                && self.can_take_over(id)
                && heard_ms(id).is_some_and(|ms| ms >= patience_ms)
                && self.lead_rank(id) < self.lead_rank(self.own)
        };
        let better = self.voters.iter().copied().filter(|id| is_better(*id));
        better.min_by_key(|id| self.lead_rank(*id)).map(Step::HandOver)
    }

    /// Whether a voter could lead at once.
    fn can_take_over(&self, id: NodeId) -> bool {
        let may = |member: &Member| member.has_log && member.is_certified && member.role.may_lead();
        id != self.own && self.is_heard(id) && self.members.get(&id).is_some_and(may)
    }

    /// How badly a node is suited to lead: witnesses last, then by disk, then those that are busy with files.
    fn lead_rank(&self, id: NodeId) -> (bool, u8, bool) {
        let rank = |member: &Member| (member.role == Role::Witness, disk_rank(member.disk), member.has_files);
        self.members.get(&id).map_or((true, u8::MAX, true), rank)
    }
}

impl Member {
    fn heard_ms(&self) -> Option<u64> {
        match self.hearing {
            Hearing::Heard { for_ms } => Some(for_ms),
            Hearing::Silent { .. } => None,
        }
    }
}

/// A disk that was not measured counts as good: nothing speaks against it.
const fn disk_rank(disk: DiskClass) -> u8 {
    match disk {
        DiskClass::Good | DiskClass::Unknown => 0,
        DiskClass::Slow => 1,
        DiskClass::Unfit => 2,
    }
}

fn count(voters: &BTreeSet<NodeId>) -> u8 {
    u8::try_from(voters.len()).unwrap_or(u8::MAX)
}

/// The voters that a grid can have with this many nodes for it, and at most as many as are wanted.
fn odd(nodes: usize, wanted: u8) -> u8 {
    voters_for(nodes).min(voters_for(usize::from(wanted)))
}
