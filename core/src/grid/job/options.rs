//! [`JobOptions`]: how a job is done.

use super::path::JobPath;
use crate::rate::BandwidthSchedule;
use serde::{Deserialize, Serialize};

/// The options of a sync as they travel. What was a file where the job was submitted is its text here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobOptions {
    /// Also delete what the source lacks.
    pub mirror: bool,
    /// Refuse to delete more than this percentage of the destination's entries (0 to 100).
    pub max_delete_percent: u8,
    /// Keep what is deleted or replaced.
    pub trash: JobTrash,
    /// Compare by content hash instead of size and modification time.
    pub checksum: bool,
    /// Re-read the destination from its disk after writing.
    pub verify: bool,
    /// Patterns in the order given.
    pub rules: Vec<JobRule>,
    /// Texts of files with patterns in gitignore syntax.
    pub ignore_texts: Vec<String>,
    /// Bandwidth limit with its timetable, in the destination's local time.
    pub bandwidth: Option<BandwidthSchedule>,
    /// Worker threads; 0 picks by the machine.
    pub jobs: u16,
    /// Do not descend into other file systems.
    pub one_file_system: bool,
    /// Keep owner and group (as root).
    pub owner: bool,
    /// Keep permission bits.
    pub permissions: bool,
    /// Keep extended attributes and ACLs.
    pub xattrs: bool,
    /// A file below the source that must exist, or nothing is done.
    pub source_marker: Option<JobPath>,
}

/// Where displaced objects go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobTrash {
    /// They are deleted.
    #[default]
    Off,
    /// Below `.orbit-trash` in the destination.
    Default,
    /// Below this directory of the destination's star.
    Directory(JobPath),
}

/// One pattern, in gitignore syntax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobRule {
    /// Leave matching paths out.
    Exclude(String),
    /// Keep matching paths that an earlier rule would leave out.
    Include(String),
}

impl Default for JobOptions {
    /// What `orbit sync` does without any option.
    fn default() -> Self {
        Self {
            mirror: false,
            max_delete_percent: 25,
            trash: JobTrash::Off,
            checksum: false,
            verify: false,
            rules: Vec::new(),
            ignore_texts: Vec::new(),
            bandwidth: None,
            jobs: 0,
            one_file_system: false,
            owner: true,
            permissions: true,
            xattrs: true,
            source_marker: None,
        }
    }
}

impl JobOptions {
    /// Roughly how many bytes they take.
    pub fn weight(&self) -> usize {
        let rules = self.rules.iter().map(|rule| match rule {
            JobRule::Exclude(text) | JobRule::Include(text) => text.len() + 16,
        });
        let texts = self.ignore_texts.iter().map(|text| text.len() + 16);
        let trash = match &self.trash {
            JobTrash::Directory(path) => path.as_bytes().len(),
            JobTrash::Off | JobTrash::Default => 0,
        };
        let marker = self.source_marker.as_ref().map_or(0, |path| path.as_bytes().len());
        // A timetable names each minute of the day once at most.
        let limits = self.bandwidth.as_ref().map_or(0, |limits| limits.to_string().len());
        64 + rules.chain(texts).sum::<usize>() + trash + marker + limits
    }
}
