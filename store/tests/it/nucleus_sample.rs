//! A grid to store.

use orbit_core::ContentHash;
use orbit_core::grid::{
    Anchor, CertificateRecord, Change, Constellation, Content, GridHeader, Metered, NodeRecord, Outcome,
    Profile, Refusal, Role, TokenRecord, Voting,
};
use orbit_core::ids::{GridId, NodeId, PeerKey, RequestId, Serial, TokenId};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::pulse::Metering;
use orbit_store::{LogPosition, Mark};

pub fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

pub fn node(number: u8) -> NodeRecord {
    NodeRecord {
        id: id(number),
        name: format!("node{number}"),
        key: PeerKey::from_bytes([number; 32]),
        role: Role::Star,
        joined_ms: 5,
        voting: Voting::Auto,
        is_draining: false,
        certificate: CertificateRecord {
            serial: Serial::from_bytes([number; 16]),
            request_hash: [number; 32],
            authority: [8; 32],
            der: vec![1, 2, 3],
            not_before_ms: 1,
            not_after_ms: 2,
        },
        profile: Profile { allowed_paths: vec!["/data".into()], ..Profile::default() },
    }
}

pub fn everything() -> Vec<Change> {
    vec![
        Change::Header(GridHeader {
            id: GridId::from_bytes([1; 16]),
            name: "home".into(),
            epoch: 1,
            created_ms: 3,
        }),
        Change::Anchors(vec![Anchor {
            der: vec![7; 400],
            cross_signed: Vec::new(),
            created_ms: 3,
            is_current: true,
        }]),
        Change::Node(node(1)),
        Change::Node(node(2)),
        Change::Token(TokenRecord {
            id: TokenId::from_bytes([4; 6]),
            secret_hash: [5; 32],
            authority: [8; 32],
            role: Role::Witness,
            uses: 3,
            used_by: vec![[6; 32]],
            created_ms: 1,
            expires_ms: 2,
            created_on: id(1),
        }),
        Change::Constellation(Constellation { name: "attic".into(), nodes: [id(1), id(2)].into() }),
        Change::Revoked {
            serial: Serial::from_bytes([9; 16]),
            key: PeerKey::from_bytes([9; 32]),
            until_ms: 8,
        },
    ]
}

pub fn mark(index: u64) -> Mark {
    let position = Some(LogPosition { term: 3, index });
    Mark { position, membership: index.to_le_bytes().to_vec() }
}

pub fn content(number: u64) -> Content {
    let mut root = [0x77; 32];
    root[..8].copy_from_slice(&number.to_be_bytes());
    Content { root: ContentHash::from_bytes(root), bytes: u64::MAX - number, chunks: number as u32 }
}

pub fn contents(holder: u8, numbers: std::ops::Range<u64>) -> Change {
    Change::Contents { holder: id(holder), contents: numbers.map(content).collect() }
}

pub fn metered(number: u8, calls: u64) -> Metered {
    Metered {
        node: id(number),
        total: Metering { calls: calls + 100, ..Metering::default() },
        counted: Metering { since_ms: 77, calls, bytes_sent: u64::MAX, ..Metering::default() },
    }
}

pub fn key(number: u8) -> Change {
    Change::AuthorityKey { pin: [number; 32], sealed: Octets(vec![number; 99]) }
}

pub fn request(number: u8) -> RequestId {
    RequestId::from_bytes([number; 16])
}

/// Answered well, or refused.
pub fn outcome(number: u8) -> Outcome {
    if number.is_multiple_of(2) {
        Ok(vec![Change::Node(node(number)), Change::NodeRemoved(id(number))])
    } else {
        Err(Refusal::NotFounded)
    }
}
