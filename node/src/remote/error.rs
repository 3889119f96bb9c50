//! [`RemoteError`]: why a star gave no answer.

use super::pack::PackFault;
use crate::standalone::error::chain;
use orbit_core::RelPath;
use orbit_core::grid::Refusal;
use orbit_core::system::SystemError;
use orbit_core::wire::WireError;
use orbit_core::wire::system::Reply;
use std::io;

/// Why a star gave no answer to what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// The stream to it could not be opened, or broke.
    #[error("the connection to the star failed")]
    Link(#[source] io::Error),
    /// It answered something that makes no sense.
    #[error("the star's answer cannot be used")]
    Protocol(#[source] ProtocolFault),
    /// What was asked for cannot be opened there.
    #[error("cannot open {path} on the star")]
    Failed {
        /// The path as it was asked for, for people.
        path: String,
        /// Why, of a path below one of the star's allowed paths.
        #[source]
        source: SystemError,
    },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolFault {
    /// A frame is longer than any may be.
    #[error("a message of {len} bytes is longer than any may be")]
    TooLong {
        /// Its length as claimed.
        len: u32,
    },
    /// Not a message.
    #[error(transparent)]
    Unreadable(#[from] WireError),
    /// Packed listings that cannot be read.
    #[error(transparent)]
    Pack(#[from] PackFault),
    /// An answer to another question.
    #[error("`{got}` is no answer to what was asked")]
    Unexpected {
        /// What came.
        got: &'static str,
    },
    /// Not a path.
    #[error("it names something that is no path")]
    Path,
    /// A directory came that was not the next one.
    #[error("it lists {got} where {} is due", due(.expected.as_ref()))]
    Order {
        /// What came.
        got: RelPath,
        /// What should have come.
        expected: Option<RelPath>,
    },
    /// Names of a directory are not in order, or one comes twice.
    #[error("its listing of {path} is not in order")]
    Names {
        /// The directory.
        path: RelPath,
    },
    /// A scan ended before everything was listed.
    #[error("it leaves out {missing}")]
    Incomplete {
        /// The first directory that did not come.
        missing: RelPath,
    },
    /// A directory is larger than any may be.
    #[error("it lists more entries in {path} than a directory may have")]
    TooMany {
        /// The directory.
        path: RelPath,
    },
    /// More bytes, or a range, than was asked for.
    #[error("it answers with more than was asked for")]
    TooMuch,
    /// What arrived is not what was sent.
    #[error("what arrived is not what was sent")]
    Damaged,
    /// The chunks are none of the file they identify.
    #[error("its chunks do not make up the file they stand for")]
    Chunks,
}

fn due(expected: Option<&RelPath>) -> String {
    expected.map_or_else(|| "the end".to_owned(), ToString::to_string)
}

impl RemoteError {
    /// What came was no answer to what was asked.
    pub(crate) const fn unexpected(reply: &Reply) -> Self {
        let got = match reply {
            Reply::Opened(_) => "Opened",
            Reply::Refused(_) => "Refused",
            Reply::Failed(_) => "Failed",
            Reply::Listings(_) => "Listings",
            Reply::ScanFault { .. } => "ScanFault",
            Reply::Done => "Done",
            Reply::Metadata(_) => "Metadata",
            Reply::Bytes(_) => "Bytes",
            Reply::Hash(_) => "Hash",
            Reply::Chunks(_) => "Chunks",
            Reply::Xattrs(_) => "Xattrs",
            Reply::Range(_) => "Range",
            Reply::Bundles(_) => "Bundles",
            Reply::BundleEnd => "BundleEnd",
            Reply::Piece(_) => "Piece",
            Reply::Parcel(_) => "Parcel",
            Reply::Contents(_) => "Contents",
            Reply::Manifest(_) => "Manifest",
        };
        Self::Protocol(ProtocolFault::Unexpected { got })
    }

    /// The stream broke. How a stream ends is said as people say it.
    pub(crate) fn broken(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        Self::Link(match error.kind() {
            UnexpectedEof | BrokenPipe | ConnectionReset => {
                io::Error::new(ConnectionReset, "it was closed from the other side")
            }
            _ => error,
        })
    }

    /// As an I/O error: what the contract's callers see, with this as its cause.
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Refused(Refusal::Busy { .. }) => io::ErrorKind::ResourceBusy,
            Self::Refused(Refusal::NodeUnreachable { .. } | Refusal::NoNucleus { .. }) => {
                io::ErrorKind::HostUnreachable
            }
            Self::Refused(_) => io::ErrorKind::PermissionDenied,
            Self::Link(error) => error.kind(),
            Self::Protocol(_) => io::ErrorKind::InvalidData,
            Self::Failed { source: SystemError::Io { source, .. }, .. } => source.kind(),
            Self::Failed { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// The same for another ear. Of a cause that cannot be repeated it keeps the kind and the words.
    #[must_use]
    pub fn retold(&self) -> Self {
        let again = |error: &io::Error| io::Error::new(error.kind(), chain(error));
        match self {
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::Link(error) => Self::Link(again(error)),
            other => Self::Link(io::Error::new(io::ErrorKind::InvalidData, chain(other))),
        }
    }

    /// As the error of an operation on `path`.
    pub(crate) fn on(self, path: &RelPath) -> SystemError {
        SystemError::io("ask the star about", path)(self.into_io())
    }
}

/// What a star's link or the star itself failed with, if that is what is behind an error.
pub fn remote_cause<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e RemoteError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<RemoteError>() {
            return Some(found);
        }
        // An I/O error's source is that of what it holds.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = held.and_then(|held| held.downcast_ref::<RemoteError>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl From<ProtocolFault> for RemoteError {
    fn from(fault: ProtocolFault) -> Self {
        Self::Protocol(fault)
    }
}
