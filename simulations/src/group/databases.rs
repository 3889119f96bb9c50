//! [`Cabinet`]: the two databases of one node and its snapshots, with what of them is durable; [`SimDatabases`], which a
//! running process uses.
//!
//! Both databases are lazy: what they commit is durable only when they are flushed, or when it pleases them. A crash
//! keeps any number of the first commits of each, so that either may be ahead. What takes several steps can be cut short
//! between them.

mod image;
mod lazy;
mod table;

pub use image::{Image, Vault};
pub use table::{Jobs, Universe};

use super::disk::Death;
use super::invariants::{Base, Watch};
use super::life::Life;
use super::plant::Plant;
use crate::random::Random;
use image::{Kept, Receiver};
use lazy::Lazy;
use orbit_consensus::databases::{Batch, Databases, Incoming, Loaded, Pinned, Snapshot};
use orbit_core::grid::Change;
use orbit_store::{LogPosition, Mark, SnapshotManifest, StoreError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Commits after which a database makes itself durable, on average.
const FLUSHES_ITSELF_ONE_IN: usize = 24;

/// How often a process dies between two steps that belong together.
const PERILS_ONE_IN: usize = 12;

/// The databases of one node. They outlive its processes.
#[derive(Debug)]
pub struct Cabinet {
    name: String,
    random: Random,
    plant: Option<Plant>,
    vault: Arc<Vault>,
    watch: Arc<Watch>,
    /// Whether processes like to die where it hurts most.
    has_perils: AtomicBool,
    /// Commits that fail, one in so many; 0: none. And how many did.
    wear: (AtomicUsize, AtomicU64),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: Lazy<Jobs>,
    universe: Lazy<Universe>,
    /// Complete snapshots, own and received, newest first.
    shelf: Vec<Arc<Kept>>,
    /// A snapshot whose parts come in: how many are there, and how many of them certainly.
    incoming: Option<Receiver>,
}

/// Complete snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;

/// A snapshot that would set the databases back.
const OLD: StoreError = StoreError::SnapshotRefused { what: "it is not newer than what is here" };

impl State {
    /// Keeps a snapshot, and of the others only the newest.
    fn take_in(&mut self, kept: Arc<Kept>) {
        let position = |kept: &Arc<Kept>| kept.manifest.mark.position;
        self.shelf.retain(|known| known.manifest != kept.manifest);
        let at = self.shelf.partition_point(|known| position(known) > position(&kept));
        self.shelf.insert(at, kept);
        let mut number = 0;
        self.shelf.retain(|_| {
            number += 1;
            number <= SNAPSHOTS_KEPT || number == at + 1
        });
    }

    fn find(&self, manifest: &SnapshotManifest) -> Option<Arc<Kept>> {
        self.shelf.iter().find(|kept| kept.manifest == *manifest).cloned()
    }

    /// What both databases have applied.
    fn applied(&self) -> Option<LogPosition> {
        self.jobs.now.position().min(self.universe.now.position())
    }
}

impl Cabinet {
    /// Empty databases, or those of a node that founds the grid.
    pub fn new(
        name: &str,
        random: Random,
        plant: Option<Plant>,
        vault: &Arc<Vault>,
        watch: &Arc<Watch>,
        seed: Option<Image>,
    ) -> Arc<Self> {
        let mut state = State::default();
        if let Some(Image { jobs, universe }) = seed {
            (state.jobs, state.universe) = (Lazy::durable(jobs), Lazy::durable(universe));
        }
        let (vault, watch) = (vault.clone(), watch.clone());
        let (wear, state) = (Default::default(), Mutex::new(state));
        let has_perils = AtomicBool::new(true);
        Arc::new(Self { name: name.to_owned(), random, plant, vault, watch, has_perils, wear, state })
    }

    /// One commit in so many fails from now on; 0: none.
    pub fn wear(&self, one_in: usize) {
        self.wear.0.store(one_in, Ordering::Relaxed);
    }

    /// Processes do not die here any more.
    pub fn calm(&self) {
        self.wear(0);
        self.has_perils.store(false, Ordering::Relaxed);
    }

    /// Commits that failed so far.
    pub fn errors(&self) -> u64 {
        self.wear.1.load(Ordering::Relaxed)
    }

    fn fail(&self) -> Result<(), StoreError> {
        let one_in = self.wear.0.load(Ordering::Relaxed);
        if one_in == 0 || !self.random.one_in(one_in) {
            return Ok(());
        }
        self.wear.1.fetch_add(1, Ordering::Relaxed);
        Err(self.fault("commit to")(io::ErrorKind::StorageFull.into()))
    }

    /// What is left after a process's end.
    pub fn after(&self, death: Death) {
        let mut state = self.state();
        let keeps_all = death == Death::Kill && self.random.one_in(2);
        if !keeps_all {
            state.jobs.cut(&self.random);
        }
        // A commit that is not durable is gone with the process here.
        state.universe.cut(&self.random);
        if let Some(incoming) = &mut state.incoming {
            incoming.cut(&self.random);
        }
    }

    /// Both databases as they are.
    pub fn image(&self) -> Image {
        let state = self.state();
        Image { jobs: state.jobs.now.clone(), universe: state.universe.now.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, operation: &'static str) -> impl Fn(io::Error) -> StoreError {
        let path = PathBuf::from(&self.name);
        move |source| StoreError::Io { operation, path: path.clone(), source }
    }
}

/// The databases as one process uses them.
#[derive(Clone)]
pub struct SimDatabases {
    cabinet: Arc<Cabinet>,
    life: Arc<Life>,
}

impl SimDatabases {
    /// A process opens the databases.
    pub fn open(cabinet: &Arc<Cabinet>, life: &Arc<Life>) -> Self {
        let state = cabinet.state();
        let (jobs, universe) = (&state.jobs.now, &state.universe.now);
        cabinet.watch.opened(&cabinet.name, jobs, universe);
        drop(state);
        Self { cabinet: cabinet.clone(), life: life.clone() }
    }

    fn step(&self, operation: &'static str) -> Result<(), StoreError> {
        self.life.step(operation).map_err(self.cabinet.fault(operation))
    }

    /// A step between two that belong together: processes like to die here.
    fn perilous_step(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.cabinet.has_perils.load(Ordering::Relaxed) && self.cabinet.random.one_in(PERILS_ONE_IN) {
            self.life.end(operation);
        }
        self.step(operation)
    }

    /// The mark of one database, unless a bug has it believe the other's.
    fn mark(&self, of: fn(&State) -> &Mark) -> Mark {
        let state = self.cabinet.state();
        let (jobs, universe) = (&state.jobs.now.mark, &state.universe.now.mark);
        if self.cabinet.plant == Some(Plant::MaximumOfMarks) {
            return if jobs.position > universe.position { jobs.clone() } else { universe.clone() };
        }
        of(&state).clone()
    }
}

impl fmt::Debug for SimDatabases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "databases of {}", self.cabinet.name)
    }
}

impl Databases for SimDatabases {
    fn jobs_mark(&self) -> Result<Mark, StoreError> {
        Ok(self.mark(|state| &state.jobs.now.mark))
    }

    fn universe_mark(&self) -> Result<Mark, StoreError> {
        Ok(self.mark(|state| &state.universe.now.mark))
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let state = self.cabinet.state();
        Ok(Loaded { state: state.jobs.now.grid_state(), requests: state.jobs.now.requests() })
    }

    fn commit_jobs(&mut self, batch: &Batch, mark: &Mark) -> Result<(), StoreError> {
        self.step("before a commit to jobs.db")?;
        self.cabinet.fail()?;
        let cabinet = &self.cabinet;
        {
            let mut state = cabinet.state();
            let committed = table::JobsCommit::new(batch, mark);
            state.jobs.commit(committed);
            let jobs = &state.jobs.now;
            cabinet.watch.applied(Base::Jobs, &cabinet.name, mark, jobs.sum(), jobs.contents_sum());
            cabinet.watch.answered(&cabinet.name, &batch.requests);
            cabinet.watch.changed(&cabinet.name, &batch.changes);
            if cabinet.random.one_in(FLUSHES_ITSELF_ONE_IN) {
                state.jobs.flush();
            }
        }
        self.step("after a commit to jobs.db")
    }

    fn commit_universe(&mut self, changes: &[Change], mark: &Mark) -> Result<(), StoreError> {
        self.step("before a commit to the universe")?;
        self.cabinet.fail()?;
        let cabinet = &self.cabinet;
        {
            let mut state = cabinet.state();
            state.universe.commit(table::UniverseCommit::new(changes, mark));
            let universe = &state.universe.now;
            cabinet.watch.applied(
                Base::Universe,
                &cabinet.name,
                mark,
                universe.sum(),
                universe.contents_sum(),
            );
            if cabinet.random.one_in(FLUSHES_ITSELF_ONE_IN) {
                state.universe.flush();
            }
        }
        self.step("after a commit to the universe")
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.step("before jobs.db is flushed")?;
        self.cabinet.state().jobs.flush();
        self.perilous_step("between the flushes")?;
        self.cabinet.state().universe.flush();
        self.step("after the universe was flushed")
    }

    fn pin(&mut self) -> Result<Box<dyn Pinned>, StoreError> {
        let image = self.cabinet.image();
        self.cabinet.watch.pinned(&self.cabinet.name, &image);
        Ok(Box::new(Pin { image, databases: self.clone() }))
    }

    fn newest_snapshot(&self) -> Result<Option<Arc<dyn Snapshot>>, StoreError> {
        let state = self.cabinet.state();
        let newest = state.shelf.iter().find(|kept| kept.manifest.mark.position <= state.applied());
        Ok(newest.map(|kept| kept.clone() as Arc<dyn Snapshot>))
    }

    fn pending_snapshot(&self) -> Result<Option<SnapshotManifest>, StoreError> {
        let state = self.cabinet.state();
        let newest = state.shelf.iter().find(|kept| kept.manifest.mark.position > state.applied());
        Ok(newest.map(|kept| kept.manifest.clone()))
    }

    fn receive(&mut self, manifest: &SnapshotManifest) -> Result<Box<dyn Incoming>, StoreError> {
        self.step("before a snapshot is received")?;
        let mut state = self.cabinet.state();
        if manifest.mark.position <= state.applied() {
            return Err(OLD);
        }
        if state.incoming.as_ref().is_none_or(|incoming| incoming.manifest != *manifest) {
            state.incoming = Some(Receiver::new(manifest));
        }
        drop(state);
        Ok(Box::new(Arriving { manifest: manifest.clone(), databases: self.clone() }))
    }

    fn install(&mut self, manifest: &SnapshotManifest) -> Result<(), StoreError> {
        self.step("before an install")?;
        let cabinet = &self.cabinet;
        if manifest.mark.position <= cabinet.state().applied() {
            return Err(OLD);
        }
        let kept = cabinet.state().find(manifest);
        let fault = cabinet.fault("find the received snapshot of");
        let kept = kept.ok_or_else(|| fault(io::ErrorKind::NotFound.into()))?;
        let image = cabinet.vault.image(kept.image);
        // Both new databases are written beside the old ones; a pointer then names them.
        self.perilous_step("while the new jobs.db is written")?;
        self.perilous_step("while the new universe is written")?;
        cabinet.state().jobs = Lazy::durable(image.jobs.clone());
        if cabinet.plant == Some(Plant::TwoStepInstall) {
            // It was moved into place, not copied: it cannot be installed again.
            cabinet.state().shelf.retain(|known| known.manifest != *manifest);
            self.perilous_step("between the two databases")?;
            cabinet.state().take_in(kept.clone());
        }
        cabinet.state().universe = Lazy::durable(image.universe.clone());
        cabinet.watch.installed(&cabinet.name, &image);
        self.perilous_step("after an install")
    }
}

struct Pin {
    image: Image,
    databases: SimDatabases,
}

impl Pinned for Pin {
    fn write(self: Box<Self>) -> Result<Arc<dyn Snapshot>, StoreError> {
        let Self { image, databases } = *self;
        databases.step("while a snapshot is written")?;
        databases.cabinet.fail()?;
        let cabinet = &databases.cabinet;
        let kept = Arc::new(cabinet.vault.keep(image, &cabinet.random));
        cabinet.state().take_in(kept.clone());
        databases.perilous_step("after a snapshot was written")?;
        Ok(kept)
    }
}

struct Arriving {
    manifest: SnapshotManifest,
    databases: SimDatabases,
}

impl Arriving {
    /// What is there of it, if nothing else is being received by now.
    fn with<T>(&self, look: impl FnOnce(&mut Receiver) -> T) -> Option<T> {
        let mut state = self.databases.cabinet.state();
        state.incoming.as_mut().filter(|incoming| incoming.manifest == self.manifest).map(look)
    }
}

impl Incoming for Arriving {
    fn have(&self) -> u32 {
        if self.databases.cabinet.state().find(&self.manifest).is_some() {
            return self.manifest.parts.len() as u32;
        }
        self.with(|incoming| incoming.have()).unwrap_or(0)
    }

    fn put(&mut self, number: u32, part: &[u8]) -> Result<(), StoreError> {
        self.databases.step("while a part of a snapshot is stored")?;
        let put = self.with(|incoming| incoming.put(number, part)).unwrap_or(Err(io::ErrorKind::NotFound));
        put.map_err(|kind| self.databases.cabinet.fault("take a part of a snapshot for")(kind.into()))
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.databases.step("before a received snapshot is complete")?;
        let cabinet = &self.databases.cabinet;
        let mut state = cabinet.state();
        if state.find(&self.manifest).is_some() {
            return Ok(());
        }
        let complete = state.incoming.take_if(|incoming| incoming.manifest == self.manifest);
        let fault = cabinet.fault("complete a snapshot of");
        let kept = complete.and_then(|incoming| incoming.finish(&cabinet.vault));
        let kept = kept.ok_or_else(|| fault(io::ErrorKind::InvalidData.into()))?;
        state.take_in(Arc::new(kept));
        drop(state);
        self.databases.perilous_step("after a received snapshot was complete")
    }
}
