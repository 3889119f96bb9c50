//! What must hold, one rule a file, and [`Watch`], which sees a run from outside.

pub mod deletions;
pub mod every_step;
pub mod recorded;
pub mod recovery;
pub mod success;
pub mod whole;

use crate::disk::state::Body;
use crate::store::Store;
use orbit_core::RelPath;
use orbit_core::job::Outcome;
use orbit_core::plan::StepId;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is known of one run, and what was found wrong with it.
#[derive(Debug, Default)]
pub struct Watch {
    /// Rules that were broken.
    pub violations: Vec<String>,
    /// What recorded steps put where; `None` where they deleted.
    pub recorded: Vec<(RelPath, Option<Body>)>,
    /// What was copied, by path in the destination.
    pub copied: BTreeMap<RelPath, Body>,
    /// Steps that a worker brought to an end.
    pub ran: BTreeSet<StepId>,
    /// What failed so far.
    pub faults: u64,
    /// Whether the machine left deletions out.
    pub deletions_skipped: bool,
    /// Version of the source that was planned.
    pub planned_version: u64,
    /// Steps the plan had.
    pub steps: u64,
}

impl Watch {
    /// Notes that a rule was broken.
    pub fn violation(&mut self, rule: &str, what: impl fmt::Display) {
        self.violations.push(format!("broken: {rule}: {what}"));
    }

    /// The machine ended the run.
    pub fn finished(&mut self, outcome: Outcome, faults: u64, store: &RefCell<Store>) {
        self.faults = faults;
        if let Some(plan) = &store.borrow().plan {
            every_step::check(self, outcome, plan);
        }
    }
}
