//! [`Log`]: openraft's view of [`RaftLog`].

use crate::runtime::Scope;
use crate::types::{
    Ballot, Entry, Position, StorageError, Types, ballot, entry, log_id, stored_entry, stored_vote,
};
use crate::types::{Voter, position};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LeaderId, LogState, OptionalSend, RaftLogReader, StorageIOError};
use orbit_store::{LogEntry, RaftLog, StoreError};
use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

/// The log, shared by openraft's core and its readers.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    kept: Arc<RaftLog>,
    scope: Scope,
    own: Voter,
    read_max: usize,
    voted: Voted,
}

/// For whom this member voted last, before anything of the log was changed because of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voted(Arc<Mutex<LeaderId<Voter>>>);

impl Voted {
    pub(crate) fn set(&self, vote: &Ballot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = vote.leader_id;
    }

    /// Whether entries that were read to be sent under this vote are those of its leader. The stream of a leader that
    /// was replaced goes on for a while, and reads what the next leader wrote over its entries; the vote for that one
    /// came before it wrote anything.
    pub(crate) fn is_still(&self, vote: &Ballot) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == vote.leader_id
    }
}

impl Log {
    pub(crate) fn new(log: RaftLog, own: Voter, scope: Scope, read_max: usize) -> Self {
        Self { kept: Arc::new(log), scope, own, read_max, voted: Voted::default() }
    }

    pub(crate) fn voted(&self) -> Voted {
        self.voted.clone()
    }

    /// Works with the log on a thread that may block.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RaftLog) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, io::Error> {
        let log = Arc::clone(&self.kept);
        let done = self.scope.offload(move || work(&log)).await;
        done.ok_or_else(|| io::Error::other("the node is shutting down"))?.map_err(io::Error::other)
    }

    async fn entries(
        &self,
        range: impl RangeBounds<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let stored = self.work(move |log| log.read(from..to, max_bytes)).await.map_err(read_failed)?;
        stored.iter().map(entry).collect::<Result<_, _>>().map_err(read_failed)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.entries(range, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.entries(start..end, self.read_max).await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let ends = self.work(|log| Ok((log.purged(), log.last()))).await.map_err(read_failed)?;
        Ok(LogState { last_purged_log_id: ends.0.map(log_id), last_log_id: ends.1.map(log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Ballot) -> Result<(), StorageError> {
        let stored = stored_vote(vote);
        self.voted.set(vote);
        self.work(move |log| log.save_vote(&stored))
            .await
            .map_err(|error| StorageError::from(StorageIOError::write_vote(AnyError::new(&error))))
    }

    /// A node that led when it stopped would go on leading in the same term, without an election. An entry it had sent
    /// and not kept would then be followed by another at the same position. It asks for votes again instead.
    async fn read_vote(&mut self) -> Result<Option<Ballot>, StorageError> {
        let vote = self.work(|log| Ok(log.vote())).await.map_err(read_failed)?;
        Ok(vote.map(|stored| {
            let mut vote = ballot(&stored);
            vote.committed &= vote.leader_id.voted_for != Some(self.own);
            self.voted.set(&vote);
            vote
        }))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let stored: Vec<LogEntry> = entries.into_iter().map(|entry| stored_entry(&entry)).collect();
        callback.log_io_completed(self.work(move |log| log.append(&stored)).await);
        Ok(())
    }

    async fn truncate(&mut self, log_id: Position) -> Result<(), StorageError> {
        self.work(move |log| log.truncate_from(log_id.index)).await.map_err(write_failed)
    }

    async fn purge(&mut self, log_id: Position) -> Result<(), StorageError> {
        self.work(move |log| log.purge_to(position(&log_id))).await.map_err(write_failed)
    }
}

fn read_failed(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::read_logs(AnyError::new(&error)).into()
}

fn write_failed(error: impl std::error::Error + 'static) -> StorageError {
    StorageIOError::write_logs(AnyError::new(&error)).into()
}
