//! Jobs: what the Nucleus wants of a star that executes them, and what the star says of them.
//!
//! The Nucleus opens the stream and sends a [`JobHello`]; the star answers with [`JobNote::Welcome`] or
//! [`JobNote::Refused`]. Then [`JobOrder`]s go one way and [`JobNote`]s the other, in frames of a length (4 bytes, little
//! endian, at most [`JOB_FRAME_BYTES_MAX`]) and CBOR.
//!
//! Orders say what is wanted, not what is to be done next, and notes say how things are: on a new stream, perhaps to another
//! Nucleus, both sides say everything again, and nothing is done twice by it. After the first [`JobOrder::Complete`] of a
//! stream, the star forgets every job that was not named before.

use super::bytes::Octets;
use crate::grid::job::{JobEnd, JobFault, JobOptions, JobReport, JobStep, Wanted};
use crate::grid::{Fence, Refusal};
use crate::ids::JobId;
use serde::{Deserialize, Serialize};

/// Version of what is said on the stream.
pub const JOB_VERSION: u16 = 1;
/// Largest frame without its length, bytes: a job's options with all patterns, and more.
pub const JOB_FRAME_BYTES_MAX: usize = 256 << 10;
/// Faults in one note.
pub const FAULTS_AT_ONCE: usize = 64;
/// Time between two notes about the progress of one job, milliseconds.
pub const PROGRESS_INTERVAL_MS: u64 = 250;

/// The first frame, of the Nucleus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobHello {
    /// [`JOB_VERSION`].
    pub version: u16,
    /// Its epoch and term.
    pub fence: Fence,
}

/// A job as its star needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// What is read.
    pub source: JobEnd,
    /// What is written, by this star.
    pub destination: JobEnd,
    /// How.
    pub options: JobOptions,
    /// Whether somebody was shown the plan and agreed to it: no other plan may be run in its place.
    pub is_asked: bool,
}

/// What the Nucleus says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobOrder {
    /// This is wanted of a job.
    Want {
        /// The job.
        job: JobId,
        /// The attempt. An older one is over.
        attempt: u32,
        /// What is wanted.
        wanted: Wanted,
        /// What the job is.
        spec: Box<JobSpec>,
    },
    /// The job is over, whatever the star thinks of it: nothing of it is needed any more.
    Forget {
        /// The job.
        job: JobId,
    },
    /// All jobs of the star have been named.
    Complete,
    /// The answer to [`JobNote::NeedTicket`].
    Ticket {
        /// The job.
        job: JobId,
        /// The number of the question.
        call: u64,
        /// A ticket for the source's star, or why there is none.
        ticket: Result<Octets, Refusal>,
    },
}

/// What the star says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobNote {
    /// It obeys.
    Welcome,
    /// It does not.
    Refused(Refusal),
    /// Where a job stands.
    Report {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: u32,
        /// Where it stands.
        report: Box<JobReport>,
    },
    /// How far a job is.
    Progress {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: u32,
        /// How far it is.
        progress: Box<JobProgress>,
    },
    /// Paths that failed or were skipped, beside those that were told before on this stream.
    Faults {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: u32,
        /// At most [`FAULTS_AT_ONCE`].
        faults: Vec<JobFault>,
    },
    /// The star wants to read from the source of a job.
    NeedTicket {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: u32,
        /// The number of the question; the answer repeats it.
        call: u64,
    },
}

/// Live figures of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobProgress {
    /// Entries that the scans have seen.
    pub scanned: u64,
    /// Files to be written, once that is known.
    pub files_planned: u64,
    /// Bytes to be written, once that is known.
    pub bytes_planned: u64,
    /// Files that are in place, or failed.
    pub files_done: u64,
    /// Bytes that were copied.
    pub bytes_done: u64,
    /// Bytes that crossed the network.
    pub bytes_wire: u64,
    /// Paths that failed or were skipped.
    pub faults: u64,
    /// What holds it back most, for people.
    pub limit: Option<String>,
    /// The file in hand, for people.
    pub current: String,
    /// The way the data takes, for people.
    pub route: Option<String>,
    /// Its parts.
    pub steps: Vec<JobStep>,
    /// How long this attempt has worked, milliseconds.
    pub elapsed_ms: u64,
}
