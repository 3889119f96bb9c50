//! Tables and versions of `universe_v3.db`.

use super::record::{FILE_KEY_LEN, FILE_LEN};
use crate::error::StoreError;
use redb::{Database, TableDefinition, TableHandle, WriteTransaction};
use std::path::Path;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub(super) const FILES: TableDefinition<[u8; FILE_KEY_LEN], [u8; FILE_LEN]> = TableDefinition::new("files");
pub(super) const CHUNKS: TableDefinition<[u8; FILE_KEY_LEN + 4], &[u8]> = TableDefinition::new("chunks");

/// The version this program writes; the file's name says the same.
const VERSION: u64 = 3;
const VERSION_KEY: &str = "version";

type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// The step *from* each older version. Entries that were published are never edited.
const MIGRATIONS: &[(u64, Migration)] = &[(1, forget), (2, forget)];

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
        meta => Ok(Some(meta?.get(VERSION_KEY)?.map_or(0, |version| version.value()))),
    }
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
    transaction.open_table(META)?.insert(VERSION_KEY, VERSION)?;
    // Created here, so that readers need not ask whether they exist.
    transaction.open_table(FILES)?;
    transaction.open_table(CHUNKS)?;
    transaction.commit()?;
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
