//! [`Order`]: which directory a scan has to list next.
//!
//! A walk's order is fixed by what it lists: after a directory come its subdirectories, each with all that is below
//! it. So everything that arrives can be checked, and, what matters more, that nothing is missing: a directory that
//! is silently left out would look empty, and a mirror would delete what it held.

use super::error::ProtocolFault;
use crate::local::scanner::queue::{Branch, Subdirectories};
use orbit_core::{Listing, RelPath};
use std::collections::BTreeSet;

/// Where a scan is.
#[derive(Debug)]
pub struct Order {
    /// The next directory that is wanted, once it was asked for.
    due: Option<RelPath>,
    /// One branch a level.
    branches: Vec<Branch>,
    /// Directories not wanted that the scan has not passed. None lies in another.
    pruned: BTreeSet<RelPath>,
    /// What came last.
    last: Option<RelPath>,
}

/// What to do with a directory that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next one.
    Due,
    /// It is not wanted: the star had not heard of that yet.
    Unwanted,
}

impl Order {
    /// A scan from `start`.
    pub const fn new(start: RelPath) -> Self {
        Self { due: Some(start), branches: Vec::new(), pruned: BTreeSet::new(), last: None }
    }

    /// Takes a directory that arrived, listed or not.
    pub fn arrive(&mut self, path: &RelPath) -> Result<Arrival, ProtocolFault> {
        let is_later = self.last.as_ref().is_none_or(|last| last < path);
        self.last = Some(path.clone());
        // What is due is known before that which was passed is forgotten: pruned directories do not count.
        let is_due = self.due() == Some(path);
        while self.pruned.first().is_some_and(|first| first < path && !path.starts_with(first)) {
            self.pruned.pop_first();
        }
        if is_later && self.pruned.first().is_some_and(|first| path.starts_with(first)) {
            return Ok(Arrival::Unwanted);
        }
        if is_later && is_due {
            self.due = None;
            return Ok(Arrival::Due);
        }
        Err(ProtocolFault::Order { got: path.clone(), expected: self.due().cloned() })
    }

    /// Takes note of the subdirectories of what arrived.
    pub fn descend(&mut self, listing: &Listing) {
        self.branches.extend(Subdirectories::of(listing).map(Branch::new));
    }

    /// Does not want `directory`. Says whether that is news: it is one that is still to come, or half has.
    pub fn prune(&mut self, directory: &RelPath) -> bool {
        let is_due = self.due.as_ref().is_some_and(|due| due.starts_with(directory));
        if let Some(level) = self.branches.iter().position(|branch| branch.lies_in(directory)) {
            self.branches.truncate(level);
        } else if !is_due && !self.branches.iter().any(|branch| branch.awaits(directory)) {
            return false;
        }
        if is_due {
            self.due = None;
        }
        self.leave(directory);
        true
    }

    /// Does not want `directory`, which has not been descended into and is not due.
    pub fn leave(&mut self, directory: &RelPath) {
        while let Some(path) =
            self.pruned.range(directory..).next().filter(|path| path.starts_with(directory))
        {
            let path = path.clone();
            self.pruned.remove(&path);
        }
        self.pruned.insert(directory.clone());
    }

    /// The next directory that is wanted; none at the end.
    pub fn due(&mut self) -> Option<&RelPath> {
        while self.due.is_none() {
            match self.branches.last_mut()?.advance() {
                None => drop(self.branches.pop()),
                Some(path) if self.pruned.contains(&path) => {}
                due => self.due = due,
            }
        }
        self.due.as_ref()
    }

    /// Takes the next directory that is wanted, which will not come.
    pub fn take_due(&mut self) -> Option<RelPath> {
        self.due()?;
        self.due.take()
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
