//! [`Fetch`]: many objects asked of a star at once, taken one after the other.

use super::error::{ProtocolFault, RemoteError};
use super::session::{Session, to_error};
use super::system::{Sessions, to_xattrs};
use orbit_cdc::hash_bytes;
use orbit_core::system::{SourceFile, SystemError, Xattr};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::system::{Call, FETCH_OBJECTS_MAX, Found, PARCEL_BYTES_MAX, Reply};
use orbit_core::{ByteRange, ContentHash, EntryKind, Metadata, RelPath};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

/// Bytes of the paths of one call: a frame to the star holds 1 MiB.
const PATH_BYTES_MAX: usize = 512 << 10;

/// An object as it was at one moment.
pub enum Fetched {
    /// A regular file that did not change while it was read.
    File(FetchedFile),
    /// A regular file that is too large to be fetched with others.
    Large,
    /// Anything else, with its extended attributes and, if it is a symbolic link, its text.
    Other(Metadata, Vec<Xattr>, Vec<u8>),
    /// It cannot be had.
    Failed(SystemError),
}

/// Objects on their way, in the order in which they were asked for.
pub struct Fetch {
    sessions: Arc<Sessions>,
    session: Option<Session>,
    with_xattrs: bool,
    /// Not asked for yet.
    later: VecDeque<RelPath>,
    /// Asked for.
    asked: VecDeque<RelPath>,
    /// Both, to be looked up.
    known: HashSet<RelPath>,
    arrived: VecDeque<Found>,
    contents: Arc<Vec<u8>>,
    /// Where in `contents` the next file begins.
    next: usize,
}

impl Fetch {
    pub(super) fn new(sessions: Arc<Sessions>, paths: VecDeque<RelPath>, with_xattrs: bool) -> Self {
        Self {
            sessions,
            session: None,
            with_xattrs,
            known: paths.iter().cloned().collect(),
            later: paths,
            asked: VecDeque::new(),
            arrived: VecDeque::new(),
            contents: Arc::default(),
            next: 0,
        }
    }

    /// Asks for the first of them, so that they are on their way.
    pub fn begin(&mut self) -> Result<(), RemoteError> {
        if self.asked.is_empty() && !self.later.is_empty() {
            self.ask()?;
        }
        Ok(())
    }

    /// Takes the object at `path`, passing over those before it; none if it was not asked for, or has been passed.
    pub fn take(&mut self, path: &RelPath) -> Result<Option<Fetched>, SystemError> {
        if !self.known.contains(path) {
            return Ok(None);
        }
        loop {
            let (passed, object) = self.next_object().map_err(|error| error.on(path))?;
            self.known.remove(&passed);
            if passed == *path {
                return Ok(Some(object));
            }
        }
    }

    fn next_object(&mut self) -> Result<(RelPath, Fetched), RemoteError> {
        self.begin()?;
        while self.arrived.is_empty() {
            self.receive()?;
        }
        let found = self.arrived.pop_front().expect("the loop ends when there is one");
        let path = self.asked.pop_front().ok_or(ProtocolFault::TooMuch)?;
        if self.asked.is_empty() {
            self.end()?;
        }
        let object = match found {
            Found::File(metadata, xattrs, len, hash) => {
                let begin = self.next;
                let bytes = begin..begin.saturating_add(len as usize);
                let content = self.contents.get(bytes.clone()).ok_or(ProtocolFault::TooMuch)?;
                if !metadata.is_file() || metadata.size != u64::from(len) {
                    return Err(ProtocolFault::TooMuch.into());
                }
                self.next = bytes.end;
                if hash_bytes(content) != hash {
                    return Err(ProtocolFault::Damaged.into());
                }
                let contents = Arc::clone(&self.contents);
                Fetched::File(FetchedFile { metadata, xattrs: to_xattrs(xattrs), contents, bytes })
            }
            Found::Large => Fetched::Large,
            Found::Symlink(metadata, xattrs, text) if metadata.kind == EntryKind::Symlink => {
                Fetched::Other(metadata, to_xattrs(xattrs), text.0)
            }
            Found::Other(metadata, xattrs) if metadata.kind != EntryKind::Symlink => {
                Fetched::Other(metadata, to_xattrs(xattrs), Vec::new())
            }
            Found::Symlink(..) | Found::Other(..) => return Err(ProtocolFault::TooMuch.into()),
            Found::Failed(error) => Fetched::Failed(to_error(error)?),
        };
        Ok((path, object))
    }

    fn ask(&mut self) -> Result<(), RemoteError> {
        let mut bytes = 0;
        while let Some(path) = self.later.front()
            && self.asked.len() < FETCH_OBJECTS_MAX
            && (bytes == 0 || bytes + path.as_bytes().len() + 8 <= PATH_BYTES_MAX)
        {
            bytes += path.as_bytes().len() + 8;
            self.asked.extend(self.later.pop_front());
        }
        let paths = self.asked.iter().map(|path| Octets(path.as_bytes().to_vec())).collect();
        let call = Call::Fetch { paths, with_xattrs: self.with_xattrs };
        let (session, reply) = self.sessions.exchange(&call)?;
        self.session = Some(session);
        self.accept(reply)
    }

    fn receive(&mut self) -> Result<(), RemoteError> {
        let session = self.session.as_mut().ok_or(ProtocolFault::TooMuch)?;
        let reply = session.receive()?;
        self.accept(reply)
    }

    fn accept(&mut self, reply: Reply) -> Result<(), RemoteError> {
        match (reply, &mut self.session) {
            (Reply::Parcel(parcel), Some(session)) if !parcel.found.is_empty() => {
                // What was taken of the last parcel may still be in use.
                let mut contents = Vec::new();
                session.receive_cargo(parcel.cargo, PARCEL_BYTES_MAX, &mut contents)?;
                (self.contents, self.next) = (Arc::new(contents), 0);
                self.arrived.extend(parcel.found);
                Ok(())
            }
            (reply, _) => Err(RemoteError::unexpected(&reply)),
        }
    }

    /// Takes the end of the answer.
    fn end(&mut self) -> Result<(), RemoteError> {
        let Some(mut session) = self.session.take() else { return Ok(()) };
        match session.receive()? {
            Reply::Done if self.arrived.is_empty() => {
                self.sessions.keep(session);
                Ok(())
            }
            reply => Err(RemoteError::unexpected(&reply)),
        }
    }
}

/// A small file, as it was at one moment.
pub struct FetchedFile {
    metadata: Metadata,
    xattrs: Vec<Xattr>,
    contents: Arc<Vec<u8>>,
    bytes: std::ops::Range<usize>,
}

impl SourceFile for FetchedFile {
    fn metadata(&self) -> io::Result<Metadata> {
        Ok(self.metadata)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = &self.contents[self.bytes.clone()];
        let rest = usize::try_from(offset).ok().and_then(|offset| content.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<ByteRange>> {
        let is_left = offset < self.metadata.size;
        Ok(ByteRange::new(offset, self.metadata.size.saturating_sub(offset)).ok().filter(|_| is_left))
    }

    fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        Ok(self.xattrs.clone())
    }

    fn is_settled(&self, _: &[(ByteRange, ContentHash)]) -> io::Result<Option<bool>> {
        Ok(Some(true))
    }
}
