//! A grid that an Orbit without a group of voters kept in the local `jobs.db`.

use crate::nucleus_sample::{everything, id, metered};
use orbit_core::grid::{Change, GridState, Metered};
use orbit_core::ids::{PeerKey, Serial};
use orbit_core::wire::pulse::Metering;
use orbit_store::{Damage, JobsDb, NucleusStore, RunState, StoreError, forget_taken_over, take_over_grid};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

fn version_3(directory: &Path) -> PathBuf {
    let path = directory.join("jobs.db");
    sqlite(&path, include_str!("old/jobs_v3.sql"));
    path
}

fn sqlite(path: &Path, sql: &str) {
    Connection::open(path).expect("a database").execute_batch(sql).expect("valid SQL");
}

fn number(path: &Path, sql: &str) -> i64 {
    let database = Connection::open(path).expect("a database");
    database.query_row(sql, [], |row| row.get(0)).expect("a number")
}

fn state(changes: Vec<Change>) -> GridState {
    let mut state = GridState::default();
    for change in changes {
        state.absorb(change);
    }
    state
}

fn expected() -> GridState {
    let (serial, key) = (Serial::from_bytes([10; 16]), PeerKey::from_bytes([1; 32]));
    let mut changes = everything();
    changes.push(Change::Superseded { serial, key, until_ms: 9 });
    state(changes)
}

fn counters() -> Metered {
    Metered { total: Metering { calls: 103, ..Metering::default() }, ..metered(2, 3) }
}

#[test]
fn a_running_grid_is_carried_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = version_3(directory.path());
    let (records, counted) = take_over_grid(&path).expect("read").expect("a grid");
    assert_eq!((state(records.clone()), counted.clone()), (expected(), vec![counters()]));
    assert_eq!(number(&path, "PRAGMA user_version"), 3, "nothing was changed");

    // The group is founded with it, and then it goes.
    let records: Vec<_> = records.into_iter().chain(counted.into_iter().map(Change::Metered)).collect();
    let nucleus = directory.path().join("nucleus");
    let mark = crate::nucleus_sample::mark(1);
    let loaded = NucleusStore::seed(&nucleus, &records, &[], &mark).expect("seeded").load().expect("loaded");
    assert_eq!((loaded.state, loaded.metering), (expected(), vec![counters()]));
    forget_taken_over(&path).expect("forgotten");
    forget_taken_over(&path).expect("nothing to forget");
    assert!(take_over_grid(&path).expect("read").is_none());
    let jobs = JobsDb::open(&path).expect("opened");
    let run = jobs.recent_runs(5).expect("read").pop().expect("the run stays");
    assert_eq!((run.run, run.state), (crate::sample::run(9), Some(RunState::Partial)));
}

#[test]
fn a_command_that_opens_the_database_first_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = version_3(directory.path());
    JobsDb::open(&path).expect("migrated").close().expect("closed");
    JobsDb::open(&path).expect("opened again").close().expect("closed");
    assert_eq!(number(&path, "PRAGMA user_version"), 4);
    let (records, counted) = take_over_grid(&path).expect("read").expect("still there");
    assert_eq!((state(records), counted), (expected(), vec![counters()]));
}

#[test]
fn where_no_grid_was_nothing_is_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    assert!(take_over_grid(&path).expect("no file").is_none());
    forget_taken_over(&path).expect("no file");
    assert!(!path.exists());
    for version in ["old/jobs_v1.sql", "none"] {
        drop(std::fs::remove_file(&path));
        if version != "none" {
            sqlite(&path, include_str!("old/jobs_v1.sql"));
            assert!(take_over_grid(&path).expect("read").is_none(), "{version}");
        }
        JobsDb::open(&path).expect("migrated").close().expect("closed");
        assert!(take_over_grid(&path).expect("read").is_none(), "{version}");
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('grid', 'metering')";
        assert_eq!(number(&path, tables), 0, "{version}");
    }
}

#[test]
fn a_damaged_record_is_not_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = version_3(directory.path());
    sqlite(&path, "UPDATE grid SET crc = crc + 1 WHERE kind = 5");
    let error = take_over_grid(&path).expect_err("damaged");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Row { table: "grid" }, .. }), "{error:?}");
    sqlite(&path, "UPDATE grid SET crc = crc - 1 WHERE kind = 5; UPDATE metering SET body = x'00'");
    let (records, counted) = take_over_grid(&path).expect("read").expect("a grid");
    assert_eq!((state(records), counted), (expected(), vec![]), "counters begin anew");
    assert_eq!(expected().nodes().map(|node| node.id).collect::<Vec<_>>(), [id(1), id(2)]);
}
