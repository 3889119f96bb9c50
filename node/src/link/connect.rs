//! The destination's side: [`DirectLink`], a way to a source for as long as a job takes.

use super::agree::{self, Agreed, Place};
use super::error::LinkError;
use crate::daemon::Node;
use crate::daemon::shared::lock;
use crate::remote::{Duplex, StarLink};
use orbit_core::grid::{Refusal, Ticket, TicketFault};
use orbit_core::ids::{LeaseId, NodeId};
use orbit_core::wire::decode;
use orbit_core::wire::link::{LinkCall, LinkRoute, SignedTicket};
use orbit_mesh::Cipher;
use orbit_mesh::direct::{Breaker, DirectStream, Traffic};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the way that worked last is tried first. A better one is looked for after that.
const WAY_KEPT: Duration = Duration::from_mins(5);

/// Where tickets come from. Each is good for one use, so a fresh one is asked for each time. It may block, and wait for a
/// Nucleus.
pub type Tickets = Arc<dyn Fn() -> Result<Vec<u8>, LinkError> + Send + Sync>;

/// A way to the source of a job: each [`open`](StarLink::open) is a connection of its own, all under one lease. When the source has
/// forgotten that, a new ticket is asked for.
pub struct DirectLink {
    node: Arc<Node>,
    source: NodeId,
    tickets: Tickets,
    state: Mutex<State>,
    traffic: Arc<Traffic>,
    cancelled: CancellationToken,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    way: Option<Way>,
    /// Opened to see whether it can be; for whoever asks first.
    first: Option<DirectStream>,
    connections: Vec<Breaker>,
}

/// What was agreed with the source.
#[derive(Clone)]
struct Lease {
    id: LeaseId,
    place: Place,
}

/// How the latest connection was opened.
#[derive(Clone)]
struct Way {
    route: LinkRoute,
    /// When it was found; none once it did not work any more.
    since: Option<Instant>,
    /// For people.
    told: String,
}

/// Asks for a ticket, presents it to the source, and opens a first connection. Blocks, some 30 s at most after the ticket came; not
/// for threads of the runtime.
pub(crate) fn connect(
    node: &Arc<Node>,
    source: NodeId,
    tickets: Tickets,
) -> Result<Arc<DirectLink>, LinkError> {
    let link = DirectLink {
        node: Arc::clone(node),
        source,
        tickets,
        state: Mutex::default(),
        traffic: Arc::default(),
        cancelled: node.stop.child_token(),
    };
    let first = link.establish()?;
    lock(&link.state).first = Some(first);
    let link = Arc::new(link);
    end_with_node(&link);
    Ok(link)
}

/// When the node stops, whoever waits for the source must not.
fn end_with_node(link: &Arc<DirectLink>) {
    let (cancelled, watched) = (link.cancelled.clone(), Arc::downgrade(link));
    let ending = async move {
        cancelled.cancelled().await;
        if let Some(link) = watched.upgrade() {
            link.break_off();
        }
    };
    link.node.tasks.spawn_on(ending, &link.node.links.runtime);
}

impl DirectLink {
    /// How the data goes, for people: `direct, tcp4 10.77.0.1:41234, AESGCM`.
    pub fn describe(&self) -> String {
        lock(&self.state).way.as_ref().map(|way| way.told.clone()).unwrap_or_default()
    }

    /// Which way the latest connection takes.
    pub fn route(&self) -> LinkRoute {
        lock(&self.state).way.as_ref().map_or(LinkRoute::Dialled, |way| way.route)
    }

    /// Bytes received and sent on all its connections so far, as the network saw them.
    pub fn bytes(&self) -> (u64, u64) {
        (self.traffic.received(), self.traffic.sent())
    }

    /// Ends all its connections: whoever reads or writes on one is told that it was cut. No more can be opened.
    pub fn break_off(&self) {
        self.cancelled.cancel();
        let connections = std::mem::take(&mut lock(&self.state).connections);
        connections.iter().for_each(Breaker::break_off);
    }

    /// Opens a connection, under the lease if there is one, else with a ticket.
    fn establish(&self) -> Result<DirectStream, LinkError> {
        let known = lock(&self.state).lease.clone();
        if let Some(lease) = known {
            let cipher = Cipher::for_this_processor().into();
            match self.agree(&lease.place, LinkCall::More { lease: lease.id, cipher }) {
                Err(LinkError::Refused(Refusal::Ticket { reason: TicketFault::Over, .. })) => {
                    lock(&self.state).lease = None;
                }
                agreed => return agreed,
            }
        }
        let bytes = (self.tickets)()?;
        let ticket: SignedTicket = decode(&bytes).map_err(|_| LinkError::BadTicket)?;
        let says: Ticket = decode(&ticket.ticket).map_err(|_| LinkError::BadTicket)?;
        let place = Place::of(self.source, &says).ok_or(LinkError::BadTicket)?;
        let call = LinkCall::Present {
            ticket: Box::new(ticket),
            certificate: self.node.membership().certificate,
            cipher: Cipher::for_this_processor().into(),
        };
        self.agree(&place, call)
    }

    /// Agrees on a connection, opens it, and notes what came of it.
    fn agree(&self, place: &Place, call: LinkCall) -> Result<DirectStream, LinkError> {
        let way = lock(&self.state).way.clone();
        let fresh = way.filter(|way| way.since.is_some_and(|since| since.elapsed() < WAY_KEPT));
        let hint = fresh.as_ref().map(|way| way.route);
        let agreeing = async {
            tokio::select! {
                agreed = agree::agree(&self.node, place, call, hint) => agreed,
                () = self.cancelled.cancelled() => Err(LinkError::Cancelled),
            }
        };
        let agreed = self.node.links.runtime.block_on(agreeing).inspect_err(|_| {
            // Next time all ways are tried.
            if let Some(way) = &mut lock(&self.state).way {
                way.since = None;
            }
        });
        let Agreed { lease, mut stream, route } = agreed?;
        stream.count_in(&self.traffic);
        let told = match route {
            LinkRoute::Dialled | LinkRoute::Reversed => {
                format!("{route}, {}, {}", stream.end(), stream.cipher())
            }
            LinkRoute::Mesh | LinkRoute::Relayed => format!("{route}, {}", stream.cipher()),
        };
        let mut state = lock(&self.state);
        // It is as old as when it was found, not as when it was used.
        let since = fresh.filter(|way| way.route == route).and_then(|way| way.since);
        state.way = Some(Way { route, since: since.or_else(|| Some(Instant::now())), told });
        state.lease = Some(Lease { id: lease, place: place.clone() });
        state.connections.retain(|connection| !connection.is_over());
        state.connections.push(stream.breaker());
        drop(state);
        if self.cancelled.is_cancelled() {
            return Err(LinkError::Cancelled);
        }
        Ok(stream)
    }
}

impl StarLink for DirectLink {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        let first = lock(&self.state).first.take();
        if let Some(first) = first {
            return Ok(Box::new(first));
        }
        Ok(Box::new(self.establish()?))
    }
}

impl Drop for DirectLink {
    fn drop(&mut self) {
        self.cancelled.cancel();
        let Some(lease) = lock(&self.state).lease.take() else { return };
        let node = Arc::clone(&self.node);
        let runtime = node.links.runtime.clone();
        let tasks = node.tasks.clone();
        // The source would find out by itself, later.
        tasks.spawn_on(async move { agree::release(&node, &lease.place, lease.id).await }, &runtime);
    }
}

impl fmt::Debug for DirectLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectLink")
            .field("source", &self.source)
            .field("way", &self.describe())
            .finish_non_exhaustive()
    }
}
