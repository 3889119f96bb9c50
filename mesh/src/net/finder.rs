//! [`Finder`]: peers found by mDNS, in a table that cannot be flooded.

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::mdns;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Records beyond which discovery is slowed down. Anybody in the local network can invent peers, and the behaviour of
/// the library remembers them all until they expire.
const RECORDS_MAX: usize = 4_096;
/// How often it may go on then: each turn takes in a few dozen records at most, and drops those that expired.
const SLOWED: Duration = Duration::from_secs(10);

/// mDNS that only reports. It tells neither the swarm nor other behaviours of addresses, so nothing is dialled because
/// somebody said it exists.
pub(super) struct Finder {
    mdns: mdns::tokio::Behaviour,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Finder {
    /// Asks and answers over one family of addresses; the library does not do both in one.
    pub(super) fn new(peer: PeerId, family: Family) -> std::io::Result<Self> {
        let config = mdns::Config { enable_ipv6: family == Family::Ip6, ..mdns::Config::default() };
        Ok(Self { mdns: mdns::tokio::Behaviour::new(config, peer)?, pause: None })
    }
}

/// Which multicast group is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// 224.0.0.251.
    Ip4,
    /// ff02::fb.
    Ip6,
}

impl NetworkBehaviour for Finder {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = mdns::Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.mdns.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.mdns.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => {
                    return Poll::Ready(ToSwarm::GenerateEvent(event));
                }
                Poll::Ready(_) => {}
                Poll::Pending if self.mdns.discovered_nodes().len() >= RECORDS_MAX => {
                    self.pause = Some(Box::pin(tokio::time::sleep_until(Instant::now() + SLOWED)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
