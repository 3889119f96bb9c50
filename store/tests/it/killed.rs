//! A process killed in the middle of writing: what it had acknowledged is there, and nothing is half there.

use crate::sample::{NOW, checkpoint, chunk, identity, manifest, plan, step};
use orbit_core::Chunk;
use orbit_core::grid::{Change, Content};
use orbit_core::ids::NodeId;
use orbit_store::{Check, JobsDb, JobsOptions, LogPosition, Mark, NucleusUniverse, StoreError, Universe};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "ORBIT_STORE_TEST_DIRECTORY";
const ROLE: &str = "ORBIT_STORE_TEST_ROLE";
/// Steps in a batch and chunks in a checkpoint.
const BATCH: u64 = 50;

/// Not a test by itself: the process that [`start`] starts.
#[test]
fn child() {
    let (Some(directory), Some(role)) = (std::env::var_os(DIRECTORY), std::env::var_os(ROLE)) else { return };
    let directory = Path::new(&directory);
    let result = match role.to_str() {
        Some("jobs") => write_jobs(directory),
        Some("universe") => write_universe(directory),
        Some("install") => crate::killed_group::install(directory),
        Some("apply") => crate::killed_group::apply(directory),
        Some("nucleus universe") => write_nucleus_universe(directory),
        _ => hold(directory),
    };
    result.expect("the child writes until it is killed");
}

pub fn start(directory: &Path, role: &str) -> Child {
    as_child(Command::new("env"), directory, role).spawn().expect("started")
}

/// This test as a child with a role, started by `command`, which runs what is behind its arguments.
pub fn as_child(mut command: Command, directory: &Path, role: &str) -> Command {
    command
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "killed::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROLE, role)
        .stdout(Stdio::null());
    command
}

pub fn acknowledge(directory: &Path, count: u64) {
    // Renamed into place, so that a kill leaves the old number or the new one.
    let draft = directory.join("draft");
    fs::write(&draft, count.to_string()).expect("written");
    fs::rename(draft, directory.join("acknowledged")).expect("renamed");
}

pub fn acknowledged(directory: &Path) -> u64 {
    fs::read_to_string(directory.join("acknowledged")).map_or(0, |text| text.parse().expect("a number"))
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in 30 s");
        std::thread::yield_now();
    }
}

pub fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

fn write_jobs(directory: &Path) -> Result<(), StoreError> {
    let mut jobs = JobsDb::open(&directory.join("jobs.db"))?;
    for round in acknowledged(directory).. {
        let first = round * BATCH;
        if jobs.step_count(plan(1).id)? <= first {
            jobs.append_steps(
                plan(1).id,
                &(first..first + BATCH).map(|seq| step(seq, 0)).collect::<Vec<_>>(),
            )?;
        }
        // The checkpoint may be one ahead of what was acknowledged.
        let stored = jobs.checkpoint(b"/b", b"f")?.map_or(0, |stored| stored.chunk_count);
        if stored <= first {
            let chunks: Vec<_> = (first..first + BATCH).map(chunk).collect();
            jobs.put_checkpoint(&checkpoint("f", first + BATCH), first, &chunks)?;
        }
        acknowledge(directory, round + 1);
    }
    Ok(())
}

#[test]
fn jobs_survive() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    JobsDb::open(&path).and_then(|mut jobs| jobs.create_plan(&plan(1))).expect("created");
    for round in 1..=8 {
        let goal = acknowledged(directory.path()) + round * 3;
        let child = start(directory.path(), "jobs");
        wait_until("the child writes", || acknowledged(directory.path()) >= goal);
        kill(child);

        let done = acknowledged(directory.path());
        let options = JobsOptions { check: Check::Always, ..JobsOptions::default() };
        let mut jobs = JobsDb::open_with(&path, &options).expect("opens after a kill");
        let steps = jobs.next_steps(plan(1).id, None, usize::MAX).expect("read");
        let count = steps.len() as u64;
        assert!(count >= done * BATCH && count.is_multiple_of(BATCH), "{count} of {done} batches");
        assert_eq!(jobs.step_count(plan(1).id).expect("read"), count);
        let stored = jobs.checkpoint(b"/b", b"f").expect("read").expect("acknowledged");
        assert!(stored.chunk_count >= done * BATCH);
        assert_eq!(stored.checkpoint.verified_len, stored.chunk_count);
        let parts = jobs.checkpoint_chunks(b"/b", b"f").expect("read");
        let chunks: Vec<_> = parts.flat_map(|part| part.expect("sound")).collect();
        assert_eq!(chunks, (0..stored.chunk_count).map(chunk).collect::<Vec<_>>());
    }
}

fn write_universe(directory: &Path) -> Result<(), StoreError> {
    let universe = Universe::open(&directory.join("universe_v3.db"))?;
    for round in acknowledged(directory).. {
        let batch = |part: u64| {
            (0..BATCH).map(|n| manifest(round * 2 * BATCH + part * BATCH + n, 3)).collect::<Vec<_>>()
        };
        universe.put_batch(&batch(0), NOW)?;
        universe.put_batch(&batch(1), NOW)?;
        universe.flush()?;
        acknowledge(directory, round + 1);
    }
    Ok(())
}

#[test]
fn the_universe_survives() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("universe_v3.db");
    for round in 1..=8 {
        let goal = acknowledged(directory.path()) + round * 3;
        let child = start(directory.path(), "universe");
        wait_until("the child writes", || acknowledged(directory.path()) >= goal);
        kill(child);

        let universe = Universe::open(&path).expect("opens after a kill");
        let done = acknowledged(directory.path()) * 2 * BATCH;
        for ino in 0..done + 2 * BATCH {
            let root = universe.root(&identity(ino), 7).expect("read");
            assert_eq!(root.unwrap_or(chunk(ino).hash), chunk(ino).hash);
            assert!(root.is_some() || ino >= done, "{ino} of {done} flushed is missing");
        }
        assert_eq!(universe.stats().expect("read").entries % BATCH, 0, "batches are whole");
    }
}

/// Contents of a commit, and chunks of each. Enough that some kills come while a run is written or merged.
const CONTENTS: u64 = 40;
const CHUNKS: u64 = 30;

fn content(n: u64) -> (Content, impl Iterator<Item = Chunk>) {
    let root = chunk(n | 1 << 40).hash;
    let chunks = (n * CHUNKS..(n + 1) * CHUNKS).map(chunk);
    (
        Content {
            root,
            bytes: chunks.clone().map(|chunk| u64::from(chunk.len)).sum(),
            chunks: CHUNKS as u32,
        },
        chunks,
    )
}

fn write_nucleus_universe(directory: &Path) -> Result<(), StoreError> {
    let universe = NucleusUniverse::open_or_rebuild(&directory.join("universe_v3.db"))?;
    let holder = NodeId::from_bytes([1; 16]);
    for round in acknowledged(directory).. {
        let these = round * CONTENTS..(round + 1) * CONTENTS;
        let contents = these.clone().map(|n| content(n).0).collect();
        let position = Some(LogPosition { term: 1, index: round });
        universe.commit(&[Change::Contents { holder, contents }], &Mark { position, membership: vec![] })?;
        // What was not flushed before the last kill is wanted again, or still.
        let earlier = these.start.saturating_sub(CONTENTS)..these.end;
        universe.fill_many(earlier.map(|n| (content(n).0.root, content(n).1)))?;
        acknowledge(directory, round + 1);
    }
    Ok(())
}

#[test]
fn the_universe_of_a_nucleus_survives() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("universe_v3.db");
    for round in 1..=10 {
        let goal = acknowledged(directory.path()) + round * 3;
        let child = start(directory.path(), "nucleus universe");
        wait_until("the child writes", || acknowledged(directory.path()) >= goal);
        kill(child);

        let universe = NucleusUniverse::open_or_rebuild(&path).expect("opens after a kill");
        assert!(!universe.was_rebuilt());
        let done = acknowledged(directory.path());
        let position = universe.mark().expect("read").and_then(|mark| mark.position).expect("acknowledged");
        assert!((done..=done + 1).contains(&(position.index + 1)), "{position:?} of {done}");
        let stats = universe.stats().expect("measured");
        assert_eq!(stats.contents, (position.index + 1) * CONTENTS);
        assert!(stats.wanted <= CONTENTS, "{} contents are wanted", stats.wanted);
        for n in 0..done * CONTENTS {
            let (content, mut chunks) = content(n);
            let places = universe.find(&chunks.next().expect("many").hash, 5).expect("asked");
            assert_eq!(places.len(), 1, "content {n}");
            assert_eq!((places[0].root, places[0].offset), (content.root, 0));
        }
    }
}

fn hold(directory: &Path) -> Result<(), StoreError> {
    let _universe = Universe::open(&directory.join("universe_v3.db"))?;
    let locker = rusqlite::Connection::open(directory.join("jobs.db")).expect("opened");
    locker.execute_batch("BEGIN IMMEDIATE").expect("locked");
    acknowledge(directory, 1);
    loop {
        std::thread::park();
    }
}

#[test]
fn another_process_locks_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let (jobs, universe) = (directory.path().join("jobs.db"), directory.path().join("universe_v3.db"));
    JobsDb::open(&jobs).expect("created").close().expect("closed");
    let child = start(directory.path(), "hold");
    wait_until("the child locks", || acknowledged(directory.path()) == 1);
    let error = Universe::open(&universe).expect_err("held");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    let options = JobsOptions { patience: Duration::from_millis(20), ..JobsOptions::default() };
    let error =
        JobsDb::open_with(&jobs, &options).and_then(|mut jobs| jobs.create_plan(&plan(1))).expect_err("held");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    kill(child);
    Universe::open(&universe).expect("free again");
    JobsDb::open(&jobs).and_then(|mut jobs| jobs.create_plan(&plan(1))).expect("free again");
}
