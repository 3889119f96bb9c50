//! [`GridState`]: everything the Nucleus owns of a grid, in memory.

mod admission;
pub mod bounds;
mod decide;
pub mod jobs;
mod names;
#[cfg(test)]
mod tests;
mod voters;

pub use admission::Admission;

use super::job::JobRecord;
use super::record::{Anchor, Change, Constellation, GridHeader, NodeRecord, TokenRecord};
use super::refusal::Refusal;
use crate::ids::{JobId, NodeId, PeerKey, Serial, TokenId};
use crate::wire::bytes::Octets;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Digits of an id that are enough to name a node.
const ID_DIGITS_MIN: usize = 8;

/// The grid's records. It is rebuilt from the stored ones by absorbing each as a [`Change`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GridState {
    header: Option<GridHeader>,
    anchors: Vec<Anchor>,
    nodes: BTreeMap<NodeId, NodeRecord>,
    /// Keys of `nodes`.
    by_key: BTreeMap<PeerKey, NodeId>,
    /// Names of `nodes`, in lower case: two names that differ in case alone would be mistaken for each other.
    by_name: BTreeMap<String, NodeId>,
    tokens: BTreeMap<TokenId, TokenRecord>,
    constellations: BTreeMap<String, Constellation>,
    revoked: BTreeMap<Serial, Ended>,
    /// Valid certificates that are not their member's newest.
    superseded: BTreeMap<Serial, Ended>,
    /// Sealed private keys of authorities, by the pin of the authority.
    authority_keys: BTreeMap<[u8; 32], Octets>,
    jobs: BTreeMap<JobId, JobRecord>,
}

/// A certificate that is not its member's newest any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    key: PeerKey,
    until_ms: i64,
}

impl GridState {
    /// Takes in a change that was stored.
    pub fn absorb(&mut self, change: Change) {
        match change {
            Change::Header(header) => self.header = Some(header),
            Change::Anchors(anchors) => self.anchors = anchors,
            Change::Node(record) => self.insert_node(record),
            Change::NodeRemoved(id) => self.remove_node(id),
            Change::Token(token) => {
                self.tokens.insert(token.id, token);
            }
            Change::TokenRemoved(id) => {
                self.tokens.remove(&id);
            }
            Change::Constellation(constellation) => {
                self.constellations.insert(constellation.name.clone(), constellation);
            }
            Change::ConstellationRemoved(name) => {
                self.constellations.remove(&name);
            }
            Change::Revoked { serial, key, until_ms } => {
                self.revoked.insert(serial, Ended { key, until_ms });
            }
            Change::RevocationForgotten(serial) => {
                self.revoked.remove(&serial);
            }
            Change::Superseded { serial, key, until_ms } => {
                self.superseded.insert(serial, Ended { key, until_ms });
            }
            Change::SupersededForgotten(serial) => {
                self.superseded.remove(&serial);
            }
            Change::AuthorityKey { pin, sealed } => {
                self.authority_keys.insert(pin, sealed);
            }
            Change::AuthorityKeyForgotten(pin) => {
                self.authority_keys.remove(&pin);
            }
            Change::Job(record) => {
                self.jobs.insert(record.id, *record);
            }
            Change::JobRemoved(id) => {
                self.jobs.remove(&id);
            }
            // Tables of their own: no command is decided by them.
            Change::Contents { .. } | Change::ContentsForgotten(_) | Change::Metered(_) => {}
        }
    }

    fn insert_node(&mut self, record: NodeRecord) {
        self.remove_node(record.id);
        self.by_key.insert(record.key, record.id);
        self.by_name.insert(record.name.to_ascii_lowercase(), record.id);
        self.nodes.insert(record.id, record);
    }

    fn remove_node(&mut self, id: NodeId) {
        let Some(record) = self.nodes.remove(&id) else { return };
        let name = record.name.to_ascii_lowercase();
        // Stored records that contradict each other must not cut a node off from its own key and name.
        if self.by_key.get(&record.key) == Some(&id) {
            self.by_key.remove(&record.key);
        }
        if self.by_name.get(&name) == Some(&id) {
            self.by_name.remove(&name);
        }
    }

    /// The whole state as changes: absorbed by an empty state they make it again.
    pub fn records(&self) -> Vec<Change> {
        let ended = |(serial, ended): (&Serial, &Ended)| (*serial, ended.key, ended.until_ms);
        let mut changes: Vec<Change> = self.header.clone().map(Change::Header).into_iter().collect();
        if !self.anchors.is_empty() {
            changes.push(Change::Anchors(self.anchors.clone()));
        }
        changes.extend(self.nodes.values().cloned().map(Change::Node));
        changes.extend(self.tokens.values().cloned().map(Change::Token));
        changes.extend(self.constellations.values().cloned().map(Change::Constellation));
        changes.extend(self.revoked.iter().map(ended).map(|(serial, key, until_ms)| Change::Revoked {
            serial,
            key,
            until_ms,
        }));
        changes.extend(self.superseded.iter().map(ended).map(|(serial, key, until_ms)| Change::Superseded {
            serial,
            key,
            until_ms,
        }));
        let keys = self.authority_keys.iter();
        changes.extend(keys.map(|(pin, sealed)| Change::AuthorityKey { pin: *pin, sealed: sealed.clone() }));
        changes.extend(self.jobs.values().cloned().map(|record| Change::Job(Box::new(record))));
        changes
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
        self.nodes.get(self.by_key.get(&key)?)
    }

    /// A member by what a person wrote: its name (in any case), its id or at least eight digits of its id; else the
    /// refusal with the nearest name.
    pub fn find_node(&self, written: &str) -> Result<&NodeRecord, Refusal> {
        let by_name = self.by_name.get(&written.to_ascii_lowercase()).copied();
        let id = by_name.or_else(|| self.id_that_begins(written));
        id.and_then(|id| self.nodes.get(&id)).ok_or_else(|| Refusal::UnknownNode {
            name: names::shown(written),
            nearest: names::nearest(written, self.nodes.values().map(|record| record.name.as_str())),
        })
    }

    /// The only id that begins with these digits.
    fn id_that_begins(&self, written: &str) -> Option<NodeId> {
        let digits: String = written.chars().filter(|&c| c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if !(ID_DIGITS_MIN..=NodeId::LEN * 2).contains(&digits.len()) {
            return None;
        }
        let first: NodeId = format!("{digits:0<32}").parse().ok()?;
        let last: NodeId = format!("{digits:f<32}").parse().ok()?;
        let mut found = self.nodes.range((Bound::Included(first), Bound::Included(last)));
        found.next().map(|(id, _)| *id).filter(|_| found.next().is_none())
    }

    /// All tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRecord> {
        self.tokens.values()
    }

    /// A token by id.
    pub fn token(&self, id: TokenId) -> Option<&TokenRecord> {
        self.tokens.get(&id)
    }

    /// All constellations, by name.
    pub fn constellations(&self) -> impl Iterator<Item = &Constellation> {
        self.constellations.values()
    }

    /// A constellation by name; else the refusal with the nearest name.
    pub fn find_constellation(&self, name: &str) -> Result<&Constellation, Refusal> {
        self.constellations.get(name).ok_or_else(|| Refusal::UnknownConstellation {
            name: names::shown(name),
            nearest: names::nearest(name, self.constellations.keys().map(String::as_str)),
        })
    }

    /// Revoked certificates that have not expired.
    pub fn revoked(&self) -> impl Iterator<Item = Serial> {
        self.revoked.keys().copied()
    }

    /// At most `limit` of them: those that are valid longest.
    pub fn revoked_newest(&self, limit: usize) -> Vec<Serial> {
        let mut all: Vec<(i64, Serial)> =
            self.revoked.iter().map(|(serial, ended)| (ended.until_ms, *serial)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().take(limit).map(|(_, serial)| serial).collect()
    }

    /// The sealed private key of the authority with this pin (SHA-256 of its public key).
    pub fn authority_key(&self, pin: &[u8; 32]) -> Option<&[u8]> {
        self.authority_keys.get(pin).map(|sealed| sealed.0.as_slice())
    }

    /// The pins of the authorities whose private keys are kept.
    pub fn authority_pins(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.authority_keys.keys()
    }

    /// Older certificates of a key that are still valid.
    fn superseded_of(&self, key: PeerKey) -> impl Iterator<Item = (Serial, i64)> {
        self.superseded
            .iter()
            .filter(move |(_, ended)| ended.key == key)
            .map(|(serial, ended)| (*serial, ended.until_ms))
    }

    /// Whether a serial number was given to a certificate that may still be shown.
    fn knows_serial(&self, serial: Serial) -> bool {
        self.revoked.contains_key(&serial)
            || self.superseded.contains_key(&serial)
            || self.nodes.values().any(|record| record.certificate.serial == serial)
    }
}
