//! [`Split`]: one huge directory whose names are looked at by several threads.

use super::names::{Names, look_at};
use orbit_core::Metadata;
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Names one thread looks at before it takes more.
const PART_NAMES: usize = 2_048;

/// From how many names a directory is split.
pub const SPLIT_NAMES_MIN: usize = 4 * PART_NAMES;

/// Metadata of a run of names, `None` for those that vanished; or the name at which it failed.
type Part = Result<Vec<Option<Metadata>>, (usize, io::Error)>;

/// The names of an open directory, handed out in parts.
#[derive(Debug)]
pub struct Split {
    directory: OwnedFd,
    names: Names,
    taken: AtomicUsize,
    parts: Mutex<Vec<Option<Part>>>,
    finished: Condvar,
}

impl Split {
    /// Makes the parts.
    pub fn new(directory: OwnedFd, names: Names) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(names.len().div_ceil(PART_NAMES), || None);
        Self {
            directory,
            names,
            taken: AtomicUsize::new(0),
            parts: Mutex::new(parts),
            finished: Condvar::new(),
        }
    }

    /// Whether nothing is left to take.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.count()
    }

    /// Takes one part and looks at its names; `false` if none is left.
    pub fn help(&self, stop: &AtomicBool) -> bool {
        let part = self.taken.fetch_add(1, Ordering::Relaxed);
        if part >= self.count() {
            return false;
        }
        let result = self.look(self.range(part), stop);
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)[part] = Some(result);
        self.finished.notify_all();
        true
    }

    /// The owner's loop: helps until nothing is left and hands every name with its metadata to `sink`, in order. Fails
    /// with the name that could not be looked at.
    pub fn collect(
        &self,
        stop: &AtomicBool,
        mut sink: impl FnMut(&[u8], Metadata),
    ) -> Result<(), (Vec<u8>, io::Error)> {
        for part in 0..self.count() {
            let found =
                self.wait(part, stop).map_err(|(at, error)| (self.names.get(at).0.to_vec(), error))?;
            for (index, metadata) in self.range(part).zip(found) {
                if let Some(metadata) = metadata {
                    sink(self.names.get(index).0, metadata);
                }
            }
        }
        Ok(())
    }

    /// The result of one part, helping with others until it is there. Whoever took it is at work on it, so it comes.
    fn wait(&self, part: usize, stop: &AtomicBool) -> Part {
        loop {
            let taken = self.parts.lock().unwrap_or_else(PoisonError::into_inner)[part].take();
            if let Some(result) = taken {
                return result;
            }
            if self.help(stop) {
                continue;
            }
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.finished.wait_while(parts, |parts| parts[part].is_none());
            drop(waited);
        }
    }

    fn look(&self, names: Range<usize>, stop: &AtomicBool) -> Part {
        if stop.load(Ordering::Relaxed) {
            return Err((names.start, io::ErrorKind::Interrupted.into()));
        }
        names
            .map(|index| {
                look_at(self.directory.as_fd(), self.names.get(index).0).map_err(|error| (index, error))
            })
            .collect()
    }

    fn count(&self) -> usize {
        self.names.len().div_ceil(PART_NAMES)
    }

    fn range(&self, part: usize) -> Range<usize> {
        part * PART_NAMES..self.names.len().min((part + 1) * PART_NAMES)
    }
}
