//! [`Streams`]: byte streams of the protocols in [`Protocol`], opened by either side.

mod handler;

use super::counters::{Counters, reason};
use super::error::AskError;
use super::limits::Limits;
use super::stream::{MeshStream, Place, Protocol};
use handler::{Open, StreamsHandler};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// A stream that a peer opened.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) protocol: Protocol,
    pub(super) stream: MeshStream,
}

/// Opens streams and takes those that peers open, counted for each peer, direction and class: a peer that opens as many
/// as it may cannot keep us from opening ours, nor itself from its group.
pub(super) struct Streams {
    max_per_peer: PerClass<usize>,
    counters: Arc<Counters>,
    peers: HashMap<PeerId, Peer>,
    /// Bounded by the streams of connected peers.
    events: VecDeque<ToSwarm<Incoming, Open>>,
}

#[derive(Default)]
struct Peer {
    /// Oldest first.
    connections: Vec<ConnectionId>,
    inbound: PerClass<Arc<AtomicUsize>>,
    outbound: PerClass<Arc<AtomicUsize>>,
}

/// A value for each class of streams.
#[derive(Default)]
struct PerClass<T> {
    raft: T,
    other: T,
}

impl<T> PerClass<T> {
    fn of(&self, protocol: Protocol) -> &T {
        match protocol {
            Protocol::Raft => &self.raft,
            Protocol::Pulse | Protocol::System | Protocol::Job | Protocol::Api | Protocol::Link => {
                &self.other
            }
        }
    }
}

impl Streams {
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>) -> Self {
        let max_per_peer = PerClass { raft: limits.raft_streams_per_peer, other: limits.streams_per_peer };
        Self { max_per_peer, counters, peers: HashMap::new(), events: VecDeque::new() }
    }

    /// Opens a stream to `peer`; the outcome goes to `reply`.
    pub(super) fn open(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        reply: oneshot::Sender<Result<MeshStream, AskError>>,
    ) {
        let connection = self.peers.get(&peer).and_then(|known| Some((known, known.connections.last()?)));
        // The newest: if an older one exists in spite of it, it may be one that broke without a sign.
        let Some((known, connection)) = connection else {
            let _ = reply.send(Err(AskError::NotConnected { peer }));
            return;
        };
        let max = *self.max_per_peer.of(protocol);
        let Some(place) = Place::take(known.outbound.of(protocol), max) else {
            let _ = reply.send(Err(AskError::TooManyStreams { peer, max }));
            return;
        };
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(*connection),
            event: Open { peer, protocol, place, reply },
        });
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = StreamsHandler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(StreamsHandler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(StreamsHandler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.peers.entry(peer_id).or_default().connections.push(connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(known) = self.peers.get_mut(&closed.peer_id) {
                    known.connections.retain(|connection| *connection != closed.connection_id);
                    if known.connections.is_empty() {
                        self.peers.remove(&closed.peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (protocol, stream): THandlerOutEvent<Self>,
    ) {
        let max = *self.max_per_peer.of(protocol);
        let place = self.peers.get(&peer).and_then(|known| Place::take(known.inbound.of(protocol), max));
        let Some(place) = place else {
            // Dropping the stream resets it.
            self.counters.drop_one(reason::STREAMS);
            return;
        };
        let stream = MeshStream::new(peer, stream, place);
        self.events.push_back(ToSwarm::GenerateEvent(Incoming { protocol, stream }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Everything that fills the queue is called by the task that polls next.
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What a handler reports: a stream that the peer opened.
pub(super) type Opened = (Protocol, Stream);
