//! [`Registry`]: when each node was last heard, and what it said of itself then. In memory only: after a restart it
//! fills again within a heartbeat.

use crate::daemon::shared::lock;
use crate::standalone::state::now_ms;
use orbit_core::grid::{Liveness, LivenessRules};
use orbit_core::ids::NodeId;
use orbit_core::wire::pulse::{Load, Metering, Pulse};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Who is heard.
#[derive(Debug)]
pub struct Registry {
    started: Instant,
    rules: LivenessRules,
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
    /// Counters of the star's process that runs now.
    current: Metering,
    /// What of them is in `kept`.
    counted: Metering,
    /// Counters kept in `jobs.db`.
    kept: Metering,
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
    /// Knows nobody yet. `kept` are the counters of `jobs.db`.
    pub(crate) fn new(kept: Vec<(NodeId, Metering)>, pulse_interval: Duration) -> Self {
        let nodes = kept.into_iter().map(|(id, kept)| (id, Heard { kept, ..Heard::default() })).collect();
        let interval_ms = i64::try_from(pulse_interval.as_millis()).unwrap_or(i64::MAX / 100);
        Self {
            started: Instant::now(),
            rules: LivenessRules { suspect_after_ms: interval_ms * 5 / 2, lost_after_ms: interval_ms * 6 },
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
        if pulse.metering.since_ms != heard.current.since_ms {
            // Its process began again, and so did its counters.
            heard.kept = sum(heard.kept, difference(heard.current, heard.counted));
            heard.counted = Metering { since_ms: pulse.metering.since_ms, ..Metering::default() };
        }
        heard.current = pulse.metering;
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
            metering: heard.map(total).unwrap_or_default(),
        }
    }

    /// What was counted since the last call, for `jobs.db`.
    pub(crate) fn unkept_metering(&self) -> Vec<(NodeId, Metering)> {
        let mut nodes = lock(&self.nodes);
        let mut deltas = Vec::new();
        for (id, heard) in nodes.iter_mut() {
            let delta = difference(heard.current, heard.counted);
            if delta.calls + delta.refused + delta.bytes_sent + delta.bytes_received > 0 {
                heard.kept = sum(heard.kept, delta);
                heard.counted = heard.current;
                deltas.push((*id, delta));
            }
        }
        deltas
    }
}

fn total(heard: &Heard) -> Metering {
    sum(heard.kept, difference(heard.current, heard.counted))
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

    #[test]
    fn counters_go_on_over_restarts_of_the_star() {
        let id = NodeId::from_bytes([1; 16]);
        let kept = Metering { calls: 100, ..Metering::default() };
        let registry = Registry::new(vec![(id, kept)], Duration::from_secs(5));
        registry.heard(id, pulse(1, 10));
        assert_eq!(registry.sight(id).metering.calls, 110);
        assert_eq!(registry.unkept_metering()[0].1.calls, 10);
        assert!(registry.unkept_metering().is_empty(), "nothing new");
        registry.heard(id, pulse(1, 15));
        registry.heard(id, pulse(2, 3));
        assert_eq!(registry.sight(id).metering.calls, 118);
    }

    #[test]
    fn a_node_that_was_not_heard_is_not_ready() {
        let registry = Registry::new(Vec::new(), Duration::from_secs(5));
        let sight = registry.sight(NodeId::from_bytes([1; 16]));
        assert!(!matches!(sight.liveness, Liveness::Ready { .. }));
        assert_eq!((sight.last_seen_ms, sight.load), (None, None));
    }
}
