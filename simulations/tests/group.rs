//! Seeds of the group that run with every build; `orbit-sim group --seeds 20000` is for releases.
#![allow(clippy::print_stdout)] // a fresh set of seeds has to be told, or nobody could play it again

use orbit_simulations::group::{Keep, Options, Plant, Report, run};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seeds that are always played.
const FIXED: u64 = 60;
/// Seeds that nobody has played before.
const FRESH: u64 = 40;
/// A planted bug must show within so many.
const SEEDS_TO_CATCH: u64 = 50;
const THREADS: usize = 2;

fn told(seed: u64) -> String {
    let report = run(seed, &Options { keep: Keep::Lines, ..Options::default() });
    let last = report.log.len().saturating_sub(80);
    format!("seed {seed}\n{}\n{}", report.log[last..].join("\n"), report.violations.join("\n"))
}

/// Plays seeds on several threads, each on one.
fn play(from: u64, count: u64) -> Vec<Report> {
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let report = run(from.wrapping_add(number), &Options::default());
                    reports.lock().expect("pushing does not panic").push(report);
                }
            });
        }
    });
    reports.into_inner().expect("pushing does not panic")
}

fn no_rule_is_broken(from: u64, count: u64) {
    let reports = play(from, count);
    if let Some(broken) = reports.iter().find(|report| !report.violations.is_empty()) {
        panic!("{}", told(broken.seed));
    }
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    // A simulation in which nothing happens proves nothing.
    assert!(sum(|report| report.tally.acknowledged) > 50 * count, "writes");
    assert!(sum(|report| report.tally.restarts) > 2 * count, "crashes");
    assert!(sum(|report| report.tally.terms) > 2 * count, "elections");
    assert!(sum(|report| report.tally.operations) > 50 * count, "operations");
    assert!(
        sum(|report| report.tally.undecided) * 100 < sum(|report| report.tally.seeds),
        "checked histories"
    );
}

#[test]
fn no_fixed_seed_breaks_a_rule() {
    no_rule_is_broken(0, FIXED);
}

#[test]
fn no_fresh_seed_breaks_a_rule() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let from = u64::try_from(now.as_millis()).expect("for some time yet") << 8;
    println!("fresh seeds: orbit-sim group --from {from} --seeds {FRESH}");
    no_rule_is_broken(from, FRESH);
}

#[test]
fn a_seed_plays_the_same_way_twice() {
    for seed in [1, 17, 4711] {
        let keep = Options { keep: Keep::Lines, ..Options::default() };
        let (first, second) = (run(seed, &keep), run(seed, &keep));
        let differs = first.log.iter().zip(&second.log).find(|(first, second)| first != second);
        assert!(differs.is_none(), "seed {seed}: {differs:?}");
        assert_eq!((first.hash, first.log.len()), (second.hash, second.log.len()), "seed {seed}");
        assert_eq!(run(seed, &Options::default()).hash, first.hash, "seed {seed}, lines kept or not");
    }
}

#[test]
fn a_seed_plays_the_same_way_in_another_process() {
    let trace = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orbit-sim"));
        let output = command.args(["group", "--seed", "17"]).output().expect("it was built for this test");
        let text = String::from_utf8(output.stdout).expect("names are ASCII");
        text.lines().rfind(|line| line.starts_with("trace ")).expect("it ends so").to_owned()
    };
    let hash = run(17, &Options::default()).hash;
    assert_eq!([trace(), trace()], [format!("trace {hash:016x}"), format!("trace {hash:016x}")]);
}

#[test]
fn planted_bugs_are_caught() {
    let caught = Plant::ALL.map(|plant| {
        let options = Options { plant: Some(plant), ..Options::default() };
        let seed = (0..SEEDS_TO_CATCH).find(|&seed| !run(seed, &options).violations.is_empty());
        (plant, seed)
    });
    println!("caught by seed: {caught:?}");
    assert!(caught.iter().all(|(_, seed)| seed.is_some()), "caught by seed: {caught:#?}");
}
