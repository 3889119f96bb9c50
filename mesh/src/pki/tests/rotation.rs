//! Authorities that follow each other, and what a pin of an older one still proves.

use super::fixture::{DAY, GRID, Member, NOW, authority, der, grant, issue, trust, trust_without};
use crate::key::NodeKey;
use crate::pki::authority::{PublicKey, authority_params};
use crate::pki::{Authority, MEMBER_LIFETIME_MS, PkiError, Trust, verify_against_pin};
use orbit_core::grid::refusal::CertificateFault::{self, Expired, NotYet, OtherKey, Unreadable, Untrusted};
use orbit_core::ids::GridId;

fn pinned(to: &Authority, anchors: &[Vec<u8>], member: &Member, now_ms: i64) -> Result<(), CertificateFault> {
    verify_against_pin(&to.certificate().pin(), GRID, anchors, &member.der, &member.peer(), now_ms)
        .map(|_| ())
}

fn cross(by: &Authority, other: &Authority) -> Vec<u8> {
    by.cross_sign(other.certificate()).expect("the same grid")
}

#[test]
fn an_authority_is_replaced_and_nobody_is_shut_out() {
    let (old, new) = (authority(), authority());
    let (early, late) = (Member::of(&old), Member::of(&new));
    // Before: one authority, and tokens that pin it.
    assert_eq!(pinned(&old, &[der(&old)], &early, NOW), Ok(()));
    // Both are trusted. Members of either kind are members; tokens of either kind lead to members of either kind of
    // which the nucleus, which has a new certificate, is the one that counts.
    let both = trust(&[&old, &new]);
    assert!(both.verify(&early.der, &early.peer(), NOW).is_ok());
    assert!(both.verify(&late.der, &late.peer(), NOW).is_ok());
    assert_eq!(both.pins().collect::<Vec<_>>(), [old.certificate().pin(), new.certificate().pin()]);
    let anchors = [der(&old), der(&new), cross(&old, &new)];
    assert_eq!(pinned(&old, &anchors, &late, NOW), Ok(()));
    assert_eq!(pinned(&new, &anchors, &late, NOW), Ok(()));
    assert_eq!(pinned(&old, &anchors, &early, NOW), Ok(()));
    // The new one does not vouch for the old one: nobody certified in that direction.
    assert_eq!(pinned(&new, &anchors, &early, NOW), Err(Untrusted));
    // The old one is dropped: its members had to renew before, and its tokens are over.
    let after = trust(&[&new]);
    assert_eq!(after.verify(&early.der, &early.peer(), NOW), Err(Untrusted));
    assert!(after.verify(&late.der, &late.peer(), NOW).is_ok());
    assert_eq!(pinned(&old, &[der(&new)], &late, NOW), Err(Untrusted));
    // The order in which they are shown does not matter.
    let mut turned = anchors;
    for _ in 0..3 {
        turned.rotate_left(1);
        assert_eq!(pinned(&old, &turned, &late, NOW), Ok(()));
    }
}

#[test]
fn a_pin_needs_its_authority_and_the_way_from_it() {
    let (old, new) = (authority(), authority());
    let member = Member::of(&new);
    assert_eq!(pinned(&old, &[], &member, NOW), Err(Untrusted));
    assert_eq!(pinned(&old, &[der(&old), der(&new)], &member, NOW), Err(Untrusted));
    assert_eq!(pinned(&old, &[der(&new), cross(&old, &new)], &member, NOW), Err(Untrusted));
    // Cross-signed the other way round, it is no authority's word for the new one.
    assert_eq!(pinned(&old, &[der(&old), der(&new), cross(&new, &old)], &member, NOW), Err(Untrusted));
    // The pinned key certified by another: its own certificate is missing.
    assert_eq!(pinned(&new, &[der(&old), cross(&old, &new)], &member, NOW), Err(Untrusted));
    // More than a peer may show.
    assert_eq!(pinned(&new, &vec![der(&new); 9], &member, NOW), Err(Unreadable));
    assert_eq!(pinned(&new, &vec![der(&new); 8], &member, NOW), Ok(()));
    // What cannot be read is passed over, whatever it is.
    assert_eq!(pinned(&new, &[vec![], vec![0; 9000], member.der.clone(), der(&new)], &member, NOW), Ok(()));
}

#[test]
fn a_chain_has_at_most_four_certificates() {
    let line: Vec<Authority> = (0..5).map(|_| authority()).collect();
    let mut anchors = vec![der(&line[0])];
    anchors.extend(line.windows(2).map(|pair| cross(&pair[0], &pair[1])));
    // From last to first, so that one pass over the list is not enough.
    anchors.reverse();
    for (steps, last) in line.iter().enumerate() {
        let expected = if steps <= 3 { Ok(()) } else { Err(Untrusted) };
        assert_eq!(pinned(&line[0], &anchors, &Member::of(last), NOW), expected, "{steps} steps");
    }
}

#[test]
fn authorities_in_a_circle_lead_nowhere() {
    let ring: Vec<Authority> = (0..3).map(|_| authority()).collect();
    let anchors: Vec<Vec<u8>> =
        (0..3).map(|at| cross(&ring[at], &ring[(at + 1) % 3])).chain(ring.iter().map(der)).collect();
    let stranger = Member::of(&authority());
    for first in &ring {
        assert_eq!(pinned(first, &anchors, &stranger, NOW), Err(Untrusted));
        assert_eq!(pinned(first, &anchors, &Member::of(&ring[2]), NOW), Ok(()));
    }
}

#[test]
fn every_link_has_its_time() {
    let old = authority();
    let new = Authority::create(GRID, NOW + 100 * DAY).expect("in order");
    let anchors = [der(&old), der(&new), cross(&old, &new)];
    let end_of_old = old.certificate().not_after_ms();
    let begin_of_new = new.certificate().not_before_ms();
    let late = crate::pki::Grant { not_after_ms: end_of_old + 300 * DAY, ..grant() };
    let key = NodeKey::generate();
    let member = Member { der: issue(&new, &key, &late), key, grant: late };
    assert_eq!(pinned(&old, &anchors, &member, begin_of_new), Ok(()));
    assert_eq!(pinned(&old, &anchors, &member, begin_of_new - 5), Err(NotYet { in_ms: 5 }));
    assert_eq!(pinned(&old, &anchors, &member, end_of_old), Ok(()));
    assert_eq!(pinned(&old, &anchors, &member, end_of_old + 7), Err(Expired { ago_ms: 7 }));
    assert_eq!(pinned(&new, &anchors, &member, end_of_old + 7), Ok(()));
    // A second way, of which the first part is over, does no harm, wherever it stands.
    let brief = authority_params(GRID, NOW - DAY, NOW + DAY).expect("in order");
    let brief = old.sign(&brief, &PublicKey(*new.certificate().key()), "brief").expect("rcgen takes it");
    let later = NOW + 101 * DAY;
    assert_eq!(pinned(&old, &[der(&old), brief.clone()], &member, later), Err(Expired { ago_ms: 100 * DAY }));
    assert_eq!(pinned(&old, &[der(&old), brief.clone(), cross(&old, &new)], &member, later), Ok(()));
    assert_eq!(pinned(&old, &[der(&old), cross(&old, &new), brief.clone()], &member, later), Ok(()));
    let third = authority();
    let ways = [der(&old), brief.clone(), cross(&old, &new), cross(&new, &third)];
    let key = NodeKey::generate();
    let far = Member { der: issue(&third, &key, &late), key, grant: late };
    assert_eq!(pinned(&old, &ways, &far, later), Ok(()));
    // Whose key it is comes before whether it is in time.
    let other = NodeKey::generate().key();
    let pin = old.certificate().pin();
    let fault = verify_against_pin(&pin, GRID, &[der(&old), brief], &member.der, &other, later);
    assert_eq!(fault, Err(OtherKey));
    let early = Member::of(&old);
    let end = NOW + MEMBER_LIFETIME_MS;
    assert_eq!(pinned(&old, &anchors, &early, end + 7), Err(Expired { ago_ms: 7 }));
}

#[test]
fn a_pin_does_not_make_up_for_anything_else() {
    let authority = authority();
    let member = Member::of(&authority);
    let (pin, anchors) = (authority.certificate().pin(), [der(&authority)]);
    let other = NodeKey::generate().key();
    let elsewhere = GridId::from_bytes([1; 16]);
    assert_eq!(verify_against_pin(&pin, GRID, &anchors, &member.der, &other, NOW), Err(OtherKey));
    assert_eq!(
        verify_against_pin(&pin, elsewhere, &anchors, &member.der, &member.peer(), NOW),
        Err(Untrusted)
    );
    assert_eq!(
        verify_against_pin(&[0; 32], GRID, &anchors, &member.der, &member.peer(), NOW),
        Err(Untrusted)
    );
    assert_eq!(
        verify_against_pin(&pin, GRID, &anchors, &anchors[0], authority.certificate().key(), NOW),
        Err(Unreadable)
    );
}

/// Who has stolen the key of an authority that the grid has dropped gets nowhere: not with members of its own, and not
/// by vouching for an authority of its own.
#[test]
fn a_stolen_old_key_is_worth_nothing_once_it_is_dropped() {
    let (stolen, new, evil) = (authority(), authority(), authority());
    let (thief, minion) = (Member::of(&stolen), Member::of(&evil));
    let trust = trust(&[&new]);
    assert_eq!(trust.verify(&thief.der, &thief.peer(), NOW), Err(Untrusted));
    assert_eq!(trust.verify(&minion.der, &minion.peer(), NOW), Err(Untrusted));
    let shown = [
        der(&stolen),
        der(&new),
        der(&evil),
        cross(&stolen, &evil),
        cross(&stolen, &new),
        cross(&evil, &new),
    ];
    assert_eq!(pinned(&new, &shown, &thief, NOW), Err(Untrusted));
    assert_eq!(pinned(&new, &shown, &minion, NOW), Err(Untrusted));
    let trust = Trust::new(GRID, &[der(&new), cross(&stolen, &evil)], []).expect("one is self-signed");
    assert_eq!(trust.verify(&minion.der, &minion.peer(), NOW), Err(Untrusted));
    // A token that pins the stolen key is lost, which is why tokens end soon.
    assert_eq!(pinned(&stolen, &shown, &minion, NOW), Ok(()));
}

/// What a Nucleus tells its members to trust: a new authority only by the word of one that they trust.
#[test]
fn trust_follows_from_authority_to_authority() {
    let line: Vec<Authority> = (0..6).map(|_| authority()).collect();
    let [first, second, third, fourth, fifth, evil] = &line[..] else { unreachable!("six were made") };
    let before = trust(&[first]);
    let pins = |anchors: &[Vec<u8>]| before.follow(anchors, [], NOW).map(|next| next.pins().count());
    assert!(matches!(pins(&[der(first)]), Ok(1)));
    assert!(matches!(pins(&[der(first), der(second), cross(first, second)]), Ok(2)));
    // The old one dropped: its word for the new one is enough.
    assert!(matches!(pins(&[der(second), cross(first, second)]), Ok(1)));
    // Asleep during several rotations.
    assert!(matches!(
        pins(&[der(fourth), cross(third, fourth), cross(second, third), cross(first, second)]),
        Ok(1)
    ));
    let too_far =
        [der(fifth), cross(fourth, fifth), cross(third, fourth), cross(second, third), cross(first, second)];
    for untrue in [
        vec![der(second)],
        vec![der(first), der(second)],
        vec![der(first), der(evil)],
        vec![der(evil), cross(evil, first)],
        vec![der(second), cross(first, second), der(evil), cross(evil, second)],
        vec![der(third), cross(second, third)],
        too_far.to_vec(),
    ] {
        assert!(matches!(pins(&untrue), Err(PkiError::Unproven)), "{}", untrue.len());
    }
    assert!(matches!(pins(&[cross(first, second)]), Err(PkiError::AnchorCount { count: 0 })));
    // An authority whose time is over gives no word.
    let late = first.certificate().not_after_ms() + 1000;
    assert!(matches!(before.follow(&[der(second), cross(first, second)], [], late), Err(PkiError::Unproven)));
    // Revocations are those that were told.
    let member = Member::of(second);
    let next = before
        .follow(&[der(second), cross(first, second)], [member.grant.serial], NOW)
        .expect("it is led to");
    assert_eq!(next.verify(&member.der, &member.peer(), NOW), Err(CertificateFault::Revoked));
    // Those that are known are kept when nobody tells any.
    let next =
        trust_without(&[first], [member.grant.serial]).following(&[der(second), cross(first, second)], NOW);
    let verified = next.expect("it is led to").verify(&member.der, &member.peer(), NOW);
    assert_eq!(verified, Err(CertificateFault::Revoked));
}

/// A member that writes an authority's certificate for itself, or signs one with its own key, is no authority.
#[test]
fn a_member_cannot_become_an_authority() {
    let authority = authority();
    let member = Member::of(&authority);
    let params = authority_params(GRID, NOW - DAY, NOW + DAY).expect("in order");
    let own = params.self_signed(member.key.secret()).expect("rcgen takes it").der().to_vec();
    let forged = Authority::from_parts(&member.key.secret().to_pem(), &own).expect("as such it is in order");
    let minion = Member::of(&forged);
    let shown = [der(&authority), own, member.der.clone(), cross(&forged, &super::fixture::authority())];
    assert_eq!(pinned(&authority, &shown, &minion, NOW), Err(Untrusted));
    assert_eq!(trust(&[&authority]).verify(&minion.der, &minion.peer(), NOW), Err(Untrusted));
    // Not even if the authority was talked into a certificate that may issue.
    let loose = authority.sign(&params, member.key.secret(), "forgery").expect("rcgen takes it");
    assert!(trust(&[&authority]).verify(&loose, &member.peer(), NOW).is_err());
}

#[test]
fn authorities_do_not_vouch_across_grids() {
    let here = authority();
    let elsewhere = Authority::create(GridId::from_bytes([1; 16]), NOW).expect("another grid");
    assert!(here.cross_sign(elsewhere.certificate()).is_err());
    assert!(here.cross_sign(here.certificate()).is_err());
    // Even if the signature were there: the other grid's authority is passed over.
    let params = authority_params(elsewhere.certificate().grid(), NOW - DAY, NOW + DAY).expect("in order");
    let vouched =
        here.sign(&params, &PublicKey(*elsewhere.certificate().key()), "forgery").expect("rcgen takes it");
    let key = NodeKey::generate();
    let grant = crate::pki::Grant { grid: elsewhere.certificate().grid(), ..grant() };
    let member = Member { der: issue(&elsewhere, &key, &grant), key, grant };
    assert_eq!(pinned(&here, &[der(&here), vouched], &member, NOW), Err(Untrusted));
}
