//! What comes in from the mesh, and who answers it.

use super::error::DaemonError;
use super::shared::{LinkState, Node};
use crate::api::server::MemberStreams;
use orbit_core::grid::{Refusal, Role};
use orbit_core::ids::PeerKey;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::encode;
use orbit_core::wire::join::{JoinReply, JoinRequest};
use orbit_core::wire::system::Reply;
use orbit_mesh::net::{Member, MeshEvent, MeshStream, Protocol};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

/// How long a refusal may take to be sent.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// Hands out events until the mesh ends. Each is answered by a task of its own; how many there can be is bounded by the
/// mesh, which counts streams and questions for each peer.
pub(super) async fn dispatch(node: Arc<Node>, mut events: Receiver<MeshEvent>, api: MemberStreams) {
    while let Some(event) = events.recv().await {
        let node = Arc::clone(&node);
        match event {
            MeshEvent::Admitted(_) | MeshEvent::Discovered { .. } => node.peers_changed.notify_one(),
            // Whoever talks with it notices by its streams.
            MeshEvent::Gone { .. } => {}
            MeshEvent::Join { key, request, answer, .. } => {
                let task = node.tasks.clone();
                task.spawn(async move { answer.send(admit(&node, key, request).await) });
            }
            MeshEvent::Asked { from, request, answer } => {
                let task = node.tasks.clone();
                task.spawn(async move { answer.send(reply(&node, &from, request).await) });
            }
            MeshEvent::Opened { from, protocol: Protocol::System, stream } => {
                let task = node.tasks.clone();
                task.spawn(async move { serve_system(&node, &from, stream).await });
            }
            MeshEvent::Opened { from, protocol: Protocol::Pulse, stream } => {
                let task = node.tasks.clone();
                task.spawn(crate::nucleus::pulse::serve(node, from, stream));
            }
            MeshEvent::Opened { from, protocol: Protocol::Api, stream } => api.offer(from, stream),
        }
    }
    if !node.stop.is_cancelled() {
        node.end_with(DaemonError::Ended { what: "the mesh" });
    }
}

/// Somebody wants to become a member: the Nucleus decides; other nodes say where it is.
async fn admit(node: &Node, key: PeerKey, request: JoinRequest) -> JoinReply {
    match (request, &node.nucleus) {
        (JoinRequest::Enrol(enrol), Some(nucleus)) => nucleus.enrol(node, key, enrol).await,
        (JoinRequest::ReEnrol { request }, Some(nucleus)) => nucleus.re_enrol(node, key, &request).await,
        (JoinRequest::Nuclei, Some(nucleus)) => {
            JoinReply::Nuclei(nucleus.ledger.with(|state| crate::nucleus::pulse::nuclei(node, state)))
        }
        (JoinRequest::Nuclei, None) => JoinReply::Nuclei(node.membership().nuclei),
        (JoinRequest::Enrol(_) | JoinRequest::ReEnrol { .. }, None) => {
            JoinReply::Refused(Refusal::NotNucleus { node: node.standing().name })
        }
        (JoinRequest::Hello(_), _) => JoinReply::Refused(Refusal::OtherGrid),
    }
}

/// Asks the Nucleus; the refusal says why it could not be asked.
pub(crate) async fn ask_nucleus(node: &Node, request: &ControlRequest) -> Result<ControlReply, Refusal> {
    let peer = match &*node.link.borrow() {
        LinkState::Connected(peer) => *peer,
        LinkState::Refused(refusal) => return Err(refusal.clone()),
        LinkState::Own | LinkState::Searching(_) => return Err(no_nucleus(node)),
    };
    node.mesh.ask(peer, request).await.map_err(|error| {
        tracing::debug!(error = crate::standalone::error::chain(&error), "the Nucleus did not answer");
        no_nucleus(node)
    })
}

fn no_nucleus(node: &Node) -> Refusal {
    Refusal::NoNucleus { node: node.standing().name }
}

/// A member asks.
async fn reply(node: &Node, from: &Member, request: ControlRequest) -> ControlReply {
    let Some(nucleus) = &node.nucleus else {
        return ControlReply::Refused(Refusal::NotNucleus { node: node.standing().name });
    };
    match request {
        ControlRequest::Renew { request } => nucleus.renew(node, from, &request).await,
    }
}

/// Does what the Nucleus asks of this star. Whoever else asks is refused, whatever it asks.
async fn serve_system(node: &Node, from: &Member, stream: MeshStream) {
    let name = node.standing().name;
    if from.role != Role::Nucleus || !from.is_nucleus {
        refuse(stream, Refusal::NotNucleus { node: name }).await;
    } else if from.fence < node.fence() {
        let (theirs, ours) = (from.fence.term, node.fence().term);
        refuse(stream, Refusal::OldTerm { node: name, theirs, ours }).await;
    } else {
        // Kept before anything is done for it: after a restart, one that was replaced must not be obeyed again.
        let kept =
            node.change_membership(|membership| membership.fence = membership.fence.max(from.fence)).await;
        match kept {
            Ok(()) => node.star.serve(stream).await,
            Err(error) => {
                let message = crate::standalone::error::chain(&error);
                refuse(stream, Refusal::Failed { node: name, message }).await;
            }
        }
    }
}

/// Says why, and closes the stream. Whoever does not listen for the reason learns it by the end.
async fn refuse(mut stream: MeshStream, refusal: Refusal) {
    let frame = crate::nucleus::pulse::frame(&encode(&Reply::Refused(refusal)));
    let told = async {
        stream.write_all(&frame).await?;
        stream.shutdown().await
    };
    if !matches!(tokio::time::timeout(REFUSAL_PATIENCE, told).await, Ok(Ok(()))) {
        tracing::debug!("a refusal was not taken");
    }
}
