//! [`Harness`]: a driver without a disk. It knows what may happen next, and holds the machine to the rules at the top of
//! `job.rs` at every command.

use super::super::{Command, Event, Job, Outcome, Weight};
use crate::plan::{Phase, StepId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a plan holds and what is recorded of it: all that outlives a crash.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub steps: BTreeMap<Phase, Vec<StepId>>,
    pub recorded: BTreeSet<StepId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum InFlight {
    Nothing,
    Flush,
    Commit(Vec<StepId>),
}

#[derive(Clone, Debug)]
pub struct Harness {
    pub job: Job,
    pub stored: Stored,
    workers: usize,
    /// Steps of the phase in hand that are still to be fetched.
    open: VecDeque<StepId>,
    pub running: Vec<StepId>,
    in_flight: InFlight,
    /// Staged, and whether a flush that began later has ended.
    staged: BTreeMap<StepId, Promise>,
    /// In place, likewise.
    in_place: BTreeMap<StepId, Promise>,
    /// What steps that were given up had done in place.
    half_done: Option<Promise>,
    /// Something of them failed.
    failed: BTreeSet<StepId>,
    /// Failed in part, and durable as far as they did not.
    settled: BTreeSet<StepId>,
    fetched_phase: Option<Phase>,
    pub faults: u64,
    pub deletions_skipped: bool,
    deleting_since: Option<u64>,
    pub ending: Option<Outcome>,
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Volatile,
    /// The flush in hand began after it.
    Flushing,
    Durable,
}

impl Harness {
    pub fn new(stored: Stored, workers: usize, faults: u64) -> Self {
        Self {
            job: Job::new(workers, faults),
            stored,
            workers,
            open: VecDeque::new(),
            running: Vec::new(),
            in_flight: InFlight::Nothing,
            staged: BTreeMap::new(),
            in_place: BTreeMap::new(),
            half_done: None,
            failed: BTreeSet::new(),
            settled: BTreeSet::new(),
            fetched_phase: None,
            faults,
            deletions_skipped: false,
            deleting_since: None,
            ending: None,
            outcome: None,
        }
    }

    /// What may happen next. `weight` is what a step weighs.
    pub fn choices(&self, weight: Weight) -> Vec<Event> {
        let mut choices = Vec::new();
        for &step in &self.running {
            choices.extend([0, 1].map(|faults| Event::Ran { step, weight, faults }));
            if self.ending.is_some() {
                choices.extend([Event::GaveUp(step), Event::GaveUpRest { step, weight }]);
            }
        }
        match self.in_flight {
            InFlight::Nothing => {}
            InFlight::Flush => choices.extend([Event::Flushed, Event::FlushFailed]),
            InFlight::Commit(_) => choices.extend([0, 1].map(|faults| Event::Committed { faults })),
        }
        if self.ending.is_none() {
            choices.extend([Event::Stop, Event::NoSpace]);
        }
        if !choices.is_empty() {
            choices.push(Event::Tick);
        }
        choices
    }

    /// Lets it happen, and does what the machine says as far as that is immediate. Gives the commands.
    pub fn feed(&mut self, event: Event) -> Vec<Command> {
        let mut events = VecDeque::from([event]);
        let mut all = Vec::new();
        while let Some(event) = events.pop_front() {
            self.note(&event);
            for command in self.job.handle(event) {
                assert_eq!(self.outcome, None, "nothing is commanded after the end");
                events.extend(self.obey(&command));
                all.push(command);
            }
            assert_eq!(self.job.faults(), self.faults, "faults are counted");
        }
        all
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Begin | Event::Fetched(_) | Event::Tick => {}
            Event::Ran { step, faults, .. } => {
                self.running.retain(|other| other != step);
                self.faults += faults;
                if *faults > 0 {
                    self.failed.insert(*step);
                }
                let into = if self.job.phase().is_staged() { &mut self.staged } else { &mut self.in_place };
                into.insert(*step, Promise::Volatile);
            }
            Event::GaveUpRest { step, .. } => {
                self.running.retain(|other| other != step);
                self.failed.insert(*step);
                let into = if self.job.phase().is_staged() { &mut self.staged } else { &mut self.in_place };
                into.insert(*step, Promise::Volatile);
            }
            Event::GaveUp(step) => {
                self.running.retain(|other| other != step);
                self.half_done = Some(Promise::Volatile);
            }
            Event::Flushed => {
                self.in_flight = InFlight::Nothing;
                self.promise(Promise::Flushing, Promise::Durable);
                let failed = &self.failed;
                let is_left_open = self.job.phase() == Phase::Directories && self.faults > 0;
                let is_settled = |step: &StepId, promise: &Promise| {
                    *promise == Promise::Durable && (is_left_open || failed.contains(step))
                };
                let settled = self.in_place.extract_if(.., |step, promise| is_settled(step, promise));
                self.settled.extend(settled.map(|(step, _)| step));
            }
            Event::FlushFailed => {
                self.in_flight = InFlight::Nothing;
                self.ending = Some(Outcome::NotDurable);
            }
            Event::Committed { faults } => {
                self.faults += faults;
                let InFlight::Commit(steps) = std::mem::replace(&mut self.in_flight, InFlight::Nothing)
                else {
                    unreachable!("only what was commanded is answered");
                };
                if *faults > 0 {
                    self.failed.extend(&steps);
                }
                self.in_place.extend(steps.into_iter().map(|step| (step, Promise::Volatile)));
            }
            Event::Stop => self.ending = self.ending.or(Some(Outcome::Stopped)),
            Event::NoSpace => self.ending = self.ending.or(Some(Outcome::NoSpace)),
        }
    }

    fn promise(&mut self, from: Promise, to: Promise) {
        let all = self.staged.values_mut().chain(self.in_place.values_mut()).chain(&mut self.half_done);
        all.filter(|promise| **promise == from).for_each(|promise| *promise = to);
    }

    fn obey(&mut self, command: &Command) -> Option<Event> {
        match command {
            Command::Fetch { phase, limit } => return Some(self.fetch(*phase, *limit)),
            Command::Run(step) => self.run(*step),
            Command::Flush => {
                assert_eq!(self.in_flight, InFlight::Nothing, "one flush or commit at a time");
                assert_ne!(self.ending, Some(Outcome::NotDurable), "no flush is asked after one failed");
                self.in_flight = InFlight::Flush;
                self.promise(Promise::Volatile, Promise::Flushing);
            }
            Command::Commit(steps) => {
                assert_eq!(self.in_flight, InFlight::Nothing, "one flush or commit at a time");
                for step in steps {
                    let staged = self.staged.remove(step);
                    assert_eq!(staged, Some(Promise::Durable), "committed only after a flush: {step:?}");
                }
                self.in_flight = InFlight::Commit(steps.clone());
            }
            Command::Record(steps) => {
                for step in steps {
                    let placed = self.in_place.remove(step);
                    assert_eq!(placed, Some(Promise::Durable), "recorded only after a flush: {step:?}");
                    assert!(!self.failed.contains(step), "what failed is not recorded: {step:?}");
                    assert!(self.stored.recorded.insert(*step), "recorded once: {step:?}");
                }
            }
            Command::DeletionsSkipped => {
                assert!(self.faults > 0, "deletions are left out only after a fault");
                self.deletions_skipped = true;
            }
            Command::Finish(outcome) => self.finish(*outcome),
        }
        None
    }

    fn fetch(&mut self, phase: Phase, limit: usize) -> Event {
        assert_eq!(self.ending, None, "nothing is fetched while the run ends");
        if self.fetched_phase != Some(phase) {
            let earlier = self.stored.steps.range(..phase).flat_map(|(earlier, steps)| {
                let is_skipped = *earlier == Phase::Deletions && self.deletions_skipped;
                steps.iter().filter(move |_| !is_skipped)
            });
            for step in earlier {
                assert!(self.is_settled(*step), "a phase begins when the one before is recorded");
            }
            self.fetched_phase = Some(phase);
            let all = self.stored.steps.get(&phase).into_iter().flatten();
            self.open = all.filter(|step| !self.stored.recorded.contains(step)).copied().collect();
        }
        let fetched = self.open.drain(..limit.min(self.open.len())).collect();
        Event::Fetched(fetched)
    }

    fn run(&mut self, step: StepId) {
        assert_eq!(self.ending, None, "nothing is begun while the run ends");
        assert!(self.running.len() < self.workers, "no more steps than workers");
        assert!(!self.stored.recorded.contains(&step), "what is recorded does not run again");
        if self.job.phase() == Phase::Deletions {
            assert!(self.running.is_empty(), "deletions run one after another");
            let before = *self.deleting_since.get_or_insert(self.faults);
            assert_eq!(before, 0, "nothing is deleted after a fault");
        }
        self.running.push(step);
    }

    /// Whether it is recorded, or as much of it as did not fail is durable.
    fn is_settled(&self, step: StepId) -> bool {
        self.stored.recorded.contains(&step) || self.settled.contains(&step)
    }

    fn finish(&mut self, outcome: Outcome) {
        assert!(self.running.is_empty(), "workers are done at the end");
        assert_eq!(outcome, self.ending.unwrap_or(Outcome::Complete), "the end says why");
        if outcome != Outcome::NotDurable {
            let is_durable = self.half_done.is_none_or(|promise| promise == Promise::Durable);
            assert!(is_durable, "half a step is durable at the end");
            assert!(
                self.staged.is_empty() && self.in_place.is_empty(),
                "what was staged is settled at the end"
            );
        }
        if outcome == Outcome::Complete {
            for (phase, steps) in &self.stored.steps {
                let is_skipped = *phase == Phase::Deletions && self.deletions_skipped;
                let is_done = steps.iter().all(|step| self.is_settled(*step));
                assert!(is_skipped || is_done, "a complete run did every step");
            }
        }
        self.outcome = Some(outcome);
    }
}
