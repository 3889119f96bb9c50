//! [`execute`]: drives a stored plan through the job machine, one turn of one actor at a time.

use super::Run;
use super::commit::Committing;
use super::stage::{Contents, StagedStep, StepEnd, Worker};
use crate::plant::Plant;
use orbit_core::batcher::LARGE_FILE_BYTES;
use orbit_core::job::{Command, Event, Job, Outcome, Weight};
use orbit_core::plan::{Phase, Step, StepId};
use orbit_core::writer::OrbitWriter;
use std::collections::{BTreeMap, VecDeque};

/// More turns than any run of these sizes takes.
const TURNS_MAX: usize = 200_000;

/// What actors tell the driver.
pub enum Told {
    /// A worker is done with a step.
    Ended(StepId, StepEnd),
    /// The flush ended.
    Flushed(Result<(), orbit_core::system::SystemError>),
    /// The group is committed, with so many faults.
    Committed(u64),
}

/// Runs all steps of the plan that are not recorded. `None` if the process died.
pub fn execute(run: &Run<'_>, faults: u64) -> Option<(Outcome, u64)> {
    let mut driver = Driver {
        run,
        cursor: None,
        bodies: BTreeMap::new(),
        staged: BTreeMap::new(),
        contents: BTreeMap::new(),
        workers: Vec::new(),
        committer: None,
    };
    if run.settings.plant == Some(Plant::DeleteBeforeCopies) {
        driver.delete_first();
    }
    driver.drive(Job::new(run.settings.workers, faults))
}

struct Driver<'a> {
    run: &'a Run<'a>,
    cursor: Option<(i64, StepId)>,
    bodies: BTreeMap<StepId, Step>,
    staged: BTreeMap<StepId, StagedStep>,
    /// What each step that ended put where, for the invariants.
    contents: BTreeMap<StepId, Contents>,
    workers: Vec<Worker>,
    committer: Option<Committing>,
}

impl Driver<'_> {
    fn drive(&mut self, mut job: Job) -> Option<(Outcome, u64)> {
        let mut events = VecDeque::from([Event::Begin]);
        let mut stopping = false;
        for turn in 0..TURNS_MAX {
            while let Some(event) = events.pop_front() {
                for command in job.handle(event) {
                    if let Command::Finish(outcome) = command {
                        self.run.watch.borrow_mut().finished(outcome, job.faults(), self.run.store);
                        return Some((outcome, job.faults()));
                    }
                    self.run.watch.borrow_mut().faults = job.faults();
                    events.extend(self.obey(command));
                }
            }
            if let Some(told) = self.turn() {
                self.hear(told, &mut events);
            }
            if self.run.world.machine.is_dead() {
                return None;
            }
            if self.run.weather.source_changes_one_in.is_some_and(|times| self.run.random.one_in(times)) {
                self.run.world.change_source(None, self.run.random);
            }
            if !stopping && self.run.weather.stop_at.is_some_and(|at| turn >= at) {
                stopping = true;
                self.run.halt.set(true);
                events.push_back(Event::Stop);
            }
        }
        self.run.watch.borrow_mut().violation("a run ends", "it is still going on");
        None
    }

    /// One actor goes on a little.
    fn turn(&mut self) -> Option<Told> {
        let actors = self.workers.len() + usize::from(self.committer.is_some());
        if actors == 0 {
            return None;
        }
        let turn = self.run.random.below(actors);
        if turn < self.workers.len() {
            let end = self.workers[turn].advance(self.run)?;
            let worker = self.workers.swap_remove(turn);
            return Some(Told::Ended(worker.id, end));
        }
        let told = self.committer.as_mut()?.advance(self.run)?;
        self.committer = None;
        Some(told)
    }

    fn obey(&mut self, command: Command) -> Option<Event> {
        match command {
            Command::Fetch { phase, limit } => return Some(Event::Fetched(self.fetch(phase, limit))),
            Command::Run(id) => {
                let step = self.bodies.remove(&id).expect("the machine runs only steps it was given");
                self.workers.push(Worker::new(id, step));
            }
            Command::Flush => {
                let has_data = !self.staged.is_empty();
                let skips = has_data && self.run.settings.plant == Some(Plant::CommitWithoutFlush);
                self.committer = Some(if skips { Committing::Nothing } else { Committing::Flush });
            }
            Command::Commit(ids) => {
                let group = ids.iter().filter_map(|id| self.staged.remove(id)).collect();
                self.committer = Some(Committing::new(group));
                if self.run.settings.plant == Some(Plant::RecordBeforeFlush) {
                    self.record(&ids);
                }
            }
            Command::Record(ids) => self.record(&ids),
            Command::DeletionsSkipped => self.run.watch.borrow_mut().deletions_skipped = true,
            Command::Finish(_) => {}
        }
        None
    }

    fn fetch(&mut self, phase: Phase, limit: usize) -> Vec<StepId> {
        let store = self.run.store.borrow();
        let plan = store.plan.as_ref().expect("a run has a plan");
        let mut ids = Vec::new();
        loop {
            let rows = plan.next_steps(self.cursor, limit - ids.len());
            if rows.is_empty() {
                return ids;
            }
            for (rank, id, step) in rows {
                // The order of execution is by phase first: whatever follows belongs to later ones.
                if step.phase > phase {
                    return ids;
                }
                self.cursor = Some((*rank, *id));
                if step.phase == phase {
                    ids.push(*id);
                    self.bodies.insert(*id, step.clone());
                }
            }
            if ids.len() == limit || self.run.settings.plant == Some(Plant::ShortFetch) {
                return ids;
            }
        }
    }

    fn record(&mut self, ids: &[StepId]) {
        let mut store = self.run.store.borrow_mut();
        store.plan.as_mut().expect("a run has a plan").recorded.extend(ids);
        self.run.world.machine.note(format!("      -- recorded {ids:?}"));
        let contents = ids.iter().filter_map(|id| self.contents.remove(id));
        self.run.watch.borrow_mut().recorded.extend(contents.flatten());
    }

    fn hear(&mut self, told: Told, events: &mut VecDeque<Event>) {
        match told {
            Told::Ended(id, StepEnd::Done(mut staged)) => {
                let (weight, faults, no_space) = (staged.weight, staged.faults, staged.no_space);
                self.run.watch.borrow_mut().ran.insert(id);
                self.contents.insert(id, std::mem::take(&mut staged.contents));
                self.staged.insert(id, staged);
                events.push_back(Event::Ran { step: id, weight: self.heavy(weight), faults });
                if no_space {
                    self.run.halt.set(true);
                    events.push_back(Event::NoSpace);
                }
            }
            Told::Ended(id, StepEnd::GaveUp(staged)) => {
                staged.directories.iter().for_each(|directory| self.run.writer.discard(&directory.name));
                staged.alone.iter().for_each(|staged| self.run.writer.discard(&staged.name));
                events.push_back(Event::GaveUp(id));
            }
            Told::Flushed(Ok(())) => events.push_back(Event::Flushed),
            Told::Flushed(Err(_)) => {
                self.run.halt.set(true);
                events.push_back(Event::FlushFailed);
            }
            Told::Committed(faults) => events.push_back(Event::Committed { faults }),
        }
    }

    /// [`Plant::DeleteBeforeCopies`].
    fn delete_first(&self) {
        let deletions: Vec<_> = {
            let store = self.run.store.borrow();
            let plan = store.plan.as_ref().expect("a run has a plan");
            plan.open().filter(|step| step.phase == Phase::Deletions).cloned().collect()
        };
        for step in deletions {
            let mut worker = Worker::new(StepId(u64::MAX), step);
            while worker.advance(self.run).is_none() && !self.run.world.machine.is_dead() {}
        }
    }

    /// A large file is on its way to the disk already, so it need not fill a group by itself.
    fn heavy(&self, weight: Weight) -> Weight {
        let share = if weight.items == 1 && weight.bytes >= LARGE_FILE_BYTES { 8 } else { 1 };
        Weight { bytes: weight.bytes * self.run.settings.weight_factor / share, ..weight }
    }
}
