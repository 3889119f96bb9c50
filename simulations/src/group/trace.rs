//! [`Trace`]: everything that happens in the group's world, in order, and whatever was found wrong with it.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Events in one millisecond of virtual time: with more, somebody does the same over and over without waiting.
const EVENTS_AT_ONCE_MAX: u64 = 200_000;
/// Violations that are kept: the first one counts, the rest show how far it reached.
const VIOLATIONS_KEPT: usize = 20;

/// FNV-1a (Fowler, Noll and Vo), 64 bits: equal on every machine and in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold(u64);

impl Default for Fold {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fold {
    /// Takes in some bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What was taken in, as one word.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The word of these bytes alone.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut fold = Self::default();
        fold.bytes(bytes);
        fold.word()
    }
}

impl fmt::Write for Fold {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Whether the lines of a trace are kept, or only counted and folded into its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// To be read by people.
    Lines,
    /// To be compared: a seed plays the same way again, so lines can be had then.
    Hash,
}

/// The event log of one seed.
#[derive(Debug)]
pub struct Trace {
    begin: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    keep: Keep,
    lines: Vec<String>,
    fold: Fold,
    events: u64,
    /// When the last event was, and how many were then.
    at_once: (u64, u64),
    violations: Vec<String>,
}

impl Trace {
    /// Begins now, in virtual time.
    pub fn begin(keep: Keep) -> Self {
        let inner = Inner {
            keep,
            lines: Vec::new(),
            fold: Fold::default(),
            events: 0,
            at_once: (0, 0),
            violations: Vec::new(),
        };
        Self { begin: Instant::now(), inner: Mutex::new(inner) }
    }

    /// Virtual time since the beginning, milliseconds.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes an event.
    pub fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        inner.events += 1;
        inner.at_once = if inner.at_once.0 == now_ms { (now_ms, inner.at_once.1 + 1) } else { (now_ms, 0) };
        if inner.at_once.1 == EVENTS_AT_ONCE_MAX {
            drop(inner);
            // Whoever does it is stopped by this, and the panic is a violation.
            panic!("time stands still at {now_ms} ms");
        }
        // Writing into a fold or a string does not fail.
        let _ = write!(inner.fold, "{now_ms} {who} {what}");
        if inner.keep == Keep::Lines {
            inner.lines.push(format!("{now_ms:>7} {who:<4} {what}"));
        }
    }

    /// Notes that a rule was broken.
    pub fn violation(&self, rule: &str, what: fmt::Arguments<'_>) {
        self.note("!!", format_args!("broken: {rule}: {what}"));
        let now_ms = self.now_ms();
        let mut inner = self.inner();
        if inner.violations.len() < VIOLATIONS_KEPT {
            inner.violations.push(format!("broken: {rule}: {what} (at {now_ms} ms)"));
        }
    }

    /// Whether a rule was broken.
    pub fn is_broken(&self) -> bool {
        !self.inner().violations.is_empty()
    }

    /// Hash of all events so far, and their number.
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.inner();
        (inner.fold.word(), inner.events)
    }

    /// The violations, and the lines if they were kept.
    pub fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut inner = self.inner();
        (std::mem::take(&mut inner.violations), std::mem::take(&mut inner.lines))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
