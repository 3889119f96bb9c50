//! Every file of the destination is the old version or a new one, whole.

use super::Watch;
use crate::disk::state::{Body, Inode, State};
use crate::world::Mode;
use crate::writer::area_path;
use orbit_core::RelPath;
use std::collections::{BTreeMap, BTreeSet};

/// What may be at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Absent,
    Directory,
    Other(Body),
}

/// Everything that ever was at a path, in the destination before the first run or in the source.
#[derive(Debug)]
pub struct History {
    versions: BTreeMap<RelPath, BTreeSet<Version>>,
    mode: Mode,
}

impl History {
    /// Of two trees that were not synced yet.
    pub fn new(destination: &State, source: &State, mode: Mode) -> Self {
        let mut history = Self { versions: BTreeMap::new(), mode };
        for (path, inode) in destination.paths() {
            history.versions.entry(path).or_default().insert(version(destination, inode));
        }
        history.note_source(source);
        history
    }

    /// The source is now like this.
    pub fn note_source(&mut self, source: &State) {
        let paths = source.paths();
        for (path, inode) in &paths {
            // What nobody knew was in neither tree.
            let versions =
                self.versions.entry(path.clone()).or_insert_with(|| BTreeSet::from([Version::Absent]));
            versions.insert(version(source, *inode));
        }
        if self.mode == Mode::Mirror {
            for (path, versions) in &mut self.versions {
                if !paths.contains_key(path) {
                    versions.insert(Version::Absent);
                }
            }
        }
    }

    fn allows(&self, path: &RelPath, found: &Version) -> bool {
        let Some(versions) = self.versions.get(path) else { return *found == Version::Absent };
        let is_one = |version: &Version| matches!(version, Version::Other(_));
        // Between the removal of an empty directory and the rename of what takes its place.
        let between = *found == Version::Absent
            && versions.contains(&Version::Directory)
            && versions.iter().any(is_one);
        between || versions.contains(found)
    }
}

fn version(state: &State, inode: Inode) -> Version {
    match &state.nodes[&inode].body {
        Body::Directory(_) => Version::Directory,
        body => Version::Other(body.clone()),
    }
}

/// Looks at a disk as a kill or a power cut left it.
pub fn check(watch: &mut Watch, history: &History, state: &State, when: &str) {
    let area = area_path();
    let found: BTreeMap<RelPath, Inode> =
        state.paths().into_iter().filter(|(path, _)| !path.starts_with(&area)).collect();
    for (path, inode) in &found {
        let version = version(state, *inode);
        if !history.allows(path, &version) {
            watch.violation("old or new, whole", format!("{path} is {version:?} {when}"));
        }
    }
    for path in history.versions.keys() {
        let missing = !found.contains_key(path) && !history.allows(path, &Version::Absent);
        // What lay in a directory that is gone for something else went with it.
        if missing && !is_displaced(history, path) {
            watch.violation("old or new, whole", format!("{path} is gone {when}"));
        }
    }
}

/// Whether a parent was ever anything but a directory.
fn is_displaced(history: &History, path: &RelPath) -> bool {
    let mut above = path.parent();
    while let Some(parent) = above.filter(|parent| !parent.is_root()) {
        let was_other =
            |versions: &BTreeSet<Version>| versions.iter().any(|v| matches!(v, Version::Other(_)));
        if history.mode == Mode::Mirror && history.versions.get(&parent).is_some_and(was_other) {
            return true;
        }
        above = parent.parent();
    }
    false
}
