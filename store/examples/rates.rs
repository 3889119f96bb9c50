//! Measures the rates that matter: `cargo run --release -p orbit-store --example rates [directory [jobs|universe|log|group]…]`.
#![expect(clippy::print_stdout, reason = "a program for people")]

use orbit_core::grid::{Change, Content, Metered};
use orbit_core::ids::NodeId;
use orbit_core::wire::pulse::Metering;
use orbit_core::{Chunk, FileIdentity, Timestamp};
use orbit_store::{
    CachedManifest, Checkpoint, DirectoryDisk, JobsBatch, JobsDb, LogEntry, LogPosition, Mark, NewPlan,
    NewStep, NucleusStore, PlanId, RaftLog, StepState, StoreError, Universe,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const STEPS: u64 = 1_000_000;
const FILES: u64 = 1_000_000;
const NOW: Timestamp = Timestamp { seconds: 2_000_000_000, nanos: 0 };

fn main() -> Result<(), StoreError> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join("orbit-rates");
    let wanted: Vec<_> = arguments.collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    drop(std::fs::remove_dir_all(&directory));
    if is_wanted("jobs") {
        steps(&directory.join("jobs.db"))?;
        checkpoints(&directory.join("jobs.db"))?;
    }
    if is_wanted("universe") {
        universe(&directory.join("universe_v3.db"))?;
        universe_lists(&directory.join("lists.db"))?;
    }
    if is_wanted("log") {
        log(&directory.join("raft"))?;
    }
    if is_wanted("group") {
        group(&directory.join("nucleus"))?;
    }
    drop(std::fs::remove_dir_all(&directory));
    Ok(())
}

fn report(what: &str, count: u64, took: Duration) {
    println!("{what:<44} {count:>9} in {took:>10.2?}  {:>10.0}/s", count as f64 / took.as_secs_f64());
}

fn timed<T>(what: &str, count: u64, body: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let start = Instant::now();
    let value = body()?;
    report(what, count, start.elapsed());
    Ok(value)
}

fn steps(path: &Path) -> Result<(), StoreError> {
    let mut jobs = timed("jobs: create", 1, || JobsDb::open(path))?;
    let plan = PlanId::from_bytes([7; 16]);
    let (source, destination) = (b"/a".to_vec(), b"/b".to_vec());
    jobs.create_plan(&NewPlan {
        id: plan,
        created_ms: 1,
        source,
        destination,
        options: vec![],
        saved: true,
    })?;
    // Four classes by eight sizes, mixed as a scan finds them.
    let step = |seq: u64| NewStep {
        seq,
        rank: (seq.wrapping_mul(2_654_435_761) >> 7) as i64 % 32,
        bytes: 4096,
        body: vec![seq as u8; 200],
    };
    let batches: Vec<Vec<_>> =
        (0..STEPS / 5000).map(|n| (n * 5000..(n + 1) * 5000).map(step).collect()).collect();
    timed("jobs: append steps of 200 B, 32 ranks", STEPS, || {
        batches.iter().try_for_each(|batch| jobs.append_steps(plan, batch))
    })?;
    drop(batches);
    let drain = |jobs: &JobsDb| -> Result<u64, StoreError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = jobs.next_steps(plan, after, 1000)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some((last.step.rank, last.step.seq));
            count += page.len() as u64;
        }
    };
    timed("jobs: next_steps, pages of 1000", STEPS, || drain(&jobs))?;
    timed("jobs: mark done, 1000 at once", STEPS, || {
        (0..STEPS / 1000).try_for_each(|n| {
            let marks: Vec<_> = (n * 1000..(n + 1) * 1000).map(|seq| (seq, StepState::Done)).collect();
            jobs.mark_steps(plan, &marks)
        })
    })?;
    timed("jobs: next_steps from the start, all done", STEPS, || drain(&jobs))?;
    println!("jobs.db {} MB", std::fs::metadata(path).map_or(0, |m| m.len()) >> 20);
    jobs.close()?;
    let jobs = timed("jobs: open", 1, || JobsDb::open(path))?;
    jobs.close()?;
    let mut jobs = timed("jobs: open again", 1, || JobsDb::open(path))?;
    timed("jobs: remove the plan", STEPS, || jobs.remove_plan(plan))?;
    println!("jobs.db {} MB", std::fs::metadata(path).map_or(0, |m| m.len()) >> 20);
    Ok(())
}

fn chunk(n: u64) -> Chunk {
    let mut hash = [0; 32];
    hash.chunks_exact_mut(8)
        .for_each(|part| part.copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()));
    Chunk { hash: hash.into(), len: 65_536 }
}

fn identity(ino: u64) -> FileIdentity {
    let time = Timestamp { seconds: 1_000_000_000, nanos: 1 };
    FileIdentity { dev: 1, ino, size: 4096, mtime: time, ctime: time }
}

fn checkpoints(path: &Path) -> Result<(), StoreError> {
    let mut jobs = JobsDb::open(path)?;
    let chunks: Vec<_> = (0..8000).map(chunk).collect();
    let mut checkpoint = Checkpoint {
        destination_root: b"/b".to_vec(),
        path: b"disk.img".to_vec(),
        stage_name: b".orbit-1".to_vec(),
        source: identity(1),
        verified_len: 0,
    };
    timed("jobs: put_checkpoint of 8000 new chunks, durable", 100, || {
        (0..100).try_for_each(|n| {
            checkpoint.verified_len += 8000 * 65_536;
            jobs.put_checkpoint(&checkpoint, n * 8000, &chunks)
        })
    })?;
    timed("jobs: checkpoint_chunks", 800_000, || {
        jobs.checkpoint_chunks(b"/b", b"disk.img")?.try_for_each(|part| part.map(drop))
    })
}

fn universe(path: &Path) -> Result<(), StoreError> {
    let universe = timed("universe: create", 1, || Universe::open(path))?;
    // Inodes in a scattered order, as a walk by name meets them.
    let scattered = |n: u64| identity(n.wrapping_mul(7_368_787) % FILES);
    let manifests: Vec<_> = (0..FILES)
        .map(|n| CachedManifest { identity: scattered(n), params_id: 1, root: chunk(n).hash, chunks: None })
        .collect();
    timed("universe: put_batch of 100 000 roots", FILES, || {
        manifests.chunks(100_000).try_for_each(|batch| universe.put_batch(batch, NOW).map(drop))?;
        universe.flush()
    })?;
    timed("universe: replace them, batches of 1000", FILES / 10, || {
        manifests[..FILES as usize / 10]
            .chunks(1000)
            .try_for_each(|batch| universe.put_batch(batch, NOW).map(drop))?;
        universe.flush()
    })?;
    timed("universe: root, one by one, scattered", FILES / 10, || {
        (0..FILES / 10).try_for_each(|n| universe.root(&scattered(n), 1).map(drop))
    })?;
    let asked: Vec<_> = (0..FILES).map(identity).collect();
    timed("universe: roots, 10 000 at once, sorted", FILES, || {
        asked.chunks(10_000).try_for_each(|batch| universe.roots(batch, 1).map(drop))
    })?;
    println!("universe {} MB", universe.stats()?.file_bytes >> 20);
    timed("universe: close", 1, || universe.close())?;
    let universe = timed("universe: open (above the check's size)", 1, || Universe::open(path))?;
    timed("universe: evict half", FILES / 2, || universe.evict_to(FILES / 2))?;
    universe.close()?;
    let mut universe = Universe::open(path)?;
    timed("universe: compact", 1, || universe.compact())?;
    println!("universe {} MB", universe.stats()?.file_bytes >> 20);
    universe.evict_to(50_000)?;
    universe.compact()?;
    println!("universe {} MB", universe.stats()?.file_bytes >> 20);
    universe.close()?;
    timed("universe: open (checked)", 1, || Universe::open(path))?.close()
}

fn universe_lists(path: &Path) -> Result<(), StoreError> {
    let universe = Universe::open(path)?;
    let manifests: Vec<_> = (0..50_000)
        .map(|n| CachedManifest {
            identity: identity(n),
            params_id: 1,
            root: chunk(n).hash,
            chunks: Some((0..16).map(chunk).collect()),
        })
        .collect();
    timed("universe: chunks put in lists of 16", 800_000, || {
        manifests.chunks(5000).try_for_each(|batch| universe.put_batch(batch, NOW).map(drop))?;
        universe.flush()
    })?;
    timed("universe: chunk lists read", 50_000, || {
        (0..50_000).try_for_each(|n| universe.chunks(&identity(n), 1).map(drop))
    })?;
    let large = CachedManifest {
        identity: identity(99),
        params_id: 2,
        root: chunk(1).hash,
        chunks: Some((0..800_000).map(chunk).collect()),
    };
    timed("universe: chunks put in one list", 800_000, || {
        universe.put(&large, NOW)?;
        universe.flush()
    })?;
    timed("universe: chunks read of one list", 800_000, || universe.chunks(&identity(99), 2))?;
    println!("universe {} MB", universe.stats()?.file_bytes >> 20);
    universe.close()
}

/// Appends one by one, as one writer makes them, and in batches, as many do.
fn log(path: &Path) -> Result<(), StoreError> {
    let log = RaftLog::open(Arc::new(DirectoryDisk::open(path)?))?;
    let mut next = 0;
    let mut entries = |count: u64| -> Vec<LogEntry> {
        let from = next;
        next += count;
        let entry =
            |index| LogEntry { position: LogPosition { term: 1, index }, payload: vec![index as u8; 500] };
        (from..next).map(entry).collect()
    };
    for (what, batch, times) in [("log: append 1 of 500 B", 1, 4000), ("log: append 64 of 500 B", 64, 1000)] {
        let mut took = Vec::new();
        for _ in 0..times {
            let entries = entries(batch);
            let start = Instant::now();
            log.append(&entries)?;
            took.push(start.elapsed());
        }
        report(what, batch * times, took.iter().sum());
        took.sort_unstable();
        let at = |permille: usize| took[took.len() * permille / 1000];
        println!("    p50 {:.2?}, p99 {:.2?}, worst {:.2?}", at(500), at(990), at(999));
    }
    let last = next;
    timed("log: read 100 at a time", last, || {
        (0..last / 100).try_for_each(|n| log.read(n * 100..n * 100 + 100, usize::MAX).map(drop))
    })?;
    drop(log);
    timed("log: open and verify", last, || RaftLog::open(Arc::new(DirectoryDisk::open(path)?)).map(drop))
}

/// Applies batches, and makes and installs a snapshot.
fn group(path: &Path) -> Result<(), StoreError> {
    const CONTENTS: u64 = 1_000_000;
    let mark = |index| Mark { position: Some(LogPosition { term: 1, index }), membership: vec![1; 60] };
    let mut store = NucleusStore::seed(&path.join("a"), &[], &[], &mark(0))?;
    let metered = |n: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(n % 1000).to_le_bytes());
        let counted = Metering { calls: n, ..Metering::default() };
        Change::Metered(Metered { node: NodeId::from_bytes(id), total: counted, counted })
    };
    let mut index = 0;
    for (what, batch, times) in [("group: apply 1 change", 1, 5000), ("group: apply 64 changes", 64, 1000)] {
        timed(what, batch * times, || {
            (0..times).try_for_each(|_| {
                index += 1;
                let changes: Vec<_> = (0..batch).map(|n| metered(index * batch + n)).collect();
                store.commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(index))?;
                store.commit_universe(&changes, &mark(index))
            })
        })?;
    }
    let mut in_jobs = Duration::ZERO;
    timed("group: apply contents, 10 000 at a time", CONTENTS, || {
        (0..CONTENTS / 10_000).try_for_each(|part| {
            index += 1;
            let content = |n: u64| {
                let mut root = [0; 32];
                root[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
                Content { root: root.into(), bytes: 1 << 20, chunks: 16 }
            };
            let contents = (part * 10_000..(part + 1) * 10_000).map(content).collect();
            let changes = [Change::Contents { holder: NodeId::from_bytes([1; 16]), contents }];
            let start = Instant::now();
            store.commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(index))?;
            in_jobs += start.elapsed();
            store.commit_universe(&changes, &mark(index))
        })
    })?;
    report("    of that in jobs.db", CONTENTS, in_jobs);
    timed("group: flush", 1, || store.flush())?;
    let pinned = timed("group: pin", 1, || store.pin())?;
    let snapshot = timed("group: write a snapshot", 1, || pinned.write_snapshot())?;
    println!("    {} MB", snapshot.manifest().bytes / 1_000_000);
    let mut learner = NucleusStore::seed(&path.join("b"), &[], &[], &Mark::default())?;
    let file = timed("group: receive it", 1, || {
        let mut receiver = learner.receive(snapshot.manifest())?;
        for part in 0..snapshot.manifest().parts.len() as u32 {
            receiver.put(part, &snapshot.read_part(part)?)?;
        }
        receiver.finish()
    })?;
    timed("group: install it", 1, || learner.install(&file))
}
