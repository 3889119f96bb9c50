//! [`NucleusUniverse`]: which chunk of content lies on which star, as a Nucleus and its voters keep it.
//!
//! The log says which contents a star holds, by the roots of their manifests; the chunks of a manifest are fetched from a
//! star that holds it and loaded here. So everything in here follows from the log and the stars' files: losing it costs
//! time, never data.
//!
//! ```text
//!  log ──commit──▶ universe_v3.db (redb)        contents, holders, what is wanted, the mark, the list of runs
//!                        │ wanted
//!                        ▼
//!  manifests ──load──▶ sort a million ──▶ run ─┐
//!                                        run ─┴─ merge ──▶ larger run          universe_v3.db.runs/
//!                                                             ▲
//!  find, find_many ───────────────── one block of each run ───┘
//! ```
//!
//! Chunk records (48 bytes) would reach redb in the order of no key of theirs, and its rate falls as it grows. They lie in
//! sorted files instead, which are written once and merged sixteen into one when there are sixteen of a size. redb says
//! which files count, in the transaction that makes the contents in them known; a file that it does not name is an orphan.
//! A run is synced before redb names it, and removed after redb durably names its successor.
//!
//! Contents and holders have numbers, which are never given twice: a record of a content that was forgotten means nothing
//! and is left out by the next merge; a forgotten holder stops counting at once, and is swept from the rows later.
//!
//! Reading order: `schema.rs` (tables), `record.rs` and `run.rs` (files), `commit.rs` (from the log), `load.rs` (from the
//! stars), `find.rs`, `tidy.rs` (merging, sweeping), `snapshot.rs`.

mod commit;
mod find;
mod held;
mod load;
mod merge;
mod record;
mod rows;
mod run;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod tidy;

pub use find::{ChunkPlace, Wanted, WantedPage};
pub use held::Held;
pub use load::{ContentsLoad, LoadOutcome};
pub use snapshot::UniversePin;

use crate::Mark;
use crate::error::{Damage, StoreError};
use crate::private_file;
use crate::universe::mark::OpenMark;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use run::Run;
use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Memory redb may use for pages.
const CACHE_BYTES: usize = 8 << 20;
/// As for [`Universe`](crate::Universe): redb may panic over a file that was damaged after a clean close, and checking a
/// small one takes milliseconds.
const CHECKED_BYTES_MAX: u64 = 16 << 20;
/// How long another handle of this process or of one that ends may take to let go of it.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// Written bytes after which a commit is durable: redb cannot reuse pages freed since the last such commit.
const VOLATILE_BYTES_MAX: u64 = 32 << 20;

/// The chunks of a grid's contents. Clones are handles on one; threads may share it. Every call blocks on the disk.
#[derive(Clone, Debug)]
pub struct NucleusUniverse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    path: PathBuf,
    /// Where runs lie.
    directory: PathBuf,
    /// The runs that count, oldest first. Whoever changes them commits to redb while holding it for writing.
    runs: RwLock<Runs>,
    /// Bytes written since the last durable commit.
    volatile_bytes: Mutex<u64>,
    /// The number of the next run.
    next_run: AtomicU64,
    /// Held while runs are written or merged.
    building: Mutex<()>,
    /// A run was found damaged: its records must be loaded again.
    damaged: AtomicBool,
    was_rebuilt: bool,
    /// Behind the database, so that it is dropped after it.
    _mark: OpenMark,
}

/// Runs that somebody reads stay readable after they were merged away.
type Runs = Arc<Vec<Arc<Run>>>;

/// Size of a [`NucleusUniverse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NucleusUniverseStats {
    /// Contents known.
    pub contents: u64,
    /// Of those, how many have chunks that are not all known yet.
    pub wanted: u64,
    /// Bytes of the contents.
    pub bytes: u64,
    /// Chunk records; a chunk of several contents has one for each.
    pub chunks: u64,
    /// Files with chunk records.
    pub runs: u64,
    /// Bytes on the disk.
    pub file_bytes: u64,
}

impl NucleusUniverse {
    /// Opens the universe at `path` and the directory of runs beside it, created if need be.
    ///
    /// One that is damaged is moved aside to the same name with `.damaged` behind it, and an empty one begun; then
    /// [`was_rebuilt`](Self::was_rebuilt), there is no [`mark`](Self::mark), and [`reset`](Self::reset) is due. If only
    /// runs are damaged or missing, all contents are wanted again. Errors: [`Locked`](StoreError::Locked) for five seconds,
    /// [`NewerVersion`](StoreError::NewerVersion), [`Io`](StoreError::Io), and [`Corrupt`](StoreError::Corrupt) if it is
    /// another program's.
    pub fn open_or_rebuild(path: &Path) -> Result<Self, StoreError> {
        let begun = Instant::now();
        loop {
            match Self::open_once(path) {
                // Whoever had it a moment ago may still be putting down what it read.
                Err(StoreError::Locked { .. }) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                opened => return opened,
            }
        }
    }

    fn open_once(path: &Path) -> Result<Self, StoreError> {
        match Self::open(path, false) {
            Err(StoreError::Corrupt { damage: Damage::Structure | Damage::Row { .. }, source, .. }) => {
                tracing::warn!(path = %path.display(), ?source, "the universe is damaged: it is built anew");
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                std::fs::rename(path, aside).map_err(|error| StoreError::io("move aside", path, error))?;
                Self::open(path, true)
            }
            opened => opened,
        }
    }

    fn open(path: &Path, was_rebuilt: bool) -> Result<Self, StoreError> {
        private_file::create(path)?;
        let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= CHECKED_BYTES_MAX);
        let mark = OpenMark::set(path)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(small || mark.was_left())
            .create(path)
            .map_err(|error| StoreError::redb("open the universe", path, error))?;
        let mark = mark.held();
        schema::prepare(&database, path)?;
        let directory = runs_directory(path);
        make_directory(&directory)?;
        let (runs, lost) = open_runs(&database, path, &directory)?;
        let next_run = runs.iter().map(|run| run.id + 1).max().unwrap_or(0);
        let universe = Self(Arc::new(Inner {
            database,
            path: path.to_owned(),
            directory,
            runs: RwLock::new(Arc::new(runs)),
            volatile_bytes: Mutex::default(),
            next_run: AtomicU64::new(next_run),
            building: Mutex::default(),
            damaged: AtomicBool::new(false),
            was_rebuilt,
            _mark: mark,
        }));
        // Also a mark that cannot be read is found here, while the universe can still be built anew.
        universe.mark()?;
        if lost {
            universe.0.forget_chunks()?;
        }
        Ok(universe)
    }

    /// Whether it was damaged and begun anew when it was opened.
    pub fn was_rebuilt(&self) -> bool {
        self.0.was_rebuilt
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What was applied last; `None` if nothing was yet.
    pub fn mark(&self) -> Result<Option<Mark>, StoreError> {
        read_mark(&self.0.begin_read()?, &self.0.path)
    }

    /// Makes all that was committed and loaded so far survive a power cut.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.write("flush the universe", u64::MAX, |_| Ok(()))
    }

    /// How much is known. Reads a handful of pages.
    pub fn stats(&self) -> Result<NucleusUniverseStats, StoreError> {
        use redb::ReadableTableMetadata;
        let measure = |transaction: ReadTransaction| -> Result<NucleusUniverseStats, redb::Error> {
            Ok(NucleusUniverseStats {
                contents: transaction.open_table(schema::CONTENTS)?.len()?,
                wanted: transaction.open_table(schema::WANTED)?.len()?,
                bytes: schema::Counter::Bytes.get(&transaction.open_table(schema::META)?)?,
                ..NucleusUniverseStats::default()
            })
        };
        let inner = &self.0;
        let stats = measure(inner.begin_read()?)
            .map_err(|error| StoreError::redb("measure the universe", &inner.path, error))?;
        let database = std::fs::metadata(&inner.path)
            .map_err(|error| StoreError::io("measure", &inner.path, error))?
            .len();
        let runs = inner.runs();
        Ok(NucleusUniverseStats {
            chunks: runs.iter().map(|run| run.records).sum(),
            runs: runs.len() as u64,
            file_bytes: database + runs.iter().map(|run| run.file_bytes()).sum::<u64>(),
            ..stats
        })
    }
}

impl Inner {
    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.database.begin_read().map_err(|error| StoreError::redb("read the universe", &self.path, error))
    }

    /// One transaction. `bytes` is about what it writes; it is durable once enough has come together.
    fn write<T>(
        &self,
        operation: &'static str,
        bytes: u64,
        body: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let durability = self.durability_after(bytes);
        let run = || -> Result<T, redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| StoreError::redb(operation, &self.path, error))
    }

    /// One transaction that changes which runs count, to `after`.
    fn write_runs<T>(
        &self,
        operation: &'static str,
        durability: Durability,
        after: Vec<Arc<Run>>,
        body: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(durability)?;
            let value = body(&transaction)?;
            let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
            transaction.commit()?;
            *runs = Arc::new(after);
            Ok(value)
        };
        run().map_err(|error| StoreError::redb(operation, &self.path, error))
    }

    fn durability_after(&self, bytes: u64) -> Durability {
        let mut volatile = lock(&self.volatile_bytes);
        *volatile = volatile.saturating_add(bytes);
        if *volatile < VOLATILE_BYTES_MAX {
            return Durability::None;
        }
        *volatile = 0;
        Durability::Immediate
    }

    /// The runs that count now.
    fn runs(&self) -> Runs {
        Arc::clone(&self.runs.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Nothing here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_mark(transaction: &ReadTransaction, path: &Path) -> Result<Option<Mark>, StoreError> {
    let read = || -> Result<Option<Option<Mark>>, redb::Error> {
        let mark = transaction.open_table(schema::MARK)?.get(schema::MARK_KEY)?;
        Ok(mark.map(|mark| rows::decode_mark(mark.value())))
    };
    match read().map_err(|error| StoreError::redb("read the mark of the universe", path, error))? {
        Some(None) => Err(StoreError::damaged(path, Damage::Row { table: "mark" })),
        mark => Ok(mark.flatten()),
    }
}

/// The directory of runs beside the universe at `path`.
fn runs_directory(path: &Path) -> PathBuf {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".runs");
    directory.into()
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| StoreError::io("create directory", directory, error))
}

/// The runs that the table names, and whether one of them cannot be had. Sweeps the others.
fn open_runs(
    database: &Database,
    path: &Path,
    directory: &Path,
) -> Result<(Vec<Arc<Run>>, bool), StoreError> {
    let rows = schema::run_rows(database)
        .map_err(|error| StoreError::redb("list the runs of the universe", path, error))?;
    let named: HashSet<PathBuf> = rows.iter().map(|&(id, _)| Run::path(directory, id)).collect();
    let fault = |error: io::Error| StoreError::io("list", directory, error);
    for entry in std::fs::read_dir(directory).map_err(fault)? {
        let found = entry.map_err(fault)?.path();
        if !named.contains(&found)
            && let Err(error) = std::fs::remove_file(&found)
        {
            tracing::warn!(path = %found.display(), %error, "cannot remove what is not a run of the universe");
        }
    }
    let (mut runs, mut lost) = (Vec::with_capacity(rows.len()), false);
    for (id, row) in rows {
        match Run::open(directory, id, row) {
            Ok(run) => runs.push(Arc::new(run)),
            Err(StoreError::Corrupt { .. }) => lost = true,
            Err(error) => return Err(error),
        }
    }
    Ok((runs, lost))
}
