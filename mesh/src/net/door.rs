//! [`Door`]: who may connect at all. It decides before any other part of the mesh knows of a connection.

use super::counters::{Counters, reason};
use super::limits::Limits;
use super::origin::Origin;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a stranger is left alone before it may have to make way. A member proves itself within milliseconds of its
/// handshake, so a whole grid coming back at once fits through the door even while others hold it.
const GRACE: Duration = Duration::from_secs(2);

/// Why a connection is refused; it is closed without a word.
#[derive(Debug, thiserror::Error)]
#[error("refused: too many {0}")]
struct Refused(&'static str);

/// Why a connection that we dialled is not kept.
#[derive(Debug, thiserror::Error)]
#[error("another address of the same attempt was quicker")]
struct Declined;

/// Counts connections against [`Limits`]: handshakes, strangers, and connections of one peer.
///
/// Strangers are peers that connected to us and have not proved membership. When there are too many, the oldest one
/// that had its [`GRACE`] makes way; if all are newer, the newcomer is refused.
pub(super) struct Door {
    limits: Limits,
    counters: Arc<Counters>,
    pending: HashMap<ConnectionId, Origin>,
    pending_by_origin: HashMap<Origin, usize>,
    strangers: HashMap<ConnectionId, Stranger>,
    /// Oldest first. It may name connections that are no strangers any more; they are skipped.
    arrivals: VecDeque<ConnectionId>,
    connections: HashMap<PeerId, u32>,
    members: HashSet<PeerId>,
    /// Connections being dialled that nobody waits for any more.
    declined: HashSet<ConnectionId>,
    closing: VecDeque<(PeerId, ConnectionId)>,
}

struct Stranger {
    peer: PeerId,
    origin: Origin,
    at: Instant,
    /// Whether the daemon has a question of it: it does not make way meanwhile.
    asked: bool,
}

impl Door {
    pub(super) fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            limits,
            counters,
            pending: HashMap::new(),
            pending_by_origin: HashMap::new(),
            strangers: HashMap::new(),
            arrivals: VecDeque::new(),
            connections: HashMap::new(),
            members: HashSet::new(),
            declined: HashSet::new(),
            closing: VecDeque::new(),
        }
    }

    /// `peer` is a member now: none of its connections counts as a stranger's.
    pub(super) fn welcome(&mut self, peer: PeerId) {
        self.members.insert(peer);
        self.strangers.retain(|_, stranger| stranger.peer != peer);
        self.count();
    }

    /// `peer` is no member any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.members.remove(peer);
    }

    /// A connection that is being dialled is not wanted any more. If it comes about, no other part of the mesh hears of it:
    /// what one of them sent by it would be lost.
    pub(super) fn decline(&mut self, connection: ConnectionId) {
        self.declined.insert(connection);
    }

    /// The daemon is deciding about a question that came by `connection`, or has decided.
    pub(super) fn set_asked(&mut self, connection: ConnectionId, asked: bool) {
        if let Some(stranger) = self.strangers.get_mut(&connection) {
            stranger.asked = asked;
        }
    }

    /// Closes connections of strangers that had their time, and the oldest of those that came in a crowd. To be called
    /// every second or so.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut from: HashMap<Origin, usize> = HashMap::new();
        let mut lingering = Vec::new();
        // Newest first, so that it is the older ones that are too many.
        for connection in self.arrivals.iter().rev() {
            let Some(stranger) = self.strangers.get(connection) else { continue };
            let age = now.saturating_duration_since(stranger.at);
            let overdue = from.entry(stranger.origin).or_default();
            *overdue += usize::from(age >= GRACE);
            if age >= self.limits.stranger_time
                || *overdue > self.limits.strangers_per_origin && age >= GRACE && !stranger.asked
            {
                lingering.push(*connection);
            }
        }
        for connection in lingering {
            self.evict(connection);
        }
        let strangers = &self.strangers;
        self.arrivals.retain(|connection| strangers.contains_key(connection));
    }

    fn evict(&mut self, connection: ConnectionId) {
        if let Some(stranger) = self.strangers.remove(&connection) {
            self.counters.drop_one(reason::LINGERING);
            self.closing.push_back((stranger.peer, connection));
            self.count();
        }
    }

    /// The oldest stranger that had its grace, of one origin or of any.
    fn oldest(&self, origin: Option<Origin>, now: Instant) -> Option<ConnectionId> {
        self.arrivals
            .iter()
            .filter_map(|connection| Some((*connection, self.strangers.get(connection)?)))
            .take_while(|(_, stranger)| now.saturating_duration_since(stranger.at) >= GRACE)
            .find(|(_, stranger)| !stranger.asked && origin.is_none_or(|origin| origin == stranger.origin))
            .map(|(connection, _)| connection)
    }

    fn admit_stranger(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        origin: Origin,
    ) -> Result<(), Refused> {
        let now = Instant::now();
        let overdue = |stranger: &&Stranger| {
            stranger.origin == origin && now.saturating_duration_since(stranger.at) >= GRACE
        };
        if self.strangers.values().filter(overdue).count() >= self.limits.strangers_per_origin
            && let Some(oldest) = self.oldest(Some(origin), now)
        {
            self.evict(oldest);
        }
        if self.strangers.len() >= self.limits.strangers {
            let Some(oldest) = self.oldest(None, now) else {
                self.counters.drop_one(reason::STRANGERS);
                return Err(Refused(reason::STRANGERS));
            };
            self.evict(oldest);
        }
        self.strangers.insert(connection, Stranger { peer, origin, at: now, asked: false });
        self.arrivals.push_back(connection);
        self.count();
        Ok(())
    }

    fn one_more(&mut self, peer: PeerId) -> Result<(), Refused> {
        let connections = self.connections.entry(peer).or_default();
        if *connections >= self.limits.connections_per_peer {
            self.counters.drop_one(reason::PER_PEER);
            return Err(Refused(reason::PER_PEER));
        }
        *connections += 1;
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn end_pending(&mut self, connection: ConnectionId) {
        let Some(origin) = self.pending.remove(&connection) else { return };
        if let Some(count) = self.pending_by_origin.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.pending_by_origin.remove(&origin);
            }
        }
    }

    fn end_connection(&mut self, peer: PeerId, connection: ConnectionId) {
        self.strangers.remove(&connection);
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(connections) = self.connections.get_mut(&peer) {
            *connections -= 1;
            if *connections == 0 {
                self.connections.remove(&peer);
            }
        }
        self.count();
    }

    fn count(&self) {
        self.counters.strangers.store(self.strangers.len(), Ordering::Relaxed);
    }
}

impl NetworkBehaviour for Door {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let origin = Origin::of_multiaddr(remote);
        let from_there = self.pending_by_origin.entry(origin).or_default();
        if self.pending.len() >= self.limits.pending || *from_there >= self.limits.pending_per_origin {
            if *from_there == 0 {
                self.pending_by_origin.remove(&origin);
            }
            self.counters.drop_one(reason::PENDING);
            return Err(ConnectionDenied::new(Refused(reason::PENDING)));
        }
        *from_there += 1;
        self.pending.insert(connection, origin);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.end_pending(connection);
        self.one_more(peer).map_err(ConnectionDenied::new)?;
        if !self.members.contains(&peer)
            && let Err(refused) = self.admit_stranger(connection, peer, Origin::of_multiaddr(remote))
        {
            self.end_connection(peer, connection);
            return Err(ConnectionDenied::new(refused));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.declined.remove(&connection) {
            return Err(ConnectionDenied::new(Declined));
        }
        self.one_more(peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.end_connection(closed.peer_id, closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => self.end_pending(failure.connection_id),
            FromSwarm::DialFailure(failure) => drop(self.declined.remove(&failure.connection_id)),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            }),
            // Everything that fills the queue is called by the task that polls next.
            None => Poll::Pending,
        }
    }
}
