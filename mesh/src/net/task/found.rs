//! Peers found by mDNS.

use super::super::counters::reason;
use super::super::event::MeshEvent;
use super::Task;
use super::dial::without_peer;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, mdns};
use std::collections::HashSet;

/// Peers remembered. A local network with more Orbit nodes does not need mDNS to find one of them.
const PEERS_MAX: usize = 1_024;
/// Addresses remembered of each: more than any host has that is worth dialling.
const ADDRESSES_MAX: usize = 8;
/// Events waiting in the channel beyond which discoveries are only put into the table: they come again.
const SPARED: usize = 128;

impl Task {
    pub(super) fn on_found(&mut self, event: mdns::Event) {
        match event {
            mdns::Event::Discovered(list) => self.on_discovered(list),
            mdns::Event::Expired(list) => self.shared.change_found(|found| {
                for (peer, address) in list {
                    let address = without_peer(address);
                    if let Some(addresses) = found.get_mut(&peer) {
                        addresses.retain(|known| *known != address);
                        if addresses.is_empty() {
                            found.remove(&peer);
                        }
                    }
                }
            }),
        }
    }

    fn on_discovered(&mut self, list: Vec<(PeerId, Multiaddr)>) {
        let own = *self.swarm.local_peer_id();
        let mut touched = HashSet::new();
        let mut dropped = 0;
        let news: Vec<(PeerId, Vec<Multiaddr>)> = self.shared.change_found(|found| {
            for (peer, address) in list {
                let address = without_peer(address);
                if peer == own || !is_worth_dialling(&address) {
                    continue;
                }
                if found.len() >= PEERS_MAX && !found.contains_key(&peer) {
                    dropped += 1;
                    continue;
                }
                let addresses = found.entry(peer).or_default();
                if addresses.contains(&address) {
                    continue;
                }
                if addresses.len() >= ADDRESSES_MAX {
                    dropped += 1;
                    continue;
                }
                addresses.push(address);
                touched.insert(peer);
            }
            touched.iter().filter_map(|peer| Some((*peer, found.get(peer)?.clone()))).collect()
        });
        for _ in 0..dropped {
            self.shared.counters.drop_one(reason::DISCOVERED);
        }
        for (peer, addresses) in news {
            self.offer(MeshEvent::Discovered { peer, addresses }, SPARED);
        }
    }
}

/// Not an address that only its owner can use, nor one that needs the name of an interface.
fn is_worth_dialling(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let is_usable = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Ip6(ip)) => {
            !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local()
        }
        _ => false,
    };
    is_usable && matches!((parts.next(), parts.next()), (Some(Protocol::Tcp(_)), None))
}
