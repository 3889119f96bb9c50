//! [`Exit`]: the exit codes of the contract, and the one place where they are chosen.

use orbit_core::endpoint::Endpoint;
use orbit_core::grid::Refusal;
use orbit_core::grid::job::{FailureKind, JobFailure};
use orbit_core::grid::refusal::RefusalKind;
use orbit_core::system::SystemError;
use orbit_node::api::client::ClientError;
use orbit_node::api::types::ErrorCode;
use orbit_node::daemon::DaemonError;
use orbit_node::local::writer::BeginError;
use orbit_node::remote::RemoteError;
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
    /// `NODE:PATH` where only this machine will do.
    #[error("cannot keep a plan with {endpoint}: stored plans are of this machine alone")]
    Elsewhere {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// Storage is shared on one machine, by its own kernel.
    #[error("cannot share storage in {endpoint}: --apply works on this machine alone")]
    ApplyElsewhere {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// Nobody is there to be asked whether it is meant.
    #[error("{deed} cannot be undone, and there is no terminal to ask on")]
    NobodyToAsk {
        /// What would be done.
        deed: String,
    },
    /// A sync between nodes shows its plan and asks.
    #[error("a sync between nodes asks before it changes anything, and there is no terminal to ask on")]
    NobodyToAskForSync,
    /// A job of the grid could not be done.
    #[error("{}", failure.message)]
    Job {
        /// Why.
        failure: JobFailure,
        /// The job.
        id: String,
        /// Whether it had a plan: without one, nothing was changed.
        is_planned: bool,
    },
    /// A job of the grid was cancelled.
    #[error("job {id} was cancelled")]
    JobCancelled {
        /// The job.
        id: String,
    },
    /// An ignore file is no text.
    #[error("{} is not UTF-8, and its patterns cannot be sent to another node", path.display())]
    IgnoreFile {
        /// The file.
        path: PathBuf,
    },
    /// Nobody is there to type the grid's name.
    #[error("giving up what other voters may have cannot be undone, and there is no terminal to ask on")]
    NobodyToAskToRecover {
        /// The grid's name.
        name: String,
    },
    /// Another name was given than the grid's.
    #[error("this node's grid is named {name}, not {given}")]
    OtherGridName {
        /// What was given.
        given: String,
        /// Its name.
        name: String,
    },
    /// To recover here would lose changes that another survivor has.
    #[error("{node} has newer changes than {this}: recovering here would lose them")]
    NewerElsewhere {
        /// The other one.
        node: String,
        /// This node.
        this: String,
    },
    /// Nobody is there to be asked for a passphrase.
    #[error("a passphrase is needed, and there is no terminal to ask on")]
    NoPassphrase,
    /// It is empty, too long, or no text.
    #[error("the passphrase cannot be used: it is empty, longer than 4095 bytes, or not UTF-8")]
    BadPassphrase,
    /// It was typed differently the second time.
    #[error("the two passphrases differ")]
    PassphrasesDiffer,
    /// A file that was named cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Whoever was asked did not say yes.
    #[error("not done")]
    Declined,
    /// No environment variable says where state may be kept.
    #[error("cannot tell where to keep state: neither HOME nor XDG_STATE_HOME is set")]
    NoDataDir,
    /// The result could not be written out.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// Nothing could be read where something was promised.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// The program could not be started again.
    #[error("cannot start the node")]
    Again(#[source] io::Error),
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
        if let Some(error) = error.downcast_ref::<ClientError>() {
            return of_code(error.code());
        }
        if let Some(error) = error.downcast_ref::<DaemonError>() {
            return of_code(error.code());
        }
        match error.downcast_ref::<CliError>() {
            Some(CliError::Job { failure, .. }) => of_failure(failure.kind),
            Some(CliError::JobCancelled { .. }) => Self::Partial,
            Some(
                CliError::Elsewhere { .. }
                | CliError::ApplyElsewhere { .. }
                | CliError::NobodyToAsk { .. }
                | CliError::NobodyToAskForSync
                | CliError::IgnoreFile { .. }
                | CliError::NobodyToAskToRecover { .. }
                | CliError::OtherGridName { .. }
                | CliError::NoPassphrase
                | CliError::BadPassphrase,
            ) => Self::Usage,
            Some(CliError::NewerElsewhere { .. }) => Self::Refused,
            Some(CliError::File { source, .. } | CliError::ReadFile { source, .. }) => of_io(source),
            // Whoever read the output has seen enough: nothing went wrong.
            Some(CliError::Output(source)) if source.kind() == io::ErrorKind::BrokenPipe => Self::Done,
            Some(
                CliError::NoDataDir
                | CliError::Output(_)
                | CliError::Input(_)
                | CliError::Again(_)
                | CliError::PassphrasesDiffer
                | CliError::Declined,
            )
            | None => Self::Unexpected,
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
        RunError::Grid(error) => of_code(error.code()),
        RunError::Refused(refusal) => of_refusal(refusal),
        RunError::Gone { .. } => Exit::Unreachable,
        RunError::Star { source, .. } => of_remote(source),
        RunError::Stale { .. } => Exit::Stale,
        RunError::Interrupted | RunError::NotDurable { .. } => Exit::Partial,
        RunError::Plan(_) => Exit::Unexpected,
    }
}

/// What the API calls it, by number.
const fn of_code(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Usage => Exit::Usage,
        ErrorCode::NotFound => Exit::NotFound,
        ErrorCode::Unreachable => Exit::Unreachable,
        ErrorCode::Refused => Exit::Refused,
        ErrorCode::Failed => Exit::Unexpected,
    }
}

const fn of_failure(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Usage => Exit::Usage,
        FailureKind::NotFound => Exit::NotFound,
        FailureKind::Unreachable => Exit::Unreachable,
        FailureKind::Refused => Exit::Refused,
        FailureKind::Stale => Exit::Stale,
        FailureKind::Guard => Exit::Guard,
        FailureKind::Partial => Exit::Partial,
        FailureKind::Unexpected => Exit::Unexpected,
    }
}

const fn of_refusal(refusal: &Refusal) -> Exit {
    match refusal.kind() {
        RefusalKind::Usage => Exit::Usage,
        RefusalKind::NotFound => Exit::NotFound,
        RefusalKind::Unreachable => Exit::Unreachable,
        RefusalKind::Refused => Exit::Refused,
        RefusalKind::Failed => Exit::Unexpected,
    }
}

fn of_remote(error: &RemoteError) -> Exit {
    match error {
        RemoteError::Refused(refusal) => of_refusal(refusal),
        RemoteError::Link(_) => Exit::Unreachable,
        RemoteError::Failed { source, .. } => of_system(source),
        RemoteError::Protocol(_) => Exit::Unexpected,
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
