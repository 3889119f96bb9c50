//! [`Mesh`]: the handle that the rest of a node holds.

use super::behaviour::ANSWER_TIMEOUT;
use super::command::Command;
use super::counters::MeshCounters;
use super::error::{AskError, ConnectError, MeshError};
use super::event::{MeshEvent, PeerLink};
use super::shared::Shared;
use super::stream::{MeshStream, Protocol};
use super::{Identity, MeshConfig, start};
use libp2p::{Multiaddr, PeerId};
use orbit_core::ids::PeerKey;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{Hello, JoinReply, JoinRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Time for a connection and the greeting over it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for everything to end after the task was told to.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A handle on the mesh. Clones are cheap and act on the same mesh; it ends when the last one and the receiver of its
/// events are dropped, or by [`shutdown`](Self::shutdown).
///
/// All methods that wait are cancel-safe in the sense that nothing breaks when their future is dropped: the mesh
/// notices that nobody waits. What was asked may have happened all the same.
///
/// Whoever takes the events must not wait for the mesh while doing so.
#[derive(Clone, Debug)]
pub struct Mesh {
    pub(super) peer: PeerId,
    pub(super) key: PeerKey,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: TaskTracker,
}

impl Mesh {
    /// Listens, and returns when it does. `identity`: none before the node belongs to a grid.
    ///
    /// Events come by the receiver; dropping it ends the mesh. Not cancel-safe only in that a dropped future listens
    /// no more.
    pub async fn start(
        config: MeshConfig,
        identity: Option<Identity>,
    ) -> Result<(Self, mpsc::Receiver<MeshEvent>), MeshError> {
        start::start(config, identity).await
    }

    /// Our own peer id.
    pub const fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Our own key.
    pub const fn key(&self) -> PeerKey {
        self.key
    }

    /// Takes on an identity: a new certificate, trust, revocations or fence. When this returns, members whose
    /// certificate it does not accept are cut off; the others are told what changed. Cancel-safe.
    pub async fn set_identity(&self, identity: Identity) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::SetIdentity { identity: Box::new(identity), reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Connects to a peer at one of `addresses`; at most 16 of them are tried. With an identity, both sides have
    /// proved themselves and admitted each other when this returns; without one, only the peer's key is proved.
    ///
    /// A peer that is connected already is not dialled again, and a dial under way is joined. `peer`: who must
    /// answer; if none, whoever does (addresses may name it: `…/p2p/PEER`). Gives up after ten seconds. Cancel-safe.
    pub async fn connect(
        &self,
        peer: Option<PeerId>,
        addresses: Vec<Multiaddr>,
    ) -> Result<PeerId, ConnectError> {
        let tried = addresses.clone();
        let question = self.command(|reply| Command::Connect { peer, addresses, reply });
        match timeout(CONNECT_TIMEOUT, question).await {
            Ok(outcome) => outcome.unwrap_or(Err(ConnectError::Stopped)),
            Err(_) => Err(ConnectError::Timeout { seconds: CONNECT_TIMEOUT.as_secs(), addresses: tried }),
        }
    }

    /// Says hello to a connected peer, and returns its hello. With an identity both sides prove themselves, and admit
    /// each other; without one, the peer's certificate and authorities come back unjudged. Ten seconds. Cancel-safe.
    pub async fn hello(&self, peer: PeerId) -> Result<Hello, AskError> {
        self.ask_within(peer, |reply| Command::Hello { peer, reply }).await
    }

    /// Sends a join request to a connected peer. Ten seconds. Cancel-safe; a request that was sent may be granted all
    /// the same.
    pub async fn join(&self, peer: PeerId, request: JoinRequest) -> Result<JoinReply, AskError> {
        self.ask_within(peer, |reply| Command::Join { peer, request, reply }).await
    }

    /// Asks a connected member. Ten seconds. Cancel-safe; what was asked may be done all the same.
    pub async fn ask(&self, peer: PeerId, request: &ControlRequest) -> Result<ControlReply, AskError> {
        let request = request.clone();
        self.ask_within(peer, |reply| Command::Ask { peer, request, reply }).await
    }

    /// Opens a stream to a connected member. Ten seconds. Cancel-safe.
    pub async fn open(&self, peer: PeerId, protocol: Protocol) -> Result<MeshStream, AskError> {
        self.ask_within(peer, |reply| Command::Open { peer, protocol, reply }).await
    }

    /// Closes all connections with a peer. Returns when that has begun. Cancel-safe.
    pub async fn disconnect(&self, peer: PeerId) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Disconnect { peer, reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// Members that are connected.
    pub fn peers(&self) -> Vec<PeerLink> {
        self.shared.members()
    }

    /// Peers that mDNS found and that have not expired, with their addresses. Nothing is proved of them.
    pub fn discovered(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        self.shared.found()
    }

    /// Where the mesh listens: an unspecified address stands for those of all interfaces, and these are named.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.shared.listen()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> MeshCounters {
        self.shared.counters.read()
    }

    /// Closes all connections in good order and waits until everything has ended, at most five seconds. Cancel-safe:
    /// the end, once begun, goes on.
    pub async fn shutdown(self) {
        let _ = self.commands.send(Command::Shutdown).await;
        self.tasks.close();
        let _ = timeout(SHUTDOWN_TIMEOUT, self.tasks.wait()).await;
    }

    async fn command<T, E>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Command,
    ) -> Option<Result<T, E>> {
        let (reply, outcome) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        outcome.await.ok()
    }

    async fn ask_within<T>(
        &self,
        peer: PeerId,
        command: impl FnOnce(oneshot::Sender<Result<T, AskError>>) -> Command,
    ) -> Result<T, AskError> {
        match timeout(ANSWER_TIMEOUT, self.command(command)).await {
            Ok(Some(outcome)) => outcome,
            // The reply is dropped unsent when the connection ends, or with the task.
            Ok(None) if self.commands.is_closed() => Err(AskError::Stopped),
            Ok(None) => Err(AskError::Closed { peer }),
            Err(_) => Err(AskError::Timeout { peer }),
        }
    }
}
