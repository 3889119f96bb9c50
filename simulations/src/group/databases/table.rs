//! [`Jobs`] and [`Universe`]: what the two databases hold, with a checksum over their rows that grows with each change.

use super::lazy::{Commit, Table};
use crate::group::trace::Fold;
use orbit_consensus::databases::Batch;
use orbit_core::grid::{Change, GridState, Outcome};
use orbit_core::hash::ContentHash;
use orbit_core::ids::{NodeId, RequestId};
use orbit_core::wire::encode;
use orbit_store::{LogPosition, Mark};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows by key, and the sum of their hashes: equal sums are equal rows, whatever order they came in.
#[derive(Clone, Debug)]
struct Rows<K, V> {
    rows: BTreeMap<K, (u64, V)>,
    sum: u64,
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), sum: 0 }
    }
}

impl<K: Ord, V> Rows<K, V> {
    fn put(&mut self, key: K, hash: u64, value: V) {
        self.sum = self.sum.wrapping_add(hash);
        if let Some((old, _)) = self.rows.insert(key, (hash, value)) {
            self.sum = self.sum.wrapping_sub(old);
        }
    }

    fn take(&mut self, key: &K) {
        if let Some((old, _)) = self.rows.remove(key) {
            self.sum = self.sum.wrapping_sub(old);
        }
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().map(|(_, value)| value)
    }
}

/// A row's name: which table, and which of it.
type Key = (u8, Vec<u8>);

/// What a change does to the rows.
enum Touch {
    Put(Key),
    Take(Key),
    /// Contents have a table of their own.
    Contents,
}

fn touch(change: &Change) -> Touch {
    match change {
        Change::Header(_) => Touch::Put((0, Vec::new())),
        Change::Anchors(_) => Touch::Put((1, Vec::new())),
        Change::Node(record) => Touch::Put((2, record.id.as_bytes().to_vec())),
        Change::NodeRemoved(id) => Touch::Take((2, id.as_bytes().to_vec())),
        Change::Token(token) => Touch::Put((3, token.id.as_bytes().to_vec())),
        Change::TokenRemoved(id) => Touch::Take((3, id.as_bytes().to_vec())),
        Change::Constellation(group) => Touch::Put((4, group.name.as_bytes().to_vec())),
        Change::ConstellationRemoved(name) => Touch::Take((4, name.as_bytes().to_vec())),
        Change::Revoked { serial, .. } => Touch::Put((5, serial.as_bytes().to_vec())),
        Change::RevocationForgotten(serial) => Touch::Take((5, serial.as_bytes().to_vec())),
        Change::Superseded { serial, .. } => Touch::Put((6, serial.as_bytes().to_vec())),
        Change::SupersededForgotten(serial) => Touch::Take((6, serial.as_bytes().to_vec())),
        Change::AuthorityKey { pin, .. } => Touch::Put((7, pin.to_vec())),
        Change::AuthorityKeyForgotten(pin) => Touch::Take((7, pin.to_vec())),
        Change::Job(record) => Touch::Put((9, record.id.as_bytes().to_vec())),
        Change::JobRemoved(id) => Touch::Take((9, id.as_bytes().to_vec())),
        Change::Metered(row) => Touch::Put((8, row.node.as_bytes().to_vec())),
        Change::Contents { .. } | Change::ContentsForgotten(_) => Touch::Contents,
    }
}

/// Which contents each member holds.
#[derive(Clone, Debug, Default)]
struct Holdings(Rows<(NodeId, ContentHash), ()>);

impl Holdings {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Contents { holder, contents } => {
                for content in contents {
                    let mut fold = Fold::default();
                    fold.bytes(holder.as_bytes());
                    fold.bytes(content.root.as_bytes());
                    fold.bytes(&content.bytes.to_le_bytes());
                    self.0.put((*holder, content.root), fold.word(), ());
                }
            }
            Change::ContentsForgotten(holder) => {
                let of_it: Vec<_> = self.0.rows.keys().filter(|(by, _)| by == holder).copied().collect();
                for key in &of_it {
                    self.0.take(key);
                }
            }
            _ => {}
        }
    }
}

/// What `jobs.db` holds.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    rows: Rows<Key, Arc<Change>>,
    holdings: Holdings,
    /// Remembered requests, by their entry.
    requests: Rows<(u64, RequestId), Arc<Outcome>>,
    /// Every request that was ever answered, which only the simulation keeps.
    pub seen: BTreeMap<RequestId, u64>,
    /// The last position it applied.
    pub mark: Mark,
}

/// A transaction of `jobs.db`.
#[derive(Clone, Debug)]
pub struct JobsCommit(Arc<JobsBatch>);

#[derive(Debug)]
struct JobsBatch {
    changes: Vec<Change>,
    requests: Vec<(u64, RequestId, Outcome)>,
    forgotten: Vec<RequestId>,
    mark: Mark,
}

impl JobsCommit {
    /// Applies a batch.
    pub fn new(batch: &Batch, mark: &Mark) -> Self {
        let Batch { changes, requests, forgotten } = batch;
        Self(Arc::new(JobsBatch {
            changes: changes.clone(),
            requests: requests.clone(),
            forgotten: forgotten.clone(),
            mark: mark.clone(),
        }))
    }
}

impl Commit<Jobs> for JobsCommit {
    fn apply(&self, to: &mut Jobs) {
        let JobsBatch { changes, requests, forgotten, mark } = &*self.0;
        for change in changes {
            to.change(change);
        }
        for (index, request, outcome) in requests {
            let hash = Fold::of(&encode(&(index, request, outcome)));
            to.requests.put((*index, *request), hash, Arc::new(outcome.clone()));
            to.seen.insert(*request, *index);
        }
        for request in forgotten {
            let known = to.requests.rows.keys().find(|(_, known)| known == request).copied();
            if let Some(key) = known {
                to.requests.take(&key);
            }
        }
        to.mark.clone_from(mark);
    }
}

impl Table for Jobs {
    type Commit = JobsCommit;
}

impl Jobs {
    /// A database that holds these records at a mark.
    pub fn seed(changes: &[Change], mark: &Mark) -> Self {
        let mut jobs = Self { mark: mark.clone(), ..Self::default() };
        for change in changes {
            jobs.change(change);
        }
        jobs
    }

    fn change(&mut self, change: &Change) {
        match touch(change) {
            Touch::Put(key) => self.rows.put(key, Fold::of(&encode(change)), Arc::new(change.clone())),
            Touch::Take(key) => self.rows.take(&key),
            Touch::Contents => self.holdings.apply(change),
        }
    }

    /// Checksum of everything in it, its membership too.
    pub fn sum(&self) -> u64 {
        let sums = self.rows.sum.wrapping_add(self.requests.sum.rotate_left(1));
        sums.wrapping_add(self.holdings.0.sum.rotate_left(2)).wrapping_add(Fold::of(&self.mark.membership))
    }

    /// Checksum of which contents it says the members hold.
    pub fn contents_sum(&self) -> u64 {
        self.holdings.0.sum
    }

    /// The grid's state.
    pub fn grid_state(&self) -> GridState {
        let mut state = GridState::default();
        self.rows.values().for_each(|change| state.absorb((**change).clone()));
        state
    }

    /// The remembered requests.
    pub fn requests(&self) -> Vec<(u64, RequestId, Outcome)> {
        let rows = self.requests.rows.iter();
        rows.map(|((index, request), (_, outcome))| (*index, *request, (**outcome).clone())).collect()
    }

    /// Where it is.
    pub const fn position(&self) -> Option<LogPosition> {
        self.mark.position
    }
}

/// What the universe holds: here only which contents each member has.
#[derive(Clone, Debug, Default)]
pub struct Universe {
    holdings: Holdings,
    /// The last position it applied.
    pub mark: Mark,
}

/// A transaction of the universe.
#[derive(Clone, Debug)]
pub struct UniverseCommit(Arc<(Vec<Change>, Mark)>);

impl UniverseCommit {
    /// Applies changes of contents.
    pub fn new(changes: &[Change], mark: &Mark) -> Self {
        Self(Arc::new((changes.to_vec(), mark.clone())))
    }
}

impl Commit<Universe> for UniverseCommit {
    fn apply(&self, to: &mut Universe) {
        let (changes, mark) = &*self.0;
        for change in changes {
            to.holdings.apply(change);
        }
        to.mark.clone_from(mark);
    }
}

impl Table for Universe {
    type Commit = UniverseCommit;
}

impl Universe {
    /// An empty one at a mark.
    pub fn seed(mark: &Mark) -> Self {
        Self { mark: mark.clone(), ..Self::default() }
    }

    /// Checksum of everything in it, its membership too.
    pub fn sum(&self) -> u64 {
        self.contents_sum().wrapping_add(Fold::of(&self.mark.membership))
    }

    /// Checksum of which contents it says the members hold.
    pub const fn contents_sum(&self) -> u64 {
        self.holdings.0.sum
    }

    /// Where it is.
    pub const fn position(&self) -> Option<LogPosition> {
        self.mark.position
    }
}
