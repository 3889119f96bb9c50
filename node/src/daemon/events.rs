//! What comes in from the mesh, and who answers it.

use super::error::DaemonError;
use super::shared::{LinkState, Node, Way};
use crate::api::forward::PATIENCE;
use crate::api::server::MemberStreams;
use orbit_core::grid::Refusal;
use orbit_core::ids::PeerKey;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::encode;
use orbit_core::wire::join::{JoinReply, JoinRequest, NucleusAddress};
use orbit_core::wire::system::Reply;
use orbit_mesh::net::{Member, MeshEvent, MeshStream, Protocol};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

/// Pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a refusal may take to be sent.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// Hands out events until the mesh ends. Each is answered by a task of its own; how many there can be is bounded by the
/// mesh, which counts streams and questions for each peer.
pub(super) async fn dispatch(node: Arc<Node>, mut events: Receiver<MeshEvent>, api: MemberStreams) {
    while let Some(event) = events.recv().await {
        let node = Arc::clone(&node);
        match event {
            MeshEvent::Admitted(link) => {
                if link.is_nucleus {
                    crate::group::note_epoch(&node, link.fence.epoch);
                }
                node.peers_changed.notify_one();
            }
            MeshEvent::Discovered { .. } => node.peers_changed.notify_one(),
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
            MeshEvent::Opened { from, protocol: Protocol::Job, stream } => {
                let task = node.tasks.clone();
                task.spawn(crate::jobs::serve::serve(node, from, stream));
            }
            MeshEvent::Opened { from, protocol: Protocol::Link, stream } => {
                let task = node.tasks.clone();
                task.spawn(crate::link::serve::serve(node, from, stream));
            }
            MeshEvent::Opened { from, protocol: Protocol::Api, stream } => api.offer(from, stream),
            MeshEvent::Opened { from, protocol: Protocol::Raft, stream } => {
                let task = node.tasks.clone();
                task.spawn(crate::group::incoming::serve(node, from, stream));
            }
        }
    }
    if !node.stop.is_cancelled() {
        node.end_with(DaemonError::Ended { what: "the mesh" });
    }
}

/// Somebody wants to become a member: the Nucleus decides; other nodes say where it is.
async fn admit(node: &Node, key: PeerKey, request: JoinRequest) -> JoinReply {
    match (request, node.acting_nucleus()) {
        (JoinRequest::Enrol(enrol), Some(nucleus)) => nucleus.enrol(node, key, enrol).await,
        (JoinRequest::ReEnrol { request }, Some(nucleus)) => nucleus.re_enrol(node, key, &request).await,
        (JoinRequest::Nuclei, Some(nucleus)) => {
            JoinReply::Nuclei(nucleus.with(|state| crate::nucleus::pulse::nuclei(node, &nucleus, state)))
        }
        (JoinRequest::Nuclei, None) => JoinReply::Nuclei(nuclei_leader_first(node)),
        (JoinRequest::Enrol(_) | JoinRequest::ReEnrol { .. }, None) => {
            JoinReply::Refused(Refusal::NotNucleus { node: node.standing().name })
        }
        (JoinRequest::Hello(_), _) => JoinReply::Refused(Refusal::OtherGrid),
    }
}

/// Where this node believes the Nucleus to be, and those who may become it.
fn nuclei_leader_first(node: &Node) -> Vec<NucleusAddress> {
    let mut nuclei = node.membership().nuclei;
    let leader = node.group().and_then(|seat| seat.group.standing().borrow().leader);
    let connected = match &*node.link.borrow() {
        LinkState::Connected(peer) => orbit_mesh::key::key_of(peer),
        _ => None,
    };
    nuclei.sort_by_key(|nucleus| Some(nucleus.node) != leader && Some(nucleus.key) != connected);
    nuclei
}

/// Asks the Nucleus, which is waited for while the grid elects; the refusal says why it could not be asked. What is asked
/// may be asked twice.
pub(crate) async fn ask_nucleus(node: &Node, request: &ControlRequest) -> Result<ControlReply, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let peer = match node.way_to_nucleus(deadline).await {
            Ok(Way::Peer(peer)) => peer,
            Ok(Way::Own) => return Err(node.no_nucleus()),
            Err(no_way) => return Err(no_way.refusal),
        };
        match node.mesh.ask(peer, request).await {
            Ok(ControlReply::Refused(Refusal::NotNucleus { .. } | Refusal::NoQuorum { .. })) => {}
            Ok(reply) => return Ok(reply),
            Err(error) => {
                tracing::debug!(
                    error = crate::standalone::error::chain(&error),
                    "the Nucleus did not answer"
                );
            }
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(node.no_nucleus());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A member asks.
async fn reply(node: &Node, from: &Member, request: ControlRequest) -> ControlReply {
    let Some(nucleus) = node.acting_nucleus() else {
        return ControlReply::Refused(Refusal::NotNucleus { node: node.standing().name });
    };
    match request {
        ControlRequest::Renew { request } => nucleus.renew(node, from, &request).await,
    }
}

/// Does what the Nucleus asks of this star, and tells other voters which contents it holds. Whoever else asks is refused,
/// whatever it asks.
async fn serve_system(node: &Node, from: &Member, stream: MeshStream) {
    let name = node.standing().name;
    if !from.role.may_lead() {
        refuse(stream, Refusal::NotNucleus { node: name }).await;
    } else if !from.is_nucleus {
        // Reading only, and of what every voter is to know: no fence is needed, and none is raised.
        node.star.serve_contents(stream).await;
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
