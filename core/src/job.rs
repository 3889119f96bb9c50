//! [`Job`]: the state machine of a run. It decides what happens next; a driver does it.
//!
//! ```text
//!           Fetch            Run              Flush             Commit            Flush
//!  stored ────────▶ ready ────────▶ running ────────▶ staged ────────▶ committed ────────▶ recorded
//!  step                     (worker stages)   (data durable)   (renames)        (names durable)
//! ```
//!
//! `(state, event) → commands`, without clock, randomness or I/O. The rules it keeps, each tested by property tests and
//! by the simulation:
//! - a step is committed only after a flush that began when it was staged;
//! - a step is recorded as done only after a flush that began when it was committed;
//! - a step of which anything failed is never recorded, so that no later run of the plan takes it for done and deletes;
//!   nor is, after any fault, that directories got their attributes;
//! - a phase begins only when every step of the one before is recorded, or durable as far as it did not fail;
//! - deletions run one after another, in order: what is in a directory goes before it;
//! - nothing is deleted after a fault;
//! - but for a failed flush, a run ends only when everything it changed is durable, half a step included;
//! - a crash at any point loses only work, never a record: what was not recorded runs again.

use crate::plan::{Phase, StepId};
use std::collections::{BTreeSet, VecDeque};

/// Staged bytes after which a group is flushed and committed.
pub const GROUP_BYTES: u64 = 512 << 20;
/// Staged items after which a group is flushed and committed.
pub const GROUP_ITEMS: u64 = 32_768;
/// No more steps are run while this many groups' worth waits for a flush.
const GROUPS_WAITING_MAX: u64 = 4;
/// Steps fetched at a time, a worker.
const FETCH_STEPS: usize = 4;

/// What a step weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes staged.
    pub bytes: u64,
    /// Items staged.
    pub items: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run begins.
    Begin,
    /// The next steps of the phase, in order; fewer than asked for means that the phase has no more.
    Fetched(Vec<StepId>),
    /// A worker staged a step (or applied it, in a phase that does not stage). Faults are counted; what failed is not in
    /// place, and this run goes on without it.
    Ran {
        /// The step.
        step: StepId,
        /// What it staged.
        weight: Weight,
        /// Items that failed.
        faults: u64,
    },
    /// A worker gave a step up half-way because of [`Event::Stop`] or [`Event::NoSpace`]. It stays to be done; what it
    /// applied in place is made durable.
    GaveUp(StepId),
    /// The same, but what it had staged by then is whole: it is put in place, though the step stays to be done.
    GaveUpRest {
        /// The step.
        step: StepId,
        /// What it staged.
        weight: Weight,
    },
    /// Everything written before the flush began is durable.
    Flushed,
    /// The group's objects are in place, except `faults` of them.
    Committed {
        /// Items that failed.
        faults: u64,
    },
    /// Some time passed since the last flush began: what is staged should not wait for its group to fill.
    Tick,
    /// Someone asked to stop.
    Stop,
    /// The destination is full.
    NoSpace,
    /// Flushing failed: nothing can be promised any more.
    FlushFailed,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read at most `limit` steps of the phase, after those already fetched.
    Fetch {
        /// Of which phase.
        phase: Phase,
        /// How many.
        limit: usize,
    },
    /// Give a step to a worker.
    Run(StepId),
    /// Make all that was written durable.
    Flush,
    /// Rename these steps' objects into place, in this order.
    Commit(Vec<StepId>),
    /// Remember these steps as done.
    Record(Vec<StepId>),
    /// Say that deletions were left out, because something failed.
    DeletionsSkipped,
    /// The run is over.
    Finish(Outcome),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step was done; some items may have failed.
    Complete,
    /// Stopped on request; the rest is still to be done.
    Stopped,
    /// The destination is full; the rest is still to be done.
    NoSpace,
    /// What was written may not be durable.
    NotDurable,
}

/// What is known of the phase's stored steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Supply {
    Unasked,
    Asked(usize),
    More,
    Exhausted,
}

/// What the flush or commit in hand is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Settling {
    Idle,
    /// A flush; `group` is committed after it, `names` become durable by it.
    Flushing {
        group: Vec<StepId>,
        names: Vec<StepId>,
    },
    Committing(Vec<StepId>),
}

/// The state machine of one run.
#[derive(Clone, Debug)]
pub struct Job {
    workers: usize,
    phase: Phase,
    supply: Supply,
    ready: VecDeque<StepId>,
    running: usize,
    staged: Vec<StepId>,
    staged_weight: Weight,
    settling: Settling,
    /// In place, but not yet durable there.
    committed: Vec<StepId>,
    /// A step that was given up may have changed something in place since the last flush began.
    half_done: bool,
    /// A group is flushed though it is not full.
    is_due: bool,
    /// Of those that are not recorded yet: steps of which something failed, or was not done.
    failed: BTreeSet<StepId>,
    faults: u64,
    ending: Option<Outcome>,
    finished: bool,
}

impl Job {
    /// A run with `workers` workers. `faults` counts what planning could not do.
    pub fn new(workers: usize, faults: u64) -> Self {
        Self {
            workers: workers.max(1),
            phase: Phase::Files,
            supply: Supply::Unasked,
            ready: VecDeque::new(),
            running: 0,
            staged: Vec::new(),
            staged_weight: Weight::default(),
            settling: Settling::Idle,
            committed: Vec::new(),
            half_done: false,
            is_due: false,
            failed: BTreeSet::new(),
            faults,
            ending: None,
            finished: false,
        }
    }

    /// The phase in hand.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What failed so far.
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Begin => {}
            Event::Fetched(steps) => self.fetched(steps),
            Event::Ran { step, weight, faults } => {
                self.running -= 1;
                self.faults += faults;
                if faults > 0 {
                    self.failed.insert(step);
                }
                self.ran(step, weight);
            }
            Event::GaveUpRest { step, weight } => {
                self.running -= 1;
                self.failed.insert(step);
                self.ran(step, weight);
            }
            Event::GaveUp(_) => {
                self.running -= 1;
                self.half_done = self.ending != Some(Outcome::NotDurable);
            }
            Event::Flushed => self.flushed(&mut commands),
            Event::Committed { faults } => {
                self.faults += faults;
                if let Settling::Committing(group) = std::mem::replace(&mut self.settling, Settling::Idle) {
                    if faults > 0 {
                        // Which of them it was, nobody says.
                        self.failed.extend(&group);
                    }
                    self.committed.extend(group);
                }
            }
            Event::Tick => self.is_due = true,
            Event::Stop => self.ending = self.ending.or(Some(Outcome::Stopped)),
            Event::NoSpace => self.ending = self.ending.or(Some(Outcome::NoSpace)),
            Event::FlushFailed => {
                self.ending = Some(Outcome::NotDurable);
                self.settling = Settling::Idle;
                self.staged.clear();
                self.committed.clear();
                self.half_done = false;
            }
        }
        self.advance(&mut commands);
        commands
    }

    fn ran(&mut self, step: StepId, weight: Weight) {
        if self.ending == Some(Outcome::NotDurable) {
            // Nothing is committed any more: the next run does it again.
        } else if self.phase.is_staged() {
            self.staged.push(step);
            self.staged_weight.bytes += weight.bytes;
            self.staged_weight.items += weight.items;
        } else {
            self.committed.push(step);
        }
    }

    fn fetched(&mut self, steps: Vec<StepId>) {
        let Supply::Asked(limit) = self.supply else {
            return;
        };
        self.supply = if steps.len() < limit { Supply::Exhausted } else { Supply::More };
        self.ready.extend(steps);
    }

    fn flushed(&mut self, commands: &mut Vec<Command>) {
        let Settling::Flushing { group, mut names } = std::mem::replace(&mut self.settling, Settling::Idle)
        else {
            return;
        };
        names.retain(|step| !self.failed.remove(step));
        if self.phase == Phase::Directories && self.faults > 0 {
            // Doing what failed, in a later run, moves the directories' times again.
            names.clear();
        }
        if !names.is_empty() {
            commands.push(Command::Record(names));
        }
        if !group.is_empty() {
            commands.push(Command::Commit(group.clone()));
            self.settling = Settling::Committing(group);
        }
    }

    /// Everything that can go on, goes on.
    fn advance(&mut self, commands: &mut Vec<Command>) {
        if self.finished {
            return;
        }
        if self.ending.is_some() {
            self.ready.clear();
        } else {
            self.dispatch(commands);
        }
        self.settle(commands);
        if self.is_phase_over() {
            self.end_phase(commands);
        }
    }

    fn dispatch(&mut self, commands: &mut Vec<Command>) {
        let workers = if self.phase.is_serial() { 1 } else { self.workers };
        while self.running < workers && !self.is_backlogged() {
            let Some(step) = self.ready.pop_front() else { break };
            self.running += 1;
            commands.push(Command::Run(step));
        }
        if self.ready.is_empty() && matches!(self.supply, Supply::Unasked | Supply::More) {
            let limit = self.workers * FETCH_STEPS;
            self.supply = Supply::Asked(limit);
            commands.push(Command::Fetch { phase: self.phase, limit });
        }
    }

    fn is_backlogged(&self) -> bool {
        self.staged_weight.bytes >= GROUP_BYTES * GROUPS_WAITING_MAX
            || self.staged_weight.items >= GROUP_ITEMS * GROUPS_WAITING_MAX
    }

    /// Begins a flush when a group is full, or when nothing else is left to wait for.
    fn settle(&mut self, commands: &mut Vec<Command>) {
        if self.settling != Settling::Idle || self.ending == Some(Outcome::NotDurable) {
            return;
        }
        let is_full = self.staged_weight.bytes >= GROUP_BYTES || self.staged_weight.items >= GROUP_ITEMS;
        let is_last = self.running == 0 && self.is_drained() && !self.is_durable();
        let is_due = self.is_due && !(self.staged.is_empty() && self.committed.is_empty());
        if is_full || is_last || is_due {
            self.is_due = false;
            self.half_done = false;
            self.staged_weight = Weight::default();
            let group = std::mem::take(&mut self.staged);
            let names = std::mem::take(&mut self.committed);
            self.settling = Settling::Flushing { group, names };
            commands.push(Command::Flush);
        }
    }

    /// Whether no further step of this phase will be run.
    fn is_drained(&self) -> bool {
        self.ready.is_empty() && (self.ending.is_some() || self.supply == Supply::Exhausted)
    }

    fn is_phase_over(&self) -> bool {
        self.running == 0 && self.is_drained() && self.settling == Settling::Idle && self.is_durable()
    }

    /// Whether nothing waits for a flush.
    fn is_durable(&self) -> bool {
        self.staged.is_empty() && self.committed.is_empty() && !self.half_done
    }

    fn end_phase(&mut self, commands: &mut Vec<Command>) {
        let mut next = if self.ending.is_some() { None } else { self.phase.next() };
        if next == Some(Phase::Deletions) && self.faults > 0 {
            commands.push(Command::DeletionsSkipped);
            next = Phase::Deletions.next();
        }
        let Some(phase) = next else {
            self.finished = true;
            commands.push(Command::Finish(self.ending.unwrap_or(Outcome::Complete)));
            return;
        };
        self.phase = phase;
        self.supply = Supply::Unasked;
        self.advance(commands);
    }
}

#[cfg(test)]
mod tests;
