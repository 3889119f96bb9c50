//! Connecting: attempts, their addresses and those who wait for them.

use super::super::command::Reply;
use super::super::error::{AddressFault, ConnectError};
use super::Task;
use super::hello::Waiter;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::io;

/// Addresses of one attempt; more are not looked at.
const ADDRESSES_MAX: usize = 16;
/// Addresses tried at the same time when it is not known who answers: they may all belong to one node, which takes only
/// a few connections of one peer.
const UNKNOWN_AT_ONCE: usize = 3;

type Connecting = Reply<PeerId, ConnectError>;

/// What is being dialled.
#[derive(Default)]
pub(super) struct Dials {
    attempts: HashMap<u64, Attempt>,
    /// Which attempt a connection belongs to. The attempt may have ended meanwhile.
    connections: HashMap<ConnectionId, Dialled>,
    next: u64,
}

struct Dialled {
    attempt: u64,
    addresses: Vec<Multiaddr>,
}

struct Attempt {
    peer: Option<PeerId>,
    /// Addresses not tried yet.
    left: Vec<Multiaddr>,
    in_flight: usize,
    causes: Vec<(Multiaddr, AddressFault)>,
    waiting: Vec<Connecting>,
}

impl Dials {
    /// Stops trying for those who gave up; what is in flight ends by itself.
    pub(super) fn forget_abandoned(&mut self) {
        for attempt in self.attempts.values_mut() {
            attempt.waiting.retain(|reply| !reply.is_closed());
            if attempt.waiting.is_empty() {
                attempt.left.clear();
            }
        }
        self.attempts.retain(|_, attempt| attempt.in_flight > 0 || !attempt.left.is_empty());
    }
}

impl Task {
    pub(super) fn connect(&mut self, peer: Option<PeerId>, addresses: Vec<Multiaddr>, reply: Connecting) {
        let mut addresses = addresses;
        addresses.truncate(ADDRESSES_MAX);
        let peer = peer.or_else(|| common_peer(&addresses));
        if let Some(peer) = peer {
            if self.peers.contains_key(&peer) {
                self.connect_again(peer, reply);
                return;
            }
            if let Some(attempt) = self.dials.attempts.values_mut().find(|attempt| attempt.peer == Some(peer))
            {
                attempt.waiting.push(reply);
                return;
            }
        }
        if addresses.is_empty() {
            let _ = reply.send(Err(ConnectError::NoAddress));
            return;
        }
        let id = self.dials.next;
        self.dials.next += 1;
        let attempt =
            Attempt { peer, left: addresses, in_flight: 0, causes: Vec::new(), waiting: vec![reply] };
        self.dials.attempts.insert(id, attempt);
        self.pump(id);
    }

    /// `peer` is connected. If it has not been greeted, that is done now.
    fn connect_again(&mut self, peer: PeerId, reply: Connecting) {
        let is_member = self.peers.get(&peer).is_some_and(|known| known.member.is_some());
        if self.identity.is_none() || is_member {
            let _ = reply.send(Ok(peer));
        } else {
            self.say_hello(peer, vec![Waiter::Connect(reply)]);
        }
    }

    /// Dials what an attempt has left, or ends it.
    fn pump(&mut self, id: u64) {
        loop {
            let Some(attempt) = self.dials.attempts.get_mut(&id) else { return };
            let room = match attempt.peer {
                Some(_) => attempt.in_flight == 0,
                None => attempt.in_flight < UNKNOWN_AT_ONCE,
            };
            if attempt.left.is_empty() || !room {
                break;
            }
            let addresses = match attempt.peer {
                Some(_) => std::mem::take(&mut attempt.left),
                None => vec![attempt.left.remove(0)],
            };
            attempt.in_flight += 1;
            let options = options(attempt.peer, &addresses);
            let connection = options.connection_id();
            self.dials.connections.insert(connection, Dialled { attempt: id, addresses });
            if let Err(error) = self.swarm.dial(options) {
                self.on_dial_failed(connection, error);
            }
        }
        if self.dials.attempts.get(&id).is_some_and(|attempt| attempt.in_flight == 0)
            && let Some(attempt) = self.dials.attempts.remove(&id)
        {
            fail(attempt);
        }
    }

    /// A connection that we dialled is there.
    pub(super) fn on_dialled(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(Dialled { attempt: id, .. }) = self.dials.connections.remove(&connection) else { return };
        let Some(attempt) = self.dials.attempts.remove(&id) else {
            self.swarm.close_connection(connection);
            return;
        };
        // The other addresses of the attempt were slower. A connection that they still lead to must not be there for a
        // moment either: a question might go by it, and end with it.
        let others = self.dials.connections.iter().filter(|(_, dialled)| dialled.attempt == id);
        for (other, _) in others {
            self.swarm.behaviour_mut().door.decline(*other);
        }
        if self.identity.is_some() {
            self.say_hello(peer, attempt.waiting.into_iter().map(Waiter::Connect).collect());
        } else {
            for reply in attempt.waiting {
                let _ = reply.send(Ok(peer));
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, connection: ConnectionId, error: DialError) {
        let Some(Dialled { attempt: id, addresses }) = self.dials.connections.remove(&connection) else {
            return;
        };
        let Some(attempt) = self.dials.attempts.get_mut(&id) else { return };
        attempt.in_flight -= 1;
        let (causes, untried) = faults(error, &addresses);
        attempt.causes.extend(causes);
        attempt.left.extend(untried);
        self.pump(id);
    }
}

fn options(peer: Option<PeerId>, addresses: &[Multiaddr]) -> DialOpts {
    match (peer, addresses.first()) {
        (Some(peer), _) => DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses.iter().cloned().map(without_peer).collect())
            .build(),
        (None, Some(address)) => DialOpts::unknown_peer_id().address(address.clone()).build(),
        (None, None) => DialOpts::unknown_peer_id().address(Multiaddr::empty()).build(),
    }
}

/// What failed, and the addresses that should be tried again: when somebody else answers at one address, the library
/// gives up on the others although they may be right.
fn faults(error: DialError, addresses: &[Multiaddr]) -> (Vec<(Multiaddr, AddressFault)>, Vec<Multiaddr>) {
    let without = |address: &Multiaddr| -> Vec<Multiaddr> {
        let others = addresses.iter().filter(|other| without_peer((*other).clone()) != *address);
        let others: Vec<Multiaddr> = others.cloned().collect();
        // An address that is not among them would be tried for ever.
        if others.len() < addresses.len() { others } else { Vec::new() }
    };
    let all = |fault: fn() -> AddressFault| {
        (addresses.iter().map(|address| (address.clone(), fault())).collect(), Vec::new())
    };
    match error {
        DialError::WrongPeerId { obtained, address } => {
            let address = without_peer(address);
            let untried = without(&address);
            (vec![(address, AddressFault::OtherPeer { obtained })], untried)
        }
        DialError::LocalPeerId { address } => {
            let address = without_peer(address);
            let untried = without(&address);
            (vec![(address, AddressFault::Ourselves)], untried)
        }
        DialError::Transport(causes) => {
            let fault = |error| match error {
                TransportError::MultiaddrNotSupported(_) => AddressFault::Unsupported,
                TransportError::Other(error) => AddressFault::Io(error),
            };
            let named = |(address, error)| (without_peer(address), fault(error));
            let mut causes: Vec<_> = causes.into_iter().map(named).collect();
            // The library leaves out addresses that this node listens on.
            for address in addresses.iter().cloned().map(without_peer) {
                if causes.iter().all(|(known, _)| *known != address) {
                    causes.push((address, AddressFault::Ourselves));
                }
            }
            (causes, Vec::new())
        }
        DialError::Denied { .. } => all(|| AddressFault::Denied),
        // There were addresses; so this node listens on all of them.
        DialError::NoAddresses => all(|| AddressFault::Ourselves),
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => all(|| AddressFault::GivenUp),
    }
}

/// Tells everybody who waited. Errors of the system cannot be copied, so all but the first are told kind and text.
fn fail(attempt: Attempt) {
    let mut waiting = attempt.waiting;
    let Some(first) = waiting.pop() else { return };
    for other in waiting {
        let causes = attempt.causes.iter().map(|(address, fault)| (address.clone(), copy(fault))).collect();
        let _ = other.send(Err(ConnectError::Unreachable { causes }));
    }
    let _ = first.send(Err(ConnectError::Unreachable { causes: attempt.causes }));
}

fn copy(fault: &AddressFault) -> AddressFault {
    match fault {
        AddressFault::Io(error) => AddressFault::Io(io::Error::new(error.kind(), error.to_string())),
        AddressFault::OtherPeer { obtained } => AddressFault::OtherPeer { obtained: *obtained },
        AddressFault::Ourselves => AddressFault::Ourselves,
        AddressFault::Unsupported => AddressFault::Unsupported,
        AddressFault::Denied => AddressFault::Denied,
        AddressFault::GivenUp => AddressFault::GivenUp,
    }
}

/// `address` without a peer id at its end.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// The peer that all addresses name, if they do.
fn common_peer(addresses: &[Multiaddr]) -> Option<PeerId> {
    let named = |address: &Multiaddr| match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    };
    let first = addresses.first().and_then(named)?;
    addresses.iter().all(|address| named(address) == Some(first)).then_some(first)
}
