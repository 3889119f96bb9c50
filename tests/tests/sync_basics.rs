//! What `orbit sync` does when nothing goes wrong.
#![cfg(target_os = "linux")]

use orbit_tests::mount::Mount;
use orbit_tests::orbit::Exit;
use orbit_tests::report::is_root_or_skips;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_same, assert_same_tree, assert_untouched};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_new_tree_is_copied_whole() {
    let scene = Scene::new();
    scene.mixed_source(1, 200);
    let before = scene.source_now();
    let run = scene.sync_whole(&[]);
    assert_eq!(run.count("files_failed"), 0, "{run}");
    assert_eq!(run.count("files_new"), run.count("files_total"), "{run}");
    assert_untouched(&before, &scene.source);
}

#[test]
fn a_second_run_writes_nothing() {
    let scene = Scene::new();
    scene.mixed_source(2, 150);
    scene.sync_whole(&[]);
    let before = scene.destination_now();
    for flags in [&[][..], &["--mirror"], &["--checksum"], &["--mirror", "--trash"]] {
        let run = scene.sync(flags).expect(Exit::Done);
        assert_untouched(&before, &scene.destination);
        assert_eq!(run.count("files_unchanged"), run.count("files_total"), "{run}");
        assert_eq!((run.count("bytes_written"), run.count("files_changed")), (0, 0), "{run}");
    }
}

#[test]
fn changes_are_carried_over_in_every_kind() {
    let scene = Scene::new();
    let mut tree = scene.mixed_source(3, 150);
    scene.sync_whole(&[]);
    for _ in 0..5 {
        tree.evolve();
        scene.sync_whole(&["--mirror", "--max-delete", "100"]);
    }
}

#[test]
fn unchanged_files_keep_their_inodes_when_others_change() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let (same, other) = (source.write("same", "stays"), source.write("other", "one"));
    scene.sync_whole(&[]);
    let before = scene.destination_now();
    fs::write(other, "two!").expect("writes");
    scene.sync_whole(&[]);
    let after = scene.destination_now();
    assert_eq!(before.get("same").map(|s| s.ctime), after.get("same").map(|s| s.ctime));
    assert!(same.exists());
}

#[test]
fn without_mirror_nothing_is_deleted() {
    let scene = Scene::new();
    scene.source_tree().write("a", "1");
    scene.destination_tree().write("b", "2");
    scene.sync(&[]).expect(Exit::Done);
    assert!(scene.destination.join("a").exists() && scene.destination.join("b").exists());
}

#[test]
fn a_single_file_goes_to_a_file() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let file = source.write("one", "content");
    source.mode("one", 0o640);
    source.mtime("one", 1_234_567_890, 123_456_789);
    source.write("not this", "no");
    let destination = scene.path("elsewhere.txt");
    scene.orbit.sync(&file, &destination, &[]).expect(Exit::Done);
    assert_same_tree(&file, &destination);
    fs::write(&file, "more content").expect("writes");
    scene.orbit.sync(&file, &destination, &[]).expect(Exit::Done);
    assert_same_tree(&file, &destination);
}

#[test]
fn a_single_file_goes_into_a_directory() {
    let scene = Scene::new();
    let file = scene.source_tree().write("one", "content");
    scene.destination_tree().write("other", "stays");
    scene.orbit.sync(&file, &scene.destination, &[]).expect(Exit::Done);
    assert_same_tree(&file, &scene.destination.join("one"));
    assert_eq!(fs::read(scene.destination.join("other")).expect("reads"), b"stays");
    assert_eq!(scene.destination_now().entries.len(), 3, "the directory, and two files");
}

#[test]
fn a_directory_over_a_file_is_refused_and_the_file_kept() {
    let scene = Scene::new();
    scene.source_tree().write("one", "content");
    fs::write(&scene.destination, "precious").expect("writes");
    let run = scene.sync(&[]);
    assert_ne!(run.code(), Some(0), "{run}");
    assert_eq!(fs::read(&scene.destination).expect("reads"), b"precious");
}

#[test]
fn mirror_deletes_what_the_source_lacks() {
    let scene = Scene::new();
    scene.mixed_source(4, 60);
    scene.sync_whole(&[]);
    let extra = scene.destination_tree();
    extra.write("surplus/deep/down/file", "x");
    extra.symlink("surplus/link", "/etc");
    let run = scene.sync_whole(&["--mirror"]);
    assert_eq!(run.count("files_deleted"), 5, "{run}");
}

#[test]
fn the_gate_stops_a_mirror_that_deletes_too_much() {
    let scene = Scene::new();
    scene.source_tree().write("kept", "1");
    let destination = scene.destination_tree();
    for number in 0..10 {
        destination.write(format!("precious {number}"), "x");
    }
    let before = scene.destination_now();
    scene.sync(&["--mirror"]).expect(Exit::Guarded).expect_says("--max-delete");
    assert_untouched(&before, &scene.destination);
    scene.sync(&["--mirror", "--max-delete", "50"]).expect(Exit::Guarded);
    assert_untouched(&before, &scene.destination);
    scene.sync_whole(&["--mirror", "--max-delete", "100"]);
}

#[test]
fn trash_keeps_what_is_deleted_or_replaced() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("changed", "new version");
    source.write("kept", "same");
    let destination = scene.destination_tree();
    destination.write("changed", "old version");
    destination.write("dir/deleted", "deleted content");
    destination.mtime("dir/deleted", 1_111_111_111, 5);
    scene.sync(&["--mirror", "--max-delete", "100", "--trash"]).expect(Exit::Done);
    let now = scene.destination_now();
    assert_same(&scene.source_now(), &now.clone().without(".orbit-trash"), "the tree beside the trash");
    let trashed = trashed_texts(&scene.destination.join(".orbit-trash"));
    assert_eq!(trashed, ["deleted content", "old version"]);
    // The trash is no part of the tree: the next mirror leaves it alone, and so does the gate.
    let before = scene.destination_now();
    scene.sync(&["--mirror"]).expect(Exit::Done);
    assert_untouched(&before, &scene.destination);
}

#[test]
fn trash_in_a_directory_of_the_users_choice() {
    let scene = Scene::new();
    scene.source_tree().write("changed", "new version");
    let destination = scene.destination_tree();
    destination.write("changed", "old version");
    destination.write("deleted", "deleted content");
    let trash = scene.path("trash");
    fs::create_dir(&trash).expect("makes a directory");
    let flag = format!("--trash={}", trash.display());
    scene.sync_whole(&["--mirror", "--max-delete", "100", &flag]);
    assert_eq!(trashed_texts(&trash), ["deleted content", "old version"]);
}

#[test]
fn trash_that_was_copied_twice_keeps_both_versions() {
    let scene = Scene::new();
    let file = scene.source_tree().write("file", "one");
    scene.sync_whole(&[]);
    for content in ["two!", "three", "four!!"] {
        fs::write(&file, content).expect("writes");
        scene.sync(&["--trash"]).expect(Exit::Done);
    }
    assert_eq!(trashed_texts(&scene.destination.join(".orbit-trash")), ["one", "three", "two!"]);
}

/// Contents of all files below a directory, sorted.
fn trashed_texts(trash: &std::path::Path) -> Vec<String> {
    let snapshot = Snapshot::take(trash);
    let mut texts: Vec<String> = snapshot
        .entries
        .keys()
        .map(|path| trash.join(orbit_tests::snapshot::os(path)))
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("reads"))
        .collect();
    texts.sort();
    texts
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_it_would_do() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("brand new", "1");
    source.write("changed", "new version");
    let destination = scene.destination_tree();
    destination.write("changed", "old");
    destination.write("to be deleted", "2");
    let (before, source_before) = (scene.destination_now(), scene.source_now());
    for flag in ["-n", "--dry-run"] {
        let run = scene.sync(&[flag, "--mirror", "--max-delete", "100", "--trash"]).expect(Exit::Done);
        for name in ["brand new", "changed", "to be deleted"] {
            assert!(run.says(name), "{name} is not in the plan\n{run}");
        }
        assert_untouched(&before, &scene.destination);
        assert_untouched(&source_before, &scene.source);
    }
    // A destination that is not there is not made either.
    let nowhere = scene.path("nowhere");
    scene.orbit.sync(&scene.source, &nowhere, &["-n"]).expect(Exit::Done);
    assert!(!nowhere.exists());
}

#[test]
fn checksum_finds_what_size_and_time_hide() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for (path, content) in [("small", vec![b'a'; 100]), ("large", vec![b'a'; 3 << 20])] {
        source.write(path, &content);
        source.mtime(path, 1_300_000_000, 0);
    }
    scene.sync_whole(&[]);
    let destination = scene.destination_tree();
    for path in ["small", "large"] {
        let mut content = fs::read(destination.path(path)).expect("reads");
        content[50] = b'b';
        destination.write(path, content);
        destination.mtime(path, 1_300_000_000, 0);
    }
    let before = scene.destination_now();
    scene.sync(&[]).expect(Exit::Done);
    assert_untouched(&before, &scene.destination);
    scene.sync_whole(&["--checksum"]);
    let before = scene.destination_now();
    scene.sync_whole(&["-c"]);
    assert_untouched(&before, &scene.destination);
}

#[test]
fn checksum_only_sets_times_where_content_is_the_same() {
    let scene = Scene::new();
    scene.source_tree().write("file", "content");
    scene.sync_whole(&[]);
    scene.source_tree().mtime("file", 1_200_000_000, 1);
    let inode = scene.destination_now().get("file").expect("is there").inode;
    scene.sync_whole(&["--checksum"]);
    assert_eq!(scene.destination_now().get("file").expect("is there").inode, inode);
}

#[test]
fn verify_accepts_a_good_copy() {
    let scene = Scene::new();
    let mut tree = scene.mixed_source(5, 60);
    tree.file("large", 20 << 20);
    scene.sync_whole(&["--verify"]);
    tree.evolve();
    scene.sync_whole(&["--verify", "--mirror", "--max-delete", "100"]);
}

#[test]
fn a_bandwidth_limit_limits() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    source.file("half a", 512 << 10);
    source.file("half b", 512 << 10);
    let begun = Instant::now();
    scene.sync_whole(&["--bwlimit", "500k"]);
    let taken = begun.elapsed();
    assert!(taken >= Duration::from_secs(1), "1 MiB at 500 KiB/s took only {taken:?}");
    assert!(taken < Duration::from_secs(20), "1 MiB at 500 KiB/s took {taken:?}");
    // A timetable that is off now.
    source.file("another", 3 << 20);
    let begun = Instant::now();
    scene.sync_whole(&["--bwlimit", "00:00,off 23:59,off"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    scene.sync(&["--bwlimit", "fast"]).expect(Exit::Usage);
}

#[test]
fn any_number_of_jobs_gives_the_same_tree() {
    for jobs in ["1", "2", "16"] {
        let scene = Scene::new();
        scene.mixed_source(6, 80);
        scene.sync_whole(&["-j", jobs]);
    }
}

#[test]
fn one_file_system_stops_at_a_mount_and_mirror_protects_it() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("here/file", "1");
    let mount_point = source.directory("mount");
    let Some(_mount) = Mount::tmpfs_at(&mount_point, "size=1m") else { return };
    source.write("mount/behind", "2");
    let destination = scene.destination_tree();
    destination.write("mount/precious", "of an earlier run");
    scene.sync(&["--one-file-system", "--mirror", "--max-delete", "100"]).expect(Exit::Done);
    assert!(!destination.path("mount/behind").exists(), "it crossed into the mount");
    assert_eq!(fs::read(destination.path("mount/precious")).expect("is kept"), b"of an earlier run");
    scene.sync_whole(&["--mirror", "--max-delete", "100"]);
}

#[test]
fn owner_mode_and_attributes_are_left_out_on_demand() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "1");
    source.directory("dir");
    source.mode("file", 0o2753);
    source.mode("dir", 0o750);
    let has_xattrs = source.xattr("file", "user.note", b"text");
    let root = rustix::process::geteuid().is_root();
    if root {
        for path in ["file", "dir"] {
            std::os::unix::fs::chown(source.path(path), Some(1234), Some(2345)).expect("changes the owner");
        }
    }
    let copy = |name: &str, flags: &[&str]| {
        let destination = scene.path(name);
        scene.orbit.sync(&scene.source, &destination, flags).expect(Exit::Done);
        let now = Snapshot::take(&destination);
        // Not even the second time.
        scene.orbit.sync(&scene.source, &destination, flags).expect(Exit::Done);
        assert_untouched(&now, &destination);
        now
    };
    let original = scene.source_now();
    let (file, dir) = (original.get("file").expect("is there"), original.get("dir").expect("is there"));
    let no_owner = copy("no owner", &["--no-owner"]);
    let copied = no_owner.get("file").expect("is there");
    assert_eq!((copied.mode, &copied.xattrs, copied.mtime), (file.mode, &file.xattrs, file.mtime));
    if root {
        assert_eq!((copied.uid, copied.gid), (0, 0));
    }
    let no_perms = copy("no perms", &["--no-perms"]);
    assert_ne!(no_perms.get("file").expect("is there").mode, file.mode);
    assert_eq!(no_perms.get("dir").expect("is there").mtime, dir.mtime);
    assert_eq!(no_perms.get("file").expect("is there").uid, file.uid);
    let no_xattrs = copy("no xattrs", &["--no-xattrs"]);
    assert_eq!(no_xattrs.get("file").expect("is there").mode, file.mode);
    if has_xattrs {
        assert!(no_xattrs.get("file").expect("is there").xattrs.is_empty());
    }
    assert_same(&original, &copy("all", &[]), "everything kept by default");
}

#[test]
fn without_permissions_a_replaced_file_keeps_those_it_had() {
    let scene = Scene::new();
    scene.source_tree().write("file", "new content");
    scene.source_tree().mode("file", 0o644);
    let destination = scene.destination_tree();
    destination.write("file", "private");
    destination.mode("file", 0o600);
    scene.sync(&["--no-perms"]).expect(Exit::Done);
    assert_eq!(scene.destination_now().get("file").expect("is there").mode, 0o600);
}

#[test]
fn a_change_of_owner_alone_rewrites_nothing() {
    if !is_root_or_skips("owners") {
        return;
    }
    let scene = Scene::new();
    let mut source = scene.source_tree();
    let file = source.file("file", 1 << 20);
    scene.sync_whole(&[]);
    let inode = fs::metadata(scene.destination.join("file")).expect("is there").ino();
    std::os::unix::fs::chown(file, Some(4321), Some(4321)).expect("changes the owner");
    let run = scene.sync_whole(&[]);
    assert_eq!(fs::metadata(scene.destination.join("file")).expect("is there").ino(), inode);
    assert_eq!(run.count("bytes_written"), 0, "{run}");
}

#[test]
fn rsync_sees_no_difference() {
    if !Command::new("rsync").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        orbit_tests::report::skipped("a second opinion by rsync", "it is not installed");
        return;
    }
    let scene = Scene::new();
    let mut tree = scene.mixed_source(10, 120);
    scene.sync_whole(&[]);
    tree.evolve();
    scene.sync_whole(&["--mirror", "--max-delete", "100"]);
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXnc", "--delete", "--itemize-changes"]);
    let (from, to) = (scene.source.join(""), scene.destination.join(""));
    let output = rsync.arg(from).arg(to).output().expect("rsync starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(output.status.success());
}
