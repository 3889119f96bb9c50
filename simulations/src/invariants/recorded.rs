//! A step that is recorded as done is in place, whatever a power cut takes.

use super::Watch;
use crate::disk::state::State;

/// Looks at a disk after a power cut during or after the run.
pub fn check(watch: &mut Watch, after_cut: &State) {
    let lost = watch.recorded.iter().find(|(path, body)| {
        let found = after_cut.node(path).map(|node| &node.body);
        found != body.as_ref()
    });
    if let Some((path, _)) = lost {
        let what = format!("{path} is not as its step left it");
        watch.violation("a recorded step is in place after a power cut", what);
    }
}
