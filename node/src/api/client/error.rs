//! [`ClientError`]: why a daemon gave no answer.

use crate::api::types::{ApiError, ErrorCode};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a daemon gave no answer, or another one than was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The data directory belongs to no node of a grid.
    #[error("this machine is not in a grid ({})", data_dir.display())]
    NotInGrid {
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// It belongs to a node, but nobody listens.
    #[error("the node of this machine is not running ({})", data_dir.display())]
    NotRunning {
        /// Its data directory.
        data_dir: PathBuf,
    },
    /// The request failed: the API says why.
    #[error("{}", .0.message)]
    Api(ApiError),
    /// The request failed, and an attempt before may have succeeded.
    #[error("it may or may not have been done")]
    Unsettled(#[source] Box<ClientError>),
    /// The socket is there and cannot be used.
    #[error("cannot reach the node of this machine at {}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("the node of this machine gave no answer in {} s", patience.as_secs())]
    Timeout {
        /// How long was waited.
        patience: Duration,
    },
    /// The conversation broke.
    #[error("the node of this machine broke off")]
    Http(#[source] hyper::Error),
    /// The conversation broke within an answer.
    #[error("the node of this machine broke off in the middle of its answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came could not be written where it was to go.
    #[error("cannot write what the node of this machine sent")]
    Sink(#[source] io::Error),
    /// An answer without end.
    #[error("the node of this machine answered with more than {max} bytes")]
    TooLong {
        /// How much is read.
        max: usize,
    },
    /// The answer is not what was asked for: another version, or another program.
    #[error("the node of this machine answered something else than was asked")]
    Answer(#[source] serde_json::Error),
    /// The request failed, and not as the API says it.
    #[error("the node of this machine refused with HTTP status {status}: {text}")]
    Status {
        /// The status.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// Timers cannot be had.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

impl ClientError {
    /// What kind of failure; decides the exit code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Api(error) => error.code,
            Self::Unsettled(error) => error.code(),
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                ErrorCode::Refused
            }
            Self::NotInGrid { .. }
            | Self::NotRunning { .. }
            | Self::Timeout { .. }
            | Self::Socket { .. }
            | Self::Http(_)
            | Self::Body(_) => ErrorCode::Unreachable,
            Self::TooLong { .. }
            | Self::Sink(_)
            | Self::Answer(_)
            | Self::Status { .. }
            | Self::Runtime(_) => ErrorCode::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Api(error) => return error.hint.clone(),
            Self::Unsettled(_) => "look with `orbit node ls` or `orbit token ls` before trying again",
            Self::NotInGrid { .. } => {
                "`orbit node init` founds a grid, `orbit node join TOKEN` enters one; --data-dir names another node's data"
            }
            Self::NotRunning { .. } => "start it: orbit node run (or: systemctl start orbit)",
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run the command as the user that runs `orbit node run`"
            }
            Self::Timeout { .. } | Self::Http(_) | Self::Body(_) => {
                "see whether the change was made (`orbit status`), then run the command again; the daemon's log says more"
            }
            Self::Answer(_) | Self::Status { .. } => {
                "the daemon may be another version of orbit: restart it (`orbit --version` shows this one's)"
            }
            Self::Sink(_) => return None,
            Self::Socket { .. } | Self::TooLong { .. } | Self::Runtime(_) => "orbit doctor",
        };
        Some(hint.to_owned())
    }

    /// Whether it is certain that the grid is as it was.
    pub fn is_without_effect(&self) -> bool {
        match self {
            Self::NotInGrid { .. } | Self::NotRunning { .. } | Self::Socket { .. } | Self::Runtime(_) => true,
            Self::Api(error) => error.code != ErrorCode::Failed && !error.is_uncertain,
            Self::Unsettled(_)
            | Self::Timeout { .. }
            | Self::Http(_)
            | Self::Body(_)
            | Self::TooLong { .. }
            | Self::Sink(_)
            | Self::Answer(_)
            | Self::Status { .. } => false,
        }
    }

    /// As an I/O error with this as its cause.
    pub fn into_io(self) -> io::Error {
        let kind = match self.code() {
            ErrorCode::Usage => io::ErrorKind::InvalidInput,
            ErrorCode::NotFound => io::ErrorKind::NotFound,
            ErrorCode::Unreachable => io::ErrorKind::HostUnreachable,
            ErrorCode::Refused => io::ErrorKind::PermissionDenied,
            ErrorCode::Failed => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}
