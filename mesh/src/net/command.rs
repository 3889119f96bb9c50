//! What a [`Mesh`](super::Mesh) handle tells the task.

use super::Identity;
use super::error::{AskError, ConnectError};
use super::origin::Origin;
use super::stream::{MeshStream, Protocol};
use libp2p::request_response::ResponseChannel;
use libp2p::{Multiaddr, PeerId};
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{Hello, JoinReply, JoinRequest};
use tokio::sync::oneshot;

pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// A command, and where its outcome goes. Whoever gave it up has dropped the receiver.
pub(super) enum Command {
    SetIdentity { identity: Box<Identity>, reply: oneshot::Sender<()> },
    Connect { peer: Option<PeerId>, addresses: Vec<Multiaddr>, reply: Reply<PeerId, ConnectError> },
    Hello { peer: PeerId, reply: Reply<Hello, AskError> },
    Join { peer: PeerId, request: JoinRequest, reply: Reply<JoinReply, AskError> },
    Ask { peer: PeerId, request: ControlRequest, reply: Reply<ControlReply, AskError> },
    Open { peer: PeerId, protocol: Protocol, reply: Reply<MeshStream, AskError> },
    Disconnect { peer: PeerId, reply: oneshot::Sender<()> },
    Shutdown,
}

/// The daemon's answer to a question.
pub(super) enum Answered {
    Join { channel: ResponseChannel<JoinReply>, origin: Option<Origin>, reply: JoinReply },
    Control { channel: ResponseChannel<ControlReply>, reply: ControlReply },
}
