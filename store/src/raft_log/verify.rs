//! Opening: what of the files is believed.
//!
//! Every entry that was acknowledged lies in a batch that was synced before the next one was begun, and before the next
//! segment was. So whatever cannot be read is a torn batch, and cut, exactly if no later batch and no later segment is
//! there. In all other cases something acknowledged was damaged, and the log is refused.

use super::record::{self, ALIGNMENT, RecordHead, SEGMENT_HEAD_LEN, SegmentHead};
use super::view::{EntryRef, View};
use super::{Active, LogDisk, LogLimits, LogPosition, StoredVote, small};
use crate::error::{Damage, StoreError};
use std::io;

/// A log that was opened.
pub(super) struct Opened {
    pub view: View,
    pub active: Option<Active>,
    pub chain: u32,
    pub vote: Option<StoredVote>,
}

/// Damage to what was acknowledged.
pub(super) fn lost(disk: &dyn LogDisk, name: String, offset: u64, what: &'static str) -> StoreError {
    StoreError::damaged(&disk.place().join(name), Damage::Log { what, offset })
}

pub(super) fn open(disk: &dyn LogDisk, limits: LogLimits) -> Result<Opened, StoreError> {
    let names = disk.list().map_err(|error| StoreError::io("list", &disk.place(), error))?;
    let vote = small_file(disk, &names, small::VOTE, small::decode_vote)?;
    let purged = small_file(disk, &names, small::PURGED, small::decode_purged)?;
    let mut segments = Vec::new();
    for name in &names {
        match record::segment_first(name) {
            Some(first) => segments.push(first),
            None if name == small::VOTE || name == small::PURGED => {}
            None => tracing::warn!(name, "ignored a file in the log's directory that is not the log's"),
        }
    }
    segments.sort_unstable();
    let mut reader = Reader { disk, limits, view: View::after(purged), chain: None };
    reader.drop_purged(&mut segments)?;
    let active = reader.read_all(&segments)?;
    Ok(Opened { active, chain: reader.chain.unwrap_or(0), view: reader.view, vote })
}

fn small_file<T>(
    disk: &dyn LogDisk,
    names: &[String],
    name: &str,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    if !names.iter().any(|found| found == name) {
        return Ok(None);
    }
    let bytes = disk.read(name).map_err(|error| StoreError::io("read", &disk.place().join(name), error))?;
    match decode(&bytes) {
        Some(value) => Ok(Some(value)),
        None => Err(lost(disk, name.to_owned(), 0, "the file is damaged")),
    }
}

struct Reader<'a> {
    disk: &'a dyn LogDisk,
    limits: LogLimits,
    view: View,
    /// Checksum of the last record's head; `None` before the first.
    chain: Option<u32>,
}

/// How a segment ends.
enum End {
    /// With its last record, at this offset; at most zeros follow.
    Clean(usize),
    /// With a batch that was not written whole, at this offset.
    Torn(usize),
}

impl Reader<'_> {
    /// Removes segments that a purge left behind: those whose successor begins where the log may begin.
    fn drop_purged(&self, segments: &mut Vec<u64>) -> Result<(), StoreError> {
        let begin = self.view.first;
        let last_needed = segments.iter().rposition(|&first| first <= begin).unwrap_or(0);
        for first in segments.drain(..last_needed) {
            self.remove(first)?;
        }
        Ok(())
    }

    fn read_all(&mut self, segments: &[u64]) -> Result<Option<Active>, StoreError> {
        let mut expected = segments.first().copied().unwrap_or(0);
        if expected > self.view.first {
            let name = record::segment_name(self.view.first);
            return Err(lost(self.disk, name, 0, "the segment is missing"));
        }
        for (at, &first) in segments.iter().enumerate() {
            if first != expected {
                let name = record::segment_name(expected);
                return Err(lost(self.disk, name, 0, "entries are missing"));
            }
            let name = record::segment_name(first);
            let bytes = self.disk.read(&name).map_err(|error| self.cannot("read", &name, error))?;
            let is_last = at + 1 == segments.len();
            let end = self.read_segment(first, &bytes, &mut expected)?;
            match end {
                End::Torn(offset) if !is_last || expected < self.view.first => {
                    return Err(lost(self.disk, name, offset as u64, "a record is damaged"));
                }
                End::Clean(_) if !is_last => {}
                End::Clean(offset) | End::Torn(offset) => return self.take_last(first, &bytes, offset, &end),
            }
        }
        Ok(None)
    }

    /// Makes the last segment ready for more.
    fn take_last(
        &mut self,
        first: u64,
        bytes: &[u8],
        len: usize,
        end: &End,
    ) -> Result<Option<Active>, StoreError> {
        let name = record::segment_name(first);
        if let End::Torn(_) = end {
            let cut = bytes.len() - len;
            tracing::warn!(
                segment = name,
                offset = len,
                bytes = cut,
                "cut a batch that was not written whole"
            );
        }
        if self.view.entries.is_empty() || len <= SEGMENT_HEAD_LEN {
            // Nothing in it is needed: all of it was purged, or nothing was ever whole.
            self.remove(first)?;
            self.view.segments.remove(&first);
            self.chain = self.view.entries.back().map(|entry| entry.chain);
            return Ok(None);
        }
        // What is read may only be in memory: a sync may have failed before the last process ended. Written anew it
        // is on the disk for certain, and without anything behind it.
        let mut sound = bytes.get(..len).unwrap_or(bytes).to_vec();
        // The zeros behind the last payload may not have been written.
        sound.resize(len, 0);
        self.disk.replace(&name, &sound).map_err(|error| self.cannot("rewrite", &name, error))?;
        self.view.segments.insert(first);
        Ok(Some(Active { first, len: len as u64 }))
    }

    /// Reads the records of a segment; `expected` is the index of its next entry, before and after.
    fn read_segment(&mut self, first: u64, bytes: &[u8], expected: &mut u64) -> Result<End, StoreError> {
        let name = record::segment_name(first);
        let Some(head) = SegmentHead::decode(bytes) else {
            self.nothing_later(first, 0, bytes, *expected)?;
            return Ok(End::Torn(0));
        };
        if head.version > record::VERSION {
            let (found, known) = (u64::from(head.version), u64::from(record::VERSION));
            return Err(StoreError::NewerVersion { path: self.disk.place().join(name), found, known });
        }
        let follows = self.chain.is_none_or(|chain| chain == head.chain);
        if head.first != first || !follows || head.version != record::VERSION {
            return Err(lost(self.disk, name, 0, "the segment is not the one that belongs here"));
        }
        self.chain = Some(head.crc);
        let mut offset = SEGMENT_HEAD_LEN;
        loop {
            let rest = bytes.get(offset..).unwrap_or_default();
            if rest.iter().all(|&byte| byte == 0) {
                self.view.segments.insert(first);
                return Ok(End::Clean(offset));
            }
            let head = RecordHead::decode(first, offset as u64, rest);
            let Some((head, payload)) = head.and_then(|head| Some((head, head.payload(rest)?))) else {
                self.nothing_later(first, offset, bytes, *expected)?;
                return Ok(End::Torn(offset));
            };
            if head.position.index != *expected || self.chain != Some(head.chain) {
                return Err(lost(self.disk, name, offset as u64, "a record does not follow the one before"));
            }
            self.take(&head, offset, payload, &name)?;
            self.chain = Some(head.crc);
            *expected = expected
                .checked_add(1)
                .ok_or_else(|| lost(self.disk, name.clone(), 0, "its indexes overflow"))?;
            offset += head.record_len();
        }
    }

    fn take(
        &mut self,
        head: &RecordHead,
        offset: usize,
        payload: &[u8],
        name: &str,
    ) -> Result<(), StoreError> {
        let LogPosition { term, index } = head.position;
        match self.view.purged {
            Some(purged) if index == purged.index && term != purged.term => {
                Err(lost(self.disk, name.to_owned(), offset as u64, "it does not agree with what was purged"))
            }
            Some(purged) if index <= purged.index => Ok(()),
            _ => {
                let offset = u32::try_from(offset).map_err(|_| {
                    lost(self.disk, name.to_owned(), offset as u64, "the segment is too long")
                })?;
                let entry = EntryRef { term, offset, len: head.len, chain: head.crc };
                self.view.push(entry, payload, self.limits.cache_bytes);
                Ok(())
            }
        }
    }

    /// Fails if a batch lies behind `offset` that was begun after the one that holds entry `expected`.
    fn nothing_later(
        &self,
        first: u64,
        offset: usize,
        bytes: &[u8],
        expected: u64,
    ) -> Result<(), StoreError> {
        for at in (offset.next_multiple_of(ALIGNMENT)..bytes.len()).step_by(ALIGNMENT) {
            let later = RecordHead::decode(first, at as u64, &bytes[at..]);
            if later.is_some_and(|head| head.batch > expected) {
                let name = record::segment_name(first);
                return Err(lost(
                    self.disk,
                    name,
                    offset as u64,
                    "a record is damaged, and later ones are not",
                ));
            }
        }
        Ok(())
    }

    fn remove(&self, first: u64) -> Result<(), StoreError> {
        let name = record::segment_name(first);
        self.disk.remove(&name).map_err(|error| self.cannot("remove", &name, error))
    }

    fn cannot(&self, operation: &'static str, name: &str, error: io::Error) -> StoreError {
        StoreError::io(operation, &self.disk.place().join(name), error)
    }
}
