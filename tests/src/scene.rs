//! [`Scene`]: a source, a destination, and a binary to bring them together.

use crate::orbit::{Exit, Orbit, Run, Running};
use crate::snapshot::{Snapshot, assert_same_tree};
use crate::tree::Tree;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything one test needs; gone when dropped.
#[derive(Debug)]
pub struct Scene {
    /// The binary.
    pub orbit: Orbit,
    /// Not made yet.
    pub source: PathBuf,
    /// Not made yet.
    pub destination: PathBuf,
    directory: tempfile::TempDir,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// In the system's directory for temporary files.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Somewhere else, for example on a file system of its own.
    ///
    /// # Panics
    /// If nothing can be made there.
    pub fn below(directory: &Path) -> Self {
        Self::with(Orbit::new(), directory)
    }

    /// With this binary.
    ///
    /// # Panics
    /// If nothing can be made there.
    pub fn with(orbit: Orbit, directory: &Path) -> Self {
        let directory =
            tempfile::Builder::new().prefix("orbit-test-").tempdir_in(directory).expect("makes a directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).expect("sets the mode");
        let path = |name| directory.path().join(name);
        Self { orbit, source: path("source"), destination: path("destination"), directory }
    }

    /// A path beside source and destination.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The source, made if need be.
    pub fn source_tree(&self) -> Tree {
        Tree::at(&self.source, 1)
    }

    /// The destination, made if need be.
    pub fn destination_tree(&self) -> Tree {
        Tree::at(&self.destination, 2)
    }

    /// A source with a bit of everything.
    pub fn mixed_source(&self, seed: u64, files: usize) -> Tree {
        Tree::mixed(&self.source, seed, files)
    }

    /// Syncs source to destination.
    #[track_caller]
    pub fn sync(&self, flags: &[&str]) -> Run {
        self.orbit.sync(&self.source, &self.destination, flags)
    }

    /// Starts to.
    #[track_caller]
    pub fn start_sync(&self, flags: &[&str]) -> Running {
        self.orbit.start_sync(&self.source, &self.destination, flags)
    }

    /// Syncs, and panics unless the destination then is exactly what the source is.
    #[track_caller]
    pub fn sync_whole(&self, flags: &[&str]) -> Run {
        let run = self.sync(flags).expect(Exit::Done);
        assert_same_tree(&self.source, &self.destination);
        run
    }

    /// A picture of the source.
    pub fn source_now(&self) -> Snapshot {
        Snapshot::take(&self.source)
    }

    /// A picture of the destination.
    pub fn destination_now(&self) -> Snapshot {
        Snapshot::take(&self.destination)
    }
}
