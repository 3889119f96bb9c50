//! [`Stranger`]: a bare libp2p swarm that is no Orbit node. It opens streams of any name and says anything on them.

use crate::world::DEADLINE;
use futures::StreamExt as _;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, ReadyUpgrade, Version};
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionId, NetworkBehaviour, NotifyHandler, StreamUpgradeError,
    SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Stream, StreamProtocol, Swarm, Transport as _, identity, noise, tcp, yamux};
use orbit_mesh::{Multiaddr, PeerId};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// What a knock brought.
#[derive(Debug)]
pub enum Knocked {
    Open(Stream),
    /// The other side says it does not know the protocol.
    NotAvailable,
    Failed,
}

/// A stranger, connected to one node.
pub struct Stranger {
    knocks: mpsc::UnboundedSender<Knock>,
    connected: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stranger {
    /// Connects. None if the node did not take it.
    pub async fn connect(peer: PeerId, address: Multiaddr) -> Option<Self> {
        let keypair = identity::Keypair::generate_ed25519();
        let transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&keypair).expect("a key"))
            .multiplex(yamux::Config::default())
            .boxed();
        let config = libp2p::swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(Duration::from_mins(10));
        let mut swarm = Swarm::new(transport, Knocking::default(), keypair.public().to_peer_id(), config);
        swarm.dial(address).ok()?;
        let (knocks, mut received) = mpsc::unbounded_channel::<Knock>();
        let (is_connected, mut connected) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => match event {
                        SwarmEvent::ConnectionEstablished { .. } => drop(is_connected.send(true)),
                        SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                            // Dropping the sender tells of the end.
                            return;
                        }
                        _ => {}
                    },
                    Some(knock) = received.recv() => {
                        swarm.behaviour_mut().events.push_back((peer, knock));
                    }
                }
            }
        });
        tokio::time::timeout(DEADLINE, connected.wait_for(|is| *is)).await.ok()?.ok()?;
        Some(Self { knocks, connected, task })
    }

    /// Asks for a stream of any protocol.
    pub async fn knock(&self, protocol: &str) -> Knocked {
        let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).expect("a name");
        let (reply, outcome) = oneshot::channel();
        if self.knocks.send(Knock { protocol, reply }).is_err() {
            return Knocked::Failed;
        }
        match tokio::time::timeout(DEADLINE, outcome).await {
            Ok(Ok(knocked)) => knocked,
            _ => Knocked::Failed,
        }
    }

    /// Whether the connection is there.
    pub fn is_connected(&self) -> bool {
        self.connected.has_changed().is_ok()
    }

    /// Waits until the node has hung up.
    pub async fn hung_up(&mut self, within: Duration) -> bool {
        let end = async { while self.connected.changed().await.is_ok() {} };
        tokio::time::timeout(within, end).await.is_ok()
    }
}

#[derive(Debug)]
struct Knock {
    protocol: StreamProtocol,
    reply: oneshot::Sender<Knocked>,
}

#[derive(Default)]
struct Knocking {
    events: VecDeque<(PeerId, Knock)>,
}

impl NetworkBehaviour for Knocking {
    type ConnectionHandler = Knocker;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Knocker::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Knocker::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some((peer_id, event)) => {
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
            }
            None => Poll::Pending,
        }
    }
}

#[derive(Default)]
struct Knocker {
    knocks: VecDeque<Knock>,
}

impl ConnectionHandler for Knocker {
    type FromBehaviour = Knock;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Knocked>;

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, knock: Knock) {
        self.knocks.push_back(knock);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Infallible>> {
        match self.knocks.pop_front() {
            Some(Knock { protocol, reply }) => {
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(ReadyUpgrade::new(protocol), reply),
                })
            }
            None => Poll::Pending,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, DeniedUpgrade, Self::OutboundProtocol, (), Self::OutboundOpenInfo>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let _ = info.send(Knocked::Open(protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let _ = info.send(match error {
                    StreamUpgradeError::NegotiationFailed => Knocked::NotAvailable,
                    _ => Knocked::Failed,
                });
            }
            _ => {}
        }
    }
}
