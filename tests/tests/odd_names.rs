//! Names and depths at the limits of what file systems hold.
#![cfg(target_os = "linux")]

use orbit_tests::orbit::Exit;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_same_tree, open_directory, os, path_of};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn names_are_bytes() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let mut names: Vec<Vec<u8>> =
        (1..=255_u8).filter(|byte| *byte != b'/').map(|byte| vec![b'x', byte]).collect();
    names.extend((1..=255_u8).filter(|byte| !matches!(byte, b'/' | b'.')).map(|byte| vec![byte]));
    names.extend(
        [&b"new\nline"[..], b"tab\t", b" ", b"-n", b"--mirror", b"*", b"$(reboot)", b"a\\b"].map(Vec::from),
    );
    names.extend(
        [&b"..."[..], b".. ", b"\xff\xfe\xfd", b"\xc0\xaf", b"\xed\xa0\x80", b"CON", b"a:b"].map(Vec::from),
    );
    names.extend(["Case", "case", "CASE", "é", "e\u{301}"].map(|name| name.as_bytes().to_vec()));
    names.extend([vec![b'a'; 255], "ü".repeat(127).into_bytes()]);
    for name in &names {
        source.write(os(name), name);
        source.write(Path::new("dir").join(os(name)).join("inside"), name);
    }
    scene.sync_whole(&[]);
    scene.sync_whole(&["--mirror", "--checksum"]);
    // Printed, too: one line an entry with --json, whatever is in the name.
    let scan =
        scene.orbit.run(["scan".as_ref(), scene.source.as_os_str(), "--json".as_ref()]).expect(Exit::Done);
    assert_eq!(scan.events().len(), scene.source_now().entries.len() - 1, "entries without the root");
}

#[test]
fn a_user_may_have_files_called_like_orbits_own() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for name in ["file.part", ".file.orbit", "deep/.orbit-stage-of-mine", ".orbit", "lock", "w0/0", "deep/w0"]
    {
        source.write(name, name);
    }
    scene.sync_whole(&["--mirror"]);
}

#[test]
fn a_reserved_name_that_orbit_did_not_make_is_never_emptied() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.destination_tree().write(".orbit-stage/precious", "mine");
    scene.sync(&["--mirror", "--max-delete", "100"]).expect(Exit::Guarded);
    assert_eq!(fs::read(scene.destination.join(".orbit-stage/precious")).expect("is kept"), b"mine");
    assert!(!scene.destination.join("file").exists());
}

#[test]
fn names_of_255_bytes_survive_replacement_and_trash() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let name = "n".repeat(255);
    for version in ["one", "two!", "three", "four!!"] {
        source.write(&name, version);
        scene.sync(&["--trash"]).expect(Exit::Done);
    }
    assert_eq!(fs::read(scene.destination.join(&name)).expect("reads"), b"four!!");
    let trash = Snapshot::take(&scene.destination.join(".orbit-trash"));
    let kept = trash.entries.values().filter(|seen| !seen.is_directory()).count();
    assert_eq!(kept, 3, "every replaced version is kept");
}

/// Makes `depth` directories below each other, with a file and a link in each hundredth and in the last.
fn make_deep(top: &Path, depth: usize, name: &str) {
    fs::create_dir_all(top).expect("makes a directory");
    let mut here = open_directory(top, b"");
    for level in 1..=depth {
        let directory = path_of(&here).join(name);
        fs::create_dir(&directory).expect("makes a directory");
        let below = open_directory(&directory, b"");
        here = below;
        if level % 100 == 0 || level == depth {
            fs::write(path_of(&here).join("file"), format!("level {level}")).expect("writes");
            std::os::unix::fs::symlink("file", path_of(&here).join("link")).expect("links");
        }
    }
}

/// Removes a tree that is too deep for a path, by moving each level up.
fn remove_deep(top: &Path) {
    let status = std::process::Command::new("rm").arg("-rf").arg(top).status();
    assert!(status.is_ok_and(|status| status.success()), "rm -rf {}", top.display());
}

#[test]
fn a_tree_deeper_than_any_path_is_copied_changed_and_deleted() {
    let scene = Scene::new();
    make_deep(&scene.source, 1_500, "d");
    make_deep(&scene.source.join("wide"), 60, &"long ".repeat(50));
    scene.sync_whole(&[]);
    let before = scene.destination_now();
    scene.sync_whole(&["--mirror"]);
    orbit_tests::snapshot::assert_untouched(&before, &scene.destination);
    let bottom: Vec<u8> = vec!["d"; 1_500].join("/").into_bytes();
    let directory = open_directory(&scene.source, &bottom);
    fs::write(path_of(&directory).join("file"), "changed at the bottom").expect("writes");
    scene.sync_whole(&["--checksum"]);
    remove_deep(&scene.source.join("d"));
    scene.sync_whole(&["--mirror", "--max-delete", "100"]);
    scene.orbit.run(["scan".as_ref(), scene.source.as_os_str()]).expect(Exit::Done);
    for top in [&scene.source, &scene.destination] {
        remove_deep(top);
    }
}

#[test]
fn links_that_go_round_in_circles_are_only_links() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.directory("a/b");
    source.symlink("self", "self");
    source.symlink("a/b/up", "../..");
    source.symlink("ping", "pong");
    source.symlink("pong", "ping");
    source.symlink("long", "x/".repeat(2_000));
    source.symlink("proc", "/proc/self/root");
    scene.sync_whole(&["--mirror"]);
    let before = scene.destination_now();
    scene.sync_whole(&["--mirror"]);
    orbit_tests::snapshot::assert_untouched(&before, &scene.destination);
}

#[test]
fn many_files_in_one_directory() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for number in 0..3_000 {
        source.write(format!("many/{number}"), format!("{number}"));
    }
    scene.sync_whole(&[]);
    assert_same_tree(&scene.source, &scene.destination);
    let removed: Vec<PathBuf> =
        (0..3_000).step_by(3).map(|number| source.path(format!("many/{number}"))).collect();
    for path in removed {
        fs::remove_file(path).expect("removes");
    }
    let run = scene.sync_whole(&["--mirror", "--max-delete", "40"]);
    assert_eq!(run.count("files_deleted"), 1_000, "{run}");
}
