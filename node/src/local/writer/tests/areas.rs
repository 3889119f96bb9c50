//! Stage areas: who may have one, what is swept, mounts inside the destination.

use super::fixture::{Mounted, Tree, begin, commit, is_root, list, options, path, skip, stage, staged_name};
use crate::local::jail::Jail;
use crate::local::writer::{BeginError, LocalWriter, WriterOptions};
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, OrbitWriter, Place};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn assert_busy(result: &Result<LocalWriter, BeginError>) {
    let own = Some(std::process::id());
    assert!(matches!(result, Err(BeginError::Busy(busy)) if busy.pid == own), "{result:?}");
}

fn check(root: &Path) -> Result<(), BeginError> {
    LocalWriter::check_idle(&Jail::open(root).expect("opens"))
}

#[test]
fn one_run_writes_to_a_tree() {
    let tree = Tree::new();
    check(&tree.root()).expect("idle");
    assert!(tree.listing().is_empty(), "asking creates nothing");
    let writer = tree.writer();
    assert_busy(&begin(&tree.root(), options()));
    assert!(matches!(check(&tree.root()), Err(BeginError::Busy(_))));
    drop(writer);
    tree.writer().finish(&BTreeSet::new()).expect("finished");
}

#[test]
fn runs_into_a_tree_and_into_a_part_of_it_exclude_each_other() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("a/b")).expect("made");
    fs::create_dir(tree.at("c")).expect("made");
    let inner = begin(&tree.at("a/b"), options()).expect("begins");
    let beside = begin(&tree.at("c"), options()).expect("a run into a sibling does not disturb");
    assert_busy(&begin(&tree.root(), options()));
    assert!(check(&tree.at("a")).is_err());
    drop((inner, beside));
    let outer = tree.writer();
    assert_busy(&begin(&tree.at("a/b"), options()));
    drop(outer);
    begin(&tree.at("a/b"), options()).expect("begins");
}

#[test]
fn leftovers_of_a_killed_run_go_and_kept_ones_stay() {
    let tree = Tree::new();
    let writer = tree.writer();
    let (x, mut kept) = (path("x"), BTreeSet::new());
    for number in 0..4 {
        let file = stage(&writer, Place::Alone(&x), b"staged");
        if number == 2 {
            kept.insert(file.name().clone());
        }
    }
    let directory = writer.stage_directory(&x).expect("staged");
    stage(&writer, Place::Inside(&directory, b"inner"), b"staged");
    drop(writer);
    // What a stranger run may have left: deep directories, links to outside, no permission.
    fs::write(tree.outside().join("victim"), "text").expect("written");
    let deep = tree.at(".orbit-stage/w7/a/b/c");
    fs::create_dir_all(&deep).expect("made");
    fs::create_dir_all(tree.at(".orbit-stage/w7/a/d/c")).expect("made");
    symlink(tree.outside(), deep.join("link")).expect("linked");
    symlink(tree.outside(), tree.at(".orbit-stage/w8")).expect("linked");
    fs::hard_link(tree.outside().join("victim"), deep.join("hard")).expect("linked");
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o0)).expect("set");

    let with = WriterOptions { keep_staged: kept.clone(), ..options() };
    let writer = begin(&tree.root(), with).expect("begins");
    let kept_name = kept.first().expect("one is kept").0.name().expect("a name").to_vec();
    let kept_name = String::from_utf8(kept_name).expect("plain");
    assert_eq!(list(&tree.at(".orbit-stage/w0")), [format!("{kept_name}=staged")]);
    assert!(!tree.at(".orbit-stage/w7").exists());
    assert_eq!(list(&tree.outside()), ["victim=text"]);
    let name = kept.first().expect("one is kept");
    let mut file = writer.reopen_staged(name).expect("asked").expect("there");
    file.write_at(b"S", 0).expect("written");
    // New names go around it.
    for _ in 0..4 {
        stage(&writer, Place::Alone(&x), b"new");
    }
    writer.finish(&kept).expect("finished");
    assert_eq!(list(&tree.at(".orbit-stage/w0")), [format!("{kept_name}=Staged")]);

    let writer =
        begin(&tree.root(), WriterOptions { keep_staged: kept.clone(), ..options() }).expect("begins");
    writer.commit(name, &x, None, Disposal::Discard).expect("committed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(tree.listing(), ["x=Staged"]);
}

#[test]
fn a_directory_of_the_users_own_is_left_alone() {
    for file in ["notes", "lock"] {
        let tree = Tree::new();
        tree.put(&format!(".orbit-stage/{file}"), "the user's");
        let refused = begin(&tree.root(), options());
        assert!(matches!(refused, Err(BeginError::NotOurs { .. })), "{refused:?}");
        assert_eq!(tree.listing(), [".orbit-stage/".to_owned(), format!(".orbit-stage/{file}=the user's")]);
    }
    let tree = Tree::new();
    tree.put(".orbit-stage", "a file");
    let refused = begin(&tree.root(), options());
    assert!(matches!(refused, Err(BeginError::NotOurs { .. })), "{refused:?}");
    assert_eq!(tree.listing(), [".orbit-stage=a file"]);
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !is_root() {
        return skip("only root can give a directory away");
    }
    for name in [".orbit-stage", ".orbit-trash"] {
        let tree = Tree::new();
        fs::create_dir(tree.at(name)).expect("made");
        std::os::unix::fs::chown(tree.at(name), Some(1234), Some(1234)).expect("given away");
        let refused = begin(&tree.root(), options());
        assert!(matches!(refused, Err(BeginError::NotOurs { .. })), "{refused:?}");
        assert_eq!(tree.listing(), [format!("{name}/")]);
    }
}

#[test]
fn what_a_run_killed_at_its_beginning_left_is_taken_over() {
    for lock in [None, Some("")] {
        let tree = Tree::new();
        fs::create_dir(tree.at(".orbit-stage")).expect("made");
        if let Some(text) = lock {
            tree.put(".orbit-stage/lock", text);
        }
        let writer = tree.writer();
        assert_eq!(fs::metadata(tree.at(".orbit-stage")).expect("found").mode() & 0o777, 0o700);
        writer.finish(&BTreeSet::new()).expect("finished");
        assert!(tree.listing().is_empty());
    }
}

#[test]
fn a_mount_inside_the_destination_has_an_area_and_a_trash_of_its_own() {
    let tree = Tree::new();
    fs::create_dir_all(tree.at("m/n")).expect("made");
    let Some(_mounted) = Mounted::tmpfs("size=4m", &tree.at("m")) else { return };
    // Left by a run that was killed.
    fs::create_dir_all(tree.at("m/.orbit-stage/w0/junk")).expect("made");
    fs::write(tree.at("m/.orbit-stage/lock"), "").expect("written");

    let writer = tree.writer();
    commit(&writer, "m/a/b/file", "on the mount", None, Disposal::Discard).expect("committed");
    commit(&writer, "file", "on the root", None, Disposal::Discard).expect("committed");
    assert!(tree.at("m/.orbit-stage/lock").exists() && !tree.at("m/.orbit-stage/w0/junk").exists());
    let seen = tree.seen("m/a/b/file");
    commit(&writer, "m/a/b/file", "newer", Some(&seen), Disposal::Trash).expect("committed");
    let directory = writer.stage_directory(&path("m/dir")).expect("staged");
    stage(&writer, Place::Inside(&directory, b"inner"), b"text");
    writer.commit_directory(&directory, &path("m/dir"), None, Disposal::Discard).expect("committed");
    writer.remove(&path("m/dir/inner"), &tree.seen("m/dir/inner"), Disposal::Trash).expect("removed");

    // What was staged for one file system does not fit the other, and says so.
    let file = stage(&writer, Place::Alone(&path("file2")), b"text");
    let misplaced = writer.commit(file.name(), &path("m/file2"), None, Disposal::Discard);
    let Err(SystemError::Io { source, .. }) = &misplaced else { panic!("{misplaced:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::CrossesDevices);

    writer.flush().expect("flushed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(
        list(&tree.at("m")),
        [
            ".orbit-trash/",
            ".orbit-trash/run/",
            ".orbit-trash/run/m/",
            ".orbit-trash/run/m/a/",
            ".orbit-trash/run/m/a/b/",
            ".orbit-trash/run/m/a/b/file=on the mount",
            ".orbit-trash/run/m/dir/",
            ".orbit-trash/run/m/dir/inner=text",
            "a/",
            "a/b/",
            "a/b/file=newer",
            "dir/"
        ]
    );
    assert!(!tree.at(".orbit-stage").exists());
}

#[test]
fn a_checkpoint_on_a_mount_is_found_again_and_other_leftovers_are_swept() {
    let tree = Tree::new();
    for name in ["m", "n"] {
        fs::create_dir(tree.at(name)).expect("made");
    }
    let Some(_m) = Mounted::tmpfs("size=4m", &tree.at("m")) else { return };
    let Some(_n) = Mounted::tmpfs("size=4m", &tree.at("n")) else { return };
    let writer = tree.writer();
    stage(&writer, Place::Alone(&path("n/y")), b"abandoned");
    let kept = BTreeSet::from([stage(&writer, Place::Alone(&path("m/x")), b"half").name().clone()]);
    drop(writer);

    let writer =
        begin(&tree.root(), WriterOptions { keep_staged: kept.clone(), ..options() }).expect("begins");
    writer.sweep_area(&path("n")).expect("swept");
    writer.sweep_area(&path("m")).expect("swept");
    writer.sweep_area(&path("")).expect("nothing to do for one that is in use");
    assert!(list(&tree.at("n")).is_empty());
    let name = kept.first().expect("one is kept");
    let reopened = writer.reopen_staged(name).expect("asked").expect("there");
    writer.commit(reopened.name(), &path("m/x"), None, Disposal::Discard).expect("committed");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert_eq!(tree.listing(), ["m/", "m/x=half", "n/"]);
}

#[test]
fn what_is_mounted_in_an_area_is_not_swept() {
    let tree = Tree::new();
    let inner = tree.at(".orbit-stage/w0/a");
    fs::create_dir_all(&inner).expect("made");
    fs::write(tree.at(".orbit-stage/lock"), "").expect("written");
    let Some(mounted) = Mounted::tmpfs("size=1m", &inner) else { return };
    fs::write(inner.join("theirs"), "text").expect("written");
    let refused = begin(&tree.root(), options());
    assert!(matches!(refused, Err(BeginError::System(SystemError::Io { .. }))), "{refused:?}");
    assert_eq!(list(&inner), ["theirs=text"]);
    drop(mounted);
    tree.writer().finish(&BTreeSet::new()).expect("finished");
}

#[test]
fn a_full_disk_says_so_and_leaves_no_half_file() {
    let tree = Tree::new();
    let Some(_mounted) = Mounted::tmpfs("size=4m,nr_inodes=16", &tree.root()) else { return };
    let writer = tree.writer();
    let text = "x".repeat(6_000_000);
    let outline = super::fixture::outline(1 << 19, orbit_core::writer::WriteMode::Cached);
    let mut file = writer.stage_file(Place::Alone(&path("big")), outline).expect("staged");
    let full = file.write_at(text.as_bytes(), 0).expect_err("there is no room");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    writer.discard(file.name());
    drop(file);

    let outline = super::fixture::outline(8 << 20, orbit_core::writer::WriteMode::Cached);
    let mut file = writer.stage_file(Place::Alone(&path("big")), outline).expect("staged");
    let full = file.write_at(b"x", 0).expect_err("there is no room for all of it");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    writer.discard(file.name());
    commit(&writer, "small", "fits", None, Disposal::Discard).expect("room was given back");

    // Never dropped: each takes an inode.
    let outline = super::fixture::outline(0, orbit_core::writer::WriteMode::Cached);
    let refused = (0..16)
        .map(|_| writer.stage_file(Place::Alone(&path("x")), outline).map(drop))
        .fold(Ok(()), Result::and);
    assert!(refused.as_ref().is_err_and(SystemError::is_no_space), "out of inodes: {refused:?}");
    writer.finish(&BTreeSet::new()).expect("finished");
    assert!(!tree.at("big").exists());
    assert_eq!(tree.read("small"), "fits");
}

#[test]
fn staged_names_of_other_places_are_not_swept() {
    let tree = Tree::new();
    tree.put("w0/0", "the user's");
    let writer = tree.writer();
    writer.discard(&staged_name("w0/0"));
    writer.discard(&staged_name(".orbit-stage/lock"));
    assert_eq!(tree.read("w0/0"), "the user's");
    assert!(tree.at(".orbit-stage/lock").exists());
}
