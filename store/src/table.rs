//! The one type that all tables in redb have: bytes to bytes.
//!
//! redb's code for a table is large and compiled anew for each pair of types, so the types end in front of it: what a table's
//! keys and values mean is encoded and decoded beside its definition, and numbers in keys are big-endian, because bytes sort
//! as they do then.

use redb::{ReadOnlyTable, StorageError, Table, TableDefinition};

/// Names a table.
pub(crate) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// A table that is open for writing.
pub(crate) type BytesTable<'a> = Table<'a, &'static [u8], &'static [u8]>;
/// A table that is open for reading.
pub(crate) type ReadBytesTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A key or value that has always the same length, or else is damaged. `what` it is, for people.
pub(crate) fn fixed<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], StorageError> {
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| StorageError::Corrupted(format!("{what} has {length} bytes in place of {N}")))
}
