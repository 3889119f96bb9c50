//! The replicated databases.

use crate::nucleus_sample::{content, contents, everything, id, key, mark, metered, node, outcome, request};
use orbit_core::grid::{Change, NodeRecord};
use orbit_core::ids::{Serial, TokenId};
use orbit_store::{Damage, JobsBatch, Mark, NucleusStore, StoreError};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

fn seeded(directory: &Path) -> NucleusStore {
    let rows: Vec<_> = (0..5).map(|number| (id(1), content(number))).collect();
    NucleusStore::seed(directory, &everything(), &rows, &mark(10)).expect("seeded")
}

fn again(directory: &Path) -> NucleusStore {
    NucleusStore::open(directory).expect("opened").expect("there")
}

fn sqlite(directory: &Path, sql: &str) {
    let jobs = Connection::open(directory.join("gen-1/jobs.db")).expect("a database");
    jobs.execute_batch(sql).expect("valid SQL");
}

#[test]
fn there_is_nothing_before_it_is_seeded() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(NucleusStore::open(&directory.path().join("none")).expect("no error").is_none());
    fs::create_dir(directory.path().join("raft")).expect("the log's");
    fs::write(directory.path().join("seal.key"), "secret").expect("the key");
    assert!(NucleusStore::open(directory.path()).expect("no error").is_none());
    assert_eq!(NucleusStore::metering_of(directory.path()).expect("no error"), []);
    // Left by a cut-off attempt.
    for place in ["gen-1", "gen-7", "snapshots", "incoming/abc"] {
        fs::create_dir_all(directory.path().join(place)).expect("made");
        fs::write(directory.path().join(place).join("jobs.db"), "half").expect("written");
    }
    drop(seeded(directory.path()));
    assert_eq!(again(directory.path()).load().expect("loaded").state.nodes().count(), 2);
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .expect("listed")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["CURRENT", "gen-1", "raft", "seal.key"]);
    let error = NucleusStore::seed(directory.path(), &[], &[], &mark(1)).expect_err("there is one");
    assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn everything_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("nucleus");
    let store = seeded(&path);
    store.pin().and_then(orbit_store::PinnedStore::write_snapshot).expect("written");
    let mut places = vec![path];
    while let Some(place) = places.pop() {
        let metadata = fs::metadata(&place).expect("there");
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{}", place.display());
        if metadata.is_dir() {
            places.extend(fs::read_dir(&place).expect("listed").map(|entry| entry.expect("one").path()));
        }
    }
}

#[test]
fn what_was_seeded_and_committed_is_loaded_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = seeded(directory.path());
    assert_eq!((store.jobs_mark(), store.universe_mark()), (&mark(10), &mark(10)));
    assert_eq!(store.universe().get().stats().expect("measured").contents, 5);
    let renamed = NodeRecord { name: "other".into(), ..node(2) };
    let changes = [
        Change::Node(renamed),
        Change::TokenRemoved(TokenId::from_bytes([4; 6])),
        Change::ConstellationRemoved("attic".into()),
        Change::RevocationForgotten(Serial::from_bytes([9; 16])),
        key(3),
        key(4),
        Change::AuthorityKeyForgotten([3; 32]),
        Change::Metered(metered(1, 3)),
        Change::Metered(metered(2, 4)),
        Change::Metered(metered(2, 9)),
    ];
    let requests: Vec<_> = (1..=4).map(|number| (11, request(number), outcome(number))).collect();
    let batch = JobsBatch { changes: &changes, requests: &requests, forgotten: &[request(3)] };
    store.commit_jobs(&batch, &mark(11)).expect("committed");
    store.commit_universe(&[contents(2, 3..8)], &mark(11)).expect("committed");
    store.flush().expect("flushed");
    drop(store);

    let store = again(directory.path());
    let loaded = store.load().expect("loaded");
    assert_eq!(loaded.state.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node1", "other"]);
    assert_eq!((loaded.state.tokens().count(), loaded.state.constellations().count()), (0, 0));
    assert_eq!(loaded.state.revoked().count(), 0);
    assert_eq!(
        (loaded.state.authority_key(&[4; 32]).is_some(), loaded.state.authority_key(&[3; 32])),
        (true, None)
    );
    assert_eq!(loaded.metering, [metered(1, 3), metered(2, 9)]);
    let remembered = [1, 2, 4].map(|number| (11, request(number), outcome(number)));
    assert_eq!(loaded.requests, remembered);
    assert_eq!((store.jobs_mark(), store.universe_mark()), (&mark(11), &mark(11)));
    assert_eq!(store.universe().get().stats().expect("measured").contents, 8);
    assert_eq!(NucleusStore::metering_of(directory.path()).expect("beside"), loaded.metering);
}

#[test]
fn what_was_applied_is_not_applied_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = seeded(directory.path());
    for stale in [mark(10), mark(4), Mark::default()] {
        let changes = [Change::NodeRemoved(id(2))];
        let requests = [(4, request(1), outcome(1))];
        let batch = JobsBatch { changes: &changes, requests: &requests, forgotten: &[] };
        store.commit_jobs(&batch, &stale).expect("passed over");
        store.commit_universe(&[Change::ContentsForgotten(id(1))], &stale).expect("passed over");
    }
    let loaded = store.load().expect("loaded");
    assert_eq!((loaded.state.nodes().count(), loaded.requests.len()), (2, 0));
    // Each database keeps its own position.
    store.commit_universe(&[Change::ContentsForgotten(id(1))], &mark(12)).expect("applied");
    drop(store);
    let store = again(directory.path());
    assert_eq!((store.jobs_mark(), store.universe_mark()), (&mark(10), &mark(12)));
    assert_eq!(store.load().expect("loaded").state.nodes().count(), 2);
}

#[test]
fn a_member_that_is_removed_takes_its_counters_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = seeded(directory.path());
    let changes =
        [Change::Metered(metered(1, 1)), Change::Metered(metered(2, 2)), Change::NodeRemoved(id(2))];
    store
        .commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(11))
        .expect("committed");
    assert_eq!(store.load().expect("loaded").metering, [metered(1, 1)]);
}

#[test]
fn a_learner_begins_with_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(NucleusStore::seed(directory.path(), &[], &[], &Mark::default()).expect("seeded"));
    let store = again(directory.path());
    assert_eq!((store.jobs_mark(), store.universe_mark()), (&Mark::default(), &Mark::default()));
    assert!(store.load().expect("loaded").state.header().is_none());
}

#[test]
fn a_damaged_row_is_never_left_out() {
    for (damage, table) in [
        ("UPDATE grid SET body = x'00' WHERE kind = 5", "grid"),
        ("UPDATE grid SET crc = crc + 1 WHERE kind = 2", "grid"),
        ("UPDATE grid SET key = x'0102' WHERE kind = 4", "grid"),
        ("UPDATE grid SET kind = 3 WHERE kind = 1", "grid"),
        ("UPDATE requests SET entry = entry + 1", "requests"),
        ("UPDATE requests SET body = x'80'", "requests"),
        ("UPDATE applied SET entry = 3", "applied"),
        ("UPDATE applied SET membership = x''", "applied"),
        ("UPDATE applied SET term = NULL", "applied"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = seeded(directory.path());
        let requests = [(11, request(2), outcome(2))];
        store
            .commit_jobs(&JobsBatch { requests: &requests, ..JobsBatch::default() }, &mark(11))
            .expect("committed");
        drop(store);
        sqlite(directory.path(), damage);
        let error = NucleusStore::open(directory.path())
            .and_then(|store| store.expect("there").load().map(drop))
            .expect_err(damage);
        let StoreError::Corrupt { damage: Damage::Row { table: found }, .. } = error else {
            panic!("{damage}: {error:?}")
        };
        assert_eq!(found, table, "{damage}");
    }
}

#[test]
fn contents_that_are_damaged_are_not_left_out_of_a_new_universe() {
    for damage in [
        "UPDATE contents SET crc = crc + 1",
        "UPDATE contents SET holder = x'07'",
        "UPDATE contents SET body = x'00'",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        drop(seeded(directory.path()));
        fs::remove_file(directory.path().join("gen-1/universe_v3.db")).expect("removed");
        sqlite(directory.path(), damage);
        let error = NucleusStore::open(directory.path()).expect_err(damage);
        assert!(
            matches!(error, StoreError::Corrupt { damage: Damage::Row { table: "contents" }, .. }),
            "{damage}: {error:?}"
        );
    }
}

#[test]
fn a_damaged_counter_counts_from_zero_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = seeded(directory.path());
    let changes = [Change::Metered(metered(1, 1)), Change::Metered(metered(2, 2))];
    store
        .commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(11))
        .expect("committed");
    drop(store);
    sqlite(directory.path(), "UPDATE metering SET crc = 7 WHERE node = x'01010101010101010101010101010101'");
    assert_eq!(again(directory.path()).load().expect("loaded").metering, [metered(2, 2)]);
}

#[test]
fn a_universe_that_is_lost_is_built_anew() {
    for lost in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = seeded(directory.path());
        let changes = [contents(2, 3..25_000), Change::ContentsForgotten(id(1)), contents(1, 24_999..25_001)];
        store
            .commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(11))
            .expect("committed");
        store.commit_universe(&changes, &mark(11)).expect("committed");
        drop(store);
        let universe = directory.path().join("gen-1/universe_v3.db");
        if lost {
            fs::remove_file(&universe).expect("removed");
        } else {
            fs::write(&universe, b"redb, but no more").expect("damaged");
        }
        let store = match NucleusStore::open(directory.path()) {
            // What is no database of ours is left alone.
            Err(StoreError::Corrupt { damage: Damage::NotADatabase, .. }) if !lost => continue,
            opened => opened.expect("opened").expect("there"),
        };
        assert_eq!(store.universe_mark(), &mark(11));
        // Contents 0 to 2 lay on the first member only.
        assert_eq!(store.universe().get().stats().expect("measured").contents, 24_998);
    }
}

#[test]
fn databases_that_are_missing_are_not_replaced_by_empty_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(seeded(directory.path()));
    for pointer in
        ["", "gen-1", "gen-01\n", "gen-x\n", "../gen-1\n", "gen-1\ngen-1\n", "gen-99999999999999999999\n"]
    {
        fs::write(directory.path().join("CURRENT"), pointer).expect("written");
        let error = NucleusStore::open(directory.path()).expect_err(pointer);
        assert!(
            matches!(error, StoreError::Corrupt { damage: Damage::Structure, .. }),
            "{pointer:?}: {error:?}"
        );
    }
    fs::write(directory.path().join("CURRENT"), "gen-2\n").expect("written");
    let error = NucleusStore::open(directory.path()).expect_err("there is none");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Missing, .. }), "{error:?}");
    assert!(directory.path().join("gen-1/jobs.db").exists(), "nothing was swept");
    assert!(error.to_string().contains("gen-2/jobs.db is not usable: it is missing"), "{error}");
}
