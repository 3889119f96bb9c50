//! The API's objects about jobs.

use orbit_core::grid::job::{
    JobFailure, JobFault, JobMode, JobOptions, JobPath, JobSchedule, StepKind, StepState,
};
use orbit_core::rate::BandwidthSchedule;
use orbit_core::wire::job::JobProgress;
use orbit_core::{Summary, Totals};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `POST /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// What is read.
    pub source: JobEndView,
    /// What is written.
    pub destination: JobEndView,
    /// How.
    #[serde(default)]
    pub options: JobOptions,
    /// What happens once it is planned: `ask`, `run` or `dry`.
    #[serde(default)]
    pub mode: JobMode,
}

/// One side of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEndView {
    /// The node, by its name or id.
    pub node: String,
    /// The absolute path there; `{"hex": …}` where it is not UTF-8.
    pub path: JobPath,
}

/// `nas2:/backup`.
impl fmt::Display for JobEndView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.path)
    }
}

/// `GET /v1/jobs`, `GET /v1/jobs/{job}`, and the answer to every change of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id; how it begins is enough to name it.
    pub id: String,
    /// What is read.
    pub source: JobEndView,
    /// What is written.
    pub destination: JobEndView,
    /// `planning`, `planned`, `running`, `queued`, `waiting`, `paused`, `done`, `partial`, `failed` or `cancelled`.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Whether it is over.
    pub is_ended: bool,
    /// Whether there is a plan.
    pub is_planned: bool,
    /// Why it is there, where that needs to be told.
    pub reason: Option<String>,
    /// When a pause ends, milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// Why it failed.
    pub failure: Option<JobFailure>,
    /// How often it was begun.
    pub attempt: u32,
    /// When it was submitted, milliseconds since 1970.
    pub created_ms: i64,
    /// The node on which it was.
    pub created_on: String,
    /// What happens once it is planned.
    pub mode: JobMode,
    /// When it begins anew by itself.
    pub schedule: Option<JobSchedule>,
    /// How it is done.
    pub options: JobOptions,
    /// What the plan says.
    pub totals: Option<Totals>,
    /// The way the data takes; none: it is not known yet, or the data stays on one node.
    pub route: Option<String>,
    /// How far it is, while it is under way.
    pub progress: Option<JobProgress>,
    /// What was done, once it is over.
    pub summary: Option<Summary>,
    /// Its parts.
    pub steps: Vec<JobStepView>,
    /// Paths that failed or were skipped.
    pub fault_count: u64,
    /// The first of them.
    pub faults: Vec<JobFault>,
    /// Changes with everything above: see `after` of `GET /v1/jobs/{job}`.
    pub version: String,
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStepView {
    /// What it does.
    pub kind: StepKind,
    /// The parts that come directly before it.
    pub follows: Vec<StepKind>,
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

/// The query of `GET /v1/jobs/{job}`: with `after`, the answer waits until the job is another than of that version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobWait {
    /// The version that is known.
    pub after: Option<String>,
    /// How long to wait at most, milliseconds (up to 20 000).
    #[serde(default)]
    pub wait_ms: u64,
}

/// `POST /v1/jobs/{job}/pause`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPause {
    /// For how long, seconds; none: until it is resumed.
    pub for_s: Option<u64>,
}

/// `POST /v1/jobs/{job}/limit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLimit {
    /// How fast it may go; none: as fast as it can.
    pub bandwidth: Option<BandwidthSchedule>,
}

/// `POST /v1/jobs/{job}/schedule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTimes {
    /// Minute, hour, day, month and day of the week, as in a crontab; none: it does not begin anew by itself any more.
    pub cron: Option<String>,
    /// The time zone that is meant; none: UTC.
    pub zone: Option<String>,
}
