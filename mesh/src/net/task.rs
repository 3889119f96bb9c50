//! [`Task`]: the one task that owns the swarm, and with it all state of the mesh.
//!
//! It never waits for anybody: what it cannot hand on at once is kept (events about members), answered with "busy"
//! (questions of members) or dropped and counted (everything else).

mod dial;
mod found;
mod hello;
mod question;
mod roster;

use super::Identity;
use super::behaviour::{Happened, MeshBehaviour};
use super::bucket::Buckets;
use super::command::{Answered, Command};
use super::counters::reason;
use super::event::{Direction, MeshEvent};
use super::limits::Limits;
use super::shared::Shared;
use super::transport::Lanes;
use dial::Dials;
use futures::StreamExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, ping};
use orbit_core::ids::NodeId;
use question::Questions;
use roster::Membership;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Events about members that the daemon has not taken yet. Beyond this nothing is taken from the network until it does:
/// these events must not be lost.
const BACKLOG_MAX: usize = 4_096;
/// How often limits in time are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often memory of peers that are gone is given back, in ticks.
const SWEEP_TICKS: u32 = 60;
/// How long connections may take to close when the mesh shuts down.
const CLOSING: Duration = Duration::from_secs(2);
/// A newer connection replaces an older one when it has lasted this long: a peer that restarted has left us a dead one.
/// Less, and the one of two simultaneous connections that the peer gives up could take the other with it.
const SETTLED: Duration = Duration::from_secs(2);

/// What the task starts with.
pub(super) struct Parts {
    pub(super) swarm: Swarm<MeshBehaviour>,
    pub(super) identity: Option<Identity>,
    pub(super) node: Option<NodeId>,
    pub(super) limits: Limits,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<MeshEvent>,
}

/// See the module's documentation.
pub(super) struct Task {
    swarm: Swarm<MeshBehaviour>,
    identity: Option<Identity>,
    /// Our own node id, as our certificate says.
    node: Option<NodeId>,
    limits: Limits,
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<MeshEvent>,
    backlog: VecDeque<MeshEvent>,
    answered: mpsc::UnboundedReceiver<Answered>,
    peers: HashMap<PeerId, Peer>,
    dials: Dials,
    questions: Questions,
    buckets: Buckets,
    ticks: u32,
}

/// A connected peer.
#[derive(Default)]
struct Peer {
    /// Oldest first; at most [`Limits::connections_per_peer`].
    connections: Vec<Connection>,
    member: Option<Membership>,
}

struct Connection {
    id: ConnectionId,
    direction: Direction,
    address: Multiaddr,
    since: Instant,
    /// Whether it brought a hello without a certificate; the first is free.
    was_greeted: bool,
    /// Whether it is being closed because a newer one took its place.
    was_replaced: bool,
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Task {
    pub(super) fn new(parts: Parts) -> Self {
        // Unbounded in name only: each entry answers one question, and those are limited for each connection.
        let (answers, answered) = mpsc::unbounded_channel();
        let Parts { swarm, identity, node, limits, shared, lanes, commands, events } = parts;
        Self {
            buckets: Buckets::new(limits.join_burst, limits.join_per_second, Instant::now()),
            swarm,
            identity,
            node,
            limits,
            shared,
            lanes,
            commands,
            events,
            backlog: VecDeque::new(),
            answered,
            peers: HashMap::new(),
            dials: Dials::default(),
            questions: Questions::new(answers),
            ticks: 0,
        }
    }

    /// Runs until it is told to stop, or nobody is left who could tell it, or nobody takes its events. Not
    /// cancel-safe: dropped, the mesh ends without closing its connections in order.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = self.events.clone();
        loop {
            tokio::select! {
                permit = events.reserve(), if !self.backlog.is_empty() => {
                    match (permit, self.backlog.pop_front()) {
                        (Ok(permit), Some(event)) => permit.send(event),
                        _ => break,
                    }
                }
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown) | None => break,
                    Some(command) => self.on_command(command),
                },
                Some(answered) = self.answered.recv() => self.on_answered(answered),
                event = self.swarm.select_next_some(), if self.backlog.len() < BACKLOG_MAX => {
                    self.on_event(event);
                }
                _ = tick.tick() => self.on_tick(),
                () = events.closed() => break,
            }
        }
        self.close().await;
    }

    /// Lets connections end in good order, so that peers know at once. Cancel-safe: they end in any case.
    async fn close(mut self) {
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.connected_peers().next().is_some() {
                let _ = self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(CLOSING, closing).await;
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::SetIdentity { identity, reply } => {
                self.set_identity(*identity);
                let _ = reply.send(());
            }
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Hello { peer, reply } => self.ask_hello(peer, reply),
            Command::Join { peer, request, reply } => self.ask_join(peer, request, reply),
            Command::Ask { peer, request, reply } => self.ask_control(peer, request, reply),
            Command::Open { peer, protocol, reply } => self.open_stream(peer, protocol, reply),
            Command::Disconnect { peer, reply } => {
                let _ = self.swarm.disconnect_peer_id(peer);
                let _ = reply.send(());
            }
            // Ends the loop before it comes here.
            Command::Shutdown => {}
        }
    }

    fn on_event(&mut self, event: SwarmEvent<Happened>) {
        match event {
            SwarmEvent::Behaviour(Happened::Join(event)) => self.on_join(event),
            SwarmEvent::Behaviour(Happened::Control(event)) => self.on_control(event),
            SwarmEvent::Behaviour(Happened::Opened(incoming)) => self.on_opened(incoming),
            SwarmEvent::Behaviour(Happened::Pinged(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(Happened::Found(event)) => self.on_found(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = ?cause, "a connection ended");
                self.on_disconnected(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, error);
            }
            SwarmEvent::IncomingConnectionError { error, send_back_addr, .. } => {
                // Denials were counted by who denied.
                if !matches!(error, libp2p::swarm::ListenError::Denied { .. }) {
                    self.shared.counters.drop_one(reason::HANDSHAKE);
                }
                tracing::debug!(from = %send_back_addr, %error, "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.shared.set_listen(self.swarm.listeners().cloned().collect());
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::warn!(?addresses, ?reason, "no longer listening");
                self.shared.set_listen(self.swarm.listeners().cloned().collect());
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "listening failed for a moment");
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: ConnectedPoint) {
        let (direction, address) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (Direction::Outbound, dial::without_peer(address)),
            ConnectedPoint::Listener { send_back_addr, .. } => (Direction::Inbound, send_back_addr),
        };
        let known = self.peers.entry(peer).or_default();
        known.connections.push(Connection {
            id,
            direction,
            address,
            since: Instant::now(),
            was_greeted: false,
            was_replaced: false,
        });
        if known.member.is_some() {
            self.lanes.lift(&peer);
        }
        if direction == Direction::Outbound {
            self.on_dialled(peer, id);
        }
    }

    fn on_disconnected(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.connections.retain(|connection| connection.id != id);
        if known.connections.is_empty() {
            self.dismiss(&peer);
            self.peers.remove(&peer);
        } else {
            self.show(&peer);
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => self.shared.change_members(|members| {
                if let Some(link) = members.get_mut(&event.peer) {
                    link.rtt = Some(*rtt);
                }
            }),
            Err(ping::Failure::Timeout) => {
                self.shared.counters.drop_one(reason::SILENT);
                self.swarm.close_connection(event.connection);
            }
            Err(_) => {}
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.swarm.behaviour_mut().door.sweep(now);
        self.questions.forget_abandoned();
        self.dials.forget_abandoned();
        self.cut_off_expired();
        self.replace_connections(now);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            self.buckets.forget_full(now);
            self.lanes.sweep();
        }
    }

    /// Of several connections that a peer dialled, keeps the newest. Only the side that was dialled does so: if both
    /// did, each could close the other's choice.
    fn replace_connections(&mut self, now: Instant) {
        let mut replaced = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.connections.len() > 1) {
            let newest_first = peer.connections.iter_mut().rev();
            let mut inbound = newest_first.filter(|one| one.direction == Direction::Inbound);
            let settled = inbound.find(|newest| now.saturating_duration_since(newest.since) >= SETTLED);
            if settled.is_some() {
                // Closing takes a moment, in which it is neither closed nor counted again.
                replaced.extend(inbound.filter_map(|older| {
                    (!std::mem::replace(&mut older.was_replaced, true)).then_some(older.id)
                }));
            }
        }
        for connection in replaced {
            self.shared.counters.drop_one(reason::REPLACED);
            self.swarm.close_connection(connection);
        }
    }

    /// Hands an event to the daemon, now or as soon as it takes it. Only for events that must not be lost.
    fn tell(&mut self, event: MeshEvent) {
        if !self.backlog.is_empty() {
            self.backlog.push_back(event);
        } else if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.backlog.push_back(event);
        }
    }

    /// Whether the daemon takes an event now, and `spare` others after it.
    fn has_room(&self, spare: usize) -> bool {
        self.backlog.is_empty() && self.events.capacity() > spare
    }

    /// Hands an event to the daemon if [there is room](Self::has_room). If not, it is dropped, and false is returned.
    fn offer(&mut self, event: MeshEvent, spare: usize) -> bool {
        self.has_room(spare) && self.events.try_send(event).is_ok()
    }
}
