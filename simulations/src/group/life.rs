//! [`Life`]: one run of a node's process, which may end inside any step of what it does.

use super::trace::Trace;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// From its start to its death. Whatever the process holds of the world (disk, databases, network) asks it first.
///
/// When a step is the last one, everything the process does afterwards has no effect: its disks fail, nobody hears it.
/// Its tasks are aborted as soon as the world gets to it.
#[derive(Debug)]
pub struct Life {
    name: String,
    trace: Arc<Trace>,
    is_over: AtomicBool,
    /// Steps until death; 0: none is near.
    countdown: AtomicU64,
    steps: AtomicU64,
    died_at: Mutex<Option<&'static str>>,
    death: Notify,
}

impl Life {
    /// A life of a node, with that many steps to go, or no end in sight.
    pub fn begin(name: &str, steps: Option<u64>, trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            trace: trace.clone(),
            is_over: AtomicBool::new(false),
            countdown: AtomicU64::new(steps.unwrap_or(0)),
            steps: AtomicU64::new(0),
            died_at: Mutex::new(None),
            death: Notify::new(),
        })
    }

    /// Whether it is still on.
    pub fn is_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Has it die after so many more steps.
    pub fn end_after(&self, steps: u64) {
        self.countdown.store(steps, Ordering::Relaxed);
    }

    /// A step after which a crash would leave something in between. An error says that it was the last one.
    pub fn step(&self, what: &'static str) -> io::Result<()> {
        if !self.is_on() {
            return Err(gone());
        }
        self.steps.fetch_add(1, Ordering::Relaxed);
        let left = self.countdown.load(Ordering::Relaxed);
        if left == 1 {
            self.end(what);
            return Err(gone());
        }
        self.countdown.store(left.saturating_sub(1), Ordering::Relaxed);
        Ok(())
    }

    /// Ends it here.
    pub fn end(&self, at: &'static str) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        self.trace.note(&self.name, format_args!("dies: {at}"));
        *self.died_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.death.notify_one();
    }

    /// Waits for its end. Cancel-safe.
    pub async fn ended(&self) {
        while self.is_on() {
            self.death.notified().await;
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the process is gone")
}
