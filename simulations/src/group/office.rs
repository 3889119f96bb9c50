//! What a node does while it leads: it commands stars, and keeps the voters as the steward says, as the daemon does.

use super::host::{Handle, Host};
use super::star;
use super::world::World;
use orbit_consensus::steward::{Hearing, Member, Observed, Rules, Step, decide, may_stop_voting};
use orbit_consensus::{Office, Progress, Standing};
use orbit_core::grid::{Command, Fence, NodeRecord, Role, Voting};
use orbit_core::ids::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the leader looks around.
const ROUND: Duration = Duration::from_millis(150);
/// Who did not answer for so long is silent.
const HEARD_WITHIN: Duration = Duration::from_millis(900);
/// A log so many entries behind reaches as far as the leader's, but for moments.
const ENTRIES_BEHIND_MAX: u64 = 40;

/// What a person asks of the Nucleus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// This node should vote.
    Promote(NodeId),
    /// This node should not vote.
    Demote(NodeId),
    /// Whether this node votes is the steward's choice.
    LeaveOpen(NodeId),
    /// Another should lead.
    HandOver(Option<NodeId>),
}

/// When others answered a leader: since when without a gap, and when last.
type Heard = BTreeMap<NodeId, (Instant, Instant)>;

/// Until its process ends.
pub async fn hold(world: Arc<World>, host: Arc<Host>, handle: Handle) {
    let heard: Arc<Mutex<Heard>> = Arc::default();
    let mut leads_since = None;
    loop {
        sleep(ROUND).await;
        let standing = handle.group.standing().borrow().clone();
        if standing.office != Office::Leader {
            leads_since = None;
            continue;
        }
        let since = *leads_since.get_or_insert_with(|| {
            lock(&heard).clear();
            Instant::now()
        });
        ping(&world, &host, &handle, &heard);
        if !handle.group.holds_lease() {
            continue;
        }
        let fence = Fence { epoch: 1, term: standing.term };
        star::command(&world, &host, fence);
        let observed = observe(&world, &host, &handle, &standing, since, &lock(&heard));
        if let Some(wish) = world.take_wish() {
            grant(&world, &host, &handle, &observed, wish).await;
        } else if let Some(step) = decide(&observed) {
            take(&world, &host, &handle, &standing, step).await;
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks every other node whether it is there.
fn ping(world: &Arc<World>, host: &Arc<Host>, handle: &Handle, heard: &Arc<Mutex<Heard>>) {
    for other in world.hosts.iter().filter(|other| other.id != host.id) {
        let (network, heard) = (world.network.clone(), heard.clone());
        let (from, to, id) = (host.place, other.place, other.id);
        handle.spawn(async move {
            if network.visit(from, to, |_| std::future::ready(())).await.is_none() {
                return;
            }
            let now = Instant::now();
            let mut heard = lock(&heard);
            let (since, last) = heard.entry(id).or_insert((now, now));
            if now.duration_since(*last) > HEARD_WITHIN {
                *since = now;
            }
            *last = now;
        });
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn observe(
    world: &World,
    host: &Host,
    handle: &Handle,
    standing: &Standing,
    since: Instant,
    heard: &Heard,
) -> Observed {
    let progress = handle.group.progress();
    let records: Vec<NodeRecord> = handle.group.with(|state| state.nodes().cloned().collect());
    let machines = |record: &NodeRecord| world.hosts.iter().any(|host| host.id == record.id);
    let member = |record: NodeRecord| {
        let hearing = match heard.get(&record.id) {
            _ if record.id == host.id => Hearing::Heard { for_ms: ms(since.elapsed()) },
            Some((first, last)) if last.elapsed() <= HEARD_WITHIN => {
                Hearing::Heard { for_ms: ms(first.elapsed()) }
            }
            Some((_, last)) => Hearing::Silent { for_ms: ms(last.elapsed()) },
            None => Hearing::Silent { for_ms: ms(since.elapsed()) },
        };
        let member = Member {
            name: record.name,
            role: record.role,
            is_certified: true,
            voting: record.voting,
            is_draining: record.is_draining,
            hearing,
            has_log: has_log(&progress, record.id),
            disk: record.profile.disk,
            has_files: false,
        };
        (record.id, member)
    };
    Observed {
        own: host.id,
        voters: standing.voters.clone(),
        learners: standing.learners.clone(),
        is_joint: standing.outgoing.is_some(),
        members: records.into_iter().filter(machines).map(member).collect(),
        leads_for_ms: ms(since.elapsed()),
        quorum_silent_for_ms: progress.quorum_answered.map_or(u64::MAX, ms),
        rules: Rules {
            voters_wanted: world.settings.voters,
            stabilise_ms: world.settings.stabilise_ms,
            settle_ms: 400,
            hand_over_after_ms: 6_000,
            quorum_silent_max_ms: 1_000,
        },
    }
}

fn has_log(progress: &Progress, node: NodeId) -> bool {
    let index = |position: Option<orbit_store::LogPosition>| position.map_or(0, |position| position.index);
    let matched = progress.matched.get(&node).copied().flatten();
    matched.is_some() && index(matched) + ENTRIES_BEHIND_MAX >= index(progress.last)
}

/// Does what the steward says.
async fn take(world: &World, host: &Host, handle: &Handle, standing: &Standing, step: Step) {
    world.trace.note(&host.name, format_args!("steward: {}", told(world, &step)));
    let group = &handle.group;
    let set_role = async |node, role| group.execute(None, Command::SetRole { node, role }).await.map(drop);
    let done = match step {
        Step::FinishChange => group.set_voters(standing.voters.clone()).await,
        Step::GiveRole(node) => set_role(node, Role::Nucleus).await,
        Step::TakeRole(node) => set_role(node, Role::Star).await,
        Step::AddLearner(node) => group.add_learner(node).await,
        Step::RemoveLearner(node) => group.remove_learner(node).await,
        Step::HandOver(node) => group.transfer(Some(node)).await.map(drop),
        Step::SetVoters(voters) => {
            let alive: BTreeSet<NodeId> =
                world.hosts.iter().filter(|host| !host.is_gone()).map(|host| host.id).collect();
            world.watch.check(|rules| rules.quorums.names(&voters, &alive));
            group.set_voters(voters).await
        }
    };
    match done {
        Ok(()) => world.trace.note(&host.name, format_args!("steward: done")),
        Err(error) => world.trace.note(&host.name, format_args!("steward: {error}")),
    }
}

fn told(world: &World, step: &Step) -> String {
    let name = |node: &NodeId| world.name_of(*node);
    match step {
        Step::FinishChange => "finish the change".to_owned(),
        Step::GiveRole(node) => format!("give a role to {}", name(node)),
        Step::TakeRole(node) => format!("take the role of {}", name(node)),
        Step::AddLearner(node) => format!("add learner {}", name(node)),
        Step::RemoveLearner(node) => format!("remove learner {}", name(node)),
        Step::HandOver(node) => format!("hand over to {}", name(node)),
        Step::SetVoters(voters) => {
            let names: Vec<String> = voters.iter().map(name).collect();
            format!("set voters {}", names.join(" "))
        }
    }
}

/// Does what a person asks, if it may be done.
async fn grant(world: &World, host: &Host, handle: &Handle, observed: &Observed, wish: Wish) {
    world.trace.note(&host.name, format_args!("person: {wish:?}"));
    let (node, voting) = match wish {
        Wish::Promote(node) => (node, Voting::Wanted),
        Wish::LeaveOpen(node) => (node, Voting::Auto),
        Wish::Demote(node) => {
            if let Err(refusal) = may_stop_voting(observed, node) {
                world.trace.note(&host.name, format_args!("person: {refusal}"));
                return;
            }
            (node, Voting::Unwanted)
        }
        Wish::HandOver(heir) => {
            let handed = handle.group.transfer(heir).await;
            let told = handed.map_or_else(|error| error.to_string(), |heir| world.name_of(heir));
            world.trace.note(&host.name, format_args!("hand-over: {told}"));
            return;
        }
    };
    let set = handle.group.execute(None, Command::SetVoting { node, voting }).await;
    if let Err(error) = set {
        world.trace.note(&host.name, format_args!("person: {error}"));
    }
}
