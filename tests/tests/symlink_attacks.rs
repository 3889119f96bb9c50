//! A symbolic link planted in the destination, or swapped in while a run is under way, leads Orbit nowhere.
#![cfg(target_os = "linux")]

use orbit_tests::report::say;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_same_tree, assert_untouched, os};
use orbit_tests::tree::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const MIRROR: [&str; 3] = ["--mirror", "--max-delete", "100"];
const SECRET: &[u8] = b"a secret from outside";

/// A directory outside, with the names that are inside; nobody may touch it.
fn canary(scene: &Scene) -> (PathBuf, Snapshot) {
    let tree = Tree::at(&scene.path("canary"), 8);
    for path in ["a", "b", "file", "deep/file", "deep/deeper/file", "surplus"] {
        tree.write(path, SECRET);
    }
    tree.symlink("link", "file");
    (tree.root().to_owned(), Snapshot::take(tree.root()))
}

fn source(scene: &Scene) -> Tree {
    let tree = scene.source_tree();
    for path in ["a", "b", "file", "deep/file", "deep/deeper/file", "deep/deeper/deepest/file"] {
        tree.write(path, format!("the source's own {path}"));
    }
    tree
}

#[test]
fn links_planted_at_every_level_are_replaced_not_followed() {
    let places =
        ["a", "file", "deep", "deep/file", "deep/deeper", "deep/deeper/deepest", "surplus", "not there/yet"];
    for flags in [&MIRROR[..], &["--mirror", "--max-delete", "100", "--trash"]] {
        for place in places {
            let scene = Scene::new();
            source(&scene);
            let (outside, before) = canary(&scene);
            let destination = scene.destination_tree();
            let link = destination.path(place);
            for target in [outside.clone(), outside.join("file"), outside.join("would be new")] {
                orbit_tests::tree::remove(&link);
                fs::create_dir_all(link.parent().expect("lies in a directory")).expect("makes a directory");
                symlink(&target, &link).expect("links");
                let run = scene.sync(flags);
                assert_eq!(run.code(), Some(0), "{place} to {}\n{run}", target.display());
                assert_untouched(&before, &outside);
                let now = scene.destination_now().without(".orbit-trash");
                let differences = scene.source_now().differences(&now);
                assert!(differences.is_empty(), "{place}: {differences:?}\n{run}");
            }
        }
    }
}

#[test]
fn without_mirror_a_link_in_the_way_of_a_directory_is_not_entered() {
    let scene = Scene::new();
    source(&scene);
    let (outside, before) = canary(&scene);
    scene.destination_tree().symlink("deep", &outside);
    let run = scene.sync(&[]);
    assert!(matches!(run.code(), Some(0 | 3 | 6)), "{run}");
    assert_untouched(&before, &outside);
}

#[test]
fn links_under_orbits_own_names_are_refused() {
    for name in [".orbit-stage", ".orbit-trash"] {
        let scene = Scene::new();
        source(&scene);
        let (outside, before) = canary(&scene);
        let destination = scene.destination_tree();
        destination.symlink(name, &outside);
        destination.write("a", "is replaced, so it would go to the trash");
        let run = scene.sync(&["--mirror", "--max-delete", "100", "--trash"]);
        assert!(run.code().is_some_and(|code| code != 0), "{run}");
        assert_untouched(&before, &outside);
        assert_eq!(
            fs::read(destination.path("a")).expect("is kept"),
            b"is replaced, so it would go to the trash"
        );
    }
}

#[test]
fn links_in_the_source_are_copied_not_followed() {
    let scene = Scene::new();
    let tree = source(&scene);
    let (outside, before) = canary(&scene);
    tree.symlink("to the outside", &outside);
    tree.symlink("to a file outside", outside.join("file"));
    scene.sync_whole(&MIRROR);
    scene.sync_whole(&["--checksum"]);
    assert_untouched(&before, &outside);
    let scan = scene.orbit.run(["scan".as_ref(), scene.source.as_os_str()]);
    assert!(!scan.says("canary/file"), "{scan}");
}

/// Swaps two names as fast as it can while `body` runs; puts them back in the end. Gives the number of swaps.
fn while_swapping(a: &Path, b: &Path, body: impl FnOnce()) -> u64 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) || swaps % 2 == 1 {
                match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
                    Ok(()) => swaps += 1,
                    // One of them is gone for now, or for good.
                    Err(_) if stop.load(Ordering::Relaxed) => break,
                    Err(_) => thread::yield_now(),
                }
            }
            swaps
        });
        body();
        stop.store(true, Ordering::Relaxed);
        swapper.join().expect("the swapper does not panic")
    })
}

#[test]
fn a_link_swapped_into_the_destination_during_the_run_gains_nothing() {
    let scene = Scene::new();
    let tree = source(&scene);
    let (outside, before) = canary(&scene);
    let mut swaps = 0;
    for round in 0..25 {
        for number in 0..60 {
            tree.write(format!("deep/deeper/{number}"), format!("{round} {number}"));
            tree.write(format!("deep/{number}"), format!("{round} {number}"));
        }
        let trap = scene.path("trap");
        orbit_tests::tree::remove(&trap);
        symlink(&outside, &trap).expect("links");
        let place = if round % 2 == 0 { "deep" } else { "deep/deeper" };
        swaps += while_swapping(&scene.destination.join(place), &trap, || {
            let run = scene.sync(if round % 3 == 0 { &MIRROR } else { &["-c"] });
            assert!(run.code().is_some(), "{run}");
        });
        assert_untouched(&before, &outside);
    }
    say(&format!("links swapped into the destination: {swaps} swaps in 25 runs"));
    assert!(swaps > 100, "the swapper hardly ran");
    orbit_tests::tree::remove(&scene.destination);
    scene.sync_whole(&MIRROR);
}

#[test]
fn a_link_swapped_into_the_source_during_the_run_reads_nothing_outside() {
    let scene = Scene::new();
    let tree = source(&scene);
    let (outside, before) = canary(&scene);
    let names: Vec<String> = (0..100).map(|number| format!("deep/deeper/{number}")).collect();
    for name in &names {
        tree.write(name, "the source's own");
        // The same name lies behind the link.
        fs::write(outside.join(name), SECRET).expect("writes");
    }
    let before =
        Snapshot { entries: before.entries.into_iter().chain(Snapshot::take(&outside).entries).collect() };
    let mut swaps = 0;
    for round in 0..25 {
        orbit_tests::tree::remove(&scene.destination);
        let trap = scene.path("trap");
        orbit_tests::tree::remove(&trap);
        let (place, to) = if round % 2 == 0 { ("deep", "deep") } else { ("deep/deeper", "deep/deeper") };
        symlink(outside.join(to), &trap).expect("links");
        swaps += while_swapping(&scene.source.join(place), &trap, || {
            let run = scene.sync(&[]);
            assert!(matches!(run.code(), Some(0 | 3)), "{run}");
        });
        for (path, seen) in scene.destination_now().entries {
            let path = scene.destination.join(os(&path));
            if matches!(seen.kind, orbit_tests::snapshot::Kind::File(_)) {
                assert_ne!(fs::read(&path).expect("reads"), SECRET, "{} came from outside", path.display());
            }
        }
        assert_untouched(&before, &outside);
    }
    say(&format!("links swapped into the source: {swaps} swaps in 25 runs"));
    assert!(swaps > 100, "the swapper hardly ran");
    scene.sync_whole(&[]);
}

#[test]
fn a_file_swapped_for_a_link_in_the_source_is_not_followed() {
    let scene = Scene::new();
    let tree = source(&scene);
    let (outside, before) = canary(&scene);
    let content = vec![b'x'; 2 << 20];
    tree.write("large", &content);
    for _ in 0..15 {
        orbit_tests::tree::remove(&scene.destination);
        let trap = scene.path("trap");
        orbit_tests::tree::remove(&trap);
        symlink(outside.join("file"), &trap).expect("links");
        while_swapping(&scene.source.join("large"), &trap, || {
            let run = scene.sync(&["--verify"]);
            assert!(matches!(run.code(), Some(0 | 3)), "{run}");
        });
        let copied = scene.destination.join("large");
        if copied.is_file() && !copied.is_symlink() {
            assert_eq!(fs::read(&copied).expect("reads"), content);
        }
    }
    assert_untouched(&before, &outside);
    scene.sync_whole(&[]);
    assert_same_tree(&scene.source, &scene.destination);
}
