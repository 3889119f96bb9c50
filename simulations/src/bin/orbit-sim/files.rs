//! Syncs of files on simulated disks.

use crate::print;
use orbit_simulations::scenario::{self, Tally};
use std::process::ExitCode;

/// Which seeds, and whether to print the log of a good one too.
pub struct Request {
    from: u64,
    count: u64,
    prints_log: bool,
}

impl Request {
    /// What was typed; none if it is not understood.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut request = Self { from: 0, count: 300, prints_log: false };
        while let Some(name) = arguments.next() {
            let number = arguments.next()?.parse().ok()?;
            match name.as_str() {
                "--seed" => request = Self { from: number, count: 1, prints_log: true },
                "--seeds" => request.count = number,
                "--from" => request.from = number,
                _ => return None,
            }
        }
        Some(request)
    }
}

/// Plays them, up to the first that breaks a rule.
pub fn play(request: &Request) -> ExitCode {
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
