//! [`Store`]: what `jobs.db` remembers. Durable when a call returns, as SQLite's transactions are.

use orbit_core::plan::{Step, StepId};
use orbit_core::writer::StagedName;
use orbit_core::{FileIdentity, RelPath, Totals};
use std::collections::{BTreeMap, BTreeSet};

/// The run database.
#[derive(Debug, Default)]
pub struct Store {
    /// The stored plan, if there is one.
    pub plan: Option<StoredPlan>,
    /// How far large files are, by path in the destination.
    pub checkpoints: BTreeMap<RelPath, Checkpoint>,
}

/// A plan and what is done of it.
#[derive(Debug)]
pub struct StoredPlan {
    /// Steps in the order of execution: rank, number, body.
    pub steps: Vec<(i64, StepId, Step)>,
    /// Those that are done.
    pub recorded: BTreeSet<StepId>,
    /// What planning counted.
    pub totals: Totals,
    /// Version of the source that was planned.
    pub source_version: u64,
}

/// A part of a large file that is staged and durable.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Under this name.
    pub stage_name: StagedName,
    /// Of this version of the source.
    pub source: FileIdentity,
    /// The bytes; the real one keeps their hashes.
    pub bytes: Vec<u8>,
}

impl StoredPlan {
    /// Up to `limit` steps that are not done, from behind `after`.
    pub fn next_steps(&self, after: Option<(i64, StepId)>, limit: usize) -> Vec<&(i64, StepId, Step)> {
        let open = self.steps.iter().filter(|(_, id, _)| !self.recorded.contains(id));
        open.filter(|(rank, id, _)| after.is_none_or(|after| (*rank, *id) > after)).take(limit).collect()
    }

    /// Steps that are not done.
    pub fn open(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|(_, id, _)| !self.recorded.contains(id)).map(|(_, _, step)| step)
    }
}
