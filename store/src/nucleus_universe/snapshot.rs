//! A universe as a stream, for the snapshot a new voter starts from. Integers are little-endian.
//!
//! | part | |
//! |---|---|
//! | head | `"ORBU"`, version u32, length of the mark u32, the mark (`rows.rs`), number of the next content u64 |
//! | contents | for each: 1 u8, its number u64, 1 u8 if all its chunks follow else 0, root, length u64, chunks u32, holders u32, each 16 bytes; then 0 u8 |
//! | records | some at a time, in order: how many u32, records (`record.rs`); then 0 u32 |
//! | foot | CRC-32 of all before, u32 |
//!
//! Only what counts is in it: no forgotten holders, no records of contents that were not loaded to their end.

use super::find::Rows;
use super::merge::Merge;
use super::record::{RECORD_LEN, Record, number, order};
use super::rows::{decode_mark, encode_mark};
use super::run::{RunWriter, Written};
use super::schema::{CONTENTS, Counter, META, WANTED, decode_number, encode_number, root_key, wipe};
use super::tidy::Numbers;
use super::{NucleusUniverse, Runs, commit, load, read_mark};
use crate::Mark;
use crate::error::{Damage, StoreError};
use orbit_core::ContentHash;
use orbit_core::grid::Content;
use orbit_core::ids::NodeId;
use redb::{Durability, ReadTransaction, ReadableTable};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

const MAGIC: [u8; 4] = *b"ORBU";
const VERSION: u32 = 1;
/// Records in one part of the stream: 240 KiB.
const RECORDS_AT_ONCE: usize = 5120;
/// Contents put in one transaction by an import.
const CONTENTS_AT_ONCE: usize = 50_000;
/// Of their roots, which lie scattered in their table, so many are sorted and put together: 24 MB.
const ROOTS_AT_ONCE: usize = 1_000_000;
/// What one of them writes.
const CONTENT_BYTES: u64 = 2048;
/// No mark is longer.
const MARK_BYTES_MAX: u32 = 4 << 20;
/// No content has more holders.
const HOLDERS_MAX: u32 = 1 << 20;

/// A universe as it was at one moment. What is written meanwhile does not show, and does not wait.
#[derive(Debug)]
pub struct UniversePin {
    transaction: ReadTransaction,
    runs: Runs,
    path: PathBuf,
}

impl NucleusUniverse {
    /// Holds on to this moment. The space of what is replaced or merged away meanwhile is not free before it is dropped.
    pub fn pin(&self) -> Result<UniversePin, StoreError> {
        let inner = &self.0;
        // Runs change only while their lock is held for writing.
        let runs = inner.runs.read().unwrap_or_else(PoisonError::into_inner);
        Ok(UniversePin {
            transaction: inner.begin_read()?,
            runs: Arc::clone(&runs),
            path: inner.path.clone(),
        })
    }

    /// Makes the universe of a stream at `path`, durable when this returns. What lies there, because an earlier attempt
    /// was cut short, goes. It reads ahead, so `from` ends where the stream does. [`Corrupt`](StoreError::Corrupt) if that
    /// is no universe.
    pub fn import(path: &Path, from: &mut dyn Read) -> Result<(), StoreError> {
        let universe = Self::open_or_rebuild(path)?;
        let before = universe.0.runs();
        universe.0.write_runs("empty the universe", Durability::Immediate, Vec::new(), wipe)?;
        before.iter().for_each(|run| run.remove());
        let inner = io::BufReader::with_capacity(256 << 10, from);
        Importer { universe: &universe, from: Summed { inner, crc: crc32fast::Hasher::new() } }.run()
    }
}

impl UniversePin {
    /// What was applied last.
    pub fn mark(&self) -> Result<Option<Mark>, StoreError> {
        read_mark(&self.transaction, &self.path)
    }

    /// Writes the universe as a stream. Memory: two numbers' worth of bits for each content, and 128 KiB for each run.
    pub fn export(&self, to: &mut dyn Write) -> Result<(), StoreError> {
        let mut out =
            Summed { inner: io::BufWriter::with_capacity(256 << 10, to), crc: crc32fast::Hasher::new() };
        let written = |error| StoreError::io("write a snapshot of", &self.path, error);
        let mark = self.mark()?.map(|mark| encode_mark(&mark)).unwrap_or_default();
        out.put(&[&MAGIC, &VERSION.to_le_bytes(), &(mark.len() as u32).to_le_bytes(), &mark])
            .map_err(written)?;
        let whole = self.export_contents(&mut out)?;
        self.export_records(&whole, &mut out)?;
        let crc = out.crc.clone().finalize();
        out.put(&[&crc.to_le_bytes()]).and_then(|()| out.inner.flush()).map_err(written)
    }

    /// Returns which contents have all their chunks in runs.
    fn export_contents(&self, out: &mut Summed<impl Write>) -> Result<Numbers, StoreError> {
        let fault =
            |error: redb::Error| StoreError::redb("read the contents of the universe", &self.path, error);
        let written = |error| StoreError::io("write a snapshot of", &self.path, error);
        let open = || -> Result<_, redb::Error> {
            let next = Counter::NextContent.get(&self.transaction.open_table(META)?)?;
            let contents = self.transaction.open_table(CONTENTS)?;
            Ok((next, contents, self.transaction.open_table(WANTED)?, Rows::open(&self.transaction)?))
        };
        let (next, contents, wanted, mut rows) = open().map_err(fault)?;
        out.put(&[&next.to_le_bytes()]).map_err(written)?;
        let mut whole = Numbers::default();
        let storage = |error: redb::StorageError| fault(error.into());
        for row in contents.iter().map_err(storage)? {
            let number = row.and_then(|(number, _)| decode_number(number.value())).map_err(storage)?;
            let Some((content, holders)) = rows.get(number).map_err(fault)? else { continue };
            let is_whole = wanted.get(encode_number(number).as_slice()).map_err(storage)?.is_none();
            if is_whole {
                whole.insert(number);
            }
            let (root, bytes) = (content.root.as_bytes(), content.bytes.to_le_bytes());
            let (chunks, count) = (content.chunks.to_le_bytes(), (holders.len() as u32).to_le_bytes());
            out.put(&[&[1], &number.to_le_bytes(), &[u8::from(is_whole)], root, &bytes, &chunks, &count])
                .map_err(written)?;
            holders.iter().try_for_each(|holder| out.put(&[holder.as_bytes()])).map_err(written)?;
        }
        out.put(&[&[0]]).map_err(written)?;
        Ok(whole)
    }

    fn export_records(&self, whole: &Numbers, out: &mut Summed<impl Write>) -> Result<(), StoreError> {
        let written = |error| StoreError::io("write a snapshot of", &self.path, error);
        let mut merge = Merge::new(&self.runs)?;
        let mut part: Vec<Record> = Vec::with_capacity(RECORDS_AT_ONCE);
        loop {
            let record = merge.next()?;
            part.extend(record.filter(|record| whole.contains(number(record))));
            if part.len() == RECORDS_AT_ONCE || (record.is_none() && !part.is_empty()) {
                out.put(&[&(part.len() as u32).to_le_bytes(), part.as_flattened()]).map_err(written)?;
                part.clear();
            }
            if record.is_none() {
                return out.put(&[&[0; 4]]).map_err(written);
            }
        }
    }
}

/// A universe on its way in.
struct Importer<'a, R> {
    universe: &'a NucleusUniverse,
    from: Summed<R>,
}

impl<R: Read> Importer<'_, R> {
    fn run(mut self) -> Result<(), StoreError> {
        if self.array()? != MAGIC || self.u32()? != VERSION {
            return Err(self.broken());
        }
        let mark = match self.u32()? {
            0 => None,
            length if length <= MARK_BYTES_MAX => {
                let mut bytes = vec![0; length as usize];
                self.fill(&mut bytes)?;
                Some(decode_mark(&bytes).ok_or_else(|| self.broken())?)
            }
            _ => return Err(self.broken()),
        };
        let next = self.u64()?;
        self.contents(next)?;
        let written = self.records(next)?;
        let expected = self.from.crc.clone().finalize();
        if self.u32()? != expected {
            if let Some((run, _)) = written {
                run.remove();
            }
            return Err(self.broken());
        }
        let after = written.iter().map(|(run, _)| Arc::clone(run)).collect();
        self.universe.0.write_runs("finish a universe", Durability::Immediate, after, |transaction| {
            Counter::NextContent.change(&mut transaction.open_table(META)?, |_| next)?;
            if let Some((run, row)) = &written {
                load::name_run(transaction, run, *row)?;
            }
            mark.as_ref().map_or(Ok(()), |mark| commit::put_mark(transaction, mark))
        })
    }

    fn contents(&mut self, next: u64) -> Result<(), StoreError> {
        let mut batch: Vec<(u64, bool, Content, Vec<NodeId>)> = Vec::new();
        let mut roots = Vec::new();
        loop {
            let [more] = self.array()?;
            if more == 1 {
                let number = self.u64()?;
                let [is_whole] = self.array()?;
                let root = ContentHash::from_bytes(self.array()?);
                let content = Content { root, bytes: self.u64()?, chunks: self.u32()? };
                let count = self.u32()?;
                if number >= next || count > HOLDERS_MAX {
                    return Err(self.broken());
                }
                let mut holders = Vec::new();
                for _ in 0..count {
                    holders.push(NodeId::from_bytes(self.array()?));
                }
                batch.push((number, is_whole == 1, content, holders));
                roots.push((root_key(&root), number));
            }
            if batch.len() == CONTENTS_AT_ONCE || more != 1 {
                let bytes = batch.len() as u64 * CONTENT_BYTES;
                self.universe.0.write("record contents in the universe", bytes, |transaction| {
                    commit::Contents::change(transaction, |tables| {
                        batch.drain(..).try_for_each(|(number, is_whole, content, holders)| {
                            tables.restore(number, content, &holders, is_whole)
                        })
                    })
                })?;
            }
            if roots.len() == ROOTS_AT_ONCE || more != 1 {
                roots.sort_unstable();
                let bytes = roots.len() as u64 * CONTENT_BYTES;
                self.universe.0.write("record contents in the universe", bytes, |transaction| {
                    commit::Contents::change(transaction, |tables| tables.restore_roots(&roots))
                })?;
                roots.clear();
            }
            if more != 1 {
                return Ok(());
            }
        }
    }

    fn records(&mut self, next: u64) -> Result<Written, StoreError> {
        let inner = &self.universe.0;
        let id = inner.next_run.fetch_add(1, Ordering::Relaxed);
        let mut writer = RunWriter::create(&inner.directory, id)?;
        let mut part = Vec::new();
        let mut last: Option<Record> = None;
        loop {
            let count = self.u32()? as usize;
            if count == 0 {
                return writer.finish();
            }
            if count > RECORDS_AT_ONCE {
                return Err(self.broken());
            }
            part.resize(count * RECORD_LEN, 0);
            self.fill(&mut part)?;
            for record in part.as_chunks::<RECORD_LEN>().0 {
                if last.is_some_and(|last| order(&last, record).is_ge()) || number(record) >= next {
                    return Err(self.broken());
                }
                last = Some(*record);
                writer.push(record)?;
            }
        }
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, StoreError> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.from.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.broken(),
            _ => StoreError::io("read a snapshot for", self.universe.path(), error),
        })?;
        self.from.crc.update(bytes);
        Ok(())
    }

    fn broken(&self) -> StoreError {
        StoreError::damaged(self.universe.path(), Damage::Structure)
    }
}

/// A stream and the checksum of what went through it.
struct Summed<S> {
    inner: S,
    crc: crc32fast::Hasher,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.crc.update(part);
            self.inner.write_all(part)?;
        }
        Ok(())
    }
}
