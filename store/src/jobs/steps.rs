//! Steps of a plan, stored in the order of execution.
//!
//! The table is clustered by (plan, rank, seq), so a driver reads its next steps off neighbouring pages, without a
//! sort. What became of a step is a row of a second, narrow table: marking a step does not rewrite its body, and
//! appending steps keeps one tree up to date instead of two.

use super::plans::key;
use super::{Fault, JobsDb, column, count};
use crate::error::{Damage, StoreError};
use crate::ids::PlanId;
use crate::record::checksum;
use rusqlite::{Row, params};

const DAMAGED: Damage = Damage::Row { table: "steps" };

/// A step to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStep {
    /// Its number, unique in its plan, below 2^63.
    pub seq: u64,
    /// Order of execution: lower first, steps of one rank by `seq`.
    pub rank: i64,
    /// Bytes of content it moves, for progress; below 2^63.
    pub bytes: u64,
    /// What to do; opaque. A few hundred bytes usually, 256 KiB is fine.
    pub body: Vec<u8>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Nothing yet.
    Pending,
    /// It is done.
    Done,
    /// It was tried and failed.
    Failed,
}

/// A step as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// The step.
    pub step: NewStep,
    /// What became of it.
    pub state: StepState,
}

impl StepState {
    const fn from_code(code: Option<i64>) -> Option<Self> {
        Some(match code {
            None => Self::Pending,
            Some(1) => Self::Done,
            Some(2) => Self::Failed,
            Some(_) => return None,
        })
    }
}

impl JobsDb {
    /// Appends steps in one transaction. Batches of a few thousand are fastest; the write-ahead log grows by a
    /// batch's size. Errors: [`PlanNotFound`](StoreError::PlanNotFound), [`OutOfRange`](StoreError::OutOfRange).
    pub fn append_steps(&mut self, plan: PlanId, steps: &[NewStep]) -> Result<(), StoreError> {
        self.write("append steps", |transaction| {
            let plan = key(transaction, plan)?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO steps (plan, rank, seq, bytes, crc, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for step in steps {
                let (seq, bytes) = (column("step number", step.seq)?, column("step size", step.bytes)?);
                let crc = step_crc(plan, step);
                insert.execute(params![plan, step.rank, seq, bytes, crc, step.body])?;
            }
            transaction
                .prepare_cached("UPDATE plans SET step_count = step_count + ?2 WHERE key = ?1")?
                .execute(params![plan, column("number of steps", steps.len() as u64)?])?;
            Ok(())
        })
    }

    /// Up to `limit` steps that are not done, in order of execution, from behind the step `after` (rank, seq).
    ///
    /// A driver passes the last step it got; `None` starts over, which passes by every step that is done.
    /// Errors: [`PlanNotFound`](StoreError::PlanNotFound); [`Corrupt`](StoreError::Corrupt) if a step is damaged.
    pub fn next_steps(
        &self,
        plan: PlanId,
        after: Option<(i64, u64)>,
        limit: usize,
    ) -> Result<Vec<StepRow>, StoreError> {
        let (rank, seq) = match after {
            None => (i64::MIN, -1),
            Some((rank, seq)) => (rank, column("step number", seq)?),
        };
        self.read("read steps", |connection| {
            let plan = key(connection, plan)?;
            let mut statement = connection.prepare_cached(
                "SELECT s.rank, s.seq, s.bytes, s.crc, s.body, t.state
                 FROM steps s LEFT JOIN step_states t ON t.plan = s.plan AND t.seq = s.seq
                 WHERE s.plan = ?1 AND (s.rank, s.seq) > (?2, ?3) AND t.state IS NOT 1
                 ORDER BY s.rank, s.seq LIMIT ?4",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            statement.query_and_then(params![plan, rank, seq, limit], |row| step_row(plan, row))?.collect()
        })
    }

    /// Notes what became of steps, in one transaction. The last mark of a step counts.
    /// Error: [`PlanNotFound`](StoreError::PlanNotFound).
    pub fn mark_steps(&mut self, plan: PlanId, marks: &[(u64, StepState)]) -> Result<(), StoreError> {
        self.write("mark steps", |transaction| {
            let plan = key(transaction, plan)?;
            let mut set = transaction.prepare_cached(
                "INSERT OR REPLACE INTO step_states (plan, seq, state) VALUES (?1, ?2, ?3)",
            )?;
            let mut clear =
                transaction.prepare_cached("DELETE FROM step_states WHERE plan = ?1 AND seq = ?2")?;
            for &(seq, state) in marks {
                let seq = column("step number", seq)?;
                match state {
                    StepState::Pending => clear.execute(params![plan, seq])?,
                    StepState::Done => set.execute(params![plan, seq, 1])?,
                    StepState::Failed => set.execute(params![plan, seq, 2])?,
                };
            }
            Ok(())
        })
    }

    /// Number of steps appended to a plan. A row's checksum cannot tell that a row is gone, so whoever carries out a
    /// plan compares this with the steps it met. Error: [`PlanNotFound`](StoreError::PlanNotFound).
    pub fn step_count(&self, plan: PlanId) -> Result<u64, StoreError> {
        self.read("count steps", |connection| {
            let plan = key(connection, plan)?;
            let mut statement = connection.prepare_cached("SELECT step_count FROM plans WHERE key = ?1")?;
            count(statement.query_row([plan], |row| row.get(0))?, "plans")
        })
    }
}

fn step_row(plan: i64, row: &Row<'_>) -> Result<StepRow, Fault> {
    let step = NewStep {
        rank: row.get(0)?,
        seq: count(row.get(1)?, "steps")?,
        bytes: count(row.get(2)?, "steps")?,
        body: row.get(4)?,
    };
    if row.get::<_, i64>(3)? != i64::from(step_crc(plan, &step)) {
        return Err(Fault::Damage(DAMAGED));
    }
    let state =
        StepState::from_code(row.get(5)?).ok_or(Fault::Damage(Damage::Row { table: "step_states" }))?;
    Ok(StepRow { step, state })
}

fn step_crc(plan: i64, step: &NewStep) -> u32 {
    checksum(&[
        &plan.to_le_bytes(),
        &step.rank.to_le_bytes(),
        &step.seq.to_le_bytes(),
        &step.bytes.to_le_bytes(),
        &step.body,
    ])
}
