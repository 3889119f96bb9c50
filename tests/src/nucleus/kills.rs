//! [`run`]: voters killed at random (SIGKILL) while writers write, and what is left of it.
//!
//! The log is purged and snapshots are taken after a few entries, so that who was away is often sent a snapshot, and is
//! often killed while it takes it in.

use super::records::{self, Records};
use super::writer::{Tally, Writer};
use crate::grid::Grid;
use crate::grid::node::Node;
use crate::random::Random;
use crate::report::say;
use crate::wait::poll;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// For how long a change is sent again.
const WRITE_PATIENCE: Duration = Duration::from_mins(1);
/// How long the grid may take to acknowledge a change while all its voters run.
const PROGRESS_PATIENCE: Duration = Duration::from_mins(1);
/// After so many kills the voters are left alone until something is acknowledged.
const KILLS_AT_ONCE: u32 = 5;
/// How long the voters may take to be level at the end.
const LEVEL_PATIENCE: Duration = Duration::from_mins(1);
/// How often the databases are read until all have applied as much.
const READS_MAX: u32 = 5;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Voters.
    pub nodes: usize,
    /// Kills.
    pub kills: u32,
    /// Writers at a time.
    pub writers: usize,
    /// Entries after which a snapshot is taken.
    pub snapshot_every: u32,
    /// Decides who is killed and when.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Kills.
    pub kills: u32,
    /// Of these, kills of the Nucleus.
    pub of_the_nucleus: u32,
    /// What the writers were told, of all together.
    pub tally: Tally,
    /// How the databases of the voters differ.
    pub disagreements: Vec<String>,
    /// Index of the last entry of the log.
    pub last: u64,
    /// Term of it.
    pub term: u64,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged, repeated, forgotten, unknown, wrong } = &self.tally;
        write!(
            f,
            "{} kills ({} of the Nucleus) in {} s, {acknowledged} writes acknowledged ({repeated} of them sent again, \
             {forgotten} with a forgotten answer, {unknown} without any), lost or wrong: {}, databases disagreeing: {}; \
             the log ends at {} in term {}",
            self.kills,
            self.of_the_nucleus,
            self.took.as_secs(),
            wrong.len(),
            self.disagreements.len(),
            self.last,
            self.term,
        )
    }
}

/// Does it, on a grid of its own.
#[track_caller]
pub fn run(plan: &Plan) -> Outcome {
    let begun = Instant::now();
    let settings = format!("voters = {}\nsnapshot_every = {}", plan.nodes, plan.snapshot_every);
    let grid = Grid::voting(plan.nodes, &settings);
    let writers = Writers::begin(&grid, plan.writers);
    let mut random = Random::new(plan.seed);
    let mut of_the_nucleus = 0;
    for number in 0..plan.kills {
        let victim = grid.node(random.below(plan.nodes as u64) as usize);
        of_the_nucleus += u32::from(victim.is_nucleus());
        assert!(victim.is_running(), "{} ended by itself\n{}", victim.name(), victim.said());
        victim.kill();
        // Mostly it comes back soon, sometimes when others have gone on without it for long.
        let away = if random.is_one_in(5) { 2_000 } else { 300 };
        sleep(Duration::from_millis(random.below(away)));
        victim.restart();
        // Mostly it comes to rest, sometimes the next is killed while it is still taking up its work.
        let pause = if random.is_one_in(3) { 50 } else { 1_000 };
        sleep(Duration::from_millis(random.below(pause)));
        if (number + 1) % KILLS_AT_ONCE == 0 {
            writers.wait_for_progress(&grid);
        }
        if (number + 1) % 25 == 0 {
            say(&format!("{} kills, {} writes acknowledged", number + 1, writers.acknowledged()));
        }
    }
    writers.wait_for_progress(&grid);
    let writers = writers.end();
    grid.wait_until_voting(0, plan.nodes);
    let found: BTreeSet<String> = grid.node(0).constellations().into_iter().collect();
    let mut tally = Tally::default();
    for writer in writers {
        add(&mut tally, writer.judge(&found));
    }
    let all = settle(&grid);
    let disagreements = disagreements(&all);
    let position = all.first().and_then(|records| records.jobs.position);
    Outcome {
        kills: plan.kills,
        of_the_nucleus,
        tally,
        disagreements,
        last: position.map_or(0, |position| position.index),
        term: position.map_or(0, |position| position.term),
        took: begun.elapsed(),
    }
}

fn add(tally: &mut Tally, more: Tally) {
    tally.acknowledged += more.acknowledged;
    tally.repeated += more.repeated;
    tally.forgotten += more.forgotten;
    tally.unknown += more.unknown;
    tally.wrong.extend(more.wrong);
}

/// Kills all nodes when they are level, and reads their databases. A chore of the Nucleus may come between: then again.
#[track_caller]
pub fn settle(grid: &Grid) -> Vec<Records> {
    let mut all = Vec::new();
    for _ in 0..READS_MAX {
        wait_until_level(grid);
        for node in grid.nodes() {
            node.kill();
        }
        all = grid.nodes().iter().map(|node| records::read(&node.data_dir())).collect();
        if all.windows(2).all(|pair| pair[0].is_level_with(&pair[1])) {
            break;
        }
        say("not all voters had applied as much; once more");
        for node in grid.nodes() {
            node.restart();
        }
    }
    all
}

/// How the databases differ from the first.
pub fn disagreements(all: &[Records]) -> Vec<String> {
    let Some((first, rest)) = all.split_first() else { return Vec::new() };
    let told = rest.iter().zip(2..).flat_map(|(records, number)| {
        first.differences(records).into_iter().map(move |told| format!("nas1 and nas{number}: {told}"))
    });
    told.collect()
}

/// Waits until every voter has what the Nucleus has, twice in a row: the first time they may only have kept, not applied it.
fn wait_until_level(grid: &Grid) {
    let is_level = |status: &Value| {
        let voters = status["group"]["voters"].as_array().cloned().unwrap_or_default();
        let is_well = |voter: &Value| {
            voter["is_heard"] == true && (voter["is_nucleus"] == true || voter["behind"] == 0)
        };
        voters.len() == grid.nodes().len() && voters.iter().all(is_well)
    };
    let mut in_a_row = 0;
    let level = poll(LEVEL_PATIENCE, || {
        sleep(Duration::from_millis(500));
        let is_level = grid.node(0).status().is_some_and(|status| is_level(&status));
        in_a_row = if is_level { in_a_row + 1 } else { 0 };
        (in_a_row >= 2).then_some(())
    });
    assert!(level.is_some(), "the voters do not come level: {:#?}", grid.node(0).status());
}

/// Threads that write.
struct Writers {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Writer>>,
}

impl Writers {
    fn begin(grid: &Grid, count: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let data_dirs: Vec<PathBuf> = grid.nodes().iter().map(Node::data_dir).collect();
        let thread = |number: usize| {
            let (stop, counter) = (Arc::clone(&is_over), Arc::clone(&acknowledged));
            // Each begins with another node.
            let mut own = data_dirs.clone();
            own.rotate_left(number % data_dirs.len());
            spawn(move || {
                let mut writer = Writer::new(&format!("w{number}"), own);
                while !stop.load(Ordering::Relaxed) {
                    counter.fetch_add(u64::from(writer.write(WRITE_PATIENCE)), Ordering::Relaxed);
                }
                writer
            })
        };
        let threads = (0..count).map(thread).collect();
        Self { is_over, acknowledged, threads }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until a change is acknowledged that was not before.
    #[track_caller]
    fn wait_for_progress(&self, grid: &Grid) {
        let before = self.acknowledged();
        let went_on = poll(PROGRESS_PATIENCE, || {
            (self.acknowledged() > before + self.threads.len() as u64).then_some(())
        });
        assert!(
            went_on.is_some(),
            "nothing is acknowledged any more, though all voters run: {:#?}",
            grid.nodes().iter().map(Node::status).collect::<Vec<_>>()
        );
    }

    fn end(self) -> Vec<Writer> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    }
}
