//! Opening `jobs.db`: creation, migration, and every reason to refuse.

use crate::sample;
use orbit_store::{Check, Damage, JobsDb, JobsOptions, RunState, StoreError};
use rusqlite::Connection;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

fn impatient() -> JobsOptions {
    JobsOptions { patience: Duration::from_millis(20), ..JobsOptions::default() }
}

fn sqlite(path: &Path, sql: &str) {
    Connection::open(path).expect("a new file").execute_batch(sql).expect("valid SQL");
}

#[cfg(unix)]
#[test]
fn files_and_directories_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state/orbit/jobs.db");
    let mut jobs = JobsDb::open(&path).expect("created");
    jobs.begin_run(&sample::run(1)).expect("stored");
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_file_name("jobs.db-wal")), 0o600);
    assert_eq!(mode(&directory.path().join("state/orbit")), 0o700);
    assert_eq!(mode(&directory.path().join("state")), 0o700);
    jobs.close().expect("closed");
    assert!(!path.with_file_name("jobs.db-wal").exists(), "a clean close leaves no log");
}

#[test]
fn version_1_is_migrated_and_keeps_its_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    sqlite(&path, include_str!("old/jobs_v1.sql"));
    let mut jobs = JobsDb::open(&path).expect("migrated");
    let row = jobs.recent_runs(5).expect("read").pop().expect("the run of version 1");
    assert_eq!((row.run, row.state), (sample::run(9), Some(RunState::Partial)));
    jobs.put_checkpoint(&sample::checkpoint("f", 1), 0, &[]).expect("a table of version 2");
    jobs.close().expect("closed");
    JobsDb::open_with(&path, &JobsOptions { check: Check::Always, ..impatient() }).expect("opened again");
}

#[test]
fn a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    JobsDb::open(&path).expect("created").close().expect("closed");
    sqlite(&path, "PRAGMA user_version = 99; PRAGMA journal_mode = DELETE;");
    let before = fs::read(&path).expect("read");
    let error = JobsDb::open(&path).expect_err("newer");
    assert!(matches!(error, StoreError::NewerVersion { found: 99, known: 4, .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("read"), before);
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    for sql in ["CREATE TABLE t (x)", "PRAGMA application_id = 5", "PRAGMA user_version = 1"] {
        drop(fs::remove_file(&path));
        sqlite(&path, sql);
        let before = fs::read(&path).expect("read");
        let error = JobsDb::open(&path).expect_err(sql);
        assert!(matches!(error, StoreError::Corrupt { damage: Damage::Foreign, .. }), "{sql}: {error:?}");
        assert_eq!(fs::read(&path).expect("read"), before, "{sql}");
    }
    fs::write(&path, "these are notes, not a database\n".repeat(300)).expect("written");
    let error = JobsDb::open(&path).expect_err("text");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::NotADatabase, .. }), "{error:?}");
    assert!(error.source().is_some() && error.to_string().contains("jobs.db"), "{error}");
}

#[test]
fn a_held_lock_is_reported_after_the_patience() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    let mut jobs = JobsDb::open_with(&path, &impatient()).expect("created");
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let error = jobs.begin_run(&sample::run(1)).expect_err("locked");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    jobs.recent_runs(1).expect("readers do not wait");
    other.execute_batch("ROLLBACK").expect("released");
    jobs.begin_run(&sample::run(1)).expect("free again");
}

#[test]
fn many_may_create_it_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    let workers: Vec<_> = (1..=8)
        .map(|n| {
            let path = path.clone();
            std::thread::spawn(move || JobsDb::open(&path)?.begin_run(&sample::run(n)))
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic").expect("opened and written");
    }
    assert_eq!(JobsDb::open(&path).expect("opened").recent_runs(100).expect("read").len(), 8);
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).expect("changed");
    let privileged = fs::write(directory.path().join("probe"), "").is_ok();
    // Nobody may create files in /proc.
    let place = if privileged { Path::new("/proc") } else { directory.path() };
    let error = JobsDb::open(&place.join("orbit/jobs.db")).expect_err("not writable");
    assert!(matches!(error, StoreError::Io { .. } | StoreError::ReadOnly { .. }), "{error:?}");
    assert!(error.to_string().contains("orbit"), "{error}");

    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = JobsDb::open(&file.path().join("jobs.db")).expect_err("a file is no directory");
    assert!(matches!(error, StoreError::Io { .. }) && error.source().is_some(), "{error:?}");
}
