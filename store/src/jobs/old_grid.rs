//! What an Orbit without a group of voters kept of a grid in the local `jobs.db`: tables `grid` and `metering`. They are
//! read once, when the grid's Nucleus becomes the first voter, and removed then.

use crate::error::StoreError;
use crate::nucleus_store::rows;
use crate::sqlite::{Fault, Sqlite};
use orbit_core::grid::{Change, Metered};
use rusqlite::{Connection, Transaction};
use std::path::Path;

/// The records of a grid, and its members' counters.
pub type OldGrid = (Vec<Change>, Vec<Metered>);

/// The grid's records and its members' counters in the local `jobs.db` at `path`; `None` if there is no grid in it. The
/// file stays as it is, whatever its version. A damaged record is an error, never left out.
pub fn take_over_grid(path: &Path) -> Result<Option<OldGrid>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let database = Sqlite::open_to_read(path)?;
    database.read("read the grid", |connection| {
        if !is_there(connection)? {
            return Ok(None);
        }
        let mut records = connection.prepare("SELECT kind, key, crc, body FROM grid ORDER BY kind, key")?;
        let records: Vec<Change> = records.query_and_then([], rows::record)?.collect::<Result<_, _>>()?;
        let mut counters = connection.prepare("SELECT node, body FROM metering ORDER BY node")?;
        let counters =
            counters.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let counters = counters.filter_map(|row| match row {
            Ok((node, body)) => rows::counters(&node, &body).map(Ok),
            Err(error) => Some(Err(error)),
        });
        let counters = counters.collect::<Result<_, _>>()?;
        Ok((!records.is_empty()).then_some((records, counters)))
    })
}

/// Removes what [`take_over_grid`] read from the local `jobs.db` at `path`, durably.
pub fn forget_taken_over(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    super::JobsDb::open(path)?.0.durably(|database| database.write("remove the old grid", drop_tables))
}

/// The step to version 4. A grid that was not taken over yet stays: any command may open the database first.
pub(super) fn drop_if_empty(transaction: &Transaction<'_>) -> Result<(), Fault> {
    let rows: i64 = transaction.query_row("SELECT count(*) FROM grid", [], |row| row.get(0))?;
    if rows == 0 { drop_tables(transaction) } else { Ok(()) }
}

fn drop_tables(transaction: &Transaction<'_>) -> Result<(), Fault> {
    Ok(transaction.execute_batch("DROP TABLE IF EXISTS grid; DROP TABLE IF EXISTS metering;")?)
}

fn is_there(connection: &Connection) -> Result<bool, Fault> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('grid', 'metering')";
    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))? == 2)
}
