//! [`Run`]: what all threads of a run share.

use super::error::{RunError, chain};
use super::limiter::Limiter;
use super::observer::RunEvent;
use super::place::Site;
use super::request::{SyncRequest, Trash};
use super::state::State;
use super::sync::Strictness;
use super::{Context, Privilege};
use crate::local::system::LocalSystem;
use crate::local::writer::LocalWriter;
use crate::remote::remote_cause;
use orbit_core::RelPath;
use orbit_core::plan::Change;
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, StagedName};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What all workers of a run share.
pub(super) struct Run<'a> {
    pub context: &'a Context,
    pub request: &'a SyncRequest,
    pub source: &'a Site,
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
    /// What a source that changed since the plan means, and whether part of the plan may be done.
    pub strictness: Strictness,
    /// Set when workers should give up what they have in hand.
    pub halt: AtomicBool,
    /// Set once sharing extents between the two trees turned out impossible.
    pub sharing_impossible: AtomicBool,
    /// Staged files that checkpoints name.
    pub kept: Mutex<BTreeSet<StagedName>>,
    /// Why the source cannot be asked any more.
    pub lost: Mutex<Option<RunError>>,
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

impl Counters {
    /// Counts a change as made.
    pub fn count(&self, change: &Change) {
        let counter = match change {
            Change::Put { existing: None, .. } | Change::Link { existing: None, .. } => &self.files_new,
            Change::Put { .. } | Change::Link { .. } | Change::Attributes { .. } => &self.files_changed,
            Change::Delete { .. } => &self.files_deleted,
            Change::Finish { .. } => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why an item was not staged.
#[derive(Debug)]
pub(super) enum ItemFault {
    /// It failed; the rest goes on.
    Failed(SystemError),
    /// The run is being stopped.
    Stopped,
    /// The source cannot be asked any more: the run is stopped, too.
    Lost(SystemError),
}

impl ItemFault {
    /// Whether what is in hand is wanted by the next run.
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Stopped | Self::Lost(_))
    }
}

impl From<SystemError> for ItemFault {
    fn from(error: SystemError) -> Self {
        if remote_cause(&error).is_some() { Self::Lost(error) } else { Self::Failed(error) }
    }
}

impl Run<'_> {
    /// Whether what is in hand should be given up.
    pub fn is_stopping(&self) -> bool {
        self.halt.load(Ordering::Relaxed)
    }

    /// The source cannot be asked any more. The first error says why.
    pub fn lose(&self, error: &SystemError) {
        if let Some(lost) = self.source.lost(error) {
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(lost);
        }
        self.halt.store(true, Ordering::Relaxed);
    }

    /// Whether the source cannot be asked any more.
    pub fn is_lost(&self) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why not.
    pub fn take_loss(&self) -> Option<RunError> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
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
