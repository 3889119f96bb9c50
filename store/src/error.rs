//! [`StoreError`]: everything that can go wrong with a database, with the operation and the object named.

use crate::ids::PlanId;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// The cause of an error as the database library reported it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an operation on one of the two databases failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file or its directory could not be created, opened or read.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// File or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process (or another handle of this one) holds the database, and did so for the whole waiting time.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be written: its permissions or its file system forbid it.
    #[error("{} is read-only", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left for {}", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The file is not a sound database of ours.
    #[error("{} is not usable: {damage}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
        /// What the database library said, if it noticed.
        source: Option<Cause>,
    },
    /// The file was written by a newer Orbit.
    #[error("{} has version {found}, newer than {known}, the newest this program knows", path.display())]
    NewerVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version this program knows.
        known: u64,
    },
    /// The database library refused for another reason.
    #[error("cannot {operation} in {}", path.display())]
    Database {
        /// What was tried, as a verb with its object.
        operation: &'static str,
        /// The database.
        path: PathBuf,
        /// What the database library said.
        source: Cause,
    },
    /// No plan has this id, or an id that starts like this.
    #[error("no plan {plan}")]
    PlanNotFound {
        /// The id or prefix that was asked for.
        plan: String,
    },
    /// Several plans have an id that starts like this.
    #[error("several plans start with {prefix}")]
    PlanAmbiguous {
        /// The prefix that was asked for.
        prefix: String,
        /// Two of them.
        examples: [PlanId; 2],
    },
    /// No run has this id.
    #[error("no run {run}")]
    RunNotFound {
        /// The id that was asked for.
        run: crate::ids::RunId,
    },
    /// Chunks were offered that do not continue the stored checkpoint.
    #[error(
        "the checkpoint holds {stored} chunks of this version of the file; chunks from {offered} do not continue it"
    )]
    CheckpointGap {
        /// Chunks stored of the same staged file and source version (0 if there are none).
        stored: u64,
        /// Index of the first chunk offered.
        offered: u64,
    },
    /// There are databases already where new ones should be made.
    #[error("{} holds the records of a grid already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A snapshot that was offered cannot be taken.
    #[error("a snapshot was refused: {what}")]
    SnapshotRefused {
        /// Why.
        what: &'static str,
    },
    /// Entries were offered that do not follow the last one of the log.
    #[error("the log goes on with entry {expected}, not with {offered}")]
    LogGap {
        /// Index of the next entry.
        expected: u64,
        /// Index of the entry that was offered.
        offered: u64,
    },
    /// A write or a sync of the log failed before, so nobody knows what of it is on the disk.
    #[error("the log in {} takes nothing more since it could not be written: it has to be opened again", path.display())]
    Poisoned {
        /// The log.
        path: PathBuf,
    },
    /// A number does not fit into its column.
    #[error("{what} {value} is out of range")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

/// What is wrong with a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is not a database at all.
    #[error("it is not a database")]
    NotADatabase,
    /// It is a database of another program. It must not be deleted to mend matters.
    #[error("it belongs to another program")]
    Foreign,
    /// Its pages contradict each other.
    #[error("its structure is damaged")]
    Structure,
    /// A row does not agree with its checksum or its type.
    #[error("a row of `{table}` is damaged")]
    Row {
        /// The table.
        table: &'static str,
    },
    /// It is not there, though something says that it is.
    #[error("it is missing")]
    Missing,
    /// It is no snapshot, or a damaged one.
    #[error("{what}")]
    Snapshot {
        /// What was found.
        what: &'static str,
    },
    /// The log of the group lost what this node had acknowledged. Going on without would make it vote and answer as if
    /// it had never known.
    #[error(
        "at byte {offset} {what}. This node cannot go on with its log: remove it from the grid and let it join again"
    )]
    Log {
        /// What was found.
        what: &'static str,
        /// Where in the file.
        offset: u64,
    },
}

impl StoreError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull => Self::Full { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { operation, path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, damage: Damage) -> Self {
        Self::Corrupt { path: path.to_owned(), damage, source: None }
    }

    /// Sorts what SQLite said.
    pub(crate) fn sql(operation: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::{Error as Sql, ErrorCode as Code};
        let path = path.to_owned();
        let damage = match &source {
            // Columns are declared STRICT, so a value of another type was put there by a fault.
            Sql::InvalidColumnType(..)
            | Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::Utf8Error(..) => Damage::Structure,
            _ => match source.sqlite_error_code() {
                Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed) => {
                    return Self::Locked { path };
                }
                Some(Code::ReadOnly) => return Self::ReadOnly { path },
                Some(Code::DiskFull) => return Self::Full { path },
                Some(Code::NotADatabase) => Damage::NotADatabase,
                Some(Code::DatabaseCorrupt) => Damage::Structure,
                _ => return Self::Database { operation, path, source: Box::new(source) },
            },
        };
        Self::Corrupt { path, damage, source: Some(Box::new(source)) }
    }

    /// Sorts what redb said.
    pub(crate) fn redb(operation: &'static str, path: &Path, source: impl Into<redb::Error>) -> Self {
        use redb::Error as Redb;
        let source = source.into();
        let damage = match source {
            Redb::DatabaseAlreadyOpen | Redb::LockProtocolMismatch => {
                return Self::Locked { path: path.to_owned() };
            }
            Redb::Corrupted(_) | Redb::RepairAborted => Damage::Structure,
            // A file format we never wrote, or tables like ours in name only: some other program's redb file.
            Redb::UpgradeRequired(_)
            | Redb::TableTypeMismatch { .. }
            | Redb::TypeDefinitionChanged { .. }
            | Redb::TableIsMultimap(_)
            | Redb::TableIsNotMultimap(_) => Damage::Foreign,
            // redb reports a wrong magic number so, and a file that ends too early.
            Redb::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                let path = path.to_owned();
                return Self::Corrupt { path, damage: Damage::NotADatabase, source: Some(Box::new(error)) };
            }
            Redb::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let path = path.to_owned();
                return Self::Corrupt { path, damage: Damage::Structure, source: Some(Box::new(error)) };
            }
            Redb::Io(error) => return Self::io(operation, path, error),
            _ => return Self::Database { operation, path: path.to_owned(), source: Box::new(source) },
        };
        Self::Corrupt { path: path.to_owned(), damage, source: Some(Box::new(source)) }
    }
}
