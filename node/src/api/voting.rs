//! Promotion, demotion and draining: what a person asks of a node's vote, and what is told of it.

use super::error::ApiFailure;
use super::server::Handled;
use crate::daemon::{DaemonError, Node};
use crate::nucleus::Nucleus;
use orbit_consensus::steward::{self, WhyNot};
use orbit_core::grid::{Command, NodeRecord, Refusal, Voting};
use orbit_core::ids::{NodeId, RequestId};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long after it began a Nucleus waits for others to be heard for long enough.
const SETTLE_PATIENCE: Duration = Duration::from_secs(4);
/// How often it looks.
const SETTLE_POLL: Duration = Duration::from_millis(100);

/// A wish as the API writes it.
pub(super) fn parse(written: &str) -> Handled<Voting> {
    let all = [Voting::Auto, Voting::Wanted, Voting::Unwanted];
    let found = all.into_iter().find(|voting| voting.name() == written);
    found.ok_or_else(|| ApiFailure::usage("`voting` is auto, wanted or unwanted"))
}

/// Says what is wanted of a node's vote, and does it as far as it can be done at once. What happened, for people.
pub(super) async fn want(
    node: &Node,
    nucleus: &Nucleus,
    request: Option<RequestId>,
    record: &NodeRecord,
    voting: Voting,
) -> Handled<Vec<String>> {
    let command = Command::SetVoting { node: record.id, voting };
    if voting != Voting::Unwanted {
        nucleus.execute(node, request, command).await?;
        return Ok(vec![what_becomes(node, nucleus, record)]);
    }
    let before = nucleus.group().standing().borrow().voters.clone();
    let voters = who_would_vote(node, nucleus, record.id, before.len()).await?;
    if !before.contains(&record.id) {
        nucleus.execute(node, request, command).await?;
        return Ok(vec![format!("{} does not vote, and will not", record.name)]);
    }
    if record.id == nucleus.own {
        // The heir does it: whoever asked asks it next.
        nucleus.hand_over(node).await?;
        return Err(Refusal::NotNucleus { node: record.name.clone() }.into());
    }
    let names = names(nucleus, voters.iter().copied());
    let left = voters.len();
    nucleus.set_voters(voters).await?;
    nucleus.execute(node, request, command).await?;
    let mut told = vec![format!("{} does not vote any more", record.name)];
    if left < before.len() {
        told.push(match &names[..] {
            [alone] => format!(
                "{alone} votes alone now: the grid tolerates no failure of the Nucleus until others vote"
            ),
            names => format!("{} vote now", names.join(", ")),
        });
    } else {
        told.push(format!("the voters are {} now", names.join(", ")));
    }
    Ok(told)
}

/// Who votes when this node does not any more. A Nucleus that has just begun knows too little of the others to put one of
/// them in its place, and waits a moment before it makes do with fewer.
async fn who_would_vote(
    node: &Node,
    nucleus: &Nucleus,
    id: NodeId,
    present: usize,
) -> Result<BTreeSet<NodeId>, Refusal> {
    loop {
        let voters = steward::may_stop_voting(&nucleus.observed(node), id)?;
        if voters.len() >= present || nucleus.began.elapsed() > SETTLE_PATIENCE {
            return Ok(voters);
        }
        tokio::time::sleep(SETTLE_POLL).await;
    }
}

fn what_becomes(node: &Node, nucleus: &Nucleus, record: &NodeRecord) -> String {
    let name = &record.name;
    let observed = nucleus.observed(node);
    if observed.voters.contains(&record.id) {
        return format!("{name} votes");
    }
    match steward::why_not(&observed, record.id) {
        Some(WhyNot::EvenNumber { voters: 1 }) => {
            format!("{name} holds the data and does not vote yet: a third node turns fault tolerance on")
        }
        Some(
            why @ (WhyNot::Draining | WhyNot::Enough { .. } | WhyNot::EvenNumber { .. } | WhyNot::Demoted),
        ) => {
            format!("{name} does not vote yet: {why}")
        }
        Some(why) => format!("{name} will vote: {why}"),
        None => format!("{name} will vote"),
    }
}

/// Gives a node no new work, or does again. One that acts as the Nucleus hands over, if another can take its place.
pub(super) async fn drain(
    node: &Node,
    nucleus: &Nucleus,
    request: Option<RequestId>,
    record: &NodeRecord,
    is_draining: bool,
) -> Handled<Vec<String>> {
    let name = &record.name;
    nucleus.execute(node, request, Command::Drain { node: record.id, is_draining }).await?;
    if !is_draining {
        return Ok(vec![format!("{name} gets new work again")]);
    }
    let mut told = vec![format!("{name} is draining: it gets no new work")];
    let standing = nucleus.group().standing().borrow().clone();
    if record.id == nucleus.own {
        match nucleus.hand_over(node).await {
            // Whoever asked sees who is the Nucleus now.
            Ok(()) => {}
            Err(DaemonError::Refused(refusal)) => told.push(format!("{name} stays the Nucleus: {refusal}")),
            Err(error) => return Err(error.into()),
        }
    } else if standing.voters.contains(&record.id) {
        told.push(format!("{name} votes until another node can take its place"));
    }
    Ok(told)
}

fn names(nucleus: &Nucleus, ids: impl IntoIterator<Item = NodeId>) -> Vec<String> {
    let name = |id: NodeId| {
        nucleus.with(|state| state.node(id).map_or_else(|| id.to_string(), |record| record.name.clone()))
    };
    let mut names: Vec<String> = ids.into_iter().map(name).collect();
    names.sort();
    names
}
