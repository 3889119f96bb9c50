//! Tables and version of the Nucleus's `universe_v3.db`, version 4, and what their keys and values are as bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `nucleus` | `"version"`, or the name of a counter | u64 |
//! | `mark` | `0` | what was applied (`rows.rs`) |
//! | `roots` | first half of the root of a content's manifest, 16 bytes | its number, u64 |
//! | `contents` | number of a content, u64 | what is known of it (`rows.rs`) |
//! | `wanted` | number of a content whose chunks are not all there yet, u64 | |
//! | `begun` | of those, the ones some of whose chunks are in runs, u64 | |
//! | `holders` | number of a holder, u32 | its node, 16 bytes |
//! | `holder_numbers` | node, 16 bytes | its number, u32 |
//! | `holdings` | number of a holder, u32; number of a content that it holds, u64 | |
//! | `gone` | number of a holder that was forgotten and whose holdings are not swept yet, u32 | |
//! | `runs` | number of a run, u64 | records, u64; CRC-32 of its fences, u32 |
//!
//! Numbers are big-endian, as keys and as values. Half a root keeps `roots` small, which is what entering contents costs;
//! whoever looks one up compares the whole root with the row of `contents`.

use super::run::RunRow;
use crate::error::{Damage, StoreError};
use crate::table::{BytesTable, Definition, fixed};
use orbit_core::ContentHash;
use orbit_core::ids::NodeId;
use redb::{
    AccessGuard, Database, Range, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageError,
    WriteTransaction,
};
use std::path::Path;

pub(super) const META: Definition = Definition::new("nucleus");
pub(super) const MARK: Definition = Definition::new("mark");
pub(super) const ROOTS: Definition = Definition::new("roots");
pub(super) const CONTENTS: Definition = Definition::new("contents");
pub(super) const WANTED: Definition = Definition::new("wanted");
pub(super) const BEGUN: Definition = Definition::new("begun");
pub(super) const HOLDERS: Definition = Definition::new("holders");
pub(super) const HOLDER_NUMBERS: Definition = Definition::new("holder_numbers");
pub(super) const HOLDINGS: Definition = Definition::new("holdings");
pub(super) const GONE: Definition = Definition::new("gone");
pub(super) const RUNS: Definition = Definition::new("runs");

/// The version this program writes. All tables of version 3 had types of their own, so that redb refuses them as another
/// program's.
const VERSION: u64 = 4;
const VERSION_KEY: &[u8] = b"version";
/// The only key of `MARK`.
pub(super) const MARK_KEY: &[u8] = &[0];
/// The value of tables whose keys say everything.
pub(super) const NOTHING: &[u8] = &[];

/// Key of `roots`.
pub(super) type RootKey = [u8; 16];

/// The key of a root.
pub(super) fn root_key(root: &ContentHash) -> RootKey {
    root.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The number of a content or of a run.
pub(super) fn encode_number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn decode_number(bytes: &[u8]) -> Result<u64, StorageError> {
    fixed(bytes, "a number in the universe").map(u64::from_be_bytes)
}

/// The number that a look into a table brought.
pub(super) fn found_number(
    found: Option<AccessGuard<'_, &'static [u8]>>,
) -> Result<Option<u64>, StorageError> {
    found.map(|number| decode_number(number.value())).transpose()
}

/// The number of a holder.
pub(super) fn encode_holder(holder: u32) -> [u8; 4] {
    holder.to_be_bytes()
}

pub(super) fn decode_holder(bytes: &[u8]) -> Result<u32, StorageError> {
    fixed(bytes, "the number of a holder").map(u32::from_be_bytes)
}

/// The node that is a holder, or its key.
pub(super) fn decode_node(bytes: &[u8]) -> Result<NodeId, StorageError> {
    fixed(bytes, "a node of the universe").map(NodeId::from_bytes)
}

/// Key of `holdings`.
pub(super) fn encode_holding(holder: u32, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&encode_holder(holder));
    key[4..].copy_from_slice(&encode_number(number));
    key
}

/// The number of the content that is held.
pub(super) fn decode_holding(bytes: &[u8]) -> Result<u64, StorageError> {
    let [_, _, _, _, number @ ..] = fixed::<12>(bytes, "a holding")?;
    Ok(u64::from_be_bytes(number))
}

/// What a holder holds, in the order of the numbers of contents.
pub(super) fn holdings_of(
    holdings: &impl ReadableTable<&'static [u8], &'static [u8]>,
    holder: u32,
) -> Result<Range<'_, &'static [u8], &'static [u8]>, StorageError> {
    let (first, last) = (encode_holding(holder, 0), encode_holding(holder, u64::MAX));
    holdings.range(first.as_slice()..=last.as_slice())
}

/// Value of `runs`.
pub(super) fn encode_run(row: RunRow) -> [u8; 12] {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&row.records.to_be_bytes());
    value[8..].copy_from_slice(&row.fences_crc.to_be_bytes());
    value
}

fn decode_run(bytes: &[u8]) -> Result<RunRow, StorageError> {
    let (records, fences_crc) = bytes.split_at_checked(8).unwrap_or_default();
    let records = fixed(records, "the length of a run").map(u64::from_be_bytes)?;
    let fences_crc = fixed(fences_crc, "the checksum of a run").map(u32::from_be_bytes)?;
    Ok(RunRow { records, fences_crc })
}

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
    const fn key(self) -> &'static [u8] {
        match self {
            Self::NextContent => b"next_content",
            Self::NextHolder => b"next_holder",
            Self::Bytes => b"bytes",
            Self::DeadRecords => b"dead_records",
        }
    }

    /// Its value.
    pub fn get(self, meta: &impl ReadableTable<&'static [u8], &'static [u8]>) -> Result<u64, redb::Error> {
        Ok(found_number(meta.get(self.key())?)?.unwrap_or(0))
    }

    /// Sets it to what `change` makes of it; returns what it was.
    pub fn change(
        self,
        meta: &mut BytesTable<'_>,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<u64, redb::Error> {
        let before = self.get(meta)?;
        let after = change(before);
        if after != before {
            meta.insert(self.key(), encode_number(after).as_slice())?;
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
        meta => Ok(Some(found_number(meta?.get(VERSION_KEY)?)?.unwrap_or(0))),
    }
}

fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(VERSION_KEY, encode_number(VERSION).as_slice())?;
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
        rows.push((decode_number(id.value())?, decode_run(row.value())?));
    }
    Ok(rows)
}
