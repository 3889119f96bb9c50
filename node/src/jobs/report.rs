//! What is told of a job: its parts, its figures, and why it failed.

use super::held::Live;
use super::kept::{Kept, KeptPlan};
use crate::local::writer::BeginError;
use crate::remote::RemoteError;
use crate::standalone::error::{RunError, chain};
use crate::standalone::progress::{Limit, RunPhase};
use orbit_core::grid::Refusal;
use orbit_core::grid::job::{FailureKind, JobFailure, JobReport, JobStep, StepKind, StepState, clip};
use orbit_core::grid::refusal::RefusalKind;
use orbit_core::system::SystemError;
use orbit_core::wire::job::{JobProgress, JobSpec};
use orbit_core::{Summary, Totals};
use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;

/// The report of a plan that was made.
pub(super) fn planned(kept: &Kept, plan: &KeptPlan) -> JobReport {
    let steps = steps_before_run(&kept.spec, &plan.totals);
    JobReport::Planned { totals: plan.totals, route: plan.route.clone(), steps }
}

/// A job's parts once it is planned.
pub(super) fn steps_before_run(spec: &JobSpec, totals: &Totals) -> Vec<JobStep> {
    let done = |kind, items, bytes| JobStep {
        state: StepState::Done,
        attempts: 1,
        items,
        bytes,
        ..JobStep::pending(kind)
    };
    let skipped_if = |skipped: bool, kind| JobStep {
        state: if skipped { StepState::Skipped } else { StepState::Pending },
        ..JobStep::pending(kind)
    };
    let changed = totals.files_new + totals.files_changed;
    let is_nothing = totals.is_nothing_to_do();
    vec![
        done(StepKind::ScanSource, totals.files_total + totals.directories_total, totals.bytes_total),
        done(StepKind::ScanDestination, totals.destination_entries, 0),
        JobStep { faults: totals.faults, ..done(StepKind::Compare, totals.files_total, 0) },
        skipped_if(changed == 0, StepKind::Transfer),
        skipped_if(changed == 0 || !spec.options.verify, StepKind::Verify),
        skipped_if(is_nothing, StepKind::Commit),
        skipped_if(totals.files_deleted == 0, StepKind::Delete),
    ]
}

/// A job's parts while the engine carries its plan out.
fn steps_while_running(kept: &Kept, plan: &KeptPlan, live: &Live, faults: u64) -> Vec<JobStep> {
    let mut steps = steps_before_run(&kept.spec, &plan.totals);
    let (phase, figures) = (live.progress.phase(), &live.progress);
    for step in steps.iter_mut().filter(|step| step.state == StepState::Pending) {
        step.attempts = kept.done_before.runs;
        step.state = match (step.kind, phase) {
            (StepKind::Transfer | StepKind::Verify, RunPhase::Finishing | RunPhase::Flushing) => {
                StepState::Done
            }
            (StepKind::Transfer | StepKind::Verify | StepKind::Commit, _)
            | (StepKind::Delete, RunPhase::Finishing | RunPhase::Flushing) => StepState::Running,
            _ => StepState::Pending,
        };
        match step.kind {
            StepKind::Transfer => {
                (step.items, step.bytes) =
                    (figures.files_done.load(Relaxed), figures.bytes_done.load(Relaxed));
                step.faults = faults.saturating_sub(plan.totals.faults);
            }
            StepKind::Commit => step.items = figures.files_done.load(Relaxed),
            _ => {}
        }
    }
    steps
}

/// A job's parts while the engine makes its plan.
fn steps_while_planning(live: &Live) -> Vec<JobStep> {
    let scanned = live.progress.scanned.load(Relaxed);
    let mut steps = JobStep::all_pending();
    for step in &mut steps[..3] {
        (step.state, step.attempts) = (StepState::Running, 1);
        if step.kind == StepKind::ScanSource {
            step.items = scanned;
        }
    }
    steps
}

/// A job's parts at its end.
pub(super) fn steps_at_end(kept: &Kept, summary: &Summary, ended_well: bool) -> Vec<JobStep> {
    let Some(plan) = &kept.plan else {
        let mut steps = JobStep::all_pending();
        for step in &mut steps[..3] {
            (step.state, step.attempts) = (StepState::Failed, 1);
        }
        return steps;
    };
    let mut steps = steps_before_run(&kept.spec, &plan.totals);
    let failed = summary.files_failed.saturating_sub(plan.totals.faults);
    for step in steps.iter_mut().filter(|step| step.state == StepState::Pending) {
        step.attempts = kept.done_before.runs;
        step.state = if ended_well { StepState::Done } else { StepState::Failed };
        let files = summary.files_new + summary.files_changed;
        match step.kind {
            StepKind::Transfer => {
                (step.items, step.bytes, step.faults) = (files, summary.bytes_written, failed);
                if failed > 0 {
                    step.state = StepState::Failed;
                }
            }
            StepKind::Verify => (step.items, step.bytes) = (files, summary.bytes_written),
            StepKind::Commit => step.items = files,
            // Nothing is deleted after something failed.
            StepKind::Delete if failed > 0 && summary.files_deleted == 0 => step.state = StepState::Skipped,
            StepKind::Delete => step.items = summary.files_deleted,
            _ => {}
        }
    }
    steps
}

/// Live figures.
pub(super) fn progress(kept: &Kept, live: &Live, faults: u64) -> JobProgress {
    let figures = &live.progress;
    let limit = figures.limit().map(|limit| match limit {
        Limit::SourceRead if live.route.is_some() => "the source and the way to it",
        Limit::SourceRead => "reading the source",
        Limit::DestinationWrite => "writing the destination",
        Limit::Cpu => "the processor",
        Limit::Bandwidth => "the bandwidth limit",
    });
    JobProgress {
        scanned: figures.scanned.load(Relaxed),
        files_planned: figures.files_planned.load(Relaxed),
        bytes_planned: figures.bytes_planned.load(Relaxed),
        files_done: figures.files_done.load(Relaxed),
        bytes_done: figures.bytes_done.load(Relaxed),
        bytes_wire: kept.done_before.bytes_wire + live.source.bytes_wire(),
        faults,
        limit: limit.map(str::to_owned),
        current: clip(&figures.current()),
        route: live.route.clone(),
        steps: match &kept.plan {
            Some(plan) => steps_while_running(kept, plan, live, faults),
            None => steps_while_planning(live),
        },
        elapsed_ms: kept.done_before.elapsed_ms + live.began.elapsed().as_millis() as u64,
    }
}

/// Why a job failed.
pub(super) fn failure(error: &RunError) -> JobFailure {
    let hint = match error {
        RunError::Refused(refusal) | RunError::Star { source: RemoteError::Refused(refusal), .. } => {
            refusal.hint()
        }
        RunError::NotFound { .. } => Some("check the spelling, and that its disk is mounted".to_owned()),
        RunError::NoParent { .. } => {
            Some("check that its disk is mounted; else create the directory".to_owned())
        }
        _ => None,
    };
    JobFailure { kind: kind_of(error), message: clip(&chain(error)), hint: hint.map(|hint| clip(&hint)) }
}

/// A refusal as the reason.
pub(super) fn refused(message: &str, hint: Option<String>) -> JobFailure {
    JobFailure { kind: FailureKind::Refused, message: clip(message), hint: hint.map(|hint| clip(&hint)) }
}

fn kind_of(error: &RunError) -> FailureKind {
    match error {
        RunError::NotFound { .. } | RunError::NoParent { .. } => FailureKind::NotFound,
        RunError::WrongKind { .. } | RunError::BadPath { .. } | RunError::Rules(_) => FailureKind::Usage,
        RunError::Path { source, .. } => of_io(source.kind()),
        RunError::Guard(_) | RunError::NoSpace { .. } => FailureKind::Guard,
        RunError::Begin { source, .. } => match source {
            BeginError::Busy(_) | BeginError::NotOurs { .. } => FailureKind::Guard,
            BeginError::TrashElsewhere { .. } => FailureKind::Usage,
            BeginError::Trash { source, .. } => of_io(source.kind()),
            BeginError::System(error) => of_system(error),
        },
        RunError::System(error) => of_system(error),
        RunError::Refused(refusal) => of_refusal(refusal),
        RunError::Gone { .. } => FailureKind::Unreachable,
        RunError::Star { source, .. } => match source {
            RemoteError::Refused(refusal) => of_refusal(refusal),
            RemoteError::Link(_) => FailureKind::Unreachable,
            RemoteError::Failed { source, .. } => of_system(source),
            RemoteError::Protocol(_) => FailureKind::Unexpected,
        },
        RunError::Stale { .. } => FailureKind::Stale,
        RunError::Interrupted | RunError::NotDurable { .. } => FailureKind::Partial,
        _ => FailureKind::Unexpected,
    }
}

fn of_refusal(refusal: &Refusal) -> FailureKind {
    match refusal.kind() {
        RefusalKind::Usage => FailureKind::Usage,
        RefusalKind::NotFound => FailureKind::NotFound,
        RefusalKind::Unreachable => FailureKind::Unreachable,
        RefusalKind::Refused => FailureKind::Refused,
        RefusalKind::Failed => FailureKind::Unexpected,
    }
}

fn of_system(error: &SystemError) -> FailureKind {
    match error {
        _ if error.is_no_space() => FailureKind::Guard,
        SystemError::Escapes { .. } => FailureKind::Refused,
        SystemError::Io { source, .. } => of_io(source.kind()),
        _ => FailureKind::Unexpected,
    }
}

const fn of_io(kind: ErrorKind) -> FailureKind {
    match kind {
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::PermissionDenied => FailureKind::Refused,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FailureKind::Guard,
        _ => FailureKind::Unexpected,
    }
}
