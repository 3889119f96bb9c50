//! [`Queue`]: which directories wait, which are read ahead, and how far ahead reading may go.
//!
//! Pure bookkeeping, under the walk's lock. Directories are taken in walk order, so what is read ahead is what the
//! consumer asks for next.

use super::lister::Listed;
use super::split::Split;
use orbit_core::system::ScanFault;
use orbit_core::{EntryKind, Listing, RelPath};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is read ahead at most, in entries (a directory counts as one more): some 4 MB.
pub const AHEAD_MAX: usize = 32_768;

/// A reader that stopped at [`AHEAD_MAX`] is woken when this much is left, not for every single directory.
const AHEAD_RESUME: usize = AHEAD_MAX / 2;

/// The subdirectories of one directory, in one buffer, in order.
#[derive(Debug)]
pub struct Subdirectories {
    directory: RelPath,
    names: Vec<u8>,
    ends: Vec<u32>,
}

impl Subdirectories {
    /// Those of `listing`; `None` if there is none.
    pub fn of(listing: &Listing) -> Option<Arc<Self>> {
        let (mut names, mut ends) = (Vec::new(), Vec::new());
        for (name, _) in listing.iter().filter(|(_, metadata)| metadata.kind == EntryKind::Directory) {
            names.extend_from_slice(name);
            ends.push(names.len() as u32);
        }
        (!ends.is_empty()).then(|| Arc::new(Self { directory: listing.path.clone(), names, ends }))
    }

    fn name(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        Some(&self.names[start..end])
    }

    fn path(&self, index: usize) -> Option<RelPath> {
        let name = self.name(index)?;
        Some(self.directory.join(name).expect("a name was checked when it was read"))
    }

    /// Where `name` is, or would be.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.name(middle).cmp(&Some(name)) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// A place among the subdirectories of one directory.
#[derive(Debug)]
pub struct Branch {
    of: Arc<Subdirectories>,
    next: usize,
}

impl Branch {
    /// At the first of them.
    pub const fn new(of: Arc<Subdirectories>) -> Self {
        Self { of, next: 0 }
    }

    /// The next one.
    pub fn advance(&mut self) -> Option<RelPath> {
        let path = self.of.path(self.next)?;
        self.next += 1;
        Some(path)
    }

    /// Whether all of it lies in `directory`.
    pub fn lies_in(&self, directory: &RelPath) -> bool {
        self.of.directory.starts_with(directory)
    }

    /// Whether `directory` is one of those that are still to come.
    pub fn awaits(&self, directory: &RelPath) -> bool {
        let Some(name) = directory.name() else { return false };
        let above = &directory.as_bytes()[..directory.as_bytes().len() - name.len()];
        let above = above.strip_suffix(b"/").unwrap_or(above);
        above == self.of.directory.as_bytes() && self.of.find(name).is_ok_and(|at| at >= self.next)
    }
}

/// What became of a directory.
pub type Outcome = Result<Listed, ScanFault>;

/// The state of a walk that its threads share.
#[derive(Default)]
pub struct Queue {
    /// Directories nobody has taken yet: of each branch the first, by which the branch is found.
    waiting: BTreeMap<RelPath, Branch>,
    ahead: BTreeMap<RelPath, Outcome>,
    ahead_entries: usize,
    ahead_entries_max: usize,
    /// Subdirectories not to be descended into, until the consumer has passed them.
    pruned: BTreeSet<RelPath>,
    /// What the consumer asked for last: whatever comes before it is of no use any more.
    asked: RelPath,
    splits: Vec<Arc<Split>>,
}

impl Queue {
    /// Adds the subdirectories of a directory that was read.
    pub fn add(&mut self, subdirectories: &Arc<Subdirectories>) {
        self.enqueue(Branch::new(Arc::clone(subdirectories)));
    }

    /// Takes the next directory in walk order for reading ahead; `None` if there is none or enough is read.
    pub fn take_next(&mut self) -> Option<RelPath> {
        if self.ahead_entries >= AHEAD_MAX {
            return None;
        }
        let (path, branch) = self.waiting.pop_first()?;
        self.enqueue(branch);
        Some(path)
    }

    /// Takes one directory, if nobody has yet.
    pub fn take(&mut self, path: &RelPath) -> bool {
        let Some(branch) = self.waiting.remove(path) else { return false };
        self.enqueue(branch);
        true
    }

    /// A huge directory that can be helped with.
    pub fn split(&mut self) -> Option<Arc<Split>> {
        self.splits.retain(|split| !split.is_taken());
        self.splits.first().cloned()
    }

    /// Lets others help with a huge directory.
    pub fn share(&mut self, split: Arc<Split>) {
        self.splits.push(split);
    }

    /// Puts down a directory that was read ahead, unless it has become useless.
    pub fn put(&mut self, path: RelPath, outcome: Outcome) {
        if path < self.asked || self.is_pruned(&path) {
            return;
        }
        if let Ok(Listed { subdirectories: Some(subdirectories), .. }) = &outcome {
            self.add(subdirectories);
        }
        self.ahead_entries += weight(&outcome);
        self.ahead_entries_max = self.ahead_entries_max.max(self.ahead_entries);
        self.ahead.insert(path, outcome);
    }

    /// The consumer's next directory: of `branch`, without those pruned.
    pub fn ask(&mut self, branch: &mut Branch) -> Option<RelPath> {
        loop {
            let path = branch.advance()?;
            if !self.pruned.remove(&path) {
                self.asked.clone_from(&path);
                // What the walk has passed without asking for it: it was left half-way.
                while self.pruned.first().is_some_and(|first| *first < path) {
                    self.pruned.pop_first();
                }
                return Some(path);
            }
        }
    }

    /// What was read ahead of `path`, if it is there already.
    pub fn collect(&mut self, path: &RelPath) -> Option<Outcome> {
        let outcome = self.ahead.remove(path)?;
        self.ahead_entries -= weight(&outcome);
        Some(outcome)
    }

    /// Forgets everything at and below `directory`.
    pub fn prune(&mut self, directory: &RelPath) {
        // Where the walk is in the middle of `directory`, something below may have been pruned on its own before.
        while let Some(path) =
            self.pruned.range(directory..).next().filter(|path| path.starts_with(directory))
        {
            let path = path.clone();
            self.pruned.remove(&path);
        }
        self.pruned.insert(directory.clone());
        while let Some(path) = first_below(&self.ahead, directory) {
            self.collect(&path);
        }
        while let Some(path) = first_below(&self.waiting, directory) {
            if let Some(branch) = self.waiting.remove(&path)
                && path == *directory
            {
                // The branch itself lies beside `directory` and goes on after it.
                self.enqueue(branch);
            }
        }
    }

    /// Whether a reader that sleeps has something to do.
    pub fn has_work(&self) -> bool {
        let resumes = self.ahead_entries <= AHEAD_RESUME && !self.waiting.is_empty();
        resumes || self.splits.iter().any(|split| !split.is_taken())
    }

    /// The most entries that were read ahead at any time.
    pub const fn ahead_entries_max(&self) -> usize {
        self.ahead_entries_max
    }

    fn enqueue(&mut self, mut branch: Branch) {
        while let Some(path) = branch.advance() {
            if !self.is_pruned(&path) {
                self.waiting.insert(path, branch);
                return;
            }
        }
    }

    /// In walk order everything below a directory follows it directly, and nothing below a pruned one is pruned again:
    /// the last pruned one up to here decides.
    fn is_pruned(&self, path: &RelPath) -> bool {
        self.pruned.range(..=path).next_back().is_some_and(|last| path.starts_with(last))
    }
}

fn weight(outcome: &Outcome) -> usize {
    1 + outcome.as_ref().map_or(0, |listed| listed.listing.len())
}

fn first_below<V>(map: &BTreeMap<RelPath, V>, directory: &RelPath) -> Option<RelPath> {
    let (path, _) = map.range(directory..).next()?;
    path.starts_with(directory).then(|| path.clone())
}
