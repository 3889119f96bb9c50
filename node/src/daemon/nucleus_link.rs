//! The link of a star to the Nucleus: found, held, and found again; heartbeats go out on it, and what changed comes in.

use super::error::DaemonError;
use super::load::LoadMeter;
use super::lookup::resolve;
use super::shared::{LinkState, Node};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{Fence, Profile, Refusal};
use orbit_core::wire::join::{JoinReply, JoinRequest};
use orbit_core::wire::pulse::{PULSE_BYTES_MAX, Pulse, PulseReply, Update};
use orbit_core::wire::{decode, encode};
use orbit_mesh::key::{peer_id_of, random};
use orbit_mesh::net::{ConnectError, MeshStream, PeerLink, Protocol};
use orbit_mesh::{Multiaddr, PeerId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, MissedTickBehavior, timeout};

/// Pause after the first failed attempt; it doubles up to the next. An election takes a few of them.
const PAUSE_MIN: Duration = Duration::from_millis(60);
/// Longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A heartbeat that is not answered for so long means that the link is dead.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Nuclei that are tried of those another member tells.
const NUCLEI_MAX: usize = 8;
/// How long one of those that may be the Nucleus may take to connect; others are tried meanwhile.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);

/// Keeps the link until the node stops.
pub(super) async fn keep(node: Arc<Node>) {
    let mut pause = PAUSE_MIN;
    let mut meter = LoadMeter::default();
    loop {
        if !wait_for_another(&node).await {
            return;
        }
        let attempt = async {
            let nucleus = find(&node).await?;
            pause = PAUSE_MIN;
            hold(&node, &nucleus, &mut meter).await
        };
        let ended = tokio::select! {
            () = node.stop.cancelled() => return,
            ended = attempt => ended,
            () = takes_office(&node) => continue,
        };
        let state = match ended {
            Ok(()) => LinkState::Searching("the link ended".to_owned()),
            Err(LinkError::Refused(refusal)) => LinkState::Refused(refusal),
            Err(error) => LinkState::Searching(chain(&error)),
        };
        tracing::info!(?state, "not connected to the Nucleus");
        // Unless this node has become it meanwhile.
        node.link.send_if_modified(|known| {
            let is_other = !matches!(known, LinkState::Own);
            if is_other {
                *known = state;
            }
            is_other
        });
        // Spread out, so that a thousand stars do not come back in the same moment.
        let [spread]: [u8; 1] = random();
        let wait = pause.mul_f32(0.5 + f32::from(spread) / 255.0);
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = node.peers_changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits while this node is the Nucleus itself; false: it stops.
async fn wait_for_another(node: &Node) -> bool {
    let mut link = node.link.subscribe();
    tokio::select! {
        () = node.stop.cancelled() => false,
        other = link.wait_for(|state| !matches!(state, LinkState::Own)) => other.is_ok(),
    }
}

/// Waits until this node is the Nucleus itself.
async fn takes_office(node: &Node) {
    let mut link = node.link.subscribe();
    if link.wait_for(|state| matches!(state, LinkState::Own)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The member that shows itself as the Nucleus, with the newest fence. None that a newer one has replaced.
fn connected(node: &Node) -> Option<PeerLink> {
    let shown = node.mesh.peers().into_iter().filter(|peer| peer.is_nucleus && peer.fence >= node.fence());
    shown.max_by_key(|peer| peer.fence)
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// Nobody who is the Nucleus was found.
    #[error("the Nucleus was not found at {tried}")]
    NotFound {
        /// Where it was looked for.
        tried: String,
        /// Why the last address did not work.
        #[source]
        source: Option<ConnectError>,
    },
    /// The Nucleus does not take this node.
    #[error("the Nucleus refused")]
    Refused(#[source] Refusal),
    /// The certificate had expired; now there is a new one to try with.
    #[error("a new certificate was issued; connecting with it")]
    Renewed,
    /// Another Nucleus has taken over; where it is will be known soon.
    #[error("a Nucleus of {theirs} answered, but {ours} has begun")]
    Replaced {
        /// What it said.
        theirs: Fence,
        /// What this node has seen.
        ours: Fence,
    },
    /// The Nucleus was reached, and then not.
    #[error("the link to the Nucleus broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    LinkError::Broken(Box::new(error))
}

/// A connected Nucleus: one that is there already, one of those that may be it, or one at an address that is known.
async fn find(node: &Node) -> Result<PeerLink, LinkError> {
    if let Some(link) = connected(node) {
        return Ok(link);
    }
    let mut tried = Tried::default();
    if let Some(link) = among_known(node, &mut tried).await? {
        return Ok(link);
    }
    // Looking names up may take long, so these come last.
    for via in &node.config.via {
        let addresses = match resolve(via).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::debug!(error = chain(&error), via, "an address of star.toml");
                continue;
            }
        };
        let member = tried.connect(node, None, addresses).await?;
        if let Some(link) = connected(node) {
            return Ok(link);
        }
        let Some(member) = member else { continue };
        for (peer, addresses) in told_by(node, member).await {
            tried.connect(node, Some(peer), addresses).await?;
            if let Some(link) = connected(node) {
                return Ok(link);
            }
        }
    }
    Err(tried.not_found())
}

/// Meets all that may be the Nucleus at the same time: while it changes, some of them are dead. One that is not it says
/// which one is.
async fn among_known(node: &Node, tried: &mut Tried) -> Result<Option<PeerLink>, LinkError> {
    let mut refusal = None;
    let mut met: BTreeSet<PeerId> = BTreeSet::from([node.mesh.peer_id()]);
    let mut meetings = FuturesUnordered::new();
    for (peer, addresses) in known(node) {
        if met.insert(peer) {
            tried.addresses.extend(addresses.iter().map(ToString::to_string));
            meetings.push(meet(node, peer, addresses));
        }
    }
    loop {
        let meeting = tokio::select! {
            meeting = meetings.next() => meeting,
            // It may have called.
            () = node.peers_changed.notified() => match connected(node) {
                Some(link) => return Ok(Some(link)),
                None => continue,
            },
        };
        let Some((peer, outcome)) = meeting else { return refusal.map_or(Ok(None), Err) };
        if let Some(link) = connected(node) {
            return Ok(Some(link));
        }
        match outcome {
            Ok(told) => {
                for (peer, addresses) in told {
                    if met.len() <= NUCLEI_MAX && met.insert(peer) {
                        tried.addresses.extend(addresses.iter().map(ToString::to_string));
                        meetings.push(meet(node, peer, addresses));
                    }
                }
            }
            // Others may take this node: what one says counts when no other does.
            Err(ConnectError::Refused { refusal: why, .. }) if may_be_nucleus(node, peer) => {
                match refused(node, peer, why).await {
                    LinkError::Renewed => return Err(LinkError::Renewed),
                    error => refusal = Some(error),
                }
            }
            Err(error) => tried.last = Some(error),
        }
    }
}

/// Connects to one that may be the Nucleus. If it is not, it is asked afresh who it is, and who the Nucleus is.
async fn meet(
    node: &Node,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
) -> (PeerId, Result<Vec<(PeerId, Vec<Multiaddr>)>, ConnectError>) {
    let connecting = node.mesh.connect(Some(peer), addresses.clone());
    let outcome = match timeout(CONNECT_PATIENCE, connecting).await {
        Ok(Ok(_)) if connected(node).is_some() => Ok(Vec::new()),
        Ok(Ok(_)) => {
            let seconds = CONNECT_PATIENCE.as_secs();
            let asked = async {
                if let Err(error) = node.mesh.hello(peer).await {
                    tracing::debug!(error = chain(&error), "a member does not say who it is");
                }
                if connected(node).is_some() { Vec::new() } else { told_by(node, peer).await }
            };
            timeout(CONNECT_PATIENCE, asked).await.map_err(|_| ConnectError::Timeout { seconds, addresses })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            // The system's own attempts come further and further apart: a new one is begun next time.
            node.mesh.disconnect(peer).await;
            Err(ConnectError::Timeout { seconds: CONNECT_PATIENCE.as_secs(), addresses })
        }
    };
    (peer, outcome)
}

/// Where the Nucleus was looked for.
#[derive(Default)]
struct Tried {
    addresses: Vec<String>,
    /// Why the last of them did not work.
    last: Option<ConnectError>,
}

impl Tried {
    /// Connects to whoever is there; none: nobody is, or nobody who counts. A refusal ends the search if it is one by
    /// a Nucleus.
    async fn connect(
        &mut self,
        node: &Node,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<Option<PeerId>, LinkError> {
        self.addresses.extend(addresses.iter().map(ToString::to_string));
        match node.mesh.connect(peer, addresses).await {
            Ok(peer) => return Ok(Some(peer)),
            // Anybody can refuse.
            Err(ConnectError::Refused { peer, refusal }) if may_be_nucleus(node, peer) => {
                return Err(refused(node, peer, refusal).await);
            }
            Err(error) => self.last = Some(error),
        }
        Ok(None)
    }

    fn not_found(mut self) -> LinkError {
        let mut named = BTreeSet::new();
        self.addresses.retain(|address| named.insert(address.clone()));
        let tried = if self.addresses.is_empty() {
            "no address: none is known, and mDNS shows none".to_owned()
        } else {
            self.addresses.join(", ")
        };
        LinkError::NotFound { tried, source: self.last }
    }
}

fn may_be_nucleus(node: &Node, peer: PeerId) -> bool {
    node.membership().nuclei.iter().any(|nucleus| peer_id_of(&nucleus.key) == Some(peer))
}

/// What a refusal by a Nucleus means.
///
/// A certificate that expired, or is of an authority that was retired, is no reason to stay outside: the grid still
/// knows the key. A removed node has no reason to go on.
async fn refused(node: &Node, peer: PeerId, refusal: Refusal) -> LinkError {
    let is_removed = match &refusal {
        Refusal::Certificate { reason: CertificateFault::Expired { .. } | CertificateFault::Untrusted } => {
            match super::renewal::re_enrol(node, peer).await {
                Ok(()) => return LinkError::Renewed,
                // The grid has even forgotten that it removed this node.
                Err(DaemonError::Refused(Refusal::Certificate { reason: CertificateFault::Revoked })) => true,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot get a new certificate");
                    false
                }
            }
        }
        Refusal::Certificate { reason: CertificateFault::Revoked } => true,
        _ => false,
    };
    if is_removed {
        node.end_with(DaemonError::Removed { name: node.standing().name, grid: node.membership().grid_name });
    }
    LinkError::Refused(refusal)
}

/// Where a member that is not the Nucleus says it is. Nothing is believed that the connection does not prove.
async fn told_by(node: &Node, member: PeerId) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let nuclei = match node.mesh.join(member, JoinRequest::Nuclei).await {
        Ok(JoinReply::Nuclei(nuclei)) => nuclei,
        answer => {
            tracing::debug!(?answer, "a member does not say where the Nucleus is");
            return Vec::new();
        }
    };
    let places = nuclei.iter().take(NUCLEI_MAX).filter_map(|nucleus| {
        let addresses = nucleus.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Some((peer_id_of(&nucleus.key)?, addresses))
    });
    places.filter(|(_, addresses): &(_, Vec<Multiaddr>)| !addresses.is_empty()).collect()
}

/// Where each is that may be the Nucleus, by what mDNS shows and by what was heard last; who leads this node's group
/// first.
fn known(node: &Node) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let mut candidates = Vec::new();
    let discovered = node.mesh.discovered();
    let mut nuclei = node.membership().nuclei;
    if let Some(seat) = node.group() {
        // The group's own records are newer than what a Nucleus told last.
        let by_records = seat.members(node);
        nuclei.retain(|told| by_records.iter().all(|known| known.node != told.node));
        nuclei.extend(by_records);
        let leader = seat.group.standing().borrow().leader;
        nuclei.sort_by_key(|nucleus| Some(nucleus.node) != leader);
    }
    for nucleus in nuclei {
        let Some(peer) = peer_id_of(&nucleus.key) else { continue };
        let mut addresses: Vec<Multiaddr> = discovered
            .iter()
            .filter(|(found, _)| *found == peer)
            .flat_map(|(_, found)| found.clone())
            .collect();
        let known = nucleus.addresses.iter().filter_map(|address| address.parse().ok());
        addresses.extend(
            known.filter(|address: &Multiaddr| !discovered.iter().any(|(_, found)| found.contains(address))),
        );
        if !addresses.is_empty() {
            candidates.push((peer, addresses));
        }
    }
    candidates
}

/// Sends heartbeats and takes in answers until the link breaks.
async fn hold(node: &Node, nucleus: &PeerLink, meter: &mut LoadMeter) -> Result<(), LinkError> {
    let stream = node.mesh.open(nucleus.peer, Protocol::Pulse).await.map_err(broken)?;
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    let mut beat = tokio::time::interval(node.options.pulse_interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut talk = Talk { seq: 0, told: None, sent_at: None, rtt_us: 0 };
    // Reading goes on in a task of its own: a frame that has begun must not be dropped when it is time for a heartbeat.
    let (replies, mut replied) = tokio::sync::mpsc::channel(4);
    let _reader = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let reply = read_reply(&mut incoming).await;
            let is_last = reply.is_err();
            if replies.send(reply).await.is_err() || is_last {
                return;
            }
        }
    }));
    loop {
        let patience =
            talk.sent_at.map_or(ANSWER_PATIENCE, |at| ANSWER_PATIENCE.saturating_sub(at.elapsed()));
        tokio::select! {
            () = node.peers_changed.notified() => {
                // A newer Nucleus counts, whether or not the link to this one has broken.
                if connected(node).is_none_or(|best| best.peer != nucleus.peer) {
                    return Ok(());
                }
            }
            _ = beat.tick() => send_pulse(node, &mut outgoing, &mut talk, meter).await?,
            reply = replied.recv() => match reply {
                Some(reply) => take_in(node, nucleus.peer, &mut talk, reply?).await?,
                None => return Ok(()),
            },
            () = tokio::time::sleep(patience), if talk.sent_at.is_some() => {
                return Err(broken(std::io::Error::from(std::io::ErrorKind::TimedOut)));
            }
        }
    }
}

/// Where the conversation stands.
struct Talk {
    seq: u64,
    told: Option<Profile>,
    /// When the heartbeat was sent that is not answered yet.
    sent_at: Option<Instant>,
    rtt_us: u32,
}

async fn send_pulse(
    node: &Node,
    outgoing: &mut WriteHalf<MeshStream>,
    talk: &mut Talk,
    meter: &mut LoadMeter,
) -> Result<(), LinkError> {
    let mut load = meter.measure(&node.config.allowed_paths).await;
    load.calls_running = node.star.calls_running();
    load.jobs_running = node.jobs.count();
    let profile = node.profile();
    let news = (talk.told.as_ref() != Some(&profile)).then(|| profile.clone());
    let pulse = Pulse {
        seq: talk.seq,
        now_ms: now_ms(),
        rtt_us: talk.rtt_us,
        load,
        metering: node.star.metering(),
        profile: news,
        serial: node.certificate().ok().map(|certificate| certificate.serial),
    };
    talk.told = Some(profile);
    talk.seq += 1;
    talk.sent_at.get_or_insert_with(Instant::now);
    let frame = crate::nucleus::pulse::frame(&encode(&pulse));
    timeout(ANSWER_PATIENCE, outgoing.write_all(&frame))
        .await
        .map_err(|_| broken(std::io::Error::from(std::io::ErrorKind::TimedOut)))?
        .map_err(broken)?;
    outgoing.flush().await.map_err(broken)
}

async fn read_reply(incoming: &mut ReadHalf<MeshStream>) -> Result<PulseReply, LinkError> {
    let len = incoming.read_u32_le().await.map_err(broken)? as usize;
    if len > PULSE_BYTES_MAX {
        return Err(broken(orbit_core::wire::WireError::TooLarge { len: len as u64, max: PULSE_BYTES_MAX }));
    }
    let mut bytes = vec![0; len];
    incoming.read_exact(&mut bytes).await.map_err(broken)?;
    decode(&bytes).map_err(broken)
}

async fn take_in(node: &Node, nucleus: PeerId, talk: &mut Talk, reply: PulseReply) -> Result<(), LinkError> {
    if reply.fence < node.fence() {
        return Err(LinkError::Replaced { theirs: reply.fence, ours: node.fence() });
    }
    if reply.seq.is_some()
        && let Some(sent_at) = talk.sent_at.take()
    {
        talk.rtt_us = u32::try_from(sent_at.elapsed().as_micros()).unwrap_or(u32::MAX);
        node.note_round_trip(talk.rtt_us);
    }
    node.note(|standing| standing.clock_ahead_ms = Some(now_ms() - reply.now_ms));
    let renew = reply.update.as_ref().is_some_and(|update| update.renew);
    let changed = match reply.update {
        Some(update) => apply(node, *update, reply.fence).await,
        None => {
            node.change_membership(|membership| membership.fence = membership.fence.max(reply.fence)).await
        }
    };
    changed.map_err(broken)?;
    node.link.send_if_modified(|state| {
        let is_new = !matches!(state, LinkState::Connected(peer) if *peer == nucleus);
        if is_new {
            *state = LinkState::Connected(nucleus);
        }
        is_new
    });
    // Last: the new certificate is asked for on the link that was just noted.
    if renew {
        node.renewal_wanted.notify_one();
    }
    Ok(())
}

async fn apply(node: &Node, update: Update, fence: Fence) -> Result<(), DaemonError> {
    node.note(|standing| {
        standing.name = update.name;
        standing.is_draining = update.is_draining;
    });
    node.following(&update.anchors, &update.revoked)?;
    node.change_membership(|membership| {
        membership.anchors = update.anchors;
        membership.revoked = update.revoked;
        membership.nuclei = update.nuclei;
        membership.fence = membership.fence.max(fence);
    })
    .await
}
