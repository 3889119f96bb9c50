//! [`Plant`]: bugs to plant, so that the simulation proves that it would see them.

/// A bug in the driver or in the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Files are committed though their bytes were not flushed.
    CommitWithoutFlush,
    /// Steps are recorded when they are committed, not when the names are durable.
    RecordBeforeFlush,
    /// Deletions come first.
    DeleteBeforeCopies,
    /// Files are written under their final names.
    InPlace,
    /// A staged part is used whatever version of the source it is of.
    KeepStaleStage,
    /// A phase's steps are fetched with one look that counts steps of a skipped phase.
    ShortFetch,
    /// A run that finds nothing to do reports success though an earlier one was killed before its last flush.
    NothingToDoWithoutFlush,
    /// Each run counts staged names from 0, so that a checkpoint may name another file's.
    ReusedStageNames,
}

impl Plant {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::CommitWithoutFlush,
        Self::RecordBeforeFlush,
        Self::DeleteBeforeCopies,
        Self::InPlace,
        Self::KeepStaleStage,
        Self::ShortFetch,
        Self::NothingToDoWithoutFlush,
        Self::ReusedStageNames,
    ];
}
