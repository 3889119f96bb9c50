//! [`verify_against_pin`]: whom a node believes that knows of its grid only what a join token says.

use super::authority::AuthorityCertificate;
use super::member::MemberCertificate;
use super::shape::Signed;
use super::trust::{examine, in_time};
use super::{ANCHORS_MAX, CHAIN_MAX};
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::{GridId, PeerKey};

/// Is `certificate` of a member of the grid whose authority has this pin, and for the key that the peer proved?
///
/// `anchors` is what the other side shows of its authorities, self-signed and cross-signed; those that cannot be read
/// or are another grid's prove nothing and are passed over. The pinned authority must be among them, self-signed and in
/// force; it signed the certificate, or the authority that did, or the one before that, [`CHAIN_MAX`] certificates at
/// most. Revocations are not known to a node that has not joined.
pub fn verify_against_pin(
    pin: &[u8; 32],
    grid: GridId,
    anchors: &[Vec<u8>],
    certificate: &[u8],
    peer: &PeerKey,
    now_ms: i64,
) -> Result<MemberCertificate, CertificateFault> {
    let signed = Signed::split(certificate).ok_or(CertificateFault::Unreadable)?;
    if anchors.len() > ANCHORS_MAX {
        return Err(CertificateFault::Unreadable);
    }
    let anchors: Vec<AuthorityCertificate> = anchors
        .iter()
        .filter_map(|der| AuthorityCertificate::read(der).ok())
        .filter(|anchor| anchor.grid() == grid)
        .collect();
    let trusted = trusted_keys(pin, &anchors, now_ms)?;
    if !trusted.iter().any(|key| signed.is_signed_by(key)) {
        // Perhaps an authority did sign it to which no way led that is in force: that is the thing to tell.
        return Err(lapsed(&anchors, signed, now_ms).unwrap_or(CertificateFault::Untrusted));
    }
    let member = examine(certificate, grid, peer)?;
    in_time(member.not_before_ms, member.not_after_ms, now_ms)?;
    Ok(member)
}

/// The pinned authority's key, and those it leads to: level by level, each signed by one of the level before.
fn trusted_keys(
    pin: &[u8; 32],
    anchors: &[AuthorityCertificate],
    now_ms: i64,
) -> Result<Vec<PeerKey>, CertificateFault> {
    let root = anchors.iter().find(|anchor| anchor.pin() == *pin && anchor.is_self_signed());
    let root = root.ok_or(CertificateFault::Untrusted)?;
    in_time(root.not_before_ms(), root.not_after_ms(), now_ms)?;
    let mut trusted = vec![*root.key()];
    let mut level = 0..1;
    // The member's own certificate is one of the chain, and so is the root's key's first signature.
    for _ in 1..CHAIN_MAX {
        for anchor in anchors {
            let is_new = !trusted.contains(anchor.key());
            let in_force = in_time(anchor.not_before_ms(), anchor.not_after_ms(), now_ms).is_ok();
            if is_new && in_force && trusted[level.clone()].iter().any(|key| anchor.is_signed_by(key)) {
                trusted.push(*anchor.key());
            }
        }
        level = level.end..trusted.len();
    }
    Ok(trusted)
}

fn lapsed(anchors: &[AuthorityCertificate], signed: Signed<'_>, now_ms: i64) -> Option<CertificateFault> {
    anchors
        .iter()
        .filter(|anchor| signed.is_signed_by(anchor.key()))
        .find_map(|anchor| in_time(anchor.not_before_ms(), anchor.not_after_ms(), now_ms).err())
}
