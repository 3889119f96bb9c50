//! [`SyncRequest`]: everything a standalone sync is asked for, parsed and checked.

use orbit_core::rate::BandwidthSchedule;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What `orbit sync` and `orbit plan` are asked for. It is stored with a plan, so it carries nothing but data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// A directory (its contents are synced) or a file.
    pub source: PathBuf,
    /// What is made to hold what `source` holds.
    pub destination: PathBuf,
    /// Also delete what the source lacks.
    pub mirror: bool,
    /// Refuse to delete more than this percentage of the destination's entries (0 to 100).
    pub max_delete_percent: u8,
    /// Keep what is deleted or replaced.
    pub trash: Trash,
    /// Compare by content hash instead of size and modification time.
    pub checksum: bool,
    /// Re-read the destination from its disk after writing.
    pub verify: bool,
    /// `--exclude` and `--include` patterns in the order given.
    pub rules: Vec<FilterRule>,
    /// Files with patterns in gitignore syntax.
    pub ignore_files: Vec<PathBuf>,
    /// Texts of such files, where they cannot be read by whoever plans; they come after them.
    #[serde(default)]
    pub ignore_texts: Vec<String>,
    /// Bandwidth limit with its timetable.
    pub bandwidth: Option<BandwidthSchedule>,
    /// Worker threads; 0 picks by the machine.
    pub jobs: usize,
    /// Do not descend into other file systems.
    pub one_file_system: bool,
    /// Keep owner and group (as root).
    pub owner: bool,
    /// Keep permission bits.
    pub permissions: bool,
    /// Keep extended attributes and ACLs.
    pub xattrs: bool,
    /// A file that must exist in the source, or nothing is done: proof that its disk is mounted.
    pub source_marker: Option<PathBuf>,
}

/// Where displaced objects go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trash {
    /// They are deleted.
    Off,
    /// Below `.orbit-trash` in the destination.
    Default,
    /// Below this directory, which must lie on the destination's file system.
    Directory(PathBuf),
}

/// One pattern given on the command line, in gitignore syntax.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterRule {
    /// Leave matching paths out.
    Exclude(String),
    /// Keep matching paths that an earlier rule would leave out.
    Include(String),
}
