//! Tables and versions of `universe_v3.db`. What keys and values of `files` and `chunks` are as bytes: `record.rs`.

use crate::error::StoreError;
use crate::table::{Definition, fixed};
use redb::{Database, ReadTransaction, TableDefinition, TableHandle, WriteTransaction};
use std::path::Path;

pub(super) const META: Definition = Definition::new("meta");
pub(super) const FILES: Definition = Definition::new("files");
pub(super) const CHUNKS: Definition = Definition::new("chunks");

/// `META` up to version 3.
const META_BEFORE_4: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The version this program writes. The file's name stays: whoever has one of version 3 has one file, not two.
const VERSION: u64 = 4;
const VERSION_KEY: &str = "version";

type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The step *from* each older version. Entries that were published are never edited.
const MIGRATIONS: &[(u64, Migration)] = &[(1, forget), (2, forget), (3, begin_anew)];

/// Brings the file to [`VERSION`], or refuses it.
pub(super) fn migrate(database: &Database, path: &Path) -> Result<(), StoreError> {
    let fault = |error: redb::Error| StoreError::redb("migrate the universe", path, error);
    match current(database).map_err(fault)? {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => {
            Err(StoreError::NewerVersion { path: path.to_owned(), found, known: VERSION })
        }
        found => run(database, found).map_err(fault),
    }
}

/// The version of the file; `None` if it was just created.
fn current(database: &Database) -> Result<Option<u64>, redb::Error> {
    use redb::ReadableDatabase;
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Err(redb::TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            Ok(None)
        }
        // Version 0 was never ours: it has no migration, so what is there stays untouched.
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(Some(0)),
        Err(redb::TableError::TableTypeMismatch { .. }) => version_before_4(&transaction).map(Some),
        meta => {
            let Some(version) = meta?.get(VERSION_KEY.as_bytes())? else { return Ok(Some(0)) };
            Ok(Some(fixed(version.value(), "the version").map(u64::from_le_bytes)?))
        }
    }
}

/// The version of a file whose tables have types of their own; 0 if it was never ours.
fn version_before_4(transaction: &ReadTransaction) -> Result<u64, redb::Error> {
    let version = transaction.open_table(META_BEFORE_4)?.get(VERSION_KEY)?;
    Ok(version.map(|version| version.value()).filter(|&version| version < 4).unwrap_or(0))
}

fn run(database: &Database, found: Option<u64>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    if let Some(found) = found {
        let start = MIGRATIONS.iter().position(|&(from, _)| from == found);
        let Some(start) = start else { return Err(redb::Error::UpgradeRequired(0)) };
        for (_, migration) in &MIGRATIONS[start..] {
            migration(&transaction)?;
        }
    }
    transaction.open_table(META)?.insert(VERSION_KEY.as_bytes(), VERSION.to_le_bytes().as_slice())?;
    // Created here, so that readers need not ask whether they exist.
    transaction.open_table(FILES)?;
    transaction.open_table(CHUNKS)?;
    transaction.commit()?;
    Ok(())
}

/// The table of the version has another type, too.
fn begin_anew(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    forget(transaction)?;
    transaction.delete_table(META_BEFORE_4)?;
    Ok(())
}

/// A cache may start over: drops every table but the version's.
fn forget(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let tables: Vec<_> = transaction.list_tables()?.collect();
    for table in tables.into_iter().filter(|table| table.name() != META.name()) {
        transaction.delete_table(table)?;
    }
    Ok(())
}
