//! The grid's records in `jobs.db`.

use orbit_core::grid::{
    Anchor, CertificateRecord, Change, Constellation, GridHeader, NodeRecord, Profile, Role, TokenRecord,
    Voting,
};
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial, TokenId};
use orbit_core::wire::pulse::Metering;
use orbit_store::{Damage, JobsDb, MeteringRow, StoreError};
use rusqlite::Connection;
use std::path::Path;

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn node(number: u8) -> NodeRecord {
    NodeRecord {
        id: id(number),
        name: format!("node{number}"),
        key: PeerKey::from_bytes([number; 32]),
        role: Role::Star,
        joined_ms: 5,
        voting: Voting::Auto,
        is_draining: false,
        certificate: CertificateRecord {
            serial: Serial::from_bytes([number; 16]),
            request_hash: [number; 32],
            authority: [8; 32],
            der: vec![1, 2, 3],
            not_before_ms: 1,
            not_after_ms: 2,
        },
        profile: Profile { allowed_paths: vec!["/data".into()], ..Profile::default() },
    }
}

fn everything() -> Vec<Change> {
    vec![
        Change::Header(GridHeader {
            id: GridId::from_bytes([1; 16]),
            name: "home".into(),
            epoch: 1,
            created_ms: 3,
        }),
        Change::Anchors(vec![Anchor {
            der: vec![7; 400],
            cross_signed: Vec::new(),
            created_ms: 3,
            is_current: true,
        }]),
        Change::Node(node(1)),
        Change::Node(node(2)),
        Change::Token(TokenRecord {
            id: TokenId::from_bytes([4; 6]),
            secret_hash: [5; 32],
            authority: [8; 32],
            role: Role::Witness,
            uses: 3,
            used_by: vec![[6; 32]],
            created_ms: 1,
            expires_ms: 2,
            created_on: id(1),
        }),
        Change::Constellation(Constellation { name: "attic".into(), nodes: [id(1), id(2)].into() }),
        Change::Revoked {
            serial: Serial::from_bytes([9; 16]),
            key: PeerKey::from_bytes([9; 32]),
            until_ms: 8,
        },
    ]
}

fn sqlite(path: &Path, sql: &str) {
    Connection::open(path).expect("a database").execute_batch(sql).expect("valid SQL");
}

#[test]
fn what_was_stored_is_loaded_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    let mut jobs = JobsDb::open(&path).expect("created");
    assert!(jobs.load_grid().expect("loaded").header().is_none(), "no grid yet");
    jobs.store_changes(&everything()).expect("stored");
    let renamed = NodeRecord { name: "other".into(), ..node(2) };
    jobs.store_changes(&[Change::Node(renamed)]).expect("stored over");
    jobs.close().expect("closed");

    let jobs = JobsDb::open(&path).expect("opened again");
    let state = jobs.load_grid().expect("loaded");
    assert_eq!(state.header().map(|header| header.name.as_str()), Some("home"));
    assert_eq!((state.anchors().len(), state.tokens().count(), state.constellations().count()), (1, 1, 1));
    assert_eq!(state.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node1", "other"]);
    assert_eq!(state.revoked().collect::<Vec<_>>(), [Serial::from_bytes([9; 16])]);
}

#[test]
fn what_was_removed_stays_away() {
    let mut jobs = JobsDb::in_memory().expect("in memory");
    jobs.store_changes(&everything()).expect("stored");
    let gone = [
        Change::ConstellationRemoved("attic".into()),
        Change::NodeRemoved(id(2)),
        Change::TokenRemoved(TokenId::from_bytes([4; 6])),
        Change::RevocationForgotten(Serial::from_bytes([9; 16])),
    ];
    jobs.store_changes(&gone).expect("stored");
    let state = jobs.load_grid().expect("loaded");
    assert_eq!(state.nodes().count(), 1);
    assert_eq!((state.tokens().count(), state.constellations().count(), state.revoked().count()), (0, 0, 0));
    jobs.forget_grid().expect("forgotten");
    assert!(jobs.load_grid().expect("loaded").header().is_none());
}

#[test]
fn a_damaged_record_is_never_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    for damage in [
        "UPDATE grid SET body = x'00' WHERE kind = 5",
        "UPDATE grid SET crc = crc + 1 WHERE kind = 2",
        "UPDATE grid SET key = x'0102' WHERE kind = 4",
        "UPDATE grid SET kind = 3 WHERE kind = 1",
    ] {
        let mut jobs = JobsDb::open(&path).expect("opened");
        jobs.forget_grid().expect("forgotten");
        jobs.store_changes(&everything()).expect("stored");
        jobs.close().expect("closed");
        sqlite(&path, damage);
        let error = JobsDb::open(&path).expect("opened").load_grid().expect_err(damage);
        assert!(
            matches!(error, StoreError::Corrupt { damage: Damage::Row { table: "grid" }, .. }),
            "{damage}: {error:?}"
        );
    }
}

#[test]
fn version_2_is_migrated_and_keeps_its_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("jobs.db");
    let mut jobs = JobsDb::open(&path).expect("created");
    jobs.begin_run(&crate::sample::run(1)).expect("stored");
    jobs.close().expect("closed");
    sqlite(&path, "DROP TABLE grid; DROP TABLE metering; PRAGMA user_version = 2");
    let mut jobs = JobsDb::open(&path).expect("migrated");
    assert_eq!(jobs.recent_runs(5).expect("read").len(), 1);
    jobs.store_changes(&everything()).expect("a table of version 3");
}

#[test]
fn counters_are_kept_with_what_of_a_process_is_in_them() {
    let mut jobs = JobsDb::in_memory().expect("in memory");
    let row = |number, calls| MeteringRow {
        node: id(number),
        total: Metering { calls: calls + 100, ..Metering::default() },
        counted: Metering { since_ms: 77, calls, bytes_sent: u64::MAX, ..Metering::default() },
    };
    jobs.put_metering(&[row(1, 3), row(2, 1)]).expect("kept");
    jobs.put_metering(&[row(1, 7)]).expect("kept in place of the first");
    let mut all = jobs.all_metering().expect("read");
    all.sort_by_key(|row| row.node);
    assert_eq!(all, [row(1, 7), row(2, 1)]);
}
