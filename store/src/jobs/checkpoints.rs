//! Checkpoints of staged large files: how far a copy was verified, and the chunks it holds.
//!
//! A 50 GB file has 800 000 chunks, 29 MB of records. They are stored in parts that are only ever appended, so a
//! checkpoint writes what came since the one before.

use super::{Fault, JobsDb, column, count};
use crate::error::{Damage, StoreError};
use crate::record::{CHUNK_LEN, Fields, checksum, decode_chunks, encode_chunks, encode_timestamp};
use orbit_core::{Chunk, FileIdentity};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

/// Records in one part: 252 KB.
const PART_CHUNKS: usize = 7000;
const COLUMNS: &str = "key, destination_root, path, stage_name, identity, verified_len, chunk_count, crc";
const DAMAGED: Fault = Fault::Damage(Damage::Row { table: "checkpoints" });
const PART_DAMAGED: Fault = Fault::Damage(Damage::Row { table: "checkpoint_parts" });

/// How far the copy of one file has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The destination's root as bytes that name it.
    pub destination_root: Vec<u8>,
    /// The file's path below it.
    pub path: Vec<u8>,
    /// The name of the staged file.
    pub stage_name: Vec<u8>,
    /// The version of the source it is a copy of.
    pub source: FileIdentity,
    /// Bytes from the start of the staged file that were verified and are durable; below 2^63.
    pub verified_len: u64,
}

/// A checkpoint as stored, without its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// What was put last.
    pub checkpoint: Checkpoint,
    /// Number of chunks stored.
    pub chunk_count: u64,
}

impl JobsDb {
    /// Stores how far a copy has come; it is on the disk when this returns.
    ///
    /// `new_chunks` are appended to the chunks already stored, and `first_chunk` says how many those are. 0 starts
    /// over: whatever was stored for this path is replaced. An append must continue the same staged file and source
    /// version, otherwise [`CheckpointGap`](StoreError::CheckpointGap) is returned and nothing changes.
    pub fn put_checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
        first_chunk: u64,
        new_chunks: &[Chunk],
    ) -> Result<(), StoreError> {
        self.0.durably(|database| {
            database.write("store a checkpoint", |transaction| {
                let key = if first_chunk == 0 {
                    start_over(transaction, checkpoint)?
                } else {
                    continued(transaction, checkpoint, first_chunk)?
                };
                append_chunks(transaction, key, first_chunk, new_chunks)?;
                let chunk_count = first_chunk.saturating_add(new_chunks.len() as u64);
                transaction
                    .prepare_cached(
                        "UPDATE checkpoints SET verified_len = ?2, chunk_count = ?3, crc = ?4 WHERE key = ?1",
                    )?
                    .execute(params![
                        key,
                        column("verified length", checkpoint.verified_len)?,
                        column("number of chunks", chunk_count)?,
                        crc(checkpoint, chunk_count)
                    ])?;
                Ok(())
            })
        })
    }

    /// The checkpoint of one file. A damaged one is dropped and counts as none: the copy starts over.
    pub fn checkpoint(
        &mut self,
        destination_root: &[u8],
        path: &[u8],
    ) -> Result<Option<StoredCheckpoint>, StoreError> {
        match self.read("read a checkpoint", |connection| find(connection, destination_root, path)) {
            Err(StoreError::Corrupt { damage: Damage::Row { table }, .. }) => {
                tracing::warn!(table, "dropped a damaged row");
                self.remove_checkpoint(destination_root, path)?;
                Ok(None)
            }
            found => Ok(found?.map(|(_, stored)| stored)),
        }
    }

    /// The checkpoints below a destination, by path. Damaged ones are left out.
    pub fn checkpoints(&self, destination_root: &[u8]) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.read("list checkpoints", |connection| {
            let sql = format!("SELECT {COLUMNS} FROM checkpoints WHERE destination_root = ?1 ORDER BY path");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_and_then([destination_root], stored)?;
            rows.filter(|row| !matches!(row, Err(Fault::Damage(_)))).map(|row| Ok(row?.1)).collect()
        })
    }

    /// The chunks of a checkpoint in order, a part (up to 7 000) at a time; nothing if there is no checkpoint.
    ///
    /// A damaged part, a missing one or a wrong number of chunks in all is an error; what came before it is sound.
    pub fn checkpoint_chunks(
        &self,
        destination_root: &[u8],
        path: &[u8],
    ) -> Result<CheckpointChunks<'_>, StoreError> {
        let found = self.read("read a checkpoint", |connection| find(connection, destination_root, path))?;
        let (key, end) = found.map_or((0, 0), |(key, stored)| (key, stored.chunk_count));
        Ok(CheckpointChunks { jobs: self, key, next: 0, end })
    }

    /// Forgets a checkpoint; one that does not exist is no error.
    pub fn remove_checkpoint(&mut self, destination_root: &[u8], path: &[u8]) -> Result<(), StoreError> {
        self.write("remove a checkpoint", |transaction| remove(transaction, destination_root, path))
    }
}

/// The chunks of one checkpoint, a part at a time. Ends after the first error.
#[derive(Debug)]
pub struct CheckpointChunks<'a> {
    jobs: &'a JobsDb,
    key: i64,
    next: u64,
    end: u64,
}

impl Iterator for CheckpointChunks<'_> {
    type Item = Result<Vec<Chunk>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let (key, first) = (self.key, self.next);
        let part = self.jobs.read("read chunks of a checkpoint", |connection| part(connection, key, first));
        match &part {
            Ok(chunks) => self.next += chunks.len() as u64,
            Err(_) => self.next = self.end,
        }
        Some(part)
    }
}

/// The part that begins with chunk `first`.
fn part(connection: &Connection, key: i64, first: u64) -> Result<Vec<Chunk>, Fault> {
    let first = column("chunk number", first)?;
    let mut statement = connection
        .prepare_cached("SELECT crc, records FROM checkpoint_parts WHERE checkpoint = ?1 AND first = ?2")?;
    let row = statement
        .query_row([key, first], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let (crc, records) = row.ok_or(PART_DAMAGED)?;
    let mut chunks = Vec::new();
    let whole = decode_chunks(&records, &mut chunks).is_some();
    if !whole || chunks.is_empty() || crc != i64::from(part_crc(key, first, &records)) {
        return Err(PART_DAMAGED);
    }
    Ok(chunks)
}

fn start_over(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<i64, Fault> {
    let Checkpoint { destination_root, path, stage_name, source, .. } = checkpoint;
    remove(transaction, destination_root, path)?;
    transaction
        .prepare_cached(
            "INSERT INTO checkpoints
             (destination_root, path, stage_name, identity, verified_len, chunk_count, crc)
             VALUES (?1, ?2, ?3, ?4, 0, 0, 0)",
        )?
        .execute(params![destination_root, path, stage_name, encode_identity(source)])?;
    Ok(transaction.last_insert_rowid())
}

/// The key of the stored checkpoint, if `checkpoint` with chunks from `first` continues it.
fn continued(transaction: &Transaction<'_>, checkpoint: &Checkpoint, first: u64) -> Result<i64, Fault> {
    let same = |stored: &Checkpoint| {
        stored.stage_name == checkpoint.stage_name && stored.source == checkpoint.source
    };
    let found = match find(transaction, &checkpoint.destination_root, &checkpoint.path) {
        Err(Fault::Damage(_)) => None,
        found => found?.filter(|(_, stored)| same(&stored.checkpoint)),
    };
    match found {
        Some((key, stored)) if stored.chunk_count == first => Ok(key),
        other => {
            let stored = other.map_or(0, |(_, stored)| stored.chunk_count);
            Err(StoreError::CheckpointGap { stored, offered: first }.into())
        }
    }
}

fn append_chunks(transaction: &Transaction<'_>, key: i64, first: u64, chunks: &[Chunk]) -> Result<(), Fault> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO checkpoint_parts (checkpoint, first, crc, records) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut records = Vec::with_capacity(chunks.len().min(PART_CHUNKS) * CHUNK_LEN);
    for (index, part) in chunks.chunks(PART_CHUNKS).enumerate() {
        let first = column("chunk number", first.saturating_add((index * PART_CHUNKS) as u64))?;
        records.clear();
        encode_chunks(part, &mut records);
        insert.execute(params![key, first, part_crc(key, first, &records), records])?;
    }
    Ok(())
}

fn remove(transaction: &Transaction<'_>, destination_root: &[u8], path: &[u8]) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "DELETE FROM checkpoint_parts WHERE checkpoint IN
             (SELECT key FROM checkpoints WHERE destination_root = ?1 AND path = ?2)",
        )?
        .execute([destination_root, path])?;
    transaction
        .prepare_cached("DELETE FROM checkpoints WHERE destination_root = ?1 AND path = ?2")?
        .execute([destination_root, path])?;
    Ok(())
}

fn find(
    connection: &Connection,
    destination_root: &[u8],
    path: &[u8],
) -> Result<Option<(i64, StoredCheckpoint)>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM checkpoints WHERE destination_root = ?1 AND path = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let row = statement.query_row([destination_root, path], |row| Ok(stored(row))).optional()?;
    row.transpose()
}

fn stored(row: &Row<'_>) -> Result<(i64, StoredCheckpoint), Fault> {
    let checkpoint = Checkpoint {
        destination_root: row.get(1)?,
        path: row.get(2)?,
        stage_name: row.get(3)?,
        source: decode_identity(&row.get::<_, Vec<u8>>(4)?).ok_or(DAMAGED)?,
        verified_len: count(row.get(5)?, "checkpoints")?,
    };
    let chunk_count = count(row.get(6)?, "checkpoints")?;
    if row.get::<_, i64>(7)? != i64::from(crc(&checkpoint, chunk_count)) {
        return Err(DAMAGED);
    }
    Ok((row.get(0)?, StoredCheckpoint { checkpoint, chunk_count }))
}

fn crc(checkpoint: &Checkpoint, chunk_count: u64) -> u32 {
    checksum(&[
        &checkpoint.destination_root,
        &checkpoint.path,
        &checkpoint.stage_name,
        &encode_identity(&checkpoint.source),
        &checkpoint.verified_len.to_le_bytes(),
        &chunk_count.to_le_bytes(),
    ])
}

fn part_crc(key: i64, first: i64, records: &[u8]) -> u32 {
    checksum(&[&key.to_le_bytes(), &first.to_le_bytes(), records])
}

fn encode_identity(identity: &FileIdentity) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    for number in [identity.dev, identity.ino, identity.size] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    encode_timestamp(identity.mtime, &mut out);
    encode_timestamp(identity.ctime, &mut out);
    out
}

fn decode_identity(bytes: &[u8]) -> Option<FileIdentity> {
    let mut fields = Fields(bytes);
    let identity = FileIdentity {
        dev: fields.u64()?,
        ino: fields.u64()?,
        size: fields.u64()?,
        mtime: fields.timestamp()?,
        ctime: fields.timestamp()?,
    };
    fields.0.is_empty().then_some(identity)
}
