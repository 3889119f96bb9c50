//! [`Node`]: what the parts of a running daemon share.

use super::config::Config;
use super::data_dir::{DataDir, Membership};
use super::error::DaemonError;
use super::run::RunOptions;
use crate::api::last_known::LastKnown;
use crate::api::types::Percentiles;
use crate::group::Seat;
use crate::jobs::JobRunner;
use crate::link::Links;
use crate::nucleus::Nucleus;
use crate::standalone::state::now_ms;
use crate::star::StarService;
use orbit_core::grid::{DiskClass, Fence, Profile, Refusal};
use orbit_core::ids::{NodeId, Serial};
use orbit_core::wire::bytes::Octets;
use orbit_mesh::net::{Identity, Mesh};
use orbit_mesh::pki::{MemberCertificate, Trust};
use orbit_mesh::{Multiaddr, PeerId};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Addresses told of a node.
const ADDRESSES_MAX: usize = 16;
/// Round trips that are remembered for the percentiles: an hour and a half of heartbeats.
const ROUND_TRIPS_KEPT: usize = 1024;

/// A running node.
pub struct Node {
    pub(crate) home: DataDir,
    pub(crate) config: Config,
    pub(crate) options: RunOptions,
    pub(crate) mesh: Mesh,
    pub(crate) star: StarService,
    /// The jobs that write to it.
    pub(crate) jobs: JobRunner,
    /// What it has for direct links.
    pub(crate) links: Links,
    /// What only the Nucleus has: there while this node holds the office.
    nucleus: RwLock<Option<Arc<Nucleus>>>,
    /// This node's place in the group that elects the Nucleus, if it has one.
    pub(crate) seat: watch::Sender<Option<Arc<Seat>>>,
    /// Held while the seat is taken or given up.
    pub(crate) seating: tokio::sync::Mutex<()>,
    /// How quick the disk is, once that was measured.
    pub(crate) disk: OnceLock<DiskClass>,
    pub(crate) link: watch::Sender<LinkState>,
    /// What it heard last of the grid.
    pub(crate) known: LastKnown,
    /// Somebody connected or was discovered: it may be the Nucleus that is looked for.
    pub(crate) peers_changed: Notify,
    /// The Nucleus says that the node should ask for a new certificate.
    pub(crate) renewal_wanted: Notify,
    /// Cancelled when the node is to stop.
    pub(crate) stop: CancellationToken,
    /// Everything that was spawned; the daemon waits for it at the end.
    pub(crate) tasks: TaskTracker,
    membership: Mutex<Membership>,
    /// Held while the membership is changed on disk and in the mesh. Whether the mesh shows this node as the Nucleus.
    changing: tokio::sync::Mutex<bool>,
    /// It has left: nothing is written to disk any more.
    has_left: AtomicBool,
    standing: Mutex<Standing>,
    round_trips: Mutex<VecDeque<u32>>,
    /// Why the node ends by itself.
    ended: Mutex<Option<DaemonError>>,
}

/// What the Nucleus last said of this node.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) is_draining: bool,
    /// How far this clock is ahead of the Nucleus's, milliseconds.
    pub(crate) clock_ahead_ms: Option<i64>,
}

/// How this node stands with the Nucleus.
#[derive(Clone, Debug)]
pub(crate) enum LinkState {
    /// It is the Nucleus.
    Own,
    /// It looks for the Nucleus. Why it has not found it, for people.
    Searching(String),
    /// It is connected and heartbeats are answered.
    Connected(PeerId),
    /// The Nucleus does not take it.
    Refused(Refusal),
}

/// Where the Nucleus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Here.
    Own,
    /// There, connected.
    Peer(PeerId),
}

/// Why there is no way to the Nucleus, for whoever asked.
#[derive(Clone, Debug)]
pub(crate) struct NoWay {
    pub(crate) refusal: Refusal,
    /// What was tried.
    pub(crate) reason: Option<String>,
}

impl Node {
    #[expect(clippy::too_many_arguments, reason = "each is a part of a node, and it is called once")]
    pub(crate) fn new(
        home: DataDir,
        config: Config,
        options: RunOptions,
        mesh: Mesh,
        star: StarService,
        links: Links,
        membership: Membership,
        stop: CancellationToken,
    ) -> Self {
        let link = LinkState::Searching("it has just started".into());
        let standing = Standing { name: config.name.clone(), is_draining: false, clock_ahead_ms: None };
        Self {
            jobs: JobRunner::new(home.path()),
            home,
            config,
            options,
            mesh,
            star,
            links,
            nucleus: RwLock::new(None),
            seat: watch::Sender::new(None),
            seating: tokio::sync::Mutex::default(),
            disk: OnceLock::new(),
            link: watch::Sender::new(link),
            known: LastKnown::default(),
            peers_changed: Notify::new(),
            renewal_wanted: Notify::new(),
            stop,
            tasks: TaskTracker::new(),
            membership: Mutex::new(membership),
            changing: tokio::sync::Mutex::new(false),
            has_left: AtomicBool::new(false),
            standing: Mutex::new(standing),
            round_trips: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// Which grid it belongs to, as kept on disk.
    pub(crate) fn membership(&self) -> Membership {
        lock(&self.membership).clone()
    }

    /// Its office as the Nucleus, while it holds it.
    pub(crate) fn nucleus(&self) -> Option<Arc<Nucleus>> {
        self.nucleus.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`nucleus`](Self::nucleus), while no other can be it: for whoever answers in its name.
    pub(crate) fn acting_nucleus(&self) -> Option<Arc<Nucleus>> {
        self.nucleus().filter(|nucleus| nucleus.group().holds_lease())
    }

    /// Takes or lays down the office.
    pub(crate) fn set_nucleus(&self, nucleus: Option<Arc<Nucleus>>) {
        *self.nucleus.write().unwrap_or_else(PoisonError::into_inner) = nucleus;
    }

    /// Its place in the group that elects the Nucleus, if it has one.
    pub(crate) fn group(&self) -> Option<Arc<Seat>> {
        self.seat.borrow().clone()
    }

    /// The way to the Nucleus; waits for one until the deadline. Cancel-safe.
    pub(crate) async fn way_to_nucleus(&self, deadline: Instant) -> Result<Way, NoWay> {
        let mut link = self.link.subscribe();
        loop {
            let reason = match &*link.borrow_and_update() {
                LinkState::Own => return Ok(Way::Own),
                LinkState::Connected(peer) => return Ok(Way::Peer(*peer)),
                LinkState::Refused(refusal) => return Err(NoWay { refusal: refusal.clone(), reason: None }),
                LinkState::Searching(reason) => reason.clone(),
            };
            if !matches!(timeout_at(deadline, link.changed()).await, Ok(Ok(()))) {
                return Err(NoWay { refusal: self.no_nucleus(), reason: Some(reason) });
            }
        }
    }

    /// What is told while there is no Nucleus. A voter that hears too few others knows more than that there is none.
    pub(crate) fn no_nucleus(&self) -> Refusal {
        let none = Refusal::NoNucleus { node: self.standing().name };
        let Some(seat) = self.group() else { return none };
        let standing = seat.group.standing().borrow().clone();
        let own = self.membership().node;
        if !standing.voters.contains(&own) {
            return none;
        }
        let refusal = self.no_quorum(&seat, &standing.voters);
        match &refusal {
            Refusal::NoQuorum { needed, heard, .. } if heard < needed => refusal,
            _ => none,
        }
    }

    /// That too few of these voters are heard, as far as this node knows.
    pub(crate) fn no_quorum(&self, seat: &Seat, voters: &BTreeSet<NodeId>) -> Refusal {
        let own = self.membership().node;
        let connected: BTreeSet<NodeId> = self.mesh.peers().iter().map(|link| link.node).collect();
        let (heard, silent): (Vec<NodeId>, Vec<NodeId>) =
            voters.iter().partition(|id| **id == own || connected.contains(id));
        let name = |id: &NodeId| {
            seat.group.with(|state| state.node(*id).map_or_else(|| id.to_string(), |node| node.name.clone()))
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Refusal::NoQuorum {
            voters: count(voters.len()),
            needed: count(voters.len() / 2 + 1),
            heard: count(heard.len()),
            silent: silent.iter().map(name).collect(),
        }
    }

    /// Forgets the grid on disk, for good: what is still under way does not write it again.
    pub(crate) async fn leave(&self) -> Result<(), DaemonError> {
        // From now on no seat is taken.
        self.has_left.store(true, Ordering::Relaxed);
        crate::group::stand_up(self).await;
        let _one_at_a_time = self.changing.lock().await;
        let home = self.home.clone();
        blocking(move || home.forget_grid()).await
    }

    /// Whether it has left, or is leaving.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> Result<MemberCertificate, DaemonError> {
        Ok(MemberCertificate::parse(&lock(&self.membership).certificate)?)
    }

    /// What it last heard of itself.
    pub(crate) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    /// Notes what the Nucleus says of this node. Nothing here outlives the process.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = lock(&self.standing);
        change(&mut standing);
        self.star.set_name(standing.name.clone());
    }

    /// Changes what is kept of the grid: on disk first, then in the mesh, which cuts off who is revoked by it. One change
    /// at a time; `change` sees what the one before left, and looks up itself what it needs, so that an older look
    /// never overwrites a newer one.
    ///
    /// If the disk fails, the mesh is told all the same, since who is revoked must not come in; the error says that it
    /// is not kept. Not to be cancelled between the two; a node that stops there has the newer state on disk.
    pub(crate) async fn change_membership(
        &self,
        change: impl FnOnce(&mut Membership),
    ) -> Result<(), DaemonError> {
        let shown = self.changing.lock().await;
        self.change_and_show(change, shown, None).await
    }

    /// Shows itself as the Nucleus with this fence, which is kept first; or shows itself as the Nucleus no more.
    pub(crate) async fn show_office(&self, fence: Option<Fence>) -> Result<(), DaemonError> {
        let shown = self.changing.lock().await;
        let raise = |membership: &mut Membership| {
            membership.fence = fence.map_or(membership.fence, |fence| membership.fence.max(fence));
        };
        self.change_and_show(raise, shown, Some(fence.is_some())).await
    }

    async fn change_and_show(
        &self,
        change: impl FnOnce(&mut Membership),
        mut shown: tokio::sync::MutexGuard<'_, bool>,
        is_nucleus: Option<bool>,
    ) -> Result<(), DaemonError> {
        let mut next = self.membership();
        change(&mut next);
        let is_nucleus = is_nucleus.unwrap_or(*shown);
        let is_same = next == *lock(&self.membership);
        if (is_same && is_nucleus == *shown) || self.has_left.load(Ordering::Relaxed) {
            return Ok(());
        }
        // What cannot be used must not be kept either.
        let identity = identity(&next, is_nucleus)?;
        let (home, kept) = (self.home.clone(), next.clone());
        let saved = if is_same { Ok(()) } else { blocking(move || home.save_membership(&kept)).await };
        if saved.is_ok() {
            self.star.raise_fence(next.fence);
            *lock(&self.membership) = next;
        } else if is_nucleus && !*shown {
            // A term that is not kept is not served.
            return saved;
        }
        // Whoever gives this up half-way may have shown it.
        *shown = is_nucleus;
        self.mesh.set_identity(identity).await;
        saved
    }

    /// Takes on what the Nucleus says is to be trusted, if what is trusted now leads to it.
    pub(crate) fn following(&self, anchors: &[Octets], revoked: &[Serial]) -> Result<Trust, DaemonError> {
        let documents: Vec<Vec<u8>> = anchors.iter().map(|anchor| anchor.0.clone()).collect();
        Ok(self.membership().trust()?.follow(&documents, revoked.iter().copied(), now_ms())?)
    }

    /// Uses a new certificate from now on, with the authorities that come with it, if both may be believed.
    pub(crate) async fn take_certificate(
        &self,
        certificate: Vec<u8>,
        anchors: Vec<Octets>,
    ) -> Result<(), DaemonError> {
        self.following(&anchors, &self.membership().revoked)?
            .verify(&certificate, &self.mesh.key(), now_ms())
            .map_err(|reason| Refusal::Certificate { reason })?;
        self.change_membership(|membership| {
            membership.certificate = certificate;
            membership.anchors = anchors;
        })
        .await
    }

    /// Ends the daemon, for this reason.
    pub(crate) fn end_with(&self, reason: DaemonError) {
        lock(&self.ended).get_or_insert(reason);
        self.stop.cancel();
    }

    /// Why it ended by itself, if it did.
    pub(super) fn reason_to_end(&self) -> Option<DaemonError> {
        lock(&self.ended).take()
    }

    /// Highest epoch and term seen.
    pub(crate) fn fence(&self) -> Fence {
        lock(&self.membership).fence
    }

    /// What it says of itself.
    pub(crate) fn profile(&self) -> Profile {
        Profile {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            allowed_paths: self.config.allowed_paths.iter().map(|path| path.display().to_string()).collect(),
            addresses: self.addresses(),
            disk: self.disk.get().copied().unwrap_or_default(),
        }
    }

    /// Where others can reach it. Loopback addresses, and those that mean something on one link only, are told when
    /// there are no others: several nodes may run on one machine.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let all = self.mesh.listen_addresses();
        let is_useful = |address: &&Multiaddr| is_reachable_from_elsewhere(address);
        let useful: Vec<String> = all.iter().filter(is_useful).map(ToString::to_string).collect();
        let told = if useful.is_empty() { all.iter().map(ToString::to_string).collect() } else { useful };
        told.into_iter().take(ADDRESSES_MAX).collect()
    }

    /// Remembers how long a heartbeat took to be answered, microseconds.
    pub(crate) fn note_round_trip(&self, micros: u32) {
        let mut kept = lock(&self.round_trips);
        if kept.len() == ROUND_TRIPS_KEPT {
            kept.pop_front();
        }
        kept.push_back(micros);
    }

    /// How heartbeats were answered lately.
    pub(crate) fn round_trips(&self) -> Option<Percentiles> {
        let mut sorted: Vec<u32> = lock(&self.round_trips).iter().copied().collect();
        sorted.sort_unstable();
        let at = |share: usize| {
            sorted.get((sorted.len() * share / 100).min(sorted.len().checked_sub(1)?)).copied()
        };
        Some(Percentiles {
            count: sorted.len() as u64,
            p50_us: at(50)?.into(),
            p99_us: at(99)?.into(),
            max_us: sorted.last().copied()?.into(),
        })
    }
}

/// Whether an address means the same node to others.
pub(super) fn is_reachable_from_elsewhere(address: &Multiaddr) -> bool {
    let text = address.to_string();
    let mut parts = text.split('/').skip(1);
    match (parts.next(), parts.next().map(str::parse::<IpAddr>)) {
        (Some("ip4" | "ip6"), Some(Ok(IpAddr::V4(ip)))) => !ip.is_loopback() && !ip.is_link_local(),
        (Some("ip4" | "ip6"), Some(Ok(IpAddr::V6(ip)))) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        _ => false,
    }
}

/// What the mesh shows of a member.
pub(super) fn identity(membership: &Membership, is_nucleus: bool) -> Result<Identity, DaemonError> {
    Ok(Identity {
        trust: membership.trust()?,
        certificate: membership.certificate.clone(),
        fence: membership.fence,
        is_nucleus,
        anchors: membership.anchors.clone(),
    })
}

/// Does file work on a thread of its own.
async fn blocking(
    work: impl FnOnce() -> Result<(), DaemonError> + Send + 'static,
) -> Result<(), DaemonError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(DaemonError::Ended { what: "a thread that writes files" }))
}

/// A lock that a panicking task left is as good as any: what it guards is replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
