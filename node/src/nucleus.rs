//! The Nucleus: who belongs to the grid, who is heard, who votes, and what every star must know. A node is it while its
//! member of the group leads ([`office`]).
//!
//! **Not for**: file work. It asks stars and passes on what they say; no file passes through it.
//!
//! ```text
//!   group leads, holds its lease ─▶ office ─▶ Nucleus in Node's slot, shown in the mesh with (epoch, term)
//!
//!   enrol, renew, API ──▶ Command ──▶ Group (a quorum keeps it) ──▶ news ──▶ pulse streams ──▶ stars
//!   heartbeats ─────────▶ Registry (memory) ──▶ views ──▶ API
//!                                  └──────────▶ steward: who should vote
//! ```
//!
//! Reading order: [`office`], [`authority`], [`membership`], [`registry`], [`pulse`], [`voters`], [`views`], [`relay`], [`contents`], [`jobs`].

pub mod authority;
pub(crate) mod contents;
pub(crate) mod jobs;
pub(crate) mod membership;
pub(crate) mod office;
pub(crate) mod pulse;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod views;
pub(crate) mod voters;

use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::group::Seat;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_consensus::{Group, GroupError};
use orbit_core::grid::{Change, Command, Fence, GridState, Metered, Refusal};
use orbit_core::ids::{NodeId, RequestId, TokenId};
use orbit_mesh::key::sha256;
use orbit_mesh::pki::Authority;
use registry::Registry;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often expired tokens and revocations are forgotten and counters are kept.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// Revocations kept beside the records, for the mesh; the records have them all, and are asked too.
const REVOKED_KEPT_MAX: usize = 50_000;
/// Counters kept in one command.
const METERED_MAX: usize = 500;

/// What a node has only while it acts as the Nucleus.
#[derive(Debug)]
pub struct Nucleus {
    seat: Arc<Seat>,
    pub(crate) registry: Registry,
    pub(crate) fence: Fence,
    pub(crate) own: NodeId,
    /// Cancelled when the office is laid down: whatever is done in its name ends.
    pub(crate) ended: CancellationToken,
    pub(crate) began: Instant,
    authority: Mutex<Arc<Authority>>,
    /// Held while a new authority takes over: each is certified by the one before.
    rotating: tokio::sync::Mutex<()>,
    /// Held while the voters are changed.
    voting: tokio::sync::Mutex<()>,
    /// Which stars' contents are recorded.
    pub(crate) asking: contents::Asking,
    /// What stars say of jobs.
    pub(crate) jobs: jobs::JobDesk,
    /// Since when members of the group are heard, or not.
    hearing: Mutex<voters::Hearings>,
    lifetime_ms: i64,
    /// Counts up whenever stars must be told something.
    news: watch::Sender<u64>,
}

impl Nucleus {
    /// Of a node whose member of the group leads in this term. Unseals the authority's key.
    pub(crate) async fn new(node: &Node, seat: &Arc<Seat>, term: u64) -> Result<Self, DaemonError> {
        let own = node.membership().node;
        let metered = seat.metering().await?;
        let (epoch, authority) = seat.group.with(|state| {
            let epoch = state.header().map(|header| header.epoch).ok_or(Refusal::NotFounded)?;
            if state.node(own).is_none() {
                return Err(DaemonError::NoRecords { path: node.home.nucleus() });
            }
            Ok((epoch, authority::load_current(&seat.seal, state)?))
        })?;
        Ok(Self {
            seat: Arc::clone(seat),
            registry: Registry::new(metered, node.options.pulse_interval),
            fence: Fence { epoch, term },
            own,
            ended: seat.ended.child_token(),
            began: Instant::now(),
            authority: Mutex::new(Arc::new(authority)),
            rotating: tokio::sync::Mutex::default(),
            voting: tokio::sync::Mutex::default(),
            asking: contents::Asking::default(),
            jobs: jobs::JobDesk::default(),
            hearing: Mutex::default(),
            lifetime_ms: node.options.certificate_lifetime_ms,
            news: watch::Sender::new(0),
        })
    }

    /// The group this node leads.
    pub(crate) fn group(&self) -> &Group {
        &self.seat.group
    }

    /// Looks at the grid's records. Short: commits wait meanwhile.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        self.group().with(look)
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&lock(&self.authority))
    }

    /// Carries out a command: a quorum has kept it when this returns. A request that was carried out before is answered as it
    /// was then.
    pub(crate) async fn commit(
        &self,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Vec<Change>, DaemonError> {
        self.group().execute(request, command).await.map_err(|error| self.told(error))
    }

    /// How an error of the group is told.
    fn told(&self, error: GroupError) -> DaemonError {
        match error {
            GroupError::Refused(refusal) => refusal.into(),
            GroupError::NotLeader { .. } => {
                let node = self.with(|state| state.node(self.own).map(|record| record.name.clone()));
                Refusal::NotNucleus { node: node.unwrap_or_else(|| self.own.to_string()) }.into()
            }
            GroupError::NoQuorum => self.no_quorum().into(),
            // Its disk failed, perhaps with this very command on it. Another node takes over and knows.
            GroupError::Stopped(reason) => {
                tracing::error!(reason, "this node's member of the group stopped");
                DaemonError::Group(GroupError::Unsure)
            }
            error => DaemonError::Group(error),
        }
    }

    /// That too few voters answer.
    pub(crate) fn no_quorum(&self) -> Refusal {
        let standing = self.group().standing().borrow().clone();
        let answered = self.group().progress().answered;
        let is_heard =
            |id: &NodeId| *id == self.own || answered.get(id).is_some_and(|ago| *ago < voters::SILENT_AFTER);
        let silent: Vec<NodeId> = standing.voters.iter().copied().filter(|id| !is_heard(id)).collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let name = |id: &NodeId| {
            self.with(|state| state.node(*id).map_or_else(|| id.to_string(), |record| record.name.clone()))
        };
        Refusal::NoQuorum {
            voters: count(standing.voters.len()),
            needed: count(standing.voters.len() / 2 + 1),
            heard: count(standing.voters.len() - silent.len()),
            silent: silent.iter().map(name).collect(),
        }
    }

    /// Carries out a command that stars must hear of: their pulse streams tell them at once, and this node's own mesh
    /// learns who is revoked.
    pub(crate) async fn execute(
        &self,
        node: &Node,
        request: Option<RequestId>,
        command: Command,
    ) -> Result<Vec<Change>, DaemonError> {
        let changes = self.commit(request, command).await?;
        if !changes.is_empty() {
            self.announce(node).await;
        }
        Ok(changes)
    }

    /// Whether this node is the grid's last.
    pub(crate) fn is_alone(&self) -> bool {
        self.with(|state| state.nodes().count() == 1)
    }

    /// What is drawn at random for a request, the same at every Nucleus of this grid: a token's id and its secret.
    pub(crate) fn drawn_for(&self, request: RequestId) -> ([u8; TokenId::LEN], [u8; 32]) {
        let draw =
            |what: &[u8]| sha256(&[what, self.seat.seal.as_bytes().as_slice(), request.as_bytes()].concat());
        let id = draw(b"orbit token id v1");
        (id.first_chunk().copied().unwrap_or_default(), draw(b"orbit token secret v1"))
    }

    /// Brings the mesh and the stars up to the records.
    pub(crate) async fn announce(&self, node: &Node) {
        let changed = node
            .change_membership(|membership| {
                (membership.anchors, membership.revoked) =
                    self.with(|state| (pulse::anchors(state), state.revoked_newest(REVOKED_KEPT_MAX)));
                membership.nuclei = self.with(|state| pulse::nuclei(node, self, state));
            })
            .await;
        if let Err(error) = changed {
            tracing::error!(error = chain(&error), "cannot keep who is revoked");
        }
        let own = self.with(|state| {
            state.node(self.own).map(|record| (record.name.clone(), record.is_draining, record.role))
        });
        if let Some((name, is_draining, role)) = own {
            node.note(|standing| {
                standing.name = name;
                standing.is_draining = is_draining;
            });
            if node.certificate().is_ok_and(|certificate| certificate.role != role) {
                node.renewal_wanted.notify_one();
            }
        }
        self.news.send_modify(|count| *count += 1);
    }

    /// Tells stars what changed, soon.
    pub(crate) fn tell_news(&self) {
        self.news.send_modify(|count| *count += 1);
    }
}

/// The Nucleus's own chores: its own heartbeat, counters, and forgetting what has expired. Until its office ends.
pub(crate) async fn keep_house(node: Arc<Node>, nucleus: Arc<Nucleus>) {
    nucleus.announce(&node).await;
    let mut meter = crate::daemon::load::LoadMeter::default();
    let mut beat = tokio::time::interval(node.options.pulse_interval);
    // The clock may be set in the first minute after the machine was started.
    let mut tidy = tokio::time::interval_at(tokio::time::Instant::now() + TIDY_EVERY, TIDY_EVERY);
    loop {
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            _ = beat.tick() => pulse::own(&node, &nucleus, &mut meter).await,
            _ = tidy.tick() => {
                keep_counters(&nucleus).await;
                clean_up(&node, &nucleus).await;
            }
        }
    }
}

/// Keeps the stars' counters. What is lost with a Nucleus is counted again from the stars' next heartbeats.
pub(crate) async fn keep_counters(nucleus: &Nucleus) {
    let rows: Vec<Metered> = nucleus.registry.unkept_metering();
    for rows in rows.chunks(METERED_MAX) {
        if let Err(error) = nucleus.commit(None, Command::Meter { rows: rows.to_vec() }).await {
            tracing::warn!(error = chain(&error), "cannot keep what stars did");
            return;
        }
    }
}

async fn clean_up(node: &Node, nucleus: &Nucleus) {
    let now_ms = now_ms();
    if !nucleus.with(|state| membership::is_plausible(state, now_ms)) {
        // What is forgotten by a wrong clock cannot be remembered again.
        tracing::warn!("nothing expired is forgotten: the clock does not fit the certificates");
        return;
    }
    let retired = nucleus.with(|state| membership::retired_anchors(state, &nucleus.registry, now_ms));
    let has_retired = !retired.is_empty();
    match nucleus.commit(None, Command::Tidy { now_ms, retired }).await {
        Ok(_) if has_retired => nucleus.announce(node).await,
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "cannot forget what has expired"),
    }
    if let Err(error) = nucleus.forget_old_keys().await {
        tracing::warn!(error = chain(&error), "cannot forget an authority's key that is over");
    }
}
