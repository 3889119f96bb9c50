//! [`LocalScan`]: a walk by several threads, handed out in order.
//!
//! ```text
//!  waiting ── take_next (walk order) ──> reader threads ── put ──> ahead ── collect ──> Scan::next
//!     ^                                       │                                             │
//!     └──────────── subdirectories ───────────┘        what nobody has taken yet, it reads itself
//! ```
//! The consumer waits only for a directory that some reader is at work on, and readers wait for nothing while they
//! read, so it cannot deadlock, with any number of readers, none included. Readers stop when enough is read ahead:
//! memory does not grow with the tree, only with its largest directory.

mod lister;
mod names;
pub(crate) mod queue;
mod split;

use crate::local::jail::Jail;
use crate::local::metadata;
use lister::{Lister, Scratch};
use orbit_core::system::{Scan, ScanFault, ScanOptions, SystemError};
use orbit_core::{Listing, RelPath};
use queue::{Branch, Outcome, Queue};
use rustix::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// A walk of a [`Jail`]. Dropping it stops its threads.
pub struct LocalScan {
    walk: Arc<Walk>,
    readers: Vec<JoinHandle<()>>,
    /// The start, until it is read.
    start: Option<RelPath>,
    /// Where the consumer is: one branch a level.
    branches: Vec<Branch>,
    scratch: Scratch,
}

/// What the threads of a walk share.
struct Walk {
    lister: Lister,
    queue: Mutex<Queue>,
    /// Readers wait here for something to read.
    work: Condvar,
    /// The consumer waits here for the directory it asked for.
    ready: Condvar,
}

impl LocalScan {
    /// Starts to walk. Fails if the start is not a directory that can be opened.
    pub fn start(jail: Arc<Jail>, options: &ScanOptions) -> Result<Self, SystemError> {
        let start = options.start.clone();
        let directory = jail.open_directory(&start)?;
        let device = if options.one_file_system {
            let found = metadata::of_handle(directory.as_fd()).map_err(SystemError::io("look at", &start))?;
            Some(found.dev)
        } else {
            None
        };
        drop(directory);
        let filter = Arc::clone(&options.filter);
        let walk = Arc::new(Walk {
            lister: Lister { jail, start: start.clone(), filter, device, stop: AtomicBool::new(false) },
            queue: Mutex::default(),
            work: Condvar::new(),
            ready: Condvar::new(),
        });
        // A thread that cannot be had is not needed: the consumer reads what nobody else does.
        let readers = (0..options.threads).map_while(|_| Walk::spawn_reader(&walk).ok()).collect();
        Ok(Self { walk, readers, start: Some(start), branches: Vec::new(), scratch: Scratch::default() })
    }

    /// The most entries that lay read ahead at any time: the bound on memory, made visible.
    pub fn ahead_entries_max(&self) -> usize {
        self.walk.lock().ahead_entries_max()
    }

    /// The next directory in walk order, and what became of it.
    fn step(&mut self) -> Option<Outcome> {
        if let Some(start) = self.start.take() {
            return Some(self.walk.read(start, &mut self.scratch));
        }
        let mut queue = self.walk.lock();
        let path = loop {
            match queue.ask(self.branches.last_mut()?) {
                Some(path) => break path,
                None => drop(self.branches.pop()),
            }
        };
        loop {
            if let Some(outcome) = queue.collect(&path) {
                self.walk.wake_readers(&queue);
                return Some(outcome);
            }
            if queue.take(&path) {
                drop(queue);
                return Some(self.walk.read(path, &mut self.scratch));
            }
            queue = match queue.split() {
                Some(split) => {
                    drop(queue);
                    split.help(&self.walk.lister.stop);
                    self.walk.lock()
                }
                None => self.walk.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            assert!(!self.walk.lister.stop.load(Ordering::Relaxed), "a reader of this walk panicked");
        }
    }
}

impl Scan for LocalScan {
    fn next(&mut self) -> Option<Result<Listing, ScanFault>> {
        let listed = match self.step()? {
            Ok(listed) => listed,
            Err(fault) => return Some(Err(fault)),
        };
        if let Some(subdirectories) = listed.subdirectories {
            self.branches.push(Branch::new(subdirectories));
        }
        Some(Ok(listed.listing))
    }

    /// A directory that the walk has passed, or that is none of this walk, is ignored: nothing is kept of it. One that
    /// the walk is in already is left.
    fn prune(&mut self, directory: &RelPath) {
        let mut queue = self.walk.lock();
        if let Some(level) = self.branches.iter().position(|branch| branch.lies_in(directory)) {
            self.branches.truncate(level);
        } else if !self.branches.iter().any(|branch| branch.awaits(directory)) {
            return;
        }
        queue.prune(directory);
        self.walk.wake_readers(&queue);
    }
}

impl Drop for LocalScan {
    fn drop(&mut self) {
        self.walk.halt();
        for reader in self.readers.drain(..) {
            // A reader that panicked has said so.
            drop(reader.join());
        }
    }
}

impl Walk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a directory for the consumer: what it holds is handed over at once, only its subdirectories are shared.
    fn read(&self, path: RelPath, scratch: &mut Scratch) -> Outcome {
        let outcome = self.list(path, scratch);
        if let Ok(listed) = &outcome
            && let Some(subdirectories) = &listed.subdirectories
        {
            let mut queue = self.lock();
            queue.add(subdirectories);
            self.wake_readers(&queue);
        }
        outcome
    }

    fn list(&self, path: RelPath, scratch: &mut Scratch) -> Outcome {
        let share = |split| {
            let mut queue = self.lock();
            queue.share(split);
            self.wake_readers(&queue);
            self.ready.notify_one();
        };
        self.lister.list(&path, scratch, share).map_err(|error| ScanFault { path, error })
    }

    fn spawn_reader(walk: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let walk = Arc::clone(walk);
        thread::Builder::new().name("scan".to_owned()).spawn(move || walk.run_reader())
    }

    fn run_reader(&self) {
        let _halt = HaltOnPanic(self);
        let mut scratch = Scratch::default();
        let mut queue = self.lock();
        while !self.is_halted() {
            if let Some(split) = queue.split() {
                drop(queue);
                while split.help(&self.lister.stop) {}
                queue = self.lock();
            } else if let Some(path) = queue.take_next() {
                drop(queue);
                let outcome = self.list(path.clone(), &mut scratch);
                queue = self.lock();
                queue.put(path, outcome);
                self.wake_readers(&queue);
                self.ready.notify_one();
            } else {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn wake_readers(&self, queue: &Queue) {
        if queue.has_work() {
            self.work.notify_all();
        }
    }

    fn is_halted(&self) -> bool {
        self.lister.stop.load(Ordering::Relaxed)
    }

    /// Makes everyone stop. The flag is set under the lock, so that nobody misses it on the way to sleep.
    fn halt(&self) {
        let queue = self.lock();
        self.lister.stop.store(true, Ordering::Relaxed);
        drop(queue);
        self.work.notify_all();
        self.ready.notify_all();
    }
}

/// Without it the consumer would wait for ever for what a reader died over.
struct HaltOnPanic<'w>(&'w Walk);

impl Drop for HaltOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.halt();
        }
    }
}

#[cfg(test)]
#[path = "scanner/tests.rs"]
mod tests;
