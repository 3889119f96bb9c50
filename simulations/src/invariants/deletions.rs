//! Something is deleted only when everything that is copied is durable in its place, and nothing failed.

use crate::driver::Run;
use orbit_core::RelPath;
use orbit_core::plan::{Change, Phase};

const RULE: &str = "deletions only after everything else is durable and without fault";

/// Looks at the disk before `path` is deleted.
pub(crate) fn check(run: &Run<'_>, path: &RelPath) {
    let store = run.store.borrow();
    let plan = store.plan.as_ref().expect("a run has a plan");
    let mut watch = run.watch.borrow_mut();
    if watch.faults > 0 {
        watch.violation(RULE, format!("{path} is deleted after a fault"));
    }
    let durable = run.world.destination.durable();
    for (_, id, step) in &plan.steps {
        if !matches!(step.phase, Phase::Files | Phase::Links) {
            continue;
        }
        for group in &step.groups {
            for item in &group.items {
                if !matches!(item.change, Change::Put { .. } | Change::Link { .. }) {
                    continue;
                }
                let copy = group.directory.join(&item.name).expect("the planner joined it");
                let is_earlier = plan.recorded.contains(id) && !watch.ran.contains(id);
                let is_durable = match watch.copied.get(&copy) {
                    Some(body) => durable.node(&copy).is_some_and(|node| node.body == *body),
                    None => is_earlier,
                };
                if !is_durable {
                    watch.violation(RULE, format!("{path} is deleted while {copy} is not durable"));
                }
            }
        }
    }
}
