//! Renames into place, the trash, and what must be refused.

use super::fixture::{Tree, begin, change, commit, list, options, path, stage, staged_name};
use crate::local::writer::{BeginError, TrashPlace, WriterOptions};
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, Node, OrbitWriter, Place};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn a_new_file_appears_with_its_parents_and_nothing_is_left() {
    let tree = Tree::new();
    let writer = tree.writer();
    commit(&writer, "a/b/c", "new", None, Disposal::Discard).expect("committed");
    writer.flush().expect("flushed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(tree.listing(), ["a/", "a/b/", "a/b/c=new"]);
}

#[test]
fn a_tree_deeper_than_a_path_is_long() {
    let tree = Tree::new();
    let writer = tree.writer();
    let deep = vec!["directory"; 1_500].join("/");
    commit(&writer, &format!("{deep}/file"), "deep", None, Disposal::Discard).expect("committed");
    commit(&writer, &format!("{deep}/file2"), "deep", None, Disposal::Discard).expect("committed");
    writer.finish(&BTreeSet::new()).expect("finished");
    let dir = std::fs::File::open(tree.root()).expect("opens");
    let removed = super::super::sweep::remove_tree(rustix::fd::AsFd::as_fd(&dir), b"directory");
    removed.expect("a deep tree is removed with two handles");
    assert!(tree.listing().is_empty());
}

#[test]
fn nothing_is_overwritten_that_was_not_expected() {
    let tree = Tree::new();
    tree.put("file", "theirs");
    let writer = tree.writer();
    let refused = commit(&writer, "file", "ours", None, Disposal::Discard);
    assert!(matches!(refused, Err(SystemError::Changed { .. })), "{refused:?}");

    let seen = tree.seen("file");
    tree.put("file", "theirs, newer");
    for disposal in [Disposal::Discard, Disposal::Trash] {
        let refused = commit(&writer, "file", "ours", Some(&seen), disposal);
        assert!(matches!(refused, Err(SystemError::Changed { .. })), "{refused:?}");
        let refused = writer.remove(&path("file"), &seen, disposal);
        assert!(matches!(refused, Err(SystemError::Changed { .. })), "{refused:?}");
    }
    let gone = commit(&writer, "other", "ours", Some(&seen), Disposal::Discard);
    assert!(matches!(gone, Err(SystemError::Changed { .. })), "{gone:?}");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(tree.listing(), ["file=theirs, newer"]);
}

#[test]
fn a_snapshot_made_of_hard_links_stays_as_it_was() {
    let tree = Tree::new();
    tree.put("file", "old");
    fs::hard_link(tree.at("file"), tree.outside().join("snapshot")).expect("linked");
    let seen = tree.seen("file");
    let writer = tree.writer();
    commit(&writer, "file", "new", Some(&seen), Disposal::Discard).expect("committed");
    assert_eq!(tree.read("file"), "new");
    assert_eq!(fs::read_to_string(tree.outside().join("snapshot")).expect("read"), "old");
}

#[test]
fn both_names_of_one_inode_are_replaced() {
    let tree = Tree::new();
    tree.put("a", "old");
    fs::hard_link(tree.at("a"), tree.at("b")).expect("linked");
    let (a, b) = (tree.seen("a"), tree.seen("b"));
    let writer = tree.writer();
    commit(&writer, "a", "new", Some(&a), Disposal::Discard).expect("committed");
    let node = Node::HardLink(&path("a"));
    let link = writer.stage_node(Place::Alone(&path("b")), &node).expect("staged");
    writer.commit(&link, &path("b"), Some(&b), Disposal::Discard).expect("committed");
    assert_eq!(
        fs::metadata(tree.at("a")).expect("found").ino(),
        fs::metadata(tree.at("b")).expect("found").ino()
    );
}

#[test]
fn the_trash_keeps_what_is_displaced_under_its_own_path() {
    let tree = Tree::new();
    let writer = tree.writer();
    tree.put("a/file", "1");
    for (number, text) in ["2", "3"].into_iter().enumerate() {
        let seen = tree.seen("a/file");
        commit(&writer, "a/file", text, Some(&seen), Disposal::Trash).expect("committed");
        assert_eq!(tree.read("a/file"), text, "{number}");
    }
    writer.remove(&path("a/file"), &tree.seen("a/file"), Disposal::Trash).expect("removed");
    fs::create_dir(tree.at("a/empty")).expect("made");
    writer.remove(&path("a/empty"), &tree.seen("a/empty"), Disposal::Trash).expect("removed");
    writer.remove(&path("a"), &tree.seen("a"), Disposal::Discard).expect("removed");
    // Something of a trashed directory's name, and then something inside such a name.
    tree.put("a", "a file now");
    writer.remove(&path("a"), &tree.seen("a"), Disposal::Trash).expect("removed");
    tree.put("x", "file");
    writer.remove(&path("x"), &tree.seen("x"), Disposal::Trash).expect("removed");
    tree.put("x/y", "inside");
    writer.remove(&path("x/y"), &tree.seen("x/y"), Disposal::Trash).expect("removed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(
        list(&tree.at(".orbit-trash/run")),
        [
            "a/",
            "a/empty/",
            "a/file=1",
            "a/file~1=2",
            "a/file~2=3",
            "a~1=a file now",
            "x=file",
            "x~1/",
            "x~1/y=inside"
        ]
    );
    assert_eq!(fs::metadata(tree.at(".orbit-trash")).expect("found").mode() & 0o777, 0o700);
}

#[test]
fn the_trash_may_lie_elsewhere_on_the_same_file_system_only() {
    let tree = Tree::new();
    tree.put("file", "old");
    let in_directory = |directory| WriterOptions { trash: TrashPlace::Directory(directory), ..options() };
    let refused = begin(&tree.root(), in_directory("/proc".into()));
    assert!(matches!(refused, Err(BeginError::TrashElsewhere { .. })), "{refused:?}");
    assert_eq!(tree.listing(), ["file=old"], "nothing is made by a refused run");

    let writer = begin(&tree.root(), in_directory(tree.outside())).expect("begins");
    commit(&writer, "file", "new", Some(&tree.seen("file")), Disposal::Trash).expect("committed");
    assert_eq!(list(&tree.outside()), ["run/", "run/file=old"]);
}

#[test]
fn a_directory_makes_way_only_if_it_is_empty() {
    let tree = Tree::new();
    tree.put("full/file", "kept");
    fs::create_dir(tree.at("empty")).expect("made");
    let writer = tree.writer();
    for disposal in [Disposal::Discard, Disposal::Trash] {
        let refused = commit(&writer, "full", "ours", Some(&tree.seen("full")), disposal);
        assert!(matches!(refused, Err(SystemError::Occupied { .. })), "{refused:?}");
        let refused = writer.remove(&path("full"), &tree.seen("full"), disposal);
        assert!(matches!(refused, Err(SystemError::Occupied { .. })), "{refused:?}");
    }
    commit(&writer, "empty", "ours", Some(&tree.seen("empty")), Disposal::Trash).expect("committed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(
        tree.listing(),
        [
            ".orbit-trash/",
            ".orbit-trash/run/",
            ".orbit-trash/run/empty/",
            "empty=ours",
            "full/",
            "full/file=kept"
        ]
    );
}

#[test]
fn a_staged_directory_arrives_whole_or_joins_the_one_that_is_there() {
    let tree = Tree::new();
    let writer = tree.writer();
    for (round, text) in ["first", "second"].into_iter().enumerate() {
        let directory = writer.stage_directory(&path("a/dir")).expect("staged");
        stage(&writer, Place::Inside(&directory, b"same"), text.as_bytes());
        let own = format!("only-{text}");
        stage(&writer, Place::Inside(&directory, own.as_bytes()), text.as_bytes());
        let refused =
            writer.commit_directory(&directory, &path("a/dir"), None, Disposal::Discard).expect("committed");
        let names: Vec<_> = refused.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [b"same".as_slice()][..round], "{refused:?}");
    }
    writer.finish(&BTreeSet::new()).expect("finished");
    let files = ["a/", "a/dir/", "a/dir/only-first=first", "a/dir/only-second=second", "a/dir/same=first"];
    assert_eq!(tree.listing(), files);
}

#[test]
fn a_staged_directory_takes_the_place_of_a_file() {
    for disposal in [Disposal::Discard, Disposal::Trash] {
        let tree = Tree::new();
        tree.put("x", "a file");
        let writer = tree.writer();
        let directory = writer.stage_directory(&path("x")).expect("staged");
        stage(&writer, Place::Inside(&directory, b"inner"), b"new");
        let unexpected = writer.commit_directory(&directory, &path("x"), None, disposal);
        assert!(matches!(unexpected, Err(SystemError::Changed { .. })), "{unexpected:?}");
        let seen = tree.seen("x");
        writer.commit_directory(&directory, &path("x"), Some(&seen), disposal).expect("committed");
        writer.finish(&BTreeSet::new()).expect("finished");
        assert_eq!(tree.read("x/inner"), "new");
        assert_eq!(tree.at(".orbit-trash/run/x").is_file(), disposal == Disposal::Trash);
        assert!(!tree.at(".orbit-stage").exists());
    }
}

#[test]
fn nodes_of_every_kind_are_placed() {
    let tree = Tree::new();
    tree.put("file", "text");
    symlink("old", tree.at("link")).expect("linked");
    let writer = tree.writer();
    let place = |name: &str, node: &Node<'_>, expected| {
        let at = path(name);
        let staged = writer.stage_node(Place::Alone(&at), node).expect("staged");
        writer.set_staged_attributes(&staged, &change(0o640)).expect("set");
        writer.commit(&staged, &at, expected, Disposal::Discard).expect("committed");
    };
    let seen = tree.seen("link");
    place("link", &Node::Symlink(b"../outside/new"), Some(&seen));
    place("fifo", &Node::Fifo, None);
    place("same", &Node::HardLink(&path("file")), None);
    assert_eq!(fs::read_link(tree.at("link")).expect("read").to_str(), Some("../outside/new"));
    assert_eq!(fs::symlink_metadata(tree.at("link")).expect("found").mtime(), 1_600_000_000);
    assert_eq!(fs::metadata(tree.at("fifo")).expect("found").mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(tree.at("same")).expect("found").nlink(), 2);
}

#[test]
fn what_is_not_staged_cannot_be_committed() {
    let tree = Tree::new();
    let writer = tree.writer();
    for name in [".orbit-stage/lock", ".orbit-stage/w9/0", "file", "a/b"] {
        let refused = writer.commit(&staged_name(name), &path("x"), None, Disposal::Discard);
        assert!(refused.is_err_and(|error| error.is_not_found()), "{name}");
        assert!(writer.reopen_staged(&staged_name(name)).expect("asked").is_none(), "{name}");
    }
}
