//! [`plan_from`] and [`run_from`]: the two halves of a sync as a job of the grid has them.
//!
//! The source is a tree of a star, or one of this star's own; the destination lies below this star's allowed paths. What an
//! attempt did not finish, the next one goes on with, in another process too: the plan and the checkpoints are in
//! `jobs.db`.

use super::Context;
use super::error::RunError;
use super::guards;
use super::observer::RunEvent;
use super::place::Site;
use super::planning::{StoredPlan, announce, plan_trees, tell};
use super::plans::{each_step, encode_totals};
use super::request::SyncRequest;
use super::run::Counters;
use super::state::State;
use super::sync::{
    Attempt, RunReport, Strictness, new_plan, settle_destination, settle_leftovers, summary_of,
};
use super::trees::Trees;
use crate::local::system::LocalSystem;
use crate::remote::{RemoteSystem, StarLink};
use crate::star::{Jails, Spot};
use orbit_core::plan::Change;
use orbit_core::{RelPath, Totals};
use orbit_store::PlanId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What a job reads: a tree or a file. Clones share their way there.
#[derive(Clone, Debug)]
pub struct JobSource {
    site: Site,
    start: RelPath,
}

impl JobSource {
    /// An absolute path of a star, over streams of `link`. `endpoint` names it in messages.
    pub fn of_star(link: Arc<dyn StarLink>, path: Vec<u8>, endpoint: String) -> Result<Self, RunError> {
        match RemoteSystem::open(link, path) {
            Ok((system, start)) => Ok(Self { site: Site::Star { system, endpoint }, start }),
            Err(error) => Err(RunError::of_star(endpoint, error)),
        }
    }

    /// An absolute path of this star, below what it allows. `endpoint` names it in messages.
    pub fn of_this(jails: &Jails, path: &[u8], endpoint: String) -> Result<Self, RunError> {
        let (jail, start) = match jails.find(path)? {
            Spot::Directory(jail) => (jail, RelPath::root()),
            Spot::Entry(jail, start) => (jail, start),
            Spot::Missing(..) => return Err(RunError::NotFound { path: endpoint.into() }),
        };
        Ok(Self { site: Site::Local(LocalSystem::new(jail)), start })
    }

    /// Bytes that crossed the network for it so far, in both directions.
    pub fn bytes_wire(&self) -> u64 {
        self.site.bytes_wire()
    }

    pub(super) const fn site(&self) -> &Site {
        &self.site
    }

    /// Name of a single file in the root; the root itself for a tree.
    pub(super) const fn start(&self) -> &RelPath {
        &self.start
    }
}

/// Plans what makes the destination hold what the source holds, and keeps it. Changes nothing but the state directory.
///
/// `request.source` serves messages alone; `request.destination` is an absolute path of this star. If the source is lost
/// meanwhile, there is no plan: see [`RunError::is_source_lost`].
pub fn plan_from(
    context: &Context,
    request: &SyncRequest,
    source: &JobSource,
    jails: &Jails,
) -> Result<(PlanId, Totals), RunError> {
    let trees = open_trees(request, source, jails)?;
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let header = new_plan(request, true);
    let id = header.id;
    let mut sink = StoredPlan::new(&state, header, None);
    let planned = plan_trees(context, request, &trees, &mut sink)
        .and_then(|totals| guards::check(request, &trees, &totals, totals.bytes_allocated).map(|()| totals));
    let sealed = planned.and_then(|totals| sink.seal(&encode_totals(&totals)).map(|_| totals));
    let totals = sealed.inspect_err(|_| {
        // Half a plan is none.
        let _ = state.jobs().remove_plan(id);
    })?;
    announce(&totals, &context.progress);
    context.observer.event(&RunEvent::Planned(&totals));
    Ok((id, totals))
}

/// Does what is left of a plan. When it returns, everything it counts is durable.
///
/// Stopped by [`Context::stop`] it returns early with `interrupted` set; with a source that is lost it ends with an error
/// that says so; killed, it leaves whole files. In each case the same call goes on where it was. The summary's files are
/// those of all attempts, its bytes those of this one.
pub fn run_from(
    context: &Context,
    request: &SyncRequest,
    plan: PlanId,
    source: &JobSource,
    jails: &Jails,
) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let totals = totals_of(&state, plan)?;
    let mut trees = open_trees(request, source, jails)?;
    let left = Left::of(&state, plan)?;
    let counters = left.done_before(&totals);
    let mut report = if left.steps == 0 {
        settle_leftovers(context, &trees, &state)?;
        let summary = summary_of(&totals, Some(&counters), begun);
        RunReport { summary, totals, interrupted: false, faults: totals.faults }
    } else {
        guards::check_free_space(&trees, left.bytes)?;
        announce(&totals, &context.progress);
        let strictness = Strictness::Again;
        let state = &state;
        Attempt { context, request, state, plan, totals, strictness, counters, begun }.run(&mut trees)?
    };
    report.summary.bytes_wire = source.bytes_wire();
    Ok(report)
}

/// Tells the observer every change of a plan that is still to be made, in the order of execution.
pub fn tell_plan(context: &Context, plan: PlanId) -> Result<(), RunError> {
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    each_step(&state, plan, |step| {
        tell(step, context.observer.as_ref());
        Ok(())
    })
}

/// Forgets a plan. One that is not known is forgotten already.
pub fn forget_plan(context: &Context, plan: PlanId) -> Result<(), RunError> {
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let mut jobs = state.jobs();
    if jobs.plan(plan)?.is_some() {
        jobs.remove_plan(plan)?;
    }
    Ok(())
}

fn open_trees(request: &SyncRequest, source: &JobSource, jails: &Jails) -> Result<Trees, RunError> {
    if let Some(path) = request.ignore_files.first() {
        // A star reads no file of its own because somebody elsewhere named it.
        return Err(RunError::WrongKind {
            path: path.clone(),
            wanted: "a file that this star may read rules from",
        });
    }
    let trees = Trees::of_job(request, source, jails)?;
    settle_destination(&trees)?;
    Ok(trees)
}

fn totals_of(state: &State, plan: PlanId) -> Result<Totals, RunError> {
    let missing = || orbit_store::StoreError::PlanNotFound { plan: plan.to_string() };
    let totals = state.jobs().plan(plan)?.and_then(|row| row.totals).ok_or_else(missing)?;
    serde_json::from_slice(&totals).map_err(|error| RunError::Plan(error.into()))
}

/// What is left of a plan.
#[derive(Debug, Default)]
struct Left {
    steps: u64,
    /// Bytes that it will occupy.
    bytes: u64,
    changes: Counters,
}

impl Left {
    fn of(state: &State, plan: PlanId) -> Result<Self, RunError> {
        let mut left = Self::default();
        each_step(state, plan, |step| {
            left.steps += 1;
            for item in step.items() {
                left.changes.count(&item.change);
                if let Change::Put { source, .. } = &item.change {
                    left.bytes = left.bytes.saturating_add(source.size.min(source.allocated));
                }
            }
            Ok(())
        })?;
        Ok(left)
    }

    /// What attempts before this one must have done.
    fn done_before(&self, totals: &Totals) -> Counters {
        let done =
            |all: u64, left: &AtomicU64| AtomicU64::new(all.saturating_sub(left.load(Ordering::Relaxed)));
        let changed = totals.files_changed + totals.files_attributes;
        Counters {
            files_new: done(totals.files_new, &self.changes.files_new),
            files_changed: done(changed, &self.changes.files_changed),
            files_deleted: done(totals.files_deleted, &self.changes.files_deleted),
            ..Counters::default()
        }
    }
}
