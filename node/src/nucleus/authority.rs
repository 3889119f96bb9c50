//! The grid's certificate authority: its key, sealed among the records, and the certificates it issues.

use crate::daemon::DaemonError;
use crate::daemon::seal::{AUTHORITY, SealKey};
use orbit_core::grid::{CertificateRecord, GridState, Role};
use orbit_core::ids::{GridId, NodeId};
use orbit_mesh::pki::{
    Authority, AuthorityCertificate, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, MemberCertificate,
    SigningRequest, random_serial,
};

/// How long a member's certificate lives, milliseconds.
pub const LIFETIME_MS: i64 = MEMBER_LIFETIME_MS;

/// The authority that issues certificates now.
pub(crate) fn load_current(seal: &SealKey, state: &GridState) -> Result<Authority, DaemonError> {
    let anchor = state.anchors().iter().find(|anchor| anchor.is_current);
    let der = anchor.map(|anchor| anchor.der.as_slice()).unwrap_or_default();
    let pin = AuthorityCertificate::parse(der)?.pin();
    let sealed = state.authority_key(&pin).ok_or(DaemonError::NoAuthorityKey)?;
    let pem = seal.unseal(AUTHORITY, sealed)?;
    let pem = std::str::from_utf8(&pem).map_err(|_| DaemonError::NoAuthorityKey)?;
    Ok(Authority::from_parts(pem, der)?)
}

/// What a new certificate says, with a serial number drawn now.
pub fn grant(grid: GridId, node: NodeId, role: Role, now_ms: i64, lifetime_ms: i64) -> Grant {
    Grant {
        node,
        grid,
        role,
        serial: random_serial(),
        not_before_ms: now_ms - BACKDATE_MS,
        not_after_ms: now_ms + lifetime_ms,
    }
}

/// Issues a certificate and makes its record, which says what the certificate says: whole seconds, and an end not after
/// the authority's.
pub fn issue(
    authority: &Authority,
    request: &SigningRequest,
    grant: &Grant,
) -> Result<CertificateRecord, DaemonError> {
    let der = authority.issue(request, grant)?;
    let issued = MemberCertificate::parse(&der)?;
    Ok(CertificateRecord {
        serial: issued.serial,
        request_hash: request.hash(),
        authority: authority.certificate().pin(),
        not_before_ms: issued.not_before_ms,
        not_after_ms: issued.not_after_ms,
        der,
    })
}

/// The role that a member's newest certificate says, which may not yet be that of its record.
pub(crate) fn certified_role(certificate: &CertificateRecord) -> Option<Role> {
    MemberCertificate::parse(&certificate.der).ok().map(|certificate| certificate.role)
}
