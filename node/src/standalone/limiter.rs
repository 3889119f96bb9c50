//! [`Limiter`]: holds workers to the bandwidth schedule.

use jiff::ZonedDateTime;
use orbit_core::rate::{BandwidthSchedule, Rate};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A token bucket that all workers share. The bucket holds a quarter of a second's worth.
#[derive(Debug)]
pub struct Limiter {
    schedule: Option<BandwidthSchedule>,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// When the bytes already granted will have been paid for.
    paid_until: Instant,
    /// The limit in force, looked up once a second.
    bytes_per_second: Option<u64>,
    checked: Option<Instant>,
}

/// Bytes that may be granted at once are worth at most this much time.
const BURST: Duration = Duration::from_millis(250);
/// Longest single sleep, so that a stop request is heard.
const NAP: Duration = Duration::from_millis(50);

impl Limiter {
    /// Keeps to `schedule`; no schedule, no limit.
    pub fn new(schedule: Option<BandwidthSchedule>) -> Self {
        let bucket = Bucket { paid_until: Instant::now(), bytes_per_second: None, checked: None };
        Self { schedule, bucket: Mutex::new(bucket) }
    }

    /// Waits until `bytes` may pass, or `stop` is set. Gives the time waited.
    pub fn take(&self, bytes: u64, stop: &AtomicBool) -> Duration {
        let Some(schedule) = &self.schedule else { return Duration::ZERO };
        let begun = Instant::now();
        let due = self.book(schedule, bytes, begun);
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= due {
                break;
            }
            std::thread::sleep((due - now).min(NAP));
        }
        begun.elapsed()
    }

    /// How large a piece may be, so that even a slow limit passes smoothly.
    pub fn piece_bytes(&self, wanted: usize) -> usize {
        let Some(schedule) = &self.schedule else { return wanted };
        let rate = schedule.limit_at(minute_of_day()).map_or(u64::MAX, Rate::bytes_per_second);
        // A multiple of 4 096 keeps direct writes aligned.
        let piece = usize::try_from(rate / 8).unwrap_or(usize::MAX).clamp(4096, wanted.max(4096));
        piece / 4096 * 4096
    }

    /// Books the bytes and says when they may pass.
    fn book(&self, schedule: &BandwidthSchedule, bytes: u64, now: Instant) -> Instant {
        let mut bucket = self.bucket.lock().expect("booking does not panic");
        if bucket.checked.is_none_or(|at| now - at >= Duration::from_secs(1)) {
            bucket.bytes_per_second = schedule.limit_at(minute_of_day()).map(Rate::bytes_per_second);
            bucket.checked = Some(now);
        }
        let Some(rate) = bucket.bytes_per_second.filter(|rate| *rate > 0) else {
            return now;
        };
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        bucket.paid_until = bucket.paid_until.max(earliest) + cost;
        bucket.paid_until
    }
}

/// Minutes since local midnight.
fn minute_of_day() -> u16 {
    let now = ZonedDateTime::now();
    (i16::from(now.hour()) * 60 + i16::from(now.minute())).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_delays_what_exceeds_the_burst() {
        let limiter = Limiter::new(Some("1M".parse().expect("a rate")));
        let stop = AtomicBool::new(false);
        let schedule: BandwidthSchedule = "1M".parse().expect("a rate");
        let now = Instant::now();
        let due = limiter.book(&schedule, 10 << 20, now);
        assert!(
            due - now >= Duration::from_secs(9) && due - now <= Duration::from_secs(10),
            "{:?}",
            due - now
        );
        stop.store(true, Ordering::Relaxed);
        assert!(limiter.take(1 << 30, &stop) < Duration::from_secs(1), "a stop request ends the wait");
    }

    #[test]
    fn no_schedule_never_waits() {
        let limiter = Limiter::new(None);
        assert_eq!(limiter.take(u64::MAX, &AtomicBool::new(false)), Duration::ZERO);
        assert_eq!(limiter.piece_bytes(1 << 20), 1 << 20);
    }
}
