//! When the troubles are over, a run completes, leaves nothing staged, and the one after it finds nothing to do.

use super::Watch;
use crate::driver::End;
use crate::store::Store;
use crate::world::World;
use crate::writer::area_path;

const RULE: &str = "recovery after the last fault";

/// Looks at a run without trouble, on a source that nobody changes.
pub fn check(watch: &mut Watch, end: End, world: &World, store: &Store) {
    if end != End::Success {
        watch.violation(RULE, format!("the run ended as {end:?}"));
    }
    nothing_staged(watch, world, store);
}

/// After a complete run nothing is staged and nothing refers to it.
pub fn nothing_staged(watch: &mut Watch, world: &World, store: &Store) {
    if world.destination.now().find(&area_path()).is_some() {
        watch.violation(RULE, "something is still staged");
    }
    if !store.checkpoints.is_empty() {
        watch.violation(RULE, format!("{} checkpoints are left", store.checkpoints.len()));
    }
}

/// The run after that has nothing to do.
pub fn check_settled(watch: &mut Watch) {
    if watch.steps > 0 {
        watch.violation(RULE, format!("{} steps were planned after a success", watch.steps));
    }
}
