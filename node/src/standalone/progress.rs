//! [`Progress`]: live figures of a run, written by workers and read by whoever draws them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Live figures. Every field may be read at any time; none is exact while the run goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries seen by the scans so far.
    pub scanned: AtomicU64,
    /// Files to be written, known once the plan is sealed.
    pub files_planned: AtomicU64,
    /// Bytes to be written, likewise.
    pub bytes_planned: AtomicU64,
    /// Files committed or failed.
    pub files_done: AtomicU64,
    /// Bytes copied.
    pub bytes_done: AtomicU64,
    /// Phase the run is in, see [`RunPhase`].
    phase: AtomicU64,
    /// Nanoseconds workers spent reading the source, writing the destination, and hashing.
    spent: [AtomicU64; 3],
    /// Nanoseconds workers waited for the bandwidth limit.
    throttled: AtomicU64,
    current: Mutex<String>,
}

/// What a worker's time goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reading the source.
    Read,
    /// Writing the destination.
    Write,
    /// Hashing and comparing.
    Cpu,
}

/// What the run is doing as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// Scanning and comparing both sides.
    Planning,
    /// Writing files.
    Copying,
    /// Deleting and setting directory times.
    Finishing,
    /// Waiting until everything is durable.
    Flushing,
}

/// What holds a run back most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The source cannot be read faster.
    SourceRead,
    /// The destination cannot be written faster.
    DestinationWrite,
    /// Hashing.
    Cpu,
    /// The bandwidth limit.
    Bandwidth,
}

impl Progress {
    /// Runs `work` and counts its time.
    pub fn timed<T>(&self, kind: Work, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.add_spent(kind, begun.elapsed());
        result
    }

    /// Counts time a worker spent.
    pub fn add_spent(&self, kind: Work, time: Duration) {
        self.spent[kind as usize].fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Counts time a worker waited for the bandwidth limit.
    pub fn add_throttled(&self, time: Duration) {
        self.throttled.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// What holds the run back most so far; `None` before anything was measured.
    pub fn limit(&self) -> Option<Limit> {
        let spent = |kind: Work| self.spent[kind as usize].load(Ordering::Relaxed);
        let candidates = [
            (spent(Work::Read), Limit::SourceRead),
            (spent(Work::Write), Limit::DestinationWrite),
            (spent(Work::Cpu), Limit::Cpu),
            (self.throttled.load(Ordering::Relaxed), Limit::Bandwidth),
        ];
        candidates.into_iter().filter(|c| c.0 > 0).max_by_key(|c| c.0).map(|c| c.1)
    }

    /// Sets the phase.
    pub fn set_phase(&self, phase: RunPhase) {
        self.phase.store(phase as u64, Ordering::Relaxed);
    }

    /// The phase.
    pub fn phase(&self) -> RunPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => RunPhase::Planning,
            1 => RunPhase::Copying,
            2 => RunPhase::Finishing,
            _ => RunPhase::Flushing,
        }
    }

    /// Sets the file in hand. Skipped rather than waited for when a reader holds it.
    pub fn set_current(&self, name: impl FnOnce() -> String) {
        if let Ok(mut current) = self.current.try_lock() {
            *current = name();
        }
    }

    /// The file in hand, for people.
    pub fn current(&self) -> String {
        self.current.lock().map(|name| name.clone()).unwrap_or_default()
    }
}
