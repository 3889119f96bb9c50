//! Answers to what other members ask.

use crate::databases::Incoming;
use crate::group::Shared;
use crate::message::{Answer, Question};
use crate::snapshot::{SnapshotHandle, meta_with};
use crate::transport::MESSAGE_MAX;
use crate::types::{Ballot, Membership, Types, Voter};
use openraft::raft::{AppendEntriesRequest, VoteResponse};
use openraft::{ServerState, Snapshot};
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::{decode, decode_max, encode};
use orbit_store::{LogPosition, SnapshotManifest};
use std::time::Duration;

/// Largest manifest, bytes: 64 GiB of parts.
const MANIFEST_MAX: usize = 3 << 20;

/// A snapshot that is coming in.
pub(crate) struct Receiving {
    id: Vec<u8>,
    have: u32,
    /// None while a part is being stored.
    incoming: Option<Box<dyn Incoming>>,
}

/// Answers one message of a member, whom the transport has proved.
pub(crate) async fn answer(shared: &Shared, from: NodeId, message: &[u8]) -> Vec<u8> {
    let answer = match decode_max(message, MESSAGE_MAX) {
        Ok(question) => reply(shared, Voter(from), question).await.unwrap_or_else(Answer::Failed),
        Err(error) => Answer::Failed(format!("the message cannot be read: {error}")),
    };
    encode(&answer)
}

async fn reply(shared: &Shared, from: Voter, question: Question) -> Result<Answer, String> {
    match question {
        Question::Append { heartbeat_ms, is_void, request } => {
            is_of(from, &request.vote)?;
            is_in_order(&request)?;
            let is_current = request.vote >= shared.raft.server_metrics().borrow().vote;
            let heartbeat = Duration::from_millis(heartbeat_ms.into());
            if is_current && is_void {
                shared.pace.note_void(request.vote.leader_id.term);
            }
            let _hearing = is_current.then(|| shared.pace.hear(heartbeat));
            shared.raft.append_entries(request).await.map(Answer::Append).map_err(|error| error.to_string())
        }
        Question::Vote { request, is_told } => {
            is_of(from, &request.vote)?;
            let is_told = is_told && !shared.pace.is_void(request.vote.leader_id.term.saturating_sub(1));
            if !is_told && !is_free(shared) {
                return Ok(Answer::Vote(refused_vote(shared)));
            }
            shared.raft.vote(request).await.map(Answer::Vote).map_err(|error| error.to_string())
        }
        Question::PreVote { last, .. } => Ok(pre_vote(shared, last)),
        Question::TakeOver { term } => Ok(Answer::TakingOver(take_over(shared, from, term).await)),
        Question::Offer { vote, manifest } => {
            is_of(from, &vote)?;
            offer(shared, &manifest).await.map(Answer::Have)
        }
        Question::Part { snapshot, number, bytes } => {
            part(shared, &snapshot, number, bytes).await.map(Answer::Have)
        }
        Question::Install { vote, manifest, membership } => {
            is_of(from, &vote)?;
            install(shared, vote, &manifest, membership).await
        }
        Question::HowFar => {
            let (term, last) = shared.term_and_last();
            Ok(Answer::Far { node: shared.own.0, term, last, applied: shared.applied() })
        }
    }
}

/// Nobody speaks for another.
fn is_of(from: Voter, vote: &Ballot) -> Result<(), String> {
    if vote.leader_id.voted_for == Some(from) {
        Ok(())
    } else {
        Err(format!("{from} speaks for another node"))
    }
}

/// Whether no leader relies on this member any more.
fn is_free(shared: &Shared) -> bool {
    let leads = shared.raft.server_metrics().borrow().state == ServerState::Leader;
    if leads { !shared.is_heard_by_quorum() } else { shared.pace.is_silent() }
}

fn pre_vote(shared: &Shared, last: Option<LogPosition>) -> Answer {
    let (term, own_last) = shared.term_and_last();
    Answer::PreVote { is_granted: is_free(shared) && last >= own_last, term }
}

fn refused_vote(shared: &Shared) -> VoteResponse<Voter> {
    let vote = shared.raft.server_metrics().borrow().vote;
    VoteResponse { vote, vote_granted: false, last_log_id: shared.raft.data_metrics().borrow().last_log }
}

async fn take_over(shared: &Shared, from: Voter, term: u64) -> bool {
    let is_from_leader = {
        let metrics = shared.raft.server_metrics();
        let seen = metrics.borrow();
        seen.current_leader == Some(from) && seen.vote.leader_id.term == term
    };
    if !is_from_leader || shared.pace.is_void(term) {
        return false;
    }
    shared.pace.take_over(term + 1);
    shared.raft.trigger().elect().await.is_ok()
}

/// openraft compares positions and not what lies there, so nothing else may come in than one leader's log in order.
fn is_in_order(request: &AppendEntriesRequest<Types>) -> Result<(), String> {
    let mut before = request.prev_log_id;
    for entry in &request.entries {
        let follows = entry.log_id.index == before.map_or(0, |before| before.index + 1)
            && Some(entry.log_id.leader_id) >= before.map(|before| before.leader_id)
            && entry.log_id.leader_id.term <= request.vote.leader_id.term;
        if !follows {
            return Err(format!("the entry {} is out of order", entry.log_id));
        }
        before = Some(entry.log_id);
    }
    Ok(())
}

fn read_manifest(manifest: &Octets) -> Result<SnapshotManifest, String> {
    if manifest.0.len() > MANIFEST_MAX {
        return Err("the snapshot's manifest is too large".to_owned());
    }
    decode(&manifest.0).map_err(|error| format!("the snapshot's manifest cannot be read: {error}"))
}

async fn offer(shared: &Shared, manifest: &Octets) -> Result<u32, String> {
    let manifest = read_manifest(manifest)?;
    if manifest.mark.position <= shared.applied() {
        // It has all of it, and the leader did not hear so.
        return Ok(u32::try_from(manifest.parts.len()).unwrap_or(u32::MAX));
    }
    let id = manifest.hash().to_vec();
    let mut receiving = shared.receiving.lock().await;
    if let Some(current) = receiving.as_ref().filter(|current| current.id == id && current.incoming.is_some())
    {
        return Ok(current.have);
    }
    // What was being received before is over; what of it is on the disk is found again if it is offered again.
    *receiving = None;
    let incoming = shared.machine.work(move |databases| databases.receive(&manifest)).await;
    let incoming = incoming.map_err(|error| error.to_string())?;
    let have = incoming.have();
    *receiving = Some(Receiving { id, have, incoming: Some(incoming) });
    Ok(have)
}

async fn part(shared: &Shared, snapshot: &Octets, number: u32, bytes: Octets) -> Result<u32, String> {
    let mut receiving = shared.receiving.lock().await;
    let current = receiving.as_mut().filter(|current| current.id == snapshot.0);
    let current = current.ok_or("no such snapshot is being received")?;
    if number != current.have {
        return Ok(current.have);
    }
    let mut incoming = current.incoming.take().ok_or("the snapshot broke off")?;
    let stored = shared.scope.offload(move || incoming.put(number, &bytes.0).map(|()| incoming)).await;
    let incoming = stored.ok_or("the node is shutting down")?.map_err(|error| error.to_string())?;
    current.have = incoming.have();
    current.incoming = Some(incoming);
    Ok(current.have)
}

async fn install(
    shared: &Shared,
    vote: Ballot,
    manifest: &Octets,
    membership: Membership,
) -> Result<Answer, String> {
    let manifest = read_manifest(manifest)?;
    let mut receiving = shared.receiving.lock().await;
    if manifest.mark.position > shared.applied() {
        let current = receiving.take().filter(|current| current.id == manifest.hash());
        let incoming = current.and_then(|current| current.incoming).ok_or("no such snapshot was received")?;
        let finished = shared.scope.offload(move || incoming.finish()).await;
        finished.ok_or("the node is shutting down")?.map_err(|error| error.to_string())?;
    }
    let meta = meta_with(&manifest, membership);
    let snapshot = Snapshot { meta, snapshot: Box::new(SnapshotHandle::Received(manifest)) };
    let installed = shared.raft.install_full_snapshot(vote, snapshot).await;
    installed.map(Answer::Installed).map_err(|error| error.to_string())
}
