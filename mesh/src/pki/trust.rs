//! [`Trust`]: whom a member believes.

use super::authority::{AuthorityCertificate, not_self_signed, pin_of};
use super::member::MemberCertificate;
use super::shape::Signed;
use super::{ANCHORS_MAX, PkiError};
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::{GridId, PeerKey, Serial};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The authorities of a grid and the certificates that were revoked: what decides who is a member. Cheap to clone.
#[derive(Clone)]
pub struct Trust {
    grid: GridId,
    anchors: Arc<[AuthorityCertificate]>,
    revoked: Arc<HashSet<Serial>>,
}

impl Trust {
    /// Trusts these authorities, self-signed certificates of this grid, 1 to [`ANCHORS_MAX`] of them.
    pub fn new(
        grid: GridId,
        anchors: &[Vec<u8>],
        revoked: impl IntoIterator<Item = Serial>,
    ) -> Result<Self, PkiError> {
        if anchors.is_empty() || anchors.len() > ANCHORS_MAX {
            return Err(PkiError::AnchorCount { count: anchors.len() });
        }
        let anchors = anchors.iter().map(|der| anchor(grid, der)).collect::<Result<_, _>>()?;
        Ok(Self { grid, anchors, revoked: Arc::new(revoked.into_iter().collect()) })
    }

    /// Is this the certificate of a member of this grid, for the key that the peer proved to have?
    pub fn verify(
        &self,
        der: &[u8],
        peer: &PeerKey,
        now_ms: i64,
    ) -> Result<MemberCertificate, CertificateFault> {
        let signed = Signed::split(der).ok_or(CertificateFault::Unreadable)?;
        let issuer = self.anchors.iter().find(|anchor| signed.is_signed_by(anchor.key()));
        let issuer = issuer.ok_or(CertificateFault::Untrusted)?;
        let member = examine(der, self.grid, peer)?;
        if self.is_revoked(&member.serial) {
            return Err(CertificateFault::Revoked);
        }
        in_time(issuer.not_before_ms(), issuer.not_after_ms(), now_ms)?;
        in_time(member.not_before_ms, member.not_after_ms, now_ms)?;
        Ok(member)
    }

    /// The grid.
    pub fn grid(&self) -> GridId {
        self.grid
    }

    /// Was this certificate revoked?
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        self.revoked.contains(serial)
    }

    /// Pins of the authorities.
    pub fn pins(&self) -> impl Iterator<Item = [u8; 32]> {
        self.anchors.iter().map(|anchor| pin_of(anchor.key()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("grid", &self.grid)
            .field("anchors", &self.anchors)
            .field("revoked", &self.revoked.len())
            .finish()
    }
}

fn anchor(grid: GridId, der: &[u8]) -> Result<AuthorityCertificate, PkiError> {
    let anchor = AuthorityCertificate::parse(der)?;
    if anchor.grid() != grid {
        return Err(PkiError::OtherGrid { what: "authority" });
    }
    // An authority that another one signed would be trusted here without asking for that other one.
    if !anchor.is_self_signed() {
        return Err(not_self_signed());
    }
    Ok(anchor)
}

/// All that a certificate must be besides signed, in force and not revoked.
pub(super) fn examine(
    der: &[u8],
    grid: GridId,
    peer: &PeerKey,
) -> Result<MemberCertificate, CertificateFault> {
    let member = MemberCertificate::read(der).map_err(|_| CertificateFault::Unreadable)?;
    // An authority of ours never says this; one whose key was stolen from another grid might.
    if member.grid != grid {
        return Err(CertificateFault::Untrusted);
    }
    if member.key != *peer {
        return Err(CertificateFault::OtherKey);
    }
    Ok(member)
}

/// Is it in force?
pub(super) fn in_time(not_before_ms: i64, not_after_ms: i64, now_ms: i64) -> Result<(), CertificateFault> {
    if now_ms < not_before_ms {
        return Err(CertificateFault::NotYet { in_ms: not_before_ms.saturating_sub(now_ms) });
    }
    if now_ms > not_after_ms {
        return Err(CertificateFault::Expired { ago_ms: now_ms.saturating_sub(not_after_ms) });
    }
    Ok(())
}
