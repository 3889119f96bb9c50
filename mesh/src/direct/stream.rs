//! [`DirectStream`]: an established direct link.

use super::handshake::Keys;
use super::reader::DirectReader;
use super::socket::Socket;
use super::writer::DirectWriter;
use crate::cipher::Cipher;
use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

/// Bytes that went over links, as the network saw them.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

impl Traffic {
    /// Bytes that came in.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes that went out.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// Where the other end of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At this address.
    Tcp(SocketAddr),
    /// Behind a stream of the mesh, which carries the link.
    Mesh,
}

/// As a person is told.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) if address.is_ipv4() => write!(f, "tcp4 {address}"),
            Self::Tcp(address) => write!(f, "tcp6 {address}"),
            Self::Mesh => f.write_str("inside the mesh"),
        }
    }
}

/// An established link. It blocks, and implements [`Read`], [`BufRead`] and [`Write`]; the halves can be given to two threads.
///
/// What is written waits for [`flush`](Write::flush) or for a full batch. The other side reads an end only after
/// [`finish`](DirectWriter::finish); a stream that is dropped without is cut, and reads as an error there.
#[derive(Debug)]
pub struct DirectStream {
    reader: DirectReader,
    writer: DirectWriter,
    cipher: Cipher,
    end: End,
}

impl DirectStream {
    pub(super) fn over_tcp(stream: TcpStream, keys: Keys, cipher: Cipher) -> io::Result<Self> {
        let end = End::Tcp(stream.peer_addr()?);
        Ok(Self::new(Socket::tcp(stream)?, keys, cipher, end))
    }

    pub(super) fn over_local(stream: UnixStream, keys: Keys, cipher: Cipher) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        Ok(Self::new(Socket::Local(stream), keys, cipher, End::Mesh))
    }

    fn new(socket: Socket, keys: Keys, cipher: Cipher, end: End) -> Self {
        let socket = Arc::new(socket);
        let traffic = Arc::new(Traffic::default());
        Self {
            reader: DirectReader::new(Arc::clone(&socket), keys.opener, Arc::clone(&traffic)),
            writer: DirectWriter::new(socket, keys.sealer, traffic),
            cipher,
            end,
        }
    }

    /// Counts what goes over it here from now on.
    pub fn count_in(&mut self, traffic: &Arc<Traffic>) {
        self.reader.count_in(Arc::clone(traffic));
        self.writer.count_in(Arc::clone(traffic));
    }

    /// The cipher it uses.
    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Where the other end is.
    pub const fn end(&self) -> End {
        self.end
    }

    /// What can end it from another thread.
    pub fn breaker(&self) -> Breaker {
        Breaker(Arc::downgrade(self.writer.socket()))
    }

    /// Its two directions.
    pub fn split(self) -> (DirectReader, DirectWriter) {
        (self.reader, self.writer)
    }
}

impl Read for DirectStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for DirectStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl Write for DirectStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Ends a link from another thread: whoever reads or writes there is told that it was cut. It does not keep the link open.
#[derive(Clone)]
pub struct Breaker(Weak<Socket>);

impl Breaker {
    /// Ends it.
    pub fn break_off(&self) {
        if let Some(socket) = self.0.upgrade() {
            socket.shut(Shutdown::Both);
        }
    }

    /// Whether both halves of the link are gone.
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Breaker")
    }
}
