//! [`Workers`]: what each thread remembers between two objects it stages.

use super::area::Area;
use orbit_core::RelPath;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// One [`Worker`] a thread. It is locked for every staged object, which nobody but its thread does.
#[derive(Debug)]
pub struct Workers {
    by_thread: Mutex<HashMap<ThreadId, Arc<Mutex<Worker>>>>,
    /// In every name of this run, and of no other: a checkpoint that an earlier run left behind must never lead to an
    /// object of this one.
    run: Arc<str>,
}

/// A thread's own directory in each stage area, and its counter of names.
#[derive(Debug)]
pub struct Worker {
    /// Its directory, `w0`, `w1`, …
    pub directory: String,
    next_name: u64,
    run: Arc<str>,
    /// Areas in which the directory was made.
    pub made_in: Vec<RelPath>,
    /// The directory for whose files an area was last looked for, and that area.
    pub last: Option<(RelPath, Arc<Area>)>,
}

impl Default for Workers {
    fn default() -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string()[..12].into();
        Self { by_thread: Mutex::default(), run }
    }
}

impl Workers {
    /// The calling thread's.
    pub fn mine(&self) -> Arc<Mutex<Worker>> {
        let mut workers = self.by_thread.lock().expect("no thread panics while it looks itself up");
        let number = workers.len();
        let new = || {
            let directory = format!("w{number}");
            let run = self.run.clone();
            Arc::new(Mutex::new(Worker { directory, next_name: 0, run, made_in: Vec::new(), last: None }))
        };
        workers.entry(thread::current().id()).or_insert_with(new).clone()
    }
}

impl Worker {
    /// A name not used before by any thread of any run, as seen from an area's handle.
    pub fn new_name(&mut self) -> Vec<u8> {
        let name = format!("{}/{}-{:x}", self.directory, self.run, self.next_name);
        self.next_name += 1;
        name.into_bytes()
    }
}
