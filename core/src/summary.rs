//! [`Totals`]: what a plan will do, and [`Summary`]: what a run did.

use serde::{Deserialize, Serialize};

/// Counts of a plan. Files are everything that is not a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files of the source that belong to the tree.
    pub files_total: u64,
    /// Files the destination lacks.
    pub files_new: u64,
    /// Files whose content or kind differs.
    pub files_changed: u64,
    /// Files whose attributes alone differ.
    pub files_attributes: u64,
    /// Files that are as they should be.
    pub files_unchanged: u64,
    /// Entries to delete (files and directories).
    pub files_deleted: u64,
    /// Directories of the source.
    pub directories_total: u64,
    /// Directories the destination lacks.
    pub directories_new: u64,
    /// Bytes of all source files.
    pub bytes_total: u64,
    /// Bytes of new and changed files.
    pub bytes_planned: u64,
    /// Bytes that new and changed files occupy (less than `bytes_planned` with holes).
    pub bytes_allocated: u64,
    /// Entries the destination holds now, the base of the delete gate's percentage.
    pub destination_entries: u64,
    /// What could not be scanned or compared, or is skipped (sockets).
    pub faults: u64,
    /// Steps in the plan.
    pub steps: u64,
}

impl Totals {
    /// Whether running the plan would change anything.
    pub const fn is_nothing_to_do(&self) -> bool {
        self.steps == 0
    }
}

/// What a run did. `sync --json` ends with these fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Files of the source.
    pub files_total: u64,
    /// Files created.
    pub files_new: u64,
    /// Files replaced, or given other attributes.
    pub files_changed: u64,
    /// Files that were as they should be.
    pub files_unchanged: u64,
    /// Entries deleted.
    pub files_deleted: u64,
    /// Files and directories that failed or were skipped.
    pub files_failed: u64,
    /// Bytes of all source files.
    pub bytes_total: u64,
    /// Bytes written to the destination.
    pub bytes_written: u64,
    /// Bytes that did not have to be written: shared extents, resumed or unchanged parts.
    pub bytes_reused: u64,
    /// Bytes that crossed a network: 0 on one machine.
    pub bytes_wire: u64,
    /// Wall time in milliseconds.
    pub elapsed_ms: u64,
}
