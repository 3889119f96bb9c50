//! [`RunError`]: why a standalone command did not do its work.

use crate::api::client::ClientError;
use crate::remote::RemoteError;
use crate::rules::RulesError;
use orbit_core::RelPath;
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::RefusalKind;
use orbit_core::rel_path::RelPathError;
use orbit_core::system::SystemError;
use orbit_store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why a run stopped as a whole. What fails on single paths is reported to the observer and counted instead.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A path that was named does not exist.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// The directory that would hold the destination does not exist.
    #[error("the directory for {} does not exist", path.display())]
    NoParent {
        /// The destination.
        path: PathBuf,
    },
    /// A path that was named cannot be used.
    #[error("cannot {operation} {}", path.display())]
    Path {
        /// What was tried.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A path that was named is not what is needed.
    #[error("{} is not {wanted}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What is needed.
        wanted: &'static str,
    },
    /// A path cannot be carried (for example it holds a NUL byte).
    #[error("{} cannot be used as a path", path.display())]
    BadPath {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: RelPathError,
    },
    /// A guard stopped the run before anything was changed.
    #[error(transparent)]
    Guard(#[from] Guard),
    /// Another run writes to the destination, or what carries Orbit's own name there is not Orbit's.
    #[error("cannot begin writing to {}", path.display())]
    Begin {
        /// The destination.
        path: PathBuf,
        /// Why.
        #[source]
        source: crate::local::writer::BeginError,
    },
    /// A filter rule cannot be read.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// An operation on one of the two trees failed as a whole.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The grid cannot be asked, or does not know the node.
    #[error(transparent)]
    Grid(#[from] ClientError),
    /// A star does not do what it is asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection to a star broke, or it ended.
    #[error("the connection to {endpoint} broke off")]
    Gone {
        /// What was looked at.
        endpoint: String,
    },
    /// A star, or the way to it, failed.
    #[error("cannot look at {endpoint}")]
    Star {
        /// What was looked at.
        endpoint: String,
        /// Why not.
        #[source]
        source: RemoteError,
    },
    /// `jobs.db` or the universe failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan could not be stored or read back.
    #[error("cannot keep the plan")]
    Plan(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What a stored plan was made of is no longer on disk.
    #[error("the plan no longer fits: {path} changed since it was made{}", others(*changes))]
    Stale {
        /// The first path that differs.
        path: RelPath,
        /// How many differ.
        changes: u64,
    },
    /// The destination ran full.
    #[error("no space left on the file system of {}", path.display())]
    NoSpace {
        /// The destination.
        path: PathBuf,
        /// What was done before.
        report: Box<super::RunReport>,
    },
    /// Data was written, but the disk would not confirm that it is safe.
    #[error("the file system of {} did not confirm that the data is safe", path.display())]
    NotDurable {
        /// The destination.
        path: PathBuf,
        /// The cause.
        #[source]
        source: SystemError,
        /// What was done before.
        report: Box<super::RunReport>,
    },
    /// Stopped on request while planning; nothing was changed.
    #[error("interrupted while planning")]
    Interrupted,
}

impl RunError {
    /// Whether a job's source cannot be asked any more: reached anew, the same run goes on.
    pub const fn is_source_lost(&self) -> bool {
        match self {
            Self::Star { source: RemoteError::Failed { .. }, .. } => false,
            Self::Gone { .. } | Self::Star { .. } | Self::Grid(_) => true,
            Self::Refused(refusal) => matches!(refusal.kind(), RefusalKind::Unreachable),
            _ => false,
        }
    }
}

/// A guard that stops a run before it changes anything.
#[derive(Debug, thiserror::Error)]
pub enum Guard {
    /// `--mirror` would delete too much.
    #[error("{deletions} of {entries} entries in the destination would be deleted, more than {limit} %")]
    DeleteGate {
        /// How many.
        deletions: u64,
        /// Of how many.
        entries: u64,
        /// The limit in percent.
        limit: u8,
    },
    /// There is not enough room.
    #[error("the destination has {} free, and {} are needed", size(*available), size(*needed))]
    FreeSpace {
        /// Bytes needed.
        needed: u64,
        /// Bytes available.
        available: u64,
    },
    /// The marker that proves the source is mounted is not there.
    #[error("the source marker {} is missing: is the source's disk mounted?", path.display())]
    MarkerMissing {
        /// The marker.
        path: PathBuf,
    },
    /// `--mirror` from an empty source.
    #[error("the source {} is empty, and mirroring it would delete everything: is its disk mounted?", path.display())]
    EmptySource {
        /// The source.
        path: PathBuf,
    },
    /// One tree lies inside the other.
    #[error("the destination {} lies inside the source {}", destination.display(), source_path.display())]
    DestinationInside {
        /// The destination.
        destination: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
    /// One tree lies inside the other.
    #[error("the source {} lies inside the destination {}", source_path.display(), destination.display())]
    SourceInside {
        /// The destination.
        destination: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
    /// The trash would be synced or mirrored away itself.
    #[error("the trash {} lies inside the tree {}", trash.display(), tree.display())]
    TrashInside {
        /// The trash directory.
        trash: PathBuf,
        /// The source or the destination.
        tree: PathBuf,
    },
    /// Both are the same file or directory.
    #[error("{} and {} are the same", source_path.display(), destination.display())]
    Same {
        /// The destination.
        destination: PathBuf,
        /// The source.
        source_path: PathBuf,
    },
}

/// How many more paths are meant.
fn others(changes: u64) -> String {
    match changes.saturating_sub(1) {
        0 => String::new(),
        1 => ", and one more".to_owned(),
        more => format!(", and {more} more"),
    }
}

/// Bytes for people, in mebibytes.
fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// An error and its causes in one line, for people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Transparent wrappers say the same twice.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
