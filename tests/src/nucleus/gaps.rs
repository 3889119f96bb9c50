//! [`Gaps`]: a writer in the background that sends one change after the other through one node, as the command line does
//! without trying again, and notes how long nothing was acknowledged.

use crate::grid::conversation::{Conversation, Request};
use orbit_core::ids::RequestId;
use orbit_mesh::key::random;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Between two changes.
const PAUSE: Duration = Duration::from_millis(2);

/// What it noted.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// When changes were acknowledged, in order.
    pub acknowledged: Vec<Instant>,
    /// Changes that failed, and why.
    pub failed: Vec<String>,
}

impl Noted {
    /// The longest time without an acknowledgement.
    pub fn longest(&self) -> Duration {
        self.longest_between(None, None)
    }

    /// The longest time without an acknowledgement that touches this span.
    pub fn longest_between(&self, from: Option<Instant>, until: Option<Instant>) -> Duration {
        let gaps = self.acknowledged.windows(2).map(|pair| (pair[0], pair[1]));
        let touching = gaps.filter(|(begin, end)| {
            from.is_none_or(|from| *end >= from) && until.is_none_or(|until| *begin <= until)
        });
        touching.map(|(begin, end)| end - begin).max().unwrap_or_default()
    }
}

/// Writes until it is stopped.
#[derive(Debug)]
pub struct Gaps {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Noted>,
}

impl Gaps {
    /// Begins to write through the daemon of this directory: one constellation comes and goes.
    pub fn begin(data_dir: PathBuf) -> Self {
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, counter) = (Arc::clone(&is_over), Arc::clone(&count));
        let thread = spawn(move || {
            let mut noted = Noted::default();
            let name = format!("gap-{}", RequestId::from_bytes(random()));
            let mut conversation = None;
            let mut is_there = false;
            while !stop.load(Ordering::Relaxed) {
                let request = if is_there { Request::remove(&name) } else { Request::create(&name) };
                let open = match conversation.take() {
                    Some(open) => Ok(open),
                    None => Conversation::open(&data_dir),
                };
                let asked = open.and_then(|mut open| open.ask(&request).map(|answer| (open, answer)));
                match asked {
                    Ok((open, answer)) => {
                        conversation = Some(open);
                        if answer.is_success() {
                            noted.acknowledged.push(Instant::now());
                            counter.fetch_add(1, Ordering::Relaxed);
                            is_there = !is_there;
                        } else {
                            noted.failed.push(format!("{}: {}", answer.status, answer.message()));
                        }
                    }
                    Err(error) => noted.failed.push(error.to_string()),
                }
                sleep(PAUSE);
            }
            noted
        });
        Self { is_over, count, thread }
    }

    /// How many changes were acknowledged so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until `more` further changes are acknowledged.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.count() + more;
        crate::wait::until("changes are acknowledged", || self.count() >= goal);
    }

    /// Ends it.
    ///
    /// # Panics
    /// If it panicked.
    pub fn end(self) -> Noted {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer does not panic")
    }
}
