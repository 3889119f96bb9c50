//! Plans: what is to be done between two places. Their steps are in `steps.rs`.

use super::{Fault, JobsDb, count};
use crate::error::{Damage, StoreError};
use crate::ids::{PlanId, prefix_bounds};
use crate::record::checksum;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

const COLUMNS: &str = "id, created_ms, source, destination, options, saved, totals, step_count, crc";
const DAMAGED: Damage = Damage::Row { table: "plans" };
/// Free pages above which removing plans gives space back to the file system (32 MiB).
const FREE_PAGES_KEPT: i64 = 8192;
/// Pages given back in one transaction.
const PORTION: i64 = 1024;

/// A plan that is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPlan {
    /// Its id. People name it by a prefix, so the first digits should differ between plans.
    pub id: PlanId,
    /// Creation, milliseconds since 1970.
    pub created_ms: i64,
    /// The source as bytes that name it.
    pub source: Vec<u8>,
    /// The destination as bytes that name it.
    pub destination: Vec<u8>,
    /// How it is to be carried out; opaque.
    pub options: Vec<u8>,
    /// Whether a user keeps it for later; others are swept by [`JobsDb::prune_unsaved_plans`].
    pub saved: bool,
}

/// A plan as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// What was known when it was begun.
    pub plan: NewPlan,
    /// Its totals, opaque; `None` until it is [sealed](JobsDb::seal_plan), that is complete.
    pub totals: Option<Vec<u8>>,
    /// Number of steps.
    pub step_count: u64,
}

impl JobsDb {
    /// Begins a plan.
    pub fn create_plan(&mut self, plan: &NewPlan) -> Result<(), StoreError> {
        self.write("create a plan", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO plans (id, created_ms, source, destination, options, saved, step_count, crc)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
                )?
                .execute(params![
                    plan.id.as_bytes(),
                    plan.created_ms,
                    plan.source,
                    plan.destination,
                    plan.options,
                    plan.saved,
                    plan_crc(plan, None)
                ])?;
            Ok(())
        })
    }

    /// Notes that all steps are in, with totals that are opaque here.
    /// Error: [`PlanNotFound`](StoreError::PlanNotFound).
    pub fn seal_plan(&mut self, plan: PlanId, totals: &[u8]) -> Result<(), StoreError> {
        self.write("seal a plan", |transaction| {
            let row = find(transaction, plan)?.ok_or_else(|| not_found(plan))?;
            transaction
                .prepare_cached("UPDATE plans SET totals = ?2, crc = ?3 WHERE id = ?1")?
                .execute(params![plan.as_bytes(), totals, plan_crc(&row.plan, Some(totals))])?;
            Ok(())
        })
    }

    /// The plan with this id.
    pub fn plan(&self, id: PlanId) -> Result<Option<PlanRow>, StoreError> {
        self.read("read a plan", |connection| find(connection, id))
    }

    /// The plans users saved, newest first.
    pub fn plans(&self) -> Result<Vec<PlanRow>, StoreError> {
        self.read("list plans", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM plans WHERE saved ORDER BY created_ms DESC, key DESC");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then([], plan_row)?.collect()
        })
    }

    /// The one plan, saved or not, whose id starts with these hexadecimal digits.
    /// Errors: [`PlanNotFound`](StoreError::PlanNotFound), [`PlanAmbiguous`](StoreError::PlanAmbiguous).
    pub fn find_plan(&self, prefix: &str) -> Result<PlanId, StoreError> {
        let found = match prefix_bounds(prefix) {
            None => Vec::new(),
            Some((low, high)) => self.read("look up a plan", |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT id FROM plans WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 2")?;
                let ids = statement.query_map([low, high], |row| row.get(0).map(PlanId::from_bytes))?;
                Ok(ids.collect::<rusqlite::Result<Vec<_>>>()?)
            })?,
        };
        match found[..] {
            [one] => Ok(one),
            [one, other, ..] => {
                Err(StoreError::PlanAmbiguous { prefix: prefix.to_owned(), examples: [one, other] })
            }
            [] => Err(StoreError::PlanNotFound { plan: prefix.to_owned() }),
        }
    }

    /// Forgets a plan and its steps. Error: [`PlanNotFound`](StoreError::PlanNotFound).
    pub fn remove_plan(&mut self, id: PlanId) -> Result<(), StoreError> {
        self.write("remove a plan", |transaction| remove(transaction, key(transaction, id)?))?;
        self.give_space_back()
    }

    /// Forgets plans no user saved that were created before `older_than_ms`; returns how many.
    pub fn prune_unsaved_plans(&mut self, older_than_ms: i64) -> Result<usize, StoreError> {
        let keys = self.read("list unsaved plans", |connection| {
            let mut statement =
                connection.prepare_cached("SELECT key FROM plans WHERE NOT saved AND created_ms < ?1")?;
            let keys = statement.query_map([older_than_ms], |row| row.get(0))?;
            Ok(keys.collect::<rusqlite::Result<Vec<i64>>>()?)
        })?;
        for &key in &keys {
            self.write("remove a plan", |transaction| remove(transaction, key))?;
        }
        self.give_space_back()?;
        Ok(keys.len())
    }

    fn give_space_back(&mut self) -> Result<(), StoreError> {
        self.read("give space back", |connection| {
            let free_pages = || connection.pragma_query_value(None, "freelist_count", |row| row.get(0));
            let mut free: i64 = free_pages()?;
            while free > FREE_PAGES_KEPT {
                // In portions, each a transaction of its own, because every page passes through the log.
                let mut statement =
                    connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PORTION})"))?;
                let mut freed = statement.query([])?;
                while freed.next()?.is_some() {}
                let before = std::mem::replace(&mut free, free_pages()?);
                if free >= before {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// The internal key of a plan, or [`StoreError::PlanNotFound`].
pub(super) fn key(connection: &Connection, id: PlanId) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached("SELECT key FROM plans WHERE id = ?1")?;
    let key = statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    key.ok_or_else(|| not_found(id))
}

fn not_found(id: PlanId) -> Fault {
    Fault::Store(StoreError::PlanNotFound { plan: id.to_string() })
}

fn remove(transaction: &Transaction<'_>, key: i64) -> Result<(), Fault> {
    for sql in [
        "DELETE FROM steps WHERE plan = ?1",
        "DELETE FROM step_states WHERE plan = ?1",
        "DELETE FROM plans WHERE key = ?1",
    ] {
        transaction.execute(sql, [key])?;
    }
    Ok(())
}

fn find(connection: &Connection, id: PlanId) -> Result<Option<PlanRow>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM plans WHERE id = ?1"))?;
    let row = statement.query_row([id.as_bytes()], |row| Ok(plan_row(row))).optional()?;
    row.transpose()
}

fn plan_row(row: &Row<'_>) -> Result<PlanRow, Fault> {
    let plan = NewPlan {
        id: PlanId::from_bytes(row.get(0)?),
        created_ms: row.get(1)?,
        source: row.get(2)?,
        destination: row.get(3)?,
        options: row.get(4)?,
        saved: row.get(5)?,
    };
    let totals: Option<Vec<u8>> = row.get(6)?;
    if row.get::<_, i64>(8)? != i64::from(plan_crc(&plan, totals.as_deref())) {
        return Err(Fault::Damage(DAMAGED));
    }
    Ok(PlanRow { plan, totals, step_count: count(row.get(7)?, "plans")? })
}

fn plan_crc(plan: &NewPlan, totals: Option<&[u8]>) -> u32 {
    let mut parts = vec![&plan.id.as_bytes()[..], &plan.source, &plan.destination, &plan.options];
    let (created, saved) = (plan.created_ms.to_le_bytes(), u64::from(plan.saved).to_le_bytes());
    parts.insert(1, &created);
    parts.push(&saved);
    parts.extend(totals);
    checksum(&parts)
}
