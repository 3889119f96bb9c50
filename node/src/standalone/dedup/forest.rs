//! [`Forest`]: all endpoints together, in which every file counts once.

use super::super::error::chain;
use super::super::inspect::{WalkRules, each_listing};
use super::super::observer::RunEvent;
use super::super::place::{Place, Site};
use super::super::state::UniverseCache;
use super::super::{Context, RunError};
use orbit_core::system::SystemError;
use orbit_core::{Listing, Metadata, RelPath};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A file system: machine (0 is this one, or the only one) and device.
pub(super) type DeviceId = (u32, u64);
/// An inode: where it lies, and its number.
type InodeId = (DeviceId, u64);

/// The endpoints of a run.
pub(super) struct Forest<'f> {
    context: &'f Context,
    endpoints: &'f [Place],
    walk: &'f WalkRules,
    trees: Vec<Tree>,
}

/// One endpoint.
struct Tree {
    /// Its position among the endpoints.
    endpoint: usize,
    /// The directory, or the one that holds the file.
    site: Site,
    machine: u32,
    /// The root, or the file's name.
    start: RelPath,
    id: InodeId,
}

/// A regular file that a walk came by for the first time.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// Which tree of the forest holds it.
    pub tree: usize,
    /// Which machine holds it.
    pub machine: u32,
    /// The directory below the tree's root.
    pub directory: &'a RelPath,
    pub name: &'a [u8],
    pub metadata: &'a Metadata,
}

impl<'f> Forest<'f> {
    /// Opens all endpoints. One that is named twice is held once.
    pub fn open(
        context: &'f Context,
        endpoints: &'f [Place],
        walk: &'f WalkRules,
        cache: Option<&Arc<UniverseCache>>,
    ) -> Result<Self, RunError> {
        let mut trees: Vec<Tree> = Vec::with_capacity(endpoints.len());
        let mut machines: Vec<Option<&str>> = vec![None];
        for (endpoint, place) in endpoints.iter().enumerate() {
            let (site, start) = place.open()?;
            let metadata = site.system().metadata(&start).map_err(|error| site.fatal(error))?;
            if !metadata.is_directory() && !metadata.is_file() {
                return Err(RunError::WrongKind {
                    path: place.endpoint().to_string().into(),
                    wanted: "a directory or a regular file",
                });
            }
            let machine = number_of(place, &mut machines);
            let id = ((machine, metadata.dev), metadata.ino);
            if trees.iter().any(|tree| tree.id == id) {
                continue;
            }
            let site = match cache {
                Some(cache) => site.with_cache(cache),
                None => site,
            };
            trees.push(Tree { endpoint, site, machine, start, id });
        }
        Ok(Self { context, endpoints, walk, trees })
    }

    /// Gives every regular file of all trees to `visit`, in walk order: an inode with several names by its first
    /// name, and an endpoint inside another one as itself only. Answers how many directories could not be read.
    pub fn each_file(&self, context: &Context, mut visit: impl FnMut(Found<'_>)) -> Result<u64, RunError> {
        let mut linked: HashSet<InodeId> = HashSet::new();
        let mut is_first = |machine: u32, metadata: &Metadata| {
            metadata.links <= 1 || linked.insert(((machine, metadata.dev), metadata.ino))
        };
        let mut faults = 0;
        for (number, tree) in self.trees.iter().enumerate() {
            let machine = tree.machine;
            if !tree.start.is_root() {
                let metadata = tree.site.system().metadata(&tree.start);
                let metadata = &metadata.map_err(|error| tree.site.fatal(error))?;
                if metadata.is_file() && is_first(machine, metadata) {
                    let directory = &RelPath::root();
                    let name = tree.start.as_bytes();
                    visit(Found { tree: number, machine, directory, name, metadata });
                }
                continue;
            }
            let mut elsewhere: Vec<RelPath> = Vec::new();
            faults += each_listing(context, &tree.site, self.walk, |listing| {
                if elsewhere.iter().any(|path| listing.path.starts_with(path)) {
                    return;
                }
                self.note_other_trees(number, listing, &mut elsewhere);
                for (name, metadata) in listing.iter() {
                    let is_new = metadata.is_file()
                        && !self.is_other_tree(number, metadata)
                        && is_first(machine, metadata);
                    if is_new {
                        visit(Found { tree: number, machine, directory: &listing.path, name, metadata });
                    }
                }
            })?;
        }
        Ok(faults)
    }

    /// Where a tree is read.
    pub fn site(&self, tree: usize) -> &Site {
        &self.trees[tree].site
    }

    /// How many calls are worth making side by side.
    pub fn calls(&self) -> usize {
        self.trees.iter().map(|tree| tree.site.calls()).max().unwrap_or(1)
    }

    /// The endpoint that is a tree, by position, and `path` (below the tree's root) as seen from there.
    pub fn seen_from_endpoint(&self, tree: usize, path: &RelPath) -> (usize, RelPath) {
        let tree = &self.trees[tree];
        (tree.endpoint, if tree.start.is_root() { path.clone() } else { RelPath::root() })
    }

    /// The whole path of a file of this machine, for people and for finding its mount.
    pub fn local_path(&self, tree: usize, path: &RelPath) -> Option<PathBuf> {
        let (endpoint, below) = self.seen_from_endpoint(tree, path);
        let Place::Here(endpoint) = &self.endpoints[endpoint] else { return None };
        Some(if below.is_root() {
            endpoint.clone()
        } else {
            endpoint.join(OsStr::from_bytes(below.as_bytes()))
        })
    }

    fn is_other_tree(&self, number: usize, metadata: &Metadata) -> bool {
        let id = ((self.trees[number].machine, metadata.dev), metadata.ino);
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
    lost: Option<RunError>,
}

impl Faults {
    /// Reports `error` on a file and counts it. If it is the star that is lost, that is remembered instead.
    pub fn report(&mut self, forest: &Forest<'_>, tree: usize, error: SystemError) {
        let error = match forest.trees[tree].site.judge(error) {
            Ok(error) => error,
            Err(lost) => {
                // Streams are given up on request, too.
                if !forest.context.stop.load(Ordering::Relaxed) {
                    self.lost.get_or_insert(lost);
                }
                return;
            }
        };
        let path = error.path();
        if !self.reported.insert((tree, path.clone())) {
            return;
        }
        self.count += 1;
        let mut message = chain(&error);
        if forest.trees.len() > 1 {
            let place = &forest.endpoints[forest.trees[tree].endpoint];
            message = format!("{message} (in {})", place.endpoint());
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

    /// Whether a star was lost: what is found from then on says little.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Fails if a star was lost.
    pub fn lost(&mut self) -> Result<(), RunError> {
        self.lost.take().map_or(Ok(()), Err)
    }
}

/// The number of a place's machine among those seen. All that is on this machine has the number 0, however it is named.
fn number_of<'p>(place: &'p Place, machines: &mut Vec<Option<&'p str>>) -> u32 {
    let machine = match place {
        Place::Here(_) => None,
        Place::Star(star) => star.machine.as_deref(),
    };
    let known = machines.iter().position(|known| *known == machine);
    known.unwrap_or_else(|| {
        machines.push(machine);
        machines.len() - 1
    }) as u32
}
