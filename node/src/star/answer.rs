//! [`Job`]: one call, answered on a thread of its own.

use super::bulk::is_settled;
use super::cache::Lease;
use super::session::{Gone, Replies};
use super::{Shared, stream};
use crate::local::jail::Jail;
use crate::local::manifest_cache::ManifestCache as _;
use crate::local::source_file::LocalFile;
use crate::local::system::LocalSystem;
use orbit_core::filter::KeepAll;
use orbit_core::grid::Refusal;
use orbit_core::rel_path::display_name;
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions, SourceFile, SystemError, Xattr};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::system::{Call, Reply, WireSystemError};
use orbit_core::{ByteRange, Chunk, RelPath};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a file in one reply.
const READ_BYTES_MAX: u32 = 1 << 20;

/// Chunks in one reply.
pub(super) const CHUNKS_MAX: usize = 4_096;

/// Larger files' chunks are not kept unless they were asked for: 1 million of them are 36 MiB of memory.
const KEPT_BYTES_MAX: u64 = 64 << 30;

/// Extended attributes of one object in one reply: a frame holds 4 MiB.
const XATTR_BYTES_MAX: usize = 3 << 20;

/// Directories to be pruned that wait for the walk to take notice. More are forgotten: a prune only saves work, the
/// asker drops what it does not want by itself.
const PRUNES_WAITING: usize = 16_384;
/// Bytes of their paths.
const PRUNE_BYTES_WAITING: usize = 4 << 20;

/// What the asker said while its call runs.
#[derive(Default)]
pub(super) struct Asked {
    stop: Arc<AtomicBool>,
    prunes: Mutex<Prunes>,
    /// What the asker wants of the bundles it was offered last.
    wanted: Mutex<Option<Vec<u8>>>,
    spoke: Condvar,
}

#[derive(Default)]
struct Prunes {
    waiting: Vec<RelPath>,
    bytes: usize,
}

impl Asked {
    /// No more is wanted.
    pub fn stop(&self) {
        let _wanted = super::lock(&self.wanted);
        self.stop.store(true, Relaxed);
        self.spoke.notify_all();
    }

    /// These bundles are wanted.
    pub fn want(&self, wanted: Vec<u8>) {
        *super::lock(&self.wanted) = Some(wanted);
        self.spoke.notify_all();
    }

    /// Waits for what is wanted; none if no more is.
    pub fn wanted(&self) -> Option<Vec<u8>> {
        let mut wanted = super::lock(&self.wanted);
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(wanted) = wanted.take() {
                return Some(wanted);
            }
            wanted = self.spoke.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Set when no more is wanted.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Whether no more is wanted.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// This directory is not wanted.
    pub fn prune(&self, directory: RelPath) {
        let mut prunes = super::lock(&self.prunes);
        let bytes = prunes.bytes + directory.as_bytes().len();
        if prunes.waiting.len() < PRUNES_WAITING && bytes <= PRUNE_BYTES_WAITING {
            prunes.bytes = bytes;
            prunes.waiting.push(directory);
        }
    }

    /// Takes what is not wanted since the last time.
    pub fn take_prunes(&self) -> Vec<RelPath> {
        std::mem::take(&mut *super::lock(&self.prunes)).waiting
    }
}

/// What a session has open.
pub(super) struct Scene {
    pub jail: Arc<Jail>,
    pub file: Option<(RelPath, LocalFile)>,
    /// Whether no write can have been under way when it was opened.
    pub was_settled: bool,
    /// The only path there is, if only one is.
    only: Option<RelPath>,
    /// The session's place among those the star answers at a time. It goes wherever the scene goes: a call on a disk
    /// that hangs holds it for longer than anybody waits.
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Scene {
    /// A session in this directory.
    pub fn new(jail: Arc<Jail>, place: Option<Arc<OwnedSemaphorePermit>>) -> Self {
        Self { jail, file: None, was_settled: false, only: None, _place: place }
    }

    /// A session about one object in this directory.
    pub fn of_one(jail: Arc<Jail>, only: RelPath) -> Self {
        Self { jail, file: None, was_settled: false, only: Some(only), _place: None }
    }
}

/// A call to be answered.
pub(super) struct Job {
    pub scene: Scene,
    pub replies: Replies,
    pub asked: Arc<Asked>,
    pub shared: Arc<Shared>,
}

/// Why a call has no proper answer.
pub(super) enum NoAnswer {
    /// The operation failed.
    Failed(SystemError),
    /// What is asked for is refused.
    Refused(Refusal),
    /// Nobody is there to hear it.
    Gone,
}

impl From<SystemError> for NoAnswer {
    fn from(error: SystemError) -> Self {
        Self::Failed(error)
    }
}

impl From<Gone> for NoAnswer {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Job {
    /// Answers, and gives back what the session has open and the last reply, which is sent when this thread is done: it
    /// may be followed by the next call at once. None if nobody is there to hear it.
    pub fn run(mut self, call: &Call) -> (Scene, Option<Reply>) {
        let last = match self.answer(call) {
            Err(NoAnswer::Gone) => return (self.scene, None),
            _ if self.asked.is_stopped() => Reply::Done,
            Ok(reply) => reply,
            Err(NoAnswer::Failed(error)) => Reply::Failed(WireSystemError::from(&error)),
            Err(NoAnswer::Refused(refusal)) => {
                self.shared.counters.refused.fetch_add(1, Relaxed);
                Reply::Refused(refusal)
            }
        };
        (self.scene, Some(last))
    }

    /// Sends all replies but the last, which it returns.
    fn answer(&mut self, call: &Call) -> Result<Reply, NoAnswer> {
        let system = LocalSystem::new(Arc::clone(&self.scene.jail));
        match call {
            Call::Scan { start, one_file_system, threads } => {
                let threads = usize::from(*threads).min(cores());
                self.scan(&system, self.path(start)?, *one_file_system, threads)
            }
            Call::ScanKnown { start, one_file_system, threads } => {
                let threads = usize::from(*threads).min(cores());
                let options = ScanOptions {
                    start: self.path(start)?,
                    filter: Arc::new(KeepAll),
                    one_file_system: *one_file_system,
                    threads,
                };
                let mut scan = system.scan(&options)?;
                let counted = &self.shared.counters.entries_scanned;
                stream::send_known(&mut *scan, &self.replies, &self.asked, counted)?;
                Ok(Reply::Done)
            }
            Call::List { path } => self.list(&system, self.path(path)?),
            Call::Metadata { path } => Ok(Reply::Metadata(system.metadata(&self.path(path)?)?)),
            Call::ReadLink { path } => Ok(Reply::Bytes(system.read_link(&self.path(path)?)?)),
            Call::Xattrs { path } => {
                let path = self.path(path)?;
                Ok(xattrs(system.xattrs(&path)?, &path)?)
            }
            Call::ReadHeader { path, len } => {
                let len = (*len).min(READ_BYTES_MAX) as usize;
                Ok(Reply::Bytes(system.read_header(&self.path(path)?, len)?))
            }
            Call::HashRange { path, range } => self.hash(system, &self.path(path)?, *range),
            Call::Chunk { path, with_chunks } => self.chunk(system, &self.path(path)?, *with_chunks),
            Call::Open { path } => self.open(&system, self.path(path)?),
            Call::FileMetadata | Call::Read { .. } | Call::NextData { .. } | Call::FileXattrs => {
                self.of_file(call)
            }
            Call::Stream { range } => self.stream(*range),
            Call::Fetch { paths, with_xattrs } => self.fetch(paths, *with_xattrs),
            Call::Sketch => self.sketch(),
            Call::Cells { spans } => self.cells(spans),
            Call::Pick { spans } => self.pick(spans),
            Call::Again { spans } => self.again(spans),
            // The driver takes these.
            Call::Prune { .. }
            | Call::Want { .. }
            | Call::Stop
            | Call::Contents { .. }
            | Call::Manifests { .. } => Ok(Reply::Done),
        }
    }

    pub(super) fn path(&self, bytes: &[u8]) -> Result<RelPath, NoAnswer> {
        let path = RelPath::new(bytes).ok();
        let path = path.filter(|path| self.scene.only.as_ref().is_none_or(|only| only == path));
        path.ok_or_else(|| {
            NoAnswer::Refused(Refusal::OutsideJail {
                node: self.shared.name(),
                path: display_name(&bytes[..bytes.len().min(4_096)]).into_owned(),
                allowed: vec![
                    display_name(self.scene.jail.root_path().as_os_str().as_encoded_bytes()).into_owned(),
                ],
            })
        })
    }

    fn scan(
        &self,
        system: &LocalSystem,
        start: RelPath,
        one_file_system: bool,
        threads: usize,
    ) -> Result<Reply, NoAnswer> {
        let options = ScanOptions { start, filter: Arc::new(KeepAll), one_file_system, threads };
        let mut scan = system.scan(&options)?;
        let counted = &self.shared.counters.entries_scanned;
        stream::send(&mut *scan, &self.replies, &self.asked, counted)?;
        Ok(Reply::Done)
    }

    fn list(&self, system: &LocalSystem, path: RelPath) -> Result<Reply, NoAnswer> {
        let options =
            ScanOptions { start: path, filter: Arc::new(KeepAll), one_file_system: false, threads: 0 };
        let mut scan = system.scan(&options)?;
        match scan.next() {
            Some(Ok(listing)) => {
                let counted = &self.shared.counters.entries_scanned;
                stream::send_one(&listing, &self.replies, counted)?;
                Ok(Reply::Done)
            }
            Some(Err(fault)) => Err(fault.error.into()),
            None => Ok(Reply::Done),
        }
    }

    fn hash(&self, system: LocalSystem, path: &RelPath, range: ByteRange) -> Result<Reply, NoAnswer> {
        let hash = system.with_stop(Arc::clone(&self.asked.stop)).hash_range(path, range)?;
        self.shared.counters.bytes_hashed.fetch_add(range.len(), Relaxed);
        Ok(Reply::Hash(hash))
    }

    fn chunk(&self, system: LocalSystem, path: &RelPath, with_chunks: bool) -> Result<Reply, NoAnswer> {
        let cache = Arc::new(self.shared.cache.lease());
        let system = system
            .with_stop(Arc::clone(&self.asked.stop))
            .with_cache(Arc::clone(&cache) as Arc<_>)
            .with_threads(cores());
        let mut waiting: Vec<Chunk> = Vec::new();
        let mut gone = Ok(());
        let mut bytes = 0;
        // Whatever is read is read for the grid's universe, too.
        let detail = if with_chunks || keeps_chunks(&system, path, &cache) {
            ChunkDetail::Chunks
        } else {
            ChunkDetail::RootOnly
        };
        let hash = system.chunk(path, detail, &mut |chunk| {
            bytes += u64::from(chunk.len);
            if !with_chunks {
                return;
            }
            waiting.push(chunk);
            if waiting.len() == CHUNKS_MAX {
                gone = self.replies.send(&Reply::Chunks(std::mem::take(&mut waiting)));
                if gone.is_err() {
                    self.asked.stop();
                }
            }
        });
        gone?;
        let hash = hash?;
        if !cache.has_answered() {
            let size = match detail {
                ChunkDetail::Chunks => bytes,
                ChunkDetail::RootOnly => system.metadata(path).map_or(0, |found| found.size),
            };
            self.shared.counters.bytes_hashed.fetch_add(size, Relaxed);
        }
        if !waiting.is_empty() {
            self.replies.send(&Reply::Chunks(waiting))?;
        }
        Ok(Reply::Hash(hash))
    }

    fn open(&mut self, system: &LocalSystem, path: RelPath) -> Result<Reply, NoAnswer> {
        self.scene.file = None;
        let file = LocalFile::open(system.jail(), &path)?;
        let metadata = file.metadata().map_err(SystemError::io("look at", &path))?;
        file.expect_sequential(metadata.size);
        self.scene.was_settled = is_settled(&metadata);
        self.scene.file = Some((path, file));
        Ok(Reply::Metadata(metadata))
    }

    /// The open file.
    pub(super) fn open_file(&self) -> Result<(&RelPath, &LocalFile), NoAnswer> {
        let open = self.scene.file.as_ref().map(|(path, file)| (path, file));
        open.ok_or_else(|| {
            let none = io::Error::new(io::ErrorKind::NotFound, "no file is open in this session");
            SystemError::io("read", &RelPath::root())(none).into()
        })
    }

    fn of_file(&self, call: &Call) -> Result<Reply, NoAnswer> {
        let (path, file) = self.open_file()?;
        match *call {
            Call::FileMetadata => {
                Ok(Reply::Metadata(file.metadata().map_err(SystemError::io("look at", path))?))
            }
            Call::Read { offset, len } => {
                let mut buffer = vec![0; len.min(READ_BYTES_MAX) as usize];
                let read = file.read_at(&mut buffer, offset).map_err(SystemError::io("read", path))?;
                buffer.truncate(read);
                Ok(Reply::Bytes(buffer))
            }
            Call::NextData { offset } => {
                Ok(Reply::Range(file.next_data(offset).map_err(SystemError::io("read", path))?))
            }
            _ => {
                let found = file.xattrs().map_err(SystemError::io("read the attributes of", path))?;
                Ok(xattrs(found, path)?)
            }
        }
    }
}

/// Whether the chunks of a file whose root alone is wanted are kept: if it must be read for that anyway.
fn keeps_chunks(system: &LocalSystem, path: &RelPath, cache: &Lease) -> bool {
    cache.universe().is_some_and(|universe| {
        let found = system.metadata(path).ok().filter(|found| found.size <= KEPT_BYTES_MAX);
        found.is_some_and(|found| universe.root(&found.identity()).is_none())
    })
}

fn xattrs(found: Vec<Xattr>, path: &RelPath) -> Result<Reply, SystemError> {
    let bytes: usize = found.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 16).sum();
    if bytes > XATTR_BYTES_MAX {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, "they exceed 3 MiB");
        return Err(SystemError::io("send the attributes of", path)(error));
    }
    let pair = |xattr: Xattr| (Octets(xattr.name), Octets(xattr.value));
    Ok(Reply::Xattrs(found.into_iter().map(pair).collect()))
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
