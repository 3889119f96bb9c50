//! [`verify_against_pin`]: whom a node believes that knows of its grid only what a join token says.

use super::authority::AuthorityCertificate;
use super::member::MemberCertificate;
use super::shape::Signed;
use super::trust::{examine, in_time};
use super::{ANCHORS_MAX, chain};
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::{GridId, PeerKey};

/// Is `certificate` of a member of the grid whose authority has this pin, and for the key that the peer proved?
///
/// `anchors` is what the other side shows of its authorities, self-signed and cross-signed; those that cannot be read
/// or are another grid's prove nothing and are passed over. The pinned authority must be among them, self-signed and in
/// force; it signed the certificate, or the authority that did, or the one before that, [`CHAIN_MAX`](super::CHAIN_MAX) certificates at
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
    let root = anchors.iter().find(|anchor| anchor.pin() == *pin && anchor.is_self_signed());
    let root = chain::root(root.ok_or(CertificateFault::Untrusted)?, now_ms);
    let (_, in_force) = chain::reached_from(vec![root], &anchors, now_ms)
        .into_iter()
        .filter(|(key, _)| signed.is_signed_by(key))
        // Two ways may lead to one key; a way that is in force is enough.
        .min_by_key(|(_, in_force)| in_force.is_err())
        .ok_or(CertificateFault::Untrusted)?;
    let member = examine(certificate, grid, peer)?;
    in_force?;
    in_time(member.not_before_ms, member.not_after_ms, now_ms)?;
    Ok(member)
}
