//! Everything that is not a plain file with plain attributes.
#![cfg(target_os = "linux")]

use orbit_tests::orbit::Exit;
use orbit_tests::report::{is_root_or_skips, skipped};
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Kind, assert_same_tree};
use rustix::fs::{FileType, makedev};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MIRROR: [&str; 3] = ["--mirror", "--max-delete", "100"];

#[test]
fn a_fifo_never_blocks() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.fifo("pipe");
    source.write("file", "1");
    scene.start_sync(&[]).finish_within(Duration::from_secs(20)).expect(Exit::Done);
    for flags in [&["--checksum"][..], &["--verify"]] {
        scene.start_sync(flags).finish_within(Duration::from_secs(20)).expect(Exit::Done);
    }
    if rustix::process::geteuid().is_root() {
        assert_same_tree(&scene.source, &scene.destination);
    }
    // Nor does one that is named itself, nor one in the place of a file.
    let pipe = source.path("pipe");
    let named =
        scene.orbit.start_sync(&pipe, &scene.path("copy"), &[]).finish_within(Duration::from_secs(20));
    assert_ne!(named.code(), None, "{named}");
    let destination = scene.destination_tree();
    destination.remove("file");
    destination.fifo("file");
    scene.start_sync(&["--checksum"]).finish_within(Duration::from_secs(20)).expect(Exit::Done);
    assert_eq!(fs::read(scene.destination.join("file")).expect("is a file now"), b"1");
    let hash = scene.orbit.run(["hash".as_ref(), scene.source.as_os_str()]);
    assert!(hash.says("file"), "{hash}");
}

#[test]
fn a_socket_is_skipped_with_a_note() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let _socket = UnixListener::bind(scene.source.join("socket")).expect("makes a socket");
    let run = scene.sync(&[]);
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    assert!(run.says("socket"), "no note\n{run}");
    assert_same_tree(&scene.source, &scene.destination);
    // What the destination has under the name of a skipped thing is not deleted.
    scene.destination_tree().write("socket", "precious");
    scene.sync(&MIRROR);
    assert_eq!(fs::read(scene.destination.join("socket")).expect("is kept"), b"precious");
}

#[test]
fn device_nodes_are_made_anew_as_root() {
    if !is_root_or_skips("device nodes") {
        return;
    }
    let scene = Scene::new();
    let source = scene.source_tree();
    source.node("null", FileType::CharacterDevice, makedev(1, 3));
    source.node("block", FileType::BlockDevice, makedev(7, 250));
    source.fifo("pipe");
    if !source.path("null").exists() {
        return skipped("device nodes", "they cannot be made here");
    }
    scene.sync_whole(&[]);
    source.remove("null");
    source.node("null", FileType::CharacterDevice, makedev(1, 5));
    scene.sync_whole(&[]);
    assert!(matches!(scene.destination_now().get("null").map(|s| &s.kind), Some(Kind::Device(false, _))));
}

#[test]
fn empty_files_and_directories_are_copied() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("empty", "");
    source.directory("a/b/c");
    source.write("was full", "x");
    scene.sync_whole(&[]);
    source.write("was full", "");
    scene.sync_whole(&["--verify"]);
}

#[test]
fn a_sparse_tebibyte_is_copied_at_once_and_stays_sparse() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    source.sparse("disk.img", 1 << 40, &[0, 12_345_678, 1 << 39, (1 << 40) - 5_000]);
    source.sparse("only a hole", 1 << 33, &[]);
    for flags in [&[][..], &["--verify"]] {
        let begun = Instant::now();
        let run = scene.sync_whole(flags);
        assert!(begun.elapsed() < Duration::from_secs(30), "took {:?}\n{run}", begun.elapsed());
        let allocated = fs::metadata(scene.destination.join("disk.img")).expect("is there").blocks() * 512;
        assert!(allocated < 1 << 20, "{allocated} bytes are allocated");
        source.mtime("disk.img", 1_500_000_000, 1);
    }
    // A changed byte in it.
    source.sparse("disk.img", 1 << 40, &[0, 12_345_678, 1 << 38, (1 << 40) - 5_000]);
    scene.sync_whole(&[]);
}

#[test]
fn hard_links_across_directories_stay_links() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("a/first", "linked content");
    source.directory("b/c");
    source.hard_link("a/first", "b/second");
    source.hard_link("a/first", "b/c/third");
    source.write("lonely", "1");
    let run = scene.sync_whole(&[]);
    assert!(run.count("bytes_written") <= 20, "content is written once\n{run}");
    // Written through one of its names.
    source.write("b/second", "new content for all");
    scene.sync_whole(&[]);
    // One name leaves the group, another file joins.
    source.remove("b/c/third");
    source.write("b/c/third", "on its own now");
    source.remove("lonely");
    source.hard_link("a/first", "lonely");
    scene.sync_whole(&[]);
    // The first name goes, so another one is the first.
    source.remove("a/first");
    scene.sync_whole(&MIRROR);
    // Attributes alone.
    source.mode("lonely", 0o600);
    scene.sync_whole(&[]);
    // Links that only the destination has are taken apart when they should not be.
    source.write("x", "same");
    source.write("y", "same");
    source.mtime("x", 1_400_000_000, 0);
    source.mtime("y", 1_400_000_000, 0);
    scene.sync_whole(&[]);
}

#[test]
fn xattrs_and_access_control_lists_are_kept_and_removed() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "1");
    source.directory("dir");
    if !source.xattr("file", "user.comment", b"with \0 bytes \xff") {
        return skipped("extended attributes", "the file system has none");
    }
    source.xattr("dir", "user.of a directory", b"");
    source.xattr("file", "user.large", &[b'x'; 900]);
    let acl = |arguments: &[&str], path: &str| {
        let status = Command::new("setfacl").args(arguments).arg(source.path(path)).status();
        if !status.is_ok_and(|status| status.success()) {
            skipped("access control lists", "setfacl does not work here");
        }
    };
    acl(&["-m", "u:1234:rwx,g:2345:r"], "file");
    acl(&["-m", "u:1234:rx", "-d", "-m", "u:1234:rwx"], "dir");
    source.write("dir/inherits", "1");
    scene.sync_whole(&[]);
    source.xattr("file", "user.comment", b"another value");
    acl(&["-b"], "dir");
    acl(&["-m", "u:1234:r"], "file");
    rustix::fs::lremovexattr(source.path("file"), "user.large").expect("removes");
    source.write("file", "rewritten");
    source.mtime("dir", 1_600_000_000, 0);
    scene.sync_whole(&[]);
}

#[test]
fn a_change_of_extended_attributes_alone_is_carried_over() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "1");
    source.directory("dir");
    if !source.xattr("file", "user.comment", b"one") {
        return skipped("extended attributes", "the file system has none");
    }
    source.xattr("dir", "user.comment", b"one");
    scene.sync_whole(&[]);
    let inode = scene.destination_now().get("file").expect("is there").inode;
    for path in ["file", "dir"] {
        source.xattr(path, "user.comment", b"two");
        scene.sync_whole(&[]);
        source.xattr(path, "user.another", b"one more");
        scene.sync_whole(&[]);
        rustix::fs::lremovexattr(source.path(path), "user.comment").expect("removes");
        scene.sync_whole(&[]);
    }
    assert_eq!(
        scene.destination_now().get("file").expect("is there").inode,
        inode,
        "it was only an attribute"
    );
}

#[test]
fn set_id_bits_and_owners_survive_each_other() {
    if !is_root_or_skips("owners and set-id bits") {
        return;
    }
    let scene = Scene::new();
    let source = scene.source_tree();
    for (name, mode, owner) in [("setuid", 0o4755, 1001), ("setgid", 0o2755, 1002), ("both", 0o6711, 1003)] {
        source.write(name, name);
        std::os::unix::fs::chown(source.path(name), Some(owner), Some(owner + 1)).expect("changes the owner");
        source.mode(name, mode);
    }
    source.write("sticky/file", "1");
    source.mode("sticky", 0o1777);
    source.write("group/file", "1");
    std::os::unix::fs::chown(source.path("group"), None, Some(3000)).expect("changes the group");
    source.mode("group", 0o2775);
    scene.sync_whole(&[]);
    // Rewritten content, then another owner alone.
    source.write("setuid", "rewritten");
    source.mode("setuid", 0o4755);
    std::os::unix::fs::chown(source.path("both"), Some(1), Some(1)).expect("changes the owner");
    source.mode("both", 0o6711);
    scene.sync_whole(&[]);
    std::os::unix::fs::chown(source.path("setgid"), Some(77), None).expect("changes the owner");
    scene.sync_whole(&[]);
}

#[test]
fn a_clock_in_the_future_and_times_before_1970() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for (name, seconds) in
        [("future", 4_000_000_000), ("far future", 10_000_000_000), ("past", -1_000_000_000)]
    {
        source.write(name, name);
        source.mtime(name, seconds, 999_999_999);
        source.write(format!("dir {name}/file"), name);
        source.mtime(format!("dir {name}"), seconds, 1);
    }
    scene.sync_whole(&[]);
    let before = scene.destination_now();
    scene.sync_whole(&["--mirror"]);
    orbit_tests::snapshot::assert_untouched(&before, &scene.destination);
}

#[test]
fn read_only_directories_are_filled_and_then_closed() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("locked/inner/file", "1");
    source.mode("locked/inner", 0o555);
    source.mode("locked", 0o500);
    scene.sync_whole(&[]);
    if rustix::process::geteuid().is_root() {
        source.write("locked/inner/another", "2");
        scene.sync_whole(&[]);
    }
    for tree in [source, scene.destination_tree()] {
        tree.mode("locked", 0o755);
        tree.mode("locked/inner", 0o755);
    }
}

#[test]
fn an_older_source_is_a_restored_one_and_propagates() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "new version");
    scene.sync_whole(&[]);
    source.write("file", "old version");
    source.mtime("file", 1_000_000_000, 0);
    scene.sync_whole(&[]);
}

#[test]
fn kinds_are_exchanged_in_every_direction() {
    let kinds = ["file", "directory", "link", "dangling link", "fifo", "empty directory"];
    let make = |tree: &orbit_tests::tree::Tree, name: &str, kind: &str| match kind {
        "file" => drop(tree.write(name, name)),
        "directory" => drop(tree.write(format!("{name}/inside/deep"), name)),
        "empty directory" => drop(tree.directory(name)),
        "link" => drop(tree.symlink(name, "/etc")),
        "dangling link" => drop(tree.symlink(name, "nowhere")),
        _ => drop(tree.fifo(name)),
    };
    for flags in [&MIRROR[..], &["--mirror", "--max-delete", "100", "--trash"]] {
        let scene = Scene::new();
        let (source, destination) = (scene.source_tree(), scene.destination_tree());
        for from in kinds {
            for to in kinds {
                let name = format!("{from} becomes {to}");
                make(&destination, &name, from);
                make(&source, &name, to);
            }
        }
        scene.sync(flags).expect(Exit::Done);
        let now = scene.destination_now().without(".orbit-trash");
        orbit_tests::snapshot::assert_same(&scene.source_now(), &now, "exchanged kinds");
    }
}

#[test]
fn without_mirror_a_full_directory_is_not_replaced_by_a_file() {
    let scene = Scene::new();
    scene.source_tree().write("name", "a file");
    scene.source_tree().write("other", "copied all the same");
    scene.destination_tree().write("name/precious", "kept");
    scene.sync(&[]).expect(Exit::Partial).expect_says("name");
    assert_eq!(fs::read(scene.destination.join("name/precious")).expect("is kept"), b"kept");
    assert_eq!(fs::read(scene.destination.join("other")).expect("is copied"), b"copied all the same");
}

#[test]
fn hard_linked_snapshots_of_the_destination_do_not_change() {
    let scene = Scene::new();
    let mut source = scene.mixed_source(14, 60);
    source.file("large", 3 << 20);
    scene.sync_whole(&[]);
    let snapshot = scene.path("snapshot");
    let status = Command::new("cp").arg("-al").arg(&scene.destination).arg(&snapshot).status();
    assert!(status.is_ok_and(|status| status.success()), "cp -al");
    let contents = |path: &Path| {
        let mut snapshot = orbit_tests::snapshot::Snapshot::take(path);
        // Attributes of a shared inode are shared: only contents can be kept apart.
        snapshot.entries.retain(|_, seen| matches!(seen.kind, Kind::File(_)));
        snapshot.entries.into_iter().map(|(path, seen)| (path, seen.kind)).collect::<Vec<_>>()
    };
    let before = contents(&snapshot);
    for _ in 0..3 {
        source.evolve();
        source.file("large", 3 << 20);
        scene.sync(&MIRROR).expect(Exit::Done);
        assert_eq!(contents(&snapshot), before, "a snapshot changed");
    }
}

#[test]
fn modes_hide_nothing_while_a_copy_is_made() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("secret/key", "for my eyes only");
    source.mode("secret/key", 0o600);
    source.mode("secret", 0o700);
    scene.sync_whole(&[]);
    let mode =
        |path: &str| fs::metadata(scene.destination.join(path)).expect("is there").permissions().mode();
    assert_eq!((mode("secret") & 0o777, mode("secret/key") & 0o777), (0o700, 0o600));
}
