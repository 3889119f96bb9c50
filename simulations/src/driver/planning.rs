//! Making a plan, and looking whether a kept one still holds.

use super::Settings;
use crate::store::{Store, StoredPlan};
use crate::system::SimSystem;
use crate::world::{Mode, World};
use crate::writer::is_same_version;
use orbit_core::batcher::{SinkError, StepSink};
use orbit_core::compare::CompareOptions;
use orbit_core::filter::KeepAll;
use orbit_core::plan::{Change, DirectoryState, Group, Step, StepId};
use orbit_core::planner::{self, ContentPair, PlanFault, PlanOptions, PlanWorld};
use orbit_core::priority::{Class, class_of_header};
use orbit_core::system::{OrbitSystem, Scan, ScanOptions, SystemError};
use orbit_core::{Metadata, RelPath};
use std::cell::RefCell;
use std::sync::Arc;

/// Scans both trees and gives the plan; `None` if the roots cannot be read.
pub fn plan_trees(
    world: &World,
    settings: &Settings,
    source: &SimSystem,
    destination: &SimSystem,
) -> Option<StoredPlan> {
    let source_version = world.source_version.get();
    let compare = CompareOptions { permissions: true, owner: false, checksum: false, granularity_ns: 1 };
    let options = PlanOptions { compare, mirror: settings.mode == Mode::Mirror, devices: true };
    let scan_options =
        ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads: 0 };
    let root = RelPath::root();
    let roots = (source.metadata(&root).ok()?, Some(destination.metadata(&root).ok()?));
    let mut from = source.scan(&scan_options).ok()?;
    let mut to = destination.scan(&scan_options).ok()?;
    let mut steps = Steps(Vec::new());
    let plan_world = Asked { world, source };
    let to: Option<&mut (dyn Scan + 'static)> = Some(to.as_mut());
    let totals =
        planner::plan((from.as_mut(), to), roots, options, &KeepAll, &plan_world, &mut steps).ok()?;
    steps.0.sort_by_key(|(rank, id, _)| (*rank, *id));
    let recorded = std::collections::BTreeSet::new();
    Some(StoredPlan { steps: steps.0, recorded, totals, source_version })
}

/// Steps on their way to the store, through their stored form.
struct Steps(Vec<(i64, StepId, Step)>);

impl StepSink for Steps {
    fn step(&mut self, id: StepId, step: Step) -> Result<(), SinkError> {
        let stored = Step::decode(&step.encode()).map_err(|error| SinkError(error.into()))?;
        self.0.push((step.rank(id), id, stored));
        Ok(())
    }
}

/// What the planner asks of this world.
struct Asked<'a> {
    world: &'a World,
    source: &'a SimSystem,
}

impl PlanWorld for Asked<'_> {
    fn same_content(&self, pairs: &[ContentPair]) -> Vec<Result<bool, SystemError>> {
        pairs.iter().map(|_| Ok(true)).collect()
    }

    fn class_of(&self, path: &RelPath) -> Class {
        class_of_header(&self.source.read_header(path, 16).unwrap_or_default()).unwrap_or_default()
    }

    fn fault(&self, path: &RelPath, fault: &PlanFault) {
        self.world.machine.note(format!("      -- fault: {path}: {fault}"));
    }

    fn notice(&self, _: &RelPath, _: &str) {}

    fn progress(&self, _: u64) -> bool {
        !self.world.machine.is_dead()
    }
}

/// Whether there is a kept plan, not yet done, and everything it still has to do is as it was planned.
pub fn is_kept_plan_fresh(store: &RefCell<Store>, source: &SimSystem, destination: &SimSystem) -> bool {
    let store = store.borrow();
    let Some(plan) = &store.plan else { return false };
    let is_group_fresh = |group: &Group| {
        let is_place_fresh = match &group.state {
            DirectoryState::New { existing: Some(existing), .. } => {
                is_same(Some(existing), destination.metadata(&group.directory).ok())
            }
            DirectoryState::New { existing: None, .. } => {
                destination.metadata(&group.directory).ok().is_none_or(|now| now.is_directory())
            }
            DirectoryState::Exists => true,
        };
        let items = group.items.iter().filter(|item| !matches!(item.change, Change::Finish { .. }));
        is_place_fresh
            && items.into_iter().all(|item| {
                let path = group.directory.join(&item.name).expect("the planner joined it");
                is_fresh(&item.change, source, destination, &path)
            })
    };
    plan.open().flat_map(|step| &step.groups).all(is_group_fresh)
}

/// The same version of the same object; a directory only has to be the same directory.
fn is_same(planned: Option<&Metadata>, now: Option<Metadata>) -> bool {
    match (planned, now) {
        (None, None) => true,
        (Some(planned), Some(now)) => is_same_version(planned, &now),
        _ => false,
    }
}

fn is_fresh(change: &Change, source: &SimSystem, destination: &SimSystem, path: &RelPath) -> bool {
    let (planned, existing) = match change {
        Change::Put { source, existing } | Change::Link { source, existing, .. } => {
            (Some(source), existing.as_ref())
        }
        Change::Attributes { source, existing } => (Some(source), Some(existing)),
        Change::Delete { existing } => (None, Some(existing)),
        Change::Finish { source } => (Some(source), None),
    };
    let is_source_fresh = planned.is_none_or(|planned| is_same(Some(planned), source.metadata(path).ok()));
    is_source_fresh && is_same(existing, destination.metadata(path).ok())
}
