//! [`sync`]: one run, in the order of `node/src/standalone/{sync,execute,stage,commit}.rs`, with virtual workers.
//!
//! Where the real driver has threads, this one has a lottery: at each turn one worker or the committer goes on by a
//! few system calls.

mod commit;
mod copy;
mod execute;
mod planning;
mod stage;

use crate::invariants::Watch;
use crate::plant::Plant;
use crate::random::Random;
use crate::store::Store;
use crate::system::SimSystem;
use crate::world::{Mode, World};
use crate::writer::{SimWriter, area_path};
use orbit_core::RelPath;
use orbit_core::job::Outcome;
use orbit_core::system::{OrbitSystem, SystemError};
use orbit_core::writer::{OrbitWriter, StagedName};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// How a scenario's runs go.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Virtual workers.
    pub workers: usize,
    /// Staged bytes weigh so many times what they are: heavy ones fill a group, which is then flushed and committed while
    /// workers go on.
    pub weight_factor: u64,
    /// Whether surplus is deleted.
    pub mode: Mode,
    /// Whether staged files are read back before they are committed.
    pub verify: bool,
    /// Whether a plan is kept and run again (`orbit plan run`), or made anew by each run (`orbit sync`).
    pub keeps_plan: bool,
    /// The planted bug.
    pub plant: Option<Plant>,
}

/// What else happens during one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Someone asks to stop at this turn.
    pub stop_at: Option<usize>,
    /// The source changes once in so many turns.
    pub source_changes_one_in: Option<usize>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process was killed.
    Died,
    /// It says that the destination holds what the source holds.
    Success,
    /// It says that so many things failed.
    Partial(u64),
    /// It ended early and says so.
    Early(Outcome),
    /// It could not begin.
    Refused,
}

/// What the parts of a run share.
pub(crate) struct Run<'a> {
    pub world: &'a World,
    pub store: &'a RefCell<Store>,
    pub watch: &'a RefCell<Watch>,
    pub settings: &'a Settings,
    pub weather: Weather,
    pub random: &'a Random,
    pub source: SimSystem,
    pub destination: SimSystem,
    pub writer: SimWriter,
    /// Whether a source that changed since the plan fails, or is copied as it is now.
    pub strict: bool,
    pub halt: Cell<bool>,
}

/// One run from beginning to end, or to its death.
pub fn sync(
    world: &World,
    store: &RefCell<Store>,
    watch: &RefCell<Watch>,
    settings: &Settings,
    weather: Weather,
    random: &Random,
) -> End {
    let source = SimSystem::new(world.source.clone());
    let destination = SimSystem::new(world.destination.clone());
    let strict = settings.keeps_plan;
    if !strict || !planning::is_kept_plan_fresh(store, &source, &destination) {
        store.borrow_mut().plan = None;
        if settings.keeps_plan && destination.metadata(&area_path()).is_ok() {
            // What a killed run did is in no later plan: a power cut must not undo it. If this fails, so will the run.
            let _ = world.destination.flush(random);
        }
        match planning::plan_trees(world, settings, &source, &destination) {
            Some(plan) => store.borrow_mut().plan = Some(plan),
            None if world.machine.is_dead() => return End::Died,
            None => return End::Refused,
        }
    }
    let totals = {
        let store = store.borrow();
        let plan = store.plan.as_ref().expect("it was just made");
        let mut watch = watch.borrow_mut();
        (watch.planned_version, watch.steps) = (plan.source_version, plan.totals.steps);
        watch.faults = plan.totals.faults;
        plan.totals
    };
    if totals.is_nothing_to_do() {
        store.borrow_mut().plan = None;
        let settled = settle_leftovers(world, store, settings, &destination, random);
        return match settled {
            _ if world.machine.is_dead() => End::Died,
            Err(_) => End::Refused,
            Ok(()) if totals.faults > 0 => End::Partial(totals.faults),
            Ok(()) => End::Success,
        };
    }
    let kept = checkpointed(store);
    let begun = SimWriter::begin(world.destination.clone(), &kept, settings.plant, random.fork());
    let Ok(writer) = begun else {
        return if world.machine.is_dead() { End::Died } else { End::Refused };
    };
    let halt = Cell::new(false);
    let run =
        Run { world, store, watch, settings, weather, random, source, destination, writer, strict, halt };
    let executed = execute::execute(&run, totals.faults);
    let Some((outcome, faults)) = executed else { return End::Died };
    if outcome == Outcome::Complete {
        store.borrow_mut().checkpoints.clear();
    }
    if outcome == Outcome::NotDurable {
        // The stage area stays, as after a kill: it tells the next run that something may not be durable.
        return End::Early(outcome);
    }
    let finished = run.writer.finish(&checkpointed(store));
    restore_times(world);
    if world.machine.is_dead() {
        return End::Died;
    }
    // A plan that was made with faults never deletes: whoever wants that makes a new one.
    let is_done = outcome == Outcome::Complete && (faults == 0 || totals.faults > 0);
    if !settings.keeps_plan || is_done {
        store.borrow_mut().plan = None;
    }
    match outcome {
        Outcome::Complete if finished.is_err() => End::Refused,
        Outcome::Complete if faults > 0 => End::Partial(faults),
        Outcome::Complete => End::Success,
        early => End::Early(early),
    }
}

/// Sweeps what a killed run left, where there is nothing else to do, and makes durable what it did.
fn settle_leftovers(
    world: &World,
    store: &RefCell<Store>,
    settings: &Settings,
    destination: &SimSystem,
    random: &Random,
) -> Result<(), SystemError> {
    match destination.metadata(&area_path()) {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    }
    let none = BTreeSet::new();
    let writer = SimWriter::begin(world.destination.clone(), &none, settings.plant, random.fork())?;
    if settings.plant != Some(Plant::NothingToDoWithoutFlush) {
        writer.flush()?;
    }
    writer.finish(&none)?;
    restore_times(world);
    store.borrow_mut().checkpoints.clear();
    Ok(())
}

/// The stage area came and went in the destination's root, which moved its time. A wrong one is found by the next run.
fn restore_times(world: &World) {
    let root = RelPath::root();
    if let Ok(found) = world.source.stat(&root) {
        let _ = world.destination.set_time(&root, found.attributes.mtime.seconds);
    }
}

/// Staged objects that checkpoints name.
fn checkpointed(store: &RefCell<Store>) -> BTreeSet<StagedName> {
    store.borrow().checkpoints.values().map(|checkpoint| checkpoint.stage_name.clone()).collect()
}
