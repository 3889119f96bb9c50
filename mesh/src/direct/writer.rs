//! [`DirectWriter`]: what goes out on a direct link.

use super::seal::Sealer;
use super::socket::Socket;
use super::stream::Traffic;
use super::{BATCH_BYTES, DATA_BYTES_MAX, Kind, LEN_BYTES, LinkFault, MESSAGE_BYTES_MAX, TAG_BYTES};
use std::fmt;
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The writing half of a link. Dropped without [`finish`](Self::finish), it cuts the link, in both directions.
pub struct DirectWriter {
    socket: Arc<Socket>,
    sealer: Sealer,
    traffic: Arc<Traffic>,
    /// Sealed messages, and the one that is being filled.
    batch: Box<[u8]>,
    /// Where that one begins.
    start: usize,
    /// Bytes of data in it.
    filled: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    Failed,
}

impl DirectWriter {
    pub(super) fn new(socket: Arc<Socket>, sealer: Sealer, traffic: Arc<Traffic>) -> Self {
        let batch = vec![0; BATCH_BYTES].into_boxed_slice();
        Self { socket, sealer, traffic, batch, start: 0, filled: 0, state: State::Open }
    }

    pub(super) const fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub(super) fn count_in(&mut self, traffic: Arc<Traffic>) {
        self.traffic = traffic;
    }

    /// Lets `source` put bytes into the outgoing message itself, which saves a copy: it is given the space, 1 to
    /// [`DATA_BYTES_MAX`] bytes, and says how much of it was used. Returns what it returned.
    pub fn fill(&mut self, source: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.state != State::Open {
            return Err(LinkFault::Failed.into());
        }
        let data = self.start + LEN_BYTES;
        let space = &mut self.batch[data + self.filled..data + DATA_BYTES_MAX];
        let len = space.len();
        let used = source(space)?.min(len);
        self.filled += used;
        if self.filled == DATA_BYTES_MAX {
            self.seal(Kind::Data)?;
            if self.start + LEN_BYTES + MESSAGE_BYTES_MAX > self.batch.len() {
                self.send()?;
            }
        }
        Ok(used)
    }

    /// Sends what waits and says that this was all. The other side reads an end.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.seal(Kind::End)?;
        self.send()?;
        self.state = State::Finished;
        Ok(())
    }

    /// Makes a message of what was filled in.
    fn seal(&mut self, kind: Kind) -> io::Result<()> {
        let data = self.start + LEN_BYTES;
        let tag = data + self.filled + 1;
        self.batch[tag - 1] = kind.code();
        let sealed = self.sealer.seal(&mut self.batch[data..tag]).map_err(|fault| self.fail(fault.into()))?;
        self.batch[tag..tag + TAG_BYTES].copy_from_slice(&sealed);
        let len = (self.filled + 1 + TAG_BYTES) as u16;
        self.batch[self.start..data].copy_from_slice(&len.to_be_bytes());
        self.start = tag + TAG_BYTES;
        self.filled = 0;
        Ok(())
    }

    /// Sends all messages that are sealed.
    fn send(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.batch[..self.start]).map_err(|error| self.fail(error))?;
        self.traffic.sent.fetch_add(self.start as u64, Relaxed);
        self.start = 0;
        Ok(())
    }

    /// After an error nobody knows what has arrived.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.state = State::Failed;
        self.socket.shut(Shutdown::Both);
        error
    }
}

impl Write for DirectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.fill(|space| {
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.state != State::Open {
            return Err(LinkFault::Failed.into());
        }
        if self.filled > 0 {
            self.seal(Kind::Data)?;
        }
        if self.start > 0 { self.send() } else { Ok(()) }
    }
}

impl Drop for DirectWriter {
    fn drop(&mut self) {
        let is_finished = self.state == State::Finished;
        self.socket.shut(if is_finished { Shutdown::Write } else { Shutdown::Both });
    }
}

impl fmt::Debug for DirectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectWriter").field("waiting", &(self.start + self.filled)).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl DirectWriter {
    /// As if so many messages had been sent.
    pub(super) fn skip_to(&mut self, count: u64) {
        self.sealer.skip_to(count);
    }
}
