//! `orbit-sim`: plays seeds, and prints the log of one that breaks a rule.
#![allow(clippy::print_stderr)] // telling a person is what this program is for

use orbit_simulations::scenario::{self, Tally};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: orbit-sim [--seed N | [--from N] --seeds COUNT]";

/// Which seeds, and whether to print the log of a good one too.
struct Request {
    from: u64,
    count: u64,
    prints_log: bool,
}

fn main() -> ExitCode {
    let Some(request) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut tally = Tally::default();
    for seed in request.from..request.from.saturating_add(request.count) {
        let report = scenario::run(seed, None);
        tally.add(&report);
        let failed = !report.violations.is_empty();
        if failed || request.prints_log {
            print(&report.log);
        }
        if failed {
            print(&report.violations);
            print(&[format!("seed {seed} broke a rule; play it again with: orbit-sim --seed {seed}")]);
            return ExitCode::FAILURE;
        }
    }
    let Tally { calls, kills, cuts, failures, successes } = tally;
    print(&[
        format!("{} seeds from {}: no rule broken", request.count, request.from),
        format!(
            "{calls} calls, {kills} kills, {cuts} power cuts, {failures} runs failed, {successes} succeeded"
        ),
    ]);
    ExitCode::SUCCESS
}

/// Whoever reads it may stop reading.
fn print(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request { from: 0, count: 300, prints_log: false };
    while let Some(name) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seed" => request = Request { from: number, count: 1, prints_log: true },
            "--seeds" => request.count = number,
            "--from" => request.from = number,
            _ => return None,
        }
    }
    Some(request)
}
