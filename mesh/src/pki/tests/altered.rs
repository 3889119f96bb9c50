//! Documents with a bit changed, cut off, or made of noise.

use super::fixture::{GRID, Member, NOW, authority, der, trust};
use crate::pki::shape::Name;
use crate::pki::{
    Authority, AuthorityCertificate, MemberCertificate, SigningRequest, Trust, verify_against_pin,
};
use orbit_core::grid::Role;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::{GridId, NodeId, PeerKey};
use proptest::prelude::*;

fn flipped(der: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..der.len() * 8).map(|bit| {
        let mut altered = der.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        altered
    })
}

#[test]
fn a_certificate_cut_off_anywhere_cannot_be_read() {
    let authority = authority();
    let member = Member::of(&authority);
    let trust = trust(&[&authority]);
    for len in 0..member.der.len() {
        let fault = trust.verify(&member.der[..len], &member.peer(), NOW);
        assert_eq!(fault, Err(CertificateFault::Unreadable), "{len} bytes");
        assert!(MemberCertificate::parse(&member.der[..len]).is_err(), "{len} bytes");
    }
    let request = SigningRequest::create(&member.key).expect("a key can ask");
    for len in 0..request.len() {
        assert!(SigningRequest::parse(&request[..len]).is_err(), "{len} bytes");
    }
    let anchor = der(&authority);
    for len in 0..anchor.len() {
        assert!(AuthorityCertificate::parse(&anchor[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn one_bit_changed_anywhere_is_noticed() {
    let authority = authority();
    let member = Member::of(&authority);
    let trust = trust(&[&authority]);
    for (bit, altered) in flipped(&member.der).enumerate() {
        let fault = trust.verify(&altered, &member.peer(), NOW).expect_err("a bit was changed");
        assert!(
            matches!(fault, CertificateFault::Unreadable | CertificateFault::Untrusted),
            "bit {bit}: {fault:?}"
        );
    }
}

#[test]
fn one_bit_changed_in_a_request_is_noticed() {
    let key = crate::key::NodeKey::generate();
    let request = SigningRequest::create(&key).expect("a key can ask");
    for (bit, altered) in flipped(&request).enumerate() {
        assert!(SigningRequest::parse(&altered).is_err(), "bit {bit}");
    }
}

#[test]
fn one_bit_changed_in_what_leads_to_a_pin_is_noticed() {
    let (old, new) = (authority(), authority());
    let cross = old.cross_sign(new.certificate()).expect("the same grid");
    let member = Member::of(&new);
    let pin = old.certificate().pin();
    let verify = |anchors: [Vec<u8>; 2]| {
        verify_against_pin(&pin, GRID, &anchors, &member.der, &member.peer(), NOW).map(|member| member.key)
    };
    assert_eq!(verify([der(&old), cross.clone()]), Ok(member.peer()));
    // Nor is anything told that only the altered bytes say, for example a time.
    for (bit, altered) in flipped(&der(&old)).enumerate() {
        assert_eq!(verify([altered, cross.clone()]), Err(CertificateFault::Untrusted), "bit {bit}");
    }
    for (bit, altered) in flipped(&cross).enumerate() {
        assert_eq!(verify([der(&old), altered]), Err(CertificateFault::Untrusted), "bit {bit}");
    }
}

#[test]
fn one_bit_changed_in_an_anchor_is_not_trusted() {
    let authority = authority();
    for (bit, altered) in flipped(&der(&authority)).enumerate() {
        assert!(Trust::new(GRID, std::slice::from_ref(&altered), []).is_err(), "bit {bit}");
        assert!(Authority::from_parts(&authority.key_pem(), &altered).is_err(), "bit {bit}");
    }
}

/// All that reads, given the same bytes.
fn read_all(trust: &Trust, bytes: &[u8]) {
    let peer = PeerKey::from_bytes([9; 32]);
    let pin = trust.pins().next().expect("it has an anchor");
    assert!(trust.verify(bytes, &peer, NOW).is_err());
    assert!(verify_against_pin(&pin, GRID, &[bytes.to_vec()], bytes, &peer, NOW).is_err());
    let _ = MemberCertificate::parse(bytes);
    let _ = AuthorityCertificate::parse(bytes);
    let _ = SigningRequest::parse(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
        read_all(&trust(&[&authority()]), &bytes);
    }

    /// Pieces of true documents, put together anew: deeper into the parsers than noise gets.
    #[test]
    fn patchwork_is_refused(
        cuts in prop::collection::vec((0_usize..3, 0_usize..700, 0_usize..300), 1..6),
        noise in prop::collection::vec((0_usize..900, any::<u8>()), 0..8),
    ) {
        let authority = authority();
        let member = Member::of(&authority);
        let request = SigningRequest::create(&member.key).expect("a key can ask");
        let documents = [member.der, der(&authority), request];
        let mut bytes: Vec<u8> = documents[cuts[0].0].clone();
        for (which, at, len) in &cuts[1..] {
            let document = &documents[*which];
            let piece = document.iter().skip(*at).take(*len).copied();
            let at = (*at).min(bytes.len());
            bytes.splice(at..(at + len).min(bytes.len()), piece);
        }
        for (at, byte) in noise {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        read_all(&trust(&[&authority]), &bytes);
    }

    #[test]
    fn names_come_back(grid: [u8; 16], node: [u8; 16], which in 0_usize..3) {
        let role = [Role::Star, Role::Witness, Role::Nucleus][which];
        for name in [
            Name::Authority(GridId::from_bytes(grid)),
            Name::Member(GridId::from_bytes(grid), NodeId::from_bytes(node), role),
        ] {
            prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn any_text_is_a_name_or_refused(text in "(orbit:)?[0-9a-f/-]{0,90}(star|\\PC{0,9})") {
        if let Some(name) = Name::parse(&text) {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
