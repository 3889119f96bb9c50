//! [`View`]: where each entry lies, and the newest payloads. What readers see is durable.

use super::record::{self, RECORD_HEAD_LEN, RecordHead, padded};
use super::verify::lost;
use super::{LogDisk, LogEntry, LogPosition};
use crate::error::StoreError;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

/// Bytes read from a segment at once.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Where an entry lies: 24 bytes of memory for each that the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryRef {
    pub term: u64,
    /// Offset of its record in its segment.
    pub offset: u32,
    /// Length of its payload.
    pub len: u32,
    /// Checksum of its record's head.
    pub chain: u32,
}

#[derive(Debug)]
pub(super) struct View {
    pub purged: Option<LogPosition>,
    /// Index of the first entry that is held, or would be.
    pub first: u64,
    pub entries: VecDeque<EntryRef>,
    /// First indexes of the segments. The oldest may hold entries that were purged.
    pub segments: BTreeSet<u64>,
    /// Payloads of the last entries.
    cache: VecDeque<Box<[u8]>>,
    cached_bytes: usize,
}

impl View {
    /// An empty log.
    pub fn after(purged: Option<LogPosition>) -> Self {
        Self {
            purged,
            first: purged.map_or(0, |purged| purged.index.saturating_add(1)),
            entries: VecDeque::new(),
            segments: BTreeSet::new(),
            cache: VecDeque::new(),
            cached_bytes: 0,
        }
    }

    /// Index of the next entry.
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub fn last(&self) -> Option<LogPosition> {
        match self.entries.back() {
            Some(entry) => Some(LogPosition { term: entry.term, index: self.next() - 1 }),
            None => self.purged,
        }
    }

    pub fn entry(&self, index: u64) -> Option<&EntryRef> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    pub fn position(&self, index: u64) -> Option<LogPosition> {
        let purged = self.purged.filter(|purged| purged.index == index);
        purged.or_else(|| self.entry(index).map(|entry| LogPosition { term: entry.term, index }))
    }

    pub fn push(&mut self, entry: EntryRef, payload: &[u8], cache_bytes: usize) {
        self.entries.push_back(entry);
        self.cached_bytes += payload.len();
        self.cache.push_back(payload.into());
        while self.cached_bytes > cache_bytes {
            let Some(oldest) = self.cache.pop_front() else { break };
            self.cached_bytes -= oldest.len();
        }
    }

    pub fn truncate_from(&mut self, index: u64) {
        while self.next() > index && self.entries.pop_back().is_some() {
            if let Some(payload) = self.cache.pop_back() {
                self.cached_bytes -= payload.len();
            }
        }
    }

    /// Forgets entries up to `position`; returns the segments that hold nothing else any more.
    pub fn purge_to(&mut self, position: LogPosition) -> Vec<u64> {
        while self.first <= position.index && self.entries.pop_front().is_some() {
            self.first += 1;
        }
        self.first = position.index.saturating_add(1);
        self.purged = Some(position);
        while self.cache.len() > self.entries.len() {
            let Some(oldest) = self.cache.pop_front() else { break };
            self.cached_bytes -= oldest.len();
        }
        let holds_any = !self.entries.is_empty();
        let keep = self.segments.range(..=self.first).next_back().copied().filter(|_| holds_any);
        let gone =
            self.segments.iter().copied().filter(|&first| keep.is_none_or(|keep| first < keep)).collect();
        self.segments.retain(|&first| keep.is_some_and(|keep| first >= keep));
        gone
    }

    pub fn read(
        &self,
        disk: &dyn LogDisk,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let end = self.end_within(range.clone(), max_bytes);
        let mut found = Vec::with_capacity(usize::try_from(end.saturating_sub(range.start)).unwrap_or(0));
        let cached_from = self.next() - self.cache.len() as u64;
        let mut index = range.start;
        while index < end.min(cached_from) {
            index = self.read_run(disk, index..end.min(cached_from), &mut found)?;
        }
        for (index, entry) in (index..end).zip(self.entries.range(self.at(index)..)) {
            let payload = self.cache[usize::try_from(index - cached_from).unwrap_or(usize::MAX)].to_vec();
            found.push(LogEntry { position: LogPosition { term: entry.term, index }, payload });
        }
        Ok(found)
    }

    /// Where to end so that the payloads have at most `max_bytes`, unless the first alone has more.
    fn end_within(&self, range: Range<u64>, max_bytes: usize) -> u64 {
        let mut bytes = 0;
        let mut index = range.start;
        while index < range.end
            && let Some(entry) = self.entry(index)
        {
            bytes += entry.len as usize;
            if bytes > max_bytes && index > range.start {
                break;
            }
            index += 1;
        }
        index
    }

    /// Place of `index` among the entries.
    fn at(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first))
            .map_or(self.entries.len(), |at| at.min(self.entries.len()))
    }

    /// Reads entries that lie side by side in one segment, and checks them; returns the index behind the last.
    fn read_run(
        &self,
        disk: &dyn LogDisk,
        range: Range<u64>,
        found: &mut Vec<LogEntry>,
    ) -> Result<u64, StoreError> {
        let Some(&segment) = self.segments.range(..=range.start).next_back() else {
            return Err(lost(disk, record::segment_name(range.start), 0, "entries lie in no segment"));
        };
        let behind = self.segments.range(range.start + 1..).next().copied().unwrap_or(u64::MAX);
        let entries = self.entries.range(self.at(range.start)..self.at(range.end.min(behind)));
        let begin = entries.clone().next().map_or(0, |entry| u64::from(entry.offset));
        let end_of = |entry: &EntryRef| {
            u64::from(entry.offset) + (RECORD_HEAD_LEN + padded(entry.len as usize)) as u64
        };
        let mut taken = Vec::new();
        for entry in entries {
            if !taken.is_empty() && end_of(entry) - begin > READ_BYTES_MAX {
                break;
            }
            taken.push(*entry);
        }
        let end = taken.last().map_or(begin, end_of);
        let name = record::segment_name(segment);
        let bytes = disk
            .read_range(&name, begin, usize::try_from(end - begin).unwrap_or(usize::MAX))
            .map_err(|error| StoreError::io("read", &disk.place().join(&name), error))?;
        let mut index = range.start;
        for entry in taken {
            let offset = u64::from(entry.offset);
            let record =
                bytes.get(usize::try_from(offset - begin).unwrap_or(usize::MAX)..).unwrap_or_default();
            let head = RecordHead::decode(segment, offset, record).filter(|head| head.crc == entry.chain);
            let Some(payload) = head.and_then(|head| head.payload(record)) else {
                return Err(lost(disk, name, offset, "a record was changed since the log was opened"));
            };
            let position = LogPosition { term: entry.term, index };
            found.push(LogEntry { position, payload: payload.to_vec() });
            index += 1;
        }
        Ok(index)
    }
}
