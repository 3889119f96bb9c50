//! [`Standing`]: what a member is in its group, and [`Progress`]: how far it is.

use crate::types::Voter;
use openraft::{EmptyNode, RaftMetrics, ServerState};
use orbit_core::ids::NodeId;
use orbit_store::LogPosition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a member of the group is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Office {
    /// It follows the log and does not vote, or is no member yet.
    #[default]
    Learner,
    /// It votes and follows the leader.
    Follower,
    /// It wants to lead.
    Candidate,
    /// It leads, and has applied everything that was committed before its term.
    Leader,
    /// It has stopped.
    Stopped,
}

/// How a member stands in its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it is.
    pub office: Office,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The term it is in.
    pub term: u64,
    /// Who votes; during a change, who will.
    pub voters: BTreeSet<NodeId>,
    /// Who voted before a change that is not complete.
    pub outgoing: Option<BTreeSet<NodeId>>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Why it stopped by itself.
    pub failure: Option<String>,
}

impl Standing {
    pub(crate) fn of(metrics: &RaftMetrics<Voter, EmptyNode>, own: Voter) -> Self {
        let membership = metrics.membership_config.membership();
        let configs = membership.get_joint_config();
        let ids = |voters: &BTreeSet<Voter>| voters.iter().map(|voter| voter.0).collect::<BTreeSet<NodeId>>();
        let has_applied_its_term =
            metrics.last_applied.is_some_and(|applied| applied.leader_id.term == metrics.current_term);
        let votes = configs.iter().any(|config| config.contains(&own));
        let office = match metrics.state {
            ServerState::Leader if has_applied_its_term => Office::Leader,
            ServerState::Leader | ServerState::Candidate => Office::Candidate,
            ServerState::Follower if votes => Office::Follower,
            ServerState::Follower | ServerState::Learner => Office::Learner,
            ServerState::Shutdown => Office::Stopped,
        };
        let failure = metrics.running_state.as_ref().err().map(ToString::to_string);
        Self {
            office: if failure.is_some() { Office::Stopped } else { office },
            leader: metrics.current_leader.map(|leader| leader.0),
            term: metrics.current_term,
            voters: configs.last().map(ids).unwrap_or_default(),
            outgoing: (configs.len() > 1).then(|| configs.first().map(ids)).flatten(),
            learners: membership.learner_ids().map(|learner| learner.0).collect(),
            failure,
        }
    }

    /// Whether this node belongs to the group at all.
    pub fn has(&self, node: NodeId) -> bool {
        self.voters.contains(&node)
            || self.learners.contains(&node)
            || self.outgoing.as_ref().is_some_and(|voters| voters.contains(&node))
    }
}

/// How far a member is, and what it knows of the others if it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The end of its log.
    pub last: Option<LogPosition>,
    /// What it has applied.
    pub applied: Option<LogPosition>,
    /// What its newest snapshot holds.
    pub snapshot: Option<LogPosition>,
    /// Up to where its log was purged.
    pub purged: Option<LogPosition>,
    /// How far each member's log is the same as the leader's; empty on others.
    pub matched: BTreeMap<NodeId, Option<LogPosition>>,
    /// How long ago each member was asked what it answered; empty if this one never led.
    pub answered: BTreeMap<NodeId, Duration>,
    /// How long ago a quorum was asked what it answered, in this term of ours.
    pub quorum_answered: Option<Duration>,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// For how long no leader was heard.
    pub silence: Duration,
}
