//! [`Registry`]: when each node was last heard, and what it said of itself then. In memory only: after a restart it
//! fills again within a heartbeat.

use crate::daemon::shared::lock;
use crate::standalone::state::now_ms;
use orbit_core::grid::{Liveness, LivenessRules, Metered};
use orbit_core::ids::{NodeId, Serial};
use orbit_core::wire::pulse::{Load, Metering, Pulse};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Heartbeats that may come at once: as many as wait for a Nucleus that stands still for a while.
const BURST: i64 = 64;
/// How many heartbeats may come in the time of one. A star that is better than its word is welcome; one that keeps the
/// Nucleus busy is not.
const PER_INTERVAL: i64 = 5;

/// Who is heard.
#[derive(Debug)]
pub struct Registry {
    started: Instant,
    rules: LivenessRules,
    interval_ms: i64,
    nodes: Mutex<HashMap<NodeId, Heard>>,
}

/// What is known of one node.
#[derive(Debug, Default)]
struct Heard {
    /// Since the registry started, milliseconds; none: not yet.
    at_ms: Option<i64>,
    /// When it was first heard again after a silence.
    since_ms: i64,
    load: Load,
    rtt_us: u32,
    clock_ahead_ms: i64,
    /// Of the certificate it uses, as it said last.
    serial: Option<Serial>,
    /// All it did for the grid.
    total: Metering,
    /// The counters of its latest process, all of which are in `total`.
    counted: Metering,
    /// `total` is not among the records yet.
    is_unkept: bool,
    /// Ends the stream that its heartbeats came on last.
    stream: Option<CancellationToken>,
    /// Until when the heartbeats that came would have lasted, had they come as fast as they may.
    paid_until_ms: i64,
    /// When it last said something new of itself that was stored.
    described_ms: Option<i64>,
}

/// A look at one node.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) liveness: Liveness,
    pub(crate) last_seen_ms: Option<i64>,
    pub(crate) load: Option<Load>,
    pub(crate) rtt_us: Option<u32>,
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) metering: Metering,
}

impl Registry {
    /// Has heard nobody yet, so everybody has time to be heard before they count as lost. `kept` are the counters among
    /// the records.
    pub(crate) fn new(kept: Vec<Metered>, pulse_interval: Duration) -> Self {
        let known = |row: Metered| Heard { total: row.total, counted: row.counted, ..Heard::default() };
        let nodes = kept.into_iter().map(|row| (row.node, known(row))).collect();
        let interval_ms = i64::try_from(pulse_interval.as_millis()).unwrap_or(i64::MAX / 100);
        Self {
            started: Instant::now(),
            rules: LivenessRules { suspect_after_ms: interval_ms * 5 / 2, lost_after_ms: interval_ms * 6 },
            interval_ms,
            nodes: Mutex::new(nodes),
        }
    }

    /// Milliseconds since the registry started: a clock that nobody sets.
    fn now(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn wall(&self, at_ms: i64) -> i64 {
        now_ms() - (self.now() - at_ms)
    }

    /// A heartbeat came.
    pub(crate) fn heard(&self, id: NodeId, pulse: Pulse) {
        let now = self.now();
        let mut nodes = lock(&self.nodes);
        let heard = nodes.entry(id).or_default();
        if heard.at_ms.is_none_or(|at| now - at > self.rules.suspect_after_ms) {
            heard.since_ms = now;
        }
        heard.at_ms = Some(now);
        heard.load = pulse.load;
        heard.rtt_us = pulse.rtt_us;
        heard.clock_ahead_ms = pulse.now_ms - now_ms();
        heard.serial = pulse.serial;
        let told = pulse.metering;
        // If its process began again, so did its counters.
        let is_same = told.since_ms == heard.counted.since_ms;
        let before = if is_same { heard.counted } else { Metering::default() };
        let delta = Metering { since_ms: 0, ..difference(told, before) };
        if delta != Metering::default() {
            heard.total = sum(heard.total, delta);
            heard.is_unkept = true;
        }
        heard.counted = combine(told, before, u64::max);
    }

    /// Serial of the certificate that a node uses, as it said last; none: it was not heard since the start.
    pub(crate) fn uses(&self, id: NodeId) -> Option<Serial> {
        lock(&self.nodes).get(&id)?.serial
    }

    /// A member opened a stream for heartbeats, which takes the place of its older one. When the token is cancelled,
    /// a newer one took its place.
    pub(crate) fn begin_stream(&self, id: NodeId) -> CancellationToken {
        let token = CancellationToken::new();
        let older = lock(&self.nodes).entry(id).or_default().stream.replace(token.clone());
        if let Some(older) = older {
            older.cancel();
        }
        token
    }

    /// Whether a heartbeat may come now, which counts as one, or they come faster than is sane.
    pub(crate) fn may_come(&self, id: NodeId) -> bool {
        let (now, each_ms) = (self.now(), (self.interval_ms / PER_INTERVAL).max(1));
        let mut nodes = lock(&self.nodes);
        let heard = nodes.entry(id).or_default();
        let paid_until_ms = heard.paid_until_ms.max(now);
        let may_come = paid_until_ms - now <= each_ms * BURST;
        if may_come {
            heard.paid_until_ms = paid_until_ms + each_ms;
        }
        may_come
    }

    /// Whether what a node says of itself may be stored now, which counts as once: about once in an interval.
    pub(crate) fn may_describe(&self, id: NodeId) -> bool {
        let now = self.now();
        let mut nodes = lock(&self.nodes);
        let heard = nodes.entry(id).or_default();
        // Heartbeats come a little early at times.
        let may = heard.described_ms.is_none_or(|at| now - at >= self.interval_ms * 4 / 5);
        if may {
            heard.described_ms = Some(now);
        }
        may
    }

    /// It was removed from the grid.
    pub(crate) fn forget(&self, id: NodeId) {
        lock(&self.nodes).remove(&id);
    }

    /// Looks at one node.
    pub(crate) fn sight(&self, id: NodeId) -> Sight {
        let nodes = lock(&self.nodes);
        let heard = nodes.get(&id);
        let at = heard.and_then(|heard| heard.at_ms);
        let liveness = Liveness::of(at, heard.map_or(0, |heard| heard.since_ms), self.now(), &self.rules);
        let seen = heard.filter(|heard| heard.at_ms.is_some());
        Sight {
            liveness: liveness.map_since(|since| self.wall(since)),
            last_seen_ms: at.map(|at| self.wall(at)),
            load: seen.map(|heard| heard.load.clone()),
            rtt_us: seen.map(|heard| heard.rtt_us).filter(|&rtt| rtt > 0),
            clock_ahead_ms: seen.map(|heard| heard.clock_ahead_ms),
            metering: heard.map(|heard| heard.total).unwrap_or_default(),
        }
    }

    /// Counters that changed since the last call, for the records.
    pub(crate) fn unkept_metering(&self) -> Vec<Metered> {
        let mut nodes = lock(&self.nodes);
        let unkept = nodes.iter_mut().filter_map(|(&node, heard)| {
            let row = Metered { node, total: heard.total, counted: heard.counted };
            std::mem::take(&mut heard.is_unkept).then_some(row)
        });
        unkept.collect()
    }
}

fn combine(a: Metering, b: Metering, op: fn(u64, u64) -> u64) -> Metering {
    Metering {
        since_ms: a.since_ms,
        calls: op(a.calls, b.calls),
        refused: op(a.refused, b.refused),
        entries_scanned: op(a.entries_scanned, b.entries_scanned),
        bytes_hashed: op(a.bytes_hashed, b.bytes_hashed),
        bytes_sent: op(a.bytes_sent, b.bytes_sent),
        bytes_received: op(a.bytes_received, b.bytes_received),
    }
}

/// A star may say anything: neither overflow nor a counter that runs backwards may hurt.
fn sum(a: Metering, b: Metering) -> Metering {
    combine(a, b, u64::saturating_add)
}

fn difference(a: Metering, b: Metering) -> Metering {
    combine(a, b, u64::saturating_sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(since_ms: i64, calls: u64) -> Pulse {
        Pulse {
            metering: Metering { since_ms, calls, ..Metering::default() },
            now_ms: now_ms(),
            ..Pulse::default()
        }
    }

    const ID: NodeId = NodeId::from_bytes([1; 16]);

    fn registry(kept: Vec<Metered>) -> Registry {
        Registry::new(kept, Duration::from_secs(5))
    }

    #[test]
    fn counters_go_on_over_restarts_of_the_star() {
        let kept = Metered {
            node: ID,
            total: Metering { calls: 100, ..Metering::default() },
            counted: Metering::default(),
        };
        let first = registry(vec![kept]);
        first.heard(ID, pulse(1, 10));
        assert_eq!(first.sight(ID).metering.calls, 110);
        assert_eq!(first.unkept_metering()[0].total.calls, 110);
        assert!(first.unkept_metering().is_empty(), "nothing new");
        first.heard(ID, pulse(1, 15));
        first.heard(ID, pulse(2, 3));
        assert_eq!(first.sight(ID).metering.calls, 118);
        // What its first process did after the last look is kept too.
        let second = registry(first.unkept_metering());
        assert_eq!(second.sight(ID).metering.calls, 118);
    }

    #[test]
    fn counters_go_on_over_restarts_of_the_nucleus() {
        let first = registry(Vec::new());
        first.heard(ID, pulse(1, 1_000));
        let second = registry(first.unkept_metering());
        second.heard(ID, pulse(1, 1_000));
        assert_eq!(second.sight(ID).metering.calls, 1_000);
        assert!(second.unkept_metering().is_empty(), "nothing new");
        second.heard(ID, pulse(1, 1_001));
        assert_eq!(second.unkept_metering()[0].total.calls, 1_001);
        second.heard(ID, pulse(1, 1_002));
        // Another process of the star, while no Nucleus ran.
        let third = registry(second.unkept_metering());
        third.heard(ID, pulse(2, 5));
        assert_eq!(third.sight(ID).metering.calls, 1_007);
    }

    #[test]
    fn the_certificate_in_use_is_the_one_last_heard_of() {
        let registry = registry(Vec::new());
        assert_eq!(registry.uses(ID), None);
        let serial = Serial::from_bytes([7; 16]);
        registry.heard(ID, Pulse { serial: Some(serial), ..pulse(1, 0) });
        assert_eq!(registry.uses(ID), Some(serial));
    }

    #[test]
    fn heartbeats_and_news_are_bounded_for_each_member() {
        let registry = registry(Vec::new());
        let came = (0..1_000).filter(|_| registry.may_come(ID)).count() as i64;
        assert!((BURST..BURST + 10).contains(&came), "{came} came at once");
        assert!(registry.may_come(NodeId::from_bytes([2; 16])), "another member is not concerned");
        assert!(registry.may_describe(ID));
        assert!(!registry.may_describe(ID));
    }

    #[test]
    fn a_newer_stream_takes_the_place_of_the_older() {
        let registry = registry(Vec::new());
        let (older, newer) = (registry.begin_stream(ID), registry.begin_stream(ID));
        assert!(older.is_cancelled() && !newer.is_cancelled());
    }

    #[test]
    fn a_node_that_was_not_heard_is_not_ready() {
        let sight = registry(Vec::new()).sight(ID);
        assert!(!matches!(sight.liveness, Liveness::Ready { .. }));
        assert_eq!((sight.last_seen_ms, sight.load), (None, None));
    }
}
