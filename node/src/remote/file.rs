//! [`RemoteFile`]: an open file of a star, with a session of its own.

use super::error::{ProtocolFault, RemoteError};
use super::session::{Session, to_error};
use super::system::{Sessions, to_xattrs};
use orbit_core::system::{SourceFile, SystemError, Xattr};
use orbit_core::wire::system::{Call, Reply};
use orbit_core::{ByteRange, Metadata};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes asked for at once; the star sends no more.
const READ_BYTES_MAX: usize = 1 << 20;

/// A regular file that is held open at the star for as long as this lives.
pub struct RemoteFile {
    /// None once it broke: the file that was open went with it.
    session: Mutex<Option<Session>>,
    sessions: Arc<Sessions>,
}

impl RemoteFile {
    pub(super) fn new(session: Session, sessions: Arc<Sessions>) -> Self {
        Self { session: Mutex::new(Some(session)), sessions }
    }

    fn ask(&self, call: &Call) -> io::Result<Reply> {
        let mut held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut session) = held.take() else {
            let before = "the connection to the star broke before";
            return Err(RemoteError::Link(io::Error::new(io::ErrorKind::ConnectionReset, before)).into_io());
        };
        match session.ask(call).map_err(RemoteError::into_io)? {
            Reply::Failed(error) => {
                let error = to_error(error).map_err(RemoteError::into_io)?;
                *held = Some(session);
                Err(match error {
                    SystemError::Io { source, .. } => source,
                    error => io::Error::other(error),
                })
            }
            reply if reply.ends() => {
                *held = Some(session);
                Ok(reply)
            }
            reply => Err(RemoteError::unexpected(&reply).into_io()),
        }
    }
}

fn unexpected<T>(reply: &Reply) -> io::Result<T> {
    Err(RemoteError::unexpected(reply).into_io())
}

fn too_much<T>() -> io::Result<T> {
    Err(RemoteError::Protocol(ProtocolFault::TooMuch).into_io())
}

impl SourceFile for RemoteFile {
    fn metadata(&self) -> io::Result<Metadata> {
        match self.ask(&Call::FileMetadata)? {
            Reply::Metadata(metadata) => Ok(metadata),
            reply => unexpected(&reply),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(READ_BYTES_MAX);
        match self.ask(&Call::Read { offset, len: wanted as u32 })? {
            Reply::Bytes(bytes) if bytes.len() <= wanted => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Reply::Bytes(_) => too_much(),
            reply => unexpected(&reply),
        }
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>> {
        match self.ask(&Call::NextData { offset })? {
            Reply::Range(Some(range)) if range.offset() < offset || range.is_empty() => too_much(),
            Reply::Range(range) => Ok(range),
            reply => unexpected(&reply),
        }
    }

    fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        match self.ask(&Call::FileXattrs)? {
            Reply::Xattrs(pairs) => Ok(to_xattrs(pairs)),
            reply => unexpected(&reply),
        }
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        if let Some(session) = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            self.sessions.keep(session);
        }
    }
}
