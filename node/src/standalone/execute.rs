//! [`execute`]: drives a stored plan through the job machine.
//!
//! ```text
//!            steps              staged                    flush, commit
//!   jobs.db ───────▶ driver ───────────▶ (job machine) ───────────────▶ committer
//!                      │  ▲                                                 │
//!                  run ▼  │ ran                                             │ flushed, committed
//!                    workers (2 to 8 threads)  ◀────── events ──────────────┘
//! ```
//!
//! The driver owns the machine and its state; workers and committer hear of it by bounded channels.

use super::ahead::Hands;
use super::error::RunError;
use super::observer::RunEvent;
use super::progress::RunPhase;
use super::run::Run;
use super::stage::{StagedStep, StepEnd};
use crate::local::writer::AlignedBuffer;
use orbit_core::batcher::LARGE_FILE_BYTES;
use orbit_core::job::{Command, Event, Job, Outcome, Weight};
use orbit_core::plan::{Phase, Step, StepId};
use orbit_core::system::SystemError;
use orbit_core::writer::OrbitWriter;
use orbit_store::{PlanId, StepState};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often a stop request is looked for while nothing happens.
const STOP_POLL: Duration = Duration::from_millis(50);

/// How often what is staged is put in place even if it is little: a kill costs no more work than this.
const TICK: Duration = Duration::from_secs(5);

/// What threads tell the driver.
enum Told {
    Ended(StepId, StepEnd),
    Flushed(Result<(), SystemError>),
    Committed(u64),
}

/// What the committer is asked.
enum Settle {
    Flush,
    Commit(Vec<StagedStep>),
}

/// Runs all steps of the plan that are not done. `faults` counts what planning could not do. Gives how it ended and, for
/// [`Outcome::NotDurable`], why.
pub(super) fn execute(
    run: &Run<'_>,
    plan: PlanId,
    workers: usize,
    faults: u64,
    has_deletions: bool,
) -> Result<(Outcome, u64, Option<SystemError>), RunError> {
    // A worker has at most one step in hand and the committer one request, so no sender ever waits long.
    let (tell, told) = sync_channel(workers + 2);
    let (give, steps) = sync_channel::<(StepId, Step)>(workers);
    let (ask, asked) = sync_channel(1);
    let steps = Arc::new(Mutex::new(steps));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (steps, tell) = (steps.clone(), tell.clone());
            scope.spawn(move || work(run, &steps, &tell));
        }
        scope.spawn(move || settle(run, &asked, &tell));
        let mut driver = Driver {
            run,
            plan,
            cursor: None,
            bodies: HashMap::new(),
            staged: HashMap::new(),
            give,
            ask,
            has_deletions,
            not_durable: None,
        };
        let result = driver.drive(Job::new(workers, faults), &told);
        if result.is_err() {
            run.halt.store(true, Ordering::Relaxed);
        }
        let not_durable = driver.not_durable.take();
        // Closing the channels ends the threads.
        drop(driver);
        result.map(|(outcome, faults)| (outcome, faults, not_durable))
    })
}

fn work(run: &Run<'_>, steps: &Mutex<Receiver<(StepId, Step)>>, tell: &SyncSender<Told>) {
    let mut hands = Hands::new();
    loop {
        let next = steps.lock().expect("receiving does not panic").recv();
        let Ok((id, step)) = next else { return };
        if tell.send(Told::Ended(id, run.work(&step, &mut hands))).is_err() {
            return;
        }
    }
}

fn settle(run: &Run<'_>, asked: &Receiver<Settle>, tell: &SyncSender<Told>) {
    let mut buffer = AlignedBuffer::new(super::copy::PIECE_BYTES);
    while let Ok(request) = asked.recv() {
        let answer = match request {
            Settle::Flush => Told::Flushed(run.writer.flush()),
            Settle::Commit(group) => Told::Committed(run.commit(group, &mut buffer)),
        };
        if tell.send(answer).is_err() {
            return;
        }
    }
}

struct Driver<'a> {
    run: &'a Run<'a>,
    plan: PlanId,
    /// Rank and number of the last step fetched.
    cursor: Option<(i64, u64)>,
    /// Steps fetched and not yet given to a worker.
    bodies: HashMap<StepId, Step>,
    /// What finished steps left to commit.
    staged: HashMap<StepId, StagedStep>,
    give: SyncSender<(StepId, Step)>,
    ask: SyncSender<Settle>,
    has_deletions: bool,
    not_durable: Option<SystemError>,
}

impl Driver<'_> {
    fn drive(&mut self, mut job: Job, told: &Receiver<Told>) -> Result<(Outcome, u64), RunError> {
        let mut events = VecDeque::from([Event::Begin]);
        let mut stopping = false;
        let mut last_tick = Instant::now();
        loop {
            while let Some(event) = events.pop_front() {
                for command in job.handle(event) {
                    if let Command::Finish(outcome) = command {
                        return Ok((outcome, job.faults()));
                    }
                    self.show_phase(job.phase());
                    events.extend(self.obey(command)?);
                }
            }
            match told.recv_timeout(STOP_POLL) {
                Ok(told) => self.hear(told, &mut events),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("workers live as long as the driver"),
            }
            if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                events.push_back(Event::Tick);
            }
            if !stopping && (self.run.context.stop.load(Ordering::Relaxed) || self.run.is_lost()) {
                stopping = true;
                self.run.halt.store(true, Ordering::Relaxed);
                events.push_back(Event::Stop);
            }
        }
    }

    fn show_phase(&self, phase: Phase) {
        self.run.context.progress.set_phase(match phase {
            Phase::Files => RunPhase::Copying,
            _ => RunPhase::Finishing,
        });
    }

    fn obey(&mut self, command: Command) -> Result<Option<Event>, RunError> {
        match command {
            Command::Fetch { phase, limit } => return self.fetch(phase, limit).map(Event::Fetched).map(Some),
            Command::Run(id) => {
                let step = self.bodies.remove(&id).expect("the machine runs only steps it was given");
                self.give.send((id, step)).expect("workers wait for steps as long as the driver lives");
            }
            Command::Flush => {
                self.ask.send(Settle::Flush).expect("the committer lives as long as the driver");
            }
            Command::Commit(ids) => {
                let group = ids.iter().filter_map(|id| self.staged.remove(id)).collect();
                self.ask.send(Settle::Commit(group)).expect("the committer lives as long as the driver");
            }
            Command::Record(ids) => self.record(&ids),
            Command::DeletionsSkipped => {
                if self.has_deletions {
                    let notice = "nothing was deleted, because something failed before";
                    self.run.context.observer.event(&RunEvent::Notice(notice));
                }
            }
            Command::Finish(_) => {}
        }
        Ok(None)
    }

    /// The next steps of `phase`; fewer than `limit` only if there are no more. Steps of phases that were left out are
    /// passed over.
    fn fetch(&mut self, phase: Phase, limit: usize) -> Result<Vec<StepId>, RunError> {
        let mut ids = Vec::with_capacity(limit);
        while ids.len() < limit {
            let rows = self.run.state.jobs().next_steps(self.plan, self.cursor, limit - ids.len())?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let step = Step::decode(&row.step.body).map_err(|error| RunError::Plan(error.into()))?;
                // The order of execution is by phase first: whatever follows belongs to later ones.
                if step.phase > phase {
                    return Ok(ids);
                }
                self.cursor = Some((row.step.rank, row.step.seq));
                if step.phase == phase {
                    ids.push(StepId(row.step.seq));
                    self.bodies.insert(StepId(row.step.seq), step);
                }
            }
        }
        Ok(ids)
    }

    /// A step that is not recorded only runs again, so this may fail.
    fn record(&self, ids: &[StepId]) {
        let marks: Vec<_> = ids.iter().map(|id| (id.0, StepState::Done)).collect();
        if let Err(error) = self.run.state.jobs().mark_steps(self.plan, &marks) {
            tracing::warn!(error = super::error::chain(&error), "cannot record progress");
        }
    }

    fn hear(&mut self, told: Told, events: &mut VecDeque<Event>) {
        match told {
            Told::Ended(id, StepEnd::Done(staged)) => {
                let (weight, faults, no_space) = (staged.weight, staged.faults, staged.no_space);
                self.staged.insert(id, staged);
                events.push_back(Event::Ran { step: id, weight: heavy(weight), faults });
                if no_space {
                    self.run.halt.store(true, Ordering::Relaxed);
                    events.push_back(Event::NoSpace);
                }
            }
            // Nothing was staged, or it was applied in place.
            Told::Ended(id, StepEnd::GaveUp(staged)) if staged.weight.items == 0 => {
                events.push_back(Event::GaveUp(id));
            }
            Told::Ended(id, StepEnd::GaveUp(staged)) => {
                let weight = staged.weight;
                self.staged.insert(id, staged);
                events.push_back(Event::GaveUpRest { step: id, weight });
            }
            Told::Flushed(Ok(())) => events.push_back(Event::Flushed),
            Told::Flushed(Err(error)) => {
                self.not_durable = Some(error);
                self.run.halt.store(true, Ordering::Relaxed);
                events.push_back(Event::FlushFailed);
            }
            Told::Committed(faults) => events.push_back(Event::Committed { faults }),
        }
    }
}

/// A large file is on its way to the disk already, so it need not fill a group by itself.
fn heavy(weight: Weight) -> Weight {
    if weight.items == 1 && weight.bytes >= LARGE_FILE_BYTES {
        return Weight { bytes: weight.bytes / 8, ..weight };
    }
    weight
}
