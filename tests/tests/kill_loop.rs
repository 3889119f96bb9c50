//! SIGKILL at any moment leaves every file old or new, whole, and the next run goes on.
#![cfg(target_os = "linux")]

use orbit_tests::between::{Between, STAGE};
use orbit_tests::content::{Content, KnownContents};
use orbit_tests::injection::{Harm, Injection};
use orbit_tests::mount::Mount;
use orbit_tests::orbit::{Exit, Running, sync_arguments};
use orbit_tests::random::Random;
use orbit_tests::report::{say, skipped};
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Kind, Seen, Snapshot, assert_none, assert_same_tree};
use orbit_tests::tree::Tree;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

const FLAGS: [&str; 3] = ["--mirror", "--max-delete", "100"];
const LARGE: &str = "large image";
const TRASH: &str = ".orbit-trash";

/// Kills of each random loop, and how many of them must have met a run that was writing.
const KILLS: u64 = 110;
const KILLS_WRITING_MIN: u64 = 55;
/// Copies whose first run is killed, and how many of these kills must have met a run that was writing.
const COPIES: u64 = 5;
const COPY_KILLS_WRITING_MIN: u64 = 5;
/// Kills before a version is let through to its end.
const KILLS_A_VERSION: u64 = 10;
/// However slow the machine is, the loop ends, once it has enough kills.
const PATIENCE: Duration = Duration::from_secs(100);

/// The next version of a mixed source: small files, and a large one that is rewritten or changed here and there.
fn evolve(tree: &mut Tree, random: &mut Random, version: u64) {
    tree.evolve();
    if version.is_multiple_of(2) {
        tree.file(LARGE, 32 << 20);
    } else {
        let large = fs::File::options().write(true).open(tree.path(LARGE)).expect("opens");
        for _ in 0..200 {
            large.write_all_at(&random.bytes(4096), random.below(8191) * 4096).expect("writes");
        }
    }
}

/// Counts of a loop.
#[derive(Debug, Default)]
struct Kills {
    sent: u64,
    writing: u64,
    finished_first: u64,
    resumed_bytes: u64,
}

/// Syncs, and says how long the run took: a kill within that time meets one like it.
fn timed_sync(scene: &Scene, flags: &[&str]) -> Duration {
    let begun = Instant::now();
    let run = scene.sync(flags);
    let took = begun.elapsed();
    run.expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
    took
}

/// Kills a started run after `delay` and judges what it left.
fn kill_and_judge(
    run: Running,
    delay: Duration,
    destination: &Path,
    between: &Between,
    known: &mut KnownContents,
) -> bool {
    // Not to wait for anything: the moment of death is what varies.
    thread::sleep(delay);
    let (was_killed, run) = run.kill();
    let now = Snapshot::take_knowing(destination, known);
    assert_none(&between.violations(&now), &format!("torn by a kill after {delay:?}\n{run}"));
    was_killed
}

#[test]
fn random_kills_on_disk_leave_old_or_new_and_the_next_run_completes() {
    random_kills(&Scene::new(), "on disk", Random::seed_or(20_261_124));
}

#[test]
fn random_kills_in_memory_leave_old_or_new_and_the_next_run_completes() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return skipped("kills in memory", "there is no /dev/shm");
    }
    random_kills(&Scene::below(memory), "in memory", Random::seed_or(9_301));
}

#[test]
fn random_kills_with_reflinks_leave_old_or_new_and_the_next_run_completes() {
    let Some(mount) = Mount::image(&["mkfs.xfs", "-q"], 1_000) else { return };
    random_kills(&Scene::below(mount.path()), "with reflinks", Random::seed_or(44));
}

fn random_kills(scene: &Scene, place: &str, seed: u64) {
    let mut random = Random::new(seed);
    let mut tree = scene.mixed_source(seed, 120);
    tree.file(LARGE, 32 << 20);
    let mut whole = timed_sync(scene, &FLAGS);
    let mut known = KnownContents::default();
    let mut kills = Kills::default();
    let mut version = 0;
    let begun = Instant::now();
    while kills.sent < KILLS || (kills.writing < KILLS_WRITING_MIN && begun.elapsed() < PATIENCE) {
        version += 1;
        let old = Snapshot::take_knowing(&scene.destination, &mut known);
        evolve(&mut tree, &mut random, version);
        let new = Snapshot::take_knowing(&scene.source, &mut known).as_copied();
        let between = Between { old, new };
        // Now and then slowly enough that the large file has a checkpoint, from which the next run goes on.
        let is_slow = version.is_multiple_of(6);
        for _ in 0..if is_slow { 1 } else { KILLS_A_VERSION } {
            let (flags, delay) = if is_slow {
                ([&FLAGS[..], &["--bwlimit", "6M"]].concat(), random.between(3_200_000, 4_000_000))
            } else {
                (FLAGS.to_vec(), random.below(whole.as_micros() as u64))
            };
            let delay = Duration::from_micros(delay);
            let run = scene.start_sync(&flags);
            if kill_and_judge(run, delay, &scene.destination, &between, &mut known) {
                kills.sent += 1;
                kills.writing += u64::from(scene.destination.join(STAGE).exists());
            } else {
                kills.finished_first += 1;
                break;
            }
        }
        let begun = Instant::now();
        let run = scene.sync(&FLAGS).expect(Exit::Done);
        let now = Snapshot::take_knowing(&scene.destination, &mut known);
        assert_none(&between.new.differences(&now), "the run after the kills did not complete");
        kills.resumed_bytes += run.count("bytes_reused");
        // Later versions have the delays that this machine and this amount of change need.
        whole = (whole + begun.elapsed()) / 2;
    }
    say(&format!(
        "random kills {place}, seed {seed}: {kills:?} over {version} versions in {:?}",
        begun.elapsed()
    ));
    assert!(kills.resumed_bytes > 0, "nothing was ever resumed or shared");
    assert!(kills.writing >= KILLS_WRITING_MIN, "too few kills met a run that was writing: {kills:?}");
}

#[test]
fn kills_of_a_first_copy_leave_nothing_half_done() {
    let seed = Random::seed_or(77);
    let mut random = Random::new(seed);
    let scene = Scene::new();
    let mut tree = scene.mixed_source(seed, 150);
    tree.file(LARGE, 48 << 20);
    let between = Between { old: Snapshot::default(), new: scene.source_now().as_copied() };
    let anew = || {
        orbit_tests::tree::remove(&scene.destination);
        scene.orbit.forget();
    };
    let (mut known, mut kills) = (KnownContents::default(), Kills::default());
    let (begun, mut copies) = (Instant::now(), 0);
    while copies < COPIES || (kills.writing < COPY_KILLS_WRITING_MIN && begun.elapsed() < PATIENCE) {
        copies += 1;
        anew();
        // Measured each time: the first copy reads what the others find in memory, and other work comes and goes.
        let whole = timed_sync(&scene, &[]);
        anew();
        for _ in 0..6 {
            let delay = Duration::from_micros(random.below(whole.as_micros() as u64));
            let run = scene.start_sync(&[]);
            if !kill_and_judge(run, delay, &scene.destination, &between, &mut known) {
                kills.finished_first += 1;
                break;
            }
            kills.sent += 1;
            kills.writing += u64::from(scene.destination.join(STAGE).exists());
        }
        kills.resumed_bytes += scene.sync(&[]).expect(Exit::Done).count("bytes_reused");
        let now = Snapshot::take_knowing(&scene.destination, &mut known);
        assert_none(&between.new.differences(&now), "the run after the kills did not complete");
    }
    say(&format!(
        "kills of a first copy, seed {seed}: {kills:?} over {copies} copies in {:?}",
        begun.elapsed()
    ));
    assert!(
        kills.writing >= COPY_KILLS_WRITING_MIN,
        "too few kills met a run that was writing: {kills:?} over {copies} copies"
    );
}

/// Contents of all files, wherever they are.
fn contents(snapshot: &Snapshot) -> Vec<Content> {
    let of = |seen: &Seen| match seen.kind {
        Kind::File(content) => Some(content),
        _ => None,
    };
    snapshot.entries.values().filter_map(of).collect()
}

#[test]
fn kills_with_a_trash_lose_nothing_that_ever_was() {
    let mut random = Random::new(Random::seed_or(12));
    let scene = Scene::new();
    let mut tree = scene.mixed_source(12, 80);
    let mut whole = timed_sync(&scene, &FLAGS);
    let flags = [&FLAGS[..], &["--trash"]].concat();
    let (mut known, mut kills) = (KnownContents::default(), Kills::default());
    for _ in 0..8 {
        let old = Snapshot::take_knowing(&scene.destination, &mut known);
        tree.evolve();
        let new = scene.source_now().as_copied();
        let between = Between { old: old.clone().without(TRASH), new };
        for last in [false, false, false, false, false, true] {
            if last {
                let begun = Instant::now();
                scene.sync(&flags).expect(Exit::Done);
                whole = (whole + begun.elapsed()) / 2;
            } else {
                let delay = Duration::from_micros(random.below(whole.as_micros() as u64));
                let run = scene.start_sync(&flags);
                thread::sleep(delay);
                kills.sent += u64::from(run.kill().0);
                kills.writing += u64::from(scene.destination.join(STAGE).exists());
            }
            let now = Snapshot::take_knowing(&scene.destination, &mut known);
            assert_none(&between.violations(&now.clone().without(TRASH)), "torn by a kill");
            let kept = contents(&now);
            let lost = contents(&old).iter().filter(|content| !kept.contains(content)).count();
            assert_eq!(lost, 0, "contents are neither in place nor in the trash");
        }
    }
    say(&format!("kills with a trash: {kills:?}"));
    assert!(kills.sent > 0);
}

/// System calls that change something, by the names of all machines Orbit runs on.
const CALLS: [&str; 25] = [
    "openat",
    "write",
    "pwrite64",
    "copy_file_range",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "syncfs",
    "renameat",
    "renameat2",
    "linkat",
    "symlinkat",
    "mkdirat",
    "mknodat",
    "unlinkat",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "fsetxattr",
    "setxattr",
    "ioctl",
    "close",
];

/// How many occurrences of one call are killed at, spread over the run.
const OCCURRENCES: [u32; 9] = [1, 2, 3, 5, 8, 13, 25, 60, 150];

/// A small change of every kind.
fn small_versions(scene: &Scene) -> Between {
    let mut tree = Tree::mixed(&scene.source, 5, 12);
    tree.file(LARGE, 2 << 20);
    tree.write("linked/one", "1");
    tree.hard_link("linked/one", "linked/two");
    scene.sync_whole(&FLAGS);
    let old = scene.destination_now();
    tree.evolve();
    tree.file(LARGE, 2 << 20);
    tree.write("linked/two", "both");
    Between { old, new: scene.source_now().as_copied() }
}

#[test]
fn kills_at_system_calls_leave_old_or_new() {
    if !Injection::is_possible_or_skips() {
        return;
    }
    let scene = Scene::new();
    let between = small_versions(&scene);
    let (pristine, destination) = (scene.path("pristine"), scene.path("victim"));
    orbit_tests::tree::copy(&scene.destination, &pristine);
    let mut killed = 0;
    let mut by_call = Vec::new();
    for call in CALLS {
        let mut met = 0;
        for when in OCCURRENCES {
            orbit_tests::tree::remove(&destination);
            orbit_tests::tree::copy(&pristine, &destination);
            let injection = Injection { call, when, harm: Harm::Kill };
            let flags = [&FLAGS[..], &["-j", "2"]].concat();
            let injected = injection.run(&scene.orbit, sync_arguments(&scene.source, &destination, &flags));
            let now = Snapshot::take(&destination);
            let what = format!("torn by a kill at {call} number {when}");
            assert_none(&between.violations(&now), &what);
            if injected.met.is_empty() {
                injected.run.expect(Exit::Done);
                break;
            }
            met += 1;
            scene.orbit.sync(&scene.source, &destination, &FLAGS).expect(Exit::Done);
            assert_same_tree(&scene.source, &destination);
        }
        killed += met;
        by_call.push(format!("{call} {met}"));
    }
    say(&format!("kills at system calls: {killed} ({})", by_call.join(", ")));
    assert!(killed >= 40, "only {killed} kills");
}

/// Copies in place, without staging: what Orbit must never be, and what the judge must catch.
fn write_in_place(source: &Path, destination: &Path) -> io::Result<()> {
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let to = destination.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&to)?;
            write_in_place(&entry.path(), &to)?;
        } else if entry.file_type()?.is_file() {
            io::copy(&mut fs::File::open(entry.path())?, &mut fs::File::create(&to)?)?;
            let modified = entry.metadata()?.modified()?;
            fs::File::options().write(true).open(&to)?.set_modified(modified)?;
        }
    }
    Ok(())
}

/// Runs as a child of the next test; alone it does nothing.
#[test]
fn broken_writer_child() {
    if let (Some(from), Some(to)) = (env::var_os("BROKEN_WRITER_FROM"), env::var_os("BROKEN_WRITER_TO")) {
        write_in_place(&PathBuf::from(from), &PathBuf::from(to)).expect("copies");
    }
}

#[test]
fn the_judge_catches_a_writer_that_does_not_stage() {
    let scene = Scene::new();
    let mut source = scene.source_tree();
    let mut destination = scene.destination_tree();
    for number in 0..40 {
        source.file(format!("{number}"), 600_000);
        destination.file(format!("{number}"), 500_000);
    }
    let between = Between { old: scene.destination_now(), new: scene.source_now() };
    let start = |to: &Path| {
        let mut child = Command::new(env::current_exe().expect("knows its own path"));
        child.args(["--exact", "broken_writer_child"]);
        child.env("BROKEN_WRITER_FROM", &scene.source).env("BROKEN_WRITER_TO", to);
        Running::start(child)
    };
    let elsewhere = scene.path("elsewhere");
    fs::create_dir(&elsewhere).expect("makes a directory");
    let begun = Instant::now();
    start(&elsewhere).finish().expect(Exit::Done);
    let whole = begun.elapsed();
    let mut random = Random::new(Random::seed_or(5));
    for attempt in 1..=60 {
        let run = start(&scene.destination);
        thread::sleep(Duration::from_micros(random.below(whole.as_micros() as u64)));
        run.kill();
        if !between.violations(&scene.destination_now()).is_empty() {
            return say(&format!("a writer in place is caught at kill {attempt}"));
        }
    }
    panic!("60 kills of a writer in place and nothing was noticed");
}
