//! [`RemoteFile`]: a file that a star holds open.

use super::error::{ProtocolFault, RemoteError};
use super::session::{Session, to_error};
use super::system::{Sessions, to_xattrs};
use orbit_cdc::hash_bytes;
use orbit_core::system::{FileParts, SourceFile, SystemError, Xattr};
use orbit_core::wire::system::{Call, PIECE_BYTES_MAX, Reply, SHORT_HASH_LEN, pack_spans, take_sketched};
use orbit_core::{ByteRange, ContentHash, Metadata};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes asked for at once; the star sends no more.
const READ_BYTES_MAX: usize = 1 << 20;
/// Spans that are looked at again by one call: at most 256 MiB, so that the star answers soon.
const SPANS_AGAIN: usize = 256;

/// A regular file that is held open at the star for as long as this lives.
pub struct RemoteFile {
    held: Mutex<Held>,
    sessions: Arc<Sessions>,
}

/// What a file's session is doing.
struct Held {
    /// None once it broke: the file that was open went with it.
    session: Option<Session>,
    stream: Option<Stream>,
    /// The piece that was handed out last, and its hash at the star.
    told: Option<(u64, usize, ContentHash)>,
}

/// A range on its way.
struct Stream {
    /// Where the bytes belong that come next.
    next: u64,
    end: u64,
    /// Of the last piece, what nobody took yet.
    rest: Vec<u8>,
    taken: usize,
}

impl RemoteFile {
    pub(super) fn new(session: Session, sessions: Arc<Sessions>) -> Self {
        let held = Held { session: Some(session), stream: None, told: None };
        Self { held: Mutex::new(held), sessions }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one call answered by one reply.
    fn ask(&self, call: &Call) -> io::Result<Reply> {
        self.held().ask(call).map_err(of_asking)
    }

    /// Asks a call about the file of which the answers are pieces; each is given to `sink`. Gives the last reply.
    pub(crate) fn gather(&self, call: &Call, sink: &mut dyn FnMut(&[u8])) -> Result<Reply, SystemErrorOr> {
        let mut held = self.held();
        held.settle()?;
        let mut session = held.take_session()?;
        session.send(call)?;
        let mut piece = Vec::new();
        loop {
            match session.receive()? {
                Reply::Piece(told) => {
                    session.receive_cargo(told.cargo, PIECE_BYTES_MAX, &mut piece)?;
                    if hash_bytes(&piece) != told.hash {
                        return Err(RemoteError::from(ProtocolFault::Damaged).into());
                    }
                    sink(&piece);
                }
                Reply::Failed(error) => {
                    let error = to_error(error)?;
                    held.session = Some(session);
                    return Err(error.into());
                }
                reply if reply.ends() => {
                    held.session = Some(session);
                    return Ok(reply);
                }
                reply => return Err(RemoteError::unexpected(&reply).into()),
            }
        }
    }
}

/// Why a question about an open file has no answer.
pub(crate) enum SystemErrorOr {
    /// The operation failed.
    System(SystemError),
    /// The star, or the way to it, failed.
    Remote(RemoteError),
}

impl From<SystemError> for SystemErrorOr {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<RemoteError> for SystemErrorOr {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

/// As the contract has it: what the file system said at the star, or that the star is lost.
pub(crate) fn of_asking(error: SystemErrorOr) -> io::Error {
    match error {
        SystemErrorOr::System(SystemError::Io { source, .. }) => source,
        SystemErrorOr::System(error) => io::Error::other(error),
        SystemErrorOr::Remote(error) => error.into_io(),
    }
}

impl Held {
    fn take_session(&mut self) -> Result<Session, RemoteError> {
        self.session.take().ok_or_else(|| {
            let before = "the connection to the star broke before";
            RemoteError::Link(io::Error::new(io::ErrorKind::ConnectionReset, before))
        })
    }

    fn ask(&mut self, call: &Call) -> Result<Reply, SystemErrorOr> {
        self.settle()?;
        let mut session = self.take_session()?;
        match session.ask(call)? {
            Reply::Failed(error) => {
                let error = to_error(error)?;
                self.session = Some(session);
                Err(error.into())
            }
            reply if reply.ends() => {
                self.session = Some(session);
                Ok(reply)
            }
            reply => Err(RemoteError::unexpected(&reply).into()),
        }
    }

    /// Lets nothing be on its way any more.
    fn settle(&mut self) -> Result<(), SystemErrorOr> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let mut session = self.take_session()?;
        if stream.next < stream.end {
            session.send(&Call::Stop)?;
        }
        let mut piece = stream.rest;
        loop {
            match session.receive()? {
                Reply::Piece(told) => session.receive_cargo(told.cargo, PIECE_BYTES_MAX, &mut piece)?,
                // What went wrong with bytes that nobody wants is of no interest.
                Reply::Done | Reply::Failed(_) => break,
                reply => return Err(RemoteError::unexpected(&reply).into()),
            }
        }
        self.session = Some(session);
        Ok(())
    }

    fn begin(&mut self, range: ByteRange) -> Result<(), SystemErrorOr> {
        self.settle()?;
        let mut session = self.take_session()?;
        session.send(&Call::Stream { range })?;
        self.session = Some(session);
        self.stream = Some(Stream { next: range.offset(), end: range.end(), rest: Vec::new(), taken: 0 });
        Ok(())
    }

    /// Takes bytes of the stream; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SystemErrorOr> {
        let mut session = self.take_session()?;
        let Some(stream) = &mut self.stream else { return Ok(0) };
        self.told = None;
        if stream.taken == stream.rest.len() {
            let told = match session.receive()? {
                Reply::Piece(told) => told,
                Reply::Done => {
                    (self.session, self.stream) = (Some(session), None);
                    return Ok(0);
                }
                Reply::Failed(error) => {
                    let error = to_error(error)?;
                    (self.session, self.stream) = (Some(session), None);
                    return Err(error.into());
                }
                reply => return Err(RemoteError::unexpected(&reply).into()),
            };
            let len = told.cargo.bytes as usize;
            if len == 0 || len as u64 > stream.end - stream.next {
                return Err(RemoteError::from(ProtocolFault::TooMuch).into());
            }
            if let Some(exact) = buffer.get_mut(..len)
                && told.cargo.wire == told.cargo.bytes
            {
                // Whoever takes the piece whole hashes it anyway, and compares.
                session.receive_bytes(exact)?;
                self.told = Some((stream.next, len, told.hash));
                stream.next += len as u64;
                self.session = Some(session);
                return Ok(len);
            }
            session.receive_cargo(told.cargo, PIECE_BYTES_MAX, &mut stream.rest)?;
            stream.taken = 0;
            if hash_bytes(&stream.rest) != told.hash {
                return Err(RemoteError::from(ProtocolFault::Damaged).into());
            }
        }
        let rest = &stream.rest[stream.taken..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        stream.taken += len;
        stream.next += len as u64;
        self.session = Some(session);
        Ok(len)
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
        {
            let mut held = self.held();
            if held.stream.as_ref().is_some_and(|stream| stream.next == offset && offset < stream.end) {
                return held.read(buffer).map_err(of_asking);
            }
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

    fn read_ahead(&self, range: ByteRange) -> io::Result<()> {
        self.held().begin(range).map_err(of_asking)
    }

    fn told_hash(&self, range: ByteRange) -> Option<ContentHash> {
        let told = self.held().told.take()?;
        (told.0 == range.offset() && told.1 as u64 == range.len()).then_some(told.2)
    }

    /// The star looks again, by its own clock: nothing crosses the network twice.
    fn is_settled(&self, read: &[(ByteRange, ContentHash)]) -> io::Result<Option<bool>> {
        for read in read.chunks(SPANS_AGAIN) {
            let spans: Vec<ByteRange> = read.iter().map(|(span, _)| *span).collect();
            let mut hashes = Vec::with_capacity(spans.len() * ContentHash::LEN);
            let call = Call::Again { spans: pack_spans(&spans) };
            let last = self.gather(&call, &mut |piece| {
                let room = SPANS_AGAIN * ContentHash::LEN - hashes.len();
                hashes.extend_from_slice(&piece[..piece.len().min(room)]);
            });
            done(&last.map_err(of_asking)?)?;
            if hashes.is_empty() {
                return Ok(Some(true));
            }
            if !read.iter().map(|(_, hash)| &hash.as_bytes()[..]).eq(hashes.chunks(ContentHash::LEN)) {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    fn parts(&self) -> Option<&dyn FileParts> {
        Some(self)
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

impl FileParts for RemoteFile {
    fn sketch(&self, sink: &mut dyn FnMut(u64, u32)) -> io::Result<ContentHash> {
        let mut is_readable = true;
        let last = self.gather(&Call::Sketch, &mut |piece| {
            let mut rest = piece;
            while let Some((short, len)) = take_sketched(&mut rest) {
                sink(short, len);
            }
            is_readable &= rest.is_empty();
        });
        match last.map_err(of_asking)? {
            Reply::Hash(identity) if is_readable => Ok(identity),
            reply => unexpected(&reply),
        }
    }

    fn cells(&self, spans: &[ByteRange], sink: &mut dyn FnMut(u64)) -> io::Result<()> {
        let last = self.gather(&Call::Cells { spans: pack_spans(spans) }, &mut |piece| {
            for short in piece.as_chunks::<SHORT_HASH_LEN>().0 {
                sink(u64::from_le_bytes(*short));
            }
        });
        done(&last.map_err(of_asking)?)
    }

    fn pick(&self, spans: &[ByteRange], sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let last = self.gather(&Call::Pick { spans: pack_spans(spans) }, sink);
        done(&last.map_err(of_asking)?)
    }
}

fn done(reply: &Reply) -> io::Result<()> {
    if *reply == Reply::Done { Ok(()) } else { unexpected(reply) }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        // One on which something is on its way is of no use to others.
        let is_idle = held.stream.as_ref().is_none_or(|stream| stream.next >= stream.end);
        if is_idle
            && held.settle().is_ok()
            && let Some(session) = held.session.take()
        {
            self.sessions.keep(session);
        }
    }
}
