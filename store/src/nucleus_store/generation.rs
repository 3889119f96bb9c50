//! [`Generation`]: one pair of databases, and the pointer to the one in use.
//!
//! `CURRENT` holds the name of a generation's directory and a line feed. It is replaced as a whole.

use super::jobs::GroupJobs;
use crate::error::{Damage, StoreError};
use crate::nucleus_universe::NucleusUniverse;
use crate::private_file;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const JOBS: &str = "jobs.db";
pub(super) const UNIVERSE: &str = "universe_v3.db";
const CURRENT: &str = "CURRENT";
const PREFIX: &str = "gen-";

/// The number of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The databases of a generation.
pub(super) struct Opened {
    pub jobs: GroupJobs,
    pub universe: NucleusUniverse,
}

impl Opened {
    pub fn flush(&self) -> Result<(), StoreError> {
        self.jobs.flush()?;
        self.universe.flush()
    }
}

impl Generation {
    pub const FIRST: Self = Self(1);

    /// The one in use; `None` if there is none.
    pub fn current(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(CURRENT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(StoreError::damaged(&path, Damage::Structure));
            }
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let named = text.strip_suffix('\n').and_then(Self::named);
        named.map(Some).ok_or_else(|| StoreError::damaged(&path, Damage::Structure))
    }

    fn named(name: &str) -> Option<Self> {
        let number = name.strip_prefix(PREFIX)?.parse().ok().map(Self)?;
        (number.name() == name).then_some(number)
    }

    fn name(self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn path(self, directory: &Path) -> PathBuf {
        directory.join(self.name())
    }

    /// An empty directory for it; what a cut-off attempt left there goes.
    pub fn create(self, directory: &Path) -> Result<PathBuf, StoreError> {
        let path = self.path(directory);
        remove(&path)?;
        private_file::create_directory(&path)?;
        Ok(path)
    }

    /// Opens its databases. A universe that is damaged or new begins anew with the contents of `jobs.db`.
    pub fn open(self, directory: &Path) -> Result<Opened, StoreError> {
        let path = self.path(directory);
        let jobs_path = path.join(JOBS);
        if !jobs_path.exists() {
            // An empty one in its place would be a grid that knows nothing.
            return Err(StoreError::damaged(&jobs_path, Damage::Missing));
        }
        let jobs = GroupJobs::open(&jobs_path)?;
        let universe = NucleusUniverse::open_or_rebuild(&path.join(UNIVERSE))?;
        if universe.was_rebuilt() || universe.mark()?.is_none() {
            universe.reset(jobs.contents(), &jobs.mark()?)?;
        }
        Ok(Opened { jobs, universe })
    }

    /// Makes the names in its directory durable, and its own.
    pub fn sync(self, directory: &Path) -> Result<(), StoreError> {
        private_file::sync_directory(&self.path(directory))?;
        private_file::sync_directory(directory)
    }

    /// Lets `CURRENT` name it, durably.
    pub fn make_current(self, directory: &Path) -> Result<(), StoreError> {
        private_file::replace(&directory.join(CURRENT), format!("{}\n", self.name()).as_bytes())
    }

    /// Removes all other generations.
    pub fn remove_others(self, directory: &Path) -> Result<(), StoreError> {
        let entries = fs::read_dir(directory).map_err(|error| StoreError::io("list", directory, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| StoreError::io("list", directory, error))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(Self::named);
            if number.is_some_and(|number| number != self) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}
