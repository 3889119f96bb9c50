//! [`Databases`]: the port by which the state machine keeps what it applies.
//!
//! There are two: `jobs.db` with everything the Nucleus owns, and the universe with the chunks of file contents. Each keeps
//! its [`Mark`], the last position it applied, in the transaction that applied it, so each may be ahead of the other
//! after a crash, and replaying what one has already is no harm.

use orbit_core::grid::{Change, GridState, Outcome};
use orbit_core::ids::RequestId;
use orbit_store::{Mark, SnapshotManifest, StoreError};
use std::fmt;
use std::sync::Arc;

/// What the databases hold when they are opened.
#[derive(Debug)]
pub struct Loaded {
    /// The grid's state as of the mark of `jobs.db`.
    pub state: GridState,
    /// Requests that were answered, with the index of their entry, oldest first.
    pub requests: Vec<(u64, RequestId, Outcome)>,
}

/// What one batch of log entries changes in `jobs.db`.
#[derive(Debug, Default)]
pub struct Batch {
    /// Changes in order.
    pub changes: Vec<Change>,
    /// Requests that were answered, with the index of their entry.
    pub requests: Vec<(u64, RequestId, Outcome)>,
    /// Requests that are forgotten.
    pub forgotten: Vec<RequestId>,
}

/// The two replicated databases. All calls block.
pub trait Databases: Send + fmt::Debug + 'static {
    /// What `jobs.db` has applied.
    fn jobs_mark(&self) -> Result<Mark, StoreError>;
    /// What the universe has applied.
    fn universe_mark(&self) -> Result<Mark, StoreError>;
    /// Everything in `jobs.db`.
    fn load(&mut self) -> Result<Loaded, StoreError>;
    /// Applies to `jobs.db`, in one transaction with the mark. Need not be durable: the log is.
    fn commit_jobs(&mut self, batch: &Batch, mark: &Mark) -> Result<(), StoreError>;
    /// Applies changes of contents to the universe, in one transaction with the mark. Need not be durable.
    fn commit_universe(&mut self, changes: &[Change], mark: &Mark) -> Result<(), StoreError>;
    /// Makes both durable.
    fn flush(&mut self) -> Result<(), StoreError>;
    /// Takes views of both as they are now, to write a snapshot of while they go on.
    fn pin(&mut self) -> Result<Box<dyn Pinned>, StoreError>;
    /// The newest complete snapshot of what both have applied: never one that was received and is not installed yet.
    fn newest_snapshot(&self) -> Result<Option<Arc<dyn Snapshot>>, StoreError>;
    /// A snapshot that was received completely, above what both have applied: the process ended before it was installed.
    fn pending_snapshot(&self) -> Result<Option<SnapshotManifest>, StoreError>;
    /// Begins to receive a snapshot, or goes on with one that was cut short.
    fn receive(&mut self, manifest: &SnapshotManifest) -> Result<Box<dyn Incoming>, StoreError>;
    /// Replaces both databases by the received snapshot of this manifest, in one step that a crash cannot split.
    fn install(&mut self, manifest: &SnapshotManifest) -> Result<(), StoreError>;
}

/// Views of both databases at one position.
pub trait Pinned: Send {
    /// Writes them as a snapshot, which is complete and durable when this returns.
    fn write(self: Box<Self>) -> Result<Arc<dyn Snapshot>, StoreError>;
}

/// A complete snapshot.
pub trait Snapshot: Send + Sync + fmt::Debug {
    /// What it holds.
    fn manifest(&self) -> &SnapshotManifest;
    /// One part, at most 1 MiB.
    fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError>;
}

/// A snapshot while it is received.
pub trait Incoming: Send {
    /// How many parts are there already, from the first on.
    fn have(&self) -> u32;
    /// Takes the next part, if it is what the manifest says.
    fn put(&mut self, number: u32, part: &[u8]) -> Result<(), StoreError>;
    /// Completes it, durably.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}
