//! Jobs of the grid: a sync between nodes is submitted, planned, agreed to, carried out, watched and forgotten.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::node::Node;
use orbit_tests::orbit::{Exit, Run};
use orbit_tests::snapshot::assert_same_tree;
use orbit_tests::tree::Tree;
use orbit_tests::wait::until;
use serde_json::Value;
use std::path::PathBuf;

/// A tree below what a node allows.
fn tree(node: &Node, name: &str, seed: u64) -> Tree {
    Tree::mixed(&node.allowed().join(name), seed, 60)
}

fn sync(at: &Node, from: &str, to: &str, flags: &[&str]) -> Run {
    at.run(["sync", from, to].iter().chain(flags))
}

/// The one job of a grid.
fn only_job(node: &Node) -> Value {
    let mut jobs = node.json_list(["job", "ls"]);
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    jobs.remove(0)
}

fn below(node: &Node, name: &str) -> PathBuf {
    node.allowed().join(name)
}

#[test]
fn a_sync_between_two_nodes_from_a_third() {
    let grid = Grid::standing(3);
    let (source, destination, third) = (grid.node(0), grid.node(1), grid.node(2));
    let mut planted = tree(source, "photos", 1);
    let (from, to) = (source.endpoint("photos"), destination.endpoint("backup"));

    let dry = sync(third, &from, &to, &["-n"]).expect(Exit::Done).expect_says("would sync");
    assert!(!below(destination, "backup").exists(), "{dry:?}");
    assert!(third.json_list(["job", "ls"]).is_empty(), "a dry run leaves no job");

    let first = sync(third, &from, &to, &["-y", "--json"]).expect(Exit::Done);
    assert_same_tree(&below(source, "photos"), &below(destination, "backup"));
    let summary = first.summary();
    assert!(summary["files_new"].as_u64() > Some(50), "{summary}");
    assert!(summary["bytes_wire"].as_u64() > Some(0), "{summary}");
    let job = only_job(third);
    assert_eq!((&job["state"], &job["attempt"]), (&"done".into(), &1.into()), "{job:#}");

    planted.evolve();
    sync(source, &from, &to, &["-y", "--mirror", "--max-delete", "100"]).expect(Exit::Done);
    assert_same_tree(&below(source, "photos"), &below(destination, "backup"));
    sync(destination, &from, &to, &["-y"]).expect(Exit::Done).expect_says("already the same");
}

#[test]
fn a_job_on_one_node_and_what_is_told_of_it() {
    let grid = Grid::standing(2);
    let (nucleus, star) = (grid.node(0), grid.node(1));
    tree(star, "a", 1);
    let (from, to) = (star.endpoint("a"), star.endpoint("b"));
    sync(nucleus, &from, &to, &["-y"]).expect(Exit::Done).expect_says("synced");
    assert_same_tree(&below(star, "a"), &below(star, "b"));
    let job = only_job(star);
    let id = job["id"].as_str().expect("an id").to_owned();
    let page = star.run(["job", "show", &id[..8]]).expect(Exit::Done);
    for word in ["done", "scan-source", "transfer", "commit", &from] {
        assert!(page.says(word), "{word}: {page:?}");
    }
    star.run(["job", "watch", &id]).expect(Exit::Done).expect_says("synced");
    star.run(["job", "cancel", &id[..8]]).expect(Exit::Refused).expect_says("is done");
    star.run(["job", "retry", &id[..8]]).expect(Exit::Done).expect_says("planning");
    star.run(["job", "watch", &id[..8]]).expect(Exit::Done).expect_says("already the same");
    nucleus.run(["job", "rm", &id[..8]]).expect(Exit::Done).expect_says("forgotten");
    nucleus.run(["job", "show", &id[..8]]).expect(Exit::Missing).expect_says("no job");
    // The star keeps nothing of it either.
    let kept = || {
        std::fs::read_dir(star.data_dir().join("jobs")).map_or(0, |entries| {
            entries
                .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().len() == id.len()))
                .count()
        })
    };
    until("the star forgets the job", || kept() == 0);
}

#[test]
fn a_path_of_this_machine_is_this_nodes() {
    let grid = Grid::standing(2);
    let (here, there) = (grid.node(0), grid.node(1));
    tree(here, "photos", 3);
    let local = below(here, "photos").display().to_string();
    sync(here, &local, &there.endpoint("in"), &["-y"]).expect(Exit::Done);
    assert_same_tree(&below(here, "photos"), &below(there, "in"));
    let back = below(here, "back").display().to_string();
    sync(here, &there.endpoint("in"), &back, &["-y"]).expect(Exit::Done);
    assert_same_tree(&below(here, "photos"), &below(here, "back"));
}

#[test]
fn what_cannot_be_done_ends_as_on_one_machine() {
    let grid = Grid::standing(2);
    let (one, two) = (grid.node(0), grid.node(1));
    tree(one, "a", 4);
    // Nobody can be asked, so nothing is begun.
    sync(one, &one.endpoint("a"), &two.endpoint("b"), &[]).expect(Exit::Usage).expect_says("-y");
    assert!(one.json_list(["job", "ls"]).is_empty());
    sync(one, &one.endpoint("missing"), &two.endpoint("b"), &["-y"])
        .expect(Exit::Missing)
        .expect_says("missing");
    sync(one, &one.endpoint("a"), "nas2:/etc/orbit", &["-y"])
        .expect(Exit::Refused)
        .expect_says("outside its allowed paths");
    sync(one, "nas1:/etc", &two.endpoint("b"), &["-y"])
        .expect(Exit::Refused)
        .expect_says("outside its allowed paths");
    sync(one, &one.endpoint("a"), "nas9:/b", &["-y"]).expect(Exit::Missing).expect_says("nas9");
    std::fs::create_dir(below(one, "empty")).expect("makes a directory");
    sync(one, &one.endpoint("a"), &two.endpoint("b"), &["-y"]).expect(Exit::Done);
    sync(one, &one.endpoint("empty"), &two.endpoint("b"), &["-y", "--mirror"]).expect(Exit::Guarded);
    assert_same_tree(&below(one, "a"), &below(two, "b"));
}
