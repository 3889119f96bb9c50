//! [`Machine`]: counts system calls, writes the log, and is where trouble strikes.

use crate::random::Random;
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard};

/// What a call does, as far as trouble cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Reads,
    /// It takes room or changes names.
    Writes,
    /// It makes writes durable.
    Flushes,
}

/// What strikes during one run, at which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing does.
    None,
    /// The process is killed before this call.
    Kill {
        /// Number of the call.
        at: u64,
    },
    /// The process is killed before this flush: just when everything is done but nothing is durable.
    KillAtFlush {
        /// Number of the flush.
        flush: u64,
    },
    /// The power fails before this call.
    PowerCut {
        /// Number of the call.
        at: u64,
    },
    /// Every second call or so of a stretch fails.
    Errors {
        /// First call that may.
        from: u64,
        /// First call that may not any more.
        to: u64,
        /// How they fail.
        kind: ErrorKind,
    },
}

/// How calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `ENOSPC`, of calls that write.
    NoSpace,
    /// `EIO`, of any call.
    Io,
}

/// One machine: a process may die on it, its log outlives everything.
#[derive(Debug)]
pub struct Machine {
    inner: Mutex<Inner>,
    random: Random,
}

#[derive(Debug)]
struct Inner {
    /// Calls since the scenario began: the only time there is.
    now: u64,
    /// Calls since the run began.
    call: u64,
    /// Flushes since the run began.
    flushes: u64,
    trouble: Trouble,
    dead: bool,
    log: Vec<String>,
}

impl Machine {
    /// A healthy machine.
    pub fn new(random: Random) -> Self {
        let inner =
            Inner { now: 1000, call: 0, flushes: 0, trouble: Trouble::None, dead: false, log: Vec::new() };
        Self { inner: Mutex::new(inner), random }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("counting does not panic")
    }

    /// Starts a process that will meet this trouble.
    pub fn start(&self, trouble: Trouble) {
        let mut inner = self.inner();
        (inner.call, inner.flushes, inner.trouble, inner.dead) = (0, 0, trouble, false);
    }

    /// Whether the process is gone.
    pub fn is_dead(&self) -> bool {
        self.inner().dead
    }

    /// The time: later than every call so far.
    pub fn now(&self) -> i64 {
        self.inner().now as i64
    }

    /// Lets time pass without a call.
    pub fn tick(&self) -> i64 {
        let mut inner = self.inner();
        inner.now += 1;
        inner.now as i64
    }

    /// Every system call begins here. An error means that it fails without having done anything.
    pub fn call(&self, name: &str, what: &dyn fmt::Display, effect: Effect) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.dead {
            return Err(io::Error::other("the process is gone"));
        }
        inner.now += 1;
        inner.call += 1;
        inner.flushes += u64::from(name == "syncfs");
        let call = inner.call;
        let error = match inner.trouble {
            Trouble::Kill { at } | Trouble::PowerCut { at } if call >= at => {
                inner.dead = true;
                Some(io::Error::other("the process is gone"))
            }
            Trouble::KillAtFlush { flush } if inner.flushes >= flush => {
                inner.dead = true;
                Some(io::Error::other("the process is gone"))
            }
            Trouble::Errors { from, to, kind } if (from..to).contains(&call) && self.random.one_in(2) => {
                match (kind, effect) {
                    (ErrorKind::NoSpace, Effect::Writes) => Some(io::ErrorKind::StorageFull.into()),
                    (ErrorKind::NoSpace, _) => None,
                    (ErrorKind::Io, _) => Some(io::Error::other("input/output error")),
                }
            }
            _ => None,
        };
        let end = match &error {
            None => String::new(),
            Some(_) if inner.dead => " -- struck".to_owned(),
            Some(error) => format!(" -- {error}"),
        };
        inner.log.push(format!("{call:>5} {name} {what}{end}"));
        error.map_or(Ok(()), Err)
    }

    /// Writes a line that is no call.
    pub fn note(&self, line: impl Into<String>) {
        self.inner().log.push(line.into());
    }

    /// Everything so far.
    pub fn log(&self) -> Vec<String> {
        self.inner().log.clone()
    }
}
