//! The grid's certificate authority on disk, and the certificates it issues.

use crate::daemon::DaemonError;
use orbit_core::grid::{CertificateRecord, GridState, Role};
use orbit_core::ids::{GridId, NodeId, PeerKey};
use orbit_mesh::key::file;
use orbit_mesh::pki::{
    Authority, AuthorityCertificate, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, MemberCertificate,
    SigningRequest, random_serial,
};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// How long a member's certificate lives, milliseconds.
pub const LIFETIME_MS: i64 = MEMBER_LIFETIME_MS;

/// Keeps an authority's key. The file's name is the beginning of the pin, so several can lie side by side.
pub fn save(directory: &Path, authority: &Authority) -> Result<(), DaemonError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(DaemonError::file("create directory", directory))?;
    file::create(&key_path(directory, &authority.certificate().pin()), &authority.key_pem())?;
    Ok(())
}

/// The authority that issues certificates now.
pub fn load_current(directory: &Path, state: &GridState) -> Result<Authority, DaemonError> {
    let anchor = state.anchors().iter().find(|anchor| anchor.is_current);
    let der = anchor.map(|anchor| anchor.der.as_slice()).unwrap_or_default();
    let certificate = AuthorityCertificate::parse(der)?;
    let pem = file::read(&key_path(directory, &certificate.pin()))?;
    Ok(Authority::from_parts(&pem, der)?)
}

/// Removes the keys of authorities that the grid does not know, or does not trust any more. What cannot be removed stays,
/// and is tried again next time.
pub fn remove_unused(directory: &Path, state: &GridState) {
    let known = state.anchors().iter().filter_map(|anchor| AuthorityCertificate::parse(&anchor.der).ok());
    let used: Vec<PathBuf> = known.map(|certificate| key_path(directory, &certificate.pin())).collect();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_key = path.extension().is_some_and(|extension| extension == "key");
        if is_key
            && !used.contains(&path)
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the key of an authority that is over");
        }
    }
}

fn key_path(directory: &Path, pin: &[u8; 32]) -> PathBuf {
    directory.join(format!("authority-{}.key", &PeerKey::from_bytes(*pin).to_string()[..16]))
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
