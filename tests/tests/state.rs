//! Databases that are damaged, locked or not there: the user's data is never harmed.
#![cfg(target_os = "linux")]

use orbit_tests::between::Between;
use orbit_tests::orbit::{Exit, Orbit, Run};
use orbit_tests::report::is_root_or_skips;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none, assert_same_tree};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Files in the state directory.
fn databases(scene: &Scene) -> Vec<PathBuf> {
    let snapshot = Snapshot::take(&scene.orbit.state());
    let files = snapshot.entries.iter().filter(|(_, seen)| !seen.is_directory());
    files.map(|(path, _)| scene.orbit.state().join(orbit_tests::snapshot::os(path))).collect()
}

/// Syncs a next version with whatever is wrong. Either it is done, or there is an error and nothing is torn.
fn harms_nobody(scene: &Scene, what: &str) -> Run {
    let old = scene.destination_now();
    scene.source_tree().write("changed each time", what);
    let run = scene.sync(&["--mirror"]);
    let now = scene.destination_now();
    let between = Between { old, new: scene.source_now() };
    assert_none(&between.violations(&now), what);
    match run.code() {
        Some(0) => assert_none(&between.new.differences(&now), what),
        Some(_) => assert!(run.says("error"), "an error without a word: {what}\n{run}"),
        None => panic!("died: {what}\n{run}"),
    }
    run
}

fn synced_scene() -> Scene {
    let scene = Scene::new();
    scene.mixed_source(31, 20);
    scene.sync_whole(&["--checksum"]);
    assert!(!databases(&scene).is_empty(), "nothing is remembered");
    scene
}

#[test]
fn damaged_databases_cost_no_data() {
    let scene = synced_scene();
    let good: Vec<(PathBuf, Vec<u8>)> =
        databases(&scene).into_iter().map(|path| (path.clone(), fs::read(&path).expect("reads"))).collect();
    for (path, content) in &good {
        let name = path.file_name().expect("is a file").to_string_lossy().into_owned();
        let half = content.len() / 2;
        let flipped: Vec<u8> = content.iter().map(|byte| byte ^ 0xff).collect();
        let mut one = content.clone();
        if let Some(byte) = one.get_mut(half) {
            *byte ^= 0x10;
        }
        let damages = [
            ("emptied", Vec::new()),
            ("cut", content[..half].to_vec()),
            ("text", b"this is no database, but somebody's letter".to_vec()),
            ("flipped", flipped),
            ("one bit", one),
            ("zeros", vec![0; content.len()]),
        ];
        for (damage, bytes) in damages {
            fs::write(path, bytes).expect("writes");
            let run = harms_nobody(&scene, &format!("{name} {damage}"));
            if run.code() != Some(0) {
                assert!(run.says(&name) || run.says("orbit doctor"), "the error names the database\n{run}");
            }
            // What is wrong now is the next one.
            scene.orbit.forget();
            fs::create_dir_all(scene.orbit.state()).expect("makes a directory");
            for (path, content) in &good {
                fs::write(path, content).expect("writes");
            }
        }
    }
    scene.sync_whole(&["--mirror"]);
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    if !is_root_or_skips("a state directory of somebody else") {
        return;
    }
    let scene = Scene::with(Orbit::as_user(65_534), &std::env::temp_dir());
    scene.source_tree().write("file", "1");
    scene.destination_tree();
    std::os::unix::fs::chown(&scene.destination, Some(65_534), Some(65_534)).expect("changes the owner");
    let state = scene.orbit.state();
    fs::create_dir_all(&state).expect("makes a directory");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o500)).expect("sets the mode");
    let run = scene.sync(&[]);
    match run.code() {
        Some(0) => assert_eq!(fs::read(scene.destination.join("file")).expect("is copied"), b"1"),
        Some(_) => assert!(run.says("state/orbit") || run.says("--data-dir"), "{run}"),
        None => panic!("{run}"),
    }
}

#[test]
fn a_state_directory_that_is_a_file() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let not_a_directory = scene.path("file in the way");
    fs::write(&not_a_directory, "precious").expect("writes");
    let flag = format!("--data-dir={}", not_a_directory.display());
    let run = scene.sync(&[&flag]);
    assert!(run.code().is_some_and(|code| code != 0) || scene.destination.join("file").exists(), "{run}");
    assert!(run.code() == Some(0) || run.says("file in the way"), "{run}");
    assert_eq!(fs::read(&not_a_directory).expect("is kept"), b"precious");
}

#[test]
fn the_data_directory_can_be_chosen() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let chosen = scene.path("chosen");
    scene.sync_whole(&[&format!("--data-dir={}", chosen.display())]);
    assert!(fs::read_dir(&chosen).expect("was made").next().is_some());
    assert!(!scene.orbit.state().exists(), "nothing is made elsewhere");
    let mut command = scene.orbit.command(["plan", "ls"]);
    command.env("ORBIT_DATA_DIR", scene.path("by the environment"));
    orbit_tests::orbit::Running::start(command).finish().expect(Exit::Done);
}

#[test]
fn what_is_remembered_is_nobody_elses_business() {
    let scene = synced_scene();
    for path in databases(&scene) {
        let mode = fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    }
}

#[test]
fn a_locked_database_is_an_error_or_a_warning() {
    let scene = synced_scene();
    let locks: Vec<fs::File> = databases(&scene)
        .iter()
        .map(|path| {
            let file = fs::File::options().read(true).write(true).open(path).expect("opens");
            file.lock().expect("locks");
            file
        })
        .collect();
    let run = harms_nobody(&scene, "locked databases");
    assert!(run.code().is_some(), "{run}");
    drop(locks);
    scene.sync_whole(&["--mirror"]);
}

#[test]
fn many_runs_share_one_state_directory() {
    let scene = Scene::new();
    scene.mixed_source(32, 40);
    let destinations: Vec<PathBuf> = (0..6).map(|number| scene.path(&format!("to {number}"))).collect();
    let runs: Vec<_> =
        destinations.iter().map(|to| scene.orbit.start_sync(&scene.source, to, &["-c"])).collect();
    for (run, destination) in runs.into_iter().zip(&destinations) {
        run.finish().expect(Exit::Done);
        assert_same_tree(&scene.source, destination);
    }
}
