//! Who votes: what the leader observes of the members, and what the steward makes of it.

use super::{Nucleus, authority};
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_consensus::steward::{self, Hearing, Member, Observed, Rules, Step};
use orbit_consensus::{GroupError, Progress, Standing};
use orbit_core::grid::{Command, Liveness, NodeRecord, Refusal, Role};
use orbit_core::ids::{NodeId, RequestId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member of the group that has not answered for so long is silent.
pub(crate) const SILENT_AFTER: Duration = Duration::from_millis(1500);
/// How often the steward looks.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a step that failed.
const RETRY: Duration = Duration::from_secs(2);
/// A log that ends at most so many entries before the leader's reaches as far, but for moments.
const BEHIND_MAX: u64 = 256;
/// How long an heir may take until the node that hands over gives up.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(5);

/// Since when members are heard, or silent.
#[derive(Debug, Default)]
pub(crate) struct Hearings(HashMap<NodeId, (bool, Instant)>);

impl Hearings {
    fn note(&mut self, id: NodeId, is_heard: bool, began: Instant, now: Instant) -> Hearing {
        // Whoever is silent from the beginning has been so since then, not longer.
        let since = match self.0.get(&id) {
            Some((was_heard, since)) if *was_heard == is_heard => *since,
            Some(_) => now,
            None if is_heard => now,
            None => began,
        };
        self.0.insert(id, (is_heard, since));
        let for_ms = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        if is_heard { Hearing::Heard { for_ms } } else { Hearing::Silent { for_ms } }
    }
}

impl Nucleus {
    /// What this leader observes, for the steward and for whoever asks why a node votes or does not.
    pub(crate) fn observed(&self, node: &Node) -> Observed {
        let (standing, progress) = (self.group().standing().borrow().clone(), self.group().progress());
        let now = Instant::now();
        let shown: HashMap<NodeId, Role> =
            node.mesh.peers().iter().map(|link| (link.node, link.role)).collect();
        let mut hearing = lock(&self.hearing);
        let members = self.with(|state| {
            let member = |record: &NodeRecord| {
                let is_heard = self.hears(&standing, &progress, record.id);
                let heard = hearing.note(record.id, is_heard, self.began, now);
                (
                    record.id,
                    self.member(node, &standing, &progress, record, shown.get(&record.id).copied(), heard),
                )
            };
            state.nodes().map(member).collect()
        });
        let quorum = progress.quorum_answered.map_or(u64::MAX, ms);
        Observed {
            own: self.own,
            is_joint: standing.outgoing.is_some(),
            voters: standing.voters,
            learners: standing.learners,
            members,
            leads_for_ms: ms(self.began.elapsed()),
            quorum_silent_for_ms: quorum,
            rules: Rules {
                voters_wanted: node.config.voters,
                stabilise_ms: ms(node.config.stabilise),
                ..Rules::default()
            },
        }
    }

    fn is_heard(&self, id: NodeId) -> bool {
        let (standing, progress) = (self.group().standing().borrow().clone(), self.group().progress());
        self.hears(&standing, &progress, id)
    }

    /// Whoever is of the group must answer in it; of others their heartbeats tell.
    fn hears(&self, standing: &Standing, progress: &Progress, id: NodeId) -> bool {
        if id == self.own {
            return true;
        }
        if standing.has(id) {
            return progress.answered.get(&id).is_some_and(|ago| *ago < SILENT_AFTER);
        }
        matches!(self.registry.sight(id).liveness, Liveness::Ready { .. })
    }

    fn member(
        &self,
        node: &Node,
        standing: &Standing,
        progress: &Progress,
        record: &NodeRecord,
        shown: Option<Role>,
        hearing: Hearing,
    ) -> Member {
        let is_own = record.id == self.own;
        let uses_newest = if is_own {
            node.certificate().is_ok_and(|own| own.serial == record.certificate.serial)
        } else {
            // After a failover nobody has said it yet; then the mesh knows from the hello.
            let said = self.registry.uses(record.id);
            said.map_or(shown == Some(record.role), |serial| serial == record.certificate.serial)
        };
        // Of those that do not vote nobody wants to know it.
        let says_role =
            !record.role.may_lead() || authority::certified_role(&record.certificate) == Some(record.role);
        let last = progress.last.map_or(0, |last| last.index);
        let matched = progress.matched.get(&record.id).copied().flatten();
        let reaches = |at: u64| at.saturating_add(BEHIND_MAX) >= last;
        Member {
            name: record.name.clone(),
            role: record.role,
            is_certified: uses_newest && says_role,
            voting: record.voting,
            is_draining: record.is_draining,
            hearing,
            has_log: is_own || (standing.has(record.id) && matched.is_some_and(|at| reaches(at.index))),
            disk: record.profile.disk,
            has_files: !record.profile.allowed_paths.is_empty(),
        }
    }

    /// Makes these the voters; whoever votes no more is let go by the steward.
    ///
    /// A leader never leaves itself out: cut off between its own copy of such a change and the others', it could not lead
    /// to complete it, and nobody else could either. It votes on beside them and hands over; the heir does the rest.
    pub(crate) async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), DaemonError> {
        let _one_at_a_time = self.voting.lock().await;
        let mut beside = voters.clone();
        beside.insert(self.own);
        if self.group().standing().borrow().voters != beside {
            self.group().set_voters(beside).await.map_err(|error| self.told(error))?;
            self.tell_news();
        }
        if !voters.contains(&self.own) {
            let answered = self.group().progress().answered;
            let heir = voters.into_iter().min_by_key(|id| answered.get(id).copied().unwrap_or(Duration::MAX));
            self.group().transfer(heir).await.map_err(|error| self.told(error))?;
        }
        Ok(())
    }

    /// Removes a member. If it votes, others must be able to go on without it, and then do so first.
    pub(crate) async fn remove(
        &self,
        node: &Node,
        request: Option<RequestId>,
        record: &NodeRecord,
    ) -> Result<(), DaemonError> {
        let id = record.id;
        let observed = self.observed(node);
        let pair = BTreeSet::from([self.own, id]);
        let voters = if id != self.own && observed.voters == pair && self.is_heard(id) {
            // What a Nucleus that handed over leaves behind: its heir goes on alone.
            BTreeSet::from([self.own])
        } else {
            steward::may_stop_voting(&observed, id)?
        };
        if id == self.own {
            // The heir does the rest: whoever asked asks it next.
            self.hand_over(node).await?;
            return Err(Refusal::NotNucleus { node: record.name.clone() }.into());
        }
        self.set_voters(voters).await?;
        if self.group().standing().borrow().learners.contains(&id) {
            let _one_at_a_time = self.voting.lock().await;
            self.group().remove_learner(id).await.map_err(|error| self.told(error))?;
        }
        self.commit(request, Command::Remove { node: id, now_ms: now_ms() }).await?;
        // What it held is nowhere any more. If this is lost, the universe names a holder that nobody finds.
        if let Err(error) = self.commit(None, Command::ForgetContents { holder: id }).await {
            tracing::warn!(error = chain(&error), "cannot forget what a removed node held");
        }
        self.registry.forget(id);
        Ok(())
    }

    /// Lets another node lead. One that votes alone makes its learner vote in its place first. Returns when this node is not
    /// the Nucleus any more.
    pub(crate) async fn hand_over(&self, node: &Node) -> Result<(), DaemonError> {
        let voters = steward::may_stop_voting(&self.observed(node), self.own)?;
        let present = self.group().standing().borrow().voters.clone();
        if present.len() > 1 {
            self.group().transfer(None).await.map_err(|error| self.told(error))?;
        } else {
            self.set_voters(voters).await?;
        }
        match tokio::time::timeout(HAND_OVER_PATIENCE, self.ended.cancelled()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(DaemonError::Group(GroupError::Unsure)),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps the number of voters right, one step at a time, until the office ends.
pub(super) async fn keep(node: Arc<Node>, nucleus: Arc<Nucleus>) {
    let mut standing = nucleus.group().standing();
    let mut wait = LOOK;
    loop {
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            _ = standing.changed() => nucleus.announce(&node).await,
            () = tokio::time::sleep(wait) => {}
        }
        let observed = nucleus.observed(&node);
        let Some(step) = steward::decide(&observed) else {
            wait = LOOK;
            continue;
        };
        tracing::info!(?step, "the voters are looked after");
        let carried_out = tokio::select! {
            () = nucleus.ended.cancelled() => return,
            carried_out = carry_out(&node, &nucleus, &step) => carried_out,
        };
        wait = match carried_out {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::warn!(?step, error = chain(&error), "cannot do that for the voters now");
                RETRY
            }
        };
    }
}

async fn carry_out(node: &Node, nucleus: &Nucleus, step: &Step) -> Result<(), DaemonError> {
    match step {
        Step::FinishChange => {
            let _one_at_a_time = nucleus.voting.lock().await;
            let standing = nucleus.group().standing().borrow().clone();
            // Whoever began it may have finished it meanwhile.
            if standing.outgoing.is_none() {
                return Ok(());
            }
            nucleus.group().set_voters(standing.voters).await.map_err(|error| nucleus.told(error))
        }
        Step::GiveRole(id) => give_role(node, nucleus, *id, Role::Nucleus).await,
        Step::TakeRole(id) => give_role(node, nucleus, *id, Role::Star).await,
        Step::AddLearner(id) => {
            let _one_at_a_time = nucleus.voting.lock().await;
            nucleus.group().add_learner(*id).await.map_err(|error| nucleus.told(error))?;
            nucleus.tell_news();
            Ok(())
        }
        Step::SetVoters(voters) => nucleus.set_voters(voters.clone()).await,
        Step::RemoveLearner(id) => {
            let _one_at_a_time = nucleus.voting.lock().await;
            nucleus.group().remove_learner(*id).await.map_err(|error| nucleus.told(error))
        }
        Step::HandOver(id) => {
            nucleus.group().transfer(Some(*id)).await.map(|_| ()).map_err(|error| nucleus.told(error))
        }
    }
}

/// The member learns it by its heartbeats at once, and asks for a certificate that says so.
async fn give_role(node: &Node, nucleus: &Nucleus, id: NodeId, role: Role) -> Result<(), DaemonError> {
    nucleus.execute(node, None, Command::SetRole { node: id, role }).await.map(|_| ())
}
