//! Trials and measurements of the group that elects the Nucleus, on real nodes on loopback: `benches/nucleus/run` and
//! `benches/nucleus/kills` use it.
//!
//! ```text
//! orbit-bench-nucleus kills [KILLS [NODES [WRITERS [SEED]]]]
//! orbit-bench-nucleus failover [ROUNDS] | handover [ROUNDS] | latency [WRITES] | rate [WRITERS [SECONDS]]
//!                     | alone [WRITERS [SECONDS]] | idle [SECONDS] | catching-up [MEGABYTES]
//! ```
//!
//! The last line of its output is one JSON object. Everything is made below `TMPDIR`; `ORBIT_BIN` names the program.
#![cfg(target_os = "linux")]

use orbit_tests::nucleus::bench;
use orbit_tests::nucleus::kills::{Plan, run};
use orbit_tests::report::say;
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str =
    "orbit-bench-nucleus kills|failover|handover|latency|rate|alone|idle|catching-up [NUMBER]...";

fn main() -> Result<ExitCode, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (what, numbers) = words.split_first().ok_or(USAGE)?;
    let numbers: Vec<u64> = numbers.iter().map(|word| word.parse()).collect::<Result<_, _>>()?;
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    let count = |at: usize, default: u64| number(at, default) as usize;
    let (told, is_well) = match what.as_str() {
        "kills" => kills(&Plan {
            kills: number(0, 300) as u32,
            nodes: count(1, 3),
            writers: count(2, 4),
            snapshot_every: 50,
            seed: number(3, 1),
        }),
        "failover" => (bench::failover(count(0, 50)), true),
        "handover" => (bench::hand_over(count(0, 20)), true),
        "latency" => (bench::latency(count(0, 2_000)), true),
        "rate" => (bench::rate(count(0, 128), number(1, 10)), true),
        "alone" => (bench::group_alone(&std::env::temp_dir(), count(0, 128), number(1, 10)), true),
        "idle" => (bench::idle(number(0, 60)), true),
        "catching-up" => (bench::catching_up(number(0, 1_000)), true),
        _ => return Err(USAGE.into()),
    };
    writeln!(std::io::stdout(), "{told}")?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kills(plan: &Plan) -> (Value, bool) {
    let outcome = run(plan);
    say(&outcome.to_string());
    for told in outcome.tally.wrong.iter().chain(&outcome.disagreements) {
        say(told);
    }
    let is_well = outcome.tally.wrong.is_empty() && outcome.disagreements.is_empty();
    let told = json!({
        "kills": outcome.kills, "of_the_nucleus": outcome.of_the_nucleus, "nodes": plan.nodes, "seed": plan.seed,
        "acknowledged": outcome.tally.acknowledged, "repeated": outcome.tally.repeated,
        "forgotten": outcome.tally.forgotten, "unknown": outcome.tally.unknown,
        "lost_or_wrong": outcome.tally.wrong.len(), "disagreements": outcome.disagreements.len(),
        "last_index": outcome.last, "term": outcome.term, "seconds": outcome.took.as_secs(),
    });
    (told, is_well)
}
