//! Who votes: as many as can, not who should not, and never fewer than are needed.
#![cfg(target_os = "linux")]

use orbit_tests::grid::group::others;
use orbit_tests::grid::{Grid, expect_mistake};
use orbit_tests::orbit::Exit;
use orbit_tests::report::say;
use serde_json::Value;
use std::time::Instant;

fn voters(status: &Value) -> Vec<&str> {
    let list = status["group"]["voters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<&str> = list.iter().filter_map(|voter| voter["name"].as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn promoting_demoting_and_what_is_refused() {
    let grid = Grid::voting(4, "stabilise_s = 2");
    let status = grid.node(3).status().expect("answers");
    let before = voters(&status);
    let outside = ["nas1", "nas2", "nas3", "nas4"].into_iter().find(|name| !before.contains(name));
    let outside = outside.expect("three of four vote");

    // Who is promoted votes, in the place of another.
    grid.node(0).run(["node", "promote", outside]).expect(Exit::Done).expect_says(outside);
    let status =
        grid.wait_for_status(0, "who was promoted votes", |status| voters(status).contains(&outside));
    assert_eq!(voters(&status).len(), 3, "{status:#?}");
    // Who is demoted does not, and another does.
    grid.node(0).run(["node", "demote", outside]).expect(Exit::Done).expect_says("does not vote any more");
    grid.wait_for_status(0, "three others vote", |status| {
        voters(status).len() == 3 && !voters(status).contains(&outside)
    });

    // With one voter dead, the two others are needed.
    let mistaken = grid.node(0).run(["node", "demote", "nas9"]);
    expect_mistake(mistaken, Exit::Missing, &["no node nas9"]);
    let index = |name: &str| (0..4).find(|at| grid.node(*at).name() == name).expect("a node of that name");
    let voting: Vec<usize> = before.iter().map(|name| index(name)).collect();
    let nucleus = grid.nucleus_among(&voting);
    let [dead, needed] = voting.iter().copied().filter(|at| *at != nucleus).collect::<Vec<_>>()[..] else {
        panic!("two followers")
    };
    grid.node(dead).kill();
    let (dead_name, needed_name) = (grid.node(dead).name(), grid.node(needed).name());
    grid.wait_for_status(nucleus, "the dead voter is missed", |status| {
        let list = status["group"]["voters"].as_array().cloned().unwrap_or_default();
        list.iter().any(|voter| voter["name"] == dead_name && voter["is_heard"] == false)
    });
    for words in [vec!["node", "demote", needed_name], vec!["node", "rm", needed_name, "-y"]] {
        let run = grid.node(index(outside)).run(&words);
        expect_mistake(run, Exit::Refused, &[needed_name, dead_name, "nothing was changed"]);
    }
    let status = grid.node(nucleus).status().expect("answers");
    assert!(voters(&status).contains(&needed_name), "{status:#?}");
    // The one that must not vote may again, and takes the place of the dead one.
    grid.node(needed).run(["node", "promote", outside]).expect(Exit::Done);
    grid.wait_for_status(nucleus, "the dead voter is replaced", |status| {
        voters(status).contains(&outside) && !voters(status).contains(&dead_name)
    });
    grid.node(nucleus).run(["status"]).expect_says("tolerates 1 failure");
}

#[test]
fn a_witness_votes_and_lets_others_lead() {
    let grid = Grid::loopback(3);
    grid.assemble_first(2);
    // Two nodes: one votes, the other has everything.
    let status = grid.wait_for_status(0, "the second holds the data", |status| {
        let learners = status["group"]["learners"].as_array();
        learners.is_some_and(|learners| learners.len() == 1 && learners[0]["behind"] == 0)
    });
    assert_eq!(voters(&status), ["nas1"]);
    grid.node(1).run(["status"]).expect(Exit::Done).expect_says("tolerates no failure");
    let token = grid.node(1).token(&["--role", "witness"]);
    grid.node(2).join_as_witness(&token, &grid.node(0).address());
    grid.wait_until_voting(0, 3);
    assert_eq!(grid.node(0).show("nas3")["role"], "witness");
    let run = grid.node(0).run(["scan", &grid.node(2).endpoint("")]);
    assert!(run.code().is_some_and(|code| code > 0), "a witness holds no files: {run}");

    let old = grid.nucleus_among(&[0, 1, 2]);
    assert_ne!(old, 2, "a witness leads though others can");
    grid.node(old).kill();
    let other = others(2, &[old])[0];
    let begun = Instant::now();
    grid.wait_for_status(other, "the other node leads, not the witness", |status| {
        status["nucleus"] == grid.node(other).name()
    });
    say(&format!("the other node leads {} ms after the kill", begun.elapsed().as_millis()));
    grid.node(other).run(["constellation", "create", "witnessed"]).expect(Exit::Done);
    assert_eq!(grid.node(2).constellations(), ["witnessed"]);
}

#[test]
fn two_of_five_die_at_once() {
    let grid = Grid::voting(5, "voters = 5\nstabilise_s = 2");
    grid.node(4).run(["status"]).expect(Exit::Done).expect_says("tolerates 2 failures");
    let nucleus = grid.nucleus_among(&[0, 1, 2, 3, 4]);
    let dead = [nucleus, others(5, &[nucleus])[0]];
    let rest = others(5, &dead);
    grid.node(rest[0]).run(["constellation", "create", "five"]).expect(Exit::Done);
    for index in dead {
        grid.node(index).kill();
    }
    grid.node(rest[1]).run(["constellation", "create", "three"]).expect(Exit::Done);
    grid.nucleus_among(&rest);
    // Three of five can lose nobody; three of three can.
    grid.wait_for_status(rest[0], "three are enough again", |status| status["tolerates_failures"] == 1);
    for index in dead {
        grid.node(index).restart();
    }
    grid.wait_until_voting(rest[0], 5);
    for node in grid.nodes() {
        assert_eq!(node.constellations(), ["five", "three"]);
    }
}
