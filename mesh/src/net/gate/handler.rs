//! [`GateHandler`]: the gate on one connection.

use libp2p::Stream;
use libp2p::core::upgrade::{InboundUpgrade, UpgradeInfo};
use libp2p::swarm::SubstreamProtocol;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound, InboundUpgradeSend,
    ListenUpgradeError, UpgradeInfoSend,
};
use std::iter::Flatten;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// What the gate tells a connection.
#[derive(Debug)]
pub(in crate::net) enum ToHandler<E> {
    /// The peer was allowed; look.
    Wake,
    /// Our own streams may be opened.
    Open,
    /// For the handler behind the gate.
    Inner(E),
}

/// The handler behind the gate, and the gate.
pub(in crate::net) struct GateHandler<H> {
    inner: H,
    allowed: Arc<AtomicBool>,
    open: bool,
}

impl<H> GateHandler<H> {
    pub(super) const fn new(inner: H, allowed: Arc<AtomicBool>) -> Self {
        Self { inner, allowed, open: false }
    }

    fn is_allowed(&self) -> bool {
        self.allowed.load(Ordering::Acquire)
    }
}

/// The inner upgrade, or one that offers no protocol: negotiation then answers `na` to whatever is asked.
pub(in crate::net) struct GateUpgrade<U>(Option<U>);

impl<U: UpgradeInfoSend> UpgradeInfo for GateUpgrade<U> {
    type Info = U::Info;
    type InfoIter = Flatten<std::option::IntoIter<U::InfoIter>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.as_ref().map(UpgradeInfoSend::protocol_info).into_iter().flatten()
    }
}

impl<U: InboundUpgradeSend> InboundUpgrade<Stream> for GateUpgrade<U> {
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_inbound(self, socket: Stream, info: Self::Info) -> Self::Future {
        let inner = self.0.expect("an upgrade without protocols is never agreed upon");
        InboundUpgradeSend::upgrade_inbound(inner, socket, info)
    }
}

impl<H: ConnectionHandler> ConnectionHandler for GateHandler<H> {
    type FromBehaviour = ToHandler<H::FromBehaviour>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = GateUpgrade<H::InboundProtocol>;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = Option<H::InboundOpenInfo>;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        if self.is_allowed() {
            self.inner.listen_protocol().map_upgrade(|upgrade| GateUpgrade(Some(upgrade))).map_info(Some)
        } else {
            SubstreamProtocol::new(GateUpgrade(None), None)
        }
    }

    /// A member's connection stays although nothing happens on it.
    fn connection_keep_alive(&self) -> bool {
        self.is_allowed()
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {
            ToHandler::Open => self.open = true,
            // Nothing is kept for a peer that is not allowed.
            ToHandler::Inner(event) if self.is_allowed() => self.inner.on_behaviour_event(event),
            ToHandler::Inner(_) | ToHandler::Wake => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        // The connection is polled again after every event from the behaviour and every stream, which is when this
        // can change; so no waker needs to be kept.
        if self.open && self.is_allowed() { self.inner.poll(cx) } else { Poll::Pending }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let inner_event = match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info }) => {
                // A negotiation that began before the peer's admission was revoked ends here.
                let Some(info) = info.filter(|_| self.is_allowed()) else { return };
                self.open = true;
                ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, info })
            }
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error }) => {
                let Some(info) = info else { return };
                ConnectionEvent::ListenUpgradeError(ListenUpgradeError { info, error })
            }
            ConnectionEvent::FullyNegotiatedOutbound(event) => {
                ConnectionEvent::FullyNegotiatedOutbound(event)
            }
            ConnectionEvent::DialUpgradeError(event) => ConnectionEvent::DialUpgradeError(event),
            ConnectionEvent::AddressChange(event) => ConnectionEvent::AddressChange(event),
            ConnectionEvent::LocalProtocolsChange(event) => ConnectionEvent::LocalProtocolsChange(event),
            ConnectionEvent::RemoteProtocolsChange(event) => ConnectionEvent::RemoteProtocolsChange(event),
            // The enum may grow; what is not known here is not needed by the handlers behind the gate.
            _ => return,
        };
        self.inner.on_connection_event(inner_event);
    }
}
