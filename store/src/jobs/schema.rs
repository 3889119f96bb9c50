//! The versions of the local `jobs.db` and the way from each to the next.

use crate::sqlite::{Migration, Schema};

/// "ORBJ".
pub(super) const SCHEMA: Schema = Schema { application_id: 0x4f52_424a, migrations: MIGRATIONS };

const MIGRATIONS: &[Migration] = &[
    // 1: runs, plans, steps.
    Migration::Sql(
        "CREATE TABLE runs (
        key INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        command TEXT NOT NULL,
        source BLOB NOT NULL,
        destination BLOB NOT NULL,
        started_ms INTEGER NOT NULL,
        pid INTEGER NOT NULL,
        finished_ms INTEGER,
        state INTEGER,
        summary TEXT
    ) STRICT;
    CREATE TABLE plans (
        key INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL,
        source BLOB NOT NULL,
        destination BLOB NOT NULL,
        options BLOB NOT NULL,
        saved INTEGER NOT NULL,
        totals BLOB,
        step_count INTEGER NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE steps (
        plan INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (plan, rank, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE step_states (
        plan INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        state INTEGER NOT NULL,
        PRIMARY KEY (plan, seq)
    ) STRICT, WITHOUT ROWID;",
    ),
    // 2: checkpoints of staged large files.
    Migration::Sql(
        "CREATE TABLE checkpoints (
        key INTEGER PRIMARY KEY,
        destination_root BLOB NOT NULL,
        path BLOB NOT NULL,
        stage_name BLOB NOT NULL,
        identity BLOB NOT NULL,
        verified_len INTEGER NOT NULL,
        chunk_count INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (destination_root, path)
    ) STRICT;
    CREATE TABLE checkpoint_parts (
        checkpoint INTEGER NOT NULL,
        first INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        records BLOB NOT NULL,
        PRIMARY KEY (checkpoint, first)
    ) STRICT, WITHOUT ROWID;",
    ),
    // 3: the grid's records and the counters of its stars.
    Migration::Sql(
        "CREATE TABLE grid (
        kind INTEGER NOT NULL,
        key BLOB NOT NULL,
        crc INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE metering (
        node BLOB PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;",
    ),
    // 4: the grid's records moved to the group's databases.
    Migration::Code(super::old_grid::drop_if_empty),
];
