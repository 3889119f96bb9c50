//! What a person gets wrong in a grid, and what they read: what failed, on what, why, what did not happen, and what to
//! type next.
//!
//! The mistakes of a sync (mirroring too much, a disk that is not mounted, no space) are in `guards.rs`; a lost quorum
//! needs a grid that can have one.
#![cfg(target_os = "linux")]

use orbit_core::grid::JoinToken;
use orbit_core::ids::{GridId, TokenId};
use orbit_tests::grid::node::{Node, free_port};
use orbit_tests::grid::{Grid, expect_mistake};
use orbit_tests::orbit::{Exit, Run, faketime};
use std::fs;
use std::time::{Duration, Instant};

/// Joins without leaving a daemon behind.
#[track_caller]
fn try_join(node: &Node, token: &str, via: &str) -> Run {
    let mut arguments = node.join_arguments(token, &["--via".to_owned(), via.to_owned()]);
    arguments.retain(|argument| argument != "--run");
    node.run(arguments)
}

/// A refused join leaves nothing that would stop the next one.
#[track_caller]
fn assert_not_joined(node: &Node) {
    assert!(!node.data_dir().join("identity/membership.cbor").exists(), "{} counts as joined", node.name());
    node.run(["node", "ls"]).expect(Exit::Unreachable).expect_says("not in a grid");
}

/// A token that is well-formed, of a grid that does not exist.
fn made_up_token() -> JoinToken {
    JoinToken {
        grid: GridId::from_bytes([7; 16]),
        pin: [8; 32],
        id: TokenId::from_bytes([9; 6]),
        secret: [10; 32],
    }
}

fn founded() -> Grid {
    let grid = Grid::loopback(2);
    grid.node(0).init();
    grid
}

#[test]
fn an_expired_token() {
    let grid = founded();
    let token = grid.node(0).token(&["--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(1_100)); // the token's own time, not a wait for somebody
    let run = try_join(grid.node(1), &token, &grid.node(0).address());
    expect_mistake(run, Exit::Refused, &["expired", "orbit token create", "nothing was changed"]);
    assert_not_joined(grid.node(1));
}

#[test]
fn a_token_that_was_cut_off_or_mistyped() {
    let grid = Grid::loopback(1);
    // No grid is asked: the token alone tells.
    let text = made_up_token().to_text();
    let cases = [
        (text[..text.len() - 9].to_owned(), "cut off"),
        (text.clone() + "aaaa", "too long"),
        (text.replacen("aq", "qa", 1), "damaged"),
        ("nas1:4001".to_owned(), "no join token"),
    ];
    for (text, says) in cases {
        let run = try_join(grid.node(0), &text, "127.0.0.1:9");
        let exit = if run.code() == Some(2) { Exit::Usage } else { Exit::Refused };
        expect_mistake(run, exit, &[says, "nothing was changed"]);
        assert_not_joined(grid.node(0));
    }
}

#[test]
fn a_token_that_was_used_up() {
    let grid = Grid::loopback(3);
    grid.node(0).init();
    let token = grid.node(0).token(&[]);
    let via = grid.node(0).address();
    grid.node(1).join(&token, &["--via".to_owned(), via.clone()]);
    grid.wait_until_ready(2);
    let run = try_join(grid.node(2), &token, &via);
    expect_mistake(run, Exit::Refused, &["already used", "orbit token create", "nothing was changed"]);
    assert_not_joined(grid.node(2));
}

#[test]
fn a_token_with_a_wrong_secret_or_of_another_grid() {
    let grid = founded();
    let via = grid.node(0).address();
    let good = JoinToken::parse(&grid.node(0).token(&[])).expect("is a token");
    let mut guessed = good.clone();
    guessed.secret[0] ^= 1;
    let run = try_join(grid.node(1), &guessed.to_text(), &via);
    expect_mistake(run, Exit::Refused, &["does not match", "nothing was changed"]);
    // Another authority than the token pins: the secret is not even sent.
    let mut elsewhere = good.clone();
    elsewhere.pin[0] ^= 1;
    let run = try_join(grid.node(1), &elsewhere.to_text(), &via);
    expect_mistake(run, Exit::Refused, &["nothing was changed"]);
    assert_not_joined(grid.node(1));
    // The good one was not used up by that.
    grid.node(1).join(&good.to_text(), &["--via".to_owned(), via]);
    grid.wait_until_ready(2);
}

#[test]
fn no_grid_is_found_by_multicast() {
    let Some(grid) = Grid::namespaces(1) else { return };
    let run = grid.node(0).run(["node", "join", &made_up_token().to_text(), "--no-files"]);
    let says = ["found no node", "eth0", "multicast", "vlan", "bridge", "--via", "nothing was changed"];
    expect_mistake(run, Exit::Unreachable, &says);
    assert_not_joined(grid.node(0));
}

#[test]
fn no_grid_is_found_at_an_address() {
    let grid = Grid::loopback(1);
    let begun = Instant::now();
    let token = made_up_token().to_text();
    let nobody = format!("127.0.0.1:{}", free_port());
    let run = try_join(grid.node(0), &token, &nobody);
    expect_mistake(
        run,
        Exit::Unreachable,
        &[nobody.split_once(':').expect("has a port").1, "nothing was changed"],
    );
    let run = try_join(grid.node(0), &token, "no-such-host.invalid");
    expect_mistake(run, Exit::Unreachable, &["no-such-host.invalid", "nothing was changed"]);
    // Somebody who answers and is no node.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let other = listener.local_addr().expect("has an address").to_string();
    let run = try_join(grid.node(0), &token, &other);
    expect_mistake(run, Exit::Unreachable, &["nothing was changed"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "waited for {:?}", begun.elapsed());
    assert_not_joined(grid.node(0));
}

#[test]
fn a_path_outside_the_jail() {
    let grid = Grid::standing(2);
    let (asker, star) = (grid.node(0), grid.node(1));
    fs::write(grid.path("nas2/secret"), "1").expect("writes");
    std::os::unix::fs::symlink("/etc", star.allowed().join("link")).expect("links");
    let allowed = star.allowed().to_str().expect("is text");
    let paths =
        ["/etc".to_owned(), "/".to_owned(), format!("{allowed}/../secret"), format!("{allowed}/link/passwd")];
    for path in paths {
        for command in ["scan", "hash", "dedup"] {
            let run = asker.run([command, &format!("nas2:{path}")]);
            expect_mistake(run, Exit::Refused, &["nas2", allowed]);
        }
    }
    // What is missing inside is missing, not refused; nor does a refusal tell what exists outside.
    let missing = asker.run(["scan", &star.endpoint("not there")]);
    expect_mistake(missing, Exit::Missing, &["not there"]);
    let [there, not_there] = ["/etc/passwd", "/etc/no such file"].map(|path| {
        let run = asker.run(["hash", &format!("nas2:{path}")]).expect(Exit::Refused);
        run.stderr.replace(path, "PATH")
    });
    assert_eq!(there, not_there, "a refusal tells what exists");
}

#[test]
fn a_clock_that_is_off() {
    let Some(library) = faketime("a clock that is off") else { return };
    let grid = founded();
    let (founder, node) = (grid.node(0), grid.node(1));
    let token = founder.token(&["--uses", "2"]);
    // Far off, nothing can be proved: certificates begin in the future.
    let shift = |shift: &str| {
        node.clear_variables();
        node.set_variable("LD_PRELOAD", &library);
        node.set_variable("FAKETIME", shift);
        node.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        node.set_variable("DONT_FAKE_MONOTONIC", "1");
    };
    shift("-26h");
    let run = try_join(node, &token, &founder.address());
    expect_mistake(run, Exit::Refused, &["clock", "nothing was changed"]);
    // A little off, it works and is told.
    shift("-10m");
    node.join(&token, &["--via".to_owned(), founder.address()]);
    grid.wait_until_ready(2);
    grid.wait_until("the clock is noticed", |nodes| {
        let node = nodes.iter().find(|node| node["name"] == "nas2");
        node.and_then(|node| node["clock_ahead_ms"].as_i64())
            .is_some_and(|ahead| (-660_000..-540_000).contains(&ahead))
    });
    founder.run(["status"]).expect_says("clock").expect_says("nas2");
    node.run(["doctor"]).expect_says("clock");
}

#[test]
fn an_unknown_node() {
    let grid = Grid::standing(2);
    for command in
        [&["scan", "nas22:/x"][..], &["ls", "nas22:/"], &["node", "show", "nas22"], &["node", "rm", "nas22"]]
    {
        for node in grid.nodes() {
            expect_mistake(node.run(command), Exit::Missing, &["no node nas22", "did you mean nas2?"]);
        }
    }
    let run = grid.node(0).run(["scan", "photos:/x"]);
    expect_mistake(run, Exit::Missing, &["no node photos", "orbit node ls"]);
}

#[test]
fn a_node_or_the_nucleus_cannot_be_reached() {
    let grid = Grid::standing(3);
    let begun = Instant::now();
    grid.node(2).kill();
    let run = grid.node(1).run(["scan", &grid.node(2).endpoint("")]);
    expect_mistake(run, Exit::Unreachable, &["nas3", "last heard"]);
    grid.node(0).kill();
    for command in [&["node", "ls"][..], &["token", "create"], &["scan", "nas1:/x"]] {
        let run = grid.node(1).run(command);
        expect_mistake(run, Exit::Unreachable, &["nucleus"]);
    }
    grid.node(1).run(["status"]).expect(Exit::Unreachable).expect_says("reaches no Nucleus");
    // What is local needs nobody.
    fs::write(grid.node(1).allowed().join("file"), "1").expect("writes");
    grid.node(1).run(["scan".as_ref(), grid.node(1).allowed().as_os_str()]).expect(Exit::Done);
    // Each waits some seconds for a Nucleus to be elected.
    assert!(begun.elapsed() < Duration::from_secs(90), "waited for {:?}", begun.elapsed());
}

#[test]
fn no_grid_or_no_daemon_here() {
    let grid = founded();
    let outside = grid.node(1);
    for command in
        [&["node", "ls"][..], &["status"], &["token", "create"], &["scan", "nas1:/x"], &["node", "run"]]
    {
        let run = outside.run(command);
        expect_mistake(run, Exit::Unreachable, &["not in a grid", "orbit node"]);
    }
    let inside = grid.node(0);
    let run = inside.run(["node", "init"]);
    assert!(run.code().is_some_and(|code| code > 0) && run.says("nothing was changed"), "{run}");
    inside.stop();
    for command in [&["node", "ls"][..], &["status"], &["token", "ls"], &["scan", "nas1:/x"]] {
        let run = inside.run(command);
        expect_mistake(run, Exit::Unreachable, &["not running", "orbit node run"]);
    }
    let run = inside.run(["node", "init"]);
    assert!(run.code().is_some_and(|code| code > 0) && run.says("nothing was changed"), "{run}");
    inside.restart();
    inside.wait_until_ready();
    inside.run(["status"]).expect(Exit::Done);
}
