//! The grid's certificate authority on disk, and the certificates it issues.

use crate::daemon::DaemonError;
use crate::daemon::data_dir::write_whole;
use orbit_core::grid::{CertificateRecord, GridState, Role};
use orbit_core::ids::{GridId, NodeId, Serial};
use orbit_mesh::key::random;
use orbit_mesh::pki::{Authority, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, SigningRequest};
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
    let path = key_path(directory, &authority.certificate().pin());
    write_whole(&path, authority.key_pem().as_bytes()).map_err(DaemonError::file("write", path))
}

/// The authority that issues certificates now.
pub fn load_current(directory: &Path, state: &GridState) -> Result<Authority, DaemonError> {
    let anchor = state.anchors().iter().find(|anchor| anchor.is_current);
    let der = anchor.map(|anchor| anchor.der.as_slice()).unwrap_or_default();
    let certificate = orbit_mesh::pki::AuthorityCertificate::parse(der)?;
    let path = key_path(directory, &certificate.pin());
    let pem = std::fs::read_to_string(&path).map_err(DaemonError::file("read", &path))?;
    let pem = zeroize::Zeroizing::new(pem);
    Ok(Authority::from_parts(&pem, der)?)
}

fn key_path(directory: &Path, pin: &[u8; 32]) -> PathBuf {
    let name: String = pin[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    directory.join(format!("authority-{name}.key"))
}

/// What a new certificate says, with a serial number drawn now.
pub fn grant(grid: GridId, node: NodeId, role: Role, now_ms: i64, lifetime_ms: i64) -> Grant {
    let mut serial: [u8; 16] = random();
    // A serial number is positive: X.509 reads the top bit as a sign.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Grant {
        node,
        grid,
        role,
        serial: Serial::from_bytes(serial),
        not_before_ms: now_ms - BACKDATE_MS,
        not_after_ms: now_ms + lifetime_ms,
    }
}

/// Issues a certificate and makes its record.
pub fn issue(
    authority: &Authority,
    request: &SigningRequest,
    grant: Grant,
) -> Result<CertificateRecord, DaemonError> {
    Ok(CertificateRecord {
        serial: grant.serial,
        request_hash: request.hash(),
        der: authority.issue(request, &grant)?,
        not_before_ms: grant.not_before_ms,
        not_after_ms: grant.not_after_ms,
    })
}
