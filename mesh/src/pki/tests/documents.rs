//! Documents that are made and read again.

use super::fixture::{DAY, GRID, Member, NOW, authority, der, grant, issue, request, trust};
use crate::key::NodeKey;
use crate::pki::{
    AUTHORITY_LIFETIME_MS, Authority, BACKDATE_MS, Grant, MemberCertificate, PkiError, SigningRequest,
    random_serial,
};
use orbit_core::grid::Role;
use orbit_core::ids::{GridId, NodeId, Serial};
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, IsCa, SanType};

#[test]
fn an_authority_comes_back_from_its_parts() {
    let first = authority();
    assert_eq!(first.certificate().grid(), GRID);
    assert_eq!(first.certificate().not_before_ms(), NOW - BACKDATE_MS);
    assert_eq!(first.certificate().not_after_ms(), NOW + AUTHORITY_LIFETIME_MS);
    assert!(first.certificate().is_self_signed());
    let again = Authority::from_parts(&first.key_pem(), &der(&first)).expect("these are its parts");
    assert_eq!(again.certificate(), first.certificate());
    let member = Member::of(&again);
    trust(&[&first]).verify(&member.der, &member.peer(), NOW).expect("it is the same authority");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let (first, second) = (authority(), authority());
    let cross = second.cross_sign(first.certificate()).expect("the same grid");
    let from = |pem: &str, der: &[u8]| Authority::from_parts(pem, der).map(|_| ());
    assert!(matches!(from(&second.key_pem(), &der(&first)), Err(PkiError::OtherKey)));
    assert!(matches!(from("", &der(&first)), Err(PkiError::Key(_))));
    assert!(matches!(from(&first.key_pem(), &[]), Err(PkiError::Unreadable { .. })));
    assert!(matches!(from(&first.key_pem(), &cross), Err(PkiError::Unreadable { .. })));
}

#[test]
fn the_same_request_and_grant_give_the_same_certificate() {
    let authority = authority();
    let (key, grant) = (NodeKey::generate(), grant());
    assert_eq!(issue(&authority, &key, &grant), issue(&authority, &key, &grant));
    assert_eq!(request(&key).hash(), request(&key).hash());
    assert_ne!(request(&key).hash(), request(&NodeKey::generate()).hash());
    assert_eq!(request(&key).key(), key.key());
}

#[test]
fn nothing_but_the_key_is_taken_from_a_request() {
    let authority = authority();
    let key = NodeKey::generate();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, NodeId::from_bytes([1; 16]).to_string());
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let name = format!("orbit:{GRID}/{}/nucleus", NodeId::from_bytes([1; 16]));
    params.subject_alt_names = vec![SanType::URI(name.try_into().expect("ASCII"))];
    let greedy = params.serialize_request(key.secret()).expect("rcgen takes it");
    let greedy = SigningRequest::parse(greedy.der()).expect("its signature holds");
    let grant = Grant { role: Role::Star, ..grant() };
    assert_eq!(authority.issue(&greedy, &grant).expect("in order"), issue(&authority, &key, &grant));
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let (victim, thief) = (NodeKey::generate(), NodeKey::generate());
    let der = SigningRequest::create(&thief).expect("a key can ask");
    let at = der.windows(32).position(|bytes| bytes == thief.key().as_bytes()).expect("the key is in it");
    let mut forged = der.clone();
    forged[at..at + 32].copy_from_slice(victim.key().as_bytes());
    assert!(SigningRequest::parse(&der).is_ok());
    let error = SigningRequest::parse(&forged).expect_err("the thief signed it");
    assert_eq!(
        error.to_string(),
        "this is no certificate request of an orbit grid: it is not signed by its key"
    );
}

#[test]
fn a_member_ends_with_its_authority() {
    let authority = authority();
    let end = authority.certificate().not_after_ms();
    let grant = Grant { not_before_ms: end - DAY, not_after_ms: end + 80 * DAY, ..grant() };
    let certificate =
        MemberCertificate::parse(&issue(&authority, &NodeKey::generate(), &grant)).expect("ours");
    assert_eq!(certificate.not_after_ms, end);
}

#[test]
fn serial_numbers_are_positive_and_differ() {
    let serials: std::collections::HashSet<Serial> = (0..1000).map(|_| random_serial()).collect();
    assert_eq!(serials.len(), 1000);
    assert!(serials.iter().all(|serial| serial.as_bytes()[0] < 0x80));
}

#[test]
fn nothing_secret_is_printed() {
    let authority = authority();
    let secret = authority.key_pem().lines().nth(1).expect("three lines").to_owned();
    let printed = format!("{authority:?}{:?}", trust(&[&authority]));
    assert!(!printed.contains(&secret[22..]));
    assert!(printed.len() < 1500, "{printed}");
}

#[test]
fn documents_are_small() {
    let authority = authority();
    let member = Member::of(&authority);
    let request = SigningRequest::create(&member.key).expect("a key can ask");
    assert!(der(&authority).len() < 512, "{}", der(&authority).len());
    assert!(member.der.len() < 600, "{}", member.der.len());
    assert!(request.len() < 200, "{}", request.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_granted_is_what_the_certificate_says(
        grid: [u8; 16], node: [u8; 16], mut serial: [u8; 16], which in 0_usize..3,
        begin_s in 0_i64..200_000_000_000, lifetime_s in 1_i64..100_000_000,
    ) {
        serial[0] &= 0x7f;
        serial[15] |= 1;
        let grant = Grant {
            grid: GridId::from_bytes(grid),
            node: NodeId::from_bytes(node),
            serial: Serial::from_bytes(serial),
            role: [Role::Star, Role::Witness, Role::Nucleus][which],
            not_before_ms: begin_s * 1000,
            not_after_ms: (begin_s + lifetime_s) * 1000,
        };
        let authority = Authority::create(grant.grid, grant.not_before_ms + 2 * BACKDATE_MS).expect("in order");
        let key = NodeKey::generate();
        let certificate = MemberCertificate::parse(&issue(&authority, &key, &grant)).expect("ours");
        prop_assert_eq!(certificate.grid, grant.grid);
        prop_assert_eq!(certificate.node, grant.node);
        prop_assert_eq!(certificate.serial, grant.serial);
        prop_assert_eq!(certificate.role, grant.role);
        prop_assert_eq!(certificate.key, key.key());
        prop_assert_eq!(certificate.not_before_ms, grant.not_before_ms);
        prop_assert_eq!(certificate.not_after_ms, grant.not_after_ms.min(authority.certificate().not_after_ms()));
    }
}
