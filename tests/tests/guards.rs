//! What a person can get wrong about source and destination, and what cannot be read or written.
#![cfg(target_os = "linux")]

use orbit_tests::mount::Mount;
use orbit_tests::orbit::{Exit, Orbit};
use orbit_tests::report::is_root_or_skips;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none, assert_same_tree, assert_untouched};
use std::fs;
use std::os::unix::fs::symlink;

const MIRROR: [&str; 3] = ["--mirror", "--max-delete", "100"];

/// Somebody without any privilege.
const NOBODY: u32 = 65_534;

#[test]
fn an_empty_source_with_mirror_is_an_unmounted_disk() {
    let scene = Scene::new();
    scene.source_tree();
    scene.destination_tree().write("precious", "1");
    let before = scene.destination_now();
    for flags in [&["--mirror"][..], &["--mirror", "--trash"], &["--mirror", "--max-delete", "99"]] {
        scene.sync(flags).expect(Exit::Guarded);
        assert_untouched(&before, &scene.destination);
    }
    // Empty directories, as mount points are, do not make it a full one.
    scene.source_tree().directory("lost+found");
    let run = scene.sync(&["--mirror"]);
    assert!(run.code() != Some(0), "{run}");
    assert_untouched(&before, &scene.destination);
    // Without mirror there is nothing to fear.
    scene.source_tree().remove("lost+found");
    scene.sync(&[]).expect(Exit::Done);
    assert!(scene.destination.join("precious").exists());
}

#[test]
fn a_marker_that_is_missing_stops_the_run() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "1");
    scene.destination_tree().write("precious", "1");
    let before = scene.destination_now();
    scene.sync(&["--source-marker", ".mounted", "--mirror", "--max-delete", "100"]).expect(Exit::Guarded);
    assert_untouched(&before, &scene.destination);
    source.write(".mounted", "");
    scene.sync_whole(&["--source-marker", ".mounted", "--mirror", "--max-delete", "100"]);
}

#[test]
fn source_and_destination_inside_each_other_are_refused() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("a/file", "1");
    source.directory("a/b");
    let before = scene.source_now();
    let inside = source.path("a/b");
    let (link, through) = (scene.path("link"), scene.path("through"));
    symlink(&scene.source, &link).expect("links");
    symlink(source.path("a"), &through).expect("links");
    let pairs = [
        (scene.source.clone(), inside.clone()),
        (inside, scene.source.clone()),
        (scene.source.clone(), scene.source.clone()),
        (scene.source.clone(), scene.source.join("a/..")),
        (scene.source.clone(), source.path("not there yet")),
        (scene.source.clone(), link.clone()),
        (link.clone(), scene.source.clone()),
        (link, through.join("b")),
        (through, scene.source.clone()),
    ];
    for (from, to) in pairs {
        for flags in [&[][..], &MIRROR] {
            let run = scene.orbit.sync(&from, &to, flags);
            assert_eq!(run.code(), Some(8), "{} to {}\n{run}", from.display(), to.display());
            assert_untouched(&before, &scene.source);
        }
    }
}

#[test]
fn a_bind_mount_of_the_source_is_the_source() {
    if !is_root_or_skips("bind mounts") {
        return;
    }
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.destination_tree();
    let status =
        std::process::Command::new("mount").arg("--bind").arg(&scene.source).arg(&scene.destination).status();
    if !status.is_ok_and(|status| status.success()) {
        return orbit_tests::report::skipped("bind mounts", "mount --bind fails here");
    }
    let before = scene.source_now();
    let run = scene.sync(&MIRROR);
    let unmounted = std::process::Command::new("umount").arg(&scene.destination).status();
    assert!(unmounted.is_ok_and(|status| status.success()), "umount");
    assert_untouched(&before, &scene.source);
    run.expect(Exit::Guarded);
}

#[test]
fn a_file_is_never_copied_onto_itself() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let file = source.write("file", "the only copy");
    let hard = source.hard_link("file", "hard");
    let soft = source.symlink("soft", "file");
    let before = scene.source_now();
    for (from, to) in [(&file, &file), (&file, &hard), (&hard, &file)] {
        let run = scene.orbit.sync(from, to, &["--checksum"]);
        assert!(matches!(run.code(), Some(0 | 8)), "{run}");
        assert_untouched(&before, &scene.source);
    }
    for (from, to) in [(&file, &soft), (&soft, &file)] {
        let run = scene.orbit.sync(from, to, &[]);
        assert_ne!(run.code(), None, "{run}");
        assert_eq!(fs::read(&file).expect("is kept"), b"the only copy", "{run}");
    }
    // Into the directory it lies in.
    scene.orbit.sync(&file, &scene.source, &[]);
    assert_eq!(fs::read(&file).expect("is kept"), b"the only copy");
}

#[test]
fn trees_that_share_an_inode_are_synced_without_losing_it() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("shared", "content");
    scene.destination_tree();
    fs::hard_link(source.path("shared"), scene.destination.join("shared")).expect("links");
    scene.sync(&["--checksum", "--mirror"]).expect(Exit::Done);
    source.write("other", "1");
    scene.sync(&["--mirror"]).expect(Exit::Done);
    for tree in [&scene.source, &scene.destination] {
        assert_eq!(fs::read(tree.join("shared")).expect("is kept"), b"content");
    }
}

#[test]
fn a_read_only_destination_is_named() {
    let Some(mount) = Mount::tmpfs("size=8m") else { return };
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let destination = mount.path().join("inside");
    fs::create_dir(&destination).expect("makes a directory");
    fs::write(destination.join("precious"), "1").expect("writes");
    mount.remount("ro");
    let before = Snapshot::take(&destination);
    for to in [destination.clone(), mount.path().join("new")] {
        let run = scene.orbit.sync(&scene.source, &to, &MIRROR);
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        assert!(run.says("read-only"), "{run}");
        assert_untouched(&before, &destination);
    }
    // Nothing to do is possible all the same.
    mount.remount("rw");
    scene.orbit.sync(&scene.source, &destination, &MIRROR).expect(Exit::Done);
    mount.remount("ro");
    let run = scene.orbit.sync(&scene.source, &destination, &MIRROR);
    assert!(run.code() == Some(0), "nothing was to be done\n{run}");
}

#[test]
fn an_unreadable_file_is_reported_and_keeps_its_copy() {
    if !is_root_or_skips("reading as somebody else") {
        return;
    }
    let scene = Scene::with(Orbit::as_user(NOBODY), &std::env::temp_dir());
    let source = scene.source_tree();
    source.write("readable", "1");
    source.write("unreadable", "secret");
    source.write("locked/inside", "secret");
    source.write("open/file", "2");
    source.mode("unreadable", 0o600);
    source.mode("locked", 0o700);
    let destination = scene.destination_tree();
    for path in ["unreadable", "locked/inside", "locked/more", "surplus"] {
        destination.write(path, "the good copy");
    }
    for path in ["", "locked", "unreadable", "locked/inside", "locked/more", "surplus"] {
        std::os::unix::fs::chown(destination.path(path), Some(NOBODY), Some(NOBODY))
            .expect("changes the owner");
    }
    let run = scene.sync(&MIRROR).expect(Exit::Partial);
    assert!(run.says("unreadable") && run.says("locked"), "each is listed\n{run}");
    assert!(run.count("files_failed") >= 2, "{run}");
    for path in ["unreadable", "locked/inside", "locked/more", "surplus"] {
        assert_eq!(fs::read(destination.path(path)).expect("is kept"), b"the good copy", "{path}");
    }
    for (path, content) in [("readable", b"1"), ("open/file", b"2")] {
        assert_eq!(fs::read(destination.path(path)).expect("is copied"), content);
    }
}

#[test]
fn an_unwritable_directory_is_reported_and_the_rest_is_done() {
    if !is_root_or_skips("writing as somebody else") {
        return;
    }
    let scene = Scene::with(Orbit::as_user(NOBODY), &std::env::temp_dir());
    let source = scene.source_tree();
    source.write("closed/file", "new");
    source.write("open", "new");
    let destination = scene.destination_tree();
    destination.write("closed/file", "old one");
    std::os::unix::fs::chown(&scene.destination, Some(NOBODY), Some(NOBODY)).expect("changes the owner");
    scene.sync(&[]).expect(Exit::Partial).expect_says("closed");
    assert_eq!(fs::read(destination.path("closed/file")).expect("is kept"), b"old one");
    assert_eq!(fs::read(destination.path("open")).expect("is copied"), b"new");
}

#[test]
fn somebody_without_privilege_syncs_what_is_theirs() {
    if !is_root_or_skips("syncing as somebody else") {
        return;
    }
    let scene = Scene::with(Orbit::as_user(NOBODY), &std::env::temp_dir());
    let mut tree = scene.mixed_source(15, 60);
    let chown = |path: &std::path::Path| {
        let status = std::process::Command::new("chown").args(["-Rh", "65534:65534"]).arg(path).status();
        assert!(status.is_ok_and(|status| status.success()), "chown");
    };
    chown(&scene.source);
    scene.destination_tree();
    chown(&scene.destination);
    let before = scene.source_now();
    scene.sync_whole(&[]);
    assert_none(&before.touches(&scene.source_now()), "the source was touched");
    tree.evolve();
    chown(&scene.source);
    scene.sync_whole(&MIRROR);
}

#[test]
fn a_foreign_owner_is_no_failure_without_privilege() {
    if !is_root_or_skips("syncing as somebody else") {
        return;
    }
    let scene = Scene::with(Orbit::as_user(NOBODY), &std::env::temp_dir());
    scene.source_tree().write("of root", "1");
    scene.destination_tree();
    std::os::unix::fs::chown(&scene.destination, Some(NOBODY), Some(NOBODY)).expect("changes the owner");
    scene.sync(&[]).expect(Exit::Done);
    let before = scene.destination_now();
    scene.sync(&["--mirror"]).expect(Exit::Done);
    assert_untouched(&before, &scene.destination);
}

#[test]
fn other_file_systems_are_written_too() {
    for (mkfs, megabytes) in
        [(&["mkfs.ext4", "-q"][..], 16), (&["mkfs.xfs", "-q"], 320), (&["mkfs.btrfs", "-q"], 128)]
    {
        let Some(mount) = Mount::image(mkfs, megabytes) else { continue };
        let scene = Scene::new();
        let mut tree = scene.mixed_source(16, 60);
        tree.file("large", 3 << 20);
        let destination = mount.path().join("copy");
        fs::create_dir(&destination).expect("makes a directory");
        for _ in 0..3 {
            scene.orbit.sync(&scene.source, &destination, &MIRROR).expect(Exit::Done);
            assert_same_tree(&scene.source, &destination);
            tree.evolve();
        }
    }
}

#[test]
fn a_copy_within_a_file_system_with_reflinks() {
    for mkfs in [&["mkfs.xfs", "-q"], &["mkfs.btrfs", "-q"]] {
        let Some(mount) = Mount::image(mkfs, 400) else { continue };
        let scene = Scene::below(mount.path());
        let mut tree = scene.mixed_source(17, 60);
        tree.file("large", 8 << 20);
        tree.sparse("with holes", 64 << 20, &[5, 40 << 20]);
        scene.sync_whole(&[]);
        tree.evolve();
        scene.sync_whole(&MIRROR);
        let large = fs::File::options().write(true).open(tree.path("large")).expect("opens");
        std::os::unix::fs::FileExt::write_all_at(&large, b"changed in the middle", 5 << 20).expect("writes");
        drop(large);
        scene.sync_whole(&["--verify"]);
    }
}
