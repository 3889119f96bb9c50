//! Points in time as people read them.

use super::listing::rfc3339;
use orbit_core::Timestamp;
use orbit_core::grid::refusal::span;

/// To the minute, in UTC: `2024-05-01 12:34 UTC`.
pub fn date(ms: i64) -> String {
    let mut text = rfc3339(Timestamp { seconds: ms.div_euclid(1000), nanos: 0 });
    // Years beyond 9999 have more digits.
    let end = text.find('T').map_or(text.len(), |at| at + "T12:34".len());
    text.truncate(end);
    text.replace('T', " ") + " UTC"
}

/// To the second, in UTC: `14:02:11 UTC`, or with its date if that is not today.
pub fn point(ms: i64, now_ms: i64) -> String {
    let text = rfc3339(Timestamp { seconds: ms.div_euclid(1000), nanos: 0 });
    let (day, time) = text.split_once('T').unwrap_or_default();
    let time = time.get(..8).unwrap_or(time);
    let is_today = rfc3339(Timestamp { seconds: now_ms.div_euclid(1000), nanos: 0 }).starts_with(day);
    if is_today { format!("{time} UTC") } else { format!("{day} {time} UTC") }
}

/// How long ago something was: `now`, `3 s ago`. What clocks that differ put into the future is now.
pub fn ago(ms: i64, now_ms: i64) -> String {
    match now_ms.saturating_sub(ms) {
        ..1000 => "now".to_owned(),
        passed => format!("{} ago", span(passed)),
    }
}

/// When something will be: `in 59 min`, or `3 s ago` after all.
pub fn ahead(ms: i64, now_ms: i64) -> String {
    if ms > now_ms { format!("in {}", span(ms - now_ms)) } else { ago(ms, now_ms) }
}

/// A round trip: `0.42 ms`, `12.3 ms`, `1.20 s`.
pub fn round_trip(micros: u32) -> String {
    let micros = f64::from(micros);
    match micros {
        ..9_995.0 => format!("{:.2} ms", micros / 1000.0),
        ..999_500.0 => format!("{:.1} ms", micros / 1000.0),
        _ => format!("{:.2} s", micros / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time() {
        let now = 1_714_566_896_789;
        assert_eq!(date(now), "2024-05-01 12:34 UTC");
        assert_eq!(point(now - 1_000, now), "12:34:55 UTC");
        assert_eq!(point(now - 86_400_000, now), "2024-04-30 12:34:56 UTC");
        assert_eq!(date(i64::MAX).split(' ').count(), 3);
        let times = [0, 999, 3_000, 300_000, -5_000].map(|passed| ago(now - passed, now));
        assert_eq!(times, ["now", "now", "3 s ago", "5 min ago", "now"]);
        assert_eq!(ahead(now + 3_540_000, now), "in 59 min");
        assert_eq!(ahead(now - 90_000, now), "90 s ago");
        assert_eq!(ago(i64::MIN, i64::MAX), ago(0, i64::MAX));
        assert_eq!([420, 12_340, 1_200_000].map(round_trip), ["0.42 ms", "12.3 ms", "1.20 s"]);
    }
}
