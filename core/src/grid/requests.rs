//! [`RecentRequests`]: what came of the latest requests, so that one that is sent again is answered, not repeated.

use super::envelope::Outcome;
use super::record::Change;
use crate::ids::RequestId;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Requests that are remembered.
pub const REQUESTS_MAX: usize = 16_384;
/// Bytes that all their outcomes take, roughly. Few outcomes have more than one record, but a record may be large.
pub const REQUESTS_BYTES_MAX: usize = 8 << 20;

/// The outcomes of the latest requests, the same on every voter that has applied the same log.
///
/// The oldest go first: by the log index that carried them, within one index by their id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentRequests {
    by_age: BTreeMap<(u64, RequestId), Outcome>,
    /// Indexes of `by_age`.
    indexes: BTreeMap<RequestId, u64>,
    /// Weight of all outcomes.
    bytes: usize,
}

impl RecentRequests {
    /// What came of a request, if it is remembered.
    pub fn get(&self, request: &RequestId) -> Option<&Outcome> {
        let index = *self.indexes.get(request)?;
        self.by_age.get(&(index, *request))
    }

    /// Remembers what came of a request that the log carried at `index`, without the tables that nobody asks for twice
    /// (contents and counters). Returns the requests that are forgotten for it.
    ///
    /// Whoever stores this keeps what [`get`](Self::get) says of the request afterwards and drops the forgotten ones
    /// then: a large batch may forget some of its own. A request that is known already stays as it is.
    pub fn insert(&mut self, index: u64, request: RequestId, outcome: Outcome) -> Vec<RequestId> {
        if self.indexes.contains_key(&request) {
            return Vec::new();
        }
        self.put(index, request, outcome.map(kept));
        self.forget_oldest()
    }

    /// All that is remembered, oldest first, with the log index that carried it.
    pub fn iter(&self) -> impl Iterator<Item = (u64, RequestId, &Outcome)> {
        self.by_age.iter().map(|((index, request), outcome)| (*index, *request, outcome))
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    fn put(&mut self, index: u64, request: RequestId, outcome: Outcome) {
        if let Entry::Vacant(slot) = self.indexes.entry(request) {
            slot.insert(index);
            self.bytes += weight(&outcome);
            self.by_age.insert((index, request), outcome);
        }
    }

    fn forget_oldest(&mut self) -> Vec<RequestId> {
        let mut forgotten = Vec::new();
        while self.by_age.len() > REQUESTS_MAX || (self.bytes > REQUESTS_BYTES_MAX && self.by_age.len() > 1) {
            let Some(((_, request), outcome)) = self.by_age.pop_first() else { break };
            self.bytes -= weight(&outcome);
            self.indexes.remove(&request);
            forgotten.push(request);
        }
        forgotten
    }
}

/// What was remembered before, in any order.
impl FromIterator<(u64, RequestId, Outcome)> for RecentRequests {
    fn from_iter<T: IntoIterator<Item = (u64, RequestId, Outcome)>>(rows: T) -> Self {
        let mut restored = Self::default();
        for (index, request, outcome) in rows {
            restored.put(index, request, outcome);
        }
        restored.forget_oldest();
        restored
    }
}

fn kept(changes: Vec<Change>) -> Vec<Change> {
    let is_kept = |change: &Change| !matches!(change, Change::Contents { .. } | Change::Metered(_));
    changes.into_iter().filter(is_kept).collect()
}

/// Roughly how many bytes an outcome takes: the same everywhere, and cheap.
fn weight(outcome: &Outcome) -> usize {
    /// What a small record takes.
    const SMALL: usize = 256;
    let of_change = |change: &Change| match change {
        Change::Node(record) => {
            let texts = record.profile.allowed_paths.iter().chain(&record.profile.addresses);
            SMALL + record.certificate.der.len() + texts.map(|text| text.len() + 24).sum::<usize>()
        }
        Change::Anchors(anchors) => {
            anchors.iter().map(|one| SMALL + one.der.len() + one.cross_signed.len()).sum()
        }
        Change::Token(token) => SMALL + token.used_by.len() * 32,
        Change::Constellation(group) => SMALL + group.nodes.len() * 16,
        Change::Job(record) => SMALL + record.weight(),
        Change::AuthorityKey { sealed, .. } => SMALL + sealed.0.len(),
        _ => SMALL,
    };
    SMALL + outcome.as_ref().map_or(0, |changes| changes.iter().map(of_change).sum())
}

#[cfg(test)]
mod tests;
