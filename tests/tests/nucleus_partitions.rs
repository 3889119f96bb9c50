//! A grid whose network falls apart: what each side says, and that only one can change anything.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::group::others;
use orbit_tests::orbit::Exit;
use orbit_tests::report::say;
use orbit_tests::wait::until;
use std::time::{Duration, Instant};

fn namespaces() -> Option<Grid> {
    let grid = Grid::namespaces(3)?;
    grid.assemble();
    grid.wait_until_voting(0, 3);
    Some(grid)
}

/// What is read on a side without a quorum, and that nothing can be changed there.
fn expect_no_quorum(grid: &Grid, index: usize) {
    until("it knows that it is alone", || {
        grid.node(index).status().is_some_and(|status| status["nucleus"].is_null())
    });
    let run = grid.node(index).run(["status"]).expect(Exit::Unreachable);
    say(&format!("nas{} without a quorum: {}", index + 1, run.stdout.lines().next().unwrap_or_default()));
    assert!(run.says("no quorum"), "{run}");
    let run = grid.node(index).run(["constellation", "create", "minority"]).expect(Exit::Unreachable);
    assert!(run.says("nothing was changed"), "{run}");
    // What it has is shown, with its age.
    let run = grid.node(index).run(["node", "ls"]);
    assert!(matches!(run.code(), Some(0 | 5)), "{run}");
}

/// After the network is whole again.
fn expect_agreement(grid: &Grid, wanted: &[&str]) {
    grid.wait_until_voting(0, 3);
    grid.nucleus_among(&[0, 1, 2]);
    for node in grid.nodes() {
        assert_eq!(node.constellations(), wanted, "on {}", node.name());
        node.run(["status"]).expect(Exit::Done).expect_says("tolerates 1 failure");
    }
}

#[test]
fn two_halves_of_which_one_has_the_quorum() {
    let Some(grid) = namespaces() else { return };
    let old = grid.nucleus_among(&[0, 1, 2]);
    let rest = others(3, &[old]);
    if !grid.network().partition(&[old]) {
        return;
    }
    let parted = Instant::now();
    grid.node(rest[0]).run(["constellation", "create", "majority"]).expect(Exit::Done);
    say(&format!("the majority writes {} ms after the partition", parted.elapsed().as_millis()));
    let new = grid.nucleus_among(&rest);
    for index in &rest {
        let run = grid.node(*index).run(["status"]).expect(Exit::Done);
        assert!(run.says("tolerates no failure"), "{run}");
        say(&format!("nas{} of the majority: {}", index + 1, run.stdout.lines().next().unwrap_or_default()));
    }
    expect_no_quorum(&grid, old);
    grid.network().unite();
    expect_agreement(&grid, &["majority"]);
    assert_eq!(grid.nucleus_among(&[0, 1, 2]), new, "who was away does not take over");

    // A cable that is pulled.
    let pulled = others(3, &[new])[0];
    let cable = grid.network().cable(pulled);
    cable.cut();
    expect_no_quorum(&grid, pulled);
    grid.node(new).run(["constellation", "create", "unplugged"]).expect(Exit::Done);
    cable.mend();
    expect_agreement(&grid, &["majority", "unplugged"]);
}

#[test]
fn packets_that_are_lost_one_way_between_voters() {
    let Some(grid) = namespaces() else { return };
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let [deaf, other] = others(3, &[nucleus])[..] else { panic!("two others") };
    let term = |index: usize| grid.node(index).status().and_then(|status| status["term"].as_u64());
    let before = term(nucleus);
    // A follower that does not hear the Nucleus disturbs nobody.
    if !grid.network().deafen(deaf, nucleus) {
        return;
    }
    until("it knows that it hears no Nucleus", || {
        grid.node(deaf).status().is_some_and(|status| status["nucleus"].is_null())
    });
    let begun = Instant::now();
    for number in 0..10 {
        let name = format!("one-way-{number}");
        grid.node(other).run(["constellation", "create", &name]).expect(Exit::Done);
        grid.node(nucleus).run(["constellation", "rm", &name]).expect(Exit::Done);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "writes took {:?}", begun.elapsed());
    assert_eq!((grid.nucleus_among(&[nucleus, other]), term(nucleus)), (nucleus, before), "it was disturbed");
    grid.network().undeafen(deaf, nucleus);
    expect_agreement(&grid, &[]);

    // A Nucleus that hears nobody cannot be it, though the others hear it.
    let rest = others(3, &[nucleus]);
    assert!(rest.iter().all(|index| grid.network().deafen(nucleus, *index)));
    grid.node(rest[0]).run(["constellation", "create", "heard"]).expect(Exit::Done);
    grid.nucleus_among(&rest);
    expect_no_quorum(&grid, nucleus);
    grid.network().unite();
    expect_agreement(&grid, &["heard"]);
}
