//! [`Shelf`]: where the store's snapshots lie, whole ones and those on their way in.

use super::generation::remove;
use super::manifest::SnapshotManifest;
use super::snapshot::SnapshotFile;
use crate::error::StoreError;
use crate::{LogPosition, Mark, private_file};
use orbit_core::wire::decode;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Snapshots that are kept.
const KEPT: usize = 2;
const SUFFIX: &str = ".snap";
/// Behind the name of what is not whole yet.
pub(super) const DRAFT: &str = ".draft";
/// In the directory of a snapshot on its way in: what it will be, and its parts so far.
pub(super) const MANIFEST: &str = "manifest";
pub(super) const PARTS: &str = "parts";

/// Two directories.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    whole: PathBuf,
    incoming: PathBuf,
}

impl Shelf {
    pub fn of(directory: &Path) -> Self {
        Self { whole: directory.join("snapshots"), incoming: directory.join("incoming") }
    }

    /// Removes everything.
    pub fn clear(&self) -> Result<(), StoreError> {
        remove(&self.whole)?;
        remove(&self.incoming)
    }

    /// Removes drafts that a crash left, and what is on its way in but not newer than what was applied.
    pub fn sweep(&self, applied: &Mark) -> Result<(), StoreError> {
        for path in list(&self.whole)? {
            if path.to_str().is_some_and(|name| name.ends_with(DRAFT)) {
                fs::remove_file(&path).map_err(|error| StoreError::io("remove", &path, error))?;
            }
        }
        self.remove_incoming(|manifest| !manifest.mark.is_after(applied))
    }

    /// Removes half-received snapshots, those that cannot be read among them.
    pub fn remove_incoming(&self, goes: impl Fn(&SnapshotManifest) -> bool) -> Result<(), StoreError> {
        for path in list(&self.incoming)? {
            let packed = fs::read(path.join(MANIFEST)).unwrap_or_default();
            let manifest = decode::<SnapshotManifest>(&packed).ok();
            if manifest.is_none_or(|manifest| goes(&manifest)) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The directory of a snapshot on its way in.
    pub fn incoming(&self, manifest: &SnapshotManifest) -> Result<PathBuf, StoreError> {
        let path = self.incoming.join(hex(&manifest.hash()));
        private_file::create_directory(&path)?;
        Ok(path)
    }

    /// A name for a snapshot that is being written.
    pub fn new_draft(&self) -> Result<PathBuf, StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        private_file::create_directory(&self.whole)?;
        Ok(self.whole.join(format!("{}{DRAFT}", NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// Gives a complete and durable file its name, and removes all but the newest snapshots.
    pub fn take_in(&self, draft: &Path, manifest: &SnapshotManifest) -> Result<SnapshotFile, StoreError> {
        private_file::create_directory(&self.whole)?;
        let path = self.path(manifest);
        fs::rename(draft, &path).map_err(|error| StoreError::io("rename", draft, error))?;
        private_file::sync_directory(&self.whole)?;
        if let Some(parent) = self.whole.parent() {
            private_file::sync_directory(parent)?;
        }
        let file = SnapshotFile::open(&path)?;
        for (_, old) in self.all()?.into_iter().skip(KEPT) {
            if old != path {
                fs::remove_file(&old).map_err(|error| StoreError::io("remove", &old, error))?;
            }
        }
        Ok(file)
    }

    /// The newest that is whole, of those whose mark is wanted.
    pub fn newest(&self, is_wanted: impl Fn(&Mark) -> bool) -> Result<Option<SnapshotFile>, StoreError> {
        for (_, path) in self.all()? {
            match SnapshotFile::open(&path) {
                Ok(file) if !is_wanted(&file.manifest().mark) => {}
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::warn!(%error, "passed over a damaged snapshot");
                }
                opened => return opened.map(Some),
            }
        }
        Ok(None)
    }

    /// The one of this manifest.
    pub fn find(&self, manifest: &SnapshotManifest) -> Result<Option<SnapshotFile>, StoreError> {
        match SnapshotFile::open(&self.path(manifest)) {
            Ok(file) => Ok(Some(file).filter(|file| file.manifest() == manifest)),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All, newest first.
    fn all(&self) -> Result<Vec<(LogPosition, PathBuf)>, StoreError> {
        let mut all: Vec<_> =
            list(&self.whole)?.into_iter().filter_map(|path| Some((position(&path)?, path))).collect();
        all.sort();
        all.reverse();
        Ok(all)
    }

    fn path(&self, manifest: &SnapshotManifest) -> PathBuf {
        let position = manifest.mark.position.unwrap_or(LogPosition { term: 0, index: 0 });
        let hash = hex(&manifest.hash()[..8]);
        self.whole.join(format!("{}-{}-{hash}{SUFFIX}", position.term, position.index))
    }
}

/// What a snapshot's name says.
fn position(path: &Path) -> Option<LogPosition> {
    let mut fields = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.split('-');
    let position = LogPosition { term: fields.next()?.parse().ok()?, index: fields.next()?.parse().ok()? };
    (fields.next().is_some() && fields.next().is_none()).then_some(position)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| StoreError::io("list", directory, error))?,
    };
    let path = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.map_err(|error| StoreError::io("list", directory, error))?.path())
    };
    entries.map(path).collect()
}

/// The same path with more behind its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
