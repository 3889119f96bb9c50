//! [`sync`] and [`dry_run`], and the part that a stored plan shares with them.

use super::error::{RunError, chain};
use super::execute::execute;
use super::guards;
use super::limiter::Limiter;
use super::observer::RunEvent;
use super::planning::{StoredPlan, Told, announce, plan_trees};
use super::progress::RunPhase;
use super::request::SyncRequest;
use super::run::{Counters, Run};
use super::state::{State, now_ms, open_universe};
use super::trees::Trees;
use super::{Context, Privilege, default_threads};
use crate::local::system::LocalSystem;
use crate::local::writer::{LocalWriter, TrashPlace, WriterOptions, timestamp_granularity_ns};
use orbit_core::job::Outcome;
use orbit_core::writer::{OrbitWriter, StagedName};
use orbit_core::{RelPath, Summary, Totals};
use orbit_store::{NewPlan, NewRun, PlanId, RunId, RunState};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunReport {
    /// The figures.
    pub summary: Summary,
    /// What the plan said.
    pub totals: Totals,
    /// Whether it was stopped on request before the end.
    pub interrupted: bool,
    /// What failed or could not be read; each was reported.
    pub faults: u64,
}

/// Makes the destination hold what the source holds.
///
/// When it returns, everything it counts is durable. Interrupted by [`Context::stop`] it returns early with
/// `interrupted` set; killed, it leaves whole files. In both cases the same call goes on where it was.
pub fn sync(context: &Context, request: &SyncRequest) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let mut trees = open_trees(context, request)?;
    let state = State::open(&context.state_dir, context.observer.as_ref())?;
    let header = new_plan(request, false);
    let mut sink = StoredPlan::new(&state, header, Some(context.observer.as_ref()));
    let totals = plan_trees(context, request, &trees, &mut sink)?;
    guards::check(request, &trees, &totals, totals.bytes_allocated)?;
    announce(&totals, &context.progress);
    context.observer.event(&RunEvent::Planned(&totals));
    let record = RunRecord::begin(&state, "sync", request);
    let result = if totals.is_nothing_to_do() {
        settle_leftovers(context, &trees, &state)?;
        Ok(RunReport {
            summary: summary_of(&totals, None, begun),
            totals,
            interrupted: false,
            faults: totals.faults,
        })
    } else {
        let plan = sink.seal(&super::plans::encode_totals(&totals))?;
        let (strictness, counters) = (Strictness::Fresh, Counters::default());
        let attempt = Attempt { context, request, state: &state, plan, totals, strictness, counters, begun };
        let result = attempt.run(&mut trees);
        // A sync plans anew each time.
        if let Err(error) = state.jobs().remove_plan(plan) {
            tracing::warn!(error = chain(&error), "cannot remove a finished plan");
        }
        result
    };
    trees.keep_hashes();
    record.finish(&state, &result);
    result
}

/// Tells the observer what [`sync`] would do; changes nothing, not even in the state directory.
pub fn dry_run(context: &Context, request: &SyncRequest) -> Result<RunReport, RunError> {
    let begun = Instant::now();
    let trees = Trees::open(request)?;
    let totals = plan_trees(context, request, &trees, &mut Told(context.observer.as_ref()))?;
    guards::check(request, &trees, &totals, totals.bytes_allocated)?;
    context.observer.event(&RunEvent::Planned(&totals));
    let mut summary = summary_of(&totals, None, begun);
    summary.files_new = totals.files_new;
    summary.files_changed = totals.files_changed + totals.files_attributes;
    summary.files_deleted = totals.files_deleted;
    Ok(RunReport { summary, totals, interrupted: false, faults: totals.faults })
}

/// Opens both trees; with `--checksum`, readers remember what they hash.
pub(super) fn open_trees(context: &Context, request: &SyncRequest) -> Result<Trees, RunError> {
    let mut trees = Trees::open(request)?;
    if request.checksum
        && let Some(cache) = open_universe(&context.state_dir, context.observer.as_ref())
    {
        trees.remember_hashes(Arc::new(cache));
    }
    settle_destination(&trees)?;
    Ok(trees)
}

/// Refuses a destination that another run writes to, and makes durable what a killed one left: it may have renamed what
/// nobody flushed yet, and the plan will count on it.
pub(super) fn settle_destination(trees: &Trees) -> Result<(), RunError> {
    let Some(jail) = &trees.destination else { return Ok(()) };
    begin_error(trees, LocalWriter::check_idle(jail))?;
    if !trees.has_stage_area() {
        return Ok(());
    }
    rustix::fs::syncfs(jail.root_fd()).map_err(|errno| RunError::Path {
        operation: "flush",
        path: trees.destination_path.clone(),
        source: errno.into(),
    })
}

fn begin_error<T>(trees: &Trees, result: Result<T, crate::local::writer::BeginError>) -> Result<T, RunError> {
    result.map_err(|source| RunError::Begin { path: trees.destination_path.clone(), source })
}

/// The row that heads a plan.
pub(super) fn new_plan(request: &SyncRequest, saved: bool) -> NewPlan {
    NewPlan {
        id: PlanId::from_bytes(*uuid::Uuid::new_v4().as_bytes()),
        created_ms: now_ms(),
        source: request.source.as_os_str().as_bytes().to_vec(),
        destination: request.destination.as_os_str().as_bytes().to_vec(),
        options: super::plans::encode_request(request),
        saved,
    }
}

/// How a plan's steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// The plan was made for this run: a source that changed since is copied as it is now.
    Fresh,
    /// The same, but earlier attempts may have done part of it.
    Again,
    /// The plan was kept: a source that changed since fails. Earlier runs may have done part of it.
    Kept,
}

/// One attempt to run what is left of a stored plan.
pub(super) struct Attempt<'a> {
    pub context: &'a Context,
    pub request: &'a SyncRequest,
    pub state: &'a State,
    pub plan: PlanId,
    pub totals: Totals,
    pub strictness: Strictness,
    /// What counts as done before it begins.
    pub counters: Counters,
    pub begun: Instant,
}

impl Attempt<'_> {
    /// Runs the steps to the end, durable.
    pub fn run(self, trees: &mut Trees) -> Result<RunReport, RunError> {
        let Attempt { context, request, state, plan, totals, strictness, counters, begun } = self;
        let jail = trees.make_destination()?;
        let key = destination_key(&trees.destination_path);
        let options = WriterOptions {
            run_id: trash_name(),
            trash: trees.trash_place(),
            keep_staged: checkpointed(state, &key),
        };
        let writer = begin_error(trees, LocalWriter::begin(jail.clone(), options))?;
        sweep_mounts(context, &writer, &trees.destination_path);
        let granularity_ns = timestamp_granularity_ns(jail.root_fd()).unwrap_or(1);
        let destination = LocalSystem::new(jail.clone());
        let privilege = Privilege::current();
        let run = Run {
            context,
            request,
            source: &trees.source,
            destination: &destination,
            writer: &writer,
            state,
            limiter: Limiter::new(request.bandwidth.clone()),
            counters,
            destination_key: key,
            source_name: trees.shape.source_name().cloned(),
            set_owner: request.owner && privilege.is_root,
            privilege,
            granularity_ns,
            strictness,
            halt: AtomicBool::new(false),
            sharing_impossible: AtomicBool::new(!trees.source.is_local()),
            kept: Mutex::default(),
            lost: Mutex::default(),
        };
        let workers = if request.jobs == 0 { default_threads().max(2) } else { request.jobs.min(64) };
        let executed = execute(&run, plan, workers, totals.faults, totals.files_deleted > 0);
        let kept = std::mem::take(&mut *run.kept.lock().expect("inserting does not panic"));
        let kept = still_wanted(state, &run.destination_key, kept, &executed);
        let mut summary = summary_of(&totals, Some(&run.counters), begun);
        let lost = run.take_loss();
        context.progress.set_phase(RunPhase::Flushing);
        drop(run);
        // Only what ended with a flush may take its stage area away: found by the next run, it says that there is
        // something to make durable.
        let is_durable = matches!(&executed, Ok((outcome, ..)) if *outcome != Outcome::NotDurable);
        let finished = if is_durable { writer.finish(&kept) } else { Ok(()) };
        let (outcome, mut faults, cause) = executed?;
        if let Err(error) = finished {
            // All is in place and safe; what could not be swept is swept by the next run.
            faults += 1;
            let path = error.path().clone();
            context.observer.event(&RunEvent::Fault { path: &path, message: &chain(&error) });
        }
        summary.elapsed_ms = begun.elapsed().as_millis() as u64;
        let report = RunReport { summary, totals, interrupted: outcome == Outcome::Stopped, faults };
        let path = trees.destination_path.clone();
        match (outcome, cause, lost) {
            (Outcome::NoSpace, ..) => Err(RunError::NoSpace { path, report: Box::new(report) }),
            (Outcome::NotDurable, Some(source), _) => {
                Err(RunError::NotDurable { path, source, report: Box::new(report) })
            }
            // Whoever asked to stop gets what was asked for.
            (Outcome::Stopped, _, Some(lost)) if !context.stop.load(Ordering::Relaxed) => Err(lost),
            _ => Ok(report),
        }
    }
}

/// Staged files that the next run can use. A complete run leaves nothing.
fn still_wanted(
    state: &State,
    key: &[u8],
    kept: BTreeSet<StagedName>,
    executed: &Result<(Outcome, u64, Option<orbit_core::system::SystemError>), RunError>,
) -> BTreeSet<StagedName> {
    let mut jobs = state.jobs();
    let Ok(stored) = jobs.checkpoints(key) else { return kept };
    let complete = matches!(executed, Ok((Outcome::Complete, ..)));
    let mut wanted = BTreeSet::new();
    for found in stored {
        if complete {
            let _ = jobs.remove_checkpoint(key, &found.checkpoint.path);
        } else if let Ok(name) = RelPath::new(found.checkpoint.stage_name) {
            wanted.insert(StagedName(name));
        }
    }
    wanted
}

/// Sweeps what a killed run left on other file systems mounted inside the destination: this run may stage nothing there.
fn sweep_mounts(context: &Context, writer: &LocalWriter, destination: &Path) {
    for directory in mounts_below(destination) {
        if let Err(error) = writer.sweep_area(&directory) {
            let notice = format!("{directory}: leftovers of an earlier run stay: {}", chain(&error));
            context.observer.event(&RunEvent::Notice(&notice));
        }
    }
}

/// Mount points below a directory. None where the system does not list them.
fn mounts_below(directory: &Path) -> Vec<RelPath> {
    let Ok(root) = fs::canonicalize(directory) else { return Vec::new() };
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points =
        mounts.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    let below = |point: &[u8]| {
        let point = unescape(point);
        let relative = Path::new(std::ffi::OsStr::from_bytes(&point)).strip_prefix(&root).ok()?;
        RelPath::new(relative.as_os_str().as_bytes()).ok().filter(|path| !path.is_root())
    };
    points.filter_map(below).collect()
}

/// Undoes the octal escapes (`\040` for a space) of a mount table.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Sweeps what a killed run left, where there is nothing else to do.
pub(super) fn settle_leftovers(context: &Context, trees: &Trees, state: &State) -> Result<(), RunError> {
    let Some(jail) = &trees.destination else { return Ok(()) };
    if !trees.has_stage_area() {
        return Ok(());
    }
    let options = WriterOptions {
        run_id: trash_name(),
        trash: TrashPlace::InDestination,
        keep_staged: BTreeSet::new(),
    };
    let writer = begin_error(trees, LocalWriter::begin(jail.clone(), options))?;
    // What the killed run renamed is in place, but nobody said yet that it is safe.
    writer.flush()?;
    sweep_mounts(context, &writer, &trees.destination_path);
    writer.finish(&BTreeSet::new())?;
    let key = destination_key(&trees.destination_path);
    let mut jobs = state.jobs();
    for found in jobs.checkpoints(&key)? {
        jobs.remove_checkpoint(&key, &found.checkpoint.path)?;
    }
    Ok(())
}

/// Staged objects that checkpoints of this destination name.
fn checkpointed(state: &State, key: &[u8]) -> BTreeSet<StagedName> {
    let stored = state.jobs().checkpoints(key).unwrap_or_default();
    let names = stored.into_iter().filter_map(|found| RelPath::new(found.checkpoint.stage_name).ok());
    names.map(StagedName).collect()
}

/// What names a destination in `jobs.db`: its resolved path.
fn destination_key(path: &Path) -> Vec<u8> {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).as_os_str().as_bytes().to_vec()
}

/// Name of this run's directory in the trash: the time, in UTC.
fn trash_name() -> Vec<u8> {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H-%M-%S%.3fZ").to_string().into_bytes()
}

pub(super) fn summary_of(totals: &Totals, counters: Option<&Counters>, begun: Instant) -> Summary {
    let count = |pick: fn(&Counters) -> &std::sync::atomic::AtomicU64| {
        counters.map_or(0, |counters| pick(counters).load(Ordering::Relaxed))
    };
    Summary {
        files_total: totals.files_total,
        files_new: count(|c| &c.files_new),
        files_changed: count(|c| &c.files_changed),
        files_unchanged: totals.files_unchanged,
        files_deleted: count(|c| &c.files_deleted),
        files_failed: count(|c| &c.files_failed) + totals.faults,
        bytes_total: totals.bytes_total,
        bytes_written: count(|c| &c.bytes_written),
        bytes_reused: count(|c| &c.bytes_reused),
        bytes_wire: 0,
        elapsed_ms: begun.elapsed().as_millis() as u64,
    }
}

/// A run as `jobs.db` remembers it. Not being able to remember is no reason to fail.
pub(super) struct RunRecord(RunId);

impl RunRecord {
    pub(super) fn begin(state: &State, command: &str, request: &SyncRequest) -> Self {
        let id = RunId::from_bytes(*uuid::Uuid::new_v4().as_bytes());
        let run = NewRun {
            id,
            command: command.to_owned(),
            source: request.source.as_os_str().as_bytes().to_vec(),
            destination: request.destination.as_os_str().as_bytes().to_vec(),
            started_ms: now_ms(),
            pid: std::process::id(),
        };
        let mut jobs = state.jobs();
        if let Err(error) = jobs.begin_run(&run) {
            tracing::warn!(error = chain(&error), "cannot record the run");
        }
        // Plans of runs that were killed long ago.
        let _ = jobs.prune_unsaved_plans(now_ms() - 7 * 86_400_000);
        Self(id)
    }

    pub(super) fn finish(self, state: &State, result: &Result<RunReport, RunError>) {
        let (run_state, summary) = match result {
            Ok(report) if report.interrupted => (RunState::Interrupted, report.summary),
            Ok(report) if report.faults > 0 => (RunState::Partial, report.summary),
            Ok(report) => (RunState::Done, report.summary),
            Err(RunError::NoSpace { report, .. } | RunError::NotDurable { report, .. }) => {
                (RunState::Failed, report.summary)
            }
            Err(_) => (RunState::Failed, Summary::default()),
        };
        let summary = serde_json::to_string(&summary).unwrap_or_default();
        if let Err(error) = state.jobs().finish_run(self.0, now_ms(), run_state, &summary) {
            tracing::warn!(error = chain(&error), "cannot record the run's end");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mount_table_is_unescaped() {
        assert_eq!(super::unescape(b"/a\\040b\\134c\\"), b"/a b\\c\\");
    }
}
