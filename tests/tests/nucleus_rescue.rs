//! Backups, and what is done when most voters are lost for good.
#![cfg(target_os = "linux")]

use orbit_tests::grid::group::others;
use orbit_tests::grid::node::Node;
use orbit_tests::grid::{Grid, expect_mistake};
use orbit_tests::orbit::{Exit, Run};
use orbit_tests::report::say;
use orbit_tests::wait::until;
use serde_json::Value;
use std::fs;
use std::path::Path;

const PASSPHRASE: &str = "ORBIT_BACKUP_PASSPHRASE";

fn names(list: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = list.iter().filter_map(|node| node["name"].as_str()).collect();
    names.sort_unstable();
    names
}

/// `orbit restore FILE …` on a machine that has nothing, without starting its node.
fn restore(node: &Node, file: &Path, passphrase: &str) -> Run {
    node.clear_variables();
    node.set_variable(PASSPHRASE, passphrase);
    let port = node.address().rsplit(':').next().expect("has a port").to_owned();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let file = file.to_str().expect("a temporary path is text");
    let allowed = node.allowed().to_str().expect("a temporary path is text");
    let words = ["restore", file, "--name", "fresh", "--no-mdns", "--listen", &listen, "--allow", allowed];
    let run = node.run(words);
    node.clear_variables();
    run
}

#[test]
fn a_backup_begins_the_grid_anew_on_another_machine() {
    let grid = Grid::standing(2);
    let founder = grid.node(0);
    founder.run(["constellation", "create", "photos"]).expect(Exit::Done);
    founder.run(["constellation", "add", "photos", "nas2"]).expect(Exit::Done);
    let file = grid.path("grid.orbit-backup");
    let written = file.to_str().expect("a temporary path is text");
    for node in grid.nodes() {
        node.set_variable(PASSPHRASE, "correct horse");
    }
    founder.run(["backup", written]).expect(Exit::Done);
    grid.node(1).run(["backup", "--verify", written]).expect(Exit::Done);
    // What is written afterwards is not in it.
    founder.run(["constellation", "create", "later"]).expect(Exit::Done);

    let new = Grid::loopback(2);
    let fresh = new.node(0);
    let mistaken = restore(fresh, &file, "wrong horse");
    expect_mistake(mistaken, Exit::Refused, &["passphrase", "nothing was changed"]);
    let whole = fs::read(&file).expect("reads");
    let damaged = grid.path("damaged.orbit-backup");
    for at in [20, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&damaged, bytes).expect("writes");
        for run in [
            restore(fresh, &damaged, "correct horse"),
            fresh.run(["backup", "--verify", damaged.to_str().expect("is text")]),
        ] {
            assert!(run.code().is_some_and(|code| code > 0), "a flipped bit at {at} is not noticed: {run}");
            assert!(run.says("damaged") || run.says("cannot be read") || run.says("not a backup"), "{run}");
        }
    }
    assert!(!fresh.data_dir().join("identity/membership.cbor").exists(), "something was changed");

    // The old machines burn down; theirs is the grid's name, and everybody's place in it.
    for node in grid.nodes() {
        node.kill();
    }
    let run = restore(fresh, &file, "correct horse").expect(Exit::Done);
    say(run.stdout.trim());
    fresh.restart();
    fresh.wait_until_ready();
    assert_eq!(names(&fresh.json_list(["node", "ls"])), ["fresh", "nas1", "nas2"]);
    let constellations = fresh.json_list(["constellation", "ls"]);
    assert_eq!(constellations.len(), 1, "{constellations:#?}");
    assert_eq!(constellations[0]["nodes"], serde_json::json!(["nas2"]));
    assert!(fresh.is_nucleus());
    // It issues certificates: the authority's key is there.
    let token = fresh.token(&[]);
    new.node(1).join(&token, &["--via".to_owned(), fresh.address()]);
    new.node(1).wait_until_ready();
    // A member of before finds it, and follows the newer epoch; its records of the old one are put aside.
    let epoch = fresh.status().expect("is the Nucleus")["epoch"].as_u64();
    let said = fs::read_to_string(grid.node(1).data_dir().join("star.toml")).expect("reads");
    let said = said.replace(&founder.address(), &fresh.address());
    fs::write(grid.node(1).data_dir().join("star.toml"), said).expect("writes");
    grid.node(1).restart();
    new.wait_until("the member of before is ready", |nodes| {
        nodes.iter().any(|node| node["name"] == "nas2" && node["state"] == "ready")
    });
    let status = grid.node(1).status().expect("answers");
    assert_eq!((status["nucleus"].as_str(), status["epoch"].as_u64()), (Some("fresh"), epoch), "{status:#?}");
}

#[test]
fn a_survivor_recovers_the_grid_and_the_others_cannot_come_back_as_another() {
    let grid = Grid::loopback(4);
    grid.set_group("stabilise_s = 2");
    grid.assemble_first(4);
    // One is a star and nothing more.
    grid.node(0).run(["node", "demote", "nas4"]).expect(Exit::Done);
    let status = grid.wait_for_status(0, "three others vote and nas4 does not", |status| {
        let voters = status["group"]["voters"].as_array().cloned().unwrap_or_default();
        let learners = status["group"]["learners"].as_array().cloned().unwrap_or_default();
        voters.len() == 3 && learners.is_empty() && voters.iter().all(|voter| voter["name"] != "nas4")
    });
    let (grid_name, epoch) = (status["grid"]["name"].as_str().expect("has a name"), status["epoch"].as_u64());
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let survivor = others(3, &[nucleus])[0];
    let lost = others(3, &[survivor]);
    grid.node(3).run(["constellation", "create", "kept"]).expect(Exit::Done);
    grid.wait_until_voting(nucleus, 3);
    // With a quorum there is nothing to recover.
    let run = grid.node(survivor).run(["recover", "--yes-lose-quorum", grid_name]);
    expect_mistake(run, Exit::Refused, &["nothing to recover", "nothing was changed"]);
    for index in &lost {
        grid.node(*index).kill();
    }
    grid.wait_for_status(survivor, "the survivor knows", |status| status["nucleus"].is_null());
    let run = grid.node(survivor).run(["status"]).expect(Exit::Unreachable);
    assert!(run.says("no quorum") && run.says("orbit recover"), "{run}");
    // Nobody is there to ask: it says what would be done, and does nothing.
    let run = grid.node(survivor).run(["recover"]);
    assert!(run.code().is_some_and(|code| code > 0), "{run}");
    assert!(run.says("--yes-lose-quorum"), "{run}");
    let run = grid.node(survivor).run(["recover", "--yes-lose-quorum", "another"]);
    assert!(run.code().is_some_and(|code| code > 0) && run.says(grid_name), "{run}");
    // A star has nothing to recover from.
    let run = grid.node(3).run(["recover", "--yes-lose-quorum", grid_name]);
    expect_mistake(run, Exit::Refused, &["nothing was changed"]);

    let run = grid.node(survivor).run(["recover", "--yes-lose-quorum", grid_name]).expect(Exit::Done);
    say(run.stdout.trim());
    let name = grid.node(survivor).name();
    let newer = |status: &Value| status["epoch"].as_u64() > epoch && status["nucleus"] == name;
    grid.wait_for_status(survivor, "the survivor leads", newer);
    grid.wait_for_status(3, "the star follows", newer);
    assert_eq!(grid.node(3).constellations(), ["kept"]);
    grid.node(3).run(["constellation", "create", "new"]).expect(Exit::Done);
    grid.node(survivor).run(["scan", &grid.node(3).endpoint("")]).expect(Exit::Done);

    // The two come back, a majority of the old group: they follow.
    for index in &lost {
        grid.node(*index).restart();
    }
    for index in &lost {
        grid.wait_for_status(*index, "who was lost follows", newer);
        until("the records of the old group are put aside, not removed", || {
            let mut records = fs::read_dir(grid.node(*index).data_dir()).expect("lists").flatten();
            records.any(|entry| entry.file_name().to_string_lossy().contains("given-up"))
        });
    }
    grid.wait_until_voting(survivor, 3);
    for node in grid.nodes() {
        assert_eq!(node.constellations(), ["kept", "new"], "on {}", node.name());
    }
}
