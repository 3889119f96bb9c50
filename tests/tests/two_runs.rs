//! Two runs on one destination.
#![cfg(target_os = "linux")]

use orbit_tests::between::{Between, STAGE};
use orbit_tests::orbit::{Exit, Orbit, Running};
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none, assert_same_tree};
use orbit_tests::wait::until;
use std::path::Path;

/// A run that takes some seconds, caught while it writes.
fn slow_run(scene: &Scene, destination: &Path) -> Running {
    while_it_writes(scene.orbit.start_sync(&scene.source, destination, &["--bwlimit", "4M"]), destination)
}

fn while_it_writes(mut run: Running, destination: &Path) -> Running {
    let lock = destination.join(STAGE).join("lock");
    until("the first run writes", || lock.exists() || !run.is_running());
    assert!(run.is_running(), "the first run ended at once");
    run
}

fn scene() -> Scene {
    let scene = Scene::new();
    let mut tree = scene.mixed_source(21, 40);
    tree.file("large", 12 << 20);
    scene
}

#[test]
fn the_second_refuses_and_the_first_completes() {
    let scene = scene();
    let first = slow_run(&scene, &scene.destination);
    // The same data directory and another one: the destination itself is guarded.
    for orbit in [&scene.orbit, &Orbit::new()] {
        let run = orbit.sync(&scene.source, &scene.destination, &["--mirror"]);
        assert_eq!(run.code(), Some(8), "{run}");
        assert!(run.says("another run"), "{run}");
    }
    first.finish().expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn a_destination_inside_another_ones_is_guarded_too() {
    let scene = scene();
    let first = slow_run(&scene, &scene.destination);
    let other = scene.path("other source");
    std::fs::create_dir(&other).expect("makes a directory");
    std::fs::write(other.join("file"), "1").expect("writes");
    let inside = scene.destination.join("empty");
    std::fs::create_dir_all(&inside).expect("makes a directory");
    Orbit::new().sync(&other, &inside, &[]).expect(Exit::Guarded);
    let parent = scene.destination.parent().expect("lies in a directory");
    Orbit::new().sync(&other, parent, &[]).expect(Exit::Guarded);
    first.finish();
    assert!(!inside.join("file").exists());
}

#[test]
fn two_destinations_do_not_wait_for_each_other() {
    let scene = scene();
    let first = slow_run(&scene, &scene.destination);
    let other = scene.path("other");
    scene.orbit.sync(&scene.source, &other, &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &other);
    first.finish().expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn a_killed_run_blocks_nobody() {
    let scene = scene();
    let (was_killed, _) = slow_run(&scene, &scene.destination).kill();
    assert!(was_killed && scene.destination.join(STAGE).exists());
    scene.sync_whole(&["--mirror", "--max-delete", "100"]);
    let (was_killed, _) = slow_run(&scene, &scene.path("elsewhere")).kill();
    assert!(was_killed);
    // Another data directory knows nothing of what was staged, and cleans it up all the same.
    Orbit::new().sync(&scene.source, &scene.path("elsewhere"), &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.path("elsewhere"));
}

#[test]
fn an_interrupted_run_stops_cleanly_and_says_how_to_go_on() {
    let scene = scene();
    // Without --json, for a person.
    let arguments = ["sync".as_ref(), scene.source.as_os_str(), scene.destination.as_os_str()];
    let run = Running::start(scene.orbit.command(arguments.into_iter().chain(["--bwlimit=4M".as_ref()])));
    let run = while_it_writes(run, &scene.destination);
    run.interrupt();
    let run = run.finish();
    assert!(matches!(run.code(), Some(3 | 130)), "{run}");
    assert!(run.says("orbit sync") || run.says("same command"), "it says how to go on\n{run}");
    let between = Between { old: Snapshot::default(), new: scene.source_now() };
    assert_none(&between.violations(&scene.destination_now()), "torn by Ctrl-C");
    scene.sync_whole(&[]);
}

#[test]
fn many_at_once_end_with_a_whole_tree() {
    let scene = Scene::new();
    scene.mixed_source(22, 80);
    for _ in 0..5 {
        let runs: Vec<Running> = (0..4).map(|_| scene.start_sync(&["--mirror"])).collect();
        let codes: Vec<Option<i32>> = runs.into_iter().map(|run| run.finish().code()).collect();
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 8))), "{codes:?}");
        assert!(codes.contains(&Some(0)), "{codes:?}");
        assert_same_tree(&scene.source, &scene.destination);
        orbit_tests::tree::remove(&scene.destination);
    }
}
