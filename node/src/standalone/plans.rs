//! Plans that are kept: made now, shown and run later.

use super::Context;
use super::error::RunError;
use super::guards;
use super::observer::RunEvent;
use super::planning::{StoredPlan, announce, plan_trees, tell};
use super::request::{SyncRequest, Trash};
use super::run::Counters;
use super::stage::is_done;
use super::state::State;
use super::sync::{Attempt, RunRecord, RunReport, Strictness, new_plan, open_trees};
use super::trees::Trees;
use crate::local::system::LocalSystem;
use orbit_core::plan::{Change, Step};
use orbit_core::system::OrbitSystem;
use orbit_core::{Metadata, RelPath, Totals};
use orbit_store::{PlanId, PlanRow, StoreError};
use serde::Serialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

/// Steps read at a time.
const PAGE_STEPS: usize = 64;

/// A stored plan, without its steps.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// Its id; a prefix that is unique will do to name it.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// The source as it was given.
    pub source: PathBuf,
    /// The destination as it was given.
    pub destination: PathBuf,
    /// What it will do.
    pub totals: Totals,
}

/// Plans what [`sync`](super::sync()) would do and keeps it. Changes nothing but the state directory.
pub fn make_plan(context: &Context, request: &SyncRequest) -> Result<PlanReport, RunError> {
    let request = &absolute(request)?;
    let trees = open_trees(context, request)?;
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let header = new_plan(request, true);
    let (id, created_ms) = (header.id, header.created_ms);
    let mut sink = StoredPlan::new(&state, header, None);
    let planned = plan_trees(context, request, &trees, &mut sink)
        .and_then(|totals| guards::check(request, &trees, &totals, totals.bytes_allocated).map(|()| totals));
    let sealed = planned.and_then(|totals| sink.seal(&encode_totals(&totals)).map(|_| totals));
    let totals = sealed.inspect_err(|_| {
        // Half a plan is none.
        let _ = state.jobs().remove_plan(id);
    })?;
    trees.keep_hashes();
    context.observer.event(&RunEvent::Planned(&totals));
    let (source, destination) = (request.source.clone(), request.destination.clone());
    Ok(PlanReport { id: id.to_string(), created_ms, source, destination, totals })
}

/// Tells the observer every change of a stored plan that is still to be done, in the order of execution.
pub fn show_plan(context: &Context, id_prefix: &str) -> Result<PlanReport, RunError> {
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let plan = find(&state, id_prefix)?;
    let report = report_of(&plan)?;
    context.observer.event(&RunEvent::Planned(&report.totals));
    each_step(&state, plan.plan.id, |step| {
        tell(step, context.observer.as_ref());
        Ok(())
    })?;
    Ok(report)
}

/// Runs a stored plan, unless what it was made of changed since: then nothing is touched and the answer is
/// [`RunError::Stale`]. A plan that was interrupted goes on where it was.
pub fn run_plan(context: &Context, id_prefix: &str) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let plan = find(&state, id_prefix)?;
    let request: SyncRequest =
        serde_json::from_slice(&plan.plan.options).map_err(|error| RunError::Plan(error.into()))?;
    let totals = report_of(&plan)?.totals;
    let mut trees = open_trees(context, &request)?;
    let needed_bytes = check_fresh(&state, plan.plan.id, &trees)?;
    guards::check(&request, &trees, &totals, needed_bytes)?;
    announce(&totals, &context.progress);
    context.observer.event(&RunEvent::Planned(&totals));
    let record = RunRecord::begin(&state, "plan run", &request);
    let (strictness, counters) = (Strictness::Kept, Counters::default());
    let (request, state, plan) = (&request, &state, plan.plan.id);
    let attempt = Attempt { context, request, state, plan, totals, strictness, counters, begun };
    let result = attempt.run(&mut trees);
    record.finish(state, &result);
    result
}

/// All stored plans, newest first.
pub fn list_plans(context: &Context) -> Result<Vec<PlanReport>, RunError> {
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let rows = state.jobs().plans()?;
    rows.iter().filter(|row| row.totals.is_some()).map(report_of).collect()
}

/// Forgets a stored plan. Gives its full id.
pub fn remove_plan(context: &Context, id_prefix: &str) -> Result<String, RunError> {
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let mut jobs = state.jobs();
    let id = jobs.find_plan(id_prefix)?;
    jobs.remove_plan(id)?;
    Ok(id.to_string())
}

pub(super) fn encode_totals(totals: &Totals) -> Vec<u8> {
    serde_json::to_vec(totals).expect("numbers have a JSON form")
}

pub(super) fn encode_request(request: &SyncRequest) -> Vec<u8> {
    // A path that is not UTF-8 has no JSON form: such a plan can be run at once, but not kept.
    serde_json::to_vec(request).unwrap_or_default()
}

fn absolute(request: &SyncRequest) -> Result<SyncRequest, RunError> {
    let make = |path: &PathBuf| {
        std::path::absolute(path).map_err(|source| RunError::Path {
            operation: "resolve",
            path: path.clone(),
            source,
        })
    };
    let mut request = request.clone();
    // A trailing slash says something about a file's destination, and must be kept.
    let in_directory = request.destination.as_os_str().as_bytes().ends_with(b"/");
    request.source = make(&request.source)?;
    request.destination = make(&request.destination)?;
    if let Trash::Directory(path) = &mut request.trash {
        *path = make(path)?;
    }
    if in_directory {
        request.destination.push("");
    }
    if encode_request(&request).is_empty() {
        return Err(RunError::Plan("a path that is not UTF-8 cannot be kept in a plan".into()));
    }
    Ok(request)
}

fn find(state: &State, id_prefix: &str) -> Result<PlanRow, RunError> {
    let jobs = state.jobs();
    let id = jobs.find_plan(id_prefix)?;
    let missing = || StoreError::PlanNotFound { plan: id_prefix.to_owned() };
    let row = jobs.plan(id)?.filter(|row| row.totals.is_some()).ok_or_else(missing)?;
    Ok(row)
}

fn report_of(row: &PlanRow) -> Result<PlanReport, RunError> {
    let totals = row.totals.as_deref().unwrap_or_default();
    let totals = serde_json::from_slice(totals).map_err(|error| RunError::Plan(error.into()))?;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    Ok(PlanReport {
        id: row.plan.id.to_string(),
        created_ms: row.plan.created_ms,
        source: path(&row.plan.source),
        destination: path(&row.plan.destination),
        totals,
    })
}

pub(super) fn each_step(
    state: &State,
    plan: PlanId,
    mut visit: impl FnMut(&Step) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut after = None;
    loop {
        let rows = state.jobs().next_steps(plan, after, PAGE_STEPS)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some((last.step.rank, last.step.seq));
        for row in &rows {
            visit(&Step::decode(&row.step.body).map_err(|error| RunError::Plan(error.into()))?)?;
        }
    }
}

/// Looks at everything that the rest of the plan was made of. Gives the room it needs.
fn check_fresh(state: &State, plan: PlanId, trees: &Trees) -> Result<u64, RunError> {
    let destination = trees.destination_system();
    let source_name = trees.shape.source_name();
    let (mut first, mut changes, mut needed_bytes) = (None, 0, 0_u64);
    each_step(state, plan, |step| {
        for group in &step.groups {
            for item in &group.items {
                let path = match &item.change {
                    // Directories' own times move with what the plan itself did before it was interrupted.
                    Change::Finish { .. } => continue,
                    _ => group.directory.join(&item.name).map_err(|error| RunError::Plan(error.into()))?,
                };
                if let Change::Put { source, .. } = &item.change {
                    needed_bytes = needed_bytes.saturating_add(source.size.min(source.allocated));
                }
                let from = source_name.unwrap_or(&path);
                let now = || destination.as_ref().and_then(|system| system.metadata(&path).ok());
                if !is_done(&item.change, now)
                    && !is_fresh(&item.change, trees.source.system(), destination.as_ref(), from, &path)
                {
                    changes += 1;
                    first.get_or_insert(path);
                }
            }
        }
        Ok(())
    })?;
    match first {
        Some(path) => Err(RunError::Stale { path, changes }),
        None => Ok(needed_bytes),
    }
}

fn is_fresh(
    change: &Change,
    source: &dyn OrbitSystem,
    destination: Option<&LocalSystem>,
    from: &RelPath,
    to: &RelPath,
) -> bool {
    let (planned, existing) = match change {
        Change::Put { source, existing } | Change::Link { source, existing, .. } => {
            (Some(source), existing.as_ref())
        }
        Change::Attributes { source, existing } => (Some(source), Some(existing)),
        Change::Delete { existing } => (None, Some(existing)),
        Change::Finish { source } => (Some(source), None),
    };
    let source_is = planned.is_none_or(|planned| same(Some(planned), source.metadata(from).ok().as_ref()));
    let now = destination.and_then(|system| system.metadata(to).ok());
    source_is && same(existing, now.as_ref())
}

/// The same version of the same object; a directory only has to be the same directory.
fn same(planned: Option<&Metadata>, now: Option<&Metadata>) -> bool {
    match (planned, now) {
        (None, None) => true,
        (Some(planned), Some(now)) => crate::local::writer::is_same_version(planned, now),
        _ => false,
    }
}
