//! What a grid lives through: processes killed, cables pulled, nodes removed, everything started anew.
#![cfg(target_os = "linux")]

use orbit_tests::grid::{Grid, PATIENCE};
use orbit_tests::orbit::Exit;
use orbit_tests::report::say;
use orbit_tests::wait::{poll, until};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A tree whose scan takes a while: directories with empty files, hard links where those are quicker to make.
fn wide_tree(at: &Path, files: usize) {
    const PER_DIRECTORY: usize = 1000;
    for directory in 0..files / PER_DIRECTORY {
        let directory = at.join(format!("d{directory:04}"));
        fs::create_dir_all(&directory).expect("makes a directory");
        let first = directory.join("0");
        fs::write(&first, "").expect("writes");
        for file in 1..PER_DIRECTORY {
            fs::hard_link(&first, directory.join(file.to_string())).expect("links");
        }
    }
}

#[test]
fn a_star_that_dies_in_the_middle_of_a_scan() {
    let grid = Grid::standing(3);
    let star = grid.node(1);
    wide_tree(&star.allowed().join("wide"), 200_000);
    // A reader that does not read holds the scan up, so the star dies in the middle of it and not after.
    let mut command = grid.node(2).command(["scan", &star.endpoint("wide")]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut output = child.stdout.take().expect("is a pipe");
    let mut begin = [0; 4096];
    std::io::Read::read_exact(&mut output, &mut begin).expect("the scan begins");
    star.kill();
    let killed = Instant::now();
    let reader = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let status = poll(PATIENCE, || child.try_wait().expect("asks for its child"));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("is a pipe"), &mut said).expect("reads");
    let status = status.unwrap_or_else(|| {
        drop(child.kill());
        panic!("the scan hangs\n{said}");
    });
    let took = killed.elapsed();
    drop(reader.join());
    say(&format!("the scan ended {} ms after its star was killed: {}", took.as_millis(), said.trim()));
    assert_eq!(status.code(), Some(Exit::Unreachable as i32), "{said}");
    assert!(said.contains("nas2") && took < Duration::from_secs(10), "after {took:?}: {said}");
    // Back again, it is scanned whole.
    star.restart();
    grid.wait_for_state("nas2", "ready");
    let whole = grid.node(2).run(["scan", &star.endpoint("wide")]).expect(Exit::Done);
    assert!(whole.stdout.lines().count() >= 200_000);
}

#[test]
fn a_nucleus_that_dies_and_comes_back() {
    let grid = Grid::standing(3);
    let before = ids(&grid);
    for _ in 0..3 {
        grid.node(0).kill();
        grid.node(0).restart();
        grid.node(0).wait_until_ready();
        let took = grid.wait_until_ready(3);
        say(&format!("all stars are back {} ms after the Nucleus was ready", took.as_millis()));
    }
    assert_eq!(ids(&grid), before);
    grid.node(2).run(["scan", &grid.node(1).endpoint("")]).expect(Exit::Done);
    // All at once, in any order.
    for node in grid.nodes() {
        node.kill();
    }
    for node in grid.nodes().iter().rev() {
        node.restart();
    }
    grid.wait_until_ready(3);
    assert_eq!(ids(&grid), before);
}

fn ids(grid: &Grid) -> Vec<(Value, Value, Value)> {
    let mut nodes = grid.node(0).json_list(["node", "ls"]);
    nodes.sort_by_key(|node| node["id"].to_string());
    let field = |node: &Value, name: &str| node[name].clone();
    nodes.iter().map(|node| (field(node, "id"), field(node, "name"), field(node, "joined_ms"))).collect()
}

#[test]
fn a_pulled_cable_is_seen_and_so_is_its_mending() {
    let Some(grid) = Grid::namespaces(2) else { return };
    grid.assemble();
    let cable = grid.network().cable(1);
    cable.cut();
    let pulled = Instant::now();
    for (state, at_least, at_most) in [("suspect", 7, 20), ("lost", 24, 40)] {
        grid.wait_for_state("nas2", state);
        let after = pulled.elapsed();
        say(&format!("{state} {} s after the cable was pulled", after.as_secs()));
        assert!((at_least..=at_most).contains(&after.as_secs()), "{state} after {after:?}");
        let node = grid.node(0).show("nas2");
        let (since, seen) = (node["since_ms"].as_i64(), node["last_seen_ms"].as_i64());
        assert!(seen.is_some() && since > seen, "{node}");
        grid.node(0).run(["status"]).expect_says("nas2");
    }
    cable.mend();
    let took = grid.wait_for_state("nas2", "ready");
    say(&format!("ready {} ms after the cable was put back", took.as_millis()));
    grid.node(0).run(["scan", &grid.node(1).endpoint("")]).expect(Exit::Done);
    // What it missed of the Nucleus's records is sent now.
    let mended = Instant::now();
    while grid.node(0).json(["status"])["is_healthy"] != true {
        let status = grid.node(0).run(["status"]);
        assert!(mended.elapsed() < Duration::from_secs(20), "{status}");
    }
}

#[test]
fn packets_that_are_lost_one_way() {
    let Some(grid) = Grid::namespaces(2) else { return };
    grid.assemble();
    if !grid.network().deafen(0, 1) {
        return;
    }
    // The star hears the Nucleus, which hears nothing: it must not count as ready.
    grid.wait_for_state("nas2", "suspect");
    let run = grid.node(0).run(["scan", &grid.node(1).endpoint("")]);
    assert_eq!(run.code(), Some(Exit::Unreachable as i32), "{run}");
    grid.network().undeafen(0, 1);
    grid.wait_for_state("nas2", "ready");
}

#[test]
fn a_removed_node_is_refused_at_once_and_for_good() {
    let grid = Grid::standing(3);
    let (nucleus, removed) = (grid.node(0), grid.node(2));
    let begun = Instant::now();
    nucleus.run(["node", "rm", "nas3", "-y"]).expect(Exit::Done);
    // No command of it passes from now on.
    let refused = removed.run(["token", "create"]);
    assert!(matches!(refused.code(), Some(5 | 6)), "{refused}");
    // It may have waited for a Nucleus to be elected.
    assert!(begun.elapsed() < Duration::from_secs(15), "waited for {:?}", begun.elapsed());
    // It says so, and ends, so that nothing starts it anew; trying anyway changes nothing.
    for attempt in ["at once", "started anew"] {
        let status = removed.wait_for_end();
        assert_eq!(status.code(), Some(Exit::Refused as i32), "{attempt}: {}", removed.log());
        assert!(removed.log().contains("nas3 was removed from the grid"), "{attempt}: {}", removed.log());
        removed.restart();
    }
    removed.wait_for_end();
    assert_eq!(nucleus.json_list(["node", "ls"]).len(), 2);
    // With a new token it is a new member.
    removed.run(["node", "leave", "--forget", "-y"]).expect(Exit::Done);
    let token = nucleus.token(&[]);
    removed.join(&token, &["--via".to_owned(), nucleus.address()]);
    grid.wait_until_ready(3);
}

#[test]
fn a_new_authority_while_a_star_is_away() {
    let grid = Grid::standing(3);
    let serial = |name: &str| grid.node(0).show(name)["certificate"]["serial"].to_string();
    let before = ["nas1", "nas2", "nas3"].map(serial);
    let old_token = grid.node(1).token(&[]);
    grid.node(2).kill();
    grid.node(1).run(["ca", "rotate"]).expect(Exit::Done);
    grid.node(2).restart();
    until("all have a certificate of the new authority", || {
        ["nas1", "nas2", "nas3"].map(serial).iter().zip(&before).all(|(now, before)| now != before)
    });
    // Who has one works on.
    grid.node(2).run(["scan", &grid.node(1).endpoint("")]).expect(Exit::Done);
    grid.node(1).kill();
    grid.node(1).restart();
    grid.wait_until_ready(3);
    // A token that pins the old authority still leads here.
    let joined = Grid::loopback(1);
    joined.node(0).join(&old_token, &["--via".to_owned(), grid.node(0).address()]);
    joined.node(0).wait_until_ready();
    grid.wait_until("the newcomer is ready", |nodes| {
        nodes.iter().filter(|node| node["state"] == "ready").count() == 4
    });
}

#[test]
fn two_daemons_for_one_data_directory() {
    let grid = Grid::standing(2);
    for node in grid.nodes() {
        let run = node.run(["node", "run"]);
        assert!(matches!(run.code(), Some(1 | 6 | 8)), "{run}");
        assert!(run.says("another") && run.says("nothing was changed"), "{run}");
        assert!(run.says(node.data_dir().to_str().expect("is text")), "{run}");
    }
    // The first are none the worse for it.
    grid.node(1).run(["node", "ls"]).expect(Exit::Done);
    // A killed one leaves nothing that would stop the next.
    grid.node(1).kill();
    grid.node(1).restart();
    grid.node(1).wait_until_ready();
    grid.wait_until_ready(2);
}

#[test]
fn a_taken_port_is_named() {
    let grid = Grid::loopback(1);
    let address = grid.node(0).address();
    let _listener = std::net::TcpListener::bind(&address).expect("takes the port");
    let port = address.rsplit(':').next().expect("has a port");
    let allowed = grid.node(0).allowed().to_str().expect("is text");
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let run =
        grid.node(0).run(["node", "init", "--allow", allowed, "--listen", &listen, "--no-mdns", "--run"]);
    assert!(run.code().is_some_and(|code| code > 0), "{run}");
    run.expect_says(port).expect_says("in use");
}

#[test]
fn a_daemon_that_is_told_to_stop_stops_and_says_nothing_bad() {
    let grid = Grid::standing(2);
    for node in [grid.node(1), grid.node(0)] {
        let begun = Instant::now();
        assert_eq!(node.stop().code(), Some(0), "{}", node.log());
        assert!(begun.elapsed() < Duration::from_secs(5), "stopping took {:?}", begun.elapsed());
        assert!(!node.data_dir().join("orbit.sock").exists(), "the socket is removed");
    }
}
