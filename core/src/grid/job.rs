//! [`JobRecord`]: a sync between two nodes of the grid, as the Nucleus keeps it.
//!
//! ```text
//!            submitted                                     approved
//!   ───▶ Planning ─────────────────▶ Planned ─────────────────────▶ Running ───────▶ Ended
//!           │ going · queued · waiting · paused                      │ going · …       │ done · partial
//!           └──────────────────── failed, cancelled ─────────────────┴───────────────▶ │ failed · cancelled
//!        ▲                                                                             │
//!        └──────────────────────── retry: the next attempt ────────────────────────────┘
//! ```
//!
//! The record is small: the star that executes the job keeps its plan, its checkpoints and all that failed. Rules are in
//! [`GridState::decide`](super::GridState::decide).

mod command;
mod ending;
mod options;
mod path;
mod schedule;
mod step;

pub use command::{JobAct, JobCommand, JobMode, JobReport, JobWish};
pub use ending::{Ending, FailureKind, JobFailure, JobFault, JobTrouble, clip};
pub use options::{JobOptions, JobRule, JobTrash};
pub use path::JobPath;
pub use schedule::JobSchedule;
pub use step::{JobStep, StepKind, StepState};

use crate::ids::{JobId, NodeId};
use crate::summary::{Summary, Totals};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Faults that a record keeps; the star that executes the job keeps more of them.
pub const FAULTS_KEPT_MAX: usize = 16;
/// Bytes of a text in a record.
pub const TEXT_LEN_MAX: usize = 1024;

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What is read.
    pub source: JobEnd,
    /// What is written. Its star executes the job.
    pub destination: JobEnd,
    /// How.
    pub options: JobOptions,
    /// When it was submitted, milliseconds since 1970.
    pub created_ms: i64,
    /// On which node.
    pub created_on: NodeId,
    /// What happens once it is planned.
    pub mode: JobMode,
    /// When it begins anew by itself.
    pub schedule: Option<JobSchedule>,
    /// Where it stands.
    pub state: JobState,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Counts from 1; retrying begins the next one.
    pub attempt: u32,
    /// What the plan says, once there is one.
    pub totals: Option<Totals>,
    /// The way the data takes, for people, once it is known.
    pub route: Option<String>,
    /// What was done, once it ended.
    pub summary: Option<Summary>,
    /// Its parts.
    pub steps: Vec<JobStep>,
    /// Paths that failed or were skipped.
    pub fault_count: u64,
    /// The first of them; at most [`FAULTS_KEPT_MAX`].
    pub faults: Vec<JobFault>,
}

/// One side of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEnd {
    /// The node.
    pub node: NodeId,
    /// Its name when the job was submitted.
    pub name: String,
    /// The absolute path there.
    pub path: JobPath,
}

/// `nas2:/backup`.
impl fmt::Display for JobEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.path)
    }
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobState {
    /// Both sides are scanned and compared.
    Planning(Pace),
    /// The plan waits for approval.
    Planned,
    /// The plan is carried out.
    Running(Pace),
    /// It is over.
    Ended(Ending),
}

/// Whether a job goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Pace {
    /// It does.
    Going,
    /// It will, when what is before it is out of the way.
    Queued(Blocker),
    /// It will by itself, when what is wrong is mended.
    Waiting(JobTrouble),
    /// It will when a person says so, or at a time.
    Paused {
        /// When, milliseconds since 1970; none: when a person says so.
        until_ms: Option<i64>,
    },
}

/// What a queued job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Blocker {
    /// Another job writes to the same tree.
    Tree {
        /// That job.
        job: JobId,
    },
    /// The star has enough to do.
    Star {
        /// The star.
        node: NodeId,
        /// Jobs it works on at a time.
        limit: u32,
    },
}

impl JobState {
    /// Its name on the command line and in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Planning(Pace::Queued(_)) | Self::Running(Pace::Queued(_)) => "queued",
            Self::Planning(Pace::Waiting(_)) | Self::Running(Pace::Waiting(_)) => "waiting",
            Self::Planning(Pace::Paused { .. }) | Self::Running(Pace::Paused { .. }) => "paused",
            Self::Planning(Pace::Going) => "planning",
            Self::Planned => "planned",
            Self::Running(Pace::Going) => "running",
            Self::Ended(ending) => ending.name(),
        }
    }

    /// Whether it is over.
    pub const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Whether the star has something to do for it now.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Planning(pace) | Self::Running(pace) if pace.is_active())
    }

    /// How it goes on, if it is being planned or carried out.
    pub const fn pace(&self) -> Option<&Pace> {
        match self {
            Self::Planning(pace) | Self::Running(pace) => Some(pace),
            Self::Planned | Self::Ended(_) => None,
        }
    }

    /// The same part of the job at another pace.
    #[must_use]
    pub fn at(&self, pace: Pace) -> Self {
        match self {
            Self::Planning(_) => Self::Planning(pace),
            Self::Running(_) => Self::Running(pace),
            other => other.clone(),
        }
    }
}

impl Pace {
    /// Whether the star works on the job, or tries to.
    pub const fn is_active(&self) -> bool {
        matches!(self, Self::Going | Self::Waiting(_))
    }
}

/// What the star is to do for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Make the plan, and keep it.
    Plan,
    /// Carry it out.
    Run,
    /// Nothing for now: keep what there is.
    Hold,
}

impl JobRecord {
    /// What its star is to do; none: forget it.
    pub const fn wanted(&self) -> Option<Wanted> {
        match &self.state {
            JobState::Planning(pace) if pace.is_active() => Some(Wanted::Plan),
            JobState::Running(pace) if pace.is_active() => Some(Wanted::Run),
            JobState::Planning(_) | JobState::Running(_) | JobState::Planned => Some(Wanted::Hold),
            JobState::Ended(_) => None,
        }
    }

    /// Whether a node has part in it.
    pub fn involves(&self, node: NodeId) -> bool {
        self.source.node == node || self.destination.node == node
    }

    /// Whether it writes to its tree, or has begun to and will go on. Others stay out of it meanwhile.
    pub const fn holds_tree(&self) -> bool {
        matches!(&self.state, JobState::Running(pace) if !matches!(pace, Pace::Queued(_)))
    }

    /// Roughly how many bytes it takes.
    pub fn weight(&self) -> usize {
        let texts = self.faults.iter().map(|fault| fault.path.as_bytes().len() + fault.message.len() + 32);
        1024 + self.options.weight()
            + self.source.path.as_bytes().len()
            + self.destination.path.as_bytes().len()
            + texts.sum::<usize>()
    }
}
