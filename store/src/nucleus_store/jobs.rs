//! [`GroupJobs`]: the replicated `jobs.db`.
//!
//! A transaction is not synced: the log holds what it applied. Only [`flush`](GroupJobs::flush) makes it durable.

use super::rows;
use crate::error::{Damage, StoreError};
use crate::record::checksum;
use crate::sqlite::{Fault, JobsOptions, Migration, Schema, Sqlite};
use crate::{LogPosition, Mark};
use orbit_core::grid::{Change, Content, GridState, Metered, Outcome};
use orbit_core::ids::{NodeId, RequestId};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::path::Path;

/// "ORBN".
const SCHEMA: Schema = Schema { application_id: 0x4f52_424e, migrations: MIGRATIONS };

const MIGRATIONS: &[Migration] = &[
    // 1: everything.
    Migration::Sql(
        "CREATE TABLE grid (
            kind INTEGER NOT NULL,
            key BLOB NOT NULL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (kind, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE metering (
            node BLOB NOT NULL PRIMARY KEY,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE contents (
            key INTEGER PRIMARY KEY,
            holder BLOB NOT NULL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX contents_of ON contents (holder);
        CREATE TABLE requests (
            id BLOB NOT NULL PRIMARY KEY,
            entry INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            body BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE applied (
            id INTEGER PRIMARY KEY CHECK (id = 0),
            term INTEGER,
            entry INTEGER,
            membership BLOB NOT NULL,
            crc INTEGER NOT NULL
        ) STRICT;",
    ),
];

/// Pages (4 KiB) after which the write-ahead log is copied, with a sync, in the middle of an apply. Flushes come first
/// as a rule.
const WAL_PAGES_MAX: i64 = 8192;
/// Pages copied at once.
const PAGES_AT_ONCE: i32 = 1024;

/// What one batch of log entries changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobsBatch<'a> {
    /// Changes in order.
    pub changes: &'a [Change],
    /// Requests to remember, with the index of their entry.
    pub requests: &'a [(u64, RequestId, Outcome)],
    /// Requests to forget, also of those above.
    pub forgotten: &'a [RequestId],
}

/// Everything in the replicated `jobs.db` that is kept in memory.
#[derive(Debug)]
pub struct LoadedGrid {
    /// The grid's state.
    pub state: GridState,
    /// Requests that are remembered, with the index of their entry, oldest first.
    pub requests: Vec<(u64, RequestId, Outcome)>,
    /// Counters of members.
    pub metering: Vec<Metered>,
}

#[derive(Debug)]
pub(super) struct GroupJobs(Sqlite);

impl GroupJobs {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Sqlite::open(path, &SCHEMA, &JobsOptions::default())?;
        database.read("configure the connection", |connection| {
            connection.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES_MAX, |_| Ok(()))?;
            Ok(())
        })?;
        Ok(Self(database))
    }

    /// Opens beside a process or thread that writes, to read.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        Sqlite::open_to_read(path).map(Self)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn close(self) -> Result<(), StoreError> {
        self.0.close()
    }

    pub fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }

    /// What was applied last; nothing in a new database.
    pub fn mark(&self) -> Result<Mark, StoreError> {
        self.0.read("read what was applied", mark)
    }

    /// Applies a batch and its mark in one transaction; nothing if the mark is not after the one that is stored.
    pub fn commit(&mut self, batch: &JobsBatch<'_>, reached: &Mark) -> Result<(), StoreError> {
        self.0.write("apply entries of the log", |transaction| {
            if !reached.is_after(&mark(transaction)?) {
                return Ok(());
            }
            batch.changes.iter().try_for_each(|change| rows::store(transaction, change))?;
            batch.requests.iter().try_for_each(|request| rows::remember(transaction, request))?;
            batch.forgotten.iter().try_for_each(|request| rows::forget(transaction, *request))?;
            put_mark(transaction, reached)
        })
    }

    /// Stores changes without a mark, into a database that nobody reads yet.
    pub fn seed(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.0.write("store the grid", |transaction| {
            changes.iter().try_for_each(|change| rows::store(transaction, change))
        })
    }

    /// Says that `reached` was applied, whatever was said before.
    pub fn set_mark(&mut self, reached: &Mark) -> Result<(), StoreError> {
        self.0.write("set what was applied", |transaction| put_mark(transaction, reached))
    }

    /// Reads all of it but the contents. A damaged row is an error, never left out, counters excepted.
    pub fn load(&self) -> Result<LoadedGrid, StoreError> {
        let metering = self.metering()?;
        self.0.read("load the grid", |connection| {
            let mut state = GridState::default();
            let mut records =
                connection.prepare("SELECT kind, key, crc, body FROM grid ORDER BY kind, key")?;
            for change in records.query_and_then([], rows::record)? {
                state.absorb(change?);
            }
            let mut requests =
                connection.prepare("SELECT id, entry, crc, body FROM requests ORDER BY entry, id")?;
            let requests = requests.query_and_then([], rows::request)?.collect::<Result<_, _>>()?;
            Ok(LoadedGrid { state, requests, metering })
        })
    }

    /// Counters of members.
    pub fn metering(&self) -> Result<Vec<Metered>, StoreError> {
        self.0.read("read counters", |connection| {
            let mut rows = connection.prepare("SELECT node, crc, body FROM metering ORDER BY node")?;
            let rows = rows.query_and_then([], rows::checked_counters)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// All contents, in the order they came; some may come twice.
    pub fn contents(&self) -> Contents<'_> {
        Contents { jobs: self, holder: None, row: Vec::new().into_iter(), after: Some(i64::MIN) }
    }

    /// The first row of contents behind `after`, with its key.
    fn contents_after(&self, after: i64) -> Result<Option<(i64, NodeId, Vec<Content>)>, StoreError> {
        self.0.read("read contents", |connection| {
            let sql = "SELECT holder, crc, body, key FROM contents WHERE key > ?1 ORDER BY key LIMIT 1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut row = statement.query([after])?;
            let Some(row) = row.next()? else { return Ok(None) };
            let (holder, contents) = rows::contents(row)?;
            Ok(Some((row.get(3)?, holder, contents)))
        })
    }

    /// Holds on to the database as it is now, until this is dropped.
    pub fn begin_view(&self) -> Result<(), StoreError> {
        self.0.read("take a view of the database", |connection| {
            connection.execute_batch("BEGIN")?;
            // The view is taken with the first read.
            mark(connection).map(drop)
        })
    }

    /// Copies what this view shows to a new database at `path`.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        crate::private_file::create(path)?;
        let fault = |error| StoreError::sql("copy the database", path, error);
        let mut copy = Connection::open(path).map_err(fault)?;
        self.0.read("copy the database", |connection| {
            let backup = Backup::new(connection, &mut copy)?;
            loop {
                match backup.step(PAGES_AT_ONCE)? {
                    StepResult::Done => return Ok(()),
                    StepResult::More => {}
                    // Nobody else has the copy, and a view is never locked.
                    _ => std::thread::sleep(std::time::Duration::from_millis(1)),
                }
            }
        })?;
        copy.close().map_err(|(_, error)| fault(error))
    }
}

/// Contents, a row of them at a time. Ends after the first error.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    jobs: &'a GroupJobs,
    holder: Option<NodeId>,
    row: std::vec::IntoIter<Content>,
    /// Key of the row; `None`: there is no other.
    after: Option<i64>,
}

impl Iterator for Contents<'_> {
    type Item = Result<(NodeId, Content), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (Some(holder), Some(content)) = (self.holder, self.row.next()) {
                return Some(Ok((holder, content)));
            }
            match self.jobs.contents_after(self.after.take()?) {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some((key, holder, contents))) => {
                    (self.after, self.holder, self.row) = (Some(key), Some(holder), contents.into_iter());
                }
            }
        }
    }
}

fn mark(connection: &Connection) -> Result<Mark, Fault> {
    const DAMAGED: Fault = Fault::Damage(Damage::Row { table: "applied" });
    let row = connection
        .prepare_cached("SELECT term, entry, membership, crc FROM applied")?
        .query_row([], |row| {
            let (term, entry): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok((term, entry, row.get::<_, Vec<u8>>(2)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    let Some((term, entry, membership, crc)) = row else { return Ok(Mark::default()) };
    let position = match (term, entry) {
        (None, None) => None,
        (Some(term), Some(entry)) => Some(LogPosition { term: term as u64, index: entry as u64 }),
        _ => return Err(DAMAGED),
    };
    let mark = Mark { position, membership };
    if crc == i64::from(mark_crc(&mark)) { Ok(mark) } else { Err(DAMAGED) }
}

fn put_mark(transaction: &Transaction<'_>, mark: &Mark) -> Result<(), Fault> {
    let position = mark.position;
    let (term, entry) = (position.map(|at| at.term as i64), position.map(|at| at.index as i64));
    transaction
        .prepare_cached(
            "INSERT INTO applied (id, term, entry, membership, crc) VALUES (0, ?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET term = ?1, entry = ?2, membership = ?3, crc = ?4",
        )?
        .execute(params![term, entry, mark.membership, mark_crc(mark)])?;
    Ok(())
}

fn mark_crc(mark: &Mark) -> u32 {
    let position = mark.position.map(|at| [at.term.to_le_bytes(), at.index.to_le_bytes()]);
    checksum(&[position.as_ref().map_or(&[], |position| position.as_flattened()), &mark.membership])
}
