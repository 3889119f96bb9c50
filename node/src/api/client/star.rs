//! [`StarStream`]: a byte stream to a star, through this machine's daemon.

use super::{ClientError, Daemon};
use crate::remote::{Duplex, StarLink};
use hyper::body::{Buf, Bytes};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The protocol that `GET /v1/nodes/{node}/system` becomes.
const PROTOCOL: &str = "orbit-system/1";
/// How often whoever waits looks whether it should stop.
const STOP_POLL: Duration = Duration::from_millis(200);

/// A way to one node.
pub(super) struct Link {
    pub daemon: Arc<Daemon>,
    pub path: String,
    pub stop: Arc<AtomicBool>,
}

impl StarLink for Link {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(stopped());
        }
        let (stream, early) = self.daemon.upgrade(&self.path, PROTOCOL).map_err(ClientError::into_io)?;
        // From here on it is a socket like any other: no runtime, no copies.
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STOP_POLL))?;
        stream.set_write_timeout(Some(STOP_POLL))?;
        Ok(Box::new(StarStream { early, stream, stop: Arc::clone(&self.stop) }))
    }
}

/// A blocking byte stream to a star.
#[derive(Debug)]
pub struct StarStream {
    /// What came together with the answer that made it a stream.
    early: Bytes,
    stream: UnixStream,
    stop: Arc<AtomicBool>,
}

impl StarStream {
    /// Waits for as long as it takes, unless asked to stop.
    fn patiently<T>(&self, mut attempt: impl FnMut(&UnixStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&self.stream) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(stopped());
                    }
                }
                done => return done,
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "stopped on request")
}

impl Read for StarStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.early.has_remaining() {
            let len = buffer.len().min(self.early.remaining());
            self.early.copy_to_slice(&mut buffer[..len]);
            return Ok(len);
        }
        self.patiently(|mut stream| stream.read(buffer))
    }
}

impl Write for StarStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
