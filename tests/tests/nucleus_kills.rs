//! Voters killed at random under load, a few times: `benches/nucleus/kills` does it for longer.
#![cfg(target_os = "linux")]

use orbit_tests::nucleus::kills::{Plan, run};
use orbit_tests::random::Random;
use orbit_tests::report::say;

#[test]
fn what_was_acknowledged_survives_kills_and_all_voters_agree() {
    let seed = Random::seed_or(4);
    let outcome = run(&Plan { nodes: 3, kills: 12, writers: 4, snapshot_every: 20, seed });
    say(&outcome.to_string());
    assert!(outcome.tally.wrong.is_empty(), "seed {seed}: {:#?}", outcome.tally.wrong);
    assert!(outcome.disagreements.is_empty(), "seed {seed}: {:#?}", outcome.disagreements);
    assert!(outcome.tally.acknowledged > 0, "nothing was written: {outcome}");
}
