//! [`State`]: what a run remembers in the state directory, or in memory where that cannot be written.

use super::error::chain;
use super::observer::{Observer, RunEvent};
use crate::local::manifest_cache::ManifestCache;
use orbit_cdc::ORBIT_64K;
use orbit_core::{Chunk, ContentHash, FileIdentity, Timestamp};
use orbit_store::{CachedManifest, JobsDb, SharedPage, SharedParams, StoreError, Universe};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// File name of the run database.
pub const JOBS_FILE: &str = "jobs.db";
/// File name of the chunk universe.
pub const UNIVERSE_FILE: &str = "universe_v3.db";

/// The run database behind a lock: several workers write checkpoints.
#[derive(Debug)]
pub struct State(Mutex<JobsDb>);

impl State {
    /// Opens `jobs.db` in `directory`, making both if need be.
    ///
    /// A damaged database is an error, so that nobody overlooks it. A directory that cannot be written is only
    /// noticed: the run goes on with its memory for as long as it lives, and cannot resume large files later.
    pub fn open(directory: &Path, observer: &dyn Observer) -> Result<Self, StoreError> {
        let jobs = match JobsDb::open(&directory.join(JOBS_FILE)) {
            Ok(jobs) => jobs,
            Err(error) if is_unwritable(&error) => {
                let why = chain(&error);
                observer.event(&RunEvent::Notice(&format!(
                    "{why}; going on without it: an interrupted run will not resume large files"
                )));
                JobsDb::in_memory()?
            }
            Err(error) => return Err(error),
        };
        Ok(Self(Mutex::new(jobs)))
    }

    /// The database.
    pub fn jobs(&self) -> MutexGuard<'_, JobsDb> {
        self.0.lock().expect("no thread panics while it holds the run database")
    }
}

fn is_unwritable(error: &StoreError) -> bool {
    use std::io::ErrorKind::{
        NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            let kinds = [NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
            return kinds.contains(&io.kind());
        }
        cause = error.source();
    }
    false
}

/// Opens the universe for caching manifests; `None`, with a notice, where another process holds it or it is damaged.
pub fn open_universe(directory: &Path, observer: &dyn Observer) -> Option<UniverseCache> {
    let path = directory.join(UNIVERSE_FILE);
    match Universe::open_or_replace(&path) {
        Ok(universe) => Some(UniverseCache { universe, opened: now(), pending: Mutex::default() }),
        Err(error) => {
            let why = chain(&error);
            observer.event(&RunEvent::Notice(&format!("{why}; going on without cached hashes")));
            None
        }
    }
}

/// Manifests that are written together.
const PENDING_MANIFESTS: usize = 4096;
/// Chunks that are held for writing together: 36 bytes each.
const PENDING_CHUNKS: usize = 1 << 18;

/// The universe as a cache of manifests. New ones are gathered and written in sorted batches.
#[derive(Debug)]
pub struct UniverseCache {
    universe: Universe,
    /// Before any file of this run was looked at: what changed later, or just before, is not cached.
    opened: Timestamp,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    manifests: Vec<CachedManifest>,
    chunks: usize,
}

impl UniverseCache {
    /// Writes what is pending and makes it durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut *self.pending());
        self.write(&pending)?;
        self.universe.flush()
    }

    /// The standard BLAKE3 of exactly this version of a file.
    pub fn plain(&self, identity: &FileIdentity) -> Option<ContentHash> {
        self.universe.root(identity, PLAIN_ID).ok().flatten()
    }

    /// Takes in a standard BLAKE3.
    pub fn store_plain(&self, identity: &FileIdentity, hash: ContentHash) {
        self.add(CachedManifest { identity: *identity, params_id: PLAIN_ID, root: hash, chunks: None });
    }

    /// Lets the grid know this manifest, if its chunks are kept. Whether it did not know it yet.
    pub fn share(&self, identity: &FileIdentity, root: ContentHash) -> bool {
        let is_new = !self.universe.root(identity, SHARED_ID).is_ok_and(|shared| shared == Some(root));
        if is_new {
            self.add(CachedManifest { identity: *identity, params_id: SHARED_ID, root, chunks: None });
        }
        is_new
    }

    /// Up to `limit` contents that the grid may know, from the `next` of the page before on.
    pub fn shared(&self, after: &[u8], limit: usize) -> Result<SharedPage, StoreError> {
        // What is gathered still is not in the universe.
        self.flush()?;
        self.universe.shared(shared_params(), after, limit)
    }

    /// The chunks of those of the shared contents that are wanted: see [`Universe::shared_lists`].
    pub fn shared_lists(
        &self,
        wanted: HashSet<ContentHash>,
        each: impl FnMut(ContentHash, &[Chunk]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.universe.shared_lists(shared_params(), wanted, each)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("gathering manifests does not panic")
    }

    fn add(&self, manifest: CachedManifest) {
        let full = {
            let mut pending = self.pending();
            pending.chunks += manifest.chunks.as_ref().map_or(0, Vec::len);
            pending.manifests.push(manifest);
            let is_full = pending.manifests.len() >= PENDING_MANIFESTS || pending.chunks >= PENDING_CHUNKS;
            is_full.then(|| std::mem::take(&mut *pending))
        };
        if let Some(full) = full
            && let Err(error) = self.write(&full)
        {
            tracing::warn!(error = chain(&error), "cannot cache manifests");
        }
    }

    fn write(&self, pending: &Pending) -> Result<(), StoreError> {
        if !pending.manifests.is_empty() {
            self.universe.put_batch(&pending.manifests, self.opened)?;
        }
        Ok(())
    }
}

impl ManifestCache for UniverseCache {
    fn root(&self, identity: &FileIdentity) -> Option<ContentHash> {
        // A cache that cannot answer is a cache that does not know.
        self.universe.root(identity, params_id()).ok().flatten()
    }

    fn chunks(&self, identity: &FileIdentity) -> Option<Vec<Chunk>> {
        self.universe.chunks(identity, params_id()).ok().flatten()
    }

    fn store(&self, identity: &FileIdentity, root: ContentHash, chunks: Option<Vec<Chunk>>) {
        self.add(CachedManifest { identity: *identity, params_id: params_id(), root, chunks });
    }
}

/// Stands in place of a parameter set's number for hashes of whole files without chunks.
const PLAIN_ID: u32 = u32::MAX;
/// Likewise for the tag that says that the grid may know a manifest.
const SHARED_ID: u32 = u32::MAX - 1;

fn shared_params() -> SharedParams {
    SharedParams { lists: params_id(), tags: SHARED_ID }
}

fn params_id() -> u32 {
    u32::from(ORBIT_64K.id().number())
}

/// The time, as file systems give it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let now = now();
    now.seconds * 1000 + i64::from(now.nanos / 1_000_000)
}

/// Where state is kept when nobody says otherwise: `$XDG_STATE_HOME/orbit`, else `~/.local/state/orbit`.
pub fn default_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("orbit"))
}
