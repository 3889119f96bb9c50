//! [`Ending`]: how a job ended, and what went wrong in it.

use super::TEXT_LEN_MAX;
use super::path::JobPath;
use serde::{Deserialize, Serialize};

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Ending {
    /// Everything was done.
    Done,
    /// Some paths failed or were skipped.
    Partial,
    /// It could not be done.
    Failed(JobFailure),
    /// A person stopped it.
    Cancelled,
}

impl Ending {
    /// Its name on the command line and in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a job could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFailure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What failed, on what, and why, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What kind of failure it is: the exit code is chosen from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureKind {
    /// The request makes no sense there.
    Usage,
    /// Something that was named does not exist.
    NotFound,
    /// Somebody could not be reached.
    Unreachable,
    /// A rule forbids it.
    Refused,
    /// The plan no longer fits what is on disk.
    Stale,
    /// A guard stopped it.
    Guard,
    /// Some of it was done, but not all.
    Partial,
    /// Something broke.
    Unexpected,
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTrouble {
    /// What is wrong, for people.
    pub message: String,
}

/// A path that failed or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFault {
    /// The path below the destination.
    pub path: JobPath,
    /// What and why, for people.
    pub message: String,
}

impl JobTrouble {
    /// With a text of bounded length.
    pub fn new(message: &str) -> Self {
        Self { message: clip(message) }
    }
}

impl JobFault {
    /// With texts of bounded length.
    pub fn new(path: &[u8], message: &str) -> Self {
        Self { path: JobPath::new(&path[..path.len().min(TEXT_LEN_MAX)]), message: clip(message) }
    }
}

/// The text, cut to what a record may hold, and without what drives a terminal.
pub fn clip(text: &str) -> String {
    let mut clipped: String =
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(TEXT_LEN_MAX).collect();
    while clipped.len() > TEXT_LEN_MAX {
        clipped.pop();
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(clip("a\nb"), "a b");
        let long = clip(&"ü".repeat(2000));
        assert_eq!(long.len(), TEXT_LEN_MAX);
        assert_eq!(JobFault::new(&[b'x'; 5000], "no").path.as_bytes().len(), TEXT_LEN_MAX);
    }
}
