//! Jobs of the grid while nodes die, and while people change their minds.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::group::others;
use orbit_tests::grid::node::Node;
use orbit_tests::orbit::{Exit, Run, Running};
use orbit_tests::snapshot::assert_same_tree;
use orbit_tests::tree::Tree;
use orbit_tests::wait::until;
use serde_json::Value;
use std::time::Duration;

/// How long a job may take that is slowed down on purpose, and interrupted.
const JOB_DEADLINE: Duration = Duration::from_mins(1);
/// Slow enough to be caught in the middle.
const SLOW: &str = "4M";

/// Files of several sizes, 24 MB in all.
fn plant(node: &Node) {
    let mut tree = Tree::at(&node.allowed().join("a"), 5);
    for number in 0..40 {
        tree.file(format!("small/{number}"), 10_000 + number * 500);
    }
    for number in 0..4 {
        tree.file(format!("large/{number}"), 5 << 20);
    }
}

/// A slow sync, begun and watched from `at`, once bytes arrive.
fn begin(at: &Node, source: &Node, destination: &Node) -> (Running, String) {
    let (from, to) = (source.endpoint("a"), destination.endpoint("b"));
    let running = at.start(["sync", &from, &to, "-y", "--json", "--bwlimit", SLOW]);
    let mut id = String::new();
    until("bytes arrive", || {
        let jobs = at.json_list(["job", "ls"]);
        let Some(job) = jobs.first() else { return false };
        job["id"].as_str().unwrap_or_default().clone_into(&mut id);
        job["progress"]["bytes_done"].as_u64() > Some(1 << 20)
    });
    (running, id)
}

fn job(at: &Node, id: &str) -> Value {
    at.json(["job", "show", id])
}

fn wait_for_state(at: &Node, id: &str, state: &str) {
    until(&format!("the job is {state}"), || job(at, id)["state"] == state);
}

fn finish(running: Running, source: &Node, destination: &Node) -> Run {
    let run = running.finish_within(JOB_DEADLINE).expect(Exit::Done);
    assert_same_tree(&source.allowed().join("a"), &destination.allowed().join("b"));
    run
}

#[test]
fn a_killed_source_is_waited_for() {
    let grid = Grid::standing(3);
    let [nucleus, source, destination] = [0, 1, 2].map(|index| grid.node(index));
    plant(source);
    let (running, id) = begin(nucleus, source, destination);
    source.kill();
    wait_for_state(nucleus, &id, "waiting");
    let reason = job(nucleus, &id)["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("nas2"), "{reason}");
    source.restart();
    finish(running, source, destination);
}

#[test]
fn a_killed_destination_goes_on_from_where_it_was() {
    let grid = Grid::standing(3);
    let [nucleus, source, destination] = [0, 1, 2].map(|index| grid.node(index));
    plant(source);
    let (running, id) = begin(nucleus, source, destination);
    destination.kill();
    until("it is told that the star is gone", || {
        job(nucleus, &id)["reason"].as_str().is_some_and(|reason| reason.contains("nas3"))
    });
    destination.restart();
    finish(running, source, destination);
    assert_eq!(job(nucleus, &id)["attempt"], 1);
}

#[test]
fn a_killed_nucleus_is_not_needed() {
    let grid = Grid::voting(3, "");
    let old = grid.nucleus_among(&[0, 1, 2]);
    let [one, other] = others(3, &[old])[..] else { panic!("two others") };
    let (source, destination) = (grid.node(one), grid.node(other));
    plant(source);
    let (running, id) = begin(destination, source, destination);
    grid.node(old).kill();
    let run = finish(running, source, destination);
    let summary = run.summary();
    let sent = summary["bytes_wire"].as_u64().expect("a number");
    let size = summary["bytes_total"].as_u64().expect("a number");
    // What was on its way for one file may have been for nothing.
    assert!(sent < size + (6 << 20), "no more than one file is sent twice: {sent} of {size}\n{run}");
    assert_eq!(job(source, &id)["state"], "done");
}

#[test]
fn a_job_is_paused_limited_resumed_and_cancelled() {
    let grid = Grid::standing(2);
    let (source, destination) = (grid.node(0), grid.node(1));
    plant(source);
    let (running, id) = begin(source, source, destination);
    source.run(["job", "pause", &id]).expect(Exit::Done).expect_says("paused");
    let done = job(source, &id)["progress"]["bytes_done"].clone();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(job(source, &id)["progress"]["bytes_done"], done, "it stands still");
    source.run(["job", "resume", &id]).expect(Exit::Done);
    source.run(["job", "limit", &id, "off"]).expect(Exit::Done);
    finish(running, source, destination);

    std::fs::remove_dir_all(destination.allowed().join("b")).expect("removes");
    let (running, id) = begin(destination, source, destination);
    source.run(["job", "pause", &id, "--for", "1s"]).expect(Exit::Done).expect_says("until");
    until("the pause is over", || job(source, &id)["state"] == "running");
    // Whoever watches leaves it alone.
    running.interrupt();
    running.finish().expect(Exit::Partial).expect_says("goes on");
    source.run(["job", "cancel", &id]).expect(Exit::Done);
    source.run(["job", "watch", &id]).expect(Exit::Partial).expect_says("was cancelled");
    source.run(["job", "retry", &id]).expect(Exit::Done);
    source.run(["job", "limit", &id, "off"]).expect(Exit::Done);
    source.run(["job", "watch", &id]).expect(Exit::Done);
    assert_same_tree(&source.allowed().join("a"), &destination.allowed().join("b"));
}

#[test]
fn one_job_at_a_time_writes_to_a_tree() {
    let grid = Grid::standing(2);
    let (source, destination) = (grid.node(0), grid.node(1));
    plant(source);
    let (running, id) = begin(source, source, destination);
    let below = destination.endpoint("b/large");
    let second = source.start(["sync", &source.endpoint("a/small"), &below, "-y", "--json"]);
    until("the second is queued", || {
        let jobs = source.json_list(["job", "ls"]);
        jobs.iter().any(|job| {
            job["state"] == "queued" && job["reason"].as_str().is_some_and(|why| why.contains(&id[..8]))
        })
    });
    source.run(["job", "limit", &id, "off"]).expect(Exit::Done);
    running.finish_within(JOB_DEADLINE).expect(Exit::Done);
    second.finish_within(JOB_DEADLINE).expect(Exit::Done);
}
