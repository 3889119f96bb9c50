//! [`Leases`]: what the source has agreed with destinations, in memory. A source that starts anew asks for new tickets.

use orbit_core::grid::Fence;
use orbit_core::ids::{JobId, LeaseId, NodeId, Serial};
use orbit_mesh::direct::Breaker;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Leases at a time.
const LEASES_MAX: usize = 256;
/// How long one lasts; a job that takes longer presents another ticket.
const LEASE_TIME: Duration = Duration::from_hours(24);
/// How long one may have no connection: a job may be paused.
const IDLE_MAX: Duration = Duration::from_hours(1);

/// What a ticket led to.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The job it is for.
    pub(crate) job: JobId,
    /// Who may open connections.
    pub(crate) destination: NodeId,
    /// Serial number of the certificate that it showed.
    pub(crate) serial: Serial,
    /// What may be reached.
    pub(crate) root: Vec<u8>,
    /// Of the Nucleus that signed the ticket.
    pub(crate) fence: Fence,
}

#[derive(Debug)]
struct Kept {
    lease: Lease,
    until: Instant,
    /// When a connection was agreed on or seen open last.
    used: Instant,
    connections: Vec<Breaker>,
}

/// The leases of a node.
#[derive(Debug, Default)]
pub(crate) struct Leases(HashMap<LeaseId, Kept>);

/// Too many leases, all of them in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// Connections to be ended, when nothing is locked any more.
#[derive(Debug)]
#[must_use = "they go on until they are broken off"]
pub(crate) struct Ending(Vec<Breaker>);

impl Ending {
    pub(crate) fn break_off(self) {
        self.0.iter().for_each(Breaker::break_off);
    }
}

impl Leases {
    /// Begins a lease. The one that has been without a connection for longest makes room.
    pub(crate) fn begin(&mut self, id: LeaseId, lease: Lease, now: Instant) -> Result<(), Crowded> {
        if self.0.len() >= LEASES_MAX {
            let idle = self.0.iter_mut().filter_map(|(id, kept)| {
                kept.connections.retain(|connection| !connection.is_over());
                kept.connections.is_empty().then_some((kept.used, *id))
            });
            let (_, oldest) = idle.min().ok_or(Crowded)?;
            self.0.remove(&oldest);
        }
        self.0.insert(id, Kept { lease, until: now + LEASE_TIME, used: now, connections: Vec::new() });
        Ok(())
    }

    /// The root of a lease, for one who may use it.
    pub(crate) fn root(&mut self, id: LeaseId, asker: NodeId, epoch: u32, now: Instant) -> Option<Vec<u8>> {
        let kept = self.0.get_mut(&id)?;
        let is_valid = kept.lease.destination == asker && !kept.is_over(now, epoch);
        kept.used = now;
        is_valid.then(|| kept.lease.root.clone())
    }

    /// Notes a connection, to be ended with the lease; false if that has ended.
    pub(crate) fn connected(&mut self, id: LeaseId, connection: Breaker, now: Instant) -> bool {
        let Some(kept) = self.0.get_mut(&id) else { return false };
        kept.connections.retain(|connection| !connection.is_over());
        kept.connections.push(connection);
        kept.used = now;
        true
    }

    /// Ends a lease, if it is the asker's.
    pub(crate) fn end(&mut self, id: LeaseId, asker: NodeId) -> Ending {
        if self.0.get(&id).is_none_or(|kept| kept.lease.destination != asker) {
            return Ending(Vec::new());
        }
        Ending(self.0.remove(&id).map(|kept| kept.connections).unwrap_or_default())
    }

    /// Ends what is over: by time, since the grid has begun another epoch, or as the destination was removed.
    pub(crate) fn tidy(&mut self, now: Instant, epoch: u32, is_revoked: impl Fn(&Serial) -> bool) -> Ending {
        let mut ending = Vec::new();
        self.0.retain(|id, kept| {
            kept.connections.retain(|connection| !connection.is_over());
            if !kept.connections.is_empty() {
                kept.used = now;
            }
            let is_over = kept.is_over(now, epoch) || is_revoked(&kept.lease.serial);
            if is_over {
                tracing::info!(lease = %id, job = %kept.lease.job, "what was agreed for a job is over");
                ending.append(&mut kept.connections);
            }
            !is_over
        });
        Ending(ending)
    }

    /// Ends all.
    pub(crate) fn end_all(&mut self) -> Ending {
        Ending(self.0.drain().flat_map(|(_, kept)| kept.connections).collect())
    }
}

#[cfg(test)]
impl Leases {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Kept {
    fn is_over(&self, now: Instant, epoch: u32) -> bool {
        now >= self.until || now >= self.used + IDLE_MAX || self.lease.fence.epoch < epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u32 = 3;

    fn lease(destination: u8) -> Lease {
        Lease {
            job: JobId::from_bytes([1; 16]),
            destination: node(destination),
            serial: Serial::from_bytes([destination; 16]),
            root: b"/data".to_vec(),
            fence: Fence { epoch: EPOCH, term: 1 },
        }
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 16])
    }

    fn id(number: u128) -> LeaseId {
        LeaseId::from_bytes(number.to_le_bytes())
    }

    #[test]
    fn a_lease_is_for_one_destination_and_ends_by_time_epoch_and_removal() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        for number in 1..=4 {
            leases.begin(id(number), lease(number as u8), begun).expect("there is room");
        }
        assert_eq!(leases.root(id(1), node(1), EPOCH, begun).as_deref(), Some(b"/data".as_slice()));
        assert_eq!(leases.root(id(1), node(2), EPOCH, begun), None, "another's");
        assert_eq!(leases.root(id(9), node(1), EPOCH, begun), None, "unknown");
        assert_eq!(leases.root(id(1), node(1), EPOCH + 1, begun), None, "of a grid that was given up");
        assert!(leases.end(id(2), node(1)).0.is_empty());
        assert!(leases.root(id(2), node(2), EPOCH, begun).is_some(), "only its own node ends it");
        let _none = leases.end(id(2), node(2));
        assert_eq!(leases.root(id(2), node(2), EPOCH, begun), None, "it was ended");
        let _none = leases.tidy(begun, EPOCH, |serial| *serial == Serial::from_bytes([3; 16]));
        assert_eq!(leases.root(id(3), node(3), EPOCH, begun), None, "its node was removed");
        let _none = leases.tidy(begun + IDLE_MAX / 2, EPOCH, |_| false);
        assert!(leases.0.contains_key(&id(4)));
        let _none = leases.tidy(begun + IDLE_MAX, EPOCH, |_| false);
        assert!(leases.0.is_empty(), "nobody used them for an hour");
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        for number in 0..LEASES_MAX as u128 {
            leases.begin(id(number), lease(1), begun + Duration::from_secs(number as u64)).expect("room");
        }
        leases.begin(id(1000), lease(1), begun + Duration::from_secs(1000)).expect("the first makes room");
        assert_eq!(leases.root(id(0), node(1), EPOCH, begun), None);
        assert!(leases.root(id(1), node(1), EPOCH, begun).is_some());
        assert_eq!(leases.0.len(), LEASES_MAX);
    }

    #[test]
    fn a_lease_ends_after_a_day_whoever_uses_it() {
        let begun = Instant::now();
        let mut leases = Leases::default();
        leases.begin(id(1), lease(1), begun).expect("there is room");
        for half_hours in 1..96 {
            let now = begun + Duration::from_mins(30 * half_hours);
            let is_valid = now < begun + LEASE_TIME;
            assert_eq!(leases.root(id(1), node(1), EPOCH, now).is_some(), is_valid, "{half_hours}");
        }
    }
}
