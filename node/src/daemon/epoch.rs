//! The epoch that a restored or recovered grid begins.

/// The clock's zero: 2026-01-01, milliseconds since 1970.
const ZERO_MS: i64 = 1_767_225_600_000;

/// An epoch after `before`. It is the number of seconds since 2026, so that of two copies of a grid that are recovered
/// apart from each other, or of a recovered grid and an older backup of it, the one begun last is the newer one,
/// though neither knows of the other. A clock that is wrong makes it the next number at least.
pub(crate) fn after(before: u32, now_ms: i64) -> u32 {
    let seconds = u32::try_from(now_ms.saturating_sub(ZERO_MS) / 1000).unwrap_or(0);
    before.saturating_add(1).max(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_one_is_higher() {
        let now = ZERO_MS + 5_000_000_000;
        assert_eq!(after(1, now), 5_000_000);
        assert!(after(after(1, now), now) > after(1, now));
        assert!(after(7, now + 1000) > after(7, now));
        for wrong in [0, i64::MIN, i64::MAX] {
            assert_eq!(after(41, wrong), 42);
        }
    }
}
