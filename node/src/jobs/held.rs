//! [`Held`]: a job of this star: what is wanted of it, and how it stands.

use super::kept::{DoneBefore, Kept, KeptPlan};
use super::report;
use crate::daemon::shared::lock;
use crate::link::DirectLink;
use crate::standalone::JobSource;
use crate::standalone::progress::Progress;
use orbit_core::grid::Refusal;
use orbit_core::grid::job::{JobFault, JobReport, JobTrouble, Wanted};
use orbit_core::ids::JobId;
use orbit_core::wire::job::{JobProgress, JobSpec};
use orbit_store::PlanId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Faults of one job that are remembered here; more are counted.
const FAULTS_MAX: usize = 1000;
/// A worker that waits looks whether it is still wanted so often.
const LOOK: Duration = Duration::from_millis(200);
/// A ticket that takes longer than this is something to tell.
const TICKET_SOON: Duration = Duration::from_secs(3);

/// A job, shared by its worker and by those who talk with the Nucleus.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: JobId,
    state: Mutex<State>,
    changed: Condvar,
    news: watch::Sender<u64>,
}

/// What is wanted of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Nothing was said yet.
    Unsaid,
    Want(Wanted),
    Forget,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    goal: Goal,
    is_working: bool,
    /// Stops what the worker does now.
    stop: Arc<AtomicBool>,
    /// Where the job stands, and how often that changed.
    report: Option<JobReport>,
    report_number: u64,
    faults: Vec<JobFault>,
    fault_count: u64,
    /// Plans of attempts that are over.
    stale_plans: Vec<PlanId>,
    live: Option<Live>,
    link: Option<Arc<DirectLink>>,
    /// Tickets that were asked for, and came.
    calls: BTreeMap<u64, Option<Result<Vec<u8>, Refusal>>>,
    next_call: u64,
}

/// A call of the engine that is under way.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) progress: Arc<Progress>,
    pub(super) source: JobSource,
    pub(super) began: Instant,
    pub(super) route: Option<String>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("began", &self.began).field("route", &self.route).finish_non_exhaustive()
    }
}

/// What a worker does next.
#[derive(Debug)]
pub(super) enum Task {
    Plan,
    Run(KeptPlan),
    /// The plan that was agreed to is gone.
    Lost,
    /// A plan that is not needed any more.
    Drop(PlanId),
    Forget,
}

/// What a worker needs for a task.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) task: Task,
    pub(super) attempt: u32,
    pub(super) spec: JobSpec,
    pub(super) stop: Arc<AtomicBool>,
}

/// Where a job stands, for the Nucleus.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) attempt: u32,
    pub(super) report: Option<(u64, JobReport)>,
    /// Faults from the number that was asked for on.
    pub(super) faults: Vec<JobFault>,
    /// Tickets that are waited for.
    pub(super) calls: Vec<u64>,
    pub(super) progress: Option<JobProgress>,
}

impl Held {
    pub(super) fn new(id: JobId, kept: Kept, news: watch::Sender<u64>) -> Self {
        let report =
            kept.ended.clone().or_else(|| kept.plan.as_ref().map(|plan| report::planned(&kept, plan)));
        let state = State {
            report_number: u64::from(report.is_some()),
            report,
            kept,
            goal: Goal::Unsaid,
            is_working: false,
            stop: Arc::default(),
            faults: Vec::new(),
            fault_count: 0,
            stale_plans: Vec::new(),
            live: None,
            link: None,
            calls: BTreeMap::new(),
            next_call: 1,
        };
        Self { id, state: Mutex::new(state), changed: Condvar::new(), news }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn tell(&self) {
        self.changed.notify_all();
        self.news.send_modify(|count| *count += 1);
    }

    /// The Nucleus wants this. Whether a worker has to be started for it.
    pub(super) fn want(&self, attempt: u32, wanted: Wanted, spec: JobSpec) -> bool {
        let mut state = self.state();
        if attempt < state.kept.attempt {
            return false;
        }
        if attempt > state.kept.attempt {
            let stale = state.kept.plan.as_ref().map(KeptPlan::id);
            state.stale_plans.extend(stale);
            state.kept = Kept::new(attempt, spec.clone());
            (state.report, state.faults, state.fault_count) = (None, Vec::new(), 0);
            state.interrupt();
        }
        let goal = Goal::Want(wanted);
        // A change of the options holds from the next call of the engine on, so this one ends.
        if state.goal != goal || state.kept.spec.options != spec.options {
            state.interrupt();
        }
        if state.goal != goal {
            // What was said while something else was wanted may not have counted.
            state.report_number += u64::from(state.report.is_some());
        }
        (state.goal, state.kept.spec) = (goal, spec);
        if wanted == Wanted::Hold {
            // Whoever goes on later connects again; whoever waits for the source waits no longer.
            if let Some(link) = state.link.take() {
                link.break_off();
            }
        }
        let start = state.take_up();
        drop(state);
        self.tell();
        start
    }

    /// Nothing of it is needed any more. Whether a worker has to be started to clean up.
    pub(super) fn give_up(&self) -> bool {
        let mut state = self.state();
        state.goal = Goal::Forget;
        state.interrupt();
        if let Some(link) = state.link.take() {
            link.break_off();
        }
        let start = state.take_up();
        drop(state);
        self.tell();
        start
    }

    /// The node ends.
    pub(super) fn interrupt(&self) {
        let mut state = self.state();
        state.goal = Goal::Unsaid;
        state.interrupt();
        drop(state);
        self.changed.notify_all();
    }

    /// What the worker does next; none: its thread ends.
    pub(super) fn next_assignment(&self) -> Option<Assignment> {
        let mut state = self.state();
        (state.live, state.stop) = (None, Arc::default());
        let Some(task) = state.next_task() else {
            state.is_working = false;
            return None;
        };
        if let Task::Drop(_) = task {
            state.stale_plans.pop();
        }
        let (attempt, spec) = (state.kept.attempt, state.kept.spec.clone());
        Some(Assignment { task, attempt, spec, stop: Arc::clone(&state.stop) })
    }

    /// Changes what is kept, if it is of this attempt still, and gives it to be saved.
    pub(super) fn change(&self, attempt: u32, change: impl FnOnce(&mut Kept)) -> Option<Kept> {
        let mut state = self.state();
        if state.kept.attempt != attempt {
            return None;
        }
        change(&mut state.kept);
        Some(state.kept.clone())
    }

    /// Whether nothing of it is needed any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.state().goal == Goal::Forget
    }

    /// What earlier calls of this attempt did.
    pub(super) fn done_before(&self) -> DoneBefore {
        self.state().kept.done_before
    }

    /// Says where the job stands.
    pub(super) fn report(&self, attempt: u32, report: JobReport) {
        let mut state = self.state();
        if state.kept.attempt == attempt {
            state.say(report);
            drop(state);
            self.tell();
        }
    }

    /// Says that the job goes on, if it was said to wait.
    pub(super) fn report_going(&self, attempt: u32) {
        if matches!(self.state().report, Some(JobReport::Waiting(_))) {
            self.report(attempt, JobReport::Going);
        }
    }

    /// Says why the job waits.
    pub(super) fn report_waiting(&self, attempt: u32, message: &str) {
        self.report(attempt, JobReport::Waiting(JobTrouble::new(message)));
    }

    /// A path failed or was skipped.
    pub(super) fn add_fault(&self, fault: JobFault) {
        let mut state = self.state();
        // What failed before and is tried again fails again.
        if state.faults.contains(&fault) {
            return;
        }
        state.fault_count += 1;
        if state.faults.len() < FAULTS_MAX {
            state.faults.push(fault);
        }
    }

    /// How many paths failed, and the first of them.
    pub(super) fn faults(&self, first: usize) -> (u64, Vec<JobFault>) {
        let state = self.state();
        (state.fault_count, state.faults.iter().take(first).cloned().collect())
    }

    /// The engine has begun.
    pub(super) fn set_live(&self, live: Live) {
        self.state().live = Some(live);
        self.tell();
    }

    /// The link to the source's star, if there is one.
    pub(super) fn link(&self) -> Option<Arc<DirectLink>> {
        self.state().link.clone()
    }

    /// Uses another link from now on, or none. It is broken off if the job is not wanted any more.
    pub(super) fn set_link(&self, link: Option<Arc<DirectLink>>) {
        let mut state = self.state();
        if state.goal == Goal::Forget
            && let Some(link) = &link
        {
            link.break_off();
        }
        state.link = link;
    }

    /// Waits, unless something else is wanted meanwhile.
    pub(super) fn wait(&self, stop: &AtomicBool, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !stop.load(Ordering::Relaxed) && Instant::now() < until {
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks the Nucleus for a ticket and waits for it; none: something else is wanted. While there is no Nucleus it waits.
    pub(super) fn ask_ticket(&self, attempt: u32) -> Option<Result<Vec<u8>, Refusal>> {
        let asked = Instant::now();
        let mut was_told = false;
        let mut state = self.state();
        let call = state.next_call;
        state.next_call += 1;
        state.calls.insert(call, None);
        self.news.send_modify(|count| *count += 1);
        loop {
            if state.kept.attempt != attempt || state.stop.load(Ordering::Relaxed) {
                state.calls.remove(&call);
                return None;
            }
            if state.calls.get(&call).is_some_and(Option::is_some) {
                return state.calls.remove(&call).flatten();
            }
            if !was_told && asked.elapsed() > TICKET_SOON {
                was_told = true;
                let message = "it needs the Nucleus to be let in by the source's node, and hears none";
                state.say(JobReport::Waiting(JobTrouble::new(message)));
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A ticket came, or why there is none.
    pub(super) fn take_ticket(&self, call: u64, ticket: Result<Vec<u8>, Refusal>) {
        let mut state = self.state();
        if let Some(slot) = state.calls.get_mut(&call) {
            *slot = Some(ticket);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Where the job stands. `faults_from`: how many faults are known already.
    pub(super) fn snapshot(&self, faults_from: usize, faults_max: usize) -> Snapshot {
        let state = self.state();
        let unanswered = state.calls.iter().filter(|(_, answer)| answer.is_none());
        Snapshot {
            attempt: state.kept.attempt,
            report: state.report.clone().map(|report| (state.report_number, report)),
            faults: state.faults.iter().skip(faults_from).take(faults_max).cloned().collect(),
            calls: unanswered.map(|(call, _)| *call).collect(),
            progress: state.live.as_ref().map(|live| report::progress(&state.kept, live, state.fault_count)),
        }
    }
}

impl State {
    fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn say(&mut self, report: JobReport) {
        if self.report.as_ref() != Some(&report) {
            self.report = Some(report);
            self.report_number += 1;
        }
    }

    /// Whether a worker has to be started, which counts as started.
    fn take_up(&mut self) -> bool {
        let start = !self.is_working && self.next_task().is_some();
        self.is_working |= start;
        start
    }

    fn next_task(&self) -> Option<Task> {
        let plan = self.kept.plan.clone();
        match self.goal {
            Goal::Unsaid => None,
            _ if !self.stale_plans.is_empty() => self.stale_plans.last().copied().map(Task::Drop),
            Goal::Forget => Some(Task::Forget),
            Goal::Want(_) if self.kept.ended.is_some() => None,
            Goal::Want(Wanted::Hold) => None,
            Goal::Want(Wanted::Plan) => plan.is_none().then_some(Task::Plan),
            // Whoever lost its plan makes it again, unless somebody agreed to just that one.
            Goal::Want(Wanted::Run) => Some(match plan {
                Some(plan) => Task::Run(plan),
                None if self.kept.spec.is_asked => Task::Lost,
                None => Task::Plan,
            }),
        }
    }
}
