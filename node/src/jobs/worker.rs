//! The worker of a job: a thread that does what is wanted, as long as something is.

use super::held::{Assignment, Held, Live, Task};
use super::kept::{self, Kept, KeptPlan};
use super::observer::JobObserver;
use super::report;
use super::request;
use super::source::{self, NoSource};
use crate::daemon::Node;
use crate::local::writer::BeginError;
use crate::standalone::error::{RunError, chain};
use crate::standalone::progress::Progress;
use crate::standalone::{Context, JobSource, RunReport, forget_plan, plan_from, run_from};
use crate::store_trouble::StoreTrouble;
use orbit_core::Summary;
use orbit_core::grid::job::{Ending, FAULTS_KEPT_MAX, FailureKind, JobFailure, JobReport};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Pauses before something that did not work is tried again, seconds.
const PAUSES_S: [u64; 5] = [1, 2, 4, 8, 15];
/// Likewise when the disk is full, or another run writes there: that takes a person's time.
const LONG_PAUSE: Duration = Duration::from_secs(20);

/// Pause after something that should not be.
const ODD_PAUSE: Duration = Duration::from_millis(500);

/// How a task went.
enum Outcome {
    /// It is done, or something else is wanted.
    Over,
    /// It is to be tried again.
    Wait { message: String, pause: Option<Duration> },
    /// With it the job is over.
    Ended(Box<(Ending, Summary)>),
}

impl Outcome {
    fn ended(ending: Ending, summary: Summary) -> Self {
        Self::Ended(Box::new((ending, summary)))
    }
}

/// Starts the worker of a job. Called where the runtime is.
pub(super) fn start(node: &Arc<Node>, held: Arc<Held>) {
    let node = Arc::clone(node);
    let tasks = node.tasks.clone();
    tasks.spawn_blocking(move || work(&node, &held));
}

fn work(node: &Arc<Node>, held: &Arc<Held>) {
    let mut setbacks = 0;
    while let Some(assignment) = held.next_assignment() {
        let attempt = assignment.attempt;
        let outcome = match &assignment.task {
            Task::Plan => plan(node, held, &assignment),
            Task::Run(plan) => run(node, held, &assignment, plan),
            Task::Lost => Outcome::ended(Ending::Failed(plan_is_lost()), Summary::default()),
            Task::Drop(plan) => {
                drop_plan(node, held, &assignment, *plan);
                continue;
            }
            Task::Forget => {
                forget(node, held, &assignment);
                if node.jobs.remove(held) {
                    return;
                }
                continue;
            }
        };
        match outcome {
            Outcome::Over => {
                setbacks = 0;
                if matches!(assignment.task, Task::Run(_)) {
                    // If it was not stopped, something is odd, which must not keep a processor busy.
                    held.wait(&assignment.stop, ODD_PAUSE);
                }
            }
            Outcome::Wait { message, pause } => {
                held.report_waiting(attempt, &message);
                let short = Duration::from_secs(PAUSES_S[setbacks.min(PAUSES_S.len() - 1)]);
                setbacks += 1;
                held.wait(&assignment.stop, pause.unwrap_or(short));
            }
            Outcome::Ended(ended) => {
                let (ending, summary) = *ended;
                end(node, held, attempt, ending, summary);
            }
        }
    }
}

fn context(node: &Node, held: &Arc<Held>, assignment: &Assignment) -> Context {
    Context {
        state_dir: node.jobs.directory.clone(),
        observer: Arc::new(JobObserver(Arc::clone(held))),
        progress: Arc::new(Progress::default()),
        stop: Arc::clone(&assignment.stop),
    }
}

/// Opens the source and shows that the engine is at work.
fn begin(
    node: &Arc<Node>,
    held: &Arc<Held>,
    assignment: &Assignment,
    context: &Context,
) -> Result<(JobSource, Option<String>), Outcome> {
    if let Err(error) = kept::create(&context.state_dir) {
        return Err(Outcome::Wait { message: cannot_keep(&error), pause: Some(LONG_PAUSE) });
    }
    let (source, route) = source::open(node, held, assignment.attempt, &assignment.spec)
        .map_err(|no_source| of_no_source(no_source, held))?;
    held.report_going(assignment.attempt);
    let progress = Arc::clone(&context.progress);
    held.set_live(Live { progress, source: source.clone(), began: Instant::now(), route: route.clone() });
    Ok((source, route))
}

fn plan(node: &Arc<Node>, held: &Arc<Held>, assignment: &Assignment) -> Outcome {
    let context = context(node, held, assignment);
    let (source, route) = match begin(node, held, assignment, &context) {
        Ok(begun) => begun,
        Err(outcome) => return outcome,
    };
    let request = request::of_spec(&assignment.spec);
    let (plan, totals) = match plan_from(&context, &request, &source, &node.star.jails()) {
        Ok(planned) => planned,
        Err(error) => return setback(held, &error, Summary::default()),
    };
    let planned = KeptPlan::new(plan, totals, route);
    let Some(kept) = held.change(assignment.attempt, |kept| kept.plan = Some(planned.clone())) else {
        // Another attempt has begun meanwhile.
        drop_plan(node, held, assignment, plan);
        return Outcome::Over;
    };
    if let Err(error) = kept::save(&node.jobs.directory, held.id, &kept) {
        // Planned again, once there is room: a plan that nobody is told of leads nowhere.
        held.change(assignment.attempt, |kept| kept.plan = None);
        drop_plan(node, held, assignment, plan);
        return Outcome::Wait { message: cannot_keep(&error), pause: Some(LONG_PAUSE) };
    }
    held.report(assignment.attempt, report::planned(&kept, &planned));
    Outcome::Over
}

fn run(node: &Arc<Node>, held: &Arc<Held>, assignment: &Assignment, plan: &KeptPlan) -> Outcome {
    let attempt = assignment.attempt;
    let context = context(node, held, assignment);
    held.change(attempt, |kept| kept.done_before.runs += 1);
    let (source, _) = match begin(node, held, assignment, &context) {
        Ok(begun) => begun,
        Err(outcome) => return outcome,
    };
    let began = Instant::now();
    let request = request::of_spec(&assignment.spec);
    let result = run_from(&context, &request, plan.id(), &source, &node.star.jails());
    let report = match &result {
        Ok(report) => *report,
        Err(RunError::NoSpace { report, .. } | RunError::NotDurable { report, .. }) => *report.as_ref(),
        Err(_) => {
            let bytes_written = context.progress.bytes_done.load(Relaxed);
            RunReport { summary: Summary { bytes_written, ..Summary::default() }, ..RunReport::default() }
        }
    };
    let kept = held.change(attempt, |kept| {
        let done = &mut kept.done_before;
        done.bytes_written += report.summary.bytes_written;
        done.bytes_reused += report.summary.bytes_reused;
        done.bytes_wire += source.bytes_wire();
        done.elapsed_ms += began.elapsed().as_millis() as u64;
    });
    let Some(kept) = kept else { return Outcome::Over };
    let summary = whole(&kept, report.summary);
    match result {
        Ok(report) if report.interrupted => {
            if let Err(error) = kept::save(&node.jobs.directory, held.id, &kept) {
                tracing::warn!(job = %held.id, error = chain(&error), "cannot keep how far a job is");
            }
            Outcome::Over
        }
        Ok(report) if report.faults > 0 => Outcome::ended(Ending::Partial, summary),
        Ok(_) => Outcome::ended(Ending::Done, summary),
        Err(RunError::Store(error)) if StoreTrouble::from(&error) == StoreTrouble::NoSuchPlan => {
            // It was lost with its database: it is made again, unless somebody agreed to it.
            held.change(attempt, |kept| kept.plan = None);
            Outcome::Over
        }
        Err(error) => setback(held, &error, summary),
    }
}

fn plan_is_lost() -> JobFailure {
    JobFailure {
        kind: FailureKind::Stale,
        message: "the plan that was agreed to is lost; nothing more was changed".to_owned(),
        hint: Some("submit the sync again to see what it would do now".to_owned()),
    }
}

/// What a run did with all that earlier calls of its attempt did.
fn whole(kept: &Kept, summary: Summary) -> Summary {
    let done = &kept.done_before;
    Summary {
        bytes_written: done.bytes_written,
        bytes_reused: done.bytes_reused,
        bytes_wire: done.bytes_wire,
        elapsed_ms: done.elapsed_ms,
        ..summary
    }
}

/// What becomes of a job after an error of the engine.
fn setback(held: &Arc<Held>, error: &RunError, summary: Summary) -> Outcome {
    match error {
        RunError::Interrupted => Outcome::Over,
        RunError::NoSpace { .. } => Outcome::Wait { message: chain(error), pause: Some(LONG_PAUSE) },
        RunError::Begin { source: BeginError::Busy(_), .. } => {
            Outcome::Wait { message: chain(error), pause: Some(LONG_PAUSE) }
        }
        error if error.is_source_lost() => of_no_source(source::lost(held, error), held),
        error => Outcome::ended(Ending::Failed(report::failure(error)), summary),
    }
}

fn of_no_source(no_source: NoSource, held: &Held) -> Outcome {
    match no_source {
        NoSource::Failed(failure) => {
            let elapsed_ms = held.done_before().elapsed_ms;
            Outcome::ended(Ending::Failed(failure), Summary { elapsed_ms, ..Summary::default() })
        }
        NoSource::Wait(message) => Outcome::Wait { message, pause: None },
        NoSource::Stopped => Outcome::Over,
    }
}

/// Keeps that a job is over, then says so.
fn end(node: &Node, held: &Held, attempt: u32, ending: Ending, summary: Summary) {
    let (fault_count, faults) = held.faults(FAULTS_KEPT_MAX);
    let ended_well = matches!(ending, Ending::Done | Ending::Partial);
    let kept = held.change(attempt, |kept| {
        let steps = report::steps_at_end(kept, &summary, ended_well);
        kept.ended = Some(JobReport::Ended { ending, summary, steps, fault_count, faults });
    });
    let Some(kept) = kept else { return };
    if let Err(error) = kept::save(&node.jobs.directory, held.id, &kept) {
        // After a restart it is looked at again, and found to be done.
        tracing::warn!(job = %held.id, error = chain(&error), "cannot keep that a job is over");
    }
    held.set_link(None);
    if let Some(report) = kept.ended {
        held.report(attempt, report);
    }
}

fn drop_plan(node: &Node, held: &Arc<Held>, assignment: &Assignment, plan: orbit_store::PlanId) {
    if let Err(error) = forget_plan(&context(node, held, assignment), plan) {
        tracing::warn!(job = %held.id, error = chain(&error), "cannot remove a plan that is not needed any more");
    }
}

fn forget(node: &Node, held: &Arc<Held>, assignment: &Assignment) {
    let mut plan = None;
    held.change(assignment.attempt, |kept| plan = kept.plan.take());
    if let Some(plan) = plan {
        drop_plan(node, held, assignment, plan.id());
    }
}

fn cannot_keep(error: &std::io::Error) -> String {
    format!("this node cannot write to its data directory: {error}")
}
