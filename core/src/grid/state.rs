//! [`GridState`]: everything the Nucleus owns of a grid, in memory.

use super::command::Command;
use super::record::{Anchor, Change, Constellation, GridHeader, NodeRecord, TokenRecord};
use super::refusal::Refusal;
use crate::ids::{NodeId, PeerKey, Serial, TokenId};
use std::collections::BTreeMap;

/// The grid's records. It is rebuilt from the stored ones by absorbing each as a [`Change`].
#[derive(Clone, Debug, Default)]
pub struct GridState {
    header: Option<GridHeader>,
    anchors: Vec<Anchor>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    constellations: BTreeMap<String, Constellation>,
    revoked: BTreeMap<Serial, (PeerKey, i64)>,
}

impl GridState {
    /// Which records a command changes, in the order in which they must be stored, or why it is refused.
    pub fn decide(&self, command: &Command) -> Result<Vec<Change>, Refusal> {
        let _ = command;
        todo!()
    }

    /// Takes in a change that was stored.
    pub fn absorb(&mut self, change: Change) {
        let _ = change;
        todo!()
    }

    /// The grid; none before it was founded.
    pub fn header(&self) -> Option<&GridHeader> {
        self.header.as_ref()
    }

    /// The trusted authorities, oldest first.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// All members.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// A member by id.
    pub fn node(&self, id: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&id)
    }

    /// A member by key.
    pub fn node_by_key(&self, key: PeerKey) -> Option<&NodeRecord> {
        let _ = key;
        todo!()
    }

    /// A member by what a person wrote: its name, its id or at least eight digits of its id; else the refusal with
    /// the nearest name.
    pub fn find_node(&self, written: &str) -> Result<&NodeRecord, Refusal> {
        let _ = written;
        todo!()
    }

    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// All constellations, by name.
    pub fn constellations(&self) -> impl Iterator<Item = &Constellation> {
        self.constellations.values()
    }

    /// Revoked certificates that have not expired.
    pub fn revoked(&self) -> impl Iterator<Item = Serial> {
        self.revoked.keys().copied()
    }
}
