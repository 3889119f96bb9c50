//! [`Trust`]: whom a member believes.

use super::authority::{AuthorityCertificate, pin_of};
use super::member::MemberCertificate;
use super::shape::Signed;
use super::{ANCHORS_MAX, PkiError, chain};
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
    /// Trusts the self-signed ones of these authorities of this grid. Cross-signed ones may be among them, since they
    /// travel together, but count for nothing here. At most [`ANCHORS_MAX`] in all.
    pub fn new(
        grid: GridId,
        anchors: &[Vec<u8>],
        revoked: impl IntoIterator<Item = Serial>,
    ) -> Result<Self, PkiError> {
        Self::of(grid, &read(grid, anchors)?, revoked)
    }

    /// What to trust from now on, as a Nucleus tells it: [`new`](Self::new), if each authority is one that is trusted
    /// already or that a trusted one leads to by cross-signed certificates among `anchors`, [`CHAIN_MAX`](super::CHAIN_MAX)
    /// less one at most. Without this, a Nucleus that was broken into could make its members another's for good, though
    /// it has no authority's key.
    pub fn follow(
        &self,
        anchors: &[Vec<u8>],
        revoked: impl IntoIterator<Item = Serial>,
        now_ms: i64,
    ) -> Result<Self, PkiError> {
        let documents = read(self.grid, anchors)?;
        let next = Self::of(self.grid, &documents, revoked)?;
        let roots = self.anchors.iter().map(|anchor| chain::root(anchor, now_ms)).collect();
        let reached = chain::reached_from(roots, &documents, now_ms);
        let is_led_to =
            |key: &PeerKey| reached.iter().any(|(known, in_force)| known == key && in_force.is_ok());
        if next.anchors.iter().all(|anchor| is_led_to(anchor.key())) {
            Ok(next)
        } else {
            Err(PkiError::Unproven)
        }
    }

    /// [`follow`](Self::follow) with the revocations that are known here.
    pub fn following(&self, anchors: &[Vec<u8>], now_ms: i64) -> Result<Self, PkiError> {
        self.follow(anchors, self.revoked.iter().copied(), now_ms)
    }

    fn of(
        grid: GridId,
        documents: &[AuthorityCertificate],
        revoked: impl IntoIterator<Item = Serial>,
    ) -> Result<Self, PkiError> {
        let anchors: Arc<[_]> = documents.iter().filter(|anchor| anchor.is_self_signed()).cloned().collect();
        if anchors.is_empty() {
            return Err(PkiError::AnchorCount { count: 0 });
        }
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

fn read(grid: GridId, documents: &[Vec<u8>]) -> Result<Vec<AuthorityCertificate>, PkiError> {
    if documents.len() > ANCHORS_MAX {
        return Err(PkiError::AnchorCount { count: documents.len() });
    }
    let read = |der: &Vec<u8>| {
        let anchor = AuthorityCertificate::parse(der)?;
        if anchor.grid() == grid { Ok(anchor) } else { Err(PkiError::OtherGrid { what: "authority" }) }
    };
    documents.iter().map(read).collect()
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
