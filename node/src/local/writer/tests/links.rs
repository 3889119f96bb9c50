//! Links planted in the way, before and during a run.

use super::fixture::{Tree, change, commit, list, options, path};
use crate::local::writer::{BeginError, LocalWriter};
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, Node, OrbitWriter, Place};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const COMMITS: u32 = 20_000;

#[test]
fn a_link_for_a_stage_area_or_trash_stops_the_run() {
    for name in [".orbit-stage", ".orbit-trash"] {
        let tree = Tree::new();
        symlink(tree.outside(), tree.at(name)).expect("linked");
        let refused = super::fixture::begin(&tree.root(), options());
        assert!(matches!(refused, Err(BeginError::NotOurs { .. })), "{refused:?}");
        assert_eq!(tree.listing(), [format!("{name}*")]);
        assert!(list(&tree.outside()).is_empty());
    }
}

#[test]
fn a_link_for_a_lock_file_stops_the_run() {
    let tree = Tree::new();
    fs::create_dir(tree.at(".orbit-stage")).expect("made");
    fs::write(tree.outside().join("victim"), "text").expect("written");
    symlink(tree.outside().join("victim"), tree.at(".orbit-stage/lock")).expect("linked");
    let refused = super::fixture::begin(&tree.root(), options());
    assert!(matches!(refused, Err(BeginError::NotOurs { .. })), "{refused:?}");
    assert_eq!(list(&tree.outside()), ["victim=text"]);
}

#[test]
fn a_link_on_the_way_is_refused_by_every_operation() {
    let tree = Tree::new();
    fs::write(tree.outside().join("file"), "text").expect("written");
    symlink(tree.outside(), tree.at("way")).expect("linked");
    let before = fs::metadata(tree.outside().join("file")).expect("found");
    let writer = tree.writer();
    let at = path("way/file");
    let seen = tree.seen("way/file");
    let escapes = |result: Result<(), SystemError>| {
        assert!(matches!(result, Err(SystemError::Escapes { .. })), "{result:?}");
    };
    let outline = super::fixture::outline(1, orbit_core::writer::WriteMode::Cached);
    escapes(writer.stage_file(Place::Alone(&at), outline).map(drop));
    escapes(writer.stage_directory(&path("way/new/inner")).map(drop));
    let staged = writer.stage_node(Place::Alone(&path("x")), &Node::Symlink(b"y")).expect("staged");
    escapes(writer.commit(&staged, &path("way/new"), None, Disposal::Discard));
    escapes(writer.commit(&staged, &path("way/deep/new"), None, Disposal::Discard));
    escapes(writer.commit(&staged, &at, Some(&seen), Disposal::Trash));
    escapes(writer.commit_directory(&staged, &path("way/new"), None, Disposal::Discard).map(drop));
    escapes(writer.remove(&at, &seen, Disposal::Discard));
    escapes(writer.remove(&at, &seen, Disposal::Trash));
    escapes(writer.set_attributes(&at, &change(0o777)));
    escapes(writer.stage_copy_of(&at, &seen, outline).map(drop));
    let link = writer.stage_node(Place::Alone(&path("x")), &Node::HardLink(&at));
    escapes(link.map(drop));
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(list(&tree.outside()), ["file=text"]);
    let after = fs::metadata(tree.outside().join("file")).expect("found");
    assert_eq!((before.ctime_nsec(), before.mode()), (after.ctime_nsec(), after.mode()));
}

#[test]
fn a_link_under_the_final_name_is_replaced_not_followed() {
    let tree = Tree::new();
    fs::write(tree.outside().join("victim"), "text").expect("written");
    symlink(tree.outside().join("victim"), tree.at("name")).expect("linked");
    let writer = tree.writer();
    writer.set_attributes(&path("name"), &change(0o777)).expect("of the link itself");
    let unexpected = commit(&writer, "name", "new", None, Disposal::Discard);
    assert!(matches!(unexpected, Err(SystemError::Changed { .. })), "{unexpected:?}");
    commit(&writer, "name", "new", Some(&tree.seen("name")), Disposal::Discard).expect("committed");
    assert!(fs::symlink_metadata(tree.at("name")).expect("found").is_file());
    assert_eq!(list(&tree.outside()), ["victim=text"]);
}

#[test]
fn a_parent_swapped_with_a_link_during_commits_gains_nothing() {
    let tree = Tree::in_memory();
    fs::create_dir(tree.at("dir")).expect("made");
    symlink(tree.outside(), tree.at("link")).expect("linked");
    let writer = tree.writer();
    let stop = AtomicBool::new(false);
    let (mut placed, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (tree.at("dir"), tree.at("link"));
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("swapped");
            }
        });
        for number in 0..COMMITS {
            match one_round(&writer, number) {
                Ok(()) => placed += 1,
                Err(SystemError::Escapes { .. }) => refused += 1,
                // Made in the directory just before it was swapped away.
                Err(error) => assert!(error.is_not_found(), "{error:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(placed > 0 && refused > 0, "the race was run: {placed} placed, {refused} refused");
    assert!(list(&tree.outside()).is_empty(), "nothing outside was touched");
}

/// Commits a link, sets its attributes; every other one is removed again.
fn one_round(writer: &LocalWriter, number: u32) -> Result<(), SystemError> {
    let at = path(&format!("dir/{number}"));
    let staged = writer.stage_node(Place::Alone(&path("x")), &Node::Fifo)?;
    let placed =
        writer.commit(&staged, &at, None, Disposal::Discard).inspect_err(|_| writer.discard(&staged));
    placed.and_then(|()| writer.set_attributes(&at, &change(0o600)))
}
