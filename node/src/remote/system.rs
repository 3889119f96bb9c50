//! [`RemoteSystem`], and [`browse`].

use super::error::{ProtocolFault, RemoteError};
use super::fetch::Fetch;
use super::file::RemoteFile;
use super::known::Known;
use super::link::StarLink;
use super::scan::{RemoteScan, read_listing};
use super::session::{Session, to_error};
use orbit_cdc::{ManifestBuilder, ORBIT_64K};
use orbit_core::rel_path::display_name;
use orbit_core::system::{ChunkDetail, OrbitSystem, Scan, ScanOptions, SourceFile, SystemError, Xattr};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::system::{Call, Opened, Reply};
use orbit_core::{ByteRange, Chunk, ContentHash, Listing, Metadata, RelPath};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Sessions kept for the next call.
const IDLE_MAX: usize = 8;

/// Longest header that is read.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// A tree of a star. Clones share their sessions.
///
/// Each call has a session to itself while it runs, so several threads can work side by side.
#[derive(Clone)]
pub struct RemoteSystem(Arc<Sessions>);

/// The sessions of one tree.
pub(super) struct Sessions {
    link: Arc<dyn StarLink>,
    path: Vec<u8>,
    /// What the path turned out to be when the first session was opened.
    opened: Opened,
    idle: Mutex<Vec<Session>>,
    /// Bytes that sessions carried, both ways.
    wire: Arc<AtomicU64>,
}

impl RemoteSystem {
    /// Opens an absolute path of a star. If it is a directory, it is the system's root, and so is the path that is
    /// returned; else its directory is the root, and the path its name.
    pub fn open(link: Arc<dyn StarLink>, path: Vec<u8>) -> Result<(Self, RelPath), RemoteError> {
        let wire = Arc::default();
        let (session, opened) = Session::open(&*link, &path, false, &wire)?;
        let start = RelPath::new(opened.start.clone()).map_err(|_| ProtocolFault::Path)?;
        let sessions = Sessions { link, path, opened, idle: Mutex::new(vec![session]), wire };
        Ok((Self(Arc::new(sessions)), start))
    }

    pub(super) const fn of(sessions: Arc<Sessions>) -> Self {
        Self(sessions)
    }

    /// The star's name, as it says itself.
    pub fn node(&self) -> &str {
        &self.0.opened.node
    }

    /// Bytes that crossed the network for it so far, both ways.
    pub fn bytes_wire(&self) -> u64 {
        self.0.wire.load(Ordering::Relaxed)
    }

    /// Walks a tree of which this machine holds a copy: what `own` lists, in the same way, is sent only where it differs.
    pub fn scan_known(
        &self,
        options: &ScanOptions,
        own: Box<dyn Scan>,
    ) -> Result<Box<dyn Scan>, SystemError> {
        Ok(Box::new(RemoteScan::start(Arc::clone(&self.0), options, Some(Known::new(own)))?))
    }

    /// Asks for many objects at once, to be taken in this order.
    pub fn fetch(&self, paths: VecDeque<RelPath>, with_xattrs: bool) -> Fetch {
        Fetch::new(Arc::clone(&self.0), paths, with_xattrs)
    }

    /// Opens a regular file, with what only a star's files can do.
    pub(crate) fn open_remote(&self, path: &RelPath) -> Result<RemoteFile, SystemError> {
        let call = Call::Open { path: path.as_bytes().to_vec() };
        let (session, reply) = self.0.exchange(&call).map_err(|error| error.on(path))?;
        match reply {
            Reply::Metadata(_) => Ok(RemoteFile::new(session, Arc::clone(&self.0))),
            Reply::Failed(error) => {
                let error = to_error(error).map_err(|error| error.on(path))?;
                self.0.keep(session);
                Err(error)
            }
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    /// Has one call answered by one reply.
    fn call(&self, path: &RelPath, call: &Call) -> Result<Reply, SystemError> {
        let (session, reply) = self.0.exchange(call).map_err(|error| error.on(path))?;
        match reply {
            Reply::Failed(error) => {
                let error = to_error(error).map_err(|error| error.on(path))?;
                self.0.keep(session);
                Err(error)
            }
            reply if reply.ends() => {
                self.0.keep(session);
                Ok(reply)
            }
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }
}

impl Sessions {
    /// Sends a call on a session and waits for the first reply.
    ///
    /// A session that was kept may have ended meanwhile: then the call, which has no effects, is made once more on a
    /// fresh one.
    pub fn exchange(&self, call: &Call) -> Result<(Session, Reply), RemoteError> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut session) = kept {
            match session.ask(call) {
                Ok(reply) => return Ok((session, reply)),
                Err(RemoteError::Link(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let (mut session, opened) = Session::open(&*self.link, &self.path, false, &self.wire)?;
        if opened.start != self.opened.start {
            return Err(ProtocolFault::Path.into());
        }
        let reply = session.ask(call)?;
        Ok((session, reply))
    }

    /// Keeps a session whose last call is over.
    pub fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(session);
        }
    }
}

impl OrbitSystem for RemoteSystem {
    fn scan(&self, options: &ScanOptions) -> Result<Box<dyn Scan>, SystemError> {
        Ok(Box::new(RemoteScan::start(Arc::clone(&self.0), options, None)?))
    }

    fn metadata(&self, path: &RelPath) -> Result<Metadata, SystemError> {
        match self.call(path, &Call::Metadata { path: path.as_bytes().to_vec() })? {
            Reply::Metadata(metadata) => Ok(metadata),
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, SystemError> {
        match self.call(path, &Call::ReadLink { path: path.as_bytes().to_vec() })? {
            Reply::Bytes(text) => Ok(text),
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    fn xattrs(&self, path: &RelPath) -> Result<Vec<Xattr>, SystemError> {
        match self.call(path, &Call::Xattrs { path: path.as_bytes().to_vec() })? {
            Reply::Xattrs(pairs) => Ok(to_xattrs(pairs)),
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    fn read_header(&self, path: &RelPath, len: usize) -> Result<Vec<u8>, SystemError> {
        let len = len.min(HEADER_BYTES_MAX);
        let call = Call::ReadHeader { path: path.as_bytes().to_vec(), len: len as u32 };
        match self.call(path, &call)? {
            Reply::Bytes(bytes) if bytes.len() <= len => Ok(bytes),
            Reply::Bytes(_) => Err(RemoteError::Protocol(ProtocolFault::TooMuch).on(path)),
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    fn hash_range(&self, path: &RelPath, range: ByteRange) -> Result<ContentHash, SystemError> {
        match self.call(path, &Call::HashRange { path: path.as_bytes().to_vec(), range })? {
            Reply::Hash(hash) => Ok(hash),
            reply => Err(RemoteError::unexpected(&reply).on(path)),
        }
    }

    fn chunk(
        &self,
        path: &RelPath,
        detail: ChunkDetail,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<ContentHash, SystemError> {
        let with_chunks = detail == ChunkDetail::Chunks;
        let call = Call::Chunk { path: path.as_bytes().to_vec(), with_chunks };
        let (mut session, mut reply) = self.0.exchange(&call).map_err(|error| error.on(path))?;
        // The chunks are the proof of the identity, so they are not taken on trust.
        let mut manifest = ManifestBuilder::new(&ORBIT_64K, ());
        loop {
            match reply {
                Reply::Chunks(chunks) if with_chunks => {
                    for chunk in chunks {
                        if chunk.len == 0 || chunk.len as usize > ORBIT_64K.max_len() {
                            return Err(RemoteError::Protocol(ProtocolFault::Chunks).on(path));
                        }
                        let Ok(()) = manifest.push(chunk);
                        sink(chunk);
                    }
                }
                Reply::Hash(hash) => {
                    let Ok((root, ())) = manifest.finish();
                    if with_chunks && root.identity() != hash {
                        return Err(RemoteError::Protocol(ProtocolFault::Chunks).on(path));
                    }
                    self.0.keep(session);
                    return Ok(hash);
                }
                Reply::Failed(error) => {
                    let error = to_error(error).map_err(|error| error.on(path))?;
                    self.0.keep(session);
                    return Err(error);
                }
                reply => return Err(RemoteError::unexpected(&reply).on(path)),
            }
            reply = session.receive().map_err(|error| error.on(path))?;
        }
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn SourceFile>, SystemError> {
        Ok(Box::new(self.open_remote(path)?))
    }
}

impl fmt::Debug for RemoteSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSystem")
            .field("node", &self.0.opened.node)
            .field("path", &display_name(&self.0.path))
            .finish_non_exhaustive()
    }
}

/// Attributes as they travel, as the contract has them.
pub(super) fn to_xattrs(pairs: Vec<(Octets, Octets)>) -> Vec<Xattr> {
    pairs.into_iter().map(|(name, value)| Xattr { name: name.0, value: value.0 }).collect()
}

/// What an absolute path of a star holds.
#[derive(Debug)]
pub enum Browsed {
    /// It is a directory: its entries.
    Directory(Listing),
    /// It lies above the star's allowed paths: names in it that lead to them.
    Ways(Vec<Vec<u8>>),
    /// It is something else: its name, and what it is.
    Entry(Vec<u8>, Metadata),
}

/// Looks at one absolute path of a star.
#[expect(clippy::needless_pass_by_value, reason = "as `RemoteSystem::open` takes it")]
pub fn browse(link: &dyn StarLink, path: Vec<u8>) -> Result<Browsed, RemoteError> {
    let (mut session, opened) = Session::open(link, &path, true, &Arc::default())?;
    if !opened.ways.is_empty() {
        let names = opened.ways.into_iter().map(|name| name.0);
        let is_name = |name: &Vec<u8>| RelPath::root().join(name).is_ok();
        let names: Vec<Vec<u8>> = names.collect();
        return if names.iter().all(is_name) {
            Ok(Browsed::Ways(names))
        } else {
            Err(ProtocolFault::Path.into())
        };
    }
    let start = RelPath::new(opened.start).map_err(|_| ProtocolFault::Path)?;
    let failed = |error| match to_error(error) {
        Ok(source) => RemoteError::Failed { path: display_name(&path).into_owned(), source },
        Err(error) => error,
    };
    if let Some(name) = start.name() {
        return match session.ask(&Call::Metadata { path: start.as_bytes().to_vec() })? {
            Reply::Metadata(metadata) => Ok(Browsed::Entry(name.to_vec(), metadata)),
            Reply::Failed(error) => Err(failed(error)),
            reply => Err(RemoteError::unexpected(&reply)),
        };
    }
    session.send(&Call::List { path: Vec::new() })?;
    read_listing(&mut session)?.map(Browsed::Directory).map_err(failed)
}
