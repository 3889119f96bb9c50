//! [`Run`]: chunk records in order, in a file that never changes.
//!
//! ```text
//!  block 0 │ block 1 │ … │ last block │ fences
//! ```
//! A block is 16 KiB: 341 records (the last may have fewer, and zeros behind them), then the run's number (u64), four
//! zeros, and a CRC-32 over the block's index and all before it. A fence is the first eight bytes of a block's first
//! record (u64); their CRC-32 and the number of records are in table `runs`. Integers are little-endian.
//!
//! The fences stay in memory, 8 bytes for 341 chunks: a chunk is found by reading one block.

use super::record::{RECORD_LEN, Record, order, prefix_of};
use crate::error::{Damage, StoreError};
use orbit_core::ContentHash;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a block.
pub(super) const BLOCK_LEN: usize = 16 << 10;
/// Records of a block.
pub(super) const BLOCK_RECORDS: usize = (BLOCK_LEN - 16) / RECORD_LEN;
/// Where the records of a block end.
const RECORDS_END: usize = BLOCK_RECORDS * RECORD_LEN;
/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// What table `runs` holds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunRow {
    pub records: u64,
    pub fences_crc: u32,
}

/// A run that is open for reading. Its file may have lost its name since.
#[derive(Debug)]
pub(super) struct Run {
    pub id: u64,
    pub records: u64,
    path: PathBuf,
    file: File,
    fences: Vec<u64>,
}

impl Run {
    /// Where the run with this number lies.
    pub fn path(directory: &Path, id: u64) -> PathBuf {
        directory.join(format!("{id:016x}"))
    }

    /// Opens a run. [`Corrupt`](StoreError::Corrupt) if its length or its fences are not as they were written.
    pub fn open(directory: &Path, id: u64, row: RunRow) -> Result<Self, StoreError> {
        let path = Self::path(directory, id);
        let fault = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => damaged(&path),
            _ => StoreError::io("open", &path, error),
        };
        let file = File::open(&path).map_err(fault)?;
        let blocks = row.records.div_ceil(BLOCK_RECORDS as u64);
        let fences_at = blocks.saturating_mul(BLOCK_LEN as u64);
        let expected = fences_at.saturating_add(blocks * 8);
        if file.metadata().map_err(fault)?.len() != expected {
            return Err(damaged(&path));
        }
        let mut bytes = vec![0; blocks as usize * 8];
        file.read_exact_at(&mut bytes, fences_at).map_err(fault)?;
        if crc32fast::hash(&bytes) != row.fences_crc {
            return Err(damaged(&path));
        }
        let fences = bytes.as_chunks::<8>().0.iter().map(|fence| u64::from_le_bytes(*fence)).collect();
        Ok(Self { id, records: row.records, path, file, fences })
    }

    /// Blocks of the run.
    pub fn blocks(&self) -> u64 {
        self.fences.len() as u64
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.blocks() * (BLOCK_LEN as u64 + 8)
    }

    /// The first block in which records of this chunk may lie. Look on while a block ends before or with the chunk.
    pub fn first_block(&self, hash: &ContentHash) -> u64 {
        let prefix = prefix_of(hash.as_bytes());
        self.fences.partition_point(|&fence| fence < prefix).saturating_sub(1) as u64
    }

    /// Whether records from `prefix` on may lie in this block.
    pub fn may_begin_before(&self, block: u64, prefix: u64) -> bool {
        usize::try_from(block)
            .ok()
            .and_then(|block| self.fences.get(block))
            .is_some_and(|&fence| fence <= prefix)
    }

    /// Records in this block.
    pub fn records_in(&self, block: u64) -> usize {
        self.records.saturating_sub(block * BLOCK_RECORDS as u64).min(BLOCK_RECORDS as u64) as usize
    }

    /// Reads as many blocks from `first` on as `buffer` holds, but not past the end; returns how many.
    pub fn read(&self, first: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let count = (buffer.len() / BLOCK_LEN).min(self.blocks().saturating_sub(first) as usize);
        let bytes = &mut buffer[..count * BLOCK_LEN];
        self.file.read_exact_at(bytes, first * BLOCK_LEN as u64).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(&self.path),
            _ => StoreError::io("read", &self.path, error),
        })?;
        for (index, block) in (first..).zip(bytes.chunks_exact(BLOCK_LEN)) {
            let is_ours = block[RECORDS_END..][..8] == self.id.to_le_bytes();
            if !is_ours || block[BLOCK_LEN - 4..] != block_crc(index, &block[..BLOCK_LEN - 4]).to_le_bytes() {
                return Err(damaged(&self.path));
            }
        }
        Ok(count)
    }

    /// The records of a block that was read.
    pub fn records_of(block: &[u8]) -> &[Record] {
        block[..RECORDS_END].as_chunks::<RECORD_LEN>().0
    }

    /// Takes the file's name away. Whoever has the run open reads on.
    pub fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            // It is an orphan now, and swept when the universe is opened next.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a merged run");
        }
    }
}

/// A run that was written, unless it would have been empty.
pub(super) type Written = Option<(Arc<Run>, RunRow)>;

/// Writes a run. What is not [finished](Self::finish) is removed.
#[derive(Debug)]
pub(super) struct RunWriter {
    id: u64,
    directory: PathBuf,
    path: PathBuf,
    file: Option<File>,
    records: u64,
    fences: Vec<u64>,
    /// Whole blocks, then the one that is being filled.
    buffer: Vec<u8>,
    in_block: usize,
}

impl RunWriter {
    /// Begins the run with this number, which no other run has.
    pub fn create(directory: &Path, id: u64) -> Result<Self, StoreError> {
        let path = Run::path(directory, id);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| StoreError::io("create", &path, error))?;
        Ok(Self {
            id,
            directory: directory.to_owned(),
            path,
            file: Some(file),
            records: 0,
            fences: Vec::new(),
            buffer: Vec::with_capacity(WRITE_BYTES),
            in_block: 0,
        })
    }

    /// Adds a record. Records come in order.
    pub fn push(&mut self, record: &Record) -> Result<(), StoreError> {
        if self.in_block == 0 {
            self.fences.push(prefix_of(record));
        }
        self.buffer.extend_from_slice(record);
        self.records += 1;
        self.in_block += 1;
        if self.in_block == BLOCK_RECORDS {
            self.end_block()?;
        }
        Ok(())
    }

    /// Makes the run durable and opens it for reading; `None` if nothing was pushed.
    pub fn finish(mut self) -> Result<Written, StoreError> {
        if self.in_block > 0 {
            let padding = RECORDS_END - self.in_block * RECORD_LEN;
            self.buffer.resize(self.buffer.len() + padding, 0);
            self.end_block()?;
        }
        let Some(file) = self.file.take_if(|_| self.records > 0) else { return Ok(None) };
        let row = self.end_file(&file).inspect_err(|_| self.discard())?;
        drop(file);
        let run = Run::open(&self.directory, self.id, row).inspect_err(|_| self.discard())?;
        Ok(Some((Arc::new(run), row)))
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        self.in_block = 0;
        self.buffer.extend_from_slice(&self.id.to_le_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        let begin = self.buffer.len() + 4 - BLOCK_LEN;
        let crc = block_crc(self.fences.len() as u64 - 1, &self.buffer[begin..]);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(&self.buffer).map_err(|error| StoreError::io("write", &self.path, error))?;
        self.buffer.clear();
        Ok(())
    }

    fn end_file(&mut self, mut file: &File) -> Result<RunRow, StoreError> {
        let blocks = std::mem::take(&mut self.buffer);
        let fences: Vec<u8> = self.fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        file.write_all(&blocks)
            .and_then(|()| file.write_all(&fences))
            .and_then(|()| file.sync_data())
            .and_then(|()| File::open(&self.directory)?.sync_all())
            .map_err(|error| StoreError::io("write", &self.path, error))?;
        Ok(RunRow { records: self.records, fences_crc: crc32fast::hash(&fences) })
    }

    fn discard(&self) {
        // What cannot be removed is an orphan, swept when the universe is opened next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.discard();
        }
    }
}

/// Sorts records and leaves of those that place a chunk in the same content the first.
pub(super) fn sort(records: &mut Vec<Record>) {
    records.sort_unstable_by(order);
    records.dedup_by(|later, earlier| super::record::same_name(later, earlier));
}

fn block_crc(index: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), damage: Damage::Row { table: "runs" }, source: None }
}
