//! [`StreamsHandler`]: streams on one connection.

use super::Opened;
use crate::net::error::AskError;
use crate::net::stream::{MeshStream, Place, Protocol};
use futures::future::{Ready, ready};
use libp2p::core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError, FullyNegotiatedInbound,
    FullyNegotiatedOutbound,
};
use libp2p::swarm::{StreamUpgradeError, SubstreamProtocol};
use libp2p::{PeerId, Stream, StreamProtocol};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Time for a stream to be opened and its protocol to be agreed upon.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Ask for a stream.
#[derive(Debug)]
pub(in crate::net) struct Open {
    pub(super) peer: PeerId,
    pub(super) protocol: Protocol,
    pub(super) place: Place,
    pub(super) reply: oneshot::Sender<Result<MeshStream, AskError>>,
}

/// Streams on one connection. If the connection ends, dropping the requests tells those who wait.
#[derive(Default)]
pub(in crate::net) struct StreamsHandler {
    /// Bounded: every request holds a place among the peer's outbound streams.
    requests: VecDeque<Open>,
    /// Bounded: the swarm polls until this is empty before it takes another stream.
    opened: VecDeque<Opened>,
}

/// Accepts any of our protocols.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Offer;

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::array::IntoIter<StreamProtocol, { Protocol::ALL.len() }>;

    fn protocol_info(&self) -> Self::InfoIter {
        Protocol::ALL.map(Protocol::wire).into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (StreamProtocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl ConnectionHandler for StreamsHandler {
    type FromBehaviour = Open;
    type ToBehaviour = Opened;
    type InboundProtocol = Offer;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer, ()).with_timeout(OPEN_TIMEOUT)
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.requests.push_back(open);
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Open, Opened>> {
        if let Some(opened) = self.opened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(opened));
        }
        while let Some(open) = self.requests.pop_front() {
            if !open.reply.is_closed() {
                let upgrade = ReadyUpgrade::new(open.protocol.wire());
                let protocol = SubstreamProtocol::new(upgrade, open).with_timeout(OPEN_TIMEOUT);
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Self::OutboundProtocol, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (name, stream),
                info: (),
            }) => {
                if let Some(protocol) = Protocol::ALL.into_iter().find(|protocol| protocol.wire() == name) {
                    self.opened.push_back((protocol, stream));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let _ = info.reply.send(Ok(MeshStream::new(info.peer, protocol, info.place)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let peer = info.peer;
                let error = match error {
                    StreamUpgradeError::Timeout => AskError::Timeout { peer },
                    StreamUpgradeError::NegotiationFailed => AskError::NotAdmitted { peer },
                    StreamUpgradeError::Io(source) => AskError::Io { peer, source },
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = info.reply.send(Err(error));
            }
            _ => {}
        }
    }
}
