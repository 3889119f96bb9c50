//! What must hold in a group, one rule a file, and [`Watch`], which sees all nodes at once.

pub mod acknowledged;
pub mod equal_states;
pub mod linearizable;
pub mod one_leader;
pub mod one_term;
pub mod quorum;
pub mod recovery;
pub mod single_use;

use super::databases::{Image, Jobs, Universe};
use super::trace::Trace;
use acknowledged::Acknowledged;
use equal_states::EqualStates;
use linearizable::History;
use one_leader::Leaders;
use one_term::Stars;
use orbit_core::grid::{Change, Outcome};
use orbit_core::ids::RequestId;
use orbit_store::Mark;
use quorum::Quorums;
use single_use::Tokens;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `jobs.db`.
    Jobs,
    /// The universe.
    Universe,
}

/// A rule that was broken, and how.
pub type Broken = (&'static str, String);

/// All rules, and where what breaks them is told.
#[derive(Debug)]
pub struct Watch {
    trace: Arc<Trace>,
    rules: Mutex<Rules>,
}

/// What the rules know.
#[derive(Debug, Default)]
pub struct Rules {
    /// One leader a term, one lease at a time.
    pub leaders: Leaders,
    /// Equal states at equal positions.
    pub states: EqualStates,
    /// Nothing acknowledged is lost, nothing is done twice.
    pub acknowledged: Acknowledged,
    /// Tokens admit no more than they say.
    pub tokens: Tokens,
    /// Stars obey one leader a term.
    pub stars: Stars,
    /// The number of voters.
    pub quorums: Quorums,
    /// What clients saw.
    pub history: History,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(trace: &Arc<Trace>) -> Arc<Self> {
        Arc::new(Self { trace: trace.clone(), rules: Mutex::default() })
    }

    /// Looks at the rules, and tells what is broken.
    pub fn check(&self, look: impl FnOnce(&mut Rules) -> Vec<Broken>) {
        let broken = look(&mut self.rules());
        for (rule, what) in broken {
            self.trace.violation(rule, format_args!("{what}"));
        }
    }

    /// Reads or notes something.
    pub fn with<T>(&self, look: impl FnOnce(&mut Rules) -> T) -> T {
        look(&mut self.rules())
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process found its databases like this.
    pub fn opened(&self, who: &str, jobs: &Jobs, universe: &Universe) {
        self.trace
            .note(who, format_args!("opens databases at {} and {}", at(&jobs.mark), at(&universe.mark)));
        self.check(|rules| rules.states.both(who, jobs, universe));
    }

    /// A database applied everything up to a mark.
    pub fn applied(&self, base: Base, who: &str, mark: &Mark, sum: u64, contents: u64) {
        self.trace.note(who, format_args!("applies {base:?} up to {}: {sum:016x}", at(mark)));
        self.check(|rules| rules.states.one(base, who, mark, sum, contents));
    }

    /// Requests were answered by entries.
    pub fn answered(&self, who: &str, requests: &[(u64, RequestId, Outcome)]) {
        self.check(|rules| rules.acknowledged.answered(who, requests));
    }

    /// Records changed.
    pub fn changed(&self, who: &str, changes: &[Change]) {
        self.check(|rules| rules.tokens.changed(who, changes));
    }

    /// Views of both databases were taken for a snapshot.
    pub fn pinned(&self, who: &str, image: &Image) {
        self.trace.note(who, format_args!("pins {} and {}", at(&image.jobs.mark), at(&image.universe.mark)));
        self.check(|rules| rules.states.both(who, &image.jobs, &image.universe));
    }

    /// A snapshot replaced both databases.
    pub fn installed(&self, who: &str, image: &Image) {
        self.trace.note(who, format_args!("installs {}", at(&image.jobs.mark)));
        self.check(|rules| rules.states.both(who, &image.jobs, &image.universe));
    }
}

/// A mark's place, for people.
pub fn at(mark: &Mark) -> String {
    mark.position.map_or_else(|| "nothing".to_owned(), |at| format!("{}/{}", at.term, at.index))
}
