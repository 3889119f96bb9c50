//! [`RaftLog`]: the entries that were agreed upon or may be, and the vote, durable before anybody hears of them.
//!
//! Entries lie in append-only segments named after their first index; the vote and the position up to which the log
//! was purged in small files of their own. What an entry says is its caller's business. Byte tables: `raft_log/record.rs`.
//!
//! ```text
//!  append ─ one write, one sync ─▶ 00000000000000000000.log … 00000000000000012345.log
//!  save_vote, purge_to ─ replace ─▶ vote, purged
//!  read ◀─ the last payloads from memory, older ones from the segments, checked again
//! ```
//!
//! Reading order: this file, `record.rs` (bytes), `verify.rs` (what is believed at opening), `disk.rs` (the files).
//!
//! # What is promised
//! - When [`append`](RaftLog::append), [`save_vote`](RaftLog::save_vote), [`truncate_from`](RaftLog::truncate_from) or
//!   [`purge_to`](RaftLog::purge_to) returns, it is on the disk.
//! - At most the last batch can be torn by a crash, since each is synced before the next. Opening cuts it. Anything else
//!   that is wrong, be it one bit, is an error: a voter must not forget what it has acknowledged.
//! - After a write or a sync failed nobody knows what is on the disk, and a second sync would not tell. The log then
//!   takes nothing more until it is opened again, and opening writes the last segment anew.

mod disk;
mod record;
mod small;
#[cfg(test)]
mod tests;
mod verify;
mod view;

pub use disk::{DirectoryDisk, LogDisk};

use crate::error::StoreError;
use orbit_core::ids::NodeId;
use record::{PAYLOAD_BYTES_MAX, RECORD_HEAD_LEN, padded};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use verify::Opened;
use view::{EntryRef, View};

/// The place of an entry: the term of the leader that wrote it, and its number. Ordered by term, then by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// Term of the leader that wrote it.
    pub term: u64,
    /// Its number; the first is 0.
    pub index: u64,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place.
    pub position: LogPosition,
    /// What it says; opaque, at most 64 MiB.
    pub payload: Vec<u8>,
}

/// For whom this node voted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredVote {
    /// In which term.
    pub term: u64,
    /// For whom.
    pub candidate: NodeId,
    /// Whether a quorum voted so.
    pub is_committed: bool,
}

/// How large things grow.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// A batch that would make a segment longer than this begins a new one.
    pub segment_bytes: u64,
    /// Bytes of the newest payloads that are kept in memory.
    pub cache_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { segment_bytes: 8 << 20, cache_bytes: 8 << 20 }
    }
}

/// The log of one member of the group. Every call blocks on the disk, readers of recent entries excepted.
#[derive(Debug)]
pub struct RaftLog {
    disk: Arc<dyn LogDisk>,
    limits: LogLimits,
    /// Taken first by whoever writes.
    writer: Mutex<Writer>,
    /// What readers see: only what is durable. Held while segments are read, so that none is cut under a reader.
    view: RwLock<View>,
}

#[derive(Debug)]
struct Writer {
    /// The segment that takes the next entries; `None`: a new one does.
    active: Option<Active>,
    /// Checksum of the last record's head, which the next record repeats; 0 if there is none.
    chain: u32,
    vote: Option<StoredVote>,
    is_poisoned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    first: u64,
    len: u64,
}

impl RaftLog {
    /// Opens the log and verifies all of it; an empty one if there is none. A torn last batch is cut.
    ///
    /// Errors: [`Corrupt`](StoreError::Corrupt) if anything that was acknowledged is damaged or missing: then this node
    /// has to be removed and to join again; [`NewerVersion`](StoreError::NewerVersion); [`Io`](StoreError::Io).
    pub fn open(disk: Arc<dyn LogDisk>) -> Result<Self, StoreError> {
        Self::open_with(disk, LogLimits::default())
    }

    /// [`open`](Self::open) with other limits. The segments that are there may be of any length.
    pub fn open_with(disk: Arc<dyn LogDisk>, limits: LogLimits) -> Result<Self, StoreError> {
        let Opened { view, active, chain, vote } = verify::open(disk.as_ref(), limits)?;
        let writer = Mutex::new(Writer { active, chain, vote, is_poisoned: false });
        Ok(Self { disk, limits, writer, view: RwLock::new(view) })
    }

    /// For whom this node voted last.
    pub fn vote(&self) -> Option<StoredVote> {
        self.writer_even_if_poisoned().vote
    }

    /// Stores a vote in place of the one before.
    pub fn save_vote(&self, vote: &StoredVote) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        self.disk("store the vote", small::VOTE, &mut writer, |disk| {
            disk.replace(small::VOTE, &small::encode_vote(vote))
        })?;
        writer.vote = Some(*vote);
        Ok(())
    }

    /// The last entry that was purged: the log begins after it.
    pub fn purged(&self) -> Option<LogPosition> {
        self.view().purged
    }

    /// The last entry; the last purged one if the log is empty.
    pub fn last(&self) -> Option<LogPosition> {
        self.view().last()
    }

    /// The place of an entry, if the log holds it or it is the last purged one.
    pub fn position(&self, index: u64) -> Option<LogPosition> {
        self.view().position(index)
    }

    /// Appends entries, which must follow the last one. They are on the disk when this returns, and not visible before.
    ///
    /// Errors: [`LogGap`](StoreError::LogGap); [`OutOfRange`](StoreError::OutOfRange) for an entry above 64 MiB;
    /// [`Poisoned`](StoreError::Poisoned).
    pub fn append(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        let next = self.view().next();
        for (entry, expected) in entries.iter().zip(next..) {
            if entry.position.index != expected {
                return Err(StoreError::LogGap { expected, offered: entry.position.index });
            }
            if entry.payload.len() > PAYLOAD_BYTES_MAX {
                let value = entry.payload.len() as u64;
                return Err(StoreError::OutOfRange { what: "length of a log entry", value });
            }
        }
        let mut rest = entries;
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(self.batch_len(rest));
            self.write_batch(&mut writer, batch)?;
            rest = behind;
        }
        Ok(())
    }

    /// How many of `entries` fit into one segment; at least one.
    fn batch_len(&self, entries: &[LogEntry]) -> usize {
        let mut bytes = record::SEGMENT_HEAD_LEN as u64;
        let fits = |entry: &&LogEntry| {
            bytes += (RECORD_HEAD_LEN + padded(entry.payload.len())) as u64;
            bytes <= self.limits.segment_bytes
        };
        entries.iter().take_while(fits).count().max(1)
    }

    fn write_batch(&self, writer: &mut Writer, batch: &[LogEntry]) -> Result<(), StoreError> {
        let Some(begin) = batch.first().map(|entry| entry.position.index) else { return Ok(()) };
        let bytes: usize = batch.iter().map(|entry| RECORD_HEAD_LEN + padded(entry.payload.len())).sum();
        let mut buffer = Vec::with_capacity(record::SEGMENT_HEAD_LEN + bytes);
        let mut chain = writer.chain;
        let active = match writer.active {
            Some(active) if active.len + bytes as u64 <= self.limits.segment_bytes => active,
            _ => {
                chain = record::encode_segment_head(begin, chain, &mut buffer);
                Active { first: begin, len: 0 }
            }
        };
        let mut added = Vec::with_capacity(batch.len());
        for entry in batch {
            let offset = active.len + buffer.len() as u64;
            chain = record::encode(active.first, offset, begin, chain, entry, &mut buffer);
            added.push(EntryRef {
                term: entry.position.term,
                offset: offset as u32,
                len: entry.payload.len() as u32,
                chain,
            });
        }
        let name = record::segment_name(active.first);
        self.disk("append to the log", &name, writer, |disk| {
            disk.append(&name, &buffer)?;
            disk.sync(&name)
        })?;
        writer.active = Some(Active { first: active.first, len: active.len + buffer.len() as u64 });
        writer.chain = chain;
        let mut view = self.view_mut();
        view.segments.insert(active.first);
        for (entry, added) in batch.iter().zip(added) {
            view.push(added, &entry.payload, self.limits.cache_bytes);
        }
        Ok(())
    }

    /// Entries from `range.start` on, up to `range.end` or until their payloads would exceed `max_bytes`; one entry
    /// at least. None if the first of them is not held, because it was purged or is not there yet.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.view().read(self.disk.as_ref(), range, max_bytes)
    }

    /// Forgets the entries from `index` on. They cannot come back, whatever is appended or crashes then.
    ///
    /// Error: [`OutOfRange`](StoreError::OutOfRange) if `index` was purged.
    pub fn truncate_from(&self, index: u64) -> Result<(), StoreError> {
        self.truncate(&mut *self.writer()?, index)
    }

    fn truncate(&self, writer: &mut Writer, index: u64) -> Result<(), StoreError> {
        let mut view = self.view_mut();
        if index >= view.next() {
            return Ok(());
        }
        let Some(offset) = view.entry(index).map(|entry| u64::from(entry.offset)) else {
            return Err(StoreError::OutOfRange { what: "log index to truncate from", value: index });
        };
        view.truncate_from(index);
        // If nothing is left, what lies before it in its segment was purged, so that goes as well. The last segment
        // goes first: whatever a crash leaves has no gap.
        let keeps_none = view.entries.is_empty();
        while let Some(first) = view.segments.last().copied().filter(|&first| keeps_none || first >= index) {
            let name = record::segment_name(first);
            self.disk("remove", &name, writer, |disk| disk.remove(&name))?;
            view.segments.pop_last();
            writer.active = None;
        }
        writer.chain = view.entries.back().map_or(0, |entry| entry.chain);
        // Behind it, the segment that is last now may go on after the cut, or end there because `index` began a segment.
        if let Some(&first) = view.segments.last()
            && offset > record::SEGMENT_HEAD_LEN as u64
        {
            let name = record::segment_name(first);
            self.disk("truncate", &name, writer, |disk| disk.truncate(&name, offset))?;
            writer.active = Some(Active { first, len: offset });
        }
        Ok(())
    }

    /// Forgets the entries up to `position`, which a snapshot holds. If the log has another entry there, or ends
    /// before it, all of it goes and it begins anew after `position`. Does nothing if that much was purged already.
    pub fn purge_to(&self, position: LogPosition) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        let conflicts = {
            let view = self.view();
            if view.purged.is_some_and(|purged| purged.index >= position.index) {
                return Ok(());
            }
            view.position(position.index).is_some_and(|held| held != position)
        };
        if conflicts {
            self.truncate(&mut writer, position.index)?;
        }
        self.disk("store the purge position", small::PURGED, &mut writer, |disk| {
            disk.replace(small::PURGED, &small::encode_purged(position))
        })?;
        let mut view = self.view_mut();
        for first in view.purge_to(position) {
            let name = record::segment_name(first);
            // What stays is below the purge position, so the next opening removes it.
            if let Err(error) = self.disk.remove(&name) {
                tracing::warn!(%error, name, "cannot remove a purged segment of the log");
            }
        }
        if view.entries.is_empty() {
            writer.active = None;
            writer.chain = 0;
        }
        Ok(())
    }

    /// Makes this a fresh log that begins after `position`: no entries, no vote. For founding, restoring and recovering;
    /// a crash meanwhile leaves something in between, so the caller begins again.
    pub fn seed(&self, position: LogPosition) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        let mut view = self.view_mut();
        while let Some(first) = view.segments.last().copied() {
            let name = record::segment_name(first);
            self.disk("remove", &name, &mut writer, |disk| disk.remove(&name))?;
            view.segments.pop_last();
        }
        self.disk("store the purge position", small::PURGED, &mut writer, |disk| {
            disk.replace(small::PURGED, &small::encode_purged(position))
        })?;
        self.disk("remove", small::VOTE, &mut writer, |disk| disk.remove(small::VOTE))?;
        *view = View::after(Some(position));
        (writer.active, writer.chain, writer.vote) = (None, 0, None);
        Ok(())
    }

    /// Runs a change of the files; if it fails, nothing more is taken.
    fn disk(
        &self,
        operation: &'static str,
        name: &str,
        writer: &mut Writer,
        change: impl FnOnce(&dyn LogDisk) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        change(self.disk.as_ref()).map_err(|error| {
            writer.is_poisoned = true;
            StoreError::io(operation, &self.disk.place().join(name), error)
        })
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, StoreError> {
        let writer = self.writer_even_if_poisoned();
        if writer.is_poisoned { Err(StoreError::Poisoned { path: self.disk.place() }) } else { Ok(writer) }
    }

    fn writer_even_if_poisoned(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}
