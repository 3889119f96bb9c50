//! [`scan`] and [`hash`]: looking at a tree without changing it.

use super::error::{RunError, chain};
use super::observer::RunEvent;
use super::place::{Place, Site};
use super::request::FilterRule;
use super::state::{UniverseCache, open_universe};
use super::{Context, default_threads};
use crate::rules::Rules;
use orbit_core::system::{ChunkDetail, ScanOptions, SystemError};
use orbit_core::{ByteRange, Chunk, ContentHash, Metadata, RelPath};
use std::collections::BTreeMap;
use std::path::PathBuf;
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

/// Gives every entry below `place` to `sink`, in walk order. Directories that cannot be read are reported; the answer is
/// how many.
pub fn scan(
    context: &Context,
    place: &Place,
    walk: &WalkRules,
    sink: &mut dyn FnMut(ScanRow<'_>),
) -> Result<u64, RunError> {
    let (site, start) = place.open()?;
    if !start.is_root() {
        let metadata = site.system().metadata(&start).map_err(|error| site.fatal(error))?;
        sink(ScanRow { directory: &RelPath::root(), name: start.as_bytes(), metadata: &metadata });
        return Ok(0);
    }
    let walked = each_listing(context, &site, walk, |listing| {
        for (name, metadata) in listing.iter() {
            sink(ScanRow { directory: &listing.path, name, metadata });
        }
    });
    walked.map_err(|error| why_stopped(context, error))
}

/// An interruption breaks the way to a star off, and is what is told then.
fn why_stopped(context: &Context, error: RunError) -> RunError {
    if context.stop.load(Ordering::Relaxed) { RunError::Interrupted } else { error }
}

/// Walks a whole system. Gives the number of directories that could not be read.
pub(super) fn each_listing(
    context: &Context,
    site: &Site,
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
    let mut scan = site.system().scan(&options).map_err(|error| site.fatal(error))?;
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
                let error = site.judge(fault.error)?;
                faults += 1;
                context.observer.event(&RunEvent::Fault { path: &fault.path, message: &chain(&error) });
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

/// Hashes every regular file below `place` and gives them to `sink` in walk order. What cannot be read is reported; the
/// answer is how many.
pub fn hash(
    context: &Context,
    place: &Place,
    walk: &WalkRules,
    detail: ChunkDetail,
    sink: &mut dyn FnMut(HashRow),
) -> Result<u64, RunError> {
    let (mut site, start) = place.open()?;
    let cache = site
        .is_local()
        .then(|| open_universe(&context.state_dir, context.observer.as_ref()))
        .flatten()
        .map(Arc::new);
    if let Some(cache) = &cache {
        site = site.with_cache(cache);
    }
    let hashing = Hashing { site, cache: cache.clone(), detail };
    let faults = if start.is_root() {
        hash_tree(context, &hashing, walk, sink)
    } else {
        // One file gets all the threads.
        match hashing.with_threads(default_threads()).file(start, None) {
            Ok(row) => {
                sink(row);
                Ok(0)
            }
            Err(error) => Err(hashing.site.fatal(error)),
        }
    };
    if let Some(cache) = cache
        && let Err(error) = cache.flush()
    {
        tracing::warn!(error = chain(&error), "cannot keep hashes");
    }
    faults.map_err(|error| why_stopped(context, error))
}

/// What hashing one file takes.
#[derive(Clone)]
struct Hashing {
    site: Site,
    cache: Option<Arc<UniverseCache>>,
    detail: ChunkDetail,
}

impl Hashing {
    fn with_threads(&self, threads: usize) -> Self {
        Self { site: self.site.with_threads(threads), ..self.clone() }
    }

    /// Hashes a file. `seen` is what a walk saw of it, which spares a question.
    fn file(&self, path: RelPath, seen: Option<Metadata>) -> Result<HashRow, SystemError> {
        let system = self.site.system();
        if self.detail == ChunkDetail::Chunks {
            let mut chunks = Vec::new();
            let hash = system.chunk(&path, self.detail, &mut |chunk| chunks.push(chunk))?;
            let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            return Ok(HashRow { path, size, hash, chunks: Some(chunks) });
        }
        match seen.map(|seen| self.whole(&path, &seen)) {
            // It changed since the walk came by: it is hashed as it is now.
            Some(Err(SystemError::Changed { .. })) | None => {
                let seen = system.metadata(&path)?;
                self.whole(&path, &seen)
            }
            Some(hashed) => hashed,
        }
    }

    fn whole(&self, path: &RelPath, seen: &Metadata) -> Result<HashRow, SystemError> {
        let row = |hash| HashRow { path: path.clone(), size: seen.size, hash, chunks: None };
        let identity = seen.identity();
        if let Some(hash) = self.cache.as_ref().and_then(|cache| cache.plain(&identity)) {
            return Ok(row(hash));
        }
        let system = self.site.system();
        let hash = system.hash_range(path, ByteRange::first(seen.size))?;
        if system.metadata(path)?.identity() != identity {
            return Err(SystemError::Changed { path: path.clone() });
        }
        if let Some(cache) = &self.cache {
            cache.store_plain(&identity, hash);
        }
        Ok(row(hash))
    }
}

/// A file waiting for its hash.
type Asked = (u64, RelPath, Metadata);
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
    let calls = hashing.site.calls();
    // Bounded, so that the walk runs no further ahead than the hashing needs.
    let (ask, asked) = sync_channel::<Asked>(calls * 32);
    let (answer, answered) = sync_channel::<Answered>(calls * 32);
    let asked = std::sync::Mutex::new(asked);
    let mut ordered = Ordered { next: 0, waiting: BTreeMap::new(), faults: 0, lost: None };
    let walked = std::thread::scope(|scope| {
        for _ in 0..calls {
            let (asked, answer) = (&asked, answer.clone());
            scope.spawn(move || {
                loop {
                    let next = asked.lock().expect("receiving does not panic").recv();
                    let Ok((number, path, seen)) = next else { return };
                    let threads = if seen.size >= SHARED_FILE_BYTES { threads } else { 1 };
                    // Looking again is cheap here, and a walk may be long ago; asking a star again is not.
                    let seen = (!hashing.site.is_local()).then_some(seen);
                    let found = hashing.with_threads(threads).file(path, seen);
                    if answer.send((number, found)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(answer);
        let mut number = 0;
        let faults = each_listing(context, &hashing.site, walk, |listing| {
            for (name, metadata) in listing.iter().filter(|(_, metadata)| metadata.is_file()) {
                let mut file = (number, listing.path.join(name).unwrap_or_default(), *metadata);
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
                        Ok(found) => ordered.take(found, context, &hashing.site, sink),
                        Err(_) => break,
                    }
                }
            }
        });
        drop(ask);
        while let Ok(found) = answered.recv() {
            ordered.take(found, context, &hashing.site, sink);
        }
        faults
    });
    let faults = walked?;
    match ordered.lost {
        Some(_) if context.stop.load(Ordering::Relaxed) => Err(RunError::Interrupted),
        Some(lost) => Err(lost),
        None => Ok(faults + ordered.faults),
    }
}

/// Puts answers back into the order of the walk.
struct Ordered {
    next: u64,
    waiting: BTreeMap<u64, Answered>,
    faults: u64,
    /// The star is lost: nothing that comes now says anything of the files.
    lost: Option<RunError>,
}

impl Ordered {
    fn take(&mut self, found: Answered, context: &Context, site: &Site, sink: &mut dyn FnMut(HashRow)) {
        self.waiting.insert(found.0, found);
        while let Some((_, found)) = self.waiting.remove(&self.next) {
            self.next += 1;
            match found {
                Ok(row) => {
                    context.progress.bytes_done.fetch_add(row.size, Ordering::Relaxed);
                    sink(row);
                }
                Err(error) => match site.judge(error) {
                    Ok(error) => {
                        self.faults += 1;
                        let message = chain(&error);
                        context.observer.event(&RunEvent::Fault { path: error.path(), message: &message });
                    }
                    Err(lost) => drop(self.lost.get_or_insert(lost)),
                },
            }
        }
    }
}
