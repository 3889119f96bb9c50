//! [`NucleusStore`]: the two replicated databases of a member of the nucleus group, and snapshots of them.
//!
//! ```text
//!  DIR/CURRENT ──▶ gen-N/jobs.db           everything the Nucleus owns, with the position it was applied up to
//!                  gen-N/universe_v3.db    the chunks of file contents, with its own position
//!      snapshots/TERM-INDEX-HASH.snap      the newest two
//!      incoming/HASH/                      snapshots on their way in, as far as they came
//! ```
//!
//! Both databases are written without a sync: the log is durable, and what a power cut takes back is applied again. They
//! are made durable before the log is purged. Whoever replaces them builds a whole generation beside the one in use, and
//! then lets `CURRENT` name it, so that a crash leaves the old one or the new one.
//!
//! Reading order: this file, `jobs.rs` with `rows.rs`, `generation.rs`, `snapshot.rs` (the format), `pin.rs` (writing one),
//! `receive.rs`. The log and the seal key lie in the same directory and are not touched.

mod generation;
mod jobs;
mod manifest;
mod pin;
mod receive;
pub(crate) mod rows;
mod shelf;
mod snapshot;
#[cfg(test)]
mod tests;

pub use jobs::{JobsBatch, LoadedGrid};
pub use manifest::{PART_BYTES, SNAPSHOT_BYTES_MAX, SnapshotManifest};
pub use pin::PinnedStore;
pub use receive::SnapshotReceiver;
pub use snapshot::SnapshotFile;

use crate::error::StoreError;
use crate::nucleus_universe::NucleusUniverse;
use crate::{Mark, private_file};
use generation::{Generation, Opened};
use jobs::GroupJobs;
use orbit_core::grid::{Change, Content, Metered};
use orbit_core::ids::NodeId;
use shelf::Shelf;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// A content and who holds it.
pub type ContentRow = (NodeId, Content);

/// The replicated databases. One owner writes; [`universe`](Self::universe) is for everybody.
#[derive(Debug)]
pub struct NucleusStore {
    directory: PathBuf,
    generation: Generation,
    jobs: GroupJobs,
    universe: CurrentUniverse,
    jobs_mark: Mark,
    universe_mark: Mark,
}

/// The universe in use: another one after a snapshot was installed, so ask each time.
#[derive(Clone, Debug)]
pub struct CurrentUniverse(Arc<RwLock<NucleusUniverse>>);

impl CurrentUniverse {
    /// The universe in use now.
    pub fn get(&self) -> NucleusUniverse {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl NucleusStore {
    /// Opens the databases in `directory`; `None` if there are none. Removes what cut-off attempts left. A damaged
    /// universe is begun anew from the contents in `jobs.db`.
    ///
    /// Errors: [`Corrupt`](StoreError::Corrupt) if `jobs.db` or `CURRENT` is damaged or missing: then this node has to be
    /// removed and to join again; [`Locked`](StoreError::Locked), [`NewerVersion`](StoreError::NewerVersion),
    /// [`Io`](StoreError::Io).
    pub fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let Some(generation) = Generation::current(directory)? else { return Ok(None) };
        let opened = generation.open(directory)?;
        let this = Self::with(directory, generation, opened)?;
        generation.remove_others(directory)?;
        Shelf::of(directory).sweep(this.applied())?;
        Ok(Some(this))
    }

    /// Makes databases with these records and contents, as of `mark`, in a directory that has none. A crash leaves none or
    /// all of it.
    ///
    /// Error: [`Exists`](StoreError::Exists) if there are some.
    pub fn seed(
        directory: &Path,
        records: &[Change],
        contents: &[ContentRow],
        mark: &Mark,
    ) -> Result<Self, StoreError> {
        let generation = Self::begin_seed(directory)?;
        let path = generation.create(directory)?;
        let mut jobs = GroupJobs::open(&path.join(generation::JOBS))?;
        let contents: Vec<Change> = contents
            .chunk_by(|one, next| one.0 == next.0)
            .filter_map(|of_one| {
                let contents = of_one.iter().map(|&(_, content)| content).collect();
                Some(Change::Contents { holder: of_one.first()?.0, contents })
            })
            .collect();
        for changes in [records, &contents] {
            jobs.seed(changes)?;
        }
        jobs.set_mark(mark)?;
        jobs.close()?;
        Self::finish_seed(directory, generation)
    }

    /// Makes databases with what a snapshot holds, as of `mark`, in a directory that has none. For restoring a backup.
    ///
    /// Errors: [`Exists`](StoreError::Exists) if there are some; [`Corrupt`](StoreError::Corrupt).
    pub fn seed_from_snapshot(
        directory: &Path,
        snapshot: &SnapshotFile,
        mark: &Mark,
    ) -> Result<Self, StoreError> {
        let generation = Self::begin_seed(directory)?;
        snapshot.unpack(&generation.create(directory)?)?;
        let mut opened = generation.open(directory)?;
        opened.jobs.set_mark(mark)?;
        if mark.is_after(&opened.universe.mark()?.unwrap_or_default()) {
            opened.universe.commit(&[], mark)?;
        } else {
            // A mark cannot go back, so the universe begins anew: its chunks come from the stars again.
            opened.universe.reset(opened.jobs.contents(), mark)?;
        }
        opened.flush()?;
        drop(opened);
        Self::finish_seed(directory, generation)
    }

    fn begin_seed(directory: &Path) -> Result<Generation, StoreError> {
        if Generation::current(directory)?.is_some() {
            return Err(StoreError::Exists { path: directory.to_owned() });
        }
        private_file::create_directory(directory)?;
        Generation::FIRST.remove_others(directory)?;
        Shelf::of(directory).clear()?;
        Ok(Generation::FIRST)
    }

    fn finish_seed(directory: &Path, generation: Generation) -> Result<Self, StoreError> {
        let opened = generation.open(directory)?;
        opened.flush()?;
        generation.sync(directory)?;
        generation.make_current(directory)?;
        Self::with(directory, generation, opened)
    }

    fn with(directory: &Path, generation: Generation, opened: Opened) -> Result<Self, StoreError> {
        let Opened { jobs, universe } = opened;
        let (jobs_mark, universe_mark) = (jobs.mark()?, universe.mark()?.unwrap_or_default());
        let universe = CurrentUniverse(Arc::new(RwLock::new(universe)));
        Ok(Self { directory: directory.to_owned(), generation, jobs, universe, jobs_mark, universe_mark })
    }

    /// Counters of members, read beside whoever has the databases in `directory` open; none if there are none.
    pub fn metering_of(directory: &Path) -> Result<Vec<Metered>, StoreError> {
        let Some(generation) = Generation::current(directory)? else { return Ok(Vec::new()) };
        GroupJobs::open_to_read(&generation.path(directory).join(generation::JOBS))?.metering()
    }

    /// What `jobs.db` has applied.
    pub fn jobs_mark(&self) -> &Mark {
        &self.jobs_mark
    }

    /// What the universe has applied.
    pub fn universe_mark(&self) -> &Mark {
        &self.universe_mark
    }

    /// What both have applied.
    fn applied(&self) -> &Mark {
        if self.jobs_mark.is_after(&self.universe_mark) { &self.universe_mark } else { &self.jobs_mark }
    }

    /// The universe, for whoever fills it or asks it.
    pub fn universe(&self) -> CurrentUniverse {
        self.universe.clone()
    }

    /// Everything in `jobs.db` but the contents. A damaged row is an error, never left out; a damaged counter counts
    /// from zero again.
    pub fn load(&self) -> Result<LoadedGrid, StoreError> {
        self.jobs.load()
    }

    /// Applies to `jobs.db`, in one transaction with the mark. Nothing if the mark is not after what was applied. It is
    /// durable after the next [`flush`](Self::flush).
    pub fn commit_jobs(&mut self, batch: &JobsBatch<'_>, mark: &Mark) -> Result<(), StoreError> {
        if mark.is_after(&self.jobs_mark) {
            self.jobs.commit(batch, mark)?;
            self.jobs_mark = mark.clone();
        }
        Ok(())
    }

    /// Applies changes of contents to the universe, as [`commit_jobs`](Self::commit_jobs) does to `jobs.db`.
    pub fn commit_universe(&mut self, changes: &[Change], mark: &Mark) -> Result<(), StoreError> {
        if mark.is_after(&self.universe_mark) {
            self.universe.get().commit(changes, mark)?;
            self.universe_mark = mark.clone();
        }
        Ok(())
    }

    /// Makes both databases durable.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.jobs.flush()?;
        self.universe.get().flush()
    }

    /// Takes views of both as they are now, in milliseconds; a snapshot may be written of them while they go on.
    pub fn pin(&self) -> Result<PinnedStore, StoreError> {
        let jobs = GroupJobs::open_to_read(self.jobs.path())?;
        jobs.begin_view()?;
        let universe = self.universe.get().pin()?;
        Ok(PinnedStore::new(jobs, universe, self.applied().clone(), Shelf::of(&self.directory)))
    }

    /// The newest complete snapshot of what was applied here: never one that is only received.
    pub fn newest_snapshot(&self) -> Result<Option<SnapshotFile>, StoreError> {
        Shelf::of(&self.directory).newest(|mark| !mark.is_after(self.applied()))
    }

    /// The newest complete snapshot that is ahead of what was applied: it was received, but a crash came before it was
    /// [installed](Self::install). The log may have been purged up to it already.
    pub fn pending_snapshot(&self) -> Result<Option<SnapshotFile>, StoreError> {
        Shelf::of(&self.directory).newest(|mark| mark.is_after(self.applied()))
    }

    /// The snapshot of this manifest, if it is complete.
    pub fn snapshot(&self, manifest: &SnapshotManifest) -> Result<Option<SnapshotFile>, StoreError> {
        Shelf::of(&self.directory).find(manifest)
    }

    /// Begins to receive a snapshot, or goes on with one that was cut short.
    ///
    /// Errors: [`SnapshotRefused`](StoreError::SnapshotRefused) if it is impossible, or not newer than what was applied;
    /// [`Full`](StoreError::Full) if there is no room for it and for installing it.
    pub fn receive(&self, manifest: &SnapshotManifest) -> Result<SnapshotReceiver, StoreError> {
        if !manifest.mark.is_after(self.applied()) {
            return Err(StoreError::SnapshotRefused { what: "it is not newer than what is here" });
        }
        SnapshotReceiver::open(Shelf::of(&self.directory), manifest)
    }

    /// Replaces both databases by what a snapshot holds. A crash leaves the old ones or the new ones.
    ///
    /// Errors: [`SnapshotRefused`](StoreError::SnapshotRefused) if it is not newer than what was applied;
    /// [`Corrupt`](StoreError::Corrupt). The old ones stay then.
    pub fn install(&mut self, snapshot: &SnapshotFile) -> Result<(), StoreError> {
        if !snapshot.manifest().mark.is_after(self.applied()) {
            return Err(StoreError::SnapshotRefused { what: "it is not newer than what is here" });
        }
        snapshot.verify()?;
        let next = self.generation.next();
        snapshot.unpack(&next.create(&self.directory)?)?;
        let opened = next.open(&self.directory)?;
        opened.flush()?;
        next.sync(&self.directory)?;
        let Self { jobs, universe, jobs_mark, universe_mark, .. } =
            Self::with(&self.directory, next, opened)?;
        next.make_current(&self.directory)?;
        // From here on the new ones are in use, whatever becomes of the old ones.
        let old = std::mem::replace(&mut self.jobs, jobs);
        *self.universe.0.write().unwrap_or_else(PoisonError::into_inner) = universe.get();
        (self.jobs_mark, self.universe_mark, self.generation) = (jobs_mark, universe_mark, next);
        let removed = old.close().and_then(|()| next.remove_others(&self.directory));
        if let Err(error) = removed {
            tracing::warn!(%error, "cannot remove databases that were replaced; the next start does");
        }
        Ok(())
    }
}
