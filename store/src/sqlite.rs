//! [`Sqlite`]: a SQLite database of ours, opened, migrated, checked and written the same way whatever is in it.

use crate::error::{Damage, StoreError};
use crate::private_file;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Page cache of one connection. Steps are read and written in order, so more would not be faster.
const CACHE_KIB: i64 = 4096;
/// The write-ahead log is cut back to this many bytes whenever it was copied into the database.
const WAL_BYTES_MAX: i64 = 4 << 20;
/// A check after an unclean close reads the whole file, so it is left out above this size unless asked for.
const UNASKED_CHECK_BYTES_MAX: u64 = 16 << 20;
const STATEMENTS_CACHED: usize = 32;

/// What a database of ours is.
#[derive(Debug)]
pub(crate) struct Schema {
    /// What tells it from another SQLite database.
    pub application_id: i64,
    /// The step to version `n + 1` is entry `n`. Entries that were published are never edited.
    pub migrations: &'static [Migration],
}

/// The way from one version to the next.
#[derive(Debug)]
pub(crate) enum Migration {
    Sql(&'static str),
    Code(fn(&Transaction<'_>) -> Result<(), Fault>),
}

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct JobsOptions {
    /// When the structure of the file is verified.
    pub check: Check,
    /// How long an operation waits for another process before it reports [`StoreError::Locked`].
    pub patience: Duration,
}

/// When the structure of the file is verified at opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// If a write-ahead log was left behind, and the file is small (16 MiB): milliseconds.
    AfterUncleanClose,
    /// Always; reads the whole file.
    Always,
}

impl Default for JobsOptions {
    fn default() -> Self {
        Self { check: Check::AfterUncleanClose, patience: Duration::from_secs(5) }
    }
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    /// Opens the database at `path`, created (0600, its directory 0700) or migrated if need be.
    pub fn open(path: &Path, schema: &Schema, options: &JobsOptions) -> Result<Self, StoreError> {
        private_file::create(path)?;
        let unclean = left_unclean(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|error| StoreError::sql("open the database", path, error))?;
        let mut this = Self { connection, path: path.to_owned() };
        this.configure(options.patience)?;
        this.migrate(schema)?;
        this.write_ahead(options.patience)?;
        let check = match options.check {
            Check::Always => true,
            Check::AfterUncleanClose => unclean && file_len(path) <= UNASKED_CHECK_BYTES_MAX,
        };
        if check {
            this.check_structure()?;
        }
        Ok(this)
    }

    /// A database that lives and dies with this value.
    pub fn in_memory(schema: &Schema) -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory()
            .map_err(|error| StoreError::sql("open the database", &path, error))?;
        let mut this = Self { connection, path };
        this.configure(Duration::ZERO)?;
        this.migrate(schema)?;
        Ok(this)
    }

    /// Opens a database that is there, as it is, to read from it. Others may write meanwhile.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|error| StoreError::sql("open the database", path, error))?;
        let this = Self { connection, path: path.to_owned() };
        this.configure(JobsOptions::default().patience)?;
        this.read("configure the connection", |connection| {
            Ok(connection.pragma_update(None, "query_only", true)?)
        })?;
        Ok(this)
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the database and reports what dropping would swallow. The last one to close leaves no write-ahead log
    /// behind.
    pub fn close(self) -> Result<(), StoreError> {
        self.connection.close().map_err(|(_, error)| StoreError::sql("close the database", &self.path, error))
    }

    /// Makes all that was written so far survive a power cut.
    pub fn flush(&self) -> Result<(), StoreError> {
        // A reader may hold back all copying, and then SQLite does not even sync the log.
        sync_log(&self.path)?;
        self.read("flush the database", |connection| {
            // The row says how far the copying came; what counts is that the log is synced.
            Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
        })
    }

    /// Runs a write that is on the disk when it returns.
    pub fn durably<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.set_durability("FULL")?;
        let result = write(self);
        self.set_durability("NORMAL")?;
        result
    }

    fn set_durability(&self, level: &str) -> Result<(), StoreError> {
        self.read("set the durability", |connection| {
            Ok(connection.pragma_update(None, "synchronous", level)?)
        })
    }

    fn configure(&self, patience: Duration) -> Result<(), StoreError> {
        self.read("configure the connection", |connection| {
            connection.busy_timeout(patience)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
            // A crafted file must not run functions or rewrite the schema under our feet.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            Ok(())
        })
    }

    /// Turns write-ahead logging on. Only a new file takes the exclusive lock this needs, and SQLite does not wait
    /// for it by itself.
    fn write_ahead(&self, patience: Duration) -> Result<(), StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            let result = self.read("turn on write-ahead logging", |connection| {
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
                connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_MAX, |_| Ok(()))?;
                Ok(())
            });
            match result {
                Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return result,
            }
        }
    }

    fn check_structure(&self) -> Result<(), StoreError> {
        self.read("check the database", |connection| {
            let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if verdict == "ok" {
                return Ok(());
            }
            tracing::warn!(path = %self.path.display(), verdict, "database check failed");
            Err(Fault::Damage(Damage::Structure))
        })
    }

    pub fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        body(&self.connection).map_err(|fault| fault.at(operation, &self.path))
    }

    /// Runs `body` in a transaction that is committed if it succeeds. It takes the write lock at once: one that
    /// takes it later cannot wait for another process.
    pub fn write<T>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let connection = &mut self.connection;
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = body(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault: Fault| fault.at(operation, &self.path))
    }

    /// Brings the file to the newest version, or refuses it.
    fn migrate(&mut self, schema: &Schema) -> Result<(), StoreError> {
        let path = self.path.clone();
        let newest = schema.migrations.len();
        let version = |connection: &Connection| -> Result<usize, Fault> {
            // One statement, so one view: another process may be creating the file right now.
            let sql = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
                       FROM pragma_application_id a, pragma_user_version v";
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (id, found, objects): (i64, i64, i64) = connection.query_row(sql, [], row)?;
            match usize::try_from(found) {
                Ok(0) if id == 0 && objects == 0 => Ok(0),
                Ok(found) if id == schema.application_id && found > 0 => Ok(found),
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
        if found < newest {
            self.write("migrate the database", |transaction| {
                // Another process may have been faster.
                let found = version(transaction)?;
                for migration in schema.migrations.iter().skip(found) {
                    match migration {
                        Migration::Sql(sql) => transaction.execute_batch(sql)?,
                        Migration::Code(code) => code(transaction)?,
                    }
                }
                if found < newest {
                    transaction.pragma_update(None, "application_id", schema.application_id)?;
                    transaction.pragma_update(None, "user_version", newest as i64)?;
                }
                Ok(())
            })?;
        }
        if found > newest {
            return Err(StoreError::NewerVersion { path, found: found as u64, known: newest as u64 });
        }
        Ok(())
    }
}

/// What may go wrong inside an operation, before its name and the path are known.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Damage(Damage),
    Store(StoreError),
}

impl Fault {
    pub fn at(self, operation: &'static str, path: &Path) -> StoreError {
        match self {
            Self::Sql(error) => StoreError::sql(operation, path, error),
            Self::Damage(damage) => StoreError::damaged(path, damage),
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// SQLite's integers are signed; what is counted here never comes near the limit.
pub(crate) fn column(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::OutOfRange { what, value })
}

/// A count read back. A negative one was never written.
pub(crate) fn count(value: i64, table: &'static str) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| Fault::Damage(Damage::Row { table }))
}

/// Whether a write-ahead log lies beside `path`: the last process did not close it, or another has it open.
fn left_unclean(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    file_len(Path::new(&log)) > 0
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Syncs the write-ahead log of the database at `path`, if there is one. Opening and closing it does not disturb SQLite,
/// which locks other files.
fn sync_log(path: &Path) -> Result<(), StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    let synced = std::fs::File::open(log).and_then(|file| file.sync_data());
    match synced {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("sync", log, error)),
        Ok(()) => path.parent().map_or(Ok(()), private_file::sync_directory),
    }
}
