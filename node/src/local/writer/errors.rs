//! Why a writer cannot start.

use orbit_core::RelPath;
use orbit_core::system::SystemError;
use std::path::PathBuf;

/// Why [`LocalWriter::begin`](super::LocalWriter::begin) refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Another run writes to this tree, or to one inside or around it.
    #[error(transparent)]
    Busy(Busy),
    /// The reserved name is taken by something that Orbit did not make.
    #[error("{path} is in the way: Orbit needs this name for itself, and did not make what is there")]
    NotOurs {
        /// What is in the way.
        path: RelPath,
    },
    /// Moving into the trash would need a copy.
    #[error("the trash {} is not on the file system of the destination", directory.display())]
    TrashElsewhere {
        /// The directory asked for.
        directory: PathBuf,
    },
    /// The trash directory cannot be used.
    #[error("cannot open the trash {}", directory.display())]
    Trash {
        /// The directory asked for.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Another run is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another run is writing to this tree, or to one inside or around it{}", Holder(*pid))]
pub struct Busy {
    /// Its process, where that could be found out.
    pub pid: Option<u32>,
}

/// The clause that names the process.
struct Holder(Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
    }
}

impl BeginError {
    /// For a stage area that is first needed in the middle of a run.
    pub(super) fn into_system(self, path: &RelPath) -> SystemError {
        match self {
            Self::System(error) => error,
            Self::NotOurs { path } => {
                SystemError::WrongKind { path, wanted: "a stage directory of Orbit's own".into() }
            }
            Self::Busy(busy) => SystemError::io("stage below", path)(std::io::Error::new(
                std::io::ErrorKind::ResourceBusy,
                busy,
            )),
            Self::TrashElsewhere { .. } | Self::Trash { .. } => {
                unreachable!("a trash is opened at the beginning only")
            }
        }
    }
}
