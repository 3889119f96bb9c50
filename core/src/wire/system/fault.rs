//! [`WireSystemError`]: a [`SystemError`] on its way from one machine to another.
//!
//! Numbers of error kinds, which never change: see `KINDS`; 0 is any other kind. An error number of the operating
//! system goes along only between Linux machines whose numbers are the common ones.

use crate::rel_path::{RelPath, RelPathError, display_name};
use crate::system::SystemError;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, ErrorKind};

/// Characters of a text that travels with an error.
const TEXT_CHARS_MAX: usize = 500;

/// A [`SystemError`] on its way. The operating system's number of the error is kept where both sides know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireSystemError {
    /// On what.
    #[serde(with = "crate::wire::bytes")]
    pub path: Vec<u8>,
    /// What happened.
    pub fault: WireFault,
}

/// What happened to a path. One variant for each of [`SystemError`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum WireFault {
    /// The operating system refused.
    Io {
        /// What was tried.
        operation: String,
        /// `std::io::ErrorKind` by a stable number; see [`WireFault::kind`].
        kind: u8,
        /// The system's own number, between machines that share them.
        errno: Option<u16>,
        /// What the system said, for people.
        message: String,
    },
    /// It would have led outside.
    Escapes,
    /// It is not what is needed.
    WrongKind {
        /// What is needed.
        wanted: String,
    },
    /// It changed.
    Changed,
    /// It does not read back.
    Corrupt,
    /// It holds something.
    Occupied,
}

/// What a star said of an error, when there is no error number that says it all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

impl From<&SystemError> for WireSystemError {
    fn from(error: &SystemError) -> Self {
        let fault = match error {
            SystemError::Io { operation, source, .. } => WireFault::Io {
                operation: short(operation),
                kind: number(source.kind()),
                errno: source.raw_os_error().and_then(shared_errno),
                message: short(&whole(source)),
            },
            SystemError::Escapes { .. } => WireFault::Escapes,
            SystemError::WrongKind { wanted, .. } => WireFault::WrongKind { wanted: short(wanted) },
            SystemError::Changed { .. } => WireFault::Changed,
            SystemError::Corrupt { .. } => WireFault::Corrupt,
            SystemError::Occupied { .. } => WireFault::Occupied,
        };
        Self { path: error.path().as_bytes().to_vec(), fault }
    }
}

/// Fails if the path is none. Texts are shortened and made harmless: they come from another machine.
impl TryFrom<WireSystemError> for SystemError {
    type Error = RelPathError;

    fn try_from(error: WireSystemError) -> Result<Self, RelPathError> {
        let path = RelPath::new(error.path)?;
        Ok(match error.fault {
            WireFault::Io { operation, kind, errno, message } => Self::Io {
                operation: Cow::Owned(short(&operation)),
                path,
                source: source(kind, errno, &message),
            },
            WireFault::Escapes => Self::Escapes { path },
            WireFault::WrongKind { wanted } => Self::WrongKind { path, wanted: Cow::Owned(short(&wanted)) },
            WireFault::Changed => Self::Changed { path },
            WireFault::Corrupt => Self::Corrupt { path },
            WireFault::Occupied => Self::Occupied { path },
        })
    }
}

impl WireFault {
    /// The kind of an I/O error; none for what is no I/O error.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Io { kind, .. } => Some(kind_of(*kind)),
            _ => None,
        }
    }
}

/// The error as it was where it happened.
fn source(kind: u8, errno: Option<u16>, message: &str) -> io::Error {
    let kind = kind_of(kind);
    let native = errno
        .and_then(|errno| shared_errno(i32::from(errno)))
        .map(|errno| io::Error::from_raw_os_error(i32::from(errno)));
    match native {
        // A number that means something else here would mislead.
        Some(error) if number(error.kind()) == number(kind) => error,
        _ => io::Error::new(kind, Told(short(message))),
    }
}

/// Whether this machine's error numbers are those that most processors have under Linux (asm-generic/errno.h).
const HAS_COMMON_ERRNOS: bool = cfg!(target_os = "linux")
    && cfg!(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64",
        target_arch = "loongarch64",
        target_arch = "s390x"
    ));

/// Error numbers of Linux end at 133.
fn shared_errno(errno: i32) -> Option<u16> {
    u16::try_from(errno).ok().filter(|errno| HAS_COMMON_ERRNOS && (1..=133).contains(errno))
}

/// An error with its causes, in one line.
fn whole(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => display_name(text.as_bytes()).into_owned(),
        Some((end, _)) => format!("{}…", display_name(&text.as_bytes()[..end])),
    }
}

/// Kinds by number: the position. Only ever appended to.
const KINDS: [ErrorKind; 39] = [
    ErrorKind::Other,
    ErrorKind::NotFound,
    ErrorKind::PermissionDenied,
    ErrorKind::ConnectionRefused,
    ErrorKind::ConnectionReset,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::AddrInUse,
    ErrorKind::AddrNotAvailable,
    ErrorKind::NetworkDown,
    ErrorKind::BrokenPipe,
    ErrorKind::AlreadyExists,
    ErrorKind::WouldBlock,
    ErrorKind::NotADirectory,
    ErrorKind::IsADirectory,
    ErrorKind::DirectoryNotEmpty,
    ErrorKind::ReadOnlyFilesystem,
    ErrorKind::StaleNetworkFileHandle,
    ErrorKind::InvalidInput,
    ErrorKind::InvalidData,
    ErrorKind::TimedOut,
    ErrorKind::WriteZero,
    ErrorKind::StorageFull,
    ErrorKind::NotSeekable,
    ErrorKind::QuotaExceeded,
    ErrorKind::FileTooLarge,
    ErrorKind::ResourceBusy,
    ErrorKind::ExecutableFileBusy,
    ErrorKind::Deadlock,
    ErrorKind::CrossesDevices,
    ErrorKind::TooManyLinks,
    ErrorKind::InvalidFilename,
    ErrorKind::ArgumentListTooLong,
    ErrorKind::Interrupted,
    ErrorKind::Unsupported,
    ErrorKind::UnexpectedEof,
    ErrorKind::OutOfMemory,
];

fn number(kind: ErrorKind) -> u8 {
    KINDS.iter().position(|known| *known == kind).unwrap_or(0) as u8
}

fn kind_of(number: u8) -> ErrorKind {
    KINDS.get(usize::from(number)).copied().unwrap_or(ErrorKind::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};
    use proptest::prelude::*;

    fn path() -> RelPath {
        RelPath::new("a/b").expect("a path")
    }

    fn travelled(error: &SystemError) -> SystemError {
        let wire: WireSystemError = decode(&encode(&WireSystemError::from(error))).expect("it was encoded");
        SystemError::try_from(wire).expect("a path")
    }

    #[test]
    fn what_is_asked_of_an_error_survives() {
        let of = |source| travelled(&SystemError::io("open", &path())(source));
        assert!(of(ErrorKind::NotFound.into()).is_not_found());
        assert!(of(io::Error::from_raw_os_error(2)).is_not_found());
        assert!(of(ErrorKind::QuotaExceeded.into()).is_no_space());
        let SystemError::Io { operation, source, .. } = of(io::Error::from_raw_os_error(13)) else {
            panic!("an I/O error")
        };
        assert_eq!((&*operation, source.kind()), ("open", ErrorKind::PermissionDenied));
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn error_numbers_survive_between_like_machines() {
        for errno in 1..=133 {
            let error = travelled(&SystemError::io("read", &path())(io::Error::from_raw_os_error(errno)));
            let SystemError::Io { source, .. } = error else { panic!("an I/O error") };
            assert_eq!(source.raw_os_error(), Some(errno));
        }
        // A number that does not fit its kind is not believed.
        let told = source(number(ErrorKind::NotFound), Some(13), "it says");
        assert_eq!((told.kind(), told.raw_os_error()), (ErrorKind::NotFound, None));
        assert_eq!(source(0, Some(40_000), "it says").raw_os_error(), None);
    }

    #[test]
    fn the_whole_message_survives() {
        let inner = io::Error::other(Told("the disk said no".to_owned()));
        let outer = SystemError::io("read", &path())(io::Error::new(ErrorKind::InvalidData, inner));
        let source = std::error::Error::source(&travelled(&outer)).expect("a cause").to_string();
        assert_eq!(source, "the disk said no");
    }

    #[test]
    fn what_a_star_says_drives_no_terminal() {
        let message = format!("\u{1b}[2J{}", "x".repeat(10_000));
        let fault = WireFault::Io { operation: "a\nb".to_owned(), kind: 200, errno: Some(0), message };
        let error = SystemError::try_from(WireSystemError { path: b"x".to_vec(), fault }).expect("a path");
        let text = format!("{error}: {}", std::error::Error::source(&error).expect("a cause"));
        assert!(text.starts_with("cannot a\\x0ab x: \\x1b[2Jxxx") && text.len() < 1000, "{text}");
        let climbing = WireSystemError { path: b"../x".to_vec(), fault: WireFault::Changed };
        assert!(SystemError::try_from(climbing).is_err());
    }

    #[test]
    fn numbers_of_kinds_are_fixed() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!((usize::from(number(kind)), kind_of(at as u8)), (at, kind));
        }
        let some = [(1, ErrorKind::NotFound), (24, ErrorKind::StorageFull), (38, ErrorKind::OutOfMemory)];
        assert!(some.into_iter().all(|(at, kind)| kind_of(at) == kind));
    }

    proptest! {
        #[test]
        fn every_error_keeps_its_shape(at in 0..6_u8, text in "\\PC{0,20}", bytes in "[a-z]{1,9}") {
            let path = RelPath::new(bytes).expect("a path");
            let error = match at {
                0 => SystemError::io("read", &path)(io::Error::other(text.clone())),
                1 => SystemError::Escapes { path },
                2 => SystemError::WrongKind { path, wanted: text.into() },
                3 => SystemError::Changed { path },
                4 => SystemError::Corrupt { path },
                _ => SystemError::Occupied { path },
            };
            prop_assert_eq!(travelled(&error).to_string(), error.to_string());
        }
    }
}
