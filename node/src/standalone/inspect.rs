//! [`scan`] and [`hash`]: looking at a tree without changing it.

use super::error::{RunError, chain};
use super::observer::RunEvent;
use super::request::FilterRule;
use super::state::{UniverseCache, open_universe};
use super::trees::root_and_path;
use super::{Context, default_threads};
use crate::local::system::LocalSystem;
use crate::rules::Rules;
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions, SystemError};
use orbit_core::{ByteRange, Chunk, ContentHash, Metadata, RelPath};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{TrySendError, sync_channel};

/// One entry of a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanRow<'a> {
    /// The directory that holds it, below the endpoint.
    pub directory: &'a RelPath,
    /// Its name; empty for a file that is the endpoint itself.
    pub name: &'a [u8],
    /// What it is.
    pub metadata: &'a Metadata,
}

/// What is left out of a walk.
#[derive(Clone, Debug, Default)]
pub struct WalkRules {
    /// `--exclude` and `--include`.
    pub rules: Vec<FilterRule>,
    /// Files with patterns.
    pub ignore_files: Vec<PathBuf>,
    /// Do not descend into other file systems.
    pub one_file_system: bool,
}

/// Gives every entry below `path` to `sink`, in walk order. Directories that cannot be read are reported; the answer is
/// how many.
pub fn scan(
    context: &Context,
    path: &Path,
    walk: &WalkRules,
    sink: &mut dyn FnMut(ScanRow<'_>),
) -> Result<u64, RunError> {
    let (jail, start) = root_and_path(path)?;
    let system = LocalSystem::new(Arc::new(jail));
    if !start.is_root() {
        let metadata = system.metadata(&start)?;
        sink(ScanRow { directory: &RelPath::root(), name: start.as_bytes(), metadata: &metadata });
        return Ok(0);
    }
    each_listing(context, &system, walk, |listing| {
        for (name, metadata) in listing.iter() {
            sink(ScanRow { directory: &listing.path, name, metadata });
        }
    })
}

/// Walks a whole system. Gives the number of directories that could not be read.
pub(super) fn each_listing(
    context: &Context,
    system: &LocalSystem,
    walk: &WalkRules,
    mut visit: impl FnMut(&orbit_core::Listing),
) -> Result<u64, RunError> {
    let options = ScanOptions {
        start: RelPath::root(),
        filter: Arc::new(Rules::new(&walk.rules, &walk.ignore_files)?),
        one_file_system: walk.one_file_system,
        threads: default_threads(),
    };
    let mut faults = 0;
    let mut scan = system.scan(&options)?;
    while let Some(found) = scan.next() {
        if context.stop.load(Ordering::Relaxed) {
            return Err(RunError::Interrupted);
        }
        match found {
            Ok(listing) => {
                context.progress.scanned.fetch_add(listing.len() as u64, Ordering::Relaxed);
                visit(&listing);
            }
            Err(fault) => {
                faults += 1;
                context.observer.event(&RunEvent::Fault { path: &fault.path, message: &chain(&fault.error) });
            }
        }
    }
    Ok(faults)
}

/// A hashed file.
#[derive(Clone, Debug)]
pub struct HashRow {
    /// Below the endpoint; the file's name if the endpoint is a file.
    pub path: RelPath,
    /// Its length in bytes.
    pub size: u64,
    /// BLAKE3 of its bytes, as every other tool computes it; with chunks, the root of the manifest over them.
    pub hash: ContentHash,
    /// Its chunks, if they were asked for.
    pub chunks: Option<Vec<Chunk>>,
}

/// Hashes every regular file below `path` and gives them to `sink` in walk order. What cannot be read is reported; the
/// answer is how many.
pub fn hash(
    context: &Context,
    path: &Path,
    walk: &WalkRules,
    detail: ChunkDetail,
    sink: &mut dyn FnMut(HashRow),
) -> Result<u64, RunError> {
    let (jail, start) = root_and_path(path)?;
    let mut system = LocalSystem::new(Arc::new(jail));
    let cache = open_universe(&context.state_dir, context.observer.as_ref()).map(Arc::new);
    if let Some(cache) = &cache {
        system = system.with_cache(cache.clone());
    }
    let hashing = Hashing { system, cache: cache.clone(), detail };
    let faults = if start.is_root() {
        hash_tree(context, &hashing, walk, sink)
    } else {
        // One file gets all the threads.
        hashing.with_threads(default_threads()).file(start).map_err(RunError::from).map(|row| {
            sink(row);
            0
        })
    };
    if let Some(cache) = cache
        && let Err(error) = cache.flush()
    {
        tracing::warn!(error = chain(&error), "cannot keep hashes");
    }
    faults
}

/// What hashing one file takes.
#[derive(Clone)]
struct Hashing {
    system: LocalSystem,
    cache: Option<Arc<UniverseCache>>,
    detail: ChunkDetail,
}

impl Hashing {
    fn with_threads(&self, threads: usize) -> Self {
        Self { system: self.system.clone().with_threads(threads), ..self.clone() }
    }

    fn file(&self, path: RelPath) -> Result<HashRow, SystemError> {
        let before = self.system.metadata(&path)?;
        if self.detail == ChunkDetail::Chunks {
            let mut chunks = Vec::new();
            let hash = self.system.chunk(&path, self.detail, &mut |chunk| chunks.push(chunk))?;
            return Ok(HashRow { path, size: before.size, hash, chunks: Some(chunks) });
        }
        let identity = before.identity();
        if let Some(hash) = self.cache.as_ref().and_then(|cache| cache.plain(&identity)) {
            return Ok(HashRow { path, size: before.size, hash, chunks: None });
        }
        let hash = self.system.hash_range(&path, ByteRange::first(before.size))?;
        if self.system.metadata(&path)?.identity() != identity {
            return Err(SystemError::Changed { path });
        }
        if let Some(cache) = &self.cache {
            cache.store_plain(&identity, hash);
        }
        Ok(HashRow { path, size: before.size, hash, chunks: None })
    }
}

/// A file waiting for its hash.
type Asked = (u64, RelPath, u64);
/// A hash on its way back: its number, and what was found.
type Answered = (u64, Result<HashRow, SystemError>);

/// Answers that may wait for an earlier file to be hashed.
const ANSWERS_WAITING_MAX: usize = 1024;
/// Files of this size and more get all the threads, one after the other.
const SHARED_FILE_BYTES: u64 = 256 << 20;

fn hash_tree(
    context: &Context,
    hashing: &Hashing,
    walk: &WalkRules,
    sink: &mut dyn FnMut(HashRow),
) -> Result<u64, RunError> {
    let threads = default_threads();
    // Bounded, so that the walk runs no further ahead than the hashing needs.
    let (ask, asked) = sync_channel::<Asked>(threads * 32);
    let (answer, answered) = sync_channel::<Answered>(threads * 32);
    let asked = std::sync::Mutex::new(asked);
    let mut ordered = Ordered { next: 0, waiting: BTreeMap::new(), faults: 0 };
    let walked = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (asked, answer) = (&asked, answer.clone());
            scope.spawn(move || {
                loop {
                    let next = asked.lock().expect("receiving does not panic").recv();
                    let Ok((number, path, size)) = next else { return };
                    let threads = if size >= SHARED_FILE_BYTES { threads } else { 1 };
                    let found = hashing.with_threads(threads).file(path);
                    if answer.send((number, found)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answer);
        let mut number = 0;
        let faults = each_listing(context, &hashing.system, walk, |listing| {
            for (name, metadata) in listing.iter().filter(|(_, metadata)| metadata.is_file()) {
                let mut file = (number, listing.path.join(name).unwrap_or_default(), metadata.size);
                number += 1;
                // Answers are taken while there is no room to ask: neither side can wait for the other for ever.
                loop {
                    if ordered.waiting.len() < ANSWERS_WAITING_MAX {
                        match ask.try_send(file) {
                            Err(TrySendError::Full(back)) => file = back,
                            Ok(()) | Err(TrySendError::Disconnected(_)) => break,
                        }
                    }
                    match answered.recv() {
                        Ok(found) => ordered.take(found, context, sink),
                        Err(_) => break,
                    }
                }
            }
        });
        drop(ask);
        while let Ok(found) = answered.recv() {
            ordered.take(found, context, sink);
        }
        faults
    });
    Ok(walked? + ordered.faults)
}

/// Puts answers back into the order of the walk.
struct Ordered {
    next: u64,
    waiting: BTreeMap<u64, Answered>,
    faults: u64,
}

impl Ordered {
    fn take(&mut self, found: Answered, context: &Context, sink: &mut dyn FnMut(HashRow)) {
        self.waiting.insert(found.0, found);
        while let Some((_, found)) = self.waiting.remove(&self.next) {
            self.next += 1;
            match found {
                Ok(row) => {
                    context.progress.bytes_done.fetch_add(row.size, Ordering::Relaxed);
                    sink(row);
                }
                Err(error) => {
                    self.faults += 1;
                    context.observer.event(&RunEvent::Fault { path: error.path(), message: &chain(&error) });
                }
            }
        }
    }
}
