//! [`Exit`]: the exit codes of the contract, and the one place where they are chosen.

use orbit_core::endpoint::Endpoint;
use orbit_core::system::SystemError;
use orbit_node::local::writer::BeginError;
use orbit_node::standalone::RunReport;
use orbit_node::standalone::error::RunError;
use orbit_node::store_trouble::StoreTrouble;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Unexpected failure.
    Unexpected = 1,
    /// Usage.
    Usage = 2,
    /// Some files failed, were skipped, or were left for the next run by an interruption.
    Partial = 3,
    /// Something that was named does not exist.
    NotFound = 4,
    /// A node, the Nucleus or a quorum cannot be reached.
    Unreachable = 5,
    /// Refused: jail, rights, token, certificate.
    Refused = 6,
    /// The plan no longer fits what is on disk.
    Stale = 7,
    /// A guard stopped it.
    Guard = 8,
}

/// What goes wrong in this crate itself.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `NODE:PATH`, but there is no grid.
    #[error("cannot reach {endpoint}: this machine is not in a grid")]
    NotInGrid {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// No environment variable says where state may be kept.
    #[error("cannot tell where to keep state: neither HOME nor XDG_STATE_HOME is set")]
    NoDataDir,
    /// The result could not be written out.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// A file for the result could not be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// How a run that ended by itself ends the process.
    pub const fn of_report(report: &RunReport) -> Self {
        if report.interrupted || report.faults > 0 { Self::Partial } else { Self::Done }
    }

    /// How an error ends the process.
    pub fn of_error(error: &anyhow::Error) -> Self {
        if let Some(error) = error.downcast_ref::<RunError>() {
            return of_run(error);
        }
        match error.downcast_ref::<CliError>() {
            Some(CliError::NotInGrid { .. }) => Self::Unreachable,
            Some(CliError::File { source, .. }) => of_io(source),
            // Whoever read the output has seen enough: nothing went wrong.
            Some(CliError::Output(source)) if source.kind() == io::ErrorKind::BrokenPipe => Self::Done,
            Some(CliError::NoDataDir | CliError::Output(_)) | None => Self::Unexpected,
        }
    }
}

fn of_run(error: &RunError) -> Exit {
    match error {
        RunError::NotFound { .. } | RunError::NoParent { .. } => Exit::NotFound,
        RunError::WrongKind { .. } | RunError::BadPath { .. } | RunError::Rules(_) => Exit::Usage,
        RunError::Path { source, .. } => of_io(source),
        RunError::Guard(_) | RunError::NoSpace { .. } => Exit::Guard,
        RunError::Begin { source, .. } => of_begin(source),
        RunError::System(error) => of_system(error),
        RunError::Store(error) => match StoreTrouble::from(error) {
            StoreTrouble::NoSuchPlan => Exit::NotFound,
            StoreTrouble::AmbiguousPlan => Exit::Usage,
            StoreTrouble::Full => Exit::Guard,
            _ => Exit::Unexpected,
        },
        RunError::Stale { .. } => Exit::Stale,
        RunError::Interrupted | RunError::NotDurable { .. } => Exit::Partial,
        RunError::Plan(_) => Exit::Unexpected,
    }
}

fn of_begin(error: &BeginError) -> Exit {
    match error {
        BeginError::Busy(_) | BeginError::NotOurs { .. } => Exit::Guard,
        BeginError::TrashElsewhere { .. } => Exit::Usage,
        BeginError::Trash { source, .. } => of_io(source),
        BeginError::System(error) => of_system(error),
    }
}

fn of_system(error: &SystemError) -> Exit {
    match error {
        _ if error.is_no_space() => Exit::Guard,
        SystemError::Escapes { .. } => Exit::Refused,
        SystemError::Io { source, .. } => of_io(source),
        _ => Exit::Unexpected,
    }
}

fn of_io(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::Refused,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Guard,
        _ => Exit::Unexpected,
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
