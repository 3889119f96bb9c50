//! [`Plant`]: bugs that a group could have, planted in the simulated world around it, to prove that they would be seen.

/// A bug. None is in code that ships: they are in the simulated disk, databases and readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A stored vote is lost by a power cut.
    VoteNotSynced,
    /// Entries are acknowledged before they are on the disk.
    AcknowledgedBeforeSync,
    /// What both databases have applied is taken to be the maximum of what each has.
    MaximumOfMarks,
    /// A read that nobody confirmed is presented as current.
    StaleReadAsCurrent,
    /// A snapshot is moved over one database, and then over the other.
    TwoStepInstall,
    /// A leader may lead in its old term again after a crash that took the end of its log: neither its vote nor its
    /// entries were on the disk.
    RestoredLeader,
}

impl Plant {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::VoteNotSynced,
        Self::AcknowledgedBeforeSync,
        Self::MaximumOfMarks,
        Self::StaleReadAsCurrent,
        Self::TwoStepInstall,
        Self::RestoredLeader,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VoteNotSynced => "vote-not-synced",
            Self::AcknowledgedBeforeSync => "acknowledged-before-sync",
            Self::MaximumOfMarks => "maximum-of-marks",
            Self::StaleReadAsCurrent => "stale-read",
            Self::TwoStepInstall => "two-step-install",
            Self::RestoredLeader => "restored-leader",
        }
    }
}
