//! [`Machine`]: the state machine. It takes committed entries in order, lets the rules of [`GridState`] decide, and keeps
//! what changes in the two databases.

use crate::databases::{Batch, Databases, Loaded, Pinned, Snapshot};
use crate::runtime::Scope;
use crate::snapshot::{Meta, SnapshotHandle, kept};
use crate::types::{Entry, Membership, Position, Replies, StorageError, Types, mark, membership, position};
use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot as RaftSnapshot, StorageIOError,
    StoredMembership,
};
use orbit_core::grid::envelope::EnvelopeError;
use orbit_core::grid::requests::RecentRequests;
use orbit_core::grid::{Change, Envelope, GridState};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::{WireError, decode};
use orbit_store::{LogPosition, Mark, StoreError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Why the state machine stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MachineError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was committed cannot be read.
    #[error("the entry at {index} cannot be read")]
    Entry {
        index: u64,
        #[source]
        source: WireError,
    },
    /// A command that was committed cannot be applied. Leaving it out would make this database another one than the
    /// others'.
    #[error("the entry at {index} cannot be applied; is this node's orbit older than the others'?")]
    Command {
        index: u64,
        #[source]
        source: EnvelopeError,
    },
    /// A mark or a snapshot's membership cannot be read.
    #[error("the membership that was stored cannot be read")]
    Membership(#[source] WireError),
    /// The process ends.
    #[error("the node is shutting down")]
    Stopped,
}

/// The state machine, shared by openraft's worker, its snapshot builders and the group.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    inner: Arc<Mutex<Inner>>,
    published: Arc<RwLock<GridState>>,
    scope: Scope,
}

#[derive(Debug)]
struct Inner {
    databases: Box<dyn Databases>,
    /// The state as of `jobs`.
    state: GridState,
    requests: RecentRequests,
    jobs: Mark,
    universe: Mark,
}

impl Machine {
    /// Loads what the databases hold. Blocks.
    pub(crate) fn load(mut databases: Box<dyn Databases>, scope: Scope) -> Result<Self, MachineError> {
        let Loaded { state, requests } = databases.load()?;
        let (jobs, universe) = (databases.jobs_mark()?, databases.universe_mark()?);
        let published = Arc::new(RwLock::new(state.clone()));
        let requests = requests.into_iter().collect();
        let inner = Inner { databases, state, requests, jobs, universe };
        Ok(Self { inner: Arc::new(Mutex::new(inner)), published, scope })
    }

    /// Looks at the applied state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        look(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works with the databases on a thread that may block.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Databases) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, MachineError> {
        self.inside(move |inner, _| Ok(work(inner.databases.as_mut())?)).await
    }

    /// Writes a snapshot of what is applied now, while more is applied.
    pub(crate) async fn write_snapshot(&self) -> Result<Arc<dyn Snapshot>, MachineError> {
        let pinned = self.work(<dyn Databases>::pin).await;
        Builder { machine: self.clone(), pinned: Mutex::new(Some(pinned)) }.build().await
    }

    async fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner, &RwLock<GridState>) -> Result<T, MachineError> + Send + 'static,
    ) -> Result<T, MachineError> {
        let (inner, published) = (Arc::clone(&self.inner), Arc::clone(&self.published));
        let done = self.scope.offload(move || work(&mut lock(&inner), &published)).await;
        done.unwrap_or(Err(MachineError::Stopped))
    }
}

impl Inner {
    /// Both databases have everything up to here.
    fn applied(&self) -> &Mark {
        if self.universe.position < self.jobs.position { &self.universe } else { &self.jobs }
    }

    fn apply(
        &mut self,
        entries: Vec<Entry>,
        published: &RwLock<GridState>,
    ) -> Result<Vec<Replies>, MachineError> {
        let mut taken = Taken::default();
        let mut last_membership = membership(self.applied()).map_err(MachineError::Membership)?;
        let mut last = None;
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let at = position(&entry.log_id);
            last = Some(entry.log_id);
            replies.push(match entry.payload {
                EntryPayload::Blank => Replies::default(),
                EntryPayload::Membership(changed) => {
                    last_membership = StoredMembership::new(Some(entry.log_id), changed);
                    Replies::default()
                }
                EntryPayload::Normal(batch) => self.decide(at, &batch, &mut taken)?,
            });
        }
        let reached = mark(last.as_ref(), &last_membership);
        if reached.position > self.jobs.position {
            self.databases.commit_jobs(&taken.batch, &reached)?;
            self.jobs = reached.clone();
        }
        if reached.position > self.universe.position {
            self.databases.commit_universe(&taken.contents, &reached)?;
            self.universe = reached;
        }
        let mut published = published.write().unwrap_or_else(PoisonError::into_inner);
        for change in taken.batch.changes {
            published.absorb(change);
        }
        Ok(replies)
    }

    /// Decides the commands of one entry, as far as `jobs.db` has not: the universe may be behind it.
    fn decide(
        &mut self,
        at: LogPosition,
        batch: &Octets,
        taken: &mut Taken,
    ) -> Result<Replies, MachineError> {
        let commands = envelopes(at.index, batch)?;
        let is_new = Some(at) > self.jobs.position;
        let is_new_to_universe = Some(at) > self.universe.position;
        let mut outcomes = Vec::with_capacity(commands.len());
        for Envelope { request, command, .. } in commands {
            let contents = command.contents_change();
            // The universe does not know requests, and both must take the same: contents may come twice.
            let request = request.filter(|_| contents.is_none());
            if is_new_to_universe {
                taken.contents.extend(contents);
            }
            if !is_new {
                outcomes.push(Ok(Vec::new()));
                continue;
            }
            if let Some(known) = request.and_then(|request| self.requests.get(&request)) {
                outcomes.push(known.clone());
                continue;
            }
            let outcome = self.state.decide(&command);
            for change in outcome.iter().flatten() {
                self.state.absorb(change.clone());
                taken.batch.changes.push(change.clone());
            }
            if let Some(request) = request {
                taken.batch.forgotten.extend(self.requests.insert(at.index, request, outcome.clone()));
                let remembered = self.requests.get(&request);
                taken.batch.requests.extend(remembered.map(|outcome| (at.index, request, outcome.clone())));
            }
            outcomes.push(outcome);
        }
        Ok(Replies(outcomes))
    }

    /// Replaces everything by a snapshot that was received.
    fn install(
        &mut self,
        handle: &SnapshotHandle,
        published: &RwLock<GridState>,
    ) -> Result<(), MachineError> {
        let manifest = match handle {
            SnapshotHandle::Received(manifest) => manifest.clone(),
            SnapshotHandle::Kept(snapshot) => snapshot.manifest().clone(),
        };
        self.databases.install(&manifest)?;
        let Loaded { state, requests } = self.databases.load()?;
        (self.jobs, self.universe) = (self.databases.jobs_mark()?, self.databases.universe_mark()?);
        self.requests = requests.into_iter().collect();
        self.state.clone_from(&state);
        *published.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }
}

/// What a run of entries changes.
#[derive(Default)]
struct Taken {
    batch: Batch,
    contents: Vec<Change>,
}

fn envelopes(index: u64, batch: &Octets) -> Result<Vec<Envelope>, MachineError> {
    let bodies: Vec<Octets> = decode(&batch.0).map_err(|source| MachineError::Entry { index, source })?;
    let read =
        |body: &Octets| Envelope::decode(&body.0).map_err(|source| MachineError::Command { index, source });
    bodies.iter().map(read).collect()
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<Position>, Membership), StorageError> {
        let inner = lock(&self.inner);
        let applied = inner.applied();
        let last_membership =
            membership(applied).map_err(|error| read_failed(&MachineError::Membership(error)))?;
        Ok((applied.position.map(crate::types::log_id), last_membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Replies>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let applied = self.inside(move |inner, published| inner.apply(entries, published)).await;
        applied.map_err(|error| StorageIOError::write_state_machine(AnyError::new(&error)).into())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let pinned = self.work(<dyn Databases>::pin).await;
        Builder { machine: self.clone(), pinned: Mutex::new(Some(pinned)) }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotHandle>, StorageError> {
        let error = MachineError::Stopped;
        Err(StorageIOError::read_snapshot(None, AnyError::new(&error)).into())
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        snapshot: Box<SnapshotHandle>,
    ) -> Result<(), StorageError> {
        let installed = self.inside(move |inner, published| inner.install(&snapshot, published)).await;
        installed.map_err(|error| {
            StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(&error)).into()
        })
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot<Types>>, StorageError> {
        let newest = self.work(|databases| databases.newest_snapshot()).await;
        newest
            .and_then(|newest| newest.map(kept).transpose().map_err(MachineError::Membership))
            .map_err(|error| read_failed(&error))
    }
}

/// Writes a snapshot of the databases as they were when it was made, while they go on.
pub(crate) struct Builder {
    machine: Machine,
    /// Taken when it is written. Views belong to one thread at a time.
    pinned: Mutex<Option<Result<Box<dyn Pinned>, MachineError>>>,
}

impl Builder {
    async fn build(&mut self) -> Result<Arc<dyn Snapshot>, MachineError> {
        let pinned = self
            .pinned
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or(Err(MachineError::Stopped))?;
        // The log is purged up to a snapshot, so the databases themselves must be durable up to there first.
        self.machine.work(<dyn Databases>::flush).await?;
        let written = self.machine.scope.offload(move || pinned.write()).await;
        Ok(written.ok_or(MachineError::Stopped)??)
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<RaftSnapshot<Types>, StorageError> {
        let built = self.build().await;
        built
            .and_then(|snapshot| kept(snapshot).map_err(MachineError::Membership))
            .map_err(|error| read_failed(&error))
    }
}

fn read_failed(error: &MachineError) -> StorageError {
    StorageIOError::read_state_machine(AnyError::new(error)).into()
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
