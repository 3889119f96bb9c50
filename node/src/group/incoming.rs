//! Streams that other members of the group open: judged, greeted, answered.

use super::frames::{FrameError, read_frame, read_greeting, write_frame, write_greeting};
use super::{Seat, learn};
use crate::daemon::Node;
use crate::standalone::error::chain;
use orbit_core::grid::Refusal;
use orbit_core::wire::decode;
use orbit_core::wire::raft::{
    RAFT_VERSION, RaftFrame, RaftFrameKind, RaftHello, RaftWelcome, SealKey as WireSealKey,
};
use orbit_mesh::net::{Member, MeshStream};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long the greeting may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the other may read nothing of its answers.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// Calls of one stream that are answered at a time; each may hold 4 MiB. More are not read until one is done.
const ANSWERED_AT_ONCE: usize = 16;

/// Serves a stream that a member opened, to its end.
pub(crate) async fn serve(node: Arc<Node>, from: Member, stream: MeshStream) {
    let served = tokio::select! {
        served = converse(&node, &from, stream) => served,
        () = node.stop.cancelled() => Ok(()),
    };
    if let Err(error) = served {
        tracing::debug!(from = %from.node, error = chain(&error), "a stream of the group ended");
    }
}

async fn converse(node: &Arc<Node>, from: &Member, mut stream: MeshStream) -> Result<(), FrameError> {
    let late = |_| FrameError::from(io::Error::from(io::ErrorKind::TimedOut));
    let hello: RaftHello = timeout(PATIENCE, read_greeting(&mut stream)).await.map_err(late)??;
    if let Err(refusal) = judge(node, from, &hello) {
        tracing::debug!(from = %from.node, %refusal, "a stream of the group is refused");
        timeout(PATIENCE, async {
            write_greeting(&mut stream, &RaftWelcome::Refused(refusal)).await?;
            Ok::<_, FrameError>(stream.shutdown().await?)
        })
        .await
        .map_err(late)??;
        return Ok(());
    }
    let seat = node.group();
    let welcome = RaftWelcome::Welcome { epoch: hello.epoch, has_seal_key: seat.is_some() };
    timeout(PATIENCE, write_greeting(&mut stream, &welcome)).await.map_err(late)??;
    let seat = if let Some(seat) = seat {
        seat
    } else {
        let frame = timeout(PATIENCE, read_frame(&mut stream)).await.map_err(late)??;
        let seat = take_key(node, frame).await?;
        let kept = RaftFrame { id: 0, kind: RaftFrameKind::SealKeyKept, body: Vec::new() };
        timeout(PATIENCE, write_frame(&mut stream, &kept)).await.map_err(late)??;
        seat
    };
    answer(node, &seat, from, stream).await
}

/// Whether a member may take part here, and for the same thing.
fn judge(node: &Node, from: &Member, hello: &RaftHello) -> Result<(), Refusal> {
    let membership = node.membership();
    if hello.version != RAFT_VERSION {
        return Err(Refusal::Protocol { theirs: hello.version.into(), ours: RAFT_VERSION.into() });
    }
    if hello.grid != membership.grid || hello.from != from.node {
        return Err(Refusal::OtherGrid);
    }
    // A group speaks for its own epoch only, even if this node has heard of a newer one in the moment before.
    let known = membership.fence.epoch;
    let own = node.group().map_or(known, |seat| seat.epoch);
    if hello.epoch != known || hello.epoch != own {
        return Err(Refusal::OtherEpoch { theirs: hello.epoch, ours: known });
    }
    let other = || Refusal::NotVoter { node: from.node.to_string() };
    if !from.role.may_lead() {
        return Err(other());
    }
    if let Some(seat) = node.group() {
        // What this node knows of the other may be older than the other's certificate, so only what it knows counts.
        let record = seat.group.with(|state| state.node(from.node).map(|record| record.role.may_lead()));
        return if record == Some(false) && !seat.group.standing().borrow().has(from.node) {
            Err(other())
        } else {
            Ok(())
        };
    }
    // The first stream makes this node a learner. That only a Nucleus may ask, of a node that was chosen for it.
    if !from.is_nucleus || from.fence < node.fence() {
        return Err(Refusal::NotNucleus { node: node.standing().name });
    }
    if !node.certificate().is_ok_and(|own| own.role.may_lead()) {
        return Err(Refusal::NotVoter { node: node.standing().name });
    }
    Ok(())
}

/// Keeps the seal key and begins to learn.
async fn take_key(node: &Arc<Node>, frame: RaftFrame) -> Result<Arc<Seat>, FrameError> {
    let body = Zeroizing::new(frame.body);
    if frame.kind != RaftFrameKind::SealKey {
        return Err(io::Error::from(io::ErrorKind::InvalidData).into());
    }
    let WireSealKey { key } = decode(&body)?;
    let key = Zeroizing::new(key);
    learn(node, &key).await.map_err(|error| {
        tracing::error!(error = chain(&error), "cannot take a place in the group that elects the Nucleus");
        io::Error::other("the group was not joined").into()
    })
}

/// Answers calls until the stream ends, or this node's place is given up.
async fn answer(
    node: &Arc<Node>,
    seat: &Arc<Seat>,
    from: &Member,
    stream: MeshStream,
) -> Result<(), FrameError> {
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    let (answers, mut waiting) = mpsc::channel::<RaftFrame>(ANSWERED_AT_ONCE);
    let room = Arc::new(Semaphore::new(ANSWERED_AT_ONCE));
    let from = from.node;
    let reader = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
            let frame = read_frame(&mut incoming).await?;
            if frame.kind != RaftFrameKind::Call {
                return Err(FrameError::from(io::Error::from(io::ErrorKind::InvalidData)));
            }
            let (group, answers) = (seat.group.clone(), answers.clone());
            // In tasks of their own: what waits for the disk must not hold up what does not.
            node.tasks.spawn(async move {
                // An empty call only asks for a sign of life.
                let body =
                    if frame.body.is_empty() { Vec::new() } else { group.answer(from, &frame.body).await };
                drop(place);
                let _ = answers.send(RaftFrame { id: frame.id, kind: RaftFrameKind::Answer, body }).await;
            });
        }
    };
    let writer = async {
        while let Some(frame) = waiting.recv().await {
            let written = timeout(SEND_PATIENCE, write_frame(&mut outgoing, &frame)).await;
            written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    };
    tokio::select! {
        ended = reader => ended,
        ended = writer => ended,
        () = seat.ended.cancelled() => Ok(()),
    }
}
