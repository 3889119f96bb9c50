//! Jobs as the API shows them.

use crate::api::job_types::{JobEndView, JobStepView, JobView};
use crate::nucleus::views::Eyes;
use orbit_core::grid::GridState;
use orbit_core::grid::job::{Blocker, Ending, JobEnd, JobRecord, JobState, JobStep, Pace};
use orbit_core::ids::{JobId, NodeId};
use orbit_mesh::key::sha256;

/// Digits of an id that people read.
const SHORT_LEN: usize = 8;

/// All jobs, the newest first.
pub(crate) fn job_views(eyes: &Eyes) -> Vec<JobView> {
    let mut views: Vec<JobView> =
        eyes.with(|state| state.jobs().map(|record| job_view(eyes, state, record)).collect());
    views.sort_by(|a, b| b.created_ms.cmp(&a.created_ms).then_with(|| a.id.cmp(&b.id)));
    views
}

/// One job.
pub(crate) fn job_view(eyes: &Eyes, state: &GridState, record: &JobRecord) -> JobView {
    let desk = eyes.nucleus.as_ref().map(|nucleus| &nucleus.jobs);
    let live = desk.and_then(|desk| desk.live(record.id, record.attempt));
    let is_active = record.state.is_active();
    let progress = live.as_ref().and_then(|live| live.progress.clone()).filter(|_| !record.state.is_ended());
    let told_faults = live.map(|live| live.faults).filter(|faults| faults.len() > record.faults.len());
    let steps = progress.as_ref().map_or(&record.steps, |progress| &progress.steps);
    let trouble = desk.and_then(|desk| desk.trouble(record.destination.node)).filter(|_| is_active);
    let mut view = JobView {
        id: record.id.to_string(),
        source: end(state, &record.source),
        destination: end(state, &record.destination),
        state: record.state.name().to_owned(),
        since_ms: record.since_ms,
        is_ended: record.state.is_ended(),
        is_planned: record.totals.is_some(),
        reason: reason(state, record).or(trouble),
        until_ms: match record.state.pace() {
            Some(Pace::Paused { until_ms }) => *until_ms,
            _ => None,
        },
        failure: match &record.state {
            JobState::Ended(Ending::Failed(failure)) => Some(failure.clone()),
            _ => None,
        },
        attempt: record.attempt,
        created_ms: record.created_ms,
        created_on: name(state, record.created_on),
        mode: record.mode,
        schedule: record.schedule.clone(),
        options: record.options.clone(),
        totals: record.totals,
        route: progress.as_ref().and_then(|progress| progress.route.clone()).or_else(|| record.route.clone()),
        steps: steps.iter().map(step).collect(),
        fault_count: progress.as_ref().map_or(record.fault_count, |progress| progress.faults),
        summary: record.summary,
        faults: told_faults.unwrap_or_else(|| record.faults.clone()),
        progress,
        version: String::new(),
    };
    view.version = version(&view);
    view
}

fn version(view: &JobView) -> String {
    let digest = sha256(&serde_json::to_vec(view).unwrap_or_default());
    JobId::from_bytes(digest.first_chunk().copied().unwrap_or_default()).to_string()
}

fn end(state: &GridState, end: &JobEnd) -> JobEndView {
    let name = state.node(end.node).map_or(&end.name, |record| &record.name);
    JobEndView { node: name.clone(), path: end.path.clone() }
}

fn name(state: &GridState, id: NodeId) -> String {
    state.node(id).map_or_else(|| id.to_string(), |record| record.name.clone())
}

fn reason(state: &GridState, record: &JobRecord) -> Option<String> {
    match (&record.state, record.state.pace()?) {
        (_, Pace::Waiting(trouble)) => Some(trouble.message.clone()),
        (_, Pace::Queued(Blocker::Tree { job })) => {
            let other = state.job(*job).map_or_else(String::new, |other| {
                format!(", which is {}, writes to {}", other.state.name(), other.destination)
            });
            Some(format!("job {}{other}", short(*job)))
        }
        (_, Pace::Queued(Blocker::Star { node, limit })) => {
            Some(format!("{} works on {limit} jobs already", name(state, *node)))
        }
        (_, Pace::Going | Pace::Paused { .. }) => None,
    }
}

fn step(step: &JobStep) -> JobStepView {
    JobStepView {
        kind: step.kind,
        follows: step.kind.follows().to_vec(),
        state: step.state,
        attempts: step.attempts,
        items: step.items,
        bytes: step.bytes,
        faults: step.faults,
    }
}

fn short(job: JobId) -> String {
    job.to_string()[..SHORT_LEN].to_owned()
}
