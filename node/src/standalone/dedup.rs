//! [`dedup`]: what is stored twice, where, and what sharing it saves.
//!
//! ```text
//!  forest ── every file once ──> candidates (sizes that occur twice) ── sets (heads, then roots) ──> share (--apply)
//!     └───── --chunks: every file ──> chunks ──> tally (external sort)
//! ```
//! Files are grouped by size, by a hash of their first bytes if they are large, then by the root of their chunk
//! manifest. Nothing here decides that two files may share storage: that is the kernel's word, after it compared them
//! byte for byte with both locked.
//!
//! The tree is walked twice, so that memory goes only to files whose size another file has: 32 bytes and the name for
//! each, and 16 bytes for each inode with several names.

mod candidates;
mod chunks;
mod extents;
mod forest;
mod parallel;
mod sets;
mod share;
mod tally;

pub use tally::ChunkTotals;

use super::inspect::WalkRules;
use super::state::{UniverseCache, open_universe};
use super::{Context, Place, RunError};
use candidates::{Candidates, SizeSketch};
use chunks::ChunkReader;
use forest::{Faults, Forest};
use orbit_core::{ContentHash, RelPath};
use sets::FoundSet;
use share::Sharer;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What `orbit dedup` is asked for.
#[derive(Clone, Debug, Default)]
pub struct DedupOptions {
    /// What is left out of the walk.
    pub walk: WalkRules,
    /// Share the storage of duplicates, after the kernel compared them byte for byte.
    pub apply: bool,
    /// Files smaller than this are not looked into. Empty files never are.
    pub min_bytes: u64,
    /// Also count what is stored twice below whole files, by chunks. It reads every file.
    pub chunks: bool,
}

/// Files of one content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateSet {
    /// Identity of the content: the root of its chunk manifest.
    pub root: ContentHash,
    /// Length of each file in bytes.
    pub size: u64,
    /// The files, at least two, in walk order. Further names of the same inode are not listed.
    pub files: Vec<DuplicateFile>,
    /// Bytes on disk that sharing would save: what all but one file of each file system of this machine occupy, without
    /// what they share already. As it was before anything was applied.
    pub bytes_shareable: u64,
}

/// One of the files of a [`DuplicateSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateFile {
    /// Which of the endpoints holds it, by position.
    pub endpoint: usize,
    /// Below the endpoint; the root if the endpoint is the file.
    pub path: RelPath,
    /// Bytes it occupies on disk, shared or not.
    pub allocated: u64,
    /// Whose storage that is.
    pub storage: Storage,
}

/// Where the content of a duplicate lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// It has storage of its own (or the first of those has that share it).
    Own,
    /// It shared its storage with an earlier file of the set before, as far as the file system tells.
    SharedBefore,
    /// It shares now: the kernel compared this many bytes and found them equal.
    SharedNow {
        /// How many.
        bytes: u64,
    },
    /// It was to share, but its content had changed meanwhile. What was equal in its beginning may be shared.
    Differs,
    /// It was to share, but its file system cannot.
    Unsupported,
    /// It was to share, but could not be opened, or the kernel refused; reported as a fault.
    Refused,
    /// It lies on a star, which is not asked whose storage that is.
    Elsewhere,
}

/// What a dedup found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DedupReport {
    /// Regular files looked at, each inode once.
    pub files_scanned: u64,
    /// Their lengths.
    pub bytes_scanned: u64,
    /// Contents that several files have.
    pub sets: u64,
    /// Files that another one could stand for: all but one of each set.
    pub duplicate_files: u64,
    /// Their lengths.
    pub bytes_duplicate: u64,
    /// Bytes on disk that sharing would save, or would have saved before it was applied.
    pub bytes_shareable: u64,
    /// Files that were made to share.
    pub files_shared: u64,
    /// Bytes of them that the kernel found equal.
    pub bytes_shared: u64,
    /// Files that differed when the kernel compared them; each is among the faults too.
    pub files_differing: u64,
    /// Mounts that hold duplicates and cannot share storage: that needs btrfs, or XFS with reflinks.
    pub mounts_unsupported: Vec<PathBuf>,
    /// Of all chunks, if that was asked for.
    pub chunks: Option<ChunkTotals>,
    /// What could not be read or shared; each was reported.
    pub faults: u64,
    /// Whether it was stopped on request before the end: there may be more sets.
    pub interrupted: bool,
}

/// Finds files of equal content below `endpoints` (directories or files, which may lie within each other) and gives
/// them to `sink`, the largest first. With [`apply`](DedupOptions::apply) each set was shared before it is given.
///
/// Endpoints may lie on stars: they are read where they lie, only heads and hashes travel, and nothing is shared there.
///
/// Sharing changes nothing that can be read: contents, times and attributes stay, and no file is replaced by a link.
/// What fails on single files is reported and counted. Stopped while walking it gives [`RunError::Interrupted`] with
/// nothing changed; stopped later, a report with `interrupted` set.
pub fn dedup(
    context: &Context,
    endpoints: &[Place],
    options: &DedupOptions,
    sink: &mut dyn FnMut(&DuplicateSet),
) -> Result<DedupReport, RunError> {
    let is_local = endpoints.iter().any(|place| matches!(place, Place::Here(_)));
    let cache = is_local
        .then(|| open_universe(&context.state_dir, context.observer.as_ref()))
        .flatten()
        .map(Arc::new);
    let forest = Forest::open(context, endpoints, &options.walk, cache.as_ref())?;
    let mut run =
        Run { context, options, forest: &forest, cache: cache.as_deref(), faults: Faults::default() };
    let result = run.execute(sink);
    run.keep_hashes();
    result
}

struct Run<'r> {
    context: &'r Context,
    options: &'r DedupOptions,
    forest: &'r Forest<'r>,
    cache: Option<&'r UniverseCache>,
    faults: Faults,
}

impl Run<'_> {
    fn execute(&mut self, sink: &mut dyn FnMut(&DuplicateSet)) -> Result<DedupReport, RunError> {
        let mut report = DedupReport::default();
        let sizes = self.survey(&mut report)?;
        let candidates = self.collect(&sizes)?;
        drop(sizes);
        self.find(&candidates, &mut report, sink);
        self.faults.lost()?;
        report.faults = self.faults.count();
        Ok(report)
    }

    /// The first walk: figures, which sizes repeat, and chunks if they are asked for.
    fn survey(&mut self, report: &mut DedupReport) -> Result<SizeSketch, RunError> {
        let mut sizes = SizeSketch::new();
        let mut reader = self.options.chunks.then(|| ChunkReader::new(self.context, self.forest));
        let mut faults = std::mem::take(&mut self.faults);
        let unread = self.forest.each_file(self.context, |found| {
            report.files_scanned += 1;
            report.bytes_scanned += found.metadata.size;
            if !self.is_wanted(found.metadata.size) {
                return;
            }
            sizes.add(found.metadata.size);
            if let Some(reader) = &mut reader {
                reader.push(found, &mut faults);
            }
        });
        self.faults = faults;
        self.faults.add(unread?);
        if let Some(reader) = reader {
            report.chunks = Some(reader.finish(&mut self.faults)?);
            self.faults.lost()?;
            self.keep_hashes();
        }
        Ok(sizes)
    }

    /// The second walk: the files whose size repeats.
    fn collect(&self, sizes: &SizeSketch) -> Result<Candidates, RunError> {
        let mut candidates = Candidates::default();
        // What cannot be read was reported and counted by the first walk.
        let quiet = Context { observer: Arc::new(super::observer::Silent), ..self.context.clone() };
        self.forest.each_file(&quiet, |found| {
            if self.is_wanted(found.metadata.size) && sizes.repeats(found.metadata.size) {
                candidates.push(&found);
            }
        })?;
        candidates.settle();
        let (files, bytes) = candidates.totals();
        let progress = &self.context.progress;
        progress.files_planned.store(files, Ordering::Relaxed);
        // What was read for the chunks before is done.
        progress.bytes_planned.store(bytes + progress.bytes_done.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(candidates)
    }

    fn find(
        &mut self,
        candidates: &Candidates,
        report: &mut DedupReport,
        sink: &mut dyn FnMut(&DuplicateSet),
    ) {
        let mut sharer = Sharer::new(self.context, self.forest);
        for batch in candidates.batches() {
            let found = sets::find(self.context, self.forest, candidates, batch, &mut self.faults);
            for mut found in found {
                if self.is_stopped() {
                    break;
                }
                if self.options.apply {
                    sharer.share(&mut found, &mut self.faults);
                }
                report.add(&found);
                sink(&found.set);
            }
            if self.is_stopped() {
                report.interrupted = true;
                break;
            }
            if self.faults.is_lost() {
                break;
            }
        }
        report.mounts_unsupported = sharer.mounts_unsupported();
    }

    fn is_wanted(&self, size: u64) -> bool {
        size >= self.options.min_bytes.max(1)
    }

    fn is_stopped(&self) -> bool {
        self.context.stop.load(Ordering::Relaxed)
    }

    fn keep_hashes(&self) {
        if let Some(cache) = self.cache
            && let Err(error) = cache.flush()
        {
            tracing::warn!(error = super::error::chain(&error), "cannot keep hashes");
        }
    }
}

impl DedupReport {
    fn add(&mut self, found: &FoundSet) {
        let set = &found.set;
        let duplicates = set.files.len() as u64 - 1;
        self.sets += 1;
        self.duplicate_files += duplicates;
        self.bytes_duplicate += duplicates * set.size;
        self.bytes_shareable += set.bytes_shareable;
        for file in &set.files {
            match file.storage {
                Storage::SharedNow { bytes } => {
                    self.files_shared += 1;
                    self.bytes_shared += bytes;
                }
                Storage::Differs => self.files_differing += 1,
                Storage::Own
                | Storage::SharedBefore
                | Storage::Unsupported
                | Storage::Refused
                | Storage::Elsewhere => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
