//! Making a plan: two scans, the planner of `orbit-core`, and a place to keep the steps.

use super::error::{RunError, chain};
use super::observer::{Observer, RunEvent, Verb};
use super::place::Site;
use super::progress::{Progress, RunPhase};
use super::request::SyncRequest;
use super::state::State;
use super::trees::{Shape, Trees, root_metadata};
use super::{Context, Privilege};
use crate::local::system::LocalSystem;
use crate::local::writer::timestamp_granularity_ns;
use crate::rules::Rules;
use orbit_core::batcher::{SinkError, StepSink};
use orbit_core::compare::CompareOptions;
use orbit_core::filter::PathFilter;
use orbit_core::plan::{Change, Step, StepId};
use orbit_core::planner::{self, ContentPair, PlanError, PlanFault, PlanOptions, PlanWorld};
use orbit_core::priority::{Class, class_of_header};
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions, SystemError};
use orbit_core::{RelPath, Totals};
use orbit_store::{NewPlan, NewStep, PlanId};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// First bytes of a file that tell what it is.
const HEADER_BYTES: usize = 512;

/// Scans both trees and gives the differences to `sink`.
pub(super) fn plan_trees(
    context: &Context,
    request: &SyncRequest,
    trees: &Trees,
    sink: &mut dyn StepSink,
) -> Result<Totals, RunError> {
    context.progress.set_phase(RunPhase::Planning);
    let destination = trees.destination_system();
    let granularity_ns = match &trees.destination {
        Some(jail) => timestamp_granularity_ns(jail.root_fd()).unwrap_or(1),
        None => 1,
    };
    let privilege = Privilege::current();
    let options = PlanOptions {
        compare: CompareOptions {
            permissions: request.permissions,
            owner: request.owner && privilege.is_root,
            checksum: request.checksum,
            granularity_ns,
        },
        mirror: request.mirror,
        devices: privilege.is_root,
    };
    let world = World {
        context,
        source: &trees.source,
        lost: Mutex::default(),
        source_name: trees.shape.source_name(),
        destination: destination.as_ref(),
        xattrs: request.xattrs,
    };
    let planned = match &trees.shape {
        Shape::Tree => {
            let (files, texts) = (&request.ignore_files, &request.ignore_texts);
            let filter = Arc::new(Rules::with_texts(&request.rules, files, texts)?);
            plan_directories(trees, destination.as_ref(), request, options, &filter, &world, sink)?
        }
        Shape::File { source, destination: name } => {
            let metadata =
                trees.source.system().metadata(source).map_err(|error| trees.source.fatal(error))?;
            if !super::trees::is_syncable(metadata.kind) {
                return Err(RunError::WrongKind { path: request.source.clone(), wanted: "a file" });
            }
            let existing =
                destination.as_ref().map(|system| found(system.metadata(name))).transpose()?.flatten();
            planner::plan_file(name.as_bytes(), metadata, existing, options, &world, sink)
        }
    };
    if let Some(lost) = world.lost.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(lost);
    }
    planned.map_err(|error| match error {
        PlanError::Interrupted => RunError::Interrupted,
        PlanError::Sink(SinkError(cause)) => RunError::Plan(cause),
    })
}

fn plan_directories(
    trees: &Trees,
    destination: Option<&LocalSystem>,
    request: &SyncRequest,
    options: PlanOptions,
    rules: &Arc<Rules>,
    world: &World<'_>,
    sink: &mut dyn StepSink,
) -> Result<Result<Totals, PlanError>, RunError> {
    let filter: Arc<dyn PathFilter> =
        Arc::new(OwnState { rules: Arc::clone(rules), paths: own_state(&world.context.state_dir, trees) });
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8);
    let scan_options = ScanOptions {
        start: RelPath::root(),
        filter: Arc::clone(&filter),
        one_file_system: request.one_file_system,
        threads,
    };
    let source_root = trees.source.root_metadata()?;
    let mut destination_root = trees.destination.as_deref().map(root_metadata).transpose()?;
    if let Some(root) = destination_root.as_mut().filter(|_| !trees.source.is_local()) {
        // Numbers of another machine's devices say nothing here: the destination does not lie in the source.
        (root.dev, root.ino) = (u64::MAX, u64::MAX);
    }
    // The rules of `.orbitignore` files are the source's: the destination's copies are data.
    let destination_options =
        ScanOptions { filter: Arc::new(orbit_core::filter::KeepAll), ..scan_options.clone() };
    let from = match (&trees.source, destination) {
        (Site::Star { system, .. }, Some(own)) => {
            system.scan_known(&scan_options, own.scan(&destination_options)?)
        }
        (site, _) => site.system().scan(&scan_options),
    };
    let mut from = from.map_err(|error| trees.source.fatal(error))?;
    let mut to = destination.map(|system| system.scan(&destination_options)).transpose()?;
    let to: Option<&mut (dyn orbit_core::system::Scan + 'static)> = to.as_deref_mut();
    let planned = planner::plan(
        (from.as_mut(), to),
        (source_root, destination_root),
        options,
        filter.as_ref(),
        world,
        sink,
    );
    let faults = rules.faults();
    for fault in &faults {
        report(world, &fault.path, fault);
    }
    Ok(planned.map(|totals| Totals { faults: totals.faults + faults.len() as u64, ..totals }))
}

/// The rules, and Orbit's own state directory, which belongs to neither tree: it changes while the run goes on.
struct OwnState {
    rules: Arc<Rules>,
    paths: Vec<RelPath>,
}

impl PathFilter for OwnState {
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool {
        self.paths.contains(path) || self.rules.excludes(path, is_directory)
    }

    fn rule_file(&self) -> Option<&[u8]> {
        self.rules.rule_file()
    }

    fn learn(&self, directory: &RelPath, rules: &[u8]) {
        self.rules.learn(directory, rules);
    }
}

/// Where the state directory lies in the two trees, if it does.
fn own_state(state_dir: &Path, trees: &Trees) -> Vec<RelPath> {
    let Ok(state) = fs::canonicalize(state_dir) else { return Vec::new() };
    let source = trees.source.local().map(|system| system.jail().root_path());
    let roots = source.into_iter().chain([trees.destination_path.as_path()]);
    let below = |root: &Path| {
        let relative = state.strip_prefix(fs::canonicalize(root).ok()?).ok()?.as_os_str().as_bytes().to_vec();
        RelPath::new(relative).ok().filter(|path| !path.is_root())
    };
    roots.filter_map(below).collect()
}

fn report(world: &World<'_>, path: &RelPath, error: &dyn std::error::Error) {
    world.context.observer.event(&RunEvent::Fault { path, message: &chain(error) });
}

/// Metadata, or `None` where there is nothing.
fn found(
    result: Result<orbit_core::Metadata, SystemError>,
) -> Result<Option<orbit_core::Metadata>, SystemError> {
    match result {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the planner asks of this machine.
struct World<'a> {
    context: &'a Context,
    source: &'a Site,
    /// Set once the source cannot be asked any more: a plan made without it would be wrong.
    lost: Mutex<Option<RunError>>,
    /// Name of a single file in the source.
    source_name: Option<&'a RelPath>,
    destination: Option<&'a LocalSystem>,
    /// Whether extended attributes count.
    xattrs: bool,
}

impl World<'_> {
    /// Where the source has what the destination has, or will have, at `path`.
    fn in_source<'p>(&'p self, path: &'p RelPath) -> &'p RelPath {
        self.source_name.unwrap_or(path)
    }

    fn same(&self, pair: &ContentPair) -> Result<bool, SystemError> {
        let Some(destination) = self.destination else { return Ok(false) };
        let identity =
            |system: &dyn OrbitSystem, path| system.chunk(path, ChunkDetail::RootOnly, &mut |_| {});
        Ok(identity(self.source.system(), self.in_source(&pair.path))? == identity(destination, &pair.path)?)
    }

    fn is_lost(&self) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes note of an error that says that the source is lost. Whether it does.
    fn notice_loss(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        let Some(lost) = self.source.lost(error) else { return false };
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(lost);
        true
    }
}

impl PlanWorld for World<'_> {
    fn same_content(&self, pairs: &[ContentPair]) -> Vec<Result<bool, SystemError>> {
        let threads = self.source.calls().min(pairs.len());
        let next = AtomicUsize::new(0);
        let mut answers: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Vec::new();
                        loop {
                            let at = next.fetch_add(1, Ordering::Relaxed);
                            let Some(pair) = pairs.get(at) else { return mine };
                            mine.push((at, self.same(pair)));
                        }
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("comparing does not panic")).collect()
        });
        answers.sort_unstable_by_key(|answer| answer.0);
        answers.into_iter().map(|answer| answer.1).collect()
    }

    fn same_xattrs(&self, pair: &ContentPair) -> Result<bool, SystemError> {
        let Some(destination) = self.destination.filter(|_| self.xattrs) else { return Ok(true) };
        let wanted = self.source.system().xattrs(self.in_source(&pair.path));
        let mut wanted = wanted.inspect_err(|error| {
            self.notice_loss(error);
        })?;
        let mut found = destination.xattrs(&pair.path)?;
        wanted.sort();
        found.sort();
        Ok(wanted == found)
    }

    fn class_of(&self, path: &RelPath) -> Class {
        let header = self.source.system().read_header(self.in_source(path), HEADER_BYTES).unwrap_or_default();
        class_of_header(&header).unwrap_or_default()
    }

    fn fault(&self, path: &RelPath, fault: &PlanFault) {
        if !self.notice_loss(fault) && !self.is_lost() {
            report(self, path, fault);
        }
    }

    fn notice(&self, path: &RelPath, what: &str) {
        self.context.observer.event(&RunEvent::Notice(&format!("{path}: {what}")));
    }

    fn progress(&self, entries: u64) -> bool {
        self.context.progress.scanned.store(entries, Ordering::Relaxed);
        !self.context.stop.load(Ordering::Relaxed) && !self.is_lost()
    }
}

/// Keeps steps in `jobs.db`. The plan's row is made with the first step, so that a run with nothing to do writes nothing.
pub(super) struct StoredPlan<'a> {
    state: &'a State,
    observer: Option<&'a dyn Observer>,
    header: Option<NewPlan>,
    id: PlanId,
    waiting: Vec<NewStep>,
    waiting_bytes: usize,
}

/// Steps are written together up to this many bytes.
const WAITING_BYTES: usize = 4 << 20;

impl<'a> StoredPlan<'a> {
    /// `observer` is told of every step, if anyone is.
    pub(super) fn new(state: &'a State, header: NewPlan, observer: Option<&'a dyn Observer>) -> Self {
        let id = header.id;
        Self { state, observer, id, header: Some(header), waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Writes what is waiting, and the totals.
    pub(super) fn seal(mut self, totals: &[u8]) -> Result<PlanId, RunError> {
        self.write()?;
        self.state.jobs().seal_plan(self.id, totals)?;
        Ok(self.id)
    }

    fn write(&mut self) -> Result<(), orbit_store::StoreError> {
        let mut jobs = self.state.jobs();
        if let Some(header) = self.header.take() {
            jobs.create_plan(&header)?;
        }
        jobs.append_steps(self.id, &self.waiting)?;
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }
}

impl StepSink for StoredPlan<'_> {
    fn step(&mut self, id: StepId, step: Step) -> Result<(), SinkError> {
        if let Some(observer) = self.observer {
            tell(&step, observer);
        }
        let body = step.encode();
        self.waiting_bytes += body.len();
        self.waiting.push(NewStep { seq: id.0, rank: step.rank(id), bytes: step.bytes(), body });
        if self.waiting_bytes >= WAITING_BYTES {
            self.write().map_err(|error| SinkError(error.into()))?;
        }
        Ok(())
    }
}

/// Tells the observer of every change and keeps nothing: a dry run.
pub(super) struct Told<'a>(pub &'a dyn Observer);

impl StepSink for Told<'_> {
    fn step(&mut self, _: StepId, step: Step) -> Result<(), SinkError> {
        tell(&step, self.0);
        Ok(())
    }
}

/// Tells the observer what a step changes.
pub(super) fn tell(step: &Step, observer: &dyn Observer) {
    for group in &step.groups {
        if let orbit_core::plan::DirectoryState::New { .. } = group.state {
            observer.event(&RunEvent::Change { verb: Verb::Create, path: &group.directory, bytes: 0 });
        }
        for item in &group.items {
            let verb = match &item.change {
                Change::Put { existing: None, .. } => Verb::Create,
                Change::Put { existing: Some(_), .. } => Verb::Replace,
                Change::Attributes { .. } => Verb::Attributes,
                Change::Link { .. } => Verb::Link,
                Change::Delete { .. } => Verb::Delete,
                Change::Finish { .. } => continue,
            };
            if let Ok(path) = group.directory.join(&item.name) {
                observer.event(&RunEvent::Change { verb, path: &path, bytes: item.change.bytes() });
            }
        }
    }
}

/// Figures of a plan, for the progress display.
pub(super) fn announce(totals: &Totals, progress: &Progress) {
    progress.files_planned.store(totals.files_new + totals.files_changed, Ordering::Relaxed);
    progress.bytes_planned.store(totals.bytes_planned, Ordering::Relaxed);
}
