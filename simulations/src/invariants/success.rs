//! A run that reports success has made the destination equal to the source, durably.

use super::Watch;
use crate::disk::state::{Body, Node, State};
use crate::world::Mode;
use crate::writer::area_path;
use orbit_core::RelPath;

const RULE: &str = "success means durable equality";

/// Looks at a disk after a power cut that followed a success.
pub fn check(watch: &mut Watch, mode: Mode, source: &State, after_cut: &State) {
    let area = area_path();
    let sources = source.paths();
    for (path, inode) in &sources {
        let wanted = &source.nodes[inode];
        match after_cut.node(path) {
            None => watch.violation(RULE, format!("{path} is missing")),
            Some(found) if !is_same(wanted, found) => {
                watch.violation(RULE, format!("{path} is {found:?} and not {wanted:?}"));
            }
            Some(_) => {}
        }
    }
    if mode == Mode::Mirror {
        for path in after_cut.paths().keys() {
            if !sources.contains_key(path) && !path.starts_with(&area) {
                watch.violation(RULE, format!("{path} should be gone"));
            }
        }
    }
}

fn is_same(wanted: &Node, found: &Node) -> bool {
    let bodies = match (&wanted.body, &found.body) {
        (Body::Directory(_), Body::Directory(_)) => true,
        (wanted, found) => wanted == found,
    };
    bodies && (wanted.mode, wanted.mtime) == (found.mode, found.mtime)
}

/// Whether a directory of the destination, which nothing may remove, stands where the source has something else.
pub fn is_obstructed(mode: Mode, source: &State, destination: &State) -> bool {
    let is_directory =
        |state: &State, path: &RelPath| state.node(path).map(|node| matches!(node.body, Body::Directory(_)));
    mode == Mode::Keep
        && source.paths().keys().any(|path| {
            is_directory(source, path) == Some(false) && is_directory(destination, path) == Some(true)
        })
}
