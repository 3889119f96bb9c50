//! [`DirectReader`]: what comes in on a direct link.

use super::seal::Opener;
use super::socket::Socket;
use super::stream::Traffic;
use super::{BATCH_BYTES, Kind, LEN_BYTES, LinkFault, MESSAGE_BYTES_MAX, TAG_BYTES};
use std::fmt;
use std::io::{self, BufRead, Read};
use std::net::Shutdown;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The reading half of a link. [`fill_buf`](BufRead::fill_buf) gives data where it was decrypted, a message at a time.
pub struct DirectReader {
    socket: Arc<Socket>,
    opener: Opener,
    traffic: Arc<Traffic>,
    /// What has arrived.
    arrived: Box<[u8]>,
    /// Where in it messages lie that are not opened.
    sealed: Range<usize>,
    /// Where in it data lies that is not taken yet.
    data: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The other side said that this was all.
    Ended,
    Failed,
}

impl DirectReader {
    pub(super) fn new(socket: Arc<Socket>, opener: Opener, traffic: Arc<Traffic>) -> Self {
        let arrived = vec![0; BATCH_BYTES].into_boxed_slice();
        Self { socket, opener, traffic, arrived, sealed: 0..0, data: 0..0, state: State::Open }
    }

    pub(super) fn count_in(&mut self, traffic: Arc<Traffic>) {
        self.traffic = traffic;
    }

    /// Opens the next message. Afterwards there is data, or the end was reached.
    fn next(&mut self) -> io::Result<()> {
        match self.state {
            State::Open => {}
            State::Ended => return Ok(()),
            State::Failed => return Err(LinkFault::Failed.into()),
        }
        let opened = self.arrive().and_then(|sealed| Ok(self.open(sealed)?));
        opened.inspect_err(|_| {
            self.state = State::Failed;
            self.socket.shut(Shutdown::Both);
        })
    }

    /// Waits until a whole message is there, and takes it: where it lies, without its length.
    fn arrive(&mut self) -> io::Result<Range<usize>> {
        loop {
            let head = self.arrived[self.sealed.clone()].first_chunk().copied();
            let len = head.map_or(0, |head: [u8; LEN_BYTES]| usize::from(u16::from_be_bytes(head)));
            if head.is_some() && len <= TAG_BYTES {
                return Err(LinkFault::NoMessage.into());
            }
            let wanted = LEN_BYTES + len;
            if head.is_some() && self.sealed.len() >= wanted {
                let message = self.sealed.start + LEN_BYTES..self.sealed.start + wanted;
                self.sealed.start = message.end;
                return Ok(message);
            }
            self.make_room();
            let read = self.socket.read(&mut self.arrived[self.sealed.end..])?;
            if read == 0 {
                return Err(LinkFault::Cut.into());
            }
            self.traffic.received.fetch_add(read as u64, Relaxed);
            self.sealed.end += read;
        }
    }

    /// Moves the beginning of a message to the front if the rest of it would not fit where it lies.
    fn make_room(&mut self) {
        if self.sealed.is_empty() {
            self.sealed = 0..0;
        } else if self.sealed.start + LEN_BYTES + MESSAGE_BYTES_MAX > self.arrived.len() {
            self.arrived.copy_within(self.sealed.clone(), 0);
            self.sealed = 0..self.sealed.len();
        }
    }

    /// Opens a message where it lies.
    fn open(&mut self, sealed: Range<usize>) -> Result<(), LinkFault> {
        let start = sealed.start;
        let len = self.opener.open(&mut self.arrived[sealed])?;
        let (kind, data) = self.arrived[start..start + len].split_last().ok_or(LinkFault::NoMessage)?;
        match Kind::of(*kind) {
            Some(Kind::Data) if !data.is_empty() => self.data = start..start + data.len(),
            Some(Kind::End) if data.is_empty() => self.state = State::Ended,
            _ => return Err(LinkFault::NoMessage),
        }
        Ok(())
    }
}

impl Read for DirectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let data = self.fill_buf()?;
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl BufRead for DirectReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.data.is_empty() {
            self.next()?;
        }
        Ok(&self.arrived[self.data.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.data.start += amount.min(self.data.len());
    }
}

impl fmt::Debug for DirectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectReader").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl DirectReader {
    /// As if so many messages had arrived.
    pub(super) fn skip_to(&mut self, count: u64) {
        self.opener.skip_to(count);
    }
}
