//! [`JobsDb`]: the local `jobs.db`. What is in it has a file each below.

pub(crate) mod checkpoints;
mod old_grid;
pub(crate) mod plans;
pub(crate) mod runs;
mod schema;
pub(crate) mod steps;

pub use old_grid::{OldGrid, forget_taken_over, take_over_grid};

use crate::error::StoreError;
use crate::sqlite::{Fault, JobsOptions, Sqlite, column, count};
use rusqlite::{Connection, Transaction};
use std::path::Path;

/// The database of runs, plans and checkpoints.
///
/// Several processes may have it open; one writes at a time, the others wait up to
/// [`patience`](JobsOptions::patience).
#[derive(Debug)]
pub struct JobsDb(Sqlite);

impl JobsDb {
    /// Opens the database at `path`, created (0600, its directory 0700) or migrated if need be.
    ///
    /// Errors: [`Locked`](StoreError::Locked), [`Corrupt`](StoreError::Corrupt) for what is damaged or not ours,
    /// [`NewerVersion`](StoreError::NewerVersion), [`ReadOnly`](StoreError::ReadOnly), [`Io`](StoreError::Io).
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, &JobsOptions::default())
    }

    /// Opens as `options` say; otherwise like [`open`](Self::open).
    pub fn open_with(path: &Path, options: &JobsOptions) -> Result<Self, StoreError> {
        Sqlite::open(path, &schema::SCHEMA, options).map(Self)
    }

    /// A database that lives and dies with this value.
    pub fn in_memory() -> Result<Self, StoreError> {
        Sqlite::in_memory(&schema::SCHEMA).map(Self)
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Closes the database and reports what dropping would swallow. The last one to close leaves no
    /// write-ahead log behind.
    pub fn close(self) -> Result<(), StoreError> {
        self.0.close()
    }

    /// Makes all that was written so far survive a power cut.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.0.flush()
    }

    fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.0.read(operation, body)
    }

    fn write<T>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.0.write(operation, body)
    }
}
