//! [`Trees`]: the two endpoints of a sync, opened and held against the guards that look at nothing but them.

mod jailed;

use super::error::{Guard, RunError, chain};
use super::place::Site;
use super::request::{SyncRequest, Trash};
use super::state::UniverseCache;
use crate::local::jail::Jail;
use crate::local::manifest_cache::ManifestCache;
use crate::local::metadata;
use crate::local::system::LocalSystem;
use crate::local::writer::TrashPlace;
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::{OrbitSystem, ScanOptions};
use orbit_core::{EntryKind, Metadata, RelPath};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is synced to what.
pub struct Trees {
    /// The source's root: the directory, or the directory that holds the file.
    pub source: Site,
    /// Where the destination's root is or will be.
    pub destination_path: PathBuf,
    /// The destination's root; `None` while it does not exist.
    pub destination: Option<Arc<Jail>>,
    /// Whole trees, or one file.
    pub shape: Shape,
    /// Where a root that does not exist is made, if not by the text of its path.
    home: Option<(Arc<Jail>, RelPath)>,
    /// Where displaced objects go.
    trash: TrashPlace,
    /// Hashes that readers of the trees look up and leave behind.
    hashes: Option<Arc<dyn ManifestCache>>,
    /// The same, where this run is to write them down.
    universe: Option<Arc<UniverseCache>>,
}

/// Whether a tree or a file is synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The contents of a directory.
    Tree,
    /// One file, by its names on both sides.
    File {
        /// In the source's root.
        source: RelPath,
        /// In the destination's root.
        destination: RelPath,
    },
}

impl Shape {
    /// Name of a single file in the source's root.
    pub const fn source_name(&self) -> Option<&RelPath> {
        match self {
            Self::Tree => None,
            Self::File { source, .. } => Some(source),
        }
    }
}

impl Trees {
    /// Opens both endpoints. Changes nothing.
    pub fn open(request: &SyncRequest) -> Result<Self, RunError> {
        let source = existing(&request.source)?;
        if let Some(marker) = &request.source_marker {
            let path = request.source.join(marker);
            if fs::symlink_metadata(&path).is_err() {
                return Err(Guard::MarkerMissing { path }.into());
            }
        }
        if !source.is_dir() {
            return Self::of_file(request);
        }
        check_trash(request)?;
        Self::of_directories(request)
    }

    /// Makes the destination's root if it is missing, and gives it.
    pub fn make_destination(&mut self) -> Result<Arc<Jail>, RunError> {
        if let Some(jail) = &self.destination {
            return Ok(jail.clone());
        }
        let path = &self.destination_path;
        let made = match &self.home {
            Some((home, name)) => jailed::make_directory(home, name),
            None => fs::create_dir(path),
        };
        made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
            .map_err(|source| path_error("create", path, source))?;
        let jail = match &self.home {
            Some((home, name)) => home.below(name)?,
            None => open_jail(path)?,
        };
        let jail = Arc::new(jail);
        self.destination = Some(jail.clone());
        Ok(jail)
    }

    /// Where displaced objects go.
    pub fn trash_place(&self) -> TrashPlace {
        self.trash.clone()
    }

    /// Whether a run that did not end left its stage area.
    pub fn has_stage_area(&self) -> bool {
        self.destination.as_deref().is_some_and(|jail| metadata::of_name(jail.root_fd(), STAGE_NAME).is_ok())
    }

    /// Bytes that such a stage area occupies. What cannot be read counts as nothing.
    pub fn staged_bytes(&self) -> u64 {
        let Some(jail) = self.destination.clone().filter(|_| self.has_stage_area()) else { return 0 };
        let start = RelPath::root().join(STAGE_NAME).expect("the reserved name is a plain name");
        let filter = Arc::new(orbit_core::filter::KeepAll);
        let options = ScanOptions { start, filter, one_file_system: true, threads: 1 };
        let Ok(mut scan) = LocalSystem::new(jail).scan(&options) else { return 0 };
        let mut bytes = 0_u64;
        while let Some(found) = scan.next() {
            let entries = found.iter().flat_map(orbit_core::Listing::entries);
            let files = entries.filter(|entry| !entry.metadata.is_directory());
            bytes = files.map(|entry| entry.metadata.allocated).fold(bytes, u64::saturating_add);
        }
        bytes
    }

    /// A reader of the destination, if it exists.
    pub fn destination_system(&self) -> Option<LocalSystem> {
        let system = LocalSystem::new(self.destination.clone()?);
        Some(match &self.hashes {
            Some(hashes) => system.with_cache(hashes.clone()),
            None => system,
        })
    }

    /// Has readers of both trees look up hashes, and remember those they compute.
    pub fn remember_hashes(&mut self, hashes: Arc<UniverseCache>) {
        self.source = self.source.clone().with_cache(&hashes);
        self.hashes = Some(hashes.clone());
        self.universe = Some(hashes);
    }

    /// Writes down what was hashed. Not being able to is no reason to fail.
    pub fn keep_hashes(&self) {
        if let Some(universe) = &self.universe
            && let Err(error) = universe.flush()
        {
            tracing::warn!(error = chain(&error), "cannot keep hashes");
        }
    }

    fn of_directories(request: &SyncRequest) -> Result<Self, RunError> {
        let source = open_jail(&request.source)?;
        let destination = match fs::metadata(&request.destination) {
            Ok(found) if found.is_dir() => Some(Arc::new(open_jail(&request.destination)?)),
            Ok(_) => {
                return Err(RunError::WrongKind { path: request.destination.clone(), wanted: "a directory" });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                parent_of(&request.destination)?;
                None
            }
            Err(source) => return Err(path_error("read", &request.destination, source)),
        };
        check_nesting(&request.source, &request.destination, destination.is_some())?;
        Ok(Self {
            source: Site::Local(LocalSystem::new(Arc::new(source))),
            destination_path: request.destination.clone(),
            destination,
            shape: Shape::Tree,
            home: None,
            trash: trash_of(request),
            hashes: None,
            universe: None,
        })
    }

    fn of_file(request: &SyncRequest) -> Result<Self, RunError> {
        let (source_root, source_name) = split(&request.source)?;
        let destination_is_directory = fs::metadata(&request.destination).is_ok_and(|found| found.is_dir())
            || request.destination.as_os_str().as_bytes().ends_with(b"/");
        let (destination_path, destination_name) = if destination_is_directory {
            (request.destination.clone(), source_name.clone())
        } else {
            let parent = parent_of(&request.destination)?;
            (parent, split(&request.destination)?.1)
        };
        let destination = match open_jail(&destination_path) {
            Ok(jail) => Some(Arc::new(jail)),
            Err(RunError::NotFound { .. }) => {
                parent_of(&destination_path)?;
                None
            }
            Err(error) => return Err(error),
        };
        let trees = Self {
            source: Site::Local(LocalSystem::new(Arc::new(open_jail(&source_root)?))),
            destination_path,
            destination,
            shape: Shape::File { source: source_name, destination: destination_name },
            home: None,
            trash: trash_of(request),
            hashes: None,
            universe: None,
        };
        trees.check_same_file(request)?;
        Ok(trees)
    }

    /// A file synced to itself, under whatever name, would be truncated by a lesser tool.
    fn check_same_file(&self, request: &SyncRequest) -> Result<(), RunError> {
        let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let Shape::File { destination, .. } = &self.shape else { return Ok(()) };
        let target = self.destination_path.join(OsStr::from_bytes(destination.as_bytes()));
        if identity(&request.source).is_some_and(|found| Some(found) == identity(&target)) {
            let source_path = request.source.clone();
            return Err(Guard::Same { destination: target, source_path }.into());
        }
        Ok(())
    }
}

/// Metadata of an opened root.
pub fn root_metadata(jail: &Jail) -> Result<Metadata, RunError> {
    let path = jail.root_path();
    metadata::of_handle(jail.root_fd()).map_err(|source| path_error("read", path, source))
}

/// Opens a directory that a person named as a root.
pub fn open_jail(path: &Path) -> Result<Jail, RunError> {
    Jail::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RunError::NotFound { path: path.to_path_buf() },
        io::ErrorKind::NotADirectory => {
            RunError::WrongKind { path: path.to_path_buf(), wanted: "a directory" }
        }
        _ => path_error("open", path, source),
    })
}

/// A root for a path that a person named, and the path of the object below it: the directory itself (empty path), or
/// the directory that holds the file.
pub fn root_and_path(path: &Path) -> Result<(Jail, RelPath), RunError> {
    if existing(path)?.is_dir() {
        return Ok((open_jail(path)?, RelPath::root()));
    }
    let (root, name) = split(path)?;
    Ok((open_jail(&root)?, name))
}

/// What a person named, following a link only if it leads to a directory.
fn existing(path: &Path) -> Result<fs::Metadata, RunError> {
    let named = fs::symlink_metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => RunError::NotFound { path: path.to_path_buf() },
        _ => path_error("read", path, source),
    })?;
    if named.is_symlink()
        && let Ok(followed) = fs::metadata(path)
        && followed.is_dir()
    {
        return Ok(followed);
    }
    Ok(named)
}

/// Splits a path into its directory and its last name.
fn split(path: &Path) -> Result<(PathBuf, RelPath), RunError> {
    let name = path.file_name().ok_or_else(|| RunError::WrongKind {
        path: path.to_path_buf(),
        wanted: "a path with a name at its end",
    })?;
    let name = RelPath::new(name.as_bytes())
        .map_err(|source| RunError::BadPath { path: path.to_path_buf(), source })?;
    Ok((directory_of(path), name))
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The directory that holds (or will hold) `path`. It must exist: making whole paths would fill the wrong disk when the
/// right one is not mounted.
fn parent_of(path: &Path) -> Result<PathBuf, RunError> {
    let parent = directory_of(path);
    if fs::metadata(&parent).is_ok_and(|found| found.is_dir()) {
        return Ok(parent);
    }
    Err(RunError::NoParent { path: path.to_path_buf() })
}

/// Where displaced objects go, by the text of its path.
fn trash_of(request: &SyncRequest) -> TrashPlace {
    match &request.trash {
        Trash::Directory(path) => TrashPlace::Directory(path.clone()),
        Trash::Off | Trash::Default => TrashPlace::InDestination,
    }
}

fn path_error(operation: &'static str, path: &Path, source: io::Error) -> RunError {
    RunError::Path { operation, path: path.to_path_buf(), source }
}

/// Refuses trees of which one holds the other, by inode, so that links and bind mounts do not hide it.
fn check_nesting(source: &Path, destination: &Path, destination_exists: bool) -> Result<(), RunError> {
    let resolve = |path: &Path| fs::canonicalize(path).map_err(|error| path_error("resolve", path, error));
    let source_path = resolve(source)?;
    let destination_base =
        if destination_exists { resolve(destination)? } else { resolve(&directory_of(destination))? };
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let (source_id, destination_id) = (identity(&source_path), identity(&destination_base));
    let within =
        |path: &Path, id: Option<(u64, u64)>| path.ancestors().any(|a| id.is_some() && identity(a) == id);
    let (source_path_owned, destination_owned) = (source.to_path_buf(), destination.to_path_buf());
    if destination_exists && source_id == destination_id {
        return Err(Guard::Same { destination: destination_owned, source_path: source_path_owned }.into());
    }
    if within(&destination_base, source_id) {
        let guard =
            Guard::DestinationInside { destination: destination_owned, source_path: source_path_owned };
        return Err(guard.into());
    }
    if destination_exists && within(&source_path, destination_id) {
        let guard = Guard::SourceInside { destination: destination_owned, source_path: source_path_owned };
        return Err(guard.into());
    }
    Ok(())
}

/// A trash directory inside one of the trees would be taken for a part of it by the next run.
fn check_trash(request: &SyncRequest) -> Result<(), RunError> {
    let Trash::Directory(trash) = &request.trash else { return Ok(()) };
    let Ok(resolved) = fs::canonicalize(trash).or_else(|_| fs::canonicalize(directory_of(trash))) else {
        // It does not exist, which beginning to write will say.
        return Ok(());
    };
    for tree in [&request.source, &request.destination] {
        if fs::canonicalize(tree).is_ok_and(|tree| resolved.starts_with(tree)) {
            return Err(Guard::TrashInside { trash: trash.clone(), tree: tree.clone() }.into());
        }
    }
    Ok(())
}

/// Whether `kind` can be the source of a sync by itself.
pub const fn is_syncable(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::Socket)
}
