//! Certificates that must not be believed, each with the fault that is told.

use super::fixture::{
    DAY, GRID, Member, NODE, NOW, authority, der, grant, issue, request, trust, trust_without,
};
use crate::key::{NodeKey, Secret};
use crate::pki::authority::{PublicKey, member_params};
use crate::pki::{Authority, DER_BYTES_MAX, Grant, MEMBER_LIFETIME_MS, verify_against_pin};
use orbit_core::grid::refusal::CertificateFault::{
    self, Expired, NotYet, OtherKey, Revoked, Unreadable, Untrusted,
};
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};

/// A certificate as the authority would make it, but for a change. The signature is genuine.
fn signed(authority: &Authority, key: &PeerKey, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = member_params(&grant()).expect("the grant is in order");
    change(&mut params);
    authority.sign(&params, &PublicKey(*key), "forgery").expect("rcgen takes it")
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

#[test]
fn the_true_one_is_believed() {
    let authority = authority();
    let member = Member::of(&authority);
    let verified = trust(&[&authority]).verify(&member.der, &member.peer(), NOW).expect("it is true");
    assert_eq!(verified.node, NODE);
    assert_eq!(verified.grid, GRID);
    assert_eq!(verified.key, member.peer());
    assert_eq!(verified.role, member.grant.role);
    assert_eq!(verified.serial, member.grant.serial);
    let same = verify_against_pin(
        &authority.certificate().pin(),
        GRID,
        &[der(&authority)],
        &member.der,
        &member.peer(),
        NOW,
    );
    assert_eq!(same, Ok(verified));
    // The helper of the table below changes nothing by itself.
    let peer = member.peer();
    trust(&[&authority]).verify(&signed(&authority, &peer, |_| {}), &peer, NOW).expect("nothing was changed");
}

#[test]
fn whoever_is_not_an_authority_of_the_grid_certifies_nobody() {
    let authority = authority();
    let trust = trust(&[&authority]);
    let member = Member::of(&authority);
    let key = NodeKey::generate();
    let by_secret = |secret: &Secret| {
        let params = member_params(&grant()).expect("the grant is in order");
        let issuer = rcgen::Issuer::from_params(&params, secret);
        params.signed_by(key.secret(), &issuer).expect("rcgen takes it").der().to_vec()
    };
    let namesake = super::fixture::authority();
    let elsewhere = Authority::create(GridId::from_bytes([1; 16]), NOW).expect("another grid");
    let cross = authority.cross_sign(namesake.certificate()).expect("the same grid");
    let cases = [
        ("an authority of the same name", issue(&namesake, &key, &grant()), Untrusted),
        ("one that was cross-signed, but is not trusted", issue(&namesake, &key, &grant()), Untrusted),
        (
            "an authority of another grid",
            issue(&elsewhere, &key, &Grant { grid: elsewhere.certificate().grid(), ..grant() }),
            Untrusted,
        ),
        ("itself", by_secret(key.secret()), Untrusted),
        ("another member", by_secret(member.key.secret()), Untrusted),
        ("the authority, as a member", der(&authority), Unreadable),
        ("a cross-signed authority, as a member", cross, Unreadable),
    ];
    for (by, certificate, fault) in cases {
        assert_eq!(trust.verify(&certificate, &key.key(), NOW), Err(fault), "by {by}");
        let own = *authority.certificate().key();
        assert_eq!(trust.verify(&certificate, &own, NOW), Err(fault), "by {by}, for the authority's key");
    }
}

#[test]
fn another_key_another_grid_and_a_revoked_serial_are_refused() {
    let authority = authority();
    let member = Member::of(&authority);
    let other = NodeKey::generate().key();
    assert_eq!(trust(&[&authority]).verify(&member.der, &other, NOW), Err(OtherKey));
    let foreign = signed(&authority, &member.peer(), |params| {
        params.subject_alt_names = vec![uri(&format!("orbit:{}/{NODE}/star", GridId::from_bytes([1; 16])))];
    });
    assert_eq!(trust(&[&authority]).verify(&foreign, &member.peer(), NOW), Err(Untrusted));
    let trust = trust_without(&[&authority], [member.grant.serial]);
    assert!(trust.is_revoked(&member.grant.serial));
    assert_eq!(trust.verify(&member.der, &member.peer(), NOW), Err(Revoked));
    let late = NOW + 2 * MEMBER_LIFETIME_MS;
    assert_eq!(trust.verify(&member.der, &member.peer(), late), Err(Revoked), "expired as well");
    assert_eq!(trust.verify(&member.der, &other, NOW), Err(OtherKey));
}

#[test]
fn a_certificate_has_its_time_and_its_authority_has_one_too() {
    let authority = authority();
    let member = Member::of(&authority);
    let trust = trust(&[&authority]);
    let at = |now_ms| trust.verify(&member.der, &member.peer(), now_ms).map(|_| ());
    let (begin, end) = (member.grant.not_before_ms, member.grant.not_after_ms);
    assert_eq!(at(begin), Ok(()));
    assert_eq!(at(end), Ok(()));
    // The authority began at the same moment; the fault is the same whichever is told.
    assert_eq!(at(begin - 1), Err(NotYet { in_ms: 1 }));
    assert_eq!(at(end + 1), Err(Expired { ago_ms: 1 }));
    assert_eq!(at(end + 3 * DAY), Err(Expired { ago_ms: 3 * DAY }));
    assert_eq!(at(i64::MIN), Err(NotYet { in_ms: i64::MAX }));
    assert!(matches!(at(i64::MAX), Err(Expired { .. })));
    // A certificate that was made to outlive its authority does not.
    let end = authority.certificate().not_after_ms();
    let long = signed(&authority, &member.peer(), |params| {
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
    });
    let at = |now_ms| trust.verify(&long, &member.peer(), now_ms).map(|_| ());
    assert_eq!(at(end), Ok(()));
    assert_eq!(at(end + 1000), Err(Expired { ago_ms: 1000 }));
}

type Change = Box<dyn FnOnce(&mut CertificateParams)>;

fn change(change: impl FnOnce(&mut CertificateParams) + 'static) -> Change {
    Box::new(change)
}

fn named(name: &str) -> Change {
    let name = name.to_owned();
    change(move |params| params.subject_alt_names = vec![uri(&name)])
}

#[test]
fn a_genuine_signature_does_not_help_a_certificate_that_is_not_a_members() {
    let authority = authority();
    let peer = NodeKey::generate().key();
    let trust = trust(&[&authority]);
    let shouting = format!("orbit:{GRID}/{NODE}/star").to_uppercase();
    let cases: Vec<(&str, Change)> = vec![
        ("it may issue", change(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
        ("it may issue to nobody below", change(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
        ("it does not say that it may not issue", change(|p| p.is_ca = IsCa::NoCa)),
        ("key usage: certificates", change(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign))),
        ("key usage: none", change(|p| p.key_usages.clear())),
        ("for clients only", change(|p| p.extended_key_usages.truncate(1))),
        ("for no end", change(|p| p.extended_key_usages.clear())),
        ("for any use", change(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Any))),
        (
            "for some other use",
            change(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::Other(vec![1, 2, 3]))),
        ),
        ("no alternative name", change(|p| p.subject_alt_names.clear())),
        ("two alternative names", change(|p| p.subject_alt_names.push(uri("orbit:x")))),
        (
            "a DNS name",
            change(|p| p.subject_alt_names = vec![SanType::DnsName("nas1".try_into().expect("ASCII"))]),
        ),
        ("the authority's name", named(&format!("orbit:{GRID}"))),
        ("no role", named(&format!("orbit:{GRID}/{NODE}"))),
        ("an unknown role", named(&format!("orbit:{GRID}/{NODE}/emperor"))),
        ("another spelling of the role", named(&format!("orbit:{GRID}/{NODE}/Star"))),
        ("one part more", named(&format!("orbit:{GRID}/{NODE}/star/nucleus"))),
        ("a slash at the end", named(&format!("orbit:{GRID}/{NODE}/star/"))),
        ("upper case", named(&shouting)),
        ("upper-case ids", named(&format!("orbit:{}/{NODE}/star", GRID.to_string().replace('4', "A")))),
        ("ids without hyphens", named(&format!("orbit:{}/{NODE}/star", "47".repeat(16)))),
        ("another scheme", named(&format!("spiffe:{GRID}/{NODE}/star"))),
        (
            "another node as subject",
            change(|p| {
                p.distinguished_name.push(DnType::CommonName, NodeId::from_bytes([1; 16]).to_string());
            }),
        ),
        ("more than a subject", change(|p| p.distinguished_name.push(DnType::OrganizationName, "Orbit"))),
        ("no subject", change(|p| p.distinguished_name = rcgen::DistinguishedName::new())),
        (
            "an unknown critical extension",
            change(|p| {
                let mut extension =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions.push(extension);
            }),
        ),
        (
            "a known critical extension that restricts",
            change(|p| {
                let nowhere = GeneralSubtree::IpAddress(CidrSubnet::V4([10, 0, 0, 0], [255, 0, 0, 0]));
                p.name_constraints =
                    Some(NameConstraints { permitted_subtrees: vec![nowhere], excluded_subtrees: vec![] });
            }),
        ),
        (
            "a damaged extension",
            change(|p| {
                p.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 36], vec![4, 1]));
            }),
        ),
        (
            "an extension twice",
            change(|p| {
                p.custom_extensions
                    .push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 7, 0x80]));
            }),
        ),
        ("a long serial number", change(|p| p.serial_number = Some(vec![0x7f; 17].into()))),
        ("a serial number with the top bit set", change(|p| p.serial_number = Some(vec![0x80; 16].into()))),
        ("serial number zero", change(|p| p.serial_number = Some(vec![0].into()))),
        (
            "more than 8 KiB",
            change(|p| {
                let long = [[4, 0x82, 0x20, 0].as_slice(), &[0; 0x2000]].concat();
                p.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3], long));
            }),
        ),
    ];
    for (what, change) in cases {
        let certificate = signed(&authority, &peer, change);
        assert_eq!(trust.verify(&certificate, &peer, NOW), Err(Unreadable), "{what}");
        let pin = authority.certificate().pin();
        let pinned = verify_against_pin(&pin, GRID, &[der(&authority)], &certificate, &peer, NOW);
        assert_eq!(pinned, Err(Unreadable), "{what}");
    }
    // What adds and does not restrict is left alone, so that a later version may say more.
    let more = signed(&authority, &peer, |params| {
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]));
    });
    trust.verify(&more, &peer, NOW).expect("it is not critical");
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let authority = authority();
    let key = rcgen::KeyPair::generate().expect("a P-256 key");
    let params = member_params(&grant()).expect("the grant is in order");
    let certificate = authority.sign(&params, &key, "forgery").expect("rcgen takes it");
    let peer = NodeKey::generate().key();
    assert_eq!(trust(&[&authority]).verify(&certificate, &peer, NOW), Err(Unreadable));
}

#[test]
fn what_is_no_single_certificate_is_refused() {
    let authority = authority();
    let trust = trust(&[&authority]);
    let member = Member::of(&authority);
    let der = &member.der;
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n", data_encoding::BASE64.encode(der));
    let with = |head: &[u8], tail: &[u8]| [head, tail].concat();
    assert_eq!(der[..2], [0x30, 0x82], "between 256 bytes and 64 KiB");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("one byte", vec![0x30]),
        ("a byte more", with(der, &[0])),
        ("a byte less", der[..der.len() - 1].to_vec()),
        ("a byte before", with(&[0], der)),
        ("two", with(der, der)),
        ("text", pem.into_bytes()),
        ("8 KiB and one byte", with(der, &vec![0; DER_BYTES_MAX + 1 - der.len()])),
        ("much", vec![0x30; 1 << 20]),
        ("a longer form of its length", with(&[0x30, 0x83, 0, der[2], der[3]], &der[4..])),
        ("no length", [&[0x30, 0x80], &der[4..], &[0, 0]].concat()),
        ("a set", with(&[0x31], &der[1..])),
        ("a request", crate::pki::SigningRequest::create(&member.key).expect("a key can ask")),
    ];
    for (what, bytes) in cases {
        let fault = trust.verify(&bytes, &member.peer(), NOW);
        let expected = if what == "a request" { Untrusted } else { Unreadable };
        assert_eq!(fault, Err(expected), "{what}");
    }
}

#[test]
fn keys_under_which_anybody_can_sign_are_refused() {
    use crate::pki::shape::{is_weak, key_info, key_of_info};
    let authority = authority();
    let points: &[(&str, bool)] = &[
        ("0000000000000000000000000000000000000000000000000000000000000000", true),
        ("0100000000000000000000000000000000000000000000000000000000000000", true),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", true),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", true),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true),
        ("5866666666666666666666666666666666666666666666666666666666666666", false),
    ];
    // The signature that needs no secret: R of small order, S zero. It holds for one message in eight or more.
    let forgeries = points.iter().filter(|(_, weak)| *weak).flat_map(|(hex, _)| {
        let point: PeerKey = hex.parse().expect("hexadecimal");
        let mut other = *point.as_bytes();
        other[31] |= 0x80;
        [*point.as_bytes(), other]
    });
    let forgeries: Vec<[u8; 64]> = forgeries
        .map(|point| {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&point);
            signature
        })
        .collect();
    for (hex, weak) in points {
        let key: PeerKey = hex.parse().expect("hexadecimal");
        assert_eq!(is_weak(&key), *weak, "{hex}");
        let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.as_bytes());
        let anybody_signs = (0_u8..64)
            .any(|message| forgeries.iter().any(|forgery| public.verify(&[message], forgery).is_ok()));
        // ring refuses the last two, which are not in their shortest form, or takes them; both are fine here.
        assert!(anybody_signs == *weak || hex.starts_with('e'), "{hex}: {anybody_signs}");
        if *weak {
            assert_eq!(key_of_info(&key_info(&key)), None, "{hex}");
            let certificate = signed(&authority, &key, |_| {});
            let fault = trust(&[&authority]).verify(&certificate, &key, NOW);
            assert_eq!(fault, Err(Unreadable), "{hex}");
        }
    }
}

#[test]
fn trust_needs_authorities_of_its_own_grid() {
    use crate::pki::{PkiError, Trust};
    let (first, second) = (authority(), authority());
    let cross = first.cross_sign(second.certificate()).expect("the same grid");
    let elsewhere = Authority::create(GridId::from_bytes([1; 16]), NOW).expect("another grid");
    let new =
        |anchors: &[Vec<u8>]| Trust::new(GRID, anchors, []).map(|trust| trust.pins().collect::<Vec<_>>());
    assert!(matches!(new(&[]), Err(PkiError::AnchorCount { count: 0 })));
    assert!(matches!(new(&vec![der(&first); 9]), Err(PkiError::AnchorCount { count: 9 })));
    assert!(matches!(new(&[der(&first), der(&elsewhere)]), Err(PkiError::OtherGrid { .. })));
    assert!(matches!(new(&[Member::of(&first).der]), Err(PkiError::Unreadable { .. })));
    assert!(matches!(new(&[vec![]]), Err(PkiError::Unreadable { .. })));
    // A cross-signed one comes along and counts for nothing.
    assert!(matches!(new(std::slice::from_ref(&cross)), Err(PkiError::AnchorCount { count: 0 })));
    let pins = |authorities: &[&Authority]| authorities.iter().map(|one| one.certificate().pin()).collect();
    assert_eq!(new(&[der(&first), cross]).ok(), Some(pins(&[&first])));
    assert_eq!(new(&[der(&first), der(&second)]).ok(), Some(pins(&[&first, &second])));
}

#[test]
fn an_authority_refuses_grants_it_cannot_keep() {
    use crate::pki::PkiError;
    let authority = authority();
    let request = request(&NodeKey::generate());
    let issue = |grant: Grant| authority.issue(&request, &grant).map(|_| ());
    let of_other_grid = Grant { grid: GridId::from_bytes([1; 16]), ..grant() };
    assert!(matches!(issue(of_other_grid), Err(PkiError::OtherGrid { .. })));
    let bad = [
        Grant { serial: Serial::from_bytes([0x80; 16]), ..grant() },
        Grant { serial: Serial::from_bytes([0; 16]), ..grant() },
        Grant { not_before_ms: -1, ..grant() },
        Grant { not_before_ms: i64::MIN, ..grant() },
        Grant { not_before_ms: NOW, not_after_ms: NOW, ..grant() },
        Grant { not_before_ms: i64::MAX, not_after_ms: i64::MAX, ..grant() },
    ];
    for grant in bad {
        assert!(matches!(issue(grant), Err(PkiError::BadGrant { .. })), "{grant:?}");
    }
    assert!(issue(Grant { not_after_ms: i64::MAX, ..grant() }).is_ok());
    assert!(Authority::create(GRID, i64::MAX).is_err());
    assert!(Authority::create(GRID, i64::MIN).is_err());
}

#[test]
fn every_fault_reads_as_a_sentence() {
    let faults =
        [Unreadable, Untrusted, OtherKey, Revoked, Expired { ago_ms: 3 * DAY }, NotYet { in_ms: 90_000 }];
    let texts: Vec<String> = faults.iter().map(CertificateFault::to_string).collect();
    assert_eq!(texts[4], "it expired 3 d ago");
    assert_eq!(texts[5], "it is not valid for another 90 s: a clock is off");
}
