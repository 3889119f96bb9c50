//! [`Forest`]: all endpoints together, in which every file counts once.

use super::super::error::chain;
use super::super::inspect::{WalkRules, each_listing};
use super::super::observer::RunEvent;
use super::super::state::UniverseCache;
use super::super::trees::{root_and_path, root_metadata};
use super::super::{Context, RunError};
use crate::local::system::LocalSystem;
use orbit_core::system::{OrbitSystem, SystemError};
use orbit_core::{Listing, Metadata, RelPath};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An inode: device and number.
type InodeId = (u64, u64);

/// The endpoints of a run.
pub(super) struct Forest<'f> {
    context: &'f Context,
    endpoints: &'f [PathBuf],
    walk: &'f WalkRules,
    trees: Vec<Tree>,
}

/// One endpoint.
struct Tree {
    /// Its position among the endpoints.
    endpoint: usize,
    /// The directory, or the one that holds the file.
    system: LocalSystem,
    /// The root, or the file's name.
    start: RelPath,
    id: InodeId,
}

/// A regular file that a walk came by for the first time.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// Which tree of the forest holds it.
    pub tree: usize,
    /// The directory below the tree's root.
    pub directory: &'a RelPath,
    pub name: &'a [u8],
    pub metadata: &'a Metadata,
}

impl<'f> Forest<'f> {
    /// Opens all endpoints. One that is named twice is held once.
    pub fn open(
        context: &'f Context,
        endpoints: &'f [PathBuf],
        walk: &'f WalkRules,
        cache: Option<&Arc<UniverseCache>>,
    ) -> Result<Self, RunError> {
        let mut trees: Vec<Tree> = Vec::with_capacity(endpoints.len());
        for (endpoint, path) in endpoints.iter().enumerate() {
            let (jail, start) = root_and_path(path)?;
            let jail = Arc::new(jail);
            let system = LocalSystem::new(jail.clone());
            let metadata = if start.is_root() { root_metadata(&jail)? } else { system.metadata(&start)? };
            if !metadata.is_directory() && !metadata.is_file() {
                return Err(RunError::WrongKind {
                    path: path.clone(),
                    wanted: "a directory or a regular file",
                });
            }
            let id = (metadata.dev, metadata.ino);
            if trees.iter().any(|tree| tree.id == id) {
                continue;
            }
            let system = match cache {
                Some(cache) => system.with_cache(cache.clone()),
                None => system,
            };
            trees.push(Tree { endpoint, system, start, id });
        }
        Ok(Self { context, endpoints, walk, trees })
    }

    /// Gives every regular file of all trees to `visit`, in walk order: an inode with several names by its first
    /// name, and an endpoint inside another one as itself only. Answers how many directories could not be read.
    pub fn each_file(&self, context: &Context, mut visit: impl FnMut(Found<'_>)) -> Result<u64, RunError> {
        let mut linked: HashSet<InodeId> = HashSet::new();
        let mut is_first =
            |metadata: &Metadata| metadata.links <= 1 || linked.insert((metadata.dev, metadata.ino));
        let mut faults = 0;
        for (number, tree) in self.trees.iter().enumerate() {
            if !tree.start.is_root() {
                let metadata = tree.system.metadata(&tree.start)?;
                if metadata.is_file() && is_first(&metadata) {
                    let directory = &RelPath::root();
                    visit(Found {
                        tree: number,
                        directory,
                        name: tree.start.as_bytes(),
                        metadata: &metadata,
                    });
                }
                continue;
            }
            let mut elsewhere: Vec<RelPath> = Vec::new();
            faults += each_listing(context, &tree.system, self.walk, |listing| {
                if elsewhere.iter().any(|path| listing.path.starts_with(path)) {
                    return;
                }
                self.note_other_trees(number, listing, &mut elsewhere);
                for (name, metadata) in listing.iter() {
                    let is_new =
                        metadata.is_file() && !self.is_other_tree(number, metadata) && is_first(metadata);
                    if is_new {
                        visit(Found { tree: number, directory: &listing.path, name, metadata });
                    }
                }
            })?;
        }
        Ok(faults)
    }

    /// The system of a tree.
    pub fn system(&self, tree: usize) -> &LocalSystem {
        &self.trees[tree].system
    }

    /// The endpoint that is a tree, by position, and `path` (below the tree's root) as seen from there.
    pub fn seen_from_endpoint(&self, tree: usize, path: &RelPath) -> (usize, RelPath) {
        let tree = &self.trees[tree];
        (tree.endpoint, if tree.start.is_root() { path.clone() } else { RelPath::root() })
    }

    /// The whole path of a file, for people and for finding its mount.
    pub fn whole_path(&self, tree: usize, path: &RelPath) -> PathBuf {
        let (endpoint, below) = self.seen_from_endpoint(tree, path);
        let endpoint = &self.endpoints[endpoint];
        if below.is_root() { endpoint.clone() } else { join(endpoint, &below) }
    }

    fn is_other_tree(&self, number: usize, metadata: &Metadata) -> bool {
        let id = (metadata.dev, metadata.ino);
        self.trees.len() > 1 && self.trees.iter().enumerate().any(|(n, tree)| n != number && tree.id == id)
    }

    fn note_other_trees(&self, number: usize, listing: &Listing, elsewhere: &mut Vec<RelPath>) {
        if self.trees.len() > 1 {
            let others = listing.iter().filter(|(_, m)| m.is_directory() && self.is_other_tree(number, m));
            elsewhere.extend(others.filter_map(|(name, _)| listing.path.join(name).ok()));
        }
    }
}

/// What could not be read or shared. A path is reported once, however often it is tried.
#[derive(Default)]
pub(super) struct Faults {
    count: u64,
    reported: HashSet<(usize, RelPath)>,
}

impl Faults {
    /// Reports `error` on a file and counts it.
    pub fn report(&mut self, forest: &Forest<'_>, tree: usize, error: &SystemError) {
        let path = error.path();
        if !self.reported.insert((tree, path.clone())) {
            return;
        }
        self.count += 1;
        let mut message = chain(error);
        if forest.trees.len() > 1 {
            let endpoint = &forest.endpoints[forest.trees[tree].endpoint];
            message = format!("{message} (in {})", endpoint.display());
        }
        forest.context.observer.event(&RunEvent::Fault { path, message: &message });
    }

    /// Counts what was reported elsewhere.
    pub fn add(&mut self, count: u64) {
        self.count += count;
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

/// A path below a directory, in the system's own form.
pub(super) fn join(directory: &Path, path: &RelPath) -> PathBuf {
    directory.join(OsStr::from_bytes(path.as_bytes()))
}
