//! Opening a stream to another member of the group: found, connected, greeted, and given the seal key if it has none.

use super::frames::{FrameError, read_frame, read_greeting, write_frame, write_greeting};
use crate::daemon::Node;
use orbit_core::grid::Refusal;
use orbit_core::ids::{NodeId, PeerKey};
use orbit_core::wire::encode;
use orbit_core::wire::raft::{Lane, RAFT_VERSION, RaftFrame, RaftFrameKind, RaftHello, RaftWelcome, SealKey};
use orbit_mesh::key::peer_id_of;
use orbit_mesh::net::{AskError, ConnectError, MeshStream, Protocol};
use orbit_mesh::{Multiaddr, PeerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection may take. A way that was cut lets the system's own attempts come further and further apart, so
/// a new one is begun instead.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
/// How long the greeting may take.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);
/// How long the other may take to keep the seal key.
const KEEPING_PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no stream to a member of the group.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// It is not connected, and nobody knows where it is.
    #[error("nobody knows where it is")]
    Unknown,
    /// It was not reached.
    #[error("it is not reached")]
    Connect(#[from] ConnectError),
    /// It took too long.
    #[error("it does not answer")]
    Silent,
    /// It opens no stream.
    #[error("it opens no stream")]
    Open(#[from] AskError),
    /// It said something else than a greeting.
    #[error("its greeting was not heard")]
    Greeting(#[from] FrameError),
    /// It refuses.
    #[error("it refuses")]
    Refused(#[source] Refusal),
    /// It speaks of another epoch than it should.
    #[error("it answered another question")]
    Unexpected,
}

/// Opens a stream to a member of the group.
pub(super) async fn open(node: &Arc<Node>, to: NodeId, lane: Lane) -> Result<MeshStream, DialError> {
    let peer = connect(node, to).await?;
    let mut stream = timeout(GREETING_PATIENCE, node.mesh.open(peer, Protocol::Raft))
        .await
        .map_err(|_| DialError::Silent)??;
    let membership = node.membership();
    let epoch = node.group().ok_or(DialError::Unexpected)?.epoch;
    let (grid, from) = (membership.grid, membership.node);
    let hello = RaftHello { version: RAFT_VERSION, grid, epoch, from, lane };
    let greeting = async {
        write_greeting(&mut stream, &hello).await?;
        read_greeting::<RaftWelcome>(&mut stream).await
    };
    match timeout(GREETING_PATIENCE, greeting).await.map_err(|_| DialError::Silent)?? {
        RaftWelcome::Welcome { epoch: theirs, .. } if theirs != epoch => Err(DialError::Unexpected),
        RaftWelcome::Welcome { has_seal_key: true, .. } => Ok(stream),
        RaftWelcome::Welcome { .. } => hand_over_key(node, stream).await,
        RaftWelcome::Refused(refusal) => {
            if let Refusal::OtherEpoch { ours: theirs, .. } = refusal {
                super::note_epoch(node, theirs);
            }
            Err(DialError::Refused(refusal))
        }
    }
}

/// Connects to a member of the group, unless it is connected.
async fn connect(node: &Arc<Node>, to: NodeId) -> Result<PeerId, DialError> {
    if let Some(link) = node.mesh.peers().into_iter().find(|link| link.node == to) {
        return Ok(link.peer);
    }
    let (key, addresses) = place_of(node, to).ok_or(DialError::Unknown)?;
    let peer = peer_id_of(&key).ok_or(DialError::Unknown)?;
    let found = node.mesh.discovered().into_iter().filter(|(found, _)| *found == peer);
    let mut known: Vec<Multiaddr> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
    for address in found.flat_map(|(_, addresses)| addresses) {
        if !known.contains(&address) {
            known.insert(0, address);
        }
    }
    let Ok(connected) = timeout(DIAL_PATIENCE, node.mesh.connect(Some(peer), known)).await else {
        node.mesh.disconnect(peer).await;
        return Err(DialError::Silent);
    };
    // Said of a hello, these are epochs: this node belongs to a grid that was given up.
    if let Err(ConnectError::Refused { refusal: Refusal::OldTerm { ours: theirs, .. }, .. }) = &connected
        && let Ok(theirs) = u32::try_from(*theirs)
    {
        super::note_epoch(node, theirs);
    }
    Ok(connected?)
}

/// A member's key and addresses, by the grid's records or, before there are any, by what the Nucleus told.
fn place_of(node: &Node, to: NodeId) -> Option<(PeerKey, Vec<String>)> {
    let by_records = node.group().and_then(|seat| {
        seat.group.with(|state| state.node(to).map(|record| (record.key, record.profile.addresses.clone())))
    });
    let told = node.membership().nuclei.into_iter().find(|nucleus| nucleus.node == to);
    match (by_records, told) {
        (Some((key, addresses)), _) if !addresses.is_empty() => Some((key, addresses)),
        (_, Some(told)) => Some((told.key, told.addresses)),
        (by_records, None) => by_records,
    }
}

/// Gives the seal key to a member that has none, which it must keep before anything else is said.
async fn hand_over_key(node: &Node, mut stream: MeshStream) -> Result<MeshStream, DialError> {
    let Some(seat) = node.group() else { return Err(DialError::Unexpected) };
    let key = SealKey { key: *seat.seal.as_bytes() };
    let frame = RaftFrame { id: 0, kind: RaftFrameKind::SealKey, body: encode(&key) };
    let kept = async {
        write_frame(&mut stream, &frame).await?;
        read_frame(&mut stream).await
    };
    match timeout(KEEPING_PATIENCE, kept).await.map_err(|_| DialError::Silent)?? {
        RaftFrame { kind: RaftFrameKind::SealKeyKept, .. } => Ok(stream),
        _ => Err(DialError::Unexpected),
    }
}
