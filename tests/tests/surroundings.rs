//! What surrounds a run: umask, limits, other mounts, a trash or a state directory in an awkward place, flags on files.
#![cfg(target_os = "linux")]

use orbit_tests::mount::Mount;
use orbit_tests::orbit::{Exit, Run, Running, sync_arguments};
use orbit_tests::report::skipped;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none, assert_same, assert_same_tree, assert_untouched, os};
use std::fs;
use std::path::Path;
use std::process::Command;

const MIRROR: [&str; 3] = ["--mirror", "--max-delete", "100"];

/// Runs a sync from a shell that first does `before`.
fn sync_after(scene: &Scene, before: &str, flags: &[&str]) -> Run {
    let mut shell = scene.orbit.environment("sh");
    shell.arg("-c").arg(format!("{before} exec \"$0\" \"$@\"")).arg(scene.orbit.binary());
    shell.args(sync_arguments(&scene.source, &scene.destination, flags));
    Running::start(shell).finish()
}

#[test]
fn the_umask_takes_nothing_away() {
    for umask in ["000", "077", "0777"] {
        let scene = Scene::new();
        scene.mixed_source(51, 60);
        sync_after(&scene, &format!("umask {umask};"), &[]).expect(Exit::Done);
        assert_same_tree(&scene.source, &scene.destination);
    }
}

#[test]
fn few_descriptors_are_enough() {
    let scene = Scene::new();
    let mut tree = scene.mixed_source(52, 300);
    tree.directory("x/".repeat(200));
    tree.file("large", 20 << 20);
    sync_after(&scene, "ulimit -n 64;", &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn a_working_directory_that_is_gone_is_no_hindrance() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let gone = scene.path("gone");
    fs::create_dir(&gone).expect("makes a directory");
    let before = format!("cd '{0}' && rmdir '{0}';", gone.display());
    sync_after(&scene, &before, &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn closed_output_is_not_written_into_files() {
    let scene = Scene::new();
    scene.mixed_source(53, 30);
    for closed in [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full"] {
        let mut shell = scene.orbit.environment("sh");
        shell.arg("-c").arg(format!("\"$0\" \"$@\" {closed}; true")).arg(scene.orbit.binary());
        shell.args(sync_arguments(&scene.source, &scene.destination, &["-v"]));
        Running::start(shell).finish().expect(Exit::Done);
        assert_same_tree(&scene.source, &scene.destination);
        orbit_tests::tree::remove(&scene.destination);
    }
}

#[test]
fn sizes_around_every_border() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    let borders = [1, 512, 4096, 65_536, 1 << 20, 4 << 20, 8 << 20, 16 << 20];
    for border in borders {
        for len in [border - 1, border, border + 1] {
            source.file(format!("{len}"), len);
        }
    }
    scene.sync_whole(&["--verify"]);
    for border in borders {
        for len in [border - 1, border, border + 1] {
            source.file(format!("{border} then {len}"), border);
        }
    }
    scene.sync_whole(&[]);
    for border in borders {
        for len in [border - 1, border, border + 1] {
            source.file(format!("{border} then {len}"), len);
        }
    }
    scene.sync_whole(&["--verify"]);
    scene.sync_whole(&["--checksum"]);
}

#[test]
fn a_mount_inside_the_destination_is_filled_and_left_clean() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    for path in ["mount/a", "mount/deep/b", "beside"] {
        source.file(path, 10_000);
    }
    source.file("mount/large", 9 << 20);
    let at = scene.destination_tree().directory("mount");
    let Some(_mount) = Mount::tmpfs_at(&at, "size=64m") else { return };
    scene.sync_whole(&[]);
    source.file("mount/a", 12_000);
    source.remove("mount/deep");
    source.write("mount/deep", "a file now");
    scene.sync_whole(&MIRROR);
    source.file("mount/a", 14_000);
    let run = scene.start_sync(&["--bwlimit", "1M"]);
    source.file("mount/large", 9 << 20);
    run.finish();
    scene.sync_whole(&MIRROR);
}

#[test]
fn a_trash_on_another_file_system_is_refused_before_anything_changes() {
    let Some(mount) = Mount::tmpfs("size=8m") else { return };
    let scene = Scene::new();
    scene.source_tree().write("file", "new content");
    scene.destination_tree().write("file", "old");
    let before = scene.destination_now();
    let run = scene.sync(&[&format!("--trash={}", mount.path().display())]);
    assert!(run.code().is_some_and(|code| code != 0) && run.says("trash"), "{run}");
    assert_untouched(&before, &scene.destination);
    let run = scene.sync(&["--trash=/nowhere/at/all"]);
    assert!(run.code().is_some_and(|code| code != 0), "{run}");
    assert_untouched(&before, &scene.destination);
}

#[test]
fn a_trash_inside_the_destination_survives_the_next_mirror() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "one");
    scene.sync_whole(&[]);
    scene.destination_tree().write("surplus", "the only copy");
    let attic = scene.destination.join("attic");
    fs::create_dir(&attic).expect("makes a directory");
    let flag = format!("--trash={}", attic.display());
    for version in ["two!", "three", "four!!"] {
        source.write("file", version);
        let run = scene.sync(&["--mirror", "--max-delete", "100", &flag]);
        if run.code() != Some(0) {
            // Refusing it is fine, too.
            assert!(run.says("trash"), "{run}");
            assert_eq!(fs::read(scene.destination.join("surplus")).expect("is kept"), b"the only copy");
            return;
        }
    }
    let texts = texts_below(&scene.destination);
    assert!(texts.contains(&"the only copy".to_owned()), "the trash was emptied: {texts:?}");
    for version in ["one", "two!", "three", "four!!"] {
        assert!(texts.contains(&version.to_owned()), "{version} is lost: {texts:?}");
    }
}

#[test]
fn a_trash_inside_the_source_leaves_the_source_alone() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "new content");
    let attic = source.directory("attic");
    scene.destination_tree().write("file", "old");
    let before = scene.source_now();
    let run = scene.sync(&[&format!("--trash={}", attic.display())]);
    if run.code() != Some(0) {
        assert_untouched(&before, &scene.source);
    }
    assert_eq!(fs::read(source.path("file")).expect("is kept"), b"new content");
}

fn texts_below(directory: &Path) -> Vec<String> {
    let snapshot = Snapshot::take(directory);
    let files = snapshot.entries.iter().filter(|(_, seen)| !seen.is_directory());
    files.map(|(path, _)| fs::read_to_string(directory.join(os(path))).expect("reads")).collect()
}

#[test]
fn a_home_with_orbits_own_state_in_it_is_backed_up_and_restored() {
    let scene = Scene::new();
    let home = scene.orbit.home().to_owned();
    fs::write(home.join("document"), "a person's").expect("writes");
    let without_state = |path: &Path| {
        let mut snapshot = Snapshot::take(path).without("state");
        snapshot.entries.remove(&Vec::new());
        snapshot
    };
    for _ in 0..3 {
        scene.orbit.sync(&home, &scene.destination, &MIRROR).expect(Exit::Done);
        assert_same(&without_state(&home), &without_state(&scene.destination), "backed up");
    }
    fs::write(home.join("document"), "spoilt").expect("writes");
    fs::write(home.join("surplus"), "spoilt").expect("writes");
    let run = scene.orbit.sync(&scene.destination, &home, &MIRROR);
    assert_eq!(fs::read(home.join("document")).expect("is there"), b"a person's", "{run}");
    assert!(!home.join("surplus").exists(), "{run}");
    // What it remembers still works.
    scene.orbit.sync(&home, &scene.destination, &MIRROR).expect(Exit::Done);
    scene.orbit.run(["plan", "ls"]).expect(Exit::Done);
}

#[test]
fn immutable_files_are_reported_and_the_rest_is_done() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for path in ["immutable", "dir/inside", "free"] {
        source.write(path, "new content");
    }
    let destination = scene.destination_tree();
    for path in ["immutable", "dir/inside", "free"] {
        destination.write(path, "old");
    }
    let chattr = |flag: &str| {
        let paths = [destination.path("immutable"), destination.path("dir")];
        Command::new("chattr").arg(flag).args(paths).status().is_ok_and(|status| status.success())
    };
    if !chattr("+i") {
        return skipped("immutable files", "chattr +i does not work here");
    }
    let run = scene.sync(&MIRROR);
    let texts =
        ["immutable", "dir/inside", "free"].map(|path| fs::read(destination.path(path)).expect("is there"));
    assert!(chattr("-i"), "chattr -i");
    run.expect(Exit::Partial).expect_says("immutable").expect_says("dir/inside");
    assert_eq!(texts, [&b"old"[..], b"old", b"new content"]);
    scene.sync_whole(&MIRROR);
}

#[test]
fn a_source_that_was_a_destination_keeps_its_trash_to_itself() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "1");
    source.write(".orbit-trash/run/old", "of the source");
    scene.destination_tree().write(".orbit-trash/run/older", "of the destination");
    scene.sync(&MIRROR).expect(Exit::Done);
    let now = scene.destination_now();
    assert!(now.get(".orbit-trash/run/older").is_some() && now.get(".orbit-trash/run/old").is_none());
}

#[test]
fn excluded_files_keep_a_directory_from_becoming_a_file() {
    let scene = Scene::new();
    scene.source_tree().write("name", "a file");
    scene.source_tree().write("other", "1");
    let destination = scene.destination_tree();
    destination.write("name/precious.tmp", "excluded");
    destination.write("name/surplus", "goes");
    let run = scene.sync(&["--mirror", "--max-delete", "100", "--exclude", "*.tmp"]);
    run.expect(Exit::Partial).expect_says("name");
    assert_eq!(fs::read(destination.path("name/precious.tmp")).expect("is kept"), b"excluded");
}

#[test]
fn names_that_only_the_destination_links_are_taken_apart() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for path in ["x", "y", "z"] {
        source.write(path, "same content");
        source.mtime(path, 1_400_000_000, 7);
    }
    scene.sync_whole(&[]);
    // A tool that saves space made one inode of them.
    let destination = scene.destination_tree();
    for path in ["y", "z"] {
        destination.remove(path);
        destination.hard_link("x", path);
    }
    source.mode("x", 0o600);
    source.mtime("y", 1_500_000_000, 7);
    source.write("z", "other content");
    // Whatever is shared, each name ends up with its own attributes and content, and stays so.
    for _ in 0..3 {
        scene.sync(&["--checksum"]).expect(Exit::Done);
    }
    let (from, to) = (scene.source_now(), scene.destination_now());
    for path in ["x", "y", "z"] {
        let (from, to) = (from.get(path).expect("is there"), to.get(path).expect("is there"));
        assert!(from.is_same_as(to), "{path}: {from:?} became {to:?}");
    }
}

#[test]
fn lists_of_access_that_are_inherited_do_not_stick_to_copies() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for path in ["file", "sub/file", "new/file"] {
        source.write(path, "content");
        source.mode(path, 0o640);
    }
    let destination = scene.destination_tree();
    destination.write("sub/old", "1");
    let paths = [destination.root().to_owned(), destination.path("sub")];
    let set = Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).args(paths).status();
    if !set.is_ok_and(|status| status.success()) {
        return skipped("access control lists", "setfacl does not work here");
    }
    scene.sync_whole(&MIRROR);
}

#[test]
fn a_group_that_is_inherited_does_not_stick_to_copies() {
    if !orbit_tests::report::is_root_or_skips("groups") {
        return;
    }
    let scene = Scene::new();
    scene.mixed_source(54, 20);
    let destination = scene.destination_tree();
    std::os::unix::fs::chown(destination.root(), None, Some(3_333)).expect("changes the group");
    destination.mode("", 0o2775);
    scene.sync_whole(&[]);
}

#[test]
fn repeated_runs_leave_no_trace() {
    let scene = Scene::new();
    let mut tree = scene.mixed_source(55, 40);
    for _ in 0..5 {
        tree.evolve();
        scene.sync_whole(&MIRROR);
    }
    let beside: Vec<_> = fs::read_dir(scene.destination.parent().expect("lies in a directory"))
        .expect("reads a directory")
        .map(|entry| entry.expect("reads a directory").file_name())
        .collect();
    assert_eq!(beside.len(), 2, "something lies beside source and destination: {beside:?}");
    assert_none(&scene.source_now().differences(&scene.destination_now()), "a trace in the destination");
}
