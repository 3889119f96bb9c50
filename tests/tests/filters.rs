//! What is left out of a sync, and that the destination's copy of it is left alone.
#![cfg(target_os = "linux")]

use orbit_tests::orbit::Exit;
use orbit_tests::scene::Scene;
use orbit_tests::tree::Tree;
use std::fs;
use std::path::Path;

const MIRROR: [&str; 3] = ["--mirror", "--max-delete", "100"];

fn syncs(scene: &Scene, flags: &[&str]) {
    scene.sync(&[&MIRROR[..], flags].concat()).expect(Exit::Done);
}

/// Paths of all files below a directory, sorted.
fn files(tree: &Path) -> Vec<String> {
    let snapshot = orbit_tests::snapshot::Snapshot::take(tree);
    let files = snapshot.entries.iter().filter(|(_, seen)| !seen.is_directory());
    files.map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
}

fn with_files(tree: &Tree, paths: &[&str]) {
    for path in paths {
        tree.write(path, "content");
    }
}

#[test]
fn exclude_leaves_out_and_include_brings_back_in_the_order_given() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["a.log", "keep.log", "b.txt", "deep/c.log", "deep/d.txt"]);
    syncs(&scene, &["--exclude", "*.log", "--include", "keep.log"]);
    assert_eq!(files(&scene.destination), ["b.txt", "deep/d.txt", "keep.log"]);
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["a.log", "keep.log", "b.txt"]);
    syncs(&scene, &["--include", "keep.log", "--exclude", "*.log"]);
    assert_eq!(files(&scene.destination), ["b.txt"]);
}

#[test]
fn excluded_paths_are_protected_from_the_mirror() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["kept", "cache/of the source", "x.tmp"]);
    let precious = ["cache/of the destination", "deep/y.tmp", "surplus"];
    with_files(&scene.destination_tree(), &precious);
    syncs(&scene, &["--exclude", "cache/", "--exclude", "*.tmp"]);
    assert_eq!(files(&scene.destination), ["cache/of the destination", "deep/y.tmp", "kept"]);
}

#[test]
fn orbitignore_files_rule_their_own_directories() {
    let scene = Scene::new();
    let source = scene.source_tree();
    with_files(
        &source,
        &["a.o", "a.c", "sub/b.o", "sub/b.c", "sub/b.tmp", "other/c.o", "other/c.tmp", "build/out"],
    );
    source.write(".orbitignore", "*.o\n/build/\n");
    source.write("sub/.orbitignore", "!b.o\n*.tmp\n");
    syncs(&scene, &[]);
    let expected = [".orbitignore", "a.c", "other/c.tmp", "sub/.orbitignore", "sub/b.c", "sub/b.o"];
    assert_eq!(files(&scene.destination), expected);
    // What the source's rules leave out is protected in the destination, also in directories of its own.
    with_files(
        &scene.destination_tree(),
        &["a.o", "sub/b.tmp", "build/of the destination", "sub/deeper/z.tmp"],
    );
    with_files(&scene.destination_tree(), &["sub/surplus"]);
    syncs(&scene, &[]);
    let mut expected = expected.map(str::to_owned).to_vec();
    expected.extend(["a.o", "build/of the destination", "sub/b.tmp", "sub/deeper/z.tmp"].map(str::to_owned));
    expected.sort();
    assert_eq!(files(&scene.destination), expected);
}

#[test]
fn an_orbitignore_in_the_destination_rules_nothing() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["a.txt", "b.txt"]);
    scene.destination_tree().write(".orbitignore", "*.txt\n");
    syncs(&scene, &[]);
    assert_eq!(files(&scene.destination), ["a.txt", "b.txt"]);
}

#[test]
fn ignore_files_are_read() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["a.log", "b.txt", "target/x"]);
    let rules = scene.path("rules");
    fs::write(&rules, "# a comment\n*.log\n\ntarget/\n").expect("writes");
    syncs(&scene, &["--ignore-file", rules.to_str().expect("is text")]);
    assert_eq!(files(&scene.destination), ["b.txt"]);
    let missing = scene.path("no such rules");
    let run = scene.sync(&["--mirror", "--ignore-file", missing.to_str().expect("is text")]);
    assert_ne!(run.code(), Some(0), "a rule file that is not there is not ignored\n{run}");
}

#[test]
fn a_pattern_that_is_none_is_refused() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["a"]);
    let run = scene.sync(&["--exclude", "a[b"]);
    assert!(run.code() == Some(2) || run.code() == Some(0), "{run}");
    if run.code() == Some(2) {
        assert!(!scene.destination.exists(), "{run}");
    }
}

#[test]
fn a_filter_does_not_hide_a_directory_from_its_rules() {
    let scene = Scene::new();
    with_files(&scene.source_tree(), &["photos/a.jpg", "photos/raw/b.dng", "photos/raw/keep/c.dng"]);
    syncs(&scene, &["--exclude", "/photos/raw/*", "--include", "/photos/raw/keep/"]);
    assert_eq!(files(&scene.destination), ["photos/a.jpg", "photos/raw/keep/c.dng"]);
}
