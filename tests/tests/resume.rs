//! A killed run's large file is gone on with, unless the source changed.
#![cfg(target_os = "linux")]

use orbit_tests::between::STAGE;
use orbit_tests::orbit::Exit;
use orbit_tests::report::say;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::Snapshot;
use orbit_tests::wait::until;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

const LARGE: &str = "large";
const LARGE_LEN: usize = 256 << 20;

/// Bytes that lie in the stage area.
fn staged_bytes(scene: &Scene) -> u64 {
    let mut bytes = 0;
    let mut waiting = vec![scene.destination.join(STAGE)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => bytes += metadata.len().min(metadata.blocks() * 512),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Kills a run of `LARGE` when about two thirds of it were written.
fn kill_in_the_middle(scene: &Scene) {
    let len = fs::metadata(scene.source.join(LARGE)).expect("is there").len();
    // Slowly enough that checkpoints are written on the way.
    let mut run = scene.start_sync(&["--bwlimit", &format!("{}B", len / 5)]);
    until("two thirds are written", || run.written_bytes() >= len * 2 / 3 || !run.is_running());
    assert!(run.is_running(), "the run ended before it could be killed");
    let (was_killed, _) = run.kill();
    assert!(was_killed && staged_bytes(scene) > 0, "nothing is staged");
}

#[test]
fn a_large_file_is_gone_on_with() {
    let scene = Scene::new();
    scene.source_tree().file(LARGE, LARGE_LEN);
    kill_in_the_middle(&scene);
    assert!(!scene.destination.join(LARGE).exists());
    let run = scene.sync_whole(&[]);
    let (reused, written) = (run.count("bytes_reused"), run.count("bytes_written"));
    say(&format!("resume: {} MiB reused, {} MiB written", reused >> 20, written >> 20));
    assert!(reused > 0, "{run}");
    assert!(reused + written <= LARGE_LEN as u64 + (1 << 20), "{run}");
}

#[test]
fn an_interrupted_run_is_gone_on_with() {
    let scene = Scene::new();
    scene.source_tree().file(LARGE, LARGE_LEN / 4);
    let mut run = scene.start_sync(&["--bwlimit", "32M"]);
    until("half is written", || run.written_bytes() >= LARGE_LEN as u64 / 8 || !run.is_running());
    run.interrupt();
    run.finish().expect(Exit::Partial);
    let run = scene.sync_whole(&[]);
    assert!(run.count("bytes_reused") > 0, "{run}");
}

#[test]
fn parts_of_two_versions_are_never_joined() {
    let scene = Scene::new();
    let source = scene.source_tree().file(LARGE, LARGE_LEN / 2);
    kill_in_the_middle(&scene);
    let before = fs::metadata(&source).expect("is there");
    let file = fs::File::options().write(true).open(&source).expect("opens");
    // The same size, and the same time of modification as before.
    file.write_all_at(b"another version begins here", 1000).expect("writes");
    file.write_all_at(b"another version ends here", (LARGE_LEN / 2 - 1000) as u64).expect("writes");
    scene.source_tree().mtime(LARGE, before.mtime(), before.mtime_nsec() as u32);
    scene.sync_whole(&[]);
}

#[test]
fn what_was_damaged_in_the_stage_is_not_used() {
    let scene = Scene::new();
    scene.source_tree().file(LARGE, LARGE_LEN / 2);
    kill_in_the_middle(&scene);
    let staged = Snapshot::take(&scene.destination.join(STAGE));
    for (path, seen) in &staged.entries {
        if seen.links == 1 && !seen.is_directory() && !path.ends_with(b"lock") {
            let path = scene.destination.join(STAGE).join(orbit_tests::snapshot::os(path));
            let file = fs::File::options().write(true).open(path).expect("opens");
            file.write_all_at(b"rotten", 4321).expect("writes");
        }
    }
    scene.sync_whole(&[]);
}
