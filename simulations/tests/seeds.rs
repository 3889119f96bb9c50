//! The seeds that run with every build; `orbit-sim --seeds 20000` is for releases.

use orbit_simulations::plant::Plant;
use orbit_simulations::scenario::{Report, run};

const SEEDS: u64 = 300;
/// A planted bug must show within so many.
const SEEDS_TO_CATCH: u64 = 50;

fn told(report: &Report) -> String {
    let last = report.log.len().saturating_sub(60);
    format!("seed {}\n{}\n{}", report.seed, report.log[last..].join("\n"), report.violations.join("\n"))
}

#[test]
fn no_seed_breaks_a_rule() {
    for seed in 0..SEEDS {
        let report = run(seed, None);
        assert!(report.violations.is_empty(), "{}", told(&report));
    }
}

#[test]
fn a_seed_plays_the_same_way_twice() {
    for seed in [1, 17, 4711] {
        assert_eq!(run(seed, None).log, run(seed, None).log, "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    let caught = Plant::ALL.map(|plant| {
        let seed = (0..SEEDS_TO_CATCH).find(|&seed| !run(seed, Some(plant)).violations.is_empty());
        (plant, seed)
    });
    assert!(caught.iter().all(|(_, seed)| seed.is_some()), "caught by seed: {caught:#?}");
}
