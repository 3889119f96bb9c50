//! From the stars: the chunks of wanted contents, a million at a time.
//!
//! The caller fills one batch while a thread sorts the one before, writes it as a run, and merges runs when there are
//! enough of a size. Small loads have no thread.

use super::record::{Record, U48_END, record};
use super::rows::ContentRow;
use super::run::{Run, RunRow, RunWriter, sort};
use super::schema::{
    BEGUN, CONTENTS, NOTHING, ROOTS, RUNS, WANTED, encode_number, encode_run, found_number, root_key,
};
use super::{Inner, NucleusUniverse, commit};
use crate::error::StoreError;
use orbit_core::grid::Content;
use orbit_core::{Chunk, ContentHash};
use redb::{Durability, ReadableTable, WriteTransaction};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;

/// Records of a batch: 48 MiB, of which there are two.
#[cfg(not(test))]
const BATCH_RECORDS: usize = 1 << 20;
/// Small enough for tests to have many.
#[cfg(test)]
const BATCH_RECORDS: usize = 64;
/// What a content that was loaded writes into redb.
const CONTENT_BYTES: u64 = 512;

/// What a load brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOutcome {
    /// Contents whose chunks are all known now.
    pub contents: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Contents given up, or whose chunks were not as many or not as long as was recorded.
    pub refused: u64,
}

/// Chunks of wanted contents on their way in: for each content [`begin`](Self::begin), [`push`](Self::push) and
/// [`end`](Self::end); at last [`finish`](Self::finish). Dropped without that, what is not written yet is wanted again.
///
/// There is one at a time; [`NucleusUniverse::load`] waits. An error of any call ends it.
#[derive(Debug)]
pub struct ContentsLoad<'a> {
    /// Before the lock, so that the thread has ended when that is given back.
    worker: Option<Worker>,
    universe: &'a NucleusUniverse,
    batch: Batch,
    current: Option<Current>,
    /// Contents given up after a part of their chunks was handed on: not to be had in this load.
    spoilt: HashSet<u64>,
    outcome: LoadOutcome,
    _building: MutexGuard<'a, ()>,
}

/// The content whose chunks come now.
#[derive(Debug)]
struct Current {
    number: u64,
    content: Content,
    /// Bytes and chunks so far.
    offset: u64,
    chunks: u64,
    /// Where its records begin in the batch.
    begin: usize,
    /// Whether a part of them is in an earlier batch.
    is_spread: bool,
    /// More came than was recorded.
    is_wrong: bool,
}

/// What becomes one run.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    /// Contents that end in here.
    finished: Vec<u64>,
    /// The one that goes on in the next batch.
    unfinished: Option<u64>,
}

/// The thread that writes.
#[derive(Debug)]
struct Worker {
    batches: Option<SyncSender<Batch>>,
    /// Batches that were written, for their memory.
    empty: Receiver<Batch>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

impl NucleusUniverse {
    /// Begins to load chunks; waits while another load runs.
    pub fn load(&self) -> ContentsLoad<'_> {
        ContentsLoad {
            worker: None,
            universe: self,
            batch: Batch::default(),
            current: None,
            spoilt: HashSet::new(),
            outcome: LoadOutcome::default(),
            _building: super::lock(&self.0.building),
        }
    }

    /// Loads the chunks of one content; whether it was wanted, and they are what was recorded.
    pub fn fill(
        &self,
        root: &ContentHash,
        chunks: impl IntoIterator<Item = Chunk>,
    ) -> Result<bool, StoreError> {
        Ok(self.fill_many([(*root, chunks)])?.contents == 1)
    }

    /// Loads the chunks of contents, in any order. Those that are not wanted are skipped.
    pub fn fill_many<C: IntoIterator<Item = Chunk>>(
        &self,
        contents: impl IntoIterator<Item = (ContentHash, C)>,
    ) -> Result<LoadOutcome, StoreError> {
        let mut load = self.load();
        for (root, chunks) in contents {
            if load.begin(&root)? {
                chunks.into_iter().try_for_each(|chunk| load.push(&chunk))?;
                load.end()?;
            }
        }
        load.finish()
    }
}

impl ContentsLoad<'_> {
    /// Begins with a content; whether it is wanted. A content that was begun and not ended is given up.
    pub fn begin(&mut self, root: &ContentHash) -> Result<bool, StoreError> {
        self.abandon();
        let inner = &self.universe.0;
        let fault = |error: redb::Error| StoreError::redb("look up a wanted content", &inner.path, error);
        let Some((mut number, content, is_begun)) = inner.wanted_content(root).map_err(fault)? else {
            return Ok(false);
        };
        if self.spoilt.contains(&number) || content.bytes >= U48_END {
            return Ok(false);
        }
        if is_begun {
            let renumbered = inner.write("begin a content anew", CONTENT_BYTES, |transaction| {
                commit::Contents::change(transaction, |tables| tables.renumber(number))
            })?;
            let Some(renumbered) = renumbered else { return Ok(false) };
            number = renumbered;
        }
        let begin = self.batch.records.len();
        let (is_spread, is_wrong) = (false, false);
        self.current = Some(Current { number, content, offset: 0, chunks: 0, begin, is_spread, is_wrong });
        Ok(true)
    }

    /// Takes the next chunk of the content.
    pub fn push(&mut self, chunk: &Chunk) -> Result<(), StoreError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let end = current.offset + u64::from(chunk.len);
        if end > current.content.bytes || current.chunks >= u64::from(current.content.chunks) {
            current.is_wrong = true;
            return Ok(());
        }
        self.batch.records.push(record(chunk, current.number, current.offset));
        current.offset = end;
        current.chunks += 1;
        if self.batch.records.len() >= BATCH_RECORDS {
            current.is_spread = true;
            current.begin = 0;
            self.batch.unfinished = Some(current.number);
            self.hand_on()?;
        }
        Ok(())
    }

    /// Ends the content. Returns false, and gives it up, if its chunks are not what was recorded.
    pub fn end(&mut self) -> Result<bool, StoreError> {
        let Some(current) = &self.current else { return Ok(false) };
        let Content { bytes, chunks, .. } = current.content;
        if current.is_wrong || current.offset != bytes || current.chunks != u64::from(chunks) {
            self.abandon();
            return Ok(false);
        }
        self.batch.finished.push(current.number);
        self.outcome.contents += 1;
        self.outcome.chunks += current.chunks;
        self.current = None;
        Ok(true)
    }

    /// Gives the content up: it stays wanted.
    pub fn abandon(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.batch.records.truncate(current.begin);
        if current.is_spread {
            self.spoilt.insert(current.number);
        }
        self.outcome.refused += 1;
    }

    /// Writes what is left. What was loaded is durable when it returns.
    pub fn finish(mut self) -> Result<LoadOutcome, StoreError> {
        self.abandon();
        let mut batch = std::mem::take(&mut self.batch);
        match self.worker.take() {
            Some(worker) => worker.finish(batch)?,
            None => self.universe.0.write_batch(&mut batch)?,
        }
        self.universe.flush()?;
        Ok(self.outcome)
    }

    fn hand_on(&mut self) -> Result<(), StoreError> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(self.universe)?),
        };
        worker.send(std::mem::take(&mut self.batch))?;
        // Whoever took a batch had given the one before back.
        self.batch = worker.empty.try_recv().unwrap_or_default();
        Ok(())
    }
}

impl Worker {
    fn start(universe: &NucleusUniverse) -> Result<Self, StoreError> {
        // No room: the caller fills the next batch while one is written, and then waits.
        let (batches, received) = sync_channel::<Batch>(0);
        // At most the one batch that is written.
        let (emptied, empty): (Sender<Batch>, _) = channel();
        let inner = Arc::clone(&universe.0);
        let run = move || -> Result<(), StoreError> {
            for mut batch in received {
                inner.write_batch(&mut batch)?;
                let _ = emptied.send(batch);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("universe".to_owned()).spawn(run);
        let thread = thread.map_err(|error| StoreError::io("start a thread for", universe.path(), error))?;
        Ok(Self { batches: Some(batches), empty, thread: Some(thread) })
    }

    fn send(&mut self, batch: Batch) -> Result<(), StoreError> {
        let is_sent = self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok());
        // It hangs up only over an error.
        if is_sent { Ok(()) } else { self.join() }
    }

    fn finish(mut self, batch: Batch) -> Result<(), StoreError> {
        self.send(batch)?;
        self.join()
    }

    fn join(&mut self) -> Result<(), StoreError> {
        self.batches = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // The load is given up, and what went wrong with it.
            let _ = thread.join();
        }
    }
}

impl Inner {
    /// The number of a wanted content, what was recorded of it, and whether some of its chunks are in runs.
    fn wanted_content(&self, root: &ContentHash) -> Result<Option<(u64, Content, bool)>, redb::Error> {
        use redb::ReadableDatabase;
        let transaction = self.database.begin_read()?;
        let number = found_number(transaction.open_table(ROOTS)?.get(root_key(root).as_slice())?)?;
        let Some(number) = number else { return Ok(None) };
        let key = encode_number(number);
        if transaction.open_table(WANTED)?.get(key.as_slice())?.is_none() {
            return Ok(None);
        }
        let Some(row) = transaction.open_table(CONTENTS)?.get(key.as_slice())? else { return Ok(None) };
        let row = ContentRow::decode(number, row.value()).filter(|row| row.content.root == *root);
        let is_begun = transaction.open_table(BEGUN)?.get(key.as_slice())?.is_some();
        Ok(row.map(|row| (number, row.content, is_begun)))
    }

    /// Makes a run of the batch, and its contents known. Merges runs if that is due. Leaves the batch empty.
    fn write_batch(&self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.records.is_empty() && batch.finished.is_empty() {
            return Ok(());
        }
        sort(&mut batch.records);
        let mut writer = RunWriter::create(&self.directory, self.next_run.fetch_add(1, Ordering::Relaxed))?;
        batch.records.iter().try_for_each(|record| writer.push(record))?;
        let written = writer.finish()?;

        batch.finished.sort_unstable();
        let mut after = self.runs().to_vec();
        after.extend(written.iter().map(|(run, _)| Arc::clone(run)));
        let durability = self.durability_after((1 + batch.finished.len() as u64) * CONTENT_BYTES);
        // If this fails, nobody knows whether the run is named: the file stays, needed or an orphan.
        self.write_runs("record a run", durability, after, |transaction| {
            if let Some((run, row)) = &written {
                name_run(transaction, run, *row)?;
            }
            settle(transaction, batch)
        })?;
        batch.records.clear();
        batch.finished.clear();
        batch.unfinished = None;
        self.merge_due()
    }
}

/// Puts a run into the table.
pub(super) fn name_run(transaction: &WriteTransaction, run: &Run, row: RunRow) -> Result<(), redb::Error> {
    transaction.open_table(RUNS)?.insert(encode_number(run.id).as_slice(), encode_run(row).as_slice())?;
    Ok(())
}

/// Contents that end in the batch are wanted no more; the one that does not is begun. Those that were forgotten in the
/// meantime are not in `wanted`, and what was loaded of them means nothing.
fn settle(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut wanted = transaction.open_table(WANTED)?;
    let mut begun = transaction.open_table(BEGUN)?;
    for &number in &batch.finished {
        let key = encode_number(number);
        wanted.remove(key.as_slice())?;
        begun.remove(key.as_slice())?;
    }
    if let Some(number) = batch.unfinished.map(encode_number)
        && wanted.get(number.as_slice())?.is_some()
    {
        begun.insert(number.as_slice(), NOTHING)?;
    }
    Ok(())
}

/// Durability of what removes files afterwards.
pub(super) const BEFORE_REMOVING: Durability = Durability::Immediate;
