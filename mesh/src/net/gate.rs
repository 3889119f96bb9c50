//! [`Gate`]: protocols that exist only for admitted peers.

mod handler;

use handler::{GateHandler, ToHandler};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, FromSwarm};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// Wraps a behaviour so that a peer that is not admitted can use none of its protocols: negotiation answers `na`, as if
/// they did not exist, and the inner handlers do not run.
///
/// A connection passes three stages:
///
/// ```text
///   closed ──allow──▶ allowed ──open, or the peer's first stream──▶ open
/// ```
///
/// *Allowed*: the peer may open streams. *Open*: we open streams too. They differ because both sides of a hello learn
/// of their admission one after the other. The side that answers allows before it answers, and waits with its own
/// streams until the peer used one, which proves that the answer has arrived; the side that asked opens at once. So no
/// stream meets a gate that is still closed.
///
/// The first stage is a property of the peer, shared by all its connections and remembered while there is one.
pub(super) struct Gate<B: NetworkBehaviour> {
    inner: B,
    peers: HashMap<PeerId, Admitted>,
    /// Bounded by connections: each call adds at most one event for each connection of a peer.
    events: VecDeque<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>>,
}

struct Admitted {
    allowed: Arc<AtomicBool>,
    connections: Vec<ConnectionId>,
}

impl<B: NetworkBehaviour> Gate<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, peers: HashMap::new(), events: VecDeque::new() }
    }

    /// The behaviour behind the gate. It must be asked only of peers that are admitted.
    pub(super) const fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// Lets `peer` open streams. In force when this returns.
    pub(super) fn allow(&mut self, peer: &PeerId) {
        self.tell(peer, || ToHandler::Wake, true);
    }

    /// Lets `peer` open streams and opens ours.
    pub(super) fn open(&mut self, peer: &PeerId) {
        self.tell(peer, || ToHandler::Open, true);
    }

    /// Closes the gate for `peer`, and its connections.
    pub(super) fn revoke(&mut self, peer: &PeerId) {
        if let Some(admitted) = self.peers.get(peer) {
            admitted.allowed.store(false, Ordering::Release);
            self.events
                .push_back(ToSwarm::CloseConnection { peer_id: *peer, connection: CloseConnection::All });
        }
    }

    fn tell(&mut self, peer: &PeerId, event: impl Fn() -> ToHandler<THandlerInEvent<B>>, allowed: bool) {
        let Some(admitted) = self.peers.get(peer) else { return };
        admitted.allowed.store(allowed, Ordering::Release);
        for connection in &admitted.connections {
            self.events.push_back(ToSwarm::NotifyHandler {
                peer_id: *peer,
                handler: NotifyHandler::One(*connection),
                event: event(),
            });
        }
    }

    fn handler(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        inner: THandler<B>,
    ) -> GateHandler<THandler<B>> {
        let admitted = self
            .peers
            .entry(peer)
            .or_insert_with(|| Admitted { allowed: Arc::default(), connections: Vec::new() });
        admitted.connections.push(connection);
        GateHandler::new(inner, Arc::clone(&admitted.allowed))
    }

    fn forget(&mut self, closed: &ConnectionClosed<'_>) {
        if let Some(admitted) = self.peers.get_mut(&closed.peer_id) {
            admitted.connections.retain(|connection| *connection != closed.connection_id);
            if admitted.connections.is_empty() {
                self.peers.remove(&closed.peer_id);
            }
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = GateHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner = self.inner.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(self.handler(peer, connection, inner))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let inner =
            self.inner.handle_established_outbound_connection(connection, peer, address, role, port_use)?;
        Ok(self.handler(peer, connection, inner))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = &event {
            self.forget(closed);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Admission goes first: what the inner behaviour sends to a handler must find it allowed.
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.inner.poll(cx).map(|event| event.map_in(ToHandler::Inner))
    }
}
