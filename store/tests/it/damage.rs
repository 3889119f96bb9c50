//! One byte changed, at many places, and files cut short: an error or a miss, never a panic, never a wrong answer.

use crate::sample::{NOW, checkpoint, chunk, identity, manifest, plan, run, step};
use orbit_store::{Check, JobsDb, JobsOptions, StepState, StoreError, Universe};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

const STEPS: u64 = 150;
const FILES: u64 = 120;

fn fill_jobs(path: &Path) -> Result<(), StoreError> {
    let mut jobs = JobsDb::open(path)?;
    jobs.begin_run(&run(1))?;
    jobs.create_plan(&plan(1))?;
    jobs.append_steps(plan(1).id, &(0..STEPS).map(|seq| step(seq, seq as i64 % 5)).collect::<Vec<_>>())?;
    jobs.mark_steps(plan(1).id, &[(3, StepState::Failed)])?;
    jobs.seal_plan(plan(1).id, b"totals")?;
    jobs.put_checkpoint(&checkpoint("f", 9), 0, &(0..100).map(chunk).collect::<Vec<_>>())?;
    jobs.close()
}

/// Reads and writes everything. Whatever is returned without an error must be what was stored.
fn use_jobs(path: &Path, check: Check) -> Result<(), StoreError> {
    let mut jobs = JobsDb::open_with(path, &JobsOptions { check, patience: Duration::from_millis(5) })?;
    jobs.recent_runs(10)?;
    for row in jobs.plans()? {
        assert_eq!((row.plan, row.totals.as_deref()), (plan(1), Some(&b"totals"[..])));
    }
    for row in jobs.next_steps(plan(1).id, None, 1000)? {
        assert_eq!(row.step, step(row.step.seq, row.step.rank));
        assert!(row.step.seq < STEPS && row.step.rank == row.step.seq as i64 % 5);
    }
    if let Some(stored) = jobs.checkpoint(b"/b", b"f")? {
        assert_eq!((stored.checkpoint, stored.chunk_count), (checkpoint("f", 9), 100));
        let mut next = 0;
        for part in jobs.checkpoint_chunks(b"/b", b"f")? {
            for found in part? {
                assert_eq!(found, chunk(next));
                next += 1;
            }
        }
        assert_eq!(next, 100);
    }
    jobs.mark_steps(plan(1).id, &[(5, StepState::Done)])?;
    jobs.append_steps(plan(1).id, &[step(STEPS, 0)])?;
    jobs.remove_plan(plan(1).id)?;
    jobs.close()
}

fn fill_universe(path: &Path) -> Result<(), StoreError> {
    let universe = Universe::open(path)?;
    universe.put_batch(&(0..FILES).map(|ino| manifest(ino, ino % 4)).collect::<Vec<_>>(), NOW)?;
    universe.put(&manifest(FILES, 300), NOW)?;
    universe.close()
}

fn use_universe(path: &Path) -> Result<(), StoreError> {
    let universe = Universe::open(path)?;
    for ino in 0..=FILES {
        let known = manifest(ino, if ino == FILES { 300 } else { ino % 4 });
        if let Some(root) = universe.root(&identity(ino), 7)? {
            assert_eq!(root, known.root);
        }
        if let Some(chunks) = universe.chunks(&identity(ino), 7)? {
            assert_eq!(Some(chunks), known.chunks);
        }
    }
    universe.put(&manifest(1, 5), NOW)?;
    universe.evict_to(10)?;
    universe.close()
}

/// Runs `body` over copies of `sound` with one byte changed; returns how many were noticed as an error.
fn with_every(
    sound: &[u8],
    stride: usize,
    path: &Path,
    body: impl Fn(&Path) -> Result<(), StoreError> + std::panic::RefUnwindSafe,
) -> usize {
    let mut noticed = 0;
    for at in (0..sound.len()).step_by(stride).chain(0..100.min(sound.len())) {
        let mut bytes = sound.to_vec();
        bytes[at] ^= if at % 2 == 0 { 0x01 } else { 0xff };
        noticed += usize::from(refuses(&bytes, path, &body, at));
    }
    noticed
}

fn refuses(
    bytes: &[u8],
    path: &Path,
    body: &(impl Fn(&Path) -> Result<(), StoreError> + std::panic::RefUnwindSafe),
    at: usize,
) -> bool {
    for name in ["jobs.db-wal", "jobs.db-shm", "jobs.db-journal"] {
        drop(fs::remove_file(path.with_file_name(name)));
    }
    fs::write(path, bytes).expect("written");
    let result = catch_unwind(|| body(path));
    assert!(result.is_ok(), "panicked over a change at byte {at} of {}", bytes.len());
    result.is_ok_and(|result| result.is_err())
}

#[test]
fn jobs_with_a_changed_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    fill_jobs(&path).expect("filled");
    let sound = fs::read(&path).expect("read");
    use_jobs(&path, Check::Always).expect("sound");
    let noticed = with_every(&sound, 61, &path, |path| use_jobs(path, Check::AfterUncleanClose));
    assert!(noticed > 50, "{noticed}");
    let checked = with_every(&sound, 611, &path, |path| use_jobs(path, Check::Always));
    assert!(checked > 5, "{checked}");
}

#[test]
fn jobs_cut_short() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    fill_jobs(&path).expect("filled");
    let sound = fs::read(&path).expect("read");
    for len in (1..sound.len()).step_by(1021) {
        let refused =
            refuses(&sound[..len], &path, &|path: &Path| use_jobs(path, Check::AfterUncleanClose), len);
        // SQLite takes a last page that is cut short for one that ends in zeros, which may well be what it was.
        assert!(refused || len + 4096 > sound.len(), "{len} of {} bytes passed", sound.len());
    }
}

#[test]
fn universe_with_a_changed_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("universe_v3.db");
    fill_universe(&path).expect("filled");
    let sound = fs::read(&path).expect("read");
    use_universe(&path).expect("sound");
    let noticed = with_every(&sound, 331, &path, use_universe);
    assert!(noticed > 50, "{noticed}");
}

#[test]
fn universe_cut_short() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("universe_v3.db");
    fill_universe(&path).expect("filled");
    let sound = fs::read(&path).expect("read");
    for len in (1..sound.len()).step_by(4093) {
        assert!(refuses(&sound[..len], &path, &use_universe, len), "{len} of {} bytes passed", sound.len());
    }
}
