//! How the grid is, told by whoever is asked: by the Nucleus; by a member of its group that knows of none, from its own
//! records; by a star that reaches none, from what it heard last.

mod words;

use super::types::{
    GridView, GroupView, NodeCounts, NodeState, Part, Problem, RebuildView, StatusView, UniverseView,
    VoterView,
};
use crate::daemon::Node;
use crate::daemon::recover::has_quorum;
use crate::daemon::shared::LinkState;
use crate::group::Seat;
use crate::nucleus::views::{Eyes, answers, node_views, problems_of};
use crate::nucleus::{Nucleus, contents};
use crate::standalone::state::now_ms;
use futures::future::join_all;
use orbit_core::grid::NodeRecord;
use orbit_core::ids::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a voter may take to show that it is there.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Told by the Nucleus.
pub(super) fn of_nucleus(node: &Node, nucleus: &Arc<Nucleus>) -> StatusView {
    let eyes = Eyes::of_nucleus(node, nucleus);
    let views = node_views(&eyes);
    let mut nodes = NodeCounts { total: views.len() as u32, ..NodeCounts::default() };
    let mut problems = Vec::new();
    for view in &views {
        match view.state {
            NodeState::Ready => nodes.ready += 1,
            NodeState::Suspect => nodes.suspect += 1,
            NodeState::Lost | NodeState::Unknown => nodes.lost += 1,
        }
        nodes.draining += u32::from(view.is_draining);
        problems.extend(problems_of(view));
    }
    let group = group_of_nucleus(&eyes);
    for voter in group.voters.iter().filter(|voter| voter.is_heard == Some(false)) {
        // Whoever is lost altogether has been told of.
        if views.iter().any(|view| view.id == voter.id && view.state == NodeState::Ready) {
            problems.push(words::deaf_voter(&voter.name));
        }
    }
    let name = eyes.with(|state| state.node(nucleus.own).map(|record| record.name.clone()));
    StatusView {
        tolerates_failures: tolerated(&group),
        nucleus: name,
        epoch: nucleus.fence.epoch,
        term: nucleus.fence.term,
        rebuilding: contents::rebuilding(node).map(|(done, total)| RebuildView { done, total }),
        universe: contents::counters(node).map(|known| UniverseView {
            contents: known.contents,
            wanted: known.wanted,
            chunks: known.chunks,
            bytes: known.bytes,
        }),
        nodes,
        problems,
        ..begun(node, group)
    }
    .told()
}

/// Who elects the Nucleus, told by the Nucleus.
pub(super) fn group_of_nucleus(eyes: &Eyes) -> GroupView {
    let own = eyes.acting();
    let is_heard = |id: NodeId| own == Some(id) || answers(&eyes.progress, id);
    let now = now_ms();
    let last = eyes.progress.last.map_or(0, |last| last.index);
    let silent_since = |id: NodeId| {
        let ago = eyes.progress.answered.get(&id).filter(|_| !is_heard(id))?;
        Some(now - i64::try_from(ago.as_millis()).ok()?)
    };
    let behind = |id: NodeId| {
        let matched = eyes.progress.matched.get(&id).copied().flatten().filter(|_| own != Some(id))?;
        Some(last.saturating_sub(matched.index))
    };
    group(eyes, |id| VoterView {
        is_heard: Some(is_heard(id)),
        silent_since_ms: silent_since(id),
        behind: behind(id),
        ..voter(eyes, id)
    })
}

/// Told by a member of the group from its own records. Whether the others are there is asked of them.
pub(super) async fn of_member(node: &Node, seat: &Seat) -> StatusView {
    let eyes = Eyes::of_member(node, &seat.group);
    let own = node.membership().node;
    let others: Vec<NodeId> = eyes.standing.voters.iter().copied().filter(|id| *id != own).collect();
    let probe = |id: NodeId| async move {
        matches!(tokio::time::timeout(PROBE_PATIENCE, seat.group.how_far(id)).await, Ok(Ok(_))).then_some(id)
    };
    let heard: BTreeSet<NodeId> =
        join_all(others.into_iter().map(probe)).await.into_iter().flatten().collect();
    let mut group = group(&eyes, |id| VoterView {
        is_heard: Some(id == own || heard.contains(&id)),
        silent_since_ms: node.known.silent_since(id).filter(|_| id != own && !heard.contains(&id)),
        ..voter(&eyes, id)
    });
    group.has_quorum = has_quorum(node, seat);
    let total = eyes.with(|state| state.nodes().count()) as u32;
    let epoch = eyes.with(|state| state.header().map_or(0, |header| header.epoch));
    let mut problems = words::no_quorum(&group);
    // It may be this node that is at fault: a clock that is off makes everybody else look silent.
    let own_trouble = match &*node.link.borrow() {
        LinkState::Searching(reason) => Some(reason.clone()),
        LinkState::Refused(refusal) => Some(refusal.to_string()),
        LinkState::Own | LinkState::Connected(_) => None,
    };
    problems.splice(0..0, own_trouble.map(|reason| words::own_trouble(&node.standing().name, &reason)));
    StatusView {
        epoch,
        term: eyes.standing.term,
        nodes: NodeCounts { total, ..NodeCounts::default() },
        as_of_ms: Some(as_of(&eyes)),
        problems,
        ..begun(node, group)
    }
    .told()
}

/// When the records of a member of the group were the grid's, as far as it can know: when it heard a leader last, or a
/// quorum answered it as the leader.
pub(super) fn as_of(eyes: &Eyes) -> i64 {
    let ago = eyes.progress.silence.min(eyes.progress.quorum_answered.unwrap_or(Duration::MAX));
    now_ms() - i64::try_from(ago.as_millis()).unwrap_or(0)
}

/// Told by a star that reaches no Nucleus.
pub(super) fn of_star(node: &Node) -> StatusView {
    let (group, heard_ms) = node.known.group();
    let reason = match &*node.link.borrow() {
        LinkState::Searching(reason) => reason.clone(),
        LinkState::Refused(refusal) => refusal.to_string(),
        LinkState::Own | LinkState::Connected(_) => "it does not answer".to_owned(),
    };
    let fence = node.fence();
    let mut group = group.unwrap_or_default();
    group.has_quorum = false;
    for voter in group.voters.iter_mut().chain(&mut group.learners) {
        (voter.is_nucleus, voter.is_heard, voter.silent_since_ms) = (false, None, None);
    }
    let problems = words::no_nucleus(&group, &reason);
    StatusView { epoch: fence.epoch, term: fence.term, as_of_ms: heard_ms, problems, ..begun(node, group) }
        .told()
}

fn begun(node: &Node, group: GroupView) -> StatusView {
    let membership = node.membership();
    StatusView {
        sentence: String::new(),
        is_healthy: false,
        tolerates_failures: 0,
        grid: GridView { id: membership.grid.to_string(), name: membership.grid_name },
        nucleus: None,
        epoch: 0,
        term: 0,
        nodes: NodeCounts::default(),
        group,
        told_by: node.standing().name,
        as_of_ms: None,
        rebuilding: None,
        universe: None,
        problems: Vec::new(),
        remarks: Vec::new(),
    }
}

impl StatusView {
    /// With what follows from the rest.
    fn told(mut self) -> Self {
        self.is_healthy = self.problems.is_empty();
        self.remarks = words::remarks(&self);
        self.sentence = words::sentence(&self);
        self
    }
}

/// Voters that may fail while the rest can decide.
fn tolerated(group: &GroupView) -> u32 {
    let heard = group.voters.iter().filter(|voter| voter.is_heard == Some(true)).count() as u32;
    heard.saturating_sub(group.needed)
}

fn group(eyes: &Eyes, view: impl Fn(NodeId) -> VoterView) -> GroupView {
    let mut voters: Vec<VoterView> = eyes.standing.voters.iter().map(|id| view(*id)).collect();
    let mut learners: Vec<VoterView> = eyes.standing.learners.iter().map(|id| view(*id)).collect();
    voters.sort_by(|a, b| b.is_nucleus.cmp(&a.is_nucleus).then_with(|| a.name.cmp(&b.name)));
    learners.sort_by(|a, b| a.name.cmp(&b.name));
    let needed = voters.len() as u32 / 2 + 1;
    let has_quorum = voters.iter().filter(|voter| voter.is_heard == Some(true)).count() as u32 >= needed;
    GroupView { voters, learners, needed, has_quorum }
}

fn voter(eyes: &Eyes, id: NodeId) -> VoterView {
    let record: Option<NodeRecord> = eyes.with(|state| state.node(id).cloned());
    VoterView {
        id: id.to_string(),
        name: record.as_ref().map_or_else(|| id.to_string(), |record| record.name.clone()),
        is_nucleus: eyes.part(id) == Part::Nucleus,
        is_heard: None,
        silent_since_ms: None,
        behind: None,
        note: record.and_then(|record| eyes.vote_note(&record)),
    }
}

/// A problem without more to say.
fn problem(message: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem { message: message.into(), hint: hint.into() }
}
