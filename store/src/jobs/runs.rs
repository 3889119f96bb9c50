//! Runs: which command was started when, and how it ended. For people; nothing is decided by them.

use super::{Fault, JobsDb};
use crate::error::{Damage, StoreError};
use crate::ids::RunId;
use rusqlite::{OptionalExtension, Row, params};

/// Older runs are forgotten.
const RUNS_KEPT: i64 = 200;
const COLUMNS: &str = "id, command, source, destination, started_ms, pid, finished_ms, state, summary";

/// A run that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The command, as people would type it.
    pub command: String,
    /// The source as bytes that name it.
    pub source: Vec<u8>,
    /// The destination as bytes that name it.
    pub destination: Vec<u8>,
    /// Start, milliseconds since 1970.
    pub started_ms: i64,
    /// The process.
    pub pid: u32,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// All was done.
    Done,
    /// Some files were not.
    Partial,
    /// It gave up.
    Failed,
    /// It was stopped by a signal.
    Interrupted,
}

/// A run as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// What was known at its start.
    pub run: NewRun,
    /// End, milliseconds since 1970; `None` while it runs, and for ever if its process was killed.
    pub finished_ms: Option<i64>,
    /// How it ended; `None` as above.
    pub state: Option<RunState>,
    /// Its summary as JSON; `None` as above.
    pub summary_json: Option<String>,
}

impl RunState {
    const fn code(self) -> i64 {
        match self {
            Self::Done => 1,
            Self::Partial => 2,
            Self::Failed => 3,
            Self::Interrupted => 4,
        }
    }

    const fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            1 => Self::Done,
            2 => Self::Partial,
            3 => Self::Failed,
            4 => Self::Interrupted,
            _ => return None,
        })
    }
}

impl JobsDb {
    /// Notes that a run starts, and forgets all but the newest 200.
    pub fn begin_run(&mut self, run: &NewRun) -> Result<(), StoreError> {
        self.write("record the start of a run", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO runs (id, command, source, destination, started_ms, pid)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    run.id.as_bytes(),
                    run.command,
                    run.source,
                    run.destination,
                    run.started_ms,
                    run.pid
                ])?;
            transaction
                .prepare_cached(
                    "DELETE FROM runs WHERE key NOT IN
                     (SELECT key FROM runs ORDER BY started_ms DESC, key DESC LIMIT ?1)",
                )?
                .execute([RUNS_KEPT])?;
            Ok(())
        })
    }

    /// Notes how a run ended. Error: [`RunNotFound`](StoreError::RunNotFound), also if 200 newer ones came since.
    pub fn finish_run(
        &mut self,
        id: RunId,
        finished_ms: i64,
        state: RunState,
        summary_json: &str,
    ) -> Result<(), StoreError> {
        self.write("record the end of a run", |transaction| {
            let changed = transaction
                .prepare_cached("UPDATE runs SET finished_ms = ?2, state = ?3, summary = ?4 WHERE id = ?1")?
                .execute(params![id.as_bytes(), finished_ms, state.code(), summary_json])?;
            if changed == 0 { Err(StoreError::RunNotFound { run: id }.into()) } else { Ok(()) }
        })
    }

    /// The last `limit` runs, newest first.
    pub fn recent_runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        self.read("list runs", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM runs ORDER BY started_ms DESC, key DESC LIMIT ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_and_then([limit], run_row)?.collect()
        })
    }

    /// The run from `source` to `destination` that finished last, however it ended.
    pub fn last_finished_run(&self, source: &[u8], destination: &[u8]) -> Result<Option<RunRow>, StoreError> {
        self.read("look up the last run", |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM runs
                 WHERE source = ?1 AND destination = ?2 AND finished_ms IS NOT NULL
                 ORDER BY finished_ms DESC, key DESC LIMIT 1"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let row = statement.query_row([source, destination], |row| Ok(run_row(row))).optional()?;
            row.transpose()
        })
    }
}

fn run_row(row: &Row<'_>) -> Result<RunRow, Fault> {
    let state = match row.get::<_, Option<i64>>(7)? {
        None => None,
        Some(code) => Some(RunState::from_code(code).ok_or(Fault::Damage(Damage::Row { table: "runs" }))?),
    };
    Ok(RunRow {
        run: NewRun {
            id: RunId::from_bytes(row.get(0)?),
            command: row.get(1)?,
            source: row.get(2)?,
            destination: row.get(3)?,
            started_ms: row.get(4)?,
            pid: row.get(5)?,
        },
        finished_ms: row.get(6)?,
        state,
        summary_json: row.get(8)?,
    })
}
