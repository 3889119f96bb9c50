//! [`Merge`]: many runs read as one, in order.

use super::record::{Record, order, prefix, same_name};
use super::run::{BLOCK_LEN, Run};
use crate::error::StoreError;
use std::cmp::Ordering;
use std::sync::Arc;

/// Blocks read of a run at once: long enough reads, and 64 runs are 8 MiB.
const BLOCKS_AT_ONCE: usize = 8;

/// The records of some runs in order; of those that place a chunk in the same content the first.
#[derive(Debug)]
pub(super) struct Merge {
    cursors: Vec<Cursor>,
    /// A heap of the cursors that are not at their end: prefix of its record, its index.
    heap: Vec<(u64, u32)>,
    last: Option<Record>,
}

/// A place in a run.
#[derive(Debug)]
struct Cursor {
    run: Arc<Run>,
    /// The block after those in the buffer.
    next: u64,
    buffer: Box<[u8]>,
    /// Blocks in the buffer, the current one, its records, the current record.
    loaded: usize,
    block: usize,
    records: usize,
    at: usize,
}

impl Merge {
    /// Begins with the first record of each.
    pub fn new(runs: &[Arc<Run>]) -> Result<Self, StoreError> {
        let mut merge = Self { cursors: Vec::with_capacity(runs.len()), heap: Vec::new(), last: None };
        for run in runs {
            let mut cursor = Cursor::new(Arc::clone(run));
            if cursor.load()? {
                merge.heap.push((prefix(cursor.record()), merge.cursors.len() as u32));
                merge.cursors.push(cursor);
            }
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sink(at);
        }
        Ok(merge)
    }

    /// The next record; `None` at the end of all.
    pub fn next(&mut self) -> Result<Option<Record>, StoreError> {
        loop {
            let Some(&(_, index)) = self.heap.first() else { return Ok(None) };
            let cursor = &mut self.cursors[index as usize];
            let record = *cursor.record();
            if cursor.advance()? {
                self.heap[0].0 = prefix(cursor.record());
            } else {
                self.heap.swap_remove(0);
            }
            self.sink(0);
            if self.last.is_none_or(|last| !same_name(&last, &record)) {
                self.last = Some(record);
                return Ok(Some(record));
            }
        }
    }

    /// Restores the heap below `at`.
    fn sink(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let is_right = right < self.heap.len() && self.is_before(right, left);
            let child = if is_right { right } else { left };
            if !self.is_before(child, at) {
                return;
            }
            self.heap.swap(child, at);
            at = child;
        }
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        match a.0.cmp(&b.0) {
            Ordering::Equal => {
                let record = |index: u32| self.cursors[index as usize].record();
                order(record(a.1), record(b.1)).is_lt()
            }
            decided => decided.is_lt(),
        }
    }
}

impl Cursor {
    fn new(run: Arc<Run>) -> Self {
        let blocks = BLOCKS_AT_ONCE.min(run.blocks() as usize);
        let buffer = vec![0; blocks * BLOCK_LEN].into_boxed_slice();
        Self { run, next: 0, buffer, loaded: 0, block: 0, records: 0, at: 0 }
    }

    fn record(&self) -> &Record {
        &Run::records_of(&self.buffer[self.block * BLOCK_LEN..][..BLOCK_LEN])[self.at]
    }

    /// Goes to the next record; whether there is one.
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.at += 1;
        if self.at < self.records {
            return Ok(true);
        }
        self.at = 0;
        self.block += 1;
        if self.block < self.loaded {
            self.records = self.run.records_in(self.next - (self.loaded - self.block) as u64);
            return Ok(true);
        }
        self.load()
    }

    /// Reads the next blocks; whether there are any.
    fn load(&mut self) -> Result<bool, StoreError> {
        self.loaded = self.run.read(self.next, &mut self.buffer)?;
        self.records = self.run.records_in(self.next);
        self.next += self.loaded as u64;
        (self.block, self.at) = (0, 0);
        Ok(self.loaded > 0)
    }
}
