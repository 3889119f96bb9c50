//! What was acknowledged is there at the end, on every node; no request is carried out twice; and what was said not to be
//! done is not done.

use super::Broken;
use crate::group::databases::Jobs;
use crate::group::trace::Fold;
use orbit_core::grid::Outcome;
use orbit_core::ids::RequestId;
use orbit_core::wire::encode;
use std::collections::{BTreeMap, BTreeSet};

/// Requests, and what became of them.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// By which entry a request was answered, and how.
    answered: BTreeMap<RequestId, (u64, u64)>,
    /// What clients were told.
    told: BTreeMap<RequestId, u64>,
    /// What clients were told is not done.
    denied: BTreeSet<RequestId>,
}

impl Acknowledged {
    /// A node applied entries that answer these requests.
    pub fn answered(&mut self, who: &str, requests: &[(u64, RequestId, Outcome)]) -> Vec<Broken> {
        let mut broken = Vec::new();
        for (index, request, outcome) in requests {
            let now = (*index, Fold::of(&encode(outcome)));
            let known = *self.answered.entry(*request).or_insert(now);
            if known != now {
                let what = format!("{who}: {request} at entries {} and {index}", known.0);
                broken.push(("a request is carried out once, and everywhere alike", what));
            }
            broken.extend(self.denied.contains(request).then(|| denied(*request)));
        }
        broken
    }

    /// A client was told that its request is done, or refused.
    pub fn acknowledged(&mut self, request: RequestId, outcome: &Outcome) -> Vec<Broken> {
        let now = Fold::of(&encode(outcome));
        let known = *self.told.entry(request).or_insert(now);
        let applied = self.answered.get(&request).map(|(_, outcome)| *outcome);
        if known == now && applied.is_none_or(|applied| applied == now) {
            return Vec::new();
        }
        vec![("a request that is sent again is answered as before", request.to_string())]
    }

    /// A client was told that nothing was done.
    pub fn denied(&mut self, request: RequestId) -> Vec<Broken> {
        self.denied.insert(request);
        let was_done = self.answered.contains_key(&request);
        was_done.then(|| denied(request)).into_iter().collect()
    }

    /// How many were acknowledged.
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// At the end, when a node has applied everything.
    pub fn is_there(&self, who: &str, jobs: &Jobs) -> Vec<Broken> {
        let lost = self.told.keys().find(|request| !jobs.seen.contains_key(request));
        let lost = lost.map(|request| {
            let at = self.answered.get(request).map_or(0, |(index, _)| *index);
            ("no acknowledged write is lost", format!("{who} does not have request {request} (entry {at})"))
        });
        lost.into_iter().collect()
    }
}

fn denied(request: RequestId) -> Broken {
    ("what was said not to be done is not done", request.to_string())
}
