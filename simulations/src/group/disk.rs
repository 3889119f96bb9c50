//! [`Platter`]: the files of one node's log with what of them is durable, and [`SimDisk`], which a running process uses.

mod file;

use super::life::Life;
use super::plant::Plant;
use crate::random::Random;
use file::File;
use orbit_store::LogDisk;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a process's end does to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process is gone; what it wrote is with the kernel.
    Kill,
    /// The machine is gone: what was not synced may be lost.
    PowerCut,
}

/// How often calls fail, once in so many; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// Appends fail half way.
    pub append: usize,
    /// Syncs fail.
    pub sync: usize,
    /// Reads fail.
    pub read: usize,
}

/// The disk of one node. It outlives the node's processes.
#[derive(Debug)]
pub struct Platter {
    name: String,
    random: Random,
    plant: Option<Plant>,
    /// Zeros are put behind the end so that a file grows by this much; 1: none.
    prepared: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    wear: Wear,
    errors: u64,
}

impl Platter {
    /// An empty disk.
    pub fn new(name: &str, random: Random, plant: Option<Plant>) -> Arc<Self> {
        let prepared = *random.pick(&[1, 1, 512, 4096]).expect("there are some");
        Arc::new(Self { name: name.to_owned(), random, plant, prepared, state: Mutex::default() })
    }

    /// How often calls fail from now on.
    pub fn wear(&self, wear: Wear) {
        self.state().wear = wear;
    }

    /// Errors that it gave so far.
    pub fn errors(&self) -> u64 {
        self.state().errors
    }

    /// What is left after a process's end.
    pub fn after(&self, death: Death) {
        if death == Death::Kill {
            return;
        }
        let random = &self.random;
        self.state().files.retain(|_, file| file.cut(random));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, state: &mut State, one_in: impl Fn(Wear) -> usize) -> bool {
        let one_in = one_in(state.wear);
        let fails = one_in > 0 && self.random.one_in(one_in);
        state.errors += u64::from(fails);
        fails
    }

    /// Whether a planted bug leaves changes of this file unsynced.
    fn is_lazy(&self, name: &str) -> bool {
        match self.plant {
            Some(Plant::VoteNotSynced) => name == VOTE,
            Some(Plant::AcknowledgedBeforeSync) => name.ends_with(SEGMENT),
            Some(Plant::RestoredLeader) => name == VOTE || name.ends_with(SEGMENT),
            _ => false,
        }
    }
}

/// The file that holds the vote.
const VOTE: &str = "vote";
/// How names of segments end.
const SEGMENT: &str = ".log";

/// The disk as one process uses it.
pub struct SimDisk {
    platter: Arc<Platter>,
    life: Arc<Life>,
    /// Where the next bytes go in files that this process appended to; in others, behind the last byte.
    ends: Mutex<BTreeMap<String, usize>>,
}

impl SimDisk {
    /// A process opens the disk.
    pub fn open(platter: &Arc<Platter>, life: &Arc<Life>) -> Arc<Self> {
        Arc::new(Self { platter: platter.clone(), life: life.clone(), ends: Mutex::default() })
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk of {}", self.platter.name)
    }
}

impl LogDisk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.platter.state().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let platter = &self.platter;
        let mut state = platter.state();
        if platter.fails(&mut state, |wear| wear.read) {
            return Err(io::Error::other("the disk cannot read here"));
        }
        state.files.get(name).map(|file| file.now.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.life.step("before an append to the log")?;
        let platter = &self.platter;
        let mut state = platter.state();
        let fails = platter.fails(&mut state, |wear| wear.append);
        let file = state.files.entry(name.to_owned()).or_default();
        let end = self.ends().get(name).copied().unwrap_or(file.now.len());
        // An append that fails may have written a part.
        let taken = if fails { platter.random.below(bytes.len() + 1) } else { bytes.len() };
        file.write(end, bytes.get(..taken).unwrap_or(bytes), platter.prepared);
        {
            let mut ends = self.ends();
            ends.retain(|known, _| known == name);
            ends.insert(name.to_owned(), end + taken);
        }
        drop(state);
        self.life.step("after an append to the log")?;
        if fails { Err(io::Error::other("no space is left, or the disk failed")) } else { Ok(()) }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let platter = &self.platter;
        let mut state = platter.state();
        let fails = platter.fails(&mut state, |wear| wear.sync);
        let is_lazy = platter.is_lazy(name);
        let Some(file) = state.files.get_mut(name) else { return Ok(()) };
        if fails {
            file.sync_half(&platter.random);
            return Err(io::Error::other("the disk cannot sync"));
        }
        if !is_lazy {
            file.sync();
        }
        drop(state);
        self.life.step("after a sync of the log")
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.life.step("before the log is cut")?;
        let platter = &self.platter;
        let mut state = platter.state();
        if platter.fails(&mut state, |wear| wear.sync) {
            return Err(io::Error::other("the disk cannot cut a file"));
        }
        let file = state.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.truncate(len as usize);
        self.ends().remove(name);
        drop(state);
        self.life.step("after the log was cut")
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.life.step("before a file is replaced")?;
        let platter = &self.platter;
        let mut state = platter.state();
        if platter.fails(&mut state, |wear| wear.sync) {
            return Err(io::Error::other("the disk cannot replace a file"));
        }
        let file = state.files.entry(name.to_owned()).or_default();
        if platter.is_lazy(name) {
            file.replace_unsynced(bytes);
        } else {
            file.replace(bytes);
        }
        self.ends().remove(name);
        drop(state);
        self.life.step("after a file was replaced")
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.life.step("before a file is removed")?;
        self.ends().remove(name);
        self.platter.state().files.remove(name);
        self.life.step("after a file was removed")
    }

    fn place(&self) -> PathBuf {
        PathBuf::from(&self.platter.name)
    }
}
