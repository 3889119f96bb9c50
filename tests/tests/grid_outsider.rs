//! A stranger built on another implementation of libp2p tries everything at the door of a node (`tests/outsider`).
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::orbit::{Running, workspace};
use orbit_tests::report::{say, skipped};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// What strangers may cost in memory.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// How long a member may wait meanwhile. The aim, 50 ms, is for a release build on a machine with nothing else to do.
const MEMBER_P99_MAX: Duration = Duration::from_millis(750);

/// A Python that has the stranger's libp2p. Installed into `target/outsider` only when asked to.
fn python() -> Option<PathBuf> {
    const WHAT: &str = "an outsider with another libp2p";
    let environment = workspace().join("target/outsider");
    let own = environment.join("bin/python");
    let requirements = workspace().join("tests/outsider/requirements.txt");
    let works = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import libp2p, cbor2"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    for python in [own.clone(), PathBuf::from("python3")] {
        if works(&python) {
            return Some(python);
        }
    }
    if std::env::var_os("ORBIT_TEST_INSTALL").is_none() {
        skipped(WHAT, "py-libp2p is not installed; ORBIT_TEST_INSTALL=1 installs it into target/outsider");
        return None;
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&environment).status();
    let mut pip = Command::new(environment.join("bin/pip"));
    let installed = pip.args(["install", "--quiet", "--requirement"]).arg(requirements).status();
    if made.is_ok_and(|s| s.success()) && installed.is_ok_and(|s| s.success()) && works(&own) {
        return Some(own);
    }
    skipped(WHAT, "python3 -m venv or pip failed");
    None
}

/// Runs the stranger against the first node, and gives what it got: part, what it tried, what came back. Meanwhile a
/// member asks as ever.
fn visit(grid: &Grid, python: &PathBuf, arguments: &[&str]) -> Vec<(String, String, String)> {
    let node = grid.node(0).show("nas1");
    let address = node["addresses"][0].as_str().expect("has an address");
    let peer = node["peer"].as_str().expect("has a peer id");
    let address =
        if address.contains("/p2p/") { address.to_owned() } else { format!("{address}/p2p/{peer}") };
    let results = grid.path("outsider.json");
    let mut words: Vec<OsString> =
        vec![workspace().join("tests/outsider/outsider.py").into(), address.into()];
    words.extend(arguments.iter().map(OsString::from));
    words.extend(["--json".into(), results.clone().into_os_string()]);
    let memory_before = grid.node(0).resident_bytes();
    let mut memory_peak = memory_before;
    let mut waits = Vec::new();
    let mut command = Command::new(python);
    command.args(words);
    let mut stranger = Running::start(command);
    while stranger.is_running() {
        let begun = Instant::now();
        // From a star to the Nucleus, which is the one that is besieged.
        let nodes = grid.node(1).get("/v1/nodes").expect("a member is answered");
        waits.push(begun.elapsed());
        assert_eq!(nodes.as_array().map(Vec::len), Some(2), "{nodes}");
        memory_peak = memory_peak.max(grid.node(0).resident_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
    let run = stranger.finish();
    say(&run.stdout);
    assert_eq!(run.code(), Some(0), "{run}");
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    let growth = memory_peak.saturating_sub(memory_before);
    let (asked, grown) = (waits.len(), growth as f64 / f64::from(1 << 20));
    say(&format!("meanwhile a member asked {asked} times, p99 {p99:?}; memory grew by {grown:.1} MiB"));
    assert!(growth < GROWTH_BYTES_MAX, "memory grew by {grown:.1} MiB");
    assert!(p99 < MEMBER_P99_MAX, "a member waited {p99:?}");
    let text = fs::read_to_string(results).expect("the stranger writes its results");
    let results: Vec<Value> = serde_json::from_str(&text).expect("is JSON");
    let field = |result: &Value, name: &str| result[name].as_str().expect("is text").to_owned();
    results
        .iter()
        .map(|result| (field(result, "part"), field(result, "tried"), field(result, "got")))
        .collect()
}

fn assert_unharmed(grid: &Grid) {
    grid.wait_until_ready(2);
    for node in grid.nodes() {
        assert!(node.is_running());
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
    let this = grid.node(0).get("/v1/node").expect("is answered");
    let dropped = this["dropped"].as_array().expect("is counted");
    let total: u64 = dropped.iter().filter_map(|counter| counter["count"].as_u64()).sum();
    assert!(total > 0, "what was dropped is counted: {this}");
    say(&format!("dropped by reason: {}", this["dropped"]));
    assert_eq!(grid.node(0).json_list(["node", "ls"]).len(), 2, "nobody joined");
}

#[test]
fn a_stranger_finds_one_protocol_and_no_way_in() {
    let Some(python) = python() else { return };
    let grid = Grid::standing(2);
    let results = visit(&grid, &python, &["--parts", "security,protocol,join", "--random", "8"]);
    let closed = |got: &str| {
        ["closed", "reset", "connection refused or closed", "stopped"]
            .iter()
            .any(|word| got.starts_with(word))
    };
    for (part, tried, got) in &results {
        let expected = match (part.as_str(), tried.as_str()) {
            ("security", "/noise") | ("protocol", "/orbit/join/1") => got == "ACCEPTED",
            // Asked what there is, a node names what a stranger may speak, and nothing else.
            ("protocol", "ls") => got.trim_end().ends_with("/orbit/join/1") && got.matches('/').count() == 3,
            ("security" | "protocol", _) => got == "refused" || closed(got),
            ("join", "2000 guesses of a token") => got.contains("TokenUnknown") && got.contains("TooMany"),
            ("join", "a hello at one byte a second") => got.contains("after"),
            ("join", _) => got.starts_with("refused") || got.starts_with("hello") || closed(got),
            _ => got.contains("closed") || got.contains("reset"),
        };
        assert!(expected, "{part}: {tried}: {got}");
    }
    let count = |part| results.iter().filter(|result| result.0 == part).count();
    assert!(count("protocol") > 50 && count("join") > 50, "everything was tried");
    assert_unharmed(&grid);
}

#[test]
fn a_crowd_of_strangers_costs_little_and_holds_nobody_up() {
    let Some(python) = python() else { return };
    let grid = Grid::standing(2);
    let results =
        visit(&grid, &python, &["--parts", "crowd", "--frames", "200", "--seconds", "15", "--slow", "800"]);
    for (part, tried, got) in &results {
        assert_eq!(part, "crowd");
        assert!(!got.contains("STILL OPEN") && !got.contains("NOTHING"), "{tried}: {got}");
    }
    assert_eq!(results.len(), 4);
    assert_unharmed(&grid);
}
