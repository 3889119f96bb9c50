//! [`Star`]: a node that obeys the Nucleus, and remembers the highest fence it has seen.

use super::host::Host;
use super::world::World;
use orbit_core::grid::Fence;
use std::sync::{Arc, Mutex, PoisonError};

/// A star that outlives everything here.
#[derive(Debug, Default)]
pub struct Star {
    seen: Mutex<Fence>,
}

impl Star {
    /// Whether it obeys who commands under this fence.
    fn admits(&self, fence: Fence) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let admits = fence >= *seen;
        *seen = fence.max(*seen);
        admits
    }
}

/// A leader that may rely on it commands some star.
pub fn command(world: &Arc<World>, host: &Arc<Host>, fence: Fence) {
    let number = world.random.below(world.stars.len());
    world.watch.check(|rules| rules.stars.commands(&host.name, fence));
    let (world, host) = (world.clone(), host.clone());
    // A command that was sent arrives, whatever becomes of its sender.
    tokio::spawn(async move {
        if !world.network.carry(host.place, world.star_place(number)).await {
            return;
        }
        let obeys = world.stars.get(number).is_some_and(|star| star.admits(fence));
        world.trace.note(&host.name, format_args!("commands star {number} under {fence}: {obeys}"));
        if obeys {
            world.watch.check(|rules| rules.stars.obeys(number, &host.name, fence));
        }
    });
}
