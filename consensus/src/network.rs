//! [`Network`]: openraft's way to the other members, over a [`Transport`].

#[cfg(test)]
mod tests;

use crate::databases::Snapshot as KeptSnapshot;
use crate::log::Voted;
use crate::message::{Answer, Question};
use crate::pace::Pace;
use crate::runtime::Scope;
use crate::snapshot::{SnapshotHandle, packed};
use crate::transport::{Transport, Unreachable};
use crate::types::{Ballot, Types, Voter};
use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode, OptionalSend, Snapshot};
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::{decode_max, encode};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Pauses after a member could not be reached: the first, and the longest.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// How long one part of a snapshot may take to be stored.
const PART_PATIENCE: Duration = Duration::from_secs(30);
/// How long a snapshot may take to be installed.
const INSTALL_PATIENCE: Duration = Duration::from_mins(30);

/// Asks one question and reads the answer.
pub(crate) async fn ask(
    transport: &dyn Transport,
    to: NodeId,
    question: &Question,
) -> Result<Answer, Unreachable> {
    let answer = transport.call(to, encode(question)).await?;
    let unreadable = |reason: String| Unreachable { node: to, reason };
    match decode_max(&answer, crate::transport::MESSAGE_MAX) {
        Ok(Answer::Failed(reason)) => Err(unreadable(reason)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(unreadable(format!("its answer cannot be read: {error}"))),
    }
}

fn unexpected(node: NodeId) -> Unreachable {
    Unreachable { node, reason: "it answered another question".to_owned() }
}

/// Makes a [`Peer`] for each member.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) scope: Scope,
    pub(crate) voted: Voted,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: Voter, _node: &EmptyNode) -> Peer {
        Peer { network: self.clone(), to: target }
    }
}

/// The way to one member.
pub(crate) struct Peer {
    network: Network,
    to: Voter,
}

type CallError = RPCError<Voter, EmptyNode, RaftError<Voter>>;

fn unreachable(error: &Unreachable) -> CallError {
    RPCError::Unreachable(openraft::error::Unreachable::new(error))
}

impl Peer {
    async fn ask(&self, question: &Question) -> Result<Answer, Unreachable> {
        ask(self.network.transport.as_ref(), self.to.0, question).await
    }

    async fn send_snapshot(
        &self,
        vote: Ballot,
        snapshot: Snapshot<Types>,
    ) -> Result<SnapshotResponse<Voter>, Unreachable> {
        let SnapshotHandle::Kept(kept) = *snapshot.snapshot else { return Err(unexpected(self.to.0)) };
        let manifest = Octets(packed(kept.manifest()));
        let id = Octets(kept.manifest().hash().to_vec());
        let parts = u32::try_from(kept.manifest().parts.len()).unwrap_or(u32::MAX);
        let offer = Question::Offer { vote, manifest: manifest.clone() };
        let mut have = self.have(&offer, PART_PATIENCE).await?;
        while have < parts {
            let bytes = Octets(self.read_part(&kept, have).await?);
            let part = Question::Part { snapshot: id.clone(), number: have, bytes };
            let now = self.have(&part, PART_PATIENCE).await?;
            if now <= have {
                return Err(Unreachable {
                    node: self.to.0,
                    reason: "it does not take the snapshot".to_owned(),
                });
            }
            have = now;
        }
        let membership = snapshot.meta.last_membership;
        match timeout(INSTALL_PATIENCE, self.ask(&Question::Install { vote, manifest, membership })).await {
            Ok(Ok(Answer::Installed(response))) => Ok(response),
            Ok(Ok(_)) => Err(unexpected(self.to.0)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(late(self.to.0)),
        }
    }

    async fn read_part(&self, kept: &Arc<dyn KeptSnapshot>, number: u32) -> Result<Vec<u8>, Unreachable> {
        let failed = |reason: String| Unreachable { node: self.to.0, reason };
        let kept = Arc::clone(kept);
        match self.network.scope.offload(move || kept.read_part(number)).await {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(failed(format!("the snapshot cannot be read: {error}"))),
            None => Err(failed("the node is shutting down".to_owned())),
        }
    }

    async fn have(&self, question: &Question, patience: Duration) -> Result<u32, Unreachable> {
        match timeout(patience, self.ask(question)).await {
            Ok(Ok(Answer::Have(have))) => Ok(have),
            Ok(Ok(_)) => Err(unexpected(self.to.0)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(late(self.to.0)),
        }
    }
}

fn late(node: NodeId) -> Unreachable {
    Unreachable { node, reason: "it took too long to answer".to_owned() }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Voter>, CallError> {
        if !self.network.voted.is_still(&request.vote) {
            let reason = "this node does not lead in that term any more".to_owned();
            return Err(unreachable(&Unreachable { node: self.to.0, reason }));
        }
        let sent = Instant::now();
        let was_empty = request.entries.is_empty();
        let term = request.vote.leader_id.term;
        let told = self.network.pace.heartbeat();
        let is_void = self.network.pace.is_taken_back(term);
        let heartbeat_ms = u32::try_from(told.as_millis()).unwrap_or(u32::MAX);
        match self.ask(&Question::Append { heartbeat_ms, is_void, request }).await {
            Ok(Answer::Append(response)) => {
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.network.pace.note_answer(self.to, term, sent, told, was_empty);
                }
                Ok(response)
            }
            Ok(_) => Err(unreachable(&unexpected(self.to.0))),
            Err(error) => Err(unreachable(&error)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Voter>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Voter>, CallError> {
        let is_told = self.network.pace.was_told(request.vote.leader_id.term);
        match self.ask(&Question::Vote { request, is_told }).await {
            Ok(Answer::Vote(response)) => Ok(response),
            Ok(_) => Err(unreachable(&unexpected(self.to.0))),
            Err(error) => Err(unreachable(&error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Ballot,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Voter>, StreamingError<Types, Fatal<Voter>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => sent.map_err(|error| {
                StreamingError::Unreachable(openraft::error::Unreachable::new(&AnyError::new(&error)))
            }),
        }
    }

    fn backoff(&self) -> Backoff {
        let longest = std::iter::repeat(PAUSES[PAUSES.len() - 1]);
        Backoff::new(PAUSES.into_iter().chain(longest))
    }
}
