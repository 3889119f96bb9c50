//! A source that changes while it is read: every file in the destination is some whole version, or it is reported.
#![cfg(target_os = "linux")]

use orbit_tests::orbit::{Exit, Run};
use orbit_tests::random::Random;
use orbit_tests::report::say;
use orbit_tests::scene::Scene;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const LEN: u64 = 3 << 20;

/// Does `change` over and over in a thread while `body` runs. Gives the number of changes, too.
fn while_changing<T>(mut change: impl FnMut(u64) + Send, body: impl FnOnce() -> T) -> (T, u64) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let changer = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                change(count);
                count += 1;
            }
            count
        });
        let result = body();
        stop.store(true, Ordering::Relaxed);
        (result, changer.join().expect("the changer does not panic"))
    })
}

/// Pieces in which a file is rewritten.
const PIECE: usize = 256 << 10;

/// A content that tells its version in every word; no byte of it is zero at the end of a word.
fn version(number: u64, len: u64) -> Vec<u8> {
    let word = number << 8 | 0xa5 << 56 | 0xa5;
    word.to_le_bytes().repeat(len as usize / 8)
}

/// The versions in a file, each with where it begins.
fn versions_in(content: &[u8]) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    for (index, word) in content.chunks(8).enumerate() {
        let mut full = [0xa5; 8];
        full[..word.len()].copy_from_slice(word);
        let word = u64::from_le_bytes(full);
        if found.last().is_none_or(|(_, last)| *last != word) {
            found.push((index * 8, word));
        }
    }
    found
}

/// Panics unless every word of the file is of one version, none is zero, and its length is `len` (if that is known).
#[track_caller]
fn assert_one_version(path: &Path, len: Option<u64>, run: &Run) {
    let content = fs::read(path).unwrap_or_else(|e| panic!("read {}: {e}\n{run}", path.display()));
    let versions = versions_in(&content);
    assert!(versions.len() <= 1, "{} joins versions: {versions:x?}\n{run}", path.display());
    assert!(versions.iter().all(|(_, word)| *word != 0), "{} is zeros\n{run}", path.display());
    assert!(len.is_none_or(|len| content.len() as u64 == len), "{} bytes\n{run}", content.len());
}

/// The same for a file that is rewritten from its start in pieces: at any moment it holds some pieces of a version
/// before the rest of an older one, and no program can tell that this is not a file.
#[track_caller]
fn assert_one_moment(path: &Path, run: &Run) {
    let content = fs::read(path).unwrap_or_else(|e| panic!("read {}: {e}\n{run}", path.display()));
    let versions = versions_in(&content);
    let existed = match versions[..] {
        [_] => true,
        [(_, new), (at, old)] => new > old && at % PIECE == 0,
        _ => false,
    };
    assert!(
        existed && content.len() as u64 == LEN,
        "{} never was like this: {versions:x?}\n{run}",
        path.display()
    );
}

fn check_ended(run: &Run) -> bool {
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    if run.code() == Some(3) {
        assert!(run.count("files_failed") > 0, "partial without a failed file\n{run}");
    }
    run.code() == Some(3)
}

#[test]
fn files_rewritten_in_place_are_whole_or_reported() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let names: Vec<String> = (0..8).map(|number| format!("file {number}")).collect();
    for name in &names {
        source.write(name, version(0, LEN));
    }
    scene.sync_whole(&[]);
    let files: Vec<File> = names
        .iter()
        .map(|name| File::options().write(true).open(source.path(name)).expect("opens"))
        .collect();
    let (mut reported, mut random) = (0, Random::new(3));
    for round in 0..12 {
        let change = |count: u64| {
            let file = &files[(count % 8) as usize];
            let content = version(1 + round * 100_000 + count, LEN);
            // In pieces, so that it takes as long as reading does.
            for (piece, bytes) in content.chunks(PIECE).enumerate() {
                file.write_all_at(bytes, (piece * PIECE) as u64).expect("writes");
            }
        };
        let (run, _) = while_changing(change, || scene.sync(if random.is_one_in(2) { &[] } else { &["-c"] }));
        reported += u64::from(check_ended(&run));
        for name in &names {
            assert_one_moment(&scene.destination.join(name), &run);
        }
    }
    say(&format!("files rewritten in place: {reported} of 12 runs reported some"));
    scene.sync_whole(&[]);
}

#[test]
fn a_growing_file_is_a_whole_prefix_or_reported() {
    let scene = Scene::new();
    let path = scene.source_tree().write("log", version(1, 64 << 10));
    scene.source_tree().write("still", "not moving");
    for _ in 0..10 {
        let mut at = fs::metadata(&path).expect("is there").len();
        let file = File::options().write(true).open(&path).expect("opens");
        let append = |_: u64| {
            if at < 64 << 20 {
                file.write_all_at(&version(1, 4096), at).expect("appends");
                at += 4096;
            }
        };
        let (run, _) = while_changing(append, || scene.sync(&[]));
        check_ended(&run);
        assert_eq!(fs::read(scene.destination.join("still")).expect("is copied"), b"not moving");
        if scene.destination.join("log").exists() {
            assert_one_version(&scene.destination.join("log"), None, &run);
        }
    }
    scene.sync_whole(&[]);
}

#[test]
fn a_truncated_file_is_never_padded() {
    let scene = Scene::new();
    let path = scene.source_tree().write("file", version(0, LEN));
    for round in 0..10 {
        let content = version(round, LEN);
        fs::write(&path, &content).expect("writes");
        let file = File::options().write(true).open(&path).expect("opens");
        // Only ever shorter: each state is a prefix, and what was read before a cut must not be joined with a hole.
        let mut len = LEN;
        let truncate = |_: u64| {
            len = (len * 9 / 10) / 8 * 8;
            file.set_len(len).expect("truncates");
        };
        let (run, _) = while_changing(truncate, || scene.sync(&[]));
        check_ended(&run);
        if scene.destination.join("file").exists() {
            assert_one_version(&scene.destination.join("file"), None, &run);
        }
    }
    scene.sync_whole(&[]);
}

#[test]
fn a_truncated_and_regrown_file_has_no_holes_from_nowhere() {
    let scene = Scene::new();
    let path = scene.source_tree().write("file", version(0, LEN));
    for round in 0..8 {
        let file = File::options().write(true).open(&path).expect("opens");
        let change = |count: u64| {
            file.set_len(0).expect("truncates");
            file.write_all_at(&version(round * 100_000 + count, LEN), 0).expect("writes");
        };
        let (run, _) = while_changing(change, || scene.sync(&[]));
        check_ended(&run);
        if scene.destination.join("file").exists() {
            assert_one_version(&scene.destination.join("file"), None, &run);
        }
    }
    scene.sync_whole(&[]);
}

#[test]
fn files_replaced_by_rename_are_always_one_version() {
    let scene = Scene::new();
    let source = scene.source_tree();
    let temporary = scene.path("temporary");
    for number in 0..6 {
        source.write(format!("{number}"), version(number, LEN));
    }
    scene.sync_whole(&[]);
    for round in 0..8 {
        let replace = |count: u64| {
            fs::write(&temporary, version(round * 100_000 + count, LEN)).expect("writes");
            fs::rename(&temporary, source.path(format!("{}", count % 6))).expect("renames");
        };
        let (run, _) = while_changing(replace, || scene.sync(&["--mirror"]));
        check_ended(&run);
        for number in 0..6 {
            assert_one_version(&scene.destination.join(format!("{number}")), Some(LEN), &run);
        }
    }
    scene.sync_whole(&[]);
}

#[test]
fn files_that_come_and_go_do_no_harm() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for number in 0..200 {
        source.write(format!("dir {}/{number}", number % 10), format!("content {number}"));
        source.write(format!("stays {}/{number}", number % 10), format!("content {number}"));
    }
    let mut random = Random::new(9);
    for _ in 0..8 {
        orbit_tests::tree::remove(&scene.destination);
        let come_and_go = |count: u64| {
            let (directory, number) = (random.below(10), random.below(200));
            let path = source.path(format!("dir {directory}/{number}"));
            match count % 4 {
                0 | 1 => drop(fs::remove_file(&path)),
                2 => drop(fs::write(&path, format!("content {number}"))),
                _ => {
                    let (a, b) = (source.path(format!("dir {directory}")), source.path("moved"));
                    if fs::rename(&a, &b).is_ok() {
                        fs::rename(&b, &a).expect("renames back");
                    }
                }
            }
        };
        let (run, _) = while_changing(come_and_go, || scene.sync(&["--mirror"]));
        check_ended(&run);
        for number in 0..200 {
            let path = format!("stays {}/{number}", number % 10);
            let expected = format!("content {number}");
            assert_eq!(
                fs::read_to_string(scene.destination.join(path)).expect("is copied"),
                expected,
                "{run}"
            );
            let path = scene.destination.join(format!("dir {}/{number}", number % 10));
            if let Ok(content) = fs::read_to_string(path) {
                assert!(expected.starts_with(&content), "{content:?}\n{run}");
            }
        }
    }
    scene.sync(&["--mirror", "--max-delete", "100"]).expect(Exit::Done);
    orbit_tests::snapshot::assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn a_source_that_vanishes_during_the_run_deletes_nothing() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    for number in 0..40 {
        source.file(format!("dir/{number}"), 200_000);
    }
    scene.destination_tree().write("precious", "only the destination has it");
    let mut run = scene.start_sync(&["--mirror", "--max-delete", "100", "--bwlimit", "2M"]);
    let stage = scene.destination.join(orbit_tests::between::STAGE);
    orbit_tests::wait::until("the run writes", || stage.exists() || !run.is_running());
    fs::rename(&scene.source, scene.path("unplugged")).expect("renames");
    fs::remove_dir_all(scene.path("unplugged")).expect("removes");
    let run = run.finish();
    run.clone().expect(Exit::Partial);
    assert!(scene.destination.join("precious").exists(), "deleted after a fault\n{run}");
    assert!(!stage.exists(), "something is left\n{run}");
}
