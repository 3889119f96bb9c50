//! Soon after the last fault the group accepts a write, and then all nodes get to the same state.

use super::Broken;

/// Time from the last fault to the first write, milliseconds.
pub const WRITE_WITHIN_MS: u64 = 10_000;
/// Time from then until all nodes have applied the same, milliseconds.
pub const EQUAL_WITHIN_MS: u64 = 20_000;

/// No write was accepted in time.
pub fn no_write(standing: &str) -> Broken {
    ("a write is accepted soon after the last fault", format!("none in {WRITE_WITHIN_MS} ms: {standing}"))
}

/// Some node stays behind.
pub fn not_equal(standing: &str) -> Broken {
    ("all nodes catch up after the last fault", format!("not in {EQUAL_WITHIN_MS} ms: {standing}"))
}
