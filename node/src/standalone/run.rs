//! [`Run`]: what all threads of a run share.

use super::error::chain;
use super::limiter::Limiter;
use super::observer::RunEvent;
use super::request::{SyncRequest, Trash};
use super::state::State;
use super::{Context, Privilege};
use crate::local::system::LocalSystem;
use crate::local::writer::LocalWriter;
use orbit_core::RelPath;
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, StagedName};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What all workers of a run share.
pub(super) struct Run<'a> {
    pub context: &'a Context,
    pub request: &'a SyncRequest,
    pub source: &'a LocalSystem,
    /// The destination, for reading what is in place.
    pub destination: &'a LocalSystem,
    pub writer: &'a LocalWriter,
    pub state: &'a State,
    pub limiter: Limiter,
    pub counters: Counters,
    /// Names the destination in checkpoints.
    pub destination_key: Vec<u8>,
    /// Name of a single file in the source, where it differs from the destination's.
    pub source_name: Option<RelPath>,
    pub set_owner: bool,
    pub privilege: Privilege,
    pub granularity_ns: u64,
    /// Whether a source that changed since the plan fails (a stored plan) or is copied as it is now.
    pub strict: bool,
    /// Set when workers should give up what they have in hand.
    pub halt: AtomicBool,
    /// Set once sharing extents between the two trees turned out impossible.
    pub sharing_impossible: AtomicBool,
    /// Staged files that checkpoints name.
    pub kept: Mutex<BTreeSet<StagedName>>,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub files_new: AtomicU64,
    pub files_changed: AtomicU64,
    pub files_deleted: AtomicU64,
    pub files_failed: AtomicU64,
    pub bytes_written: AtomicU64,
    pub bytes_reused: AtomicU64,
}

/// Why an item was not staged.
#[derive(Debug)]
pub(super) enum ItemFault {
    /// It failed; the rest goes on.
    Failed(SystemError),
    /// The run is being stopped.
    Stopped,
}

impl From<SystemError> for ItemFault {
    fn from(error: SystemError) -> Self {
        Self::Failed(error)
    }
}

impl Run<'_> {
    /// Whether what is in hand should be given up.
    pub fn is_stopping(&self) -> bool {
        self.halt.load(Ordering::Relaxed)
    }

    /// Whether it is worth trying to share extents with the source.
    pub fn can_share(&self) -> bool {
        !self.sharing_impossible.load(Ordering::Relaxed)
    }

    /// Remembers that it is not.
    pub fn sharing_failed(&self) {
        self.sharing_impossible.store(true, Ordering::Relaxed);
    }

    /// Waits for the bandwidth limit.
    pub fn throttle(&self, bytes: u64) {
        let waited = self.limiter.take(bytes, &self.halt);
        if !waited.is_zero() {
            self.context.progress.add_throttled(waited);
        }
    }

    pub fn count_written(&self, bytes: u64) {
        self.counters.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.context.progress.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The staged file outlives the run.
    pub fn keep_staged(&self, name: &StagedName) {
        self.kept.lock().expect("inserting does not panic").insert(name.clone());
    }

    /// The file is complete: its checkpoint is of no more use.
    pub fn forget_checkpoint(&self, path: &RelPath) {
        if let Err(error) = self.state.jobs().remove_checkpoint(&self.destination_key, path.as_bytes()) {
            tracing::warn!(%path, error = chain(&error), "cannot remove a checkpoint");
        }
    }

    /// Where displaced objects go.
    pub fn disposal(&self) -> Disposal {
        match self.request.trash {
            Trash::Off => Disposal::Discard,
            Trash::Default | Trash::Directory(_) => Disposal::Trash,
        }
    }

    /// Reports a path that failed.
    pub fn fault(&self, path: &RelPath, error: &SystemError) {
        self.counters.files_failed.fetch_add(1, Ordering::Relaxed);
        self.context.observer.event(&RunEvent::Fault { path, message: &chain(error) });
    }
}
