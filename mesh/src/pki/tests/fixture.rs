//! A grid, its authority, and a member.

use crate::key::NodeKey;
use crate::pki::{Authority, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, SigningRequest, Trust, random_serial};
use orbit_core::grid::Role;
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};

/// What time it is in these tests: in 2027.
pub const NOW: i64 = 1_800_000_000_000;
pub const DAY: i64 = 86_400_000;
pub const GRID: GridId = GridId::from_bytes([0x47; 16]);
pub const NODE: NodeId = NodeId::from_bytes([0x4e; 16]);

pub struct Member {
    pub key: NodeKey,
    pub der: Vec<u8>,
    pub grant: Grant,
}

impl Member {
    pub fn of(authority: &Authority) -> Self {
        let (key, grant) = (NodeKey::generate(), grant());
        let der = issue(authority, &key, &grant);
        Self { key, der, grant }
    }

    pub fn peer(&self) -> PeerKey {
        self.key.key()
    }
}

pub fn authority() -> Authority {
    Authority::create(GRID, NOW).expect("a grid can be founded")
}

pub fn grant() -> Grant {
    Grant {
        node: NODE,
        grid: GRID,
        role: Role::Nucleus,
        serial: random_serial(),
        not_before_ms: NOW - BACKDATE_MS,
        not_after_ms: NOW + MEMBER_LIFETIME_MS,
    }
}

pub fn request(key: &NodeKey) -> SigningRequest {
    let der = SigningRequest::create(key).expect("a key can ask");
    SigningRequest::parse(&der).expect("it was just made")
}

pub fn issue(authority: &Authority, key: &NodeKey, grant: &Grant) -> Vec<u8> {
    authority.issue(&request(key), grant).expect("the grant is in order")
}

pub fn der(authority: &Authority) -> Vec<u8> {
    authority.certificate().der().to_vec()
}

pub fn trust(authorities: &[&Authority]) -> Trust {
    trust_without(authorities, [])
}

pub fn trust_without<const N: usize>(authorities: &[&Authority], revoked: [Serial; N]) -> Trust {
    let anchors: Vec<_> = authorities.iter().map(|authority| der(authority)).collect();
    Trust::new(GRID, &anchors, revoked).expect("they are authorities of the grid")
}
