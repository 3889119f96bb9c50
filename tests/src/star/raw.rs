//! [`Asker`]: an asker that says whatever it is told to, byte by byte.

use super::Link;
use orbit_core::grid::Fence;
use orbit_core::wire::system::{Call, Opened, Opening, Reply};
use orbit_core::wire::{decode, encode};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a star may take for anything a test asks of it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A raw stream to a star.
pub struct Asker(UnixStream);

impl Asker {
    /// Connects, and says nothing.
    ///
    /// # Panics
    /// If there is no stream to be had.
    pub fn connect(link: &Link) -> Self {
        let stream = link.connect().expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("sets a deadline");
        stream.set_write_timeout(Some(PATIENCE)).expect("sets a deadline");
        Self(stream)
    }

    /// Connects and opens a path.
    pub fn open(link: &Link, path: &[u8], browse: bool) -> (Self, Reply) {
        let mut asker = Self::connect(link);
        let reply = asker.begin(path, browse);
        (asker, reply)
    }

    /// Opens a directory.
    ///
    /// # Panics
    /// If that is refused.
    pub fn inside(link: &Link, path: &[u8]) -> Self {
        match Self::open(link, path, false) {
            (asker, Reply::Opened(Opened { start, ways, .. })) if start.is_empty() && ways.is_empty() => {
                asker
            }
            (_, reply) => panic!("{} was not opened: {reply:?}", String::from_utf8_lossy(path)),
        }
    }

    /// Sends an opening and waits for the reply.
    ///
    /// # Panics
    /// If none comes.
    pub fn begin(&mut self, path: &[u8], browse: bool) -> Reply {
        self.say(&encode(&Opening { fence: Fence::default(), path: path.to_vec(), browse }))
            .expect("it is heard");
        self.hear().expect("an opening is answered")
    }

    /// Sends a call and gives all its replies.
    pub fn ask(&mut self, call: &Call) -> io::Result<Vec<Reply>> {
        self.say(&encode(call))?;
        let mut replies = Vec::new();
        loop {
            let reply = self.hear()?;
            let ends = reply.ends();
            replies.push(reply);
            if ends {
                return Ok(replies);
            }
        }
    }

    /// Sends a frame.
    pub fn say(&mut self, body: &[u8]) -> io::Result<()> {
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(body);
        self.write(&frame)
    }

    /// Sends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Waits for a reply.
    pub fn hear(&mut self) -> io::Result<Reply> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len)?;
        let mut body = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut body)?;
        decode(&body).map_err(io::Error::other)
    }

    /// Waits until the star closes the stream; gives what came before that.
    pub fn closed(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(rest),
            result => result.map(|_| rest),
        }
    }
}
