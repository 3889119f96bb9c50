//! [`Buckets`]: how often each address may ask.

use super::origin::Origin;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Addresses remembered. When more ask in a short time, those beyond share one bucket: memory stays bounded, and an
/// address that is remembered is not affected by the others.
const ORIGINS_MAX: usize = 4_096;

/// A token bucket for each address.
#[derive(Debug)]
pub(super) struct Buckets {
    burst: f64,
    per_second: f64,
    known: HashMap<Origin, Bucket>,
    others: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Fills up for the time that passed, takes a token, or says how long until there is one.
    fn take(&mut self, burst: f64, per_second: f64, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - self.tokens) / per_second).clamp(0.0, 3_600.0)))
    }
}

impl Buckets {
    pub(super) fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let (burst, per_second) = (f64::from(burst.max(1)), f64::from(per_second.max(1)));
        Self { burst, per_second, known: HashMap::new(), others: Bucket { tokens: burst, at: now } }
    }

    /// Whether `origin` may ask now; if not, when it may.
    pub(super) fn take(&mut self, origin: Origin, now: Instant) -> Result<(), Duration> {
        let (burst, per_second) = (self.burst, self.per_second);
        if self.known.len() >= ORIGINS_MAX && !self.known.contains_key(&origin) {
            self.forget_full(now);
        }
        let bucket = if self.known.len() >= ORIGINS_MAX && !self.known.contains_key(&origin) {
            &mut self.others
        } else {
            self.known.entry(origin).or_insert(Bucket { tokens: burst, at: now })
        };
        bucket.take(burst, per_second, now)
    }

    /// Gives back what `origin` took: it did well. What the shared bucket lent is not given back.
    pub(super) fn give_back(&mut self, origin: Origin) {
        if let Some(bucket) = self.known.get_mut(&origin) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }

    /// Forgets the buckets that are full again: they say no more than a new one would.
    pub(super) fn forget_full(&mut self, now: Instant) {
        let (burst, per_second) = (self.burst, self.per_second);
        self.known.retain(|_, bucket| {
            bucket.tokens + now.saturating_duration_since(bucket.at).as_secs_f64() * per_second < burst
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn origin(number: u32) -> Origin {
        Origin::of(Ipv4Addr::from(number).into())
    }

    #[test]
    fn a_burst_then_a_rate() {
        let start = Instant::now();
        let mut buckets = Buckets::new(3, 1, start);
        for _ in 0..3 {
            assert_eq!(buckets.take(origin(1), start), Ok(()));
        }
        assert!(buckets.take(origin(1), start).is_err());
        assert_eq!(buckets.take(origin(2), start), Ok(()), "another address is not affected");
        assert_eq!(buckets.take(origin(1), start + Duration::from_secs(1)), Ok(()));
        assert!(buckets.take(origin(1), start + Duration::from_secs(1)).is_err());
    }

    #[test]
    fn what_was_well_used_is_given_back() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1, start);
        for _ in 0..100 {
            assert_eq!(buckets.take(origin(1), start), Ok(()));
            buckets.give_back(origin(1));
            buckets.give_back(origin(1));
        }
        assert_eq!(buckets.take(origin(1), start), Ok(()));
        assert!(buckets.take(origin(1), start).is_err(), "never more than a burst");
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1, start);
        for number in 0..20_000 {
            let _ = buckets.take(origin(number), start);
        }
        assert!(buckets.known.len() <= ORIGINS_MAX);
        buckets.forget_full(start + Duration::from_secs(2));
        assert!(buckets.known.is_empty());
    }
}
