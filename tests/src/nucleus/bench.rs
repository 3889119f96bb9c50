//! What the group that elects the Nucleus can do, measured on real nodes on loopback: `orbit-bench-nucleus` prints it.
//!
//! Each function measures one thing on a grid of its own and gives its figures as one object.

use super::gaps::Gaps;
use super::writer::{Carried, Courier};
use crate::grid::Grid;
use crate::grid::conversation::{Conversation, Request};
use crate::grid::group::others;
use crate::report::say;
use crate::wait::until;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// For how long a write is tried.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long after the Nucleus was killed a write is accepted again through another node. Each round the killed one comes
/// back, and everybody is level, before the next.
pub fn failover(rounds: usize) -> Value {
    let grid = Grid::voting(3, "");
    let mut took = Vec::new();
    for round in 0..rounds {
        let old = grid.nucleus_among(&[0, 1, 2]);
        let rest = others(3, &[old]);
        // A connection is there, as a web page has one.
        let dirs: Vec<PathBuf> = rest.iter().map(|index| grid.node(*index).data_dir()).collect();
        let mut courier = Courier::new(dirs);
        let name = format!("failover-{round}");
        let warm = courier.carry(&Request::create(&format!("{name}-before")), PATIENCE);
        assert!(matches!(warm, Carried::Done { .. }), "{warm:?}");
        grid.node(old).kill();
        let killed = Instant::now();
        let carried = courier.carry(&Request::create(&name), PATIENCE);
        took.push(killed.elapsed());
        assert!(matches!(carried, Carried::Done { .. }), "{carried:?}");
        for made in [format!("{name}-before"), name] {
            let gone = courier.carry(&Request::remove(&made), PATIENCE);
            assert!(matches!(gone, Carried::Done { .. }), "{gone:?}");
        }
        grid.node(old).restart();
        grid.wait_until_voting(rest[0], 3);
        say(&format!("failover {} of {rounds}: {} ms", round + 1, took[round].as_millis()));
    }
    json!({ "rounds": rounds, "failover_ms": spread(took) })
}

/// How long a writer through another node waits while the Nucleus hands over, by draining and by stopping (SIGTERM).
pub fn hand_over(rounds: usize) -> Value {
    let grid = Grid::voting(3, "");
    let (mut drained, mut stopped, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let old = grid.nucleus_among(&[0, 1, 2]);
        let rest = others(3, &[old]);
        let name = grid.node(old).name();
        let writer = Gaps::begin(grid.node(rest[round % 2]).data_dir());
        writer.wait_for(50);
        let begun = Instant::now();
        let is_drain = round % 2 == 0;
        if is_drain {
            let path = format!("/v1/nodes/{name}");
            let drain = |is: bool| Request::change("PATCH", &path, Some(json!({ "is_draining": is })));
            let answer = grid.node(rest[0]).ask(&drain(true)).expect("answers");
            assert!(answer.is_success(), "{answer:?}");
            until("it handed over", || !grid.node(old).is_nucleus());
            writer.wait_for(50);
            grid.node(rest[0]).ask(&drain(false)).expect("answers");
        } else {
            let status = grid.node(old).stop();
            assert!(status.success(), "{status}");
            writer.wait_for(50);
        }
        let over = Instant::now();
        let noted = writer.end();
        let gap = noted.longest_between(Some(begun), Some(over));
        let how = if is_drain { "drain" } else { "SIGTERM" };
        say(&format!("hand-over {} of {rounds}, {how}: {} ms", round + 1, gap.as_millis()));
        if is_drain { &mut drained } else { &mut stopped }.push(gap);
        failed.extend(noted.failed);
        if !is_drain {
            grid.node(old).restart();
        }
        grid.wait_until_voting(rest[0], 3);
    }
    json!({
        "rounds": rounds, "drain_gap_ms": spread(drained), "stop_gap_ms": spread(stopped),
        "failed_commands": failed.len(), "first_failed": failed.first(),
    })
}

/// How long one writer waits for each write: on the Nucleus's machine, and on another.
pub fn latency(count: usize) -> Value {
    let grid = Grid::voting(3, "");
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let other = others(3, &[nucleus])[0];
    let at = |index: usize| {
        let mut conversation = Conversation::open(&grid.node(index).data_dir()).expect("its daemon runs");
        toggles(&mut conversation, "warm", count / 10);
        spread(toggles(&mut conversation, "latency", count))
    };
    json!({ "count": count, "on_the_nucleus_ms": at(nucleus), "on_another_node_ms": at(other) })
}

/// Makes and removes one constellation in turns, `count` changes in all.
fn toggles(conversation: &mut Conversation, name: &str, count: usize) -> Vec<Duration> {
    let one = |number: usize| {
        let request = if number.is_multiple_of(2) { Request::create(name) } else { Request::remove(name) };
        let begun = Instant::now();
        let answer = conversation.ask(&request).expect("answers");
        let took = begun.elapsed();
        assert!(answer.is_success(), "{answer:?}");
        took
    };
    (0..count - count % 2).map(one).collect()
}

/// Writes in a second by many writers at a time, over the API of the Nucleus.
pub fn rate(writers: usize, seconds: u64) -> Value {
    let grid = Grid::voting(3, "");
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..writers)
        .map(|number| {
            let (stop, counter) = (Arc::clone(&is_over), Arc::clone(&count));
            let data_dir = grid.node(nucleus).data_dir();
            spawn(move || {
                let mut conversation = Conversation::open(&data_dir).expect("its daemon runs");
                while !stop.load(Ordering::Relaxed) {
                    toggles(&mut conversation, &format!("rate-{number}"), 2);
                    counter.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    sleep(Duration::from_secs(1));
    let (before, begun) = (count.load(Ordering::Relaxed), Instant::now());
    sleep(Duration::from_secs(seconds));
    let rate = (count.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("a writer does not panic");
    }
    grid.wait_until_voting(nucleus, 3);
    json!({ "writers": writers, "writes_per_second": rate as u64 })
}

/// Resident memory of idle voters.
pub fn idle(seconds: u64) -> Value {
    let grid = Grid::voting(3, "");
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    sleep(Duration::from_secs(seconds));
    let megabytes = |index: usize| grid.node(index).resident_bytes() as f64 / 1e6;
    let followers: Vec<f64> = others(3, &[nucleus]).into_iter().map(megabytes).collect();
    json!({ "seconds": seconds, "nucleus_mb": megabytes(nucleus), "followers_mb": followers })
}

/// How long a node that joins a grid whose records take `megabytes` needs until it has all of them: the second, third and
/// fourth node. While the last one does, the voters must not miss each other, and a writer goes on.
pub fn catching_up(megabytes: u64) -> Value {
    let grid = Grid::loopback(4);
    grid.set_group("snapshot_every = 20");
    grid.node(0).init();
    assert!(grid.node(0).stop().success(), "{}", grid.node(0).log());
    let filled = super::fill::fill(&grid.node(0).data_dir(), megabytes << 20);
    say(&format!("{filled:?}"));
    grid.node(0).restart();
    grid.node(0).wait_until_ready();
    let mut joined = Vec::new();
    let mut watch = None;
    for index in 1..4 {
        if index == 3 {
            grid.wait_until_voting(0, 3);
            let status = grid.node(0).status().expect("is the Nucleus");
            watch = Some((status["term"].clone(), Gaps::begin(grid.node(0).data_dir())));
        }
        let token = grid.node(0).token(&[]);
        let begun = Instant::now();
        grid.node(index).join(&token, &["--via".to_owned(), grid.node(0).address()]);
        let name = grid.node(index).name();
        grid.wait_for_status_within(Duration::from_mins(5), 0, &format!("{name} has everything"), |status| {
            let lists = ["voters", "learners"].map(|list| status["group"][list].as_array().cloned());
            lists
                .into_iter()
                .flatten()
                .flatten()
                .any(|member| member["name"] == name && member["behind"] == 0)
        });
        joined.push(begun.elapsed());
        say(&format!("{name} has everything after {:.1} s", begun.elapsed().as_secs_f64()));
    }
    let (term, writer) = watch.expect("the last one was watched");
    let noted = writer.end();
    let after = grid.node(0).status().expect("is the Nucleus")["term"].clone();
    json!({
        "snapshot_mb": filled.snapshot_bytes / 1_000_000, "contents": filled.contents, "chunks": filled.chunks,
        "seconds": joined.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
        "terms": { "before": term, "after": after },
        "longest_gap_ms": noted.longest().as_secs_f64() * 1e3, "failed_commands": noted.failed.len(),
        "resident_mb": (0..4).map(|at| grid.node(at).resident_bytes() / 1_000_000).collect::<Vec<_>>(),
    })
}

/// Writes by many writers on the group alone: three members in this process with real files and a loopback between them,
/// without API, mesh and encryption.
pub fn group_alone(directory: &Path, writers: usize, seconds: u64) -> Value {
    super::alone::measure(directory, writers, seconds)
}

/// How times are spread, in milliseconds.
pub fn spread(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let ms = |time: &Duration| (time.as_secs_f64() * 1e5).round() / 1e2;
    let at = |per_mille: usize| times.get(times.len() * per_mille / 1000).map(ms);
    json!({
        "count": times.len(), "min": times.first().map(ms), "p50": at(500), "p90": at(900), "p99": at(990),
        "max": times.last().map(ms),
    })
}
