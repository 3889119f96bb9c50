//! The versions of `jobs.db` and the way from each to the next.

use super::{Fault, JobsDb};
use crate::error::{Damage, StoreError};
use rusqlite::{Connection, Row};

/// "ORBJ": what tells our file from another SQLite database.
const APPLICATION_ID: i64 = 0x4f52_424a;

/// The step to version `n + 1` is entry `n`. Entries that were published are never edited.
const MIGRATIONS: &[&str] = &[
    // 1: runs, plans, steps.
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
    // 2: checkpoints of staged large files.
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
    // 3: the grid's records and the counters of its stars.
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
];

/// The version this program writes.
const VERSION: usize = MIGRATIONS.len();

impl JobsDb {
    /// Brings the file to [`VERSION`], or refuses it.
    pub(super) fn migrate(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let version = |connection: &Connection| -> Result<usize, Fault> {
            // One statement, so one view: another process may be creating the file right now.
            let sql = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
                       FROM pragma_application_id a, pragma_user_version v";
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (id, found, objects): (i64, i64, i64) = connection.query_row(sql, [], row)?;
            match usize::try_from(found) {
                Ok(0) if id == 0 && objects == 0 => Ok(0),
                Ok(found) if id == APPLICATION_ID && found > 0 => Ok(found),
                _ => Err(Fault::Damage(Damage::Foreign)),
            }
        };
        let found = self.read("read the version", version)?;
        if found == 0 {
            // Lets the file shrink when a large plan is removed; it can only be chosen before the first table.
            self.read("prepare the database", |connection| {
                Ok(connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?)
            })?;
        }
        if found < VERSION {
            self.write("migrate the database", |transaction| {
                // Another process may have been faster.
                let found = version(transaction)?;
                for migration in MIGRATIONS.iter().skip(found) {
                    transaction.execute_batch(migration)?;
                }
                if found < VERSION {
                    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                    transaction.pragma_update(None, "user_version", VERSION as i64)?;
                }
                Ok(())
            })?;
        }
        if found > VERSION {
            return Err(StoreError::NewerVersion { path, found: found as u64, known: VERSION as u64 });
        }
        Ok(())
    }
}
