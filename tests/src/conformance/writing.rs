//! What every [`OrbitWriter`] does.

use super::{Check, rel};
use crate::snapshot::{Snapshot, assert_untouched};
use crate::tree::Tree;
use orbit_core::system::{OrbitSystem, SystemError, Xattr};
use orbit_core::writer::{
    AttributeChange, Disposal, Layout, Node, OrbitWriter, Outline, Place, StagedFile, StagedName, WriteMode,
};
use orbit_core::{Attributes, Metadata, Timestamp};
use std::fs;
use std::path::Path;

/// Opens both sides of an implementation on a directory.
pub type Open = dyn Fn(&Path) -> (Box<dyn OrbitSystem>, Box<dyn OrbitWriter>);

/// The suite.
pub const SUITE: &[Check<Open>] = &[
    ("a staged file is seen by nobody until it is committed, whole", commits_whole_files),
    ("a commit touches nothing that the plan did not see", commits_only_what_was_planned),
    ("a replaced file is another inode", replaces_inodes),
    ("links, pipes and further names are staged too", stages_nodes),
    ("a directory is committed with its files under one rename", commits_directories),
    ("missing directories are made on the way", makes_parents),
    ("a full directory does not make way", keeps_full_directories),
    ("what is removed is what was planned", removes_what_was_planned),
    ("the trash keeps what is replaced and removed", keeps_in_trash),
    ("attributes are set on the thing itself", sets_attributes),
    ("a staged file can be gone on with", reopens),
    ("a symbolic link on the way leads nowhere", follows_no_links),
];

const ATTRIBUTES: Attributes = Attributes {
    mode: 0o640,
    uid: 0,
    gid: 0,
    mtime: Timestamp { seconds: 1_234_567_890, nanos: 987_654_321 },
};

/// Sets mode and time, and the owner to whoever runs this.
fn change(xattrs: Option<&[Xattr]>) -> AttributeChange<'_> {
    AttributeChange { attributes: ATTRIBUTES, set_mode: true, set_owner: false, xattrs }
}

fn outline(size: u64) -> Outline {
    Outline { size, mode: 0o600, layout: Layout::Dense, write: WriteMode::Cached }
}

/// Stages a file of this content.
fn staged(writer: &dyn OrbitWriter, place: Place<'_>, content: &[u8]) -> StagedName {
    let mut file = writer.stage_file(place, outline(content.len() as u64)).expect("stages");
    // Out of order, as parts may arrive.
    let half = content.len() / 2;
    file.write_at(&content[half..], half as u64).expect("writes");
    file.write_at(&content[..half], 0).expect("writes");
    file.set_attributes(&change(None)).expect("sets attributes");
    file.name().clone()
}

/// Stages a file and commits it where nothing is expected.
fn put(writer: &dyn OrbitWriter, path: &str, expected: Option<&Metadata>) -> Result<(), SystemError> {
    let staged = staged(writer, Place::Alone(&rel(path)), b"new content");
    writer.commit(&staged, &rel(path), expected, Disposal::Discard).inspect_err(|_| writer.discard(&staged))
}

/// Everything but what is staged and trashed.
fn visible(root: &Path) -> Snapshot {
    let mut snapshot = Snapshot::take(root).without(".orbit-stage").without(".orbit-trash");
    // Its times move with the stage.
    snapshot.entries.remove(&Vec::new());
    snapshot
}

fn read(root: &Path, path: &str) -> Vec<u8> {
    fs::read(root.join(path)).unwrap_or_else(|e| panic!("read {path}: {e}"))
}

fn commits_whole_files(root: &Path, open: &Open) {
    let (_, writer) = open(root);
    let xattrs = [Xattr { name: b"user.note".to_vec(), value: b"value".to_vec() }];
    let mut file = writer.stage_file(Place::Alone(&rel("file")), outline(10)).expect("stages");
    file.write_at(b"01234", 0).expect("writes");
    assert!(visible(root).entries.is_empty(), "something is seen before it is whole");
    file.write_at(b"56789", 5).expect("writes");
    file.set_len(10).expect("sets the length");
    let mut back = [0; 16];
    assert_eq!(file.read_at(&mut back, 3).expect("reads back"), 7);
    let keeps_xattrs = file.set_attributes(&change(Some(&xattrs))).is_ok();
    let name = file.name().clone();
    drop(file);
    writer.flush().expect("flushes");
    assert!(visible(root).entries.is_empty(), "something is seen before it is committed");
    writer.commit(&name, &rel("file"), None, Disposal::Discard).expect("commits");
    writer.flush().expect("flushes");
    assert_eq!(read(root, "file"), b"0123456789");
    let seen = visible(root);
    let seen = seen.get("file").expect("is there");
    assert_eq!((seen.mode, seen.mtime), (0o640, (1_234_567_890, 987_654_321)));
    if keeps_xattrs {
        assert_eq!(seen.xattrs.get(&b"user.note"[..]).map(Vec::as_slice), Some(&b"value"[..]));
    }
}

fn commits_only_what_was_planned(root: &Path, open: &Open) {
    let tree = Tree::at(root, 61);
    tree.write("appeared", "precious");
    tree.write("changed", "planned");
    tree.write("vanished", "planned");
    tree.write("other kind", "planned");
    let (system, writer) = open(root);
    let planned = |path: &str| system.metadata(&rel(path)).expect("is there");
    let [changed, vanished, other] = ["changed", "vanished", "other kind"].map(planned);
    tree.write("changed", "precious work since");
    tree.remove("vanished");
    tree.remove("other kind");
    tree.symlink("other kind", "changed");
    let before = visible(root);
    for (path, expected) in [
        ("appeared", None),
        ("changed", Some(&changed)),
        ("vanished", Some(&vanished)),
        ("other kind", Some(&other)),
    ] {
        let refused = put(&*writer, path, expected);
        assert!(matches!(refused, Err(SystemError::Changed { .. })), "{path}: {refused:?}");
    }
    crate::snapshot::assert_none(&before.touches(&visible(root)), "touched against the plan");
}

fn replaces_inodes(root: &Path, open: &Open) {
    let tree = Tree::at(root, 62);
    tree.write("file", "old content");
    tree.hard_link("file", "snapshot");
    let (system, writer) = open(root);
    let expected = system.metadata(&rel("file")).expect("is there");
    put(&*writer, "file", Some(&expected)).expect("commits");
    assert_eq!(
        (read(root, "file"), read(root, "snapshot")),
        (b"new content".to_vec(), b"old content".to_vec())
    );
}

fn stages_nodes(root: &Path, open: &Open) {
    let tree = Tree::at(root, 63);
    tree.write("first", "1");
    let (_, writer) = open(root);
    let first = rel("first");
    let nodes =
        [("link", Node::Symlink(b"any text")), ("pipe", Node::Fifo), ("second", Node::HardLink(&first))];
    for (path, node) in nodes {
        let staged = writer.stage_node(Place::Alone(&rel(path)), &node).expect("stages");
        if !matches!(node, Node::HardLink(_)) {
            writer.set_staged_attributes(&staged, &change(None)).expect("sets attributes");
        }
        writer.commit(&staged, &rel(path), None, Disposal::Discard).expect("commits");
    }
    let seen = visible(root);
    assert_eq!(fs::read_link(root.join("link")).expect("is a link"), Path::new("any text"));
    let (link, pipe) = (seen.get("link").expect("is there"), seen.get("pipe").expect("is there"));
    assert_eq!(link.mtime, (1_234_567_890, 987_654_321));
    assert_eq!((&pipe.kind, pipe.mode), (&crate::snapshot::Kind::Fifo, 0o640));
    assert_eq!(seen.get("first").map(|s| s.inode), seen.get("second").map(|s| s.inode));
}

fn commits_directories(root: &Path, open: &Open) {
    let (_, writer) = open(root);
    let stage = |names: &[&str]| {
        let directory = writer.stage_directory(&rel("dir")).expect("stages");
        for name in names {
            staged(&*writer, Place::Inside(&directory, name.as_bytes()), name.as_bytes());
        }
        directory
    };
    let directory = stage(&["a", "b"]);
    assert!(visible(root).entries.is_empty());
    let failed = writer.commit_directory(&directory, &rel("dir"), None, Disposal::Discard).expect("commits");
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((read(root, "dir/a"), read(root, "dir/b")), (b"a".to_vec(), b"b".to_vec()));
    // Somebody else's directory is there by now: what it holds is not overwritten.
    fs::write(root.join("dir/c"), "precious").expect("writes");
    let directory = stage(&["c", "d"]);
    match writer.commit_directory(&directory, &rel("dir"), None, Disposal::Discard) {
        Ok(failed) => {
            assert_eq!(failed.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(), [b"c"]);
            assert_eq!(read(root, "dir/d"), b"d");
        }
        Err(error) => assert!(matches!(error, SystemError::Changed { .. }), "{error}"),
    }
    assert_eq!(read(root, "dir/c"), b"precious");
}

fn makes_parents(root: &Path, open: &Open) {
    let (_, writer) = open(root);
    put(&*writer, "not/there/yet", None).expect("commits");
    assert_eq!(read(root, "not/there/yet"), b"new content");
}

fn keeps_full_directories(root: &Path, open: &Open) {
    let tree = Tree::at(root, 64);
    tree.write("full/precious", "1");
    tree.directory("empty");
    let (system, writer) = open(root);
    let expected = |path: &str| system.metadata(&rel(path)).expect("is there");
    let refused = put(&*writer, "full", Some(&expected("full")));
    assert!(matches!(refused, Err(SystemError::Occupied { .. })), "{refused:?}");
    let refused = writer.remove(&rel("full"), &expected("full"), Disposal::Discard);
    assert!(matches!(refused, Err(SystemError::Occupied { .. })), "{refused:?}");
    assert_eq!(read(root, "full/precious"), b"1");
    put(&*writer, "empty", Some(&expected("empty"))).expect("commits");
    assert_eq!(read(root, "empty"), b"new content");
}

fn removes_what_was_planned(root: &Path, open: &Open) {
    let tree = Tree::at(root, 65);
    tree.write("file", "1");
    tree.write("changed", "planned");
    tree.directory("dir");
    tree.symlink("link", "file");
    let (system, writer) = open(root);
    let planned =
        ["link", "file", "dir", "changed"].map(|path| (path, system.metadata(&rel(path)).expect("is there")));
    tree.write("changed", "precious work since");
    for (path, expected) in &planned[..3] {
        writer.remove(&rel(path), expected, Disposal::Discard).expect("removes");
    }
    let refused = writer.remove(&rel("changed"), &planned[3].1, Disposal::Discard);
    assert!(matches!(refused, Err(SystemError::Changed { .. })), "{refused:?}");
    assert_eq!(visible(root).entries.into_keys().collect::<Vec<_>>(), [b"changed".to_vec()]);
}

fn keeps_in_trash(root: &Path, open: &Open) {
    let tree = Tree::at(root, 66);
    tree.write("dir/replaced", "old content");
    tree.write("dir/removed", "removed content");
    let (system, writer) = open(root);
    let expected = |path: &str| system.metadata(&rel(path)).expect("is there");
    let staged = staged(&*writer, Place::Alone(&rel("dir/replaced")), b"new content");
    writer
        .commit(&staged, &rel("dir/replaced"), Some(&expected("dir/replaced")), Disposal::Trash)
        .expect("commits");
    writer.remove(&rel("dir/removed"), &expected("dir/removed"), Disposal::Trash).expect("removes");
    assert_eq!(read(root, "dir/replaced"), b"new content");
    let trash = Snapshot::take(&root.join(".orbit-trash"));
    let kept: Vec<Vec<u8>> =
        trash.entries.into_iter().filter(|(_, s)| !s.is_directory()).map(|(path, _)| path).collect();
    assert!(
        kept.len() == 2 && kept[0].ends_with(b"dir/removed") && kept[1].ends_with(b"dir/replaced"),
        "{kept:?}"
    );
}

fn sets_attributes(root: &Path, open: &Open) {
    let tree = Tree::at(root, 67);
    let outside = Tree::at(&root.join("outside"), 67);
    outside.write("file", "1");
    let before = Snapshot::take(outside.root());
    tree.write("file", "1");
    tree.directory("dir");
    tree.symlink("link", outside.path("file"));
    let (_, writer) = open(root);
    for path in ["file", "dir", "link"] {
        writer.set_attributes(&rel(path), &change(None)).expect("sets attributes");
        let seen = visible(root);
        assert_eq!(seen.get(path).expect("is there").mtime, (1_234_567_890, 987_654_321), "{path}");
    }
    assert_eq!(visible(root).get("file").expect("is there").mode, 0o640);
    assert_untouched(&before, outside.root());
}

fn reopens(root: &Path, open: &Open) {
    let (_, writer) = open(root);
    let mut file: Box<dyn StagedFile> =
        writer.stage_file(Place::Alone(&rel("file")), outline(10)).expect("stages");
    file.write_at(b"01234", 0).expect("writes");
    file.sync().expect("syncs");
    let name = file.name().clone();
    drop(file);
    let mut file = writer.reopen_staged(&name).expect("asks").expect("is there");
    file.write_at(b"56789", 5).expect("writes");
    file.set_attributes(&change(None)).expect("sets attributes");
    drop(file);
    writer.commit(&name, &rel("file"), None, Disposal::Discard).expect("commits");
    assert_eq!(read(root, "file"), b"0123456789");
    assert!(writer.reopen_staged(&name).expect("asks").is_none(), "it is committed");
    let other = staged(&*writer, Place::Alone(&rel("other")), b"1");
    writer.discard(&other);
    assert!(writer.reopen_staged(&other).expect("asks").is_none(), "it is discarded");
}

fn follows_no_links(root: &Path, open: &Open) {
    let outside = Tree::at(&root.join("outside"), 68);
    outside.write("file", "precious");
    let before = Snapshot::take(outside.root());
    let tree = Tree::at(&root.join("inside"), 68);
    tree.symlink("link", outside.root());
    let (system, writer) = open(tree.root());
    let expected = Metadata { attributes: ATTRIBUTES, ..system.metadata(&rel("link")).expect("is there") };
    for path in ["link/file", "link/new", "link/new/deep"] {
        let staged = staged(&*writer, Place::Alone(&rel("elsewhere")), b"new content");
        assert!(writer.commit(&staged, &rel(path), None, Disposal::Discard).is_err(), "{path} was written");
        writer.discard(&staged);
    }
    assert!(writer.remove(&rel("link/file"), &expected, Disposal::Discard).is_err());
    assert!(writer.set_attributes(&rel("link/file"), &change(None)).is_err());
    assert_untouched(&before, outside.root());
}
