//! Commands on their way into the log: those that wait together become one entry.

use crate::group::{COMMAND_PATIENCE, GroupError, Shared};
use crate::types::Replies;
use openraft::error::{ClientWriteError, RaftError};
use orbit_core::grid::{Envelope, Outcome};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::encode;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// Commands that wait for an entry. Whoever sends more waits.
pub(crate) const WAITING_MAX: usize = 1024;
/// Commands in one entry.
const BATCH_MAX: usize = 256;
/// Bytes in one entry, unless a single command is larger: a few entries fit one message.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Entries on their way at a time: while one is replicated, the next gathers and is written.
const ENTRIES_MAX: usize = 4;

/// A command that waits, and who is told what becomes of it.
pub(crate) struct Proposal {
    body: Octets,
    answer: oneshot::Sender<Result<Outcome, GroupError>>,
}

impl Proposal {
    pub(crate) fn new(envelope: &Envelope) -> (Self, oneshot::Receiver<Result<Outcome, GroupError>>) {
        let (answer, answered) = oneshot::channel();
        (Self { body: Octets(envelope.encode()), answer }, answered)
    }

    pub(crate) fn len(&self) -> usize {
        self.body.0.len()
    }
}

/// Makes entries of what waits until the group ends.
pub(crate) async fn gather(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Proposal>) {
    let slots = Arc::new(Semaphore::new(ENTRIES_MAX));
    let mut left_over = None;
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let first = match left_over.take() {
            Some(proposal) => proposal,
            None => match waiting.recv().await {
                Some(proposal) => proposal,
                None => return,
            },
        };
        let mut bytes = first.len();
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.len();
            if bytes > BATCH_BYTES_MAX {
                left_over = Some(next);
                break;
            }
            batch.push(next);
        }
        let shared = Arc::clone(&shared);
        shared.scope.clone().spawn(async move {
            write(&shared, batch).await;
            drop(slot);
        });
    }
}

/// Writes one entry and tells everybody what became of it.
async fn write(shared: &Shared, batch: Vec<Proposal>) {
    let (bodies, answers): (Vec<Octets>, Vec<_>) =
        batch.into_iter().map(|proposal| (proposal.body, proposal.answer)).unzip();
    let all = |error: GroupError| answers.iter().map(|_| Err(error.clone())).collect();
    let written = timeout(COMMAND_PATIENCE, shared.raft.client_write(Octets(encode(&bodies)))).await;
    let outcomes: Vec<Result<Outcome, GroupError>> = match written {
        Ok(Ok(response)) => {
            let Replies(outcomes) = response.data;
            outcomes.into_iter().map(Ok).collect()
        }
        // It was never in the log, or another leader's entry is in its place here. With three voters it is nowhere else then;
        // with more, a third leader may still have it.
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
            let is_nowhere = matches!(shared.voters().as_slice(), [voters] if voters.len() <= 3);
            let leader = to.leader_id.map(|leader| leader.0);
            all(if is_nowhere { GroupError::NotLeader { leader } } else { GroupError::Unsure })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) | RaftError::Fatal(_))) => {
            all(shared.stopped())
        }
        // No quorum answers, or a snapshot took the entry's place, in which case openraft never tells.
        Err(_) => all(GroupError::Unsure),
    };
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // Whoever asked may have gone: the command is carried out all the same.
        let _ = answer.send(outcome);
    }
}
