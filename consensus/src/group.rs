//! [`Group`]: a member of the group that elects the Nucleus, and the handle to it.

use crate::answer::{Receiving, answer};
use crate::compact::compact;
use crate::databases::{Databases, Snapshot};
use crate::election::drive;
use crate::log::Log;
use crate::machine::{Machine, MachineError};
use crate::message::{Answer, Question};
use crate::network::{Network, ask};
use crate::pace::Pace;
use crate::propose::{Proposal, WAITING_MAX, gather};
use crate::runtime::Scope;
use crate::standing::{Office, Progress, Standing};
use crate::transport::{Transport, Unreachable};
use crate::types::{Raft, Voter, position};
use openraft::{Config, ServerState, SnapshotPolicy};
use orbit_core::grid::{Change, Command, Envelope, GridState, Refusal};
use orbit_core::ids::{NodeId, RequestId};
use orbit_store::{LogPosition, RaftLog};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};

/// openraft's own lease, milliseconds: how long after a leader's last word a member votes for nobody else. Ours is in
/// [`Pace`](crate::pace); this one only holds up a leader that hands over.
const RAFT_LEASE_MS: u64 = 52;
/// Bytes of entries that one message carries.
const READ_MAX: usize = 1 << 20;
/// How long a command may take until it is said that its outcome is not known.
pub(crate) const COMMAND_PATIENCE: Duration = Duration::from_secs(5);
/// How long an heir may take to catch up, and to take over.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
/// Nobody hands over to a member that was silent for so long.
const HEIR_HEARD: Duration = Duration::from_secs(1);
/// How often a hand-over is looked at.
const HAND_OVER_POLL: Duration = Duration::from_millis(5);
/// How long a change of the membership may take.
const MEMBERSHIP_PATIENCE: Duration = Duration::from_secs(10);

/// How a member of the group runs.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// This node.
    pub node: NodeId,
    /// Draws this member's election timeouts.
    pub seed: u64,
    /// Entries after which a snapshot is written; more, while writing them would take more than a tenth of the time.
    pub snapshot_every: u64,
    /// Entries that are kept behind a snapshot, so that a member that is a little behind needs none.
    pub entries_kept: u64,
    /// Bytes of entries that one message carries, unless a single entry is larger.
    pub read_max: usize,
    /// Do file work where it is asked for, on the task that asks: for simulations.
    pub is_inline: bool,
}

impl GroupConfig {
    /// As a daemon runs it.
    pub const fn new(node: NodeId, seed: u64) -> Self {
        Self { node, seed, snapshot_every: 10_000, entries_kept: 2_000, read_max: READ_MAX, is_inline: false }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// Another member leads, or none; nothing was done.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does.
        leader: Option<NodeId>,
    },
    /// This member leads, but no quorum answers; nothing was done.
    #[error("no quorum of the voters answers")]
    NoQuorum,
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not known whether it was done. The same request may be sent again.
    #[error("the outcome is not known yet")]
    Unsure,
    /// It would take a change of the membership that is not possible now.
    #[error("the voters cannot be changed now: {0}")]
    Membership(String),
    /// The heir did not take over; this member leads on.
    #[error("{heir} did not take over: {reason}")]
    NotHandedOver {
        /// Who was to lead.
        heir: NodeId,
        /// Why it does not.
        reason: String,
    },
    /// The member stopped, mostly because its disk failed.
    #[error("this member of the group stopped: {0}")]
    Stopped(String),
}

/// Why a member could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its databases.
    #[error("cannot load the grid's databases")]
    Databases(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its log, or openraft.
    #[error("cannot start the group")]
    Raft(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the parts of a member share.
pub(crate) struct Shared {
    pub(crate) own: Voter,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) pace: Arc<Pace>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) scope: Scope,
    pub(crate) receiving: Mutex<Option<Receiving>>,
    /// The term in which nothing is proposed and no heartbeat is sent, since another takes over; 0: none.
    handing_over: AtomicU64,
    /// How many turns this member waits before it wants to lead.
    pub(crate) rank: AtomicU32,
    proposals: mpsc::Sender<Proposal>,
    standing: watch::Sender<Standing>,
}

impl Shared {
    /// Sets of voters that each need a quorum: one, or two during a change.
    pub(crate) fn voters(&self) -> Vec<BTreeSet<Voter>> {
        let metrics = self.raft.server_metrics();
        let seen = metrics.borrow();
        seen.membership_config.membership().get_joint_config().clone()
    }

    pub(crate) fn term_and_last(&self) -> (u64, Option<LogPosition>) {
        let term = self.raft.server_metrics().borrow().vote.leader_id.term;
        let last = self.raft.data_metrics().borrow().last_log;
        (term, last.as_ref().map(position))
    }

    pub(crate) fn applied(&self) -> Option<LogPosition> {
        self.raft.data_metrics().borrow().last_applied.as_ref().map(position)
    }

    /// Whether this leader lets another take over just now.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Relaxed) == self.term_and_last().0
    }

    /// Whether a quorum answered so lately that others hear this leader.
    pub(crate) fn is_heard_by_quorum(&self) -> bool {
        self.quorum_answered().is_some_and(|ago| ago < self.pace.patience(0, 0.0))
    }

    /// How long ago a quorum was asked what it answered, in this term.
    fn quorum_answered(&self) -> Option<Duration> {
        let (term, _) = self.term_and_last();
        self.pace.quorum_answered(self.own, term, &self.voters())
    }

    pub(crate) fn stopped(&self) -> GroupError {
        let reason = match &self.raft.metrics().borrow().running_state {
            Ok(()) => "it is shutting down".to_owned(),
            Err(fatal) => fatal.to_string(),
        };
        GroupError::Stopped(reason)
    }
}

/// A member of the group. Cheap to clone; [`stop`](Self::stop) ends it for all.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("node", &self.shared.own).finish_non_exhaustive()
    }
}

impl Group {
    /// Starts this node's member of the group from what its log and databases hold.
    pub async fn start(
        config: GroupConfig,
        log: RaftLog,
        databases: Box<dyn Databases>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, StartError> {
        let scope = Scope::new(config.is_inline);
        let own = Voter(config.node);
        let loading = scope.clone();
        let loaded = scope.offload(move || load(databases, log, loading)).await;
        let (machine, log) = loaded
            .unwrap_or(Err(MachineError::Stopped))
            .map_err(|error| StartError::Databases(error.into()))?;
        let pace = Arc::new(Pace::new());
        let log = Log::new(log, own, scope.clone(), config.read_max);
        let network = Network {
            transport: Arc::clone(&transport),
            pace: Arc::clone(&pace),
            scope: scope.clone(),
            voted: log.voted(),
        };
        let raft_config = raft_config(&config).map_err(|error| StartError::Raft(error))?;
        let started = scope.run(Raft::new(own, raft_config, network, log, machine.clone())).await;
        let raft = started.map_err(|error| StartError::Raft(error.into()))?;
        let (proposals, waiting) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared {
            own,
            raft,
            machine,
            pace,
            transport,
            scope: scope.clone(),
            receiving: Mutex::default(),
            handing_over: AtomicU64::new(0),
            rank: AtomicU32::new(0),
            proposals,
            standing: watch::Sender::default(),
        });
        scope.spawn(watch_standing(Arc::clone(&shared)));
        scope.spawn(drive(Arc::clone(&shared), config.seed));
        scope.spawn(gather(Arc::clone(&shared), waiting));
        scope.spawn(compact(Arc::clone(&shared), config.snapshot_every));
        Ok(Self { shared })
    }

    /// Looks at what this member has applied: on the leader all there is, on others maybe less. Short: commits wait.
    pub fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        self.shared.machine.with(look)
    }

    /// What this member is, who leads and who votes; it tells when that changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// How far this member is, and, if it leads, the others.
    pub fn progress(&self) -> Progress {
        // Copied, and let go at once: a second look while this one is held may wait for a writer that waits for this one.
        let data = self.shared.raft.data_metrics().borrow().clone();
        let matched = data.replication.iter().flatten();
        Progress {
            last: data.last_log.as_ref().map(position),
            applied: data.last_applied.as_ref().map(position),
            snapshot: data.snapshot.as_ref().map(position),
            purged: data.purged.as_ref().map(position),
            matched: matched.map(|(voter, log_id)| (voter.0, log_id.as_ref().map(position))).collect(),
            answered: self.shared.pace.answered(),
            quorum_answered: self.shared.quorum_answered(),
            heartbeat: self.shared.pace.heartbeat(),
            silence: self.shared.pace.silence(),
        }
    }

    /// Whether this member leads, and may rely on it without asking: no other can lead now.
    pub fn holds_lease(&self) -> bool {
        let standing = self.shared.standing.borrow().clone();
        let shared = &self.shared;
        standing.office == Office::Leader
            && shared.pace.holds_lease(shared.own, standing.term, &shared.voters())
    }

    /// Waits until a quorum has confirmed that this member leads and everything that was committed before is applied here:
    /// what [`with`](Self::with) shows then is what anybody could know.
    pub async fn confirm(&self) -> Result<(), GroupError> {
        match timeout(COMMAND_PATIENCE, self.shared.raft.ensure_linearizable()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match error.into_api_error() {
                Some(openraft::error::CheckIsLeaderError::ForwardToLeader(to)) => {
                    GroupError::NotLeader { leader: to.leader_id.map(|leader| leader.0) }
                }
                Some(openraft::error::CheckIsLeaderError::QuorumNotEnough(_)) => GroupError::NoQuorum,
                None => self.shared.stopped(),
            }),
            Err(_) => Err(GroupError::NoQuorum),
        }
    }

    /// Carries out a command, if this member leads: it is durable on a quorum when this returns. A request that was
    /// carried out before is answered as it was then.
    ///
    /// Cancel-safe in that a command once sent is carried out whether or not anybody waits.
    pub async fn execute(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Vec<Change>, GroupError> {
        let standing = self.shared.standing.borrow().clone();
        if standing.office != Office::Leader || self.shared.is_handing_over() {
            let leader = standing.leader.filter(|leader| *leader != self.shared.own.0);
            return Err(GroupError::NotLeader { leader });
        }
        if !self.shared.is_heard_by_quorum() {
            return Err(GroupError::NoQuorum);
        }
        let (proposal, answered) = Proposal::new(&Envelope::new(request, command));
        let carried_out = async {
            self.shared.proposals.send(proposal).await.map_err(|_| self.shared.stopped())?;
            answered.await.unwrap_or_else(|_| Err(self.shared.stopped()))
        };
        match timeout(COMMAND_PATIENCE, carried_out).await {
            Ok(outcome) => Ok(outcome??),
            Err(_) => Err(GroupError::Unsure),
        }
    }

    /// Answers a message of another member. The caller has proved that it is from `from`.
    pub async fn answer(&self, from: NodeId, message: &[u8]) -> Vec<u8> {
        answer(&self.shared, from, message).await
    }

    /// How many turns this member waits before it wants to lead: 0 for one that suits, more for a witness or a slow disk.
    pub fn set_rank(&self, rank: u32) {
        self.shared.rank.store(rank, Ordering::Relaxed);
    }

    /// Lets a node follow the log without a vote.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), GroupError> {
        let added = self.shared.raft.add_learner(Voter(node), openraft::EmptyNode {}, false);
        self.changed(added).await
    }

    /// Makes these nodes the voters; each must be a voter or a learner now. Also ends a change that was cut short.
    ///
    /// A leader must be among them: cut off between its own copy of such a change and the others', it could not be elected
    /// to complete it, and nobody else could either. It hands over first.
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), GroupError> {
        if !voters.contains(&self.shared.own.0) {
            return Err(GroupError::Membership("a leader does not leave itself out".to_owned()));
        }
        let voters: BTreeSet<Voter> = voters.into_iter().map(Voter).collect();
        self.changed(self.shared.raft.change_membership(voters, false)).await
    }

    /// Lets a learner go.
    pub async fn remove_learner(&self, node: NodeId) -> Result<(), GroupError> {
        let gone = openraft::ChangeMembers::RemoveNodes(BTreeSet::from([Voter(node)]));
        self.changed(self.shared.raft.change_membership(gone, false)).await
    }

    async fn changed<T, E: std::fmt::Display>(
        &self,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<(), GroupError> {
        match timeout(MEMBERSHIP_PATIENCE, change).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(GroupError::Membership(error.to_string())),
            Err(_) => Err(GroupError::Unsure),
        }
    }

    /// Lets another voter lead: `heir`, or whoever is furthest. Commands are refused meanwhile, for a fraction of a second.
    pub async fn transfer(&self, heir: Option<NodeId>) -> Result<NodeId, GroupError> {
        let standing = self.shared.standing.borrow().clone();
        if standing.office != Office::Leader {
            return Err(GroupError::NotLeader { leader: standing.leader });
        }
        let progress = self.progress();
        let is_heard = |voter: &NodeId| progress.answered.get(voter).is_some_and(|ago| *ago < HEIR_HEARD);
        let others = standing.voters.iter().filter(|voter| **voter != self.shared.own.0 && is_heard(voter));
        let furthest = || others.max_by_key(|voter| progress.matched.get(voter).copied().flatten()).copied();
        let heir = heir.or_else(furthest).ok_or(GroupError::NoQuorum)?;
        if !is_heard(&heir) {
            return Err(GroupError::NotHandedOver { heir, reason: "it is not heard".to_owned() });
        }
        // The term ends with the hand-over, and what is refused in it with the term, even if nobody waits for the end.
        let handing_over = HandingOver { shared: &self.shared, term: standing.term };
        self.shared.handing_over.store(standing.term, Ordering::Relaxed);
        let handed_over = self.hand_over(heir).await;
        drop(handing_over);
        handed_over.map(|()| heir).map_err(|reason| GroupError::NotHandedOver { heir, reason })
    }

    async fn hand_over(&self, heir: NodeId) -> Result<(), String> {
        let (term, _) = self.shared.term_and_last();
        let begun = Instant::now();
        let is_level = || {
            let progress = self.progress();
            progress.matched.get(&heir).copied().flatten() >= progress.last
        };
        while !is_level() {
            if begun.elapsed() > HAND_OVER_PATIENCE {
                return Err("it is too far behind".to_owned());
            }
            tokio::time::sleep(HAND_OVER_POLL).await;
        }
        self.shared.pace.give_away(term);
        // The others vote for nobody else so soon after the last heartbeat.
        tokio::time::sleep(Duration::from_millis(RAFT_LEASE_MS)).await;
        let question = Question::TakeOver { term };
        match timeout(HAND_OVER_PATIENCE, ask(self.shared.transport.as_ref(), heir, &question)).await {
            Ok(Ok(Answer::TakingOver(true))) => {}
            Ok(Ok(_)) => return Err("it does not see this node as the leader".to_owned()),
            Ok(Err(Unreachable { reason, .. })) => return Err(reason),
            Err(_) => return Err("it does not answer".to_owned()),
        }
        let asked = Instant::now();
        let leads = || self.shared.raft.server_metrics().borrow().state == ServerState::Leader;
        while leads() {
            if asked.elapsed() > HAND_OVER_PATIENCE {
                return Err("it was not elected".to_owned());
            }
            tokio::time::sleep(HAND_OVER_POLL).await;
        }
        Ok(())
    }

    /// Writes a snapshot of what this member has applied, while it goes on.
    pub async fn write_snapshot(&self) -> Result<Arc<dyn Snapshot>, GroupError> {
        self.shared.machine.write_snapshot().await.map_err(|error| GroupError::Stopped(error.to_string()))
    }

    /// Asks another member how far its log is: its term, the end of its log, and what it applied.
    pub async fn how_far(
        &self,
        node: NodeId,
    ) -> Result<(u64, Option<LogPosition>, Option<LogPosition>), Unreachable> {
        match ask(self.shared.transport.as_ref(), node, &Question::HowFar).await? {
            Answer::Far { term, last, applied, .. } => Ok((term, last, applied)),
            _ => Err(Unreachable { node, reason: "it answered another question".to_owned() }),
        }
    }

    /// Ends this member. Whoever leads should [`transfer`](Self::transfer) first.
    pub async fn stop(&self) {
        if let Err(error) = self.shared.raft.shutdown().await {
            tracing::warn!(%error, "the group ended badly");
        }
        self.shared.scope.end();
    }

    /// Ends this member at once, wherever its tasks wait: what a killed process does.
    pub fn kill(&self) {
        self.shared.scope.end();
    }
}

/// While this exists, nothing is proposed and no heartbeat is sent in the term. A leader that still leads at the end takes
/// back what it told its heir.
struct HandingOver<'a> {
    shared: &'a Shared,
    term: u64,
}

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        self.shared.pace.take_back(self.term);
        self.shared.handing_over.store(0, Ordering::Relaxed);
    }
}

/// Loads what is on the disk. A snapshot that was received, but not installed when the process ended, is installed now:
/// openraft shortens the log before it installs one, so that what was acknowledged may be in the snapshot only.
fn load(
    mut databases: Box<dyn Databases>,
    log: RaftLog,
    scope: Scope,
) -> Result<(Machine, RaftLog), MachineError> {
    if let Some(pending) = databases.pending_snapshot()? {
        databases.install(&pending)?;
        if let Some(reached) = pending.mark.position
            && log.position(reached.index) != Some(reached)
        {
            log.purge_to(reached)?;
        }
    }
    Ok((Machine::load(databases, scope)?, log))
}

fn raft_config(config: &GroupConfig) -> Result<Arc<Config>, Box<openraft::ConfigError>> {
    let raft_config = Config {
        cluster_name: "orbit".to_owned(),
        heartbeat_interval: RAFT_LEASE_MS - 2,
        election_timeout_min: RAFT_LEASE_MS - 1,
        election_timeout_max: RAFT_LEASE_MS,
        enable_heartbeat: false,
        enable_elect: false,
        max_payload_entries: 1024,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.entries_kept,
        // Above the distance between snapshots: a member that is behind less than one is sent entries.
        replication_lag_threshold: config.snapshot_every * 3,
        purge_batch_size: 64,
        ..Config::default()
    };
    raft_config.validate().map(Arc::new).map_err(Box::new)
}

/// Tells when this member's office, the leader or the voters change.
async fn watch_standing(shared: Arc<Shared>) {
    let mut metrics = shared.raft.metrics();
    loop {
        let next = Standing::of(&metrics.borrow_and_update(), shared.own);
        shared.standing.send_if_modified(|standing| {
            let is_new = *standing != next;
            *standing = next;
            is_new
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
