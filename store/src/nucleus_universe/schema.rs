//! Tables and version of the Nucleus's `universe_v3.db`.

use super::run::RunRow;
use crate::error::{Damage, StoreError};
use orbit_core::ContentHash;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};
use std::path::Path;

/// Version and counters.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("nucleus");
/// What was applied.
pub(super) const MARK: TableDefinition<u8, &[u8]> = TableDefinition::new("mark");
/// First half of the root of a content's manifest → its number. Half a root keeps the table small, which is what entering
/// contents costs; whoever looks one up compares the whole root with the row of `contents`.
pub(super) const ROOTS: TableDefinition<RootKey, u64> = TableDefinition::new("roots");
/// Number of a content → what is known of it (`rows.rs`).
pub(super) const CONTENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("contents");
/// Numbers of contents whose chunks are not all there yet.
pub(super) const WANTED: TableDefinition<u64, ()> = TableDefinition::new("wanted");
/// Of those, the ones some of whose chunks are in runs.
pub(super) const BEGUN: TableDefinition<u64, ()> = TableDefinition::new("begun");
/// Number of a holder → its node.
pub(super) const HOLDERS: TableDefinition<u32, [u8; 16]> = TableDefinition::new("holders");
/// Node → its number.
pub(super) const HOLDER_NUMBERS: TableDefinition<[u8; 16], u32> = TableDefinition::new("holder_numbers");
/// Number of a holder, number of a content that it holds.
pub(super) const HOLDINGS: TableDefinition<(u32, u64), ()> = TableDefinition::new("holdings");
/// Numbers of holders that were forgotten and whose holdings are not swept yet.
pub(super) const GONE: TableDefinition<u32, ()> = TableDefinition::new("gone");
/// Number of a run → records, CRC-32 of its fences.
pub(super) const RUNS: TableDefinition<u64, (u64, u32)> = TableDefinition::new("runs");

/// Key of `roots`.
pub(super) type RootKey = [u8; 16];

/// The key of a root.
pub(super) fn root_key(root: &ContentHash) -> RootKey {
    root.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The version this program writes; the file's name says the same.
const VERSION: u64 = 3;
const VERSION_KEY: &str = "version";

/// A counter in `META`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    /// The number of the next content.
    NextContent,
    /// The number of the next holder.
    NextHolder,
    /// Bytes of all contents.
    Bytes,
    /// About how many records of runs belong to no content any more.
    DeadRecords,
}

impl Counter {
    const fn key(self) -> &'static str {
        match self {
            Self::NextContent => "next_content",
            Self::NextHolder => "next_holder",
            Self::Bytes => "bytes",
            Self::DeadRecords => "dead_records",
        }
    }

    /// Its value.
    pub fn get(self, meta: &impl ReadableTable<&'static str, u64>) -> Result<u64, redb::Error> {
        Ok(meta.get(self.key())?.map_or(0, |value| value.value()))
    }

    /// Sets it to what `change` makes of it; returns what it was.
    pub fn change(
        self,
        meta: &mut Table<'_, &'static str, u64>,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<u64, redb::Error> {
        let before = self.get(meta)?;
        let after = change(before);
        if after != before {
            meta.insert(self.key(), after)?;
        }
        Ok(before)
    }
}

/// Makes the tables of a new file, or refuses one that is not ours.
pub(super) fn prepare(database: &Database, path: &Path) -> Result<(), StoreError> {
    let fault = |error: redb::Error| StoreError::redb("open the universe", path, error);
    match version(database).map_err(fault)? {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => {
            Err(StoreError::NewerVersion { path: path.to_owned(), found, known: VERSION })
        }
        Some(_) => Err(StoreError::damaged(path, Damage::Foreign)),
        None => create(database).map_err(fault),
    }
}

/// The version of the file; `None` if it was just created.
fn version(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            Ok(None)
        }
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(Some(0)),
        meta => Ok(Some(meta?.get(VERSION_KEY)?.map_or(0, |version| version.value()))),
    }
}

fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
    make_tables(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Opens each table once, so that readers need not ask whether they exist.
fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(MARK)?;
    transaction.open_table(ROOTS)?;
    transaction.open_table(CONTENTS)?;
    transaction.open_table(WANTED)?;
    transaction.open_table(BEGUN)?;
    transaction.open_table(HOLDERS)?;
    transaction.open_table(HOLDER_NUMBERS)?;
    transaction.open_table(HOLDINGS)?;
    transaction.open_table(GONE)?;
    transaction.open_table(RUNS)?;
    Ok(())
}

/// Empties everything but the numbers already given, which are never given again.
pub(super) fn wipe(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.delete_table(MARK)?;
    transaction.delete_table(ROOTS)?;
    transaction.delete_table(CONTENTS)?;
    transaction.delete_table(WANTED)?;
    transaction.delete_table(BEGUN)?;
    transaction.delete_table(HOLDERS)?;
    transaction.delete_table(HOLDER_NUMBERS)?;
    transaction.delete_table(HOLDINGS)?;
    transaction.delete_table(GONE)?;
    transaction.delete_table(RUNS)?;
    make_tables(transaction)?;
    let mut meta = transaction.open_table(META)?;
    Counter::Bytes.change(&mut meta, |_| 0)?;
    Counter::DeadRecords.change(&mut meta, |_| 0)?;
    Ok(())
}

/// The runs of the table.
pub(super) fn run_rows(database: &Database) -> Result<Vec<(u64, RunRow)>, redb::Error> {
    let runs = database.begin_read()?.open_table(RUNS)?;
    let mut rows = Vec::with_capacity(runs.len()? as usize);
    for row in runs.iter()? {
        let (id, row) = row?;
        let (records, fences_crc) = row.value();
        rows.push((id.value(), RunRow { records, fences_crc }));
    }
    Ok(rows)
}
