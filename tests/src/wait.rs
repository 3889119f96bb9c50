//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until `condition` gives something. `None` after `limit`.
pub fn poll<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if begun.elapsed() > limit {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
/// With `what` after [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(poll(DEADLINE, || condition().then_some(())).is_some(), "waited in vain until {what}");
}
