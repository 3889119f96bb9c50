//! [`JobCommand`]: what may be done to a job.

use super::JobEnd;
use super::ending::{Ending, JobFault, JobTrouble};
use super::options::JobOptions;
use super::schedule::JobSchedule;
use super::step::JobStep;
use crate::ids::{JobId, NodeId};
use crate::rate::BandwidthSchedule;
use crate::summary::{Summary, Totals};
use serde::{Deserialize, Serialize};

/// One change of a job, complete with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobCommand {
    /// The job. Whoever submits one draws its id.
    pub job: JobId,
    /// The Nucleus's clock, milliseconds since 1970.
    pub now_ms: i64,
    /// What is done to it.
    pub act: JobAct,
}

/// What is done to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobAct {
    /// It begins.
    Submit(Box<JobWish>),
    /// A person agrees to its plan.
    Approve,
    /// It stops for a while.
    Pause {
        /// Until then, milliseconds since 1970; none: until it is resumed.
        until_ms: Option<i64>,
    },
    /// It goes on.
    Resume,
    /// It ends.
    Cancel,
    /// It begins anew.
    Retry,
    /// It is forgotten. It must have ended.
    Remove,
    /// It may go so fast from now on.
    Limit(Option<BandwidthSchedule>),
    /// It begins anew at these times from now on, without being asked about; none: not any more.
    Schedule(Option<JobSchedule>),
    /// Its time has come. It begins anew if it is over.
    Due {
        /// The time that came.
        was_ms: i64,
        /// The next time, milliseconds since 1970; none: there is none.
        next_ms: Option<i64>,
    },
    /// Its star says how it goes. What is not of the attempt that counts, or says nothing new, changes nothing.
    Report {
        /// The attempt.
        attempt: u32,
        /// What it says.
        report: Box<JobReport>,
    },
}

/// A job as it is submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobWish {
    /// What is read.
    pub source: JobEnd,
    /// What is written.
    pub destination: JobEnd,
    /// How.
    pub options: JobOptions,
    /// The node on which it was submitted.
    pub created_on: NodeId,
    /// What happens once it is planned.
    pub mode: JobMode,
}

/// What happens once a job is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobMode {
    /// It waits for approval.
    #[default]
    Ask,
    /// It runs.
    Run,
    /// It ends: only the plan was wanted.
    Dry,
}

/// What the star that executes a job says of it, where the grid has to remember it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobReport {
    /// The plan is there.
    Planned {
        /// What it says.
        totals: Totals,
        /// The way the data will take, for people; none: both sides are on one star.
        route: Option<String>,
        /// How its parts stand.
        steps: Vec<JobStep>,
    },
    /// It goes on after it had to wait.
    Going,
    /// It cannot go on for now, and tries again by itself.
    Waiting(JobTrouble),
    /// It is over.
    Ended {
        /// How.
        ending: Ending,
        /// What was done.
        summary: Summary,
        /// How its parts stand.
        steps: Vec<JobStep>,
        /// Paths that failed or were skipped.
        fault_count: u64,
        /// The first of them.
        faults: Vec<JobFault>,
    },
}
