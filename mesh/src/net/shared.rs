//! [`Shared`]: what the task shows to those who hold a [`Mesh`](super::Mesh), without a question to it.

use super::counters::Counters;
use super::event::PeerLink;
use libp2p::{Multiaddr, PeerId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Written by the task alone, a field at a time; read by anybody.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counters: Arc<Counters>,
    members: RwLock<HashMap<PeerId, PeerLink>>,
    found: RwLock<HashMap<PeerId, Vec<Multiaddr>>>,
    listen: RwLock<Vec<Multiaddr>>,
}

impl Shared {
    pub(super) fn members(&self) -> Vec<PeerLink> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn change_members<T>(&self, change: impl FnOnce(&mut HashMap<PeerId, PeerLink>) -> T) -> T {
        change(&mut self.members.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn found(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.iter().map(|(peer, addresses)| (*peer, addresses.clone())).collect()
    }

    pub(super) fn change_found<T>(
        &self,
        change: impl FnOnce(&mut HashMap<PeerId, Vec<Multiaddr>>) -> T,
    ) -> T {
        change(&mut self.found.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn listen(&self) -> Vec<Multiaddr> {
        self.listen.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_listen(&self, addresses: Vec<Multiaddr>) {
        *self.listen.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}
