//! One function a target. Each takes any bytes and panics when something is wrong that no input may bring about.

#[cfg(feature = "node")]
pub mod node;

use crate::seed::{GRID, NOW, peer};
use orbit_core::endpoint::Endpoint;
use orbit_core::grid::ticket::{Presented, Seen};
use orbit_core::grid::{JoinToken, Ticket, TicketFault};
use orbit_core::ids::{GridId, TokenId};
use orbit_core::system::SystemError;
use orbit_core::wire::listing::{ListingPacker, Piece, unpack};
use orbit_core::wire::{self, control, join, link, pulse, system};
use orbit_core::{Metadata, RelPath};
use orbit_mesh::key::{NodeKey, key_of, peer_id_of};
use orbit_mesh::pki::{
    Authority, AuthorityCertificate, MemberCertificate, SigningRequest, Trust, verify_against_pin,
};
use ring::signature::Ed25519KeyPair;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::LazyLock;

/// A message that is read must be written and read again without loss.
fn message<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    if let Ok(message) = wire::decode::<T>(bytes) {
        let written = wire::encode(&message);
        let again: T = wire::decode(&written).expect("what was written can be read");
        assert_eq!(wire::encode(&again), written, "it says the same again");
    }
}

/// The join protocol: what a stranger may send.
pub fn join(bytes: &[u8]) {
    message::<join::JoinRequest>(bytes);
    message::<join::JoinReply>(bytes);
}

/// The control protocol.
pub fn control(bytes: &[u8]) {
    message::<control::ControlRequest>(bytes);
    message::<control::ControlReply>(bytes);
}

/// Heartbeats and their answers.
pub fn pulse(bytes: &[u8]) {
    message::<pulse::Pulse>(bytes);
    message::<pulse::PulseReply>(bytes);
}

/// How two stars agree on a direct link, and tickets.
pub fn link(bytes: &[u8]) {
    message::<link::LinkCall>(bytes);
    message::<link::LinkAnswer>(bytes);
    message::<link::SignedTicket>(bytes);
    message::<Ticket>(bytes);
    if let Ok(ticket) = wire::decode::<Ticket>(bytes) {
        let by = Presented {
            grid: ticket.grid,
            source: ticket.source,
            destination: ticket.destination,
            fence: ticket.fence,
            now_ms: NOW,
        };
        // Whether it is in time, that is.
        if ticket.judge(&by).is_ok() {
            let mut seen = Seen::default();
            assert_eq!(seen.admit(&ticket, NOW), Ok(Ok(())), "it counts");
            assert_eq!(seen.admit(&ticket, NOW), Ok(Err(TicketFault::Used)), "and once");
        }
    }
}

/// Calls of the system protocol and their replies.
pub fn system(bytes: &[u8]) {
    message::<system::Opening>(bytes);
    message::<system::Call>(bytes);
    message::<system::Reply>(bytes);
    if let Ok(system::Reply::Failed(error) | system::Reply::ScanFault { error, .. }) = wire::decode(bytes) {
        // A path that is none is refused; whatever else it says becomes an error that can be shown.
        if let Ok(error) = SystemError::try_from(error) {
            let _ = error.to_string();
            let _ = system::WireSystemError::from(&error);
        }
    }
}

/// Packed listings: what a scan sends.
pub fn listing(bytes: &[u8]) {
    let Ok(pieces) = unpack(bytes) else { return };
    for Piece { listing, .. } in &pieces {
        let names: Vec<&[u8]> = listing.entries().iter().map(|entry| listing.name(entry)).collect();
        assert!(names.is_sorted_by(|one, next| one < next), "in order, and each once");
        assert!(
            names.iter().all(|name| listing.path.join(name).is_ok()),
            "each is a name below the directory"
        );
        assert!(names.is_empty() || !listing.is_boundary);
    }
    let again: Vec<Piece> = packed(&pieces).iter().flat_map(|pack| unpack(pack).expect("ours")).collect();
    assert!(rows(&again).eq(rows(&pieces)), "it says the same again");
}

/// Packs anew. What was one pack may become several.
fn packed(pieces: &[Piece]) -> Vec<Vec<u8>> {
    let mut packer = ListingPacker::new();
    let mut packs = Vec::new();
    for piece in pieces {
        let mut from = 0;
        while let Some(next) = packer.push(&piece.listing, from) {
            packs.push(packer.finish());
            from = next;
        }
    }
    packs.push(packer.finish());
    packs
}

/// What pieces say, however the entries are spread over them.
fn rows(pieces: &[Piece]) -> impl Iterator<Item = (&RelPath, &[u8], &Metadata)> {
    pieces.iter().flat_map(|Piece { listing, .. }| {
        listing.entries().iter().map(|entry| (&listing.path, listing.name(entry), &entry.metadata))
    })
}

/// What a person pastes as a join token; and any bytes as the contents of one, which a checksum otherwise hides.
pub fn token(bytes: &[u8]) {
    if let Some((contents, _)) = bytes.split_first_chunk::<86>() {
        let token = JoinToken {
            grid: GridId::from_bytes(part(contents, 0)),
            pin: part(contents, 16),
            id: TokenId::from_bytes(part(contents, 48)),
            secret: part(contents, 54),
        };
        assert!(JoinToken::parse(&token.to_text()) == Ok(token), "it says the same again");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = JoinToken::parse(text) {
        let again = JoinToken::parse(&token.to_text()).expect("what was written can be read");
        assert!(again == token, "it says the same again");
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

/// What a person writes as an endpoint.
pub fn endpoint(bytes: &[u8]) {
    let Ok(endpoint) = Endpoint::parse(OsStr::from_bytes(bytes)) else { return };
    match endpoint {
        Endpoint::Local(path) => assert_eq!(path.as_os_str().as_bytes(), bytes),
        Endpoint::Remote { node, path } => {
            assert_eq!([node.as_bytes(), b":", &path].concat(), bytes);
            assert!(!node.is_empty() && !node.contains('/'));
        }
    }
}

/// The text of a key file.
pub fn key_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = NodeKey::from_pem(text) {
        assert_eq!(peer_id_of(&key.key()), Some(key.peer_id()));
        assert_eq!(key_of(&key.peer_id()), Some(key.key()));
    }
}

struct Grid {
    pair: Ed25519KeyPair,
    pin: [u8; 32],
    anchor: Vec<u8>,
    trust: Trust,
}

/// Another grid's key for each run. Nothing depends on which one it is, so what is found is found again.
static GRID_OF_RUN: LazyLock<Grid> = LazyLock::new(|| {
    let authority = Authority::create(GRID, NOW).expect("a grid can be founded");
    let anchor = authority.certificate().der().to_vec();
    let trust = Trust::new(GRID, std::slice::from_ref(&anchor), []).expect("it is its authority");
    Grid { pair: pair_of(&authority), pin: authority.certificate().pin(), anchor, trust }
});

fn pair_of(authority: &Authority) -> Ed25519KeyPair {
    let pem = authority.key_pem();
    let text = pem.lines().nth(1).expect("a key file has three lines");
    let der = crate::seed::base64(text);
    Ed25519KeyPair::from_seed_unchecked(&der[16..]).expect("the seed comes last")
}

/// Certificates and requests that nobody of the grid signed: every parser is met, and nothing is believed.
pub fn certificate(bytes: &[u8]) {
    let grid = &*GRID_OF_RUN;
    assert!(grid.trust.verify(bytes, &peer(), NOW).is_err());
    let anchors = [grid.anchor.clone(), bytes.to_vec()];
    assert!(verify_against_pin(&grid.pin, GRID, &anchors, bytes, &peer(), NOW).is_err());
    // Somebody's own authority of that grid id is good in itself, but nobody's word leads to it.
    if let Ok(trust) = grid.trust.follow(&anchors, [], NOW) {
        assert!(trust.pins().eq(grid.trust.pins()));
    }
    if let Ok(member) = MemberCertificate::parse(bytes) {
        assert!(AuthorityCertificate::parse(bytes).is_err(), "one or the other");
        assert!(peer_id_of(&member.key).is_some());
    }
    if let Ok(request) = SigningRequest::parse(bytes) {
        assert!(peer_id_of(&request.key()).is_some());
    }
}

/// The bytes as the body of a certificate that the grid's authority did sign: what lies behind the signature.
pub fn signed_certificate(bytes: &[u8]) {
    let grid = &*GRID_OF_RUN;
    let der = sign(bytes, &grid.pair);
    let verified = grid.trust.verify(&der, &peer(), NOW);
    let pinned = verify_against_pin(&grid.pin, GRID, std::slice::from_ref(&grid.anchor), &der, &peer(), NOW);
    assert_eq!(verified, pinned, "both ways lead to the same");
    if let Ok(member) = verified {
        assert_eq!((member.grid, member.key), (GRID, peer()));
        assert!(member.not_before_ms <= NOW && NOW <= member.not_after_ms);
        assert_eq!(MemberCertificate::parse(&der).ok(), Some(member));
        let mut altered = der.clone();
        let at = bytes.len() % altered.len();
        altered[at] ^= 1;
        assert!(grid.trust.verify(&altered, &peer(), NOW).is_err(), "byte {at} can be altered");
    }
    // As one that it cross-signed, it may lead on, but certifies nobody by itself.
    let anchors = [grid.anchor.clone(), der.clone()];
    assert_eq!(verify_against_pin(&grid.pin, GRID, &anchors, &der, &peer(), NOW), pinned);
    if let Ok(anchor) = AuthorityCertificate::parse(&der) {
        assert_eq!(anchor.der(), der);
        assert!(MemberCertificate::parse(&der).is_err(), "one or the other");
    }
}

/// A signed document around a body, as `pki` writes it.
fn sign(body: &[u8], pair: &Ed25519KeyPair) -> Vec<u8> {
    const TAIL: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];
    let content = [body, &TAIL, pair.sign(body).as_ref()].concat();
    let head = match content.len() {
        len @ 0..0x80 => vec![0x30, len as u8],
        len @ 0x80..0x100 => vec![0x30, 0x81, len as u8],
        len => vec![0x30, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content].concat()
}
