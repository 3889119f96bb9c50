//! Look-ups. An entry answers only if its checksum holds and every field of the identity is the same; a damaged
//! entry is a miss, and dropped by the next write.

use super::record::{FileRecord, decode_part, file_key, part_key};
use super::schema::{CHUNKS, FILES};
use super::{Universe, UniverseStats};
use crate::error::StoreError;
use crate::table::ReadBytesTable;
use orbit_core::{Chunk, ContentHash, FileIdentity};
use redb::{ReadTransaction, ReadableDatabase, ReadableTableMetadata};

impl Universe {
    /// The root over the chunks of this version of a file, if it is known.
    pub fn root(&self, identity: &FileIdentity, params_id: u32) -> Result<Option<ContentHash>, StoreError> {
        self.read("look up a file", |transaction| {
            let files = transaction.open_table(FILES)?;
            Ok(self.entry(&files, identity, params_id)?.map(|record| record.root))
        })
    }

    /// The roots of many files, in the order asked. Several times faster than one by one, most so if `identities`
    /// are sorted by inode.
    pub fn roots(
        &self,
        identities: &[FileIdentity],
        params_id: u32,
    ) -> Result<Vec<Option<ContentHash>>, StoreError> {
        self.read("look up files", |transaction| {
            let files = transaction.open_table(FILES)?;
            let root = |identity| Ok(self.entry(&files, identity, params_id)?.map(|record| record.root));
            identities.iter().map(root).collect()
        })
    }

    /// The chunks of this version of a file, if its list is kept: 36 bytes of memory for each.
    pub fn chunks(&self, identity: &FileIdentity, params_id: u32) -> Result<Option<Vec<Chunk>>, StoreError> {
        self.read("look up the chunks of a file", |transaction| {
            let record = self.entry(&transaction.open_table(FILES)?, identity, params_id)?;
            let Some((record, count)) = record.and_then(|record| Some((record, record.chunk_count?))) else {
                return Ok(None);
            };
            let key = file_key(identity, params_id);
            let parts = transaction.open_table(CHUNKS)?;
            let mut chunks = Vec::new();
            // A part holds at least one chunk, so this ends.
            for number in 0.. {
                if chunks.len() as u64 >= count {
                    break;
                }
                let before = chunks.len();
                let key = part_key(&key, number);
                let part = parts.get(key.as_slice())?;
                part.and_then(|part| decode_part(&key, &record.root, part.value(), &mut chunks));
                if chunks.len() == before {
                    break;
                }
            }
            if chunks.len() as u64 == count {
                return Ok(Some(chunks));
            }
            self.note_damaged(key);
            Ok(None)
        })
    }

    /// How much is known. Reads a handful of pages.
    pub fn stats(&self) -> Result<UniverseStats, StoreError> {
        let (entries, chunk_parts) = self.read("measure the universe", |transaction| {
            Ok((transaction.open_table(FILES)?.len()?, transaction.open_table(CHUNKS)?.len()?))
        })?;
        let metadata =
            std::fs::metadata(&self.path).map_err(|error| StoreError::io("measure", &self.path, error))?;
        Ok(UniverseStats { entries, chunk_parts, file_bytes: metadata.len() })
    }

    fn entry(
        &self,
        files: &ReadBytesTable,
        identity: &FileIdentity,
        params_id: u32,
    ) -> Result<Option<FileRecord>, redb::Error> {
        let key = file_key(identity, params_id);
        let Some(value) = files.get(key.as_slice())? else { return Ok(None) };
        let record = FileRecord::decode(&key, value.value());
        if record.is_none() {
            self.note_damaged(key);
        }
        Ok(record.filter(|record| record.answers_for(identity)))
    }

    fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let fault = |error| StoreError::redb(operation, &self.path, error);
        let transaction = self.database.begin_read().map_err(|error| fault(error.into()))?;
        body(&transaction).map_err(fault)
    }
}
