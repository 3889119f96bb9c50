//! [`Universe`]: the manifests of files whose content was read before, so that an unchanged file is never read again.
//!
//! It is a cache: losing it costs time, never data. An answer is given only for exactly the version of a file it
//! was stored for.

pub(crate) mod mark;
mod read;
mod record;
mod schema;
mod shared;
mod write;

pub use shared::{SharedPage, SharedParams};

use crate::error::StoreError;
use crate::private_file;
use mark::OpenMark;
use orbit_core::{Chunk, ContentHash, FileIdentity};
use record::FileKey;
use redb::{Database, Durability};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Memory redb may use for pages.
const CACHE_BYTES: usize = 8 << 20;
/// redb trusts a file that was closed cleanly and may panic over one that was changed since. A full check at every
/// opening rules that out while it takes milliseconds. A larger file is checked if the process before did not close
/// it, so damage that costs one process its life is found by the next.
const CHECKED_BYTES_MAX: u64 = 16 << 20;

/// The cache of chunk manifests. One process at a time has it open; its threads may share it.
#[derive(Debug)]
pub struct Universe {
    database: Database,
    path: PathBuf,
    /// Behind the database, so that it is dropped after it.
    mark: OpenMark,
    /// Entries found damaged by readers; the next write drops them.
    damaged: Mutex<BTreeSet<FileKey>>,
    /// Bytes written since the last durable commit.
    volatile_bytes: Mutex<u64>,
}

/// What is known of one version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedManifest {
    /// The version.
    pub identity: FileIdentity,
    /// The chunking parameters it was read with.
    pub params_id: u32,
    /// The root over its chunk hashes.
    pub root: ContentHash,
    /// Its chunks in order; `None` keeps the root only.
    pub chunks: Option<Vec<Chunk>>,
}

/// What became of the manifests of a [`Universe::put_batch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Stored.
    pub stored: u64,
    /// Refused, because the file had changed less than two seconds before it was observed.
    pub racy: u64,
}

/// Size of the universe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UniverseStats {
    /// File versions known.
    pub entries: u64,
    /// Parts of chunk lists (up to 7 000 chunks each).
    pub chunk_parts: u64,
    /// Length of the file.
    pub file_bytes: u64,
}

impl Universe {
    /// Opens the universe at `path`, created (0600, its directory 0700) or migrated if need be.
    ///
    /// Errors: [`Locked`](StoreError::Locked) while another process has it open; [`Corrupt`](StoreError::Corrupt);
    /// [`NewerVersion`](StoreError::NewerVersion); [`Io`](StoreError::Io). As it is a cache, a caller may go on
    /// without it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        private_file::create(path)?;
        let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= CHECKED_BYTES_MAX);
        let mark = OpenMark::set(path)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(small || mark.was_left())
            .create(path)
            .map_err(|error| StoreError::redb("open the universe", path, error))?;
        schema::migrate(&database, path)?;
        let (damaged, volatile_bytes) = (Mutex::default(), Mutex::default());
        Ok(Self { database, path: path.to_owned(), mark: mark.held(), damaged, volatile_bytes })
    }

    /// Opens the universe, or begins a new one if it is [`Corrupt`](StoreError::Corrupt): what is damaged is moved
    /// aside to the same name with `.damaged` behind it. Another program's database is left alone.
    pub fn open_or_replace(path: &Path) -> Result<Self, StoreError> {
        use crate::error::Damage;
        match Self::open(path) {
            Err(StoreError::Corrupt { damage: Damage::Structure | Damage::Row { .. }, source, .. }) => {
                tracing::warn!(path = %path.display(), ?source, "replaced a damaged universe");
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                std::fs::rename(path, aside).map_err(|error| StoreError::io("move aside", path, error))?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Where the universe lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes all that was put so far survive a power cut, and drops entries found damaged.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.write("flush the universe", Durability::Immediate, |_| Ok(()))
    }

    /// Flushes and closes, and reports what dropping would swallow.
    pub fn close(self) -> Result<(), StoreError> {
        self.flush()?;
        self.database.close().map_err(|error| StoreError::redb("close the universe", &self.path, error))?;
        drop(self.mark);
        Ok(())
    }

    /// Gives unused space back to the file system. Returns whether anything was gained; takes seconds per GB.
    pub fn compact(&mut self) -> Result<bool, StoreError> {
        self.database.compact().map_err(|error| StoreError::redb("compact the universe", &self.path, error))
    }

    fn note_damaged(&self, key: FileKey) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        // What does not fit is found again by the next look-up.
        if damaged.len() < 4096 {
            damaged.insert(key);
        }
    }

    fn take_damaged(&self) -> BTreeSet<FileKey> {
        std::mem::take(&mut self.damaged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
