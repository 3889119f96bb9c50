//! Every system call that writes fails once, and a disk is really full: a clear error, nothing torn, and the next run
//! completes.
#![cfg(target_os = "linux")]

use orbit_tests::between::{Between, STAGE};
use orbit_tests::injection::{Harm, Injected, Injection};
use orbit_tests::mount::Mount;
use orbit_tests::orbit::{Exit, sync_arguments};
use orbit_tests::report::say;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none, assert_same_tree, assert_untouched};
use orbit_tests::tree::Tree;
use std::fs;
use std::path::PathBuf;

const FLAGS: [&str; 5] = ["--mirror", "--max-delete", "100", "-j", "1"];

/// Later occurrences are spread wider; every call is met at least this often where the run makes it so often.
const OCCURRENCES: [u32; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17, 21, 26, 35, 50, 90, 200];

/// Everything one fault is tried on.
struct Trial {
    scene: Scene,
    between: Between,
    source: Snapshot,
    pristine: PathBuf,
    victim: PathBuf,
}

impl Trial {
    fn new(scene: Scene) -> Self {
        let mut tree = Tree::mixed(&scene.source, 6, 10);
        tree.file("large", 2 << 20);
        tree.write("linked/one", "1");
        tree.hard_link("linked/one", "linked/two");
        scene.sync_whole(&FLAGS);
        tree.evolve();
        tree.file("large", 2 << 20);
        tree.remove("linked");
        tree.write("linked/two", "both");
        tree.hard_link("linked/two", "linked/one");
        tree.write("new/directory/file", "1");
        tree.fifo("pipe");
        let (pristine, victim) = (scene.path("pristine"), scene.path("victim"));
        fs::rename(&scene.destination, &pristine).expect("renames");
        let source = scene.source_now();
        let between = Between { old: Snapshot::take(&pristine), new: source.clone().as_copied() };
        Self { scene, between, source, pristine, victim }
    }

    /// One fault, and the clean run after it. Says whether the run met it, and adds what went wrong to `wrongs`.
    fn undergo(&self, injection: Injection, wrongs: &mut Vec<String>) -> bool {
        orbit_tests::tree::remove(&self.victim);
        orbit_tests::tree::copy(&self.pristine, &self.victim);
        self.scene.orbit.forget();
        let injected =
            injection.run(&self.scene.orbit, sync_arguments(&self.scene.source, &self.victim, &FLAGS));
        let now = Snapshot::take(&self.victim);
        let mut wrong = self.between.violations(&now);
        wrong.extend(
            self.source.touches(&self.scene.source_now()).into_iter().map(|line| format!("source {line}")),
        );
        wrong.extend(self.judge(&injected, &now));
        let again = self.scene.orbit.sync(&self.scene.source, &self.victim, &FLAGS);
        let after = self.between.new.differences(&Snapshot::take(&self.victim));
        if again.code() != Some(0) || !after.is_empty() {
            wrong.push(format!("the next run does not repair it: {after:?}\n{again}"));
        }
        if !wrong.is_empty() {
            let Injected { run, met } = &injected;
            wrongs.push(format!("{injection:?}: {}\n{}\n{run}", wrong.join("\n"), met.join("\n")));
        }
        !injected.met.is_empty()
    }

    /// Success only where everything is in place; else a partial run or a guard, that says what failed. A run that could
    /// not even begin, or lost its own memory or its reader, may call that unexpected, if nothing was changed.
    fn judge(&self, injected: &Injected, now: &Snapshot) -> Option<String> {
        let run = &injected.run;
        let is_met = |place: &str| injected.met.iter().any(|line| line.contains(place));
        let hit_tree = is_met(self.victim.to_str().expect("is text")) || is_met("/source");
        let hit_own = is_met("/state/orbit") || is_met("pipe:");
        match run.code() {
            Some(0) => {
                let missing = self.between.new.differences(now);
                return (!missing.is_empty()).then(|| format!("success is claimed: {missing:?}"));
            }
            Some(3 | 8) => {}
            Some(1) if hit_own || self.is_as_before(now) => {}
            _ if !hit_tree => {}
            _ => return Some("exit is not 3 or 8".to_owned()),
        }
        // A `close` that fails by injection closes nothing, so that a lock stays held: by this process itself.
        let causes = ["i/o error", "input/output error", "no space left", "full", "another run"];
        let names_cause = causes.iter().any(|cause| run.says(cause));
        (hit_tree && !names_cause).then(|| "no cause is named".to_owned())
    }

    fn is_as_before(&self, now: &Snapshot) -> bool {
        let mut now = now.clone().without(STAGE);
        // Its time moves with the stage directory.
        now.entries.insert(Vec::new(), self.between.old.entries[&Vec::new()].clone());
        self.between.old.differences(&now).is_empty()
    }
}

fn every_occurrence_fails_once(calls: &[&'static str]) {
    if Injection::is_possible_or_skips() {
        fail_each(&Trial::new(Scene::new()), calls);
    }
}

fn fail_each(trial: &Trial, calls: &[&'static str]) {
    let (mut report, mut wrongs, mut total) = (Vec::new(), Vec::new(), 0);
    for &call in calls {
        let mut met = 0;
        for error in ["EIO", "ENOSPC"] {
            let injections = OCCURRENCES.map(|when| Injection { call, when, harm: Harm::Error(error) });
            met +=
                injections.into_iter().take_while(|injection| trial.undergo(*injection, &mut wrongs)).count();
        }
        total += met;
        report.push(format!("{call} {met}"));
    }
    say(&format!("faults injected: {total} ({})", report.join(", ")));
    assert!(wrongs.is_empty(), "{} of {total} faults ended badly:\n{}", wrongs.len(), wrongs.join("\n\n"));
}

#[test]
fn data_calls_fail() {
    every_occurrence_fails_once(&["write", "pwrite64", "copy_file_range", "ftruncate", "fallocate", "ioctl"]);
}

#[test]
fn data_calls_fail_with_reflinks() {
    if !Injection::is_possible_or_skips() {
        return;
    }
    let Some(mount) = Mount::image(&["mkfs.xfs", "-q"], 320) else { return };
    let calls = ["ioctl", "pwrite64", "ftruncate", "fallocate", "syncfs", "copy_file_range"];
    fail_each(&Trial::new(Scene::below(mount.path())), &calls);
}

#[test]
fn flushing_fails() {
    every_occurrence_fails_once(&["fsync", "fdatasync", "syncfs", "sync_file_range", "close"]);
}

#[test]
fn naming_fails() {
    every_occurrence_fails_once(&[
        "renameat",
        "renameat2",
        "linkat",
        "symlinkat",
        "mkdirat",
        "mkdir",
        "mknodat",
        "unlinkat",
        "unlink",
    ]);
}

#[test]
fn attributes_fail() {
    every_occurrence_fails_once(&[
        "fchmod",
        "fchmodat",
        "fchmodat2",
        "fchown",
        "fchownat",
        "utimensat",
        "fsetxattr",
        "setxattr",
        "lsetxattr",
        "fremovexattr",
        "flock",
    ]);
}

#[test]
fn opening_fails() {
    every_occurrence_fails_once(&["openat", "openat2"]);
}

#[test]
fn reading_fails() {
    every_occurrence_fails_once(&["read", "pread64", "getdents64", "statx", "newfstatat", "readlinkat"]);
}

/// Syncs into a file system that is too small, enlarges it, and syncs again.
///
/// A destination that is there is looked at before anything is written; in one that is still to be made the writing
/// itself must fail well.
fn fills_up(options: &str, enlarge: &str, make: impl Fn(&mut Tree)) {
    for is_made_before in [true, false] {
        let Some(mount) = Mount::tmpfs(options) else { return };
        let scene = Scene::new();
        let mut tree = scene.source_tree();
        make(&mut tree);
        let destination = mount.path().join("copy");
        if is_made_before {
            fs::create_dir(&destination).expect("makes a directory");
            fs::write(destination.join("old"), "replaced in the end").expect("writes");
            tree.write("old", "new version");
        }
        let between = Between { old: Snapshot::take(&destination), new: scene.source_now() };
        let before = scene.source_now();
        let run = scene.orbit.sync(&scene.source, &destination, &[]);
        assert!(matches!(run.code(), Some(3 | 8)), "{run}");
        assert!(run.says("space") || run.says("full") || run.says("room"), "the message says why\n{run}");
        assert_none(
            &between.violations(&Snapshot::take(&destination)),
            &format!("torn by a full disk\n{run}"),
        );
        assert_untouched(&before, &scene.source);
        mount.remount(enlarge);
        scene.orbit.sync(&scene.source, &destination, &[]).expect(Exit::Done);
        assert_same_tree(&scene.source, &destination);
    }
}

#[test]
fn a_full_disk_is_named_and_the_next_run_completes() {
    fills_up("size=300k", "size=4m", |tree| {
        for number in 0..20 {
            tree.file(format!("{number}"), 30_000);
        }
    });
}

#[test]
fn a_large_file_that_does_not_fit_is_named() {
    fills_up("size=8m", "size=64m", |tree| {
        tree.file("small", 1000);
        tree.file("large", 20 << 20);
    });
}

#[test]
fn a_disk_without_inodes_is_named() {
    fills_up("size=8m,nr_inodes=30", "size=8m,nr_inodes=500", |tree| {
        for number in 0..60 {
            tree.write(format!("{number}"), "1");
        }
    });
}

#[test]
fn a_disk_that_is_filled_by_somebody_else_meanwhile() {
    let Some(mount) = Mount::tmpfs("size=24m") else { return };
    let scene = Scene::new();
    let mut tree = scene.source_tree();
    for number in 0..8 {
        tree.file(format!("{number}"), 2 << 20);
    }
    let destination = mount.path().join("copy");
    let mut run = scene.orbit.start_sync(&scene.source, &destination, &["--bwlimit", "16M"]);
    let stage = destination.join(orbit_tests::between::STAGE);
    orbit_tests::wait::until("the run writes", || stage.exists() || !run.is_running());
    let hog = mount.path().join("hog");
    // As much as there is.
    drop(fs::write(&hog, vec![1; 23 << 20]));
    let run = run.finish();
    assert!(matches!(run.code(), Some(3 | 8)), "{run}");
    assert!(run.says("space") || run.says("full"), "{run}");
    let between = Between { old: Snapshot::default(), new: scene.source_now() };
    assert_none(&between.violations(&Snapshot::take(&destination)), "torn by a full disk");
    fs::remove_file(hog).expect("removes");
    scene.orbit.sync(&scene.source, &destination, &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &destination);
}
