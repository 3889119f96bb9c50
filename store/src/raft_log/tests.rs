//! The log on a disk that forgets what was not synced, and on a real one.

mod damage;
mod disk;
mod model;
mod real;

use super::{LogEntry, LogLimits, LogPosition, RaftLog, StoredVote};
use crate::error::StoreError;
use disk::FakeDisk;
use orbit_core::ids::NodeId;
use std::sync::Arc;

/// Small enough for several segments, and for most payloads to be out of memory.
const SMALL: LogLimits = LogLimits { segment_bytes: 400, cache_bytes: 150 };

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, index }
}

fn entry(term: u64, index: u64, len: usize) -> LogEntry {
    let payload = (0..len).map(|n| (n as u64 * 7 + index * 31 + term * 101) as u8).collect();
    LogEntry { position: at(term, index), payload }
}

fn vote(term: u64) -> StoredVote {
    StoredVote { term, candidate: NodeId::from_bytes([term as u8; 16]), is_committed: term.is_multiple_of(2) }
}

fn open(disk: &Arc<FakeDisk>) -> Result<RaftLog, StoreError> {
    RaftLog::open_with(Arc::clone(disk) as _, SMALL)
}

/// All that a log says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    purged: Option<LogPosition>,
    entries: Vec<LogEntry>,
    vote: Option<StoredVote>,
}

impl State {
    fn of(log: &RaftLog) -> Result<Self, StoreError> {
        let purged = log.purged();
        let first = purged.map_or(0, |purged| purged.index + 1);
        let entries = log.read(first..u64::MAX, usize::MAX)?;
        let this = Self { purged, entries, vote: log.vote() };
        assert_eq!(log.last(), this.last());
        Ok(this)
    }

    fn first(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn next(&self) -> u64 {
        self.first() + self.entries.len() as u64
    }

    fn last(&self) -> Option<LogPosition> {
        self.entries.last().map_or(self.purged, |entry| Some(entry.position))
    }
}

/// A log of three batches a segment and several segments, purged in the middle of one.
fn filled() -> (Arc<FakeDisk>, State) {
    let disk = Arc::new(FakeDisk::default());
    let log = open(&disk).expect("opened");
    log.save_vote(&vote(4)).expect("stored");
    let mut index = 0;
    for batch in [1, 3, 2, 1, 4, 2, 3] {
        let entries: Vec<_> = (index..index + batch).map(|index| entry(3, index, 30)).collect();
        log.append(&entries).expect("appended");
        index += batch;
    }
    log.purge_to(at(3, 6)).expect("purged");
    let state = State::of(&log).expect("read");
    (disk, state)
}

#[test]
fn what_was_appended_is_read_again() {
    let (disk, before) = filled();
    assert_eq!(before.entries.len(), 9);
    let log = open(&disk).expect("opened again");
    assert_eq!(State::of(&log).expect("read"), before);
    assert_eq!((log.purged(), log.last()), (Some(at(3, 6)), Some(at(3, 15))));
    assert_eq!((log.position(6), log.position(9), log.position(16)), (Some(at(3, 6)), Some(at(3, 9)), None));
    log.append(&[entry(5, 16, 0), entry(5, 17, 2000), entry(6, 18, 1)]).expect("goes on, whatever the size");
    assert_eq!(open(&disk).expect("opened").last(), Some(at(6, 18)));
}

#[test]
fn a_range_is_read_up_to_its_bytes() {
    let (disk, _) = filled();
    let log = open(&disk).expect("opened");
    let indexes = |range, max| -> Vec<u64> {
        log.read(range, max).expect("read").iter().map(|entry| entry.position.index).collect()
    };
    assert_eq!(indexes(8..12, usize::MAX), [8, 9, 10, 11]);
    assert_eq!(indexes(8..12, 60), [8, 9]);
    assert_eq!(indexes(8..12, 0), [8], "one at least");
    assert_eq!(indexes(14..99, usize::MAX), [14, 15]);
    assert!(indexes(6..9, usize::MAX).is_empty(), "purged");
    assert!(indexes(16..20, usize::MAX).is_empty(), "not there yet");
    assert!(indexes(9..9, usize::MAX).is_empty());
}

#[test]
fn entries_follow_each_other() {
    let (disk, state) = filled();
    let log = open(&disk).expect("opened");
    for offered in [15, 17] {
        let error = log.append(&[entry(3, offered, 1)]).expect_err("a gap");
        assert!(matches!(error, StoreError::LogGap { expected: 16, .. }), "{error:?}");
    }
    let error = log.truncate_from(6).expect_err("purged");
    assert!(matches!(error, StoreError::OutOfRange { .. }), "{error:?}");
    assert_eq!(State::of(&log).expect("read"), state, "a refused change changes nothing");
}

#[test]
fn a_snapshot_that_is_ahead_or_disagrees_empties_the_log() {
    for (position, held) in [(at(3, 40), 0), (at(9, 10), 0), (at(3, 10), 5), (at(3, 2), 9)] {
        let (disk, _) = filled();
        let log = open(&disk).expect("opened");
        log.purge_to(position).expect("purged");
        assert_eq!(State::of(&log).expect("read").entries.len(), held, "{position:?}");
        let next = log.last().map_or(0, |last| last.index + 1);
        log.append(&[entry(9, next, 8)]).expect("goes on");
        let state = State::of(&log).expect("read");
        drop(log);
        assert_eq!(State::of(&open(&disk).expect("opened")).expect("read"), state, "{position:?}");
    }
}

#[test]
fn a_seeded_log_begins_after_its_position() {
    let (disk, _) = filled();
    let log = open(&disk).expect("opened");
    log.seed(at(7, 100)).expect("seeded");
    let empty = State { purged: Some(at(7, 100)), ..State::default() };
    assert_eq!(State::of(&log).expect("read"), empty);
    log.append(&[entry(8, 101, 5)]).expect("appended");
    assert_eq!(open(&disk).expect("opened").last(), Some(at(8, 101)));
}

#[test]
fn truncated_entries_never_come_back() {
    // Several times a long batch, cut in its middle, a shorter one in its place, and the power goes.
    let disk = Arc::new(FakeDisk::default());
    let mut term = 1;
    for round in 0..40 {
        let log = open(&disk).expect("opened");
        let next = log.last().map_or(0, |last| last.index + 1);
        log.append(&(next..next + 6).map(|index| entry(term, index, 30)).collect::<Vec<_>>())
            .expect("appended");
        log.truncate_from(next + round % 6).expect("truncated");
        term += 1;
        let next = next + round % 6;
        log.append(&[entry(term, next, 3)]).expect("appended");
        drop(log);
        disk.crash(round);
        let log = open(&disk).expect("opened");
        assert_eq!(log.last(), Some(at(term, next)), "round {round}");
    }
}

#[test]
fn nothing_is_taken_after_a_failed_sync() {
    let (disk, before) = filled();
    let log = open(&disk).expect("opened");
    disk.fail_after(1);
    let error = log.append(&[entry(3, 16, 9)]).expect_err("the sync failed");
    assert!(matches!(error, StoreError::Io { operation: "append to the log", .. }), "{error:?}");
    assert_eq!(State::of(&log).expect("reading goes on"), before, "what is not durable is not seen");
    for error in [
        log.append(&[entry(3, 16, 9)]).expect_err("poisoned"),
        log.save_vote(&vote(9)).expect_err("poisoned"),
        log.truncate_from(10).expect_err("poisoned"),
        log.purge_to(at(3, 9)).expect_err("poisoned"),
    ] {
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error:?}");
    }
    // The file shows bytes that no later sync would bring to the disk.
    let log = open(&disk).expect("opened");
    let opened = State::of(&log).expect("read");
    log.append(&[entry(3, opened.next(), 9)]).expect("appended");
    drop(log);
    disk.crash(3);
    let after = State::of(&open(&disk).expect("opened")).expect("read");
    assert_eq!(after.entries[..opened.entries.len()], opened.entries);
    assert_eq!(after.next(), opened.next() + 1);
}
