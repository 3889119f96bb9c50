//! [`JobStep`]: the parts of a job, as a person sees them.

use serde::{Deserialize, Serialize};

/// What a part of a job does. Each but the first two follows those before it.
///
/// ```text
///   scan source ──────┐
///                     ├─▶ compare ─▶ transfer ─▶ verify ─▶ commit ─▶ delete
///   scan destination ─┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Lists the source.
    ScanSource,
    /// Lists the destination.
    ScanDestination,
    /// Finds out how they differ, which is the plan.
    Compare,
    /// Brings over what is new or changed.
    Transfer,
    /// Re-reads what was written.
    Verify,
    /// Puts it in place.
    Commit,
    /// Deletes what the source lacks, and sets times of directories.
    Delete,
}

impl StepKind {
    /// All, in order.
    pub const ALL: [Self; 7] = [
        Self::ScanSource,
        Self::ScanDestination,
        Self::Compare,
        Self::Transfer,
        Self::Verify,
        Self::Commit,
        Self::Delete,
    ];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScanSource => "scan-source",
            Self::ScanDestination => "scan-destination",
            Self::Compare => "compare",
            Self::Transfer => "transfer",
            Self::Verify => "verify",
            Self::Commit => "commit",
            Self::Delete => "delete",
        }
    }

    /// Those that come directly before it.
    pub const fn follows(self) -> &'static [Self] {
        match self {
            Self::ScanSource | Self::ScanDestination => &[],
            Self::Compare => &[Self::ScanSource, Self::ScanDestination],
            Self::Transfer => &[Self::Compare],
            Self::Verify => &[Self::Transfer],
            Self::Commit => &[Self::Verify],
            Self::Delete => &[Self::Commit],
        }
    }
}

/// Where a part of a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It has not begun.
    #[default]
    Pending,
    /// It is under way.
    Running,
    /// It is done.
    Done,
    /// Something in it failed.
    Failed,
    /// There is nothing to do in it.
    Skipped,
}

/// A part of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobStep {
    /// What it does.
    pub kind: StepKind,
    /// Where it stands.
    pub state: StepState,
    /// How often it was begun.
    pub attempts: u32,
    /// Files or entries it has dealt with.
    pub items: u64,
    /// Bytes it has dealt with.
    pub bytes: u64,
    /// What failed in it.
    pub faults: u64,
}

impl JobStep {
    /// One that has not begun.
    pub const fn pending(kind: StepKind) -> Self {
        Self { kind, state: StepState::Pending, attempts: 0, items: 0, bytes: 0, faults: 0 }
    }

    /// All parts of a job that has not begun.
    pub fn all_pending() -> Vec<Self> {
        StepKind::ALL.map(Self::pending).to_vec()
    }
}
