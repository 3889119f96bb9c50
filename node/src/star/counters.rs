//! [`Counters`]: what a star did for others, and how their sessions ended.

use crate::standalone::state::now_ms;
use orbit_core::wire::pulse::Metering;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The asker closed it.
    Closed,
    /// The asker was refused.
    Refused,
    /// The asker was shown the way to allowed paths.
    Shown,
    /// Too many streams wait to ask something.
    Crowded,
    /// Nothing was asked in time.
    Silent,
    /// The asker read nothing of what was sent to it.
    Stalled,
    /// What came was no frame, no message, or not the time for it.
    Wrong(&'static str),
    /// A call panicked.
    Panicked,
}

/// How sessions ended, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The asker closed them, or was told all there is to tell.
    pub closed: u64,
    /// The asker was refused.
    pub refused: u64,
    /// Closed unheard, as too many others waited.
    pub crowded: u64,
    /// Nothing was asked in time.
    pub silent: u64,
    /// The asker stopped reading.
    pub stalled: u64,
    /// What came was no frame, no message, or not the time for it.
    pub wrong: u64,
    /// A call panicked.
    pub panicked: u64,
}

impl Ends {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.closed + self.refused + self.crowded + self.silent + self.stalled + self.wrong + self.panicked
    }
}

/// The counters of one service.
#[derive(Debug, Default)]
pub(super) struct Counters {
    since_ms: i64,
    pub calls: AtomicU64,
    pub refused: AtomicU64,
    pub entries_scanned: AtomicU64,
    pub bytes_hashed: AtomicU64,
    pub bytes_sent: AtomicU64,
    pub bytes_received: AtomicU64,
    running: AtomicU32,
    ends: [AtomicU64; 7],
}

impl Counters {
    pub fn start() -> Self {
        Self { since_ms: now_ms(), ..Self::default() }
    }

    pub fn metering(&self) -> Metering {
        Metering {
            since_ms: self.since_ms,
            calls: self.calls.load(Relaxed),
            refused: self.refused.load(Relaxed),
            entries_scanned: self.entries_scanned.load(Relaxed),
            bytes_hashed: self.bytes_hashed.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
        }
    }

    pub fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// Counts a call until the guard is dropped.
    pub fn run(&self) -> Running<'_> {
        self.calls.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        Running(self)
    }

    pub fn ended(&self, end: End) {
        let slot = match end {
            End::Closed | End::Shown => 0,
            End::Refused => 1,
            End::Crowded => 2,
            End::Silent => 3,
            End::Stalled => 4,
            End::Wrong(_) => 5,
            End::Panicked => 6,
        };
        self.ends[slot].fetch_add(1, Relaxed);
    }

    pub fn ends(&self) -> Ends {
        let [closed, refused, crowded, silent, stalled, wrong, panicked] =
            std::array::from_fn(|slot| self.ends[slot].load(Relaxed));
        Ends { closed, refused, crowded, silent, stalled, wrong, panicked }
    }
}

/// A call that runs.
pub(super) struct Running<'c>(&'c Counters);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}
