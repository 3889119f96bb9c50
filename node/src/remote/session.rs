//! [`Session`]: one stream to a star, on which one call follows the other.

use super::error::{ProtocolFault, RemoteError};
use super::link::{Duplex, StarLink};
use orbit_core::grid::Fence;
use orbit_core::rel_path::display_name;
use orbit_core::system::SystemError;
use orbit_core::wire::codec::encode_frame;
use orbit_core::wire::system::{Call, Cargo, Opened, Opening, Reply, WireSystemError};
use orbit_core::wire::{MESSAGE_BYTES_MAX, decode};
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Read at a time: most answers come in one piece.
const BUFFER_BYTES: usize = 64 << 10;

/// An open session.
pub struct Session {
    stream: BufReader<Metered>,
    /// The last frame; its memory is used again.
    frame: Vec<u8>,
}

impl Session {
    /// Opens a session for an absolute path of the star.
    ///
    /// What it carries is added to `wire`.
    pub fn open(
        link: &dyn StarLink,
        path: &[u8],
        browse: bool,
        wire: &Arc<AtomicU64>,
    ) -> Result<(Self, Opened), RemoteError> {
        let stream = link.open().map_err(RemoteError::Link)?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, Metered { stream, wire: Arc::clone(wire) });
        let mut session = Self { stream, frame: Vec::new() };
        // The fence is filled in by the Nucleus, through which this passes.
        let opening = Opening { fence: Fence::default(), path: path.to_vec(), browse };
        let sent = session.write(&encode_frame(&opening));
        match session.receive() {
            Ok(Reply::Opened(opened)) => Ok((session, opened)),
            Ok(Reply::Failed(error)) => {
                let path = display_name(path).into_owned();
                Err(RemoteError::Failed { path, source: to_error(error)? })
            }
            Ok(reply) => Err(RemoteError::unexpected(&reply)),
            // A stream that could not be written to may have been closed with a reason to be read.
            Err(RemoteError::Link(error)) => Err(RemoteError::broken(sent.err().unwrap_or(error))),
            Err(error) => Err(error),
        }
    }

    /// Sends a call and waits for the first reply to it.
    pub fn ask(&mut self, call: &Call) -> Result<Reply, RemoteError> {
        self.send(call)?;
        self.receive()
    }

    /// Sends a call.
    pub fn send(&mut self, call: &Call) -> Result<(), RemoteError> {
        self.write(&encode_frame(call)).map_err(RemoteError::broken)
    }

    /// Sends whole frames.
    pub fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(frames)?;
        stream.flush()
    }

    /// Waits for the next reply. A refusal is an error.
    pub fn receive(&mut self) -> Result<Reply, RemoteError> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).map_err(RemoteError::broken)?;
        let len = u32::from_le_bytes(len);
        if len as usize > MESSAGE_BYTES_MAX {
            return Err(ProtocolFault::TooLong { len }.into());
        }
        self.frame.clear();
        // The length is only a claim: memory grows with what really comes.
        let read =
            (&mut self.stream).take(len.into()).read_to_end(&mut self.frame).map_err(RemoteError::broken)?;
        if read < len as usize {
            return Err(RemoteError::broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match decode(&self.frame).map_err(ProtocolFault::Unreadable)? {
            Reply::Refused(refusal) => Err(RemoteError::Refused(refusal)),
            reply => Ok(reply),
        }
    }
}

impl Session {
    /// Reads bytes that follow a reply as they are.
    pub fn receive_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RemoteError> {
        self.stream.read_exact(bytes).map_err(RemoteError::broken)
    }

    /// Reads the cargo that follows a reply, at most `bytes_max` of it, in the place of what `bytes` holds.
    pub fn receive_cargo(
        &mut self,
        cargo: Cargo,
        bytes_max: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), RemoteError> {
        let (wire, len) = (cargo.wire as usize, cargo.bytes as usize);
        if wire > len || len > bytes_max {
            return Err(ProtocolFault::TooMuch.into());
        }
        bytes.resize(len, 0);
        if wire == len {
            return self.receive_bytes(bytes);
        }
        let mut packed = vec![0; wire];
        self.receive_bytes(&mut packed)?;
        let damaged = |_| RemoteError::from(ProtocolFault::Damaged);
        let got = zstd::bulk::decompress_to_buffer(&packed, &mut bytes[..]).map_err(damaged)?;
        if got == len { Ok(()) } else { Err(ProtocolFault::Damaged.into()) }
    }
}

/// A stream of which every byte is counted, both ways.
struct Metered {
    stream: Box<dyn Duplex>,
    wire: Arc<AtomicU64>,
}

impl Metered {
    fn count(&self, bytes: usize) -> usize {
        self.wire.fetch_add(bytes as u64, Ordering::Relaxed);
        bytes
    }
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        Ok(self.count(read))
    }
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        Ok(self.count(written))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A star's error as one of ours.
pub(super) fn to_error(error: WireSystemError) -> Result<SystemError, RemoteError> {
    SystemError::try_from(error).map_err(|_| ProtocolFault::Path.into())
}
