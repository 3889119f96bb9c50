//! A complete run did every step of its plan, deletions after a fault aside.

use super::Watch;
use crate::store::StoredPlan;
use orbit_core::job::Outcome;
use orbit_core::plan::Phase;

/// Looks at the plan when the machine says that the run is over.
pub fn check(watch: &mut Watch, outcome: Outcome, plan: &StoredPlan) {
    if outcome != Outcome::Complete {
        return;
    }
    for (_, id, step) in &plan.steps {
        let is_skipped = step.phase == Phase::Deletions && watch.deletions_skipped;
        if !is_skipped && !watch.ran.contains(id) && !plan.recorded.contains(id) {
            watch.violation("a complete run did every step", format!("{id:?} of {:?} never ran", step.phase));
        }
    }
}
