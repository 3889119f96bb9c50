//! [`LinkError`]: why there is no direct link.

use super::TalkError;
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::RefusalKind;
use orbit_mesh::direct::DialError;
use orbit_mesh::net::{AskError, ConnectError};
use std::io;

/// Why a destination has no direct link to its source.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no ticket.
    #[error("there is no ticket for the source: {0}")]
    NoTicket(String),
    /// The ticket that came is none.
    #[error("the ticket for the source cannot be read")]
    BadTicket,
    /// The source is not reached in the mesh, directly or through the Nucleus.
    #[error("the source cannot be reached")]
    Unreachable(#[source] Box<ConnectError>),
    /// The source opens no stream.
    #[error("the source cannot be asked")]
    Ask(#[source] Box<AskError>),
    /// The source refuses, or whoever leads to it.
    #[error(transparent)]
    Refused(Refusal),
    /// The source was not understood.
    #[error("the source did not agree on a direct link")]
    Talk(#[source] TalkError),
    /// It answered something else than was asked.
    #[error("the source answered something else than it was asked")]
    Unexpected,
    /// Neither side reaches the other, and the mesh does not carry the data either.
    #[error("no way for the data was found: {there}; the other way round: {back}")]
    NoWay {
        /// Why the source was not dialled.
        #[source]
        there: DialError,
        /// Why the source did not dial.
        back: String,
    },
    /// The job does not want it any more.
    #[error("the direct link is not wanted any more")]
    Cancelled,
}

impl LinkError {
    /// Whether trying again is of no use.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Cancelled => true,
            Self::Refused(Refusal::Ticket { reason, .. }) => !reason.is_passing(),
            Self::Refused(Refusal::OldTerm { .. } | Refusal::NotNucleus { .. }) => false,
            Self::Refused(refusal) => {
                !matches!(refusal.kind(), RefusalKind::Unreachable | RefusalKind::Failed)
            }
            _ => false,
        }
    }

    /// What to do about it, if something helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Unreachable(_) => {
                Some("is `orbit node run` running there? `orbit node ls` tells".to_owned())
            }
            Self::NoWay { .. } => Some(
                "open the port for links on one of the two: `link_port` under [mesh] in its star.toml"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<TalkError> for LinkError {
    fn from(error: TalkError) -> Self {
        Self::Talk(error)
    }
}

/// With the error as its cause, for those who know streams only.
impl From<LinkError> for io::Error {
    fn from(error: LinkError) -> Self {
        let kind = match &error {
            LinkError::Refused(_) if error.is_final() => io::ErrorKind::PermissionDenied,
            LinkError::Cancelled => io::ErrorKind::ConnectionAborted,
            LinkError::Talk(TalkError::Silent) => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::HostUnreachable,
        };
        Self::new(kind, error)
    }
}
