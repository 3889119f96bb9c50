//! [`Authority`]: who certifies a grid's members; and [`AuthorityCertificate`], what others know of it.

use super::shape::{Certificate, Name, Signed, key_info};
use super::{AUTHORITY_LIFETIME_MS, BACKDATE_MS, PkiError, SigningRequest, random_serial};
use crate::key::{Secret, sha256};
use orbit_core::grid::Role;
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Key usage of an authority: it signs certificates, and nothing else.
const USAGE: u16 = 1 << 5;
/// The last moment that a certificate can name: the end of the year 9999.
const LAST_MS: i64 = 253_402_300_799_000;

/// A grid's certificate authority with its private key. Only the Nucleus has it.
pub struct Authority {
    secret: Secret,
    certificate: AuthorityCertificate,
}

/// What a certificate is to say. Nothing of it comes from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The member.
    pub node: NodeId,
    /// Its grid, which must be the authority's.
    pub grid: GridId,
    /// What the member is for.
    pub role: Role,
    /// Serial number, from [`random_serial`].
    pub serial: Serial,
    /// Valid from, milliseconds since 1970. Certificates count seconds: the rest is cut off.
    pub not_before_ms: i64,
    /// Valid until, milliseconds since 1970. A certificate that would outlive its authority ends with it.
    pub not_after_ms: i64,
}

impl Authority {
    /// A new authority for a grid: ten years from an hour ago.
    pub fn create(grid: GridId, now_ms: i64) -> Result<Self, PkiError> {
        let secret = Secret::generate();
        let end_ms = now_ms.saturating_add(AUTHORITY_LIFETIME_MS);
        let params = authority_params(grid, now_ms.saturating_sub(BACKDATE_MS), end_ms)?;
        let certificate = params
            .self_signed(&secret)
            .map_err(|source| PkiError::Make { what: "authority's certificate", source })?;
        let certificate = AuthorityCertificate::parse(certificate.der())?;
        Ok(Self { secret, certificate })
    }

    /// From its parts, as [`key_pem`](Self::key_pem) and [`AuthorityCertificate::der`] gave them.
    pub fn from_parts(key_pem: &str, certificate_der: &[u8]) -> Result<Self, PkiError> {
        let secret = Secret::from_pem(key_pem).map_err(PkiError::Key)?;
        let certificate = AuthorityCertificate::parse(certificate_der)?;
        if certificate.key != secret.key() {
            return Err(PkiError::OtherKey);
        }
        if !certificate.is_self_signed() {
            return Err(PkiError::Unreadable { what: "authority", why: "it is not signed by its own key" });
        }
        Ok(Self { secret, certificate })
    }

    /// Its private key, PKCS #8 as PEM: for a file that [`key::file::create`](crate::key::file::create) makes.
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.secret.to_pem()
    }

    /// Its certificate.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Certifies the key of a request. The same request and grant give the same certificate, byte for byte. What it
    /// says in the end, seconds and the authority's own end considered, [`MemberCertificate`](super::MemberCertificate)
    /// reads back.
    pub fn issue(&self, request: &SigningRequest, grant: &Grant) -> Result<Vec<u8>, PkiError> {
        if grant.grid != self.certificate.grid {
            return Err(PkiError::OtherGrid { what: "grant" });
        }
        if grant.serial.as_bytes()[0] > 0x7f || *grant.serial.as_bytes() == [0; 16] {
            return Err(PkiError::BadGrant { why: "the serial number is not positive" });
        }
        let end_ms = grant.not_after_ms.min(self.certificate.not_after_ms);
        let params = member_params(&Grant { not_after_ms: end_ms, ..*grant })?;
        self.sign(&params, &PublicKey(request.key()), "membership certificate")
    }

    /// Certifies another authority of the same grid, so that who trusts this one's key can come to trust the other's.
    /// Meant for the next authority, before this one retires. It ends with the earlier of the two.
    pub fn cross_sign(&self, other: &AuthorityCertificate) -> Result<Vec<u8>, PkiError> {
        if other.grid != self.certificate.grid {
            return Err(PkiError::OtherGrid { what: "authority" });
        }
        if other.key == self.certificate.key {
            return Err(PkiError::BadGrant { why: "an authority does not cross-sign itself" });
        }
        let begin_ms = other.not_before_ms.max(self.certificate.not_before_ms);
        let end_ms = other.not_after_ms.min(self.certificate.not_after_ms);
        let params = authority_params(other.grid, begin_ms, end_ms)?;
        self.sign(&params, &PublicKey(other.key), "cross-signed certificate")
    }

    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
        what: &'static str,
    ) -> Result<Vec<u8>, PkiError> {
        // Only the name and the key of the issuer are used.
        let own = authority_params(
            self.certificate.grid,
            self.certificate.not_before_ms,
            self.certificate.not_after_ms,
        )?;
        let issuer = Issuer::from_params(&own, &self.secret);
        let certificate = params.signed_by(key, &issuer).map_err(|source| PkiError::Make { what, source })?;
        Ok(certificate.der().to_vec())
    }
}

/// Without the secret.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Another's public key, as rcgen wants it.
pub(super) struct PublicKey(pub(super) PeerKey);

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

pub(super) fn member_params(grant: &Grant) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    set_window(&mut params, grant.not_before_ms, grant.not_after_ms)?;
    name(&mut params, &grant.node.to_string(), Name::Member(grant.grid, grant.node, grant.role));
    params.serial_number = Some(grant.serial.as_bytes().to_vec().into());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

pub(super) fn authority_params(
    grid: GridId,
    begin_ms: i64,
    end_ms: i64,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    set_window(&mut params, begin_ms, end_ms)?;
    name(&mut params, &authority_name(grid), Name::Authority(grid));
    params.serial_number = Some(random_serial().as_bytes().to_vec().into());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn authority_name(grid: GridId) -> String {
    format!("orbit grid {grid}")
}

fn name(params: &mut CertificateParams, common_name: &str, name: Name) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names =
        vec![SanType::URI(name.to_string().try_into().expect("ids and roles are written in ASCII"))];
    params.use_authority_key_identifier_extension = true;
}

/// rcgen panics at years it cannot write, so they are kept from it.
fn set_window(params: &mut CertificateParams, begin_ms: i64, end_ms: i64) -> Result<(), PkiError> {
    let moment = |ms: i64| {
        let since_1970 = u64::try_from(ms).ok().filter(|_| ms <= LAST_MS).map(Duration::from_millis);
        since_1970.ok_or(PkiError::BadGrant { why: "its time is not between the years 1970 and 9999" })
    };
    let (begin, end) = (moment(begin_ms)?, moment(end_ms)?);
    if begin >= end {
        return Err(PkiError::BadGrant { why: "it would end before it begins" });
    }
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin;
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    Ok(())
}

/// An authority's certificate: self-signed, or signed by the authority before it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    der: Vec<u8>,
    key: PeerKey,
    grid: GridId,
    not_before_ms: i64,
    not_after_ms: i64,
}

impl AuthorityCertificate {
    /// Reads it. Whose signature it bears is not asked here: see [`is_self_signed`](Self::is_self_signed).
    pub fn parse(der: &[u8]) -> Result<Self, PkiError> {
        Self::read(der).map_err(|why| PkiError::Unreadable { what: "authority", why })
    }

    pub(super) fn read(der: &[u8]) -> Result<Self, &'static str> {
        let certificate = Certificate::parse(der)?;
        let Name::Authority(grid) = certificate.name else {
            return Err("its alternative name is not an authority's");
        };
        if certificate.common_name != authority_name(grid) {
            return Err("its two names differ");
        }
        if certificate.extensions.constraints != Some((true, Some(0))) {
            return Err("it may not issue certificates, or not only members'");
        }
        if certificate.extensions.usage != Some(USAGE) {
            return Err("it is for another use");
        }
        Ok(Self {
            der: der.to_vec(),
            key: certificate.key,
            grid,
            not_before_ms: certificate.not_before_ms,
            not_after_ms: certificate.not_after_ms,
        })
    }

    /// The certificate itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of its public key (`SubjectPublicKeyInfo`, DER): what a join token carries.
    pub fn pin(&self) -> [u8; 32] {
        pin_of(&self.key)
    }

    /// Whose members it certifies.
    pub fn grid(&self) -> GridId {
        self.grid
    }

    /// Valid from, milliseconds since 1970.
    pub fn not_before_ms(&self) -> i64 {
        self.not_before_ms
    }

    /// Valid until, milliseconds since 1970.
    pub fn not_after_ms(&self) -> i64 {
        self.not_after_ms
    }

    /// Is it signed by its own key?
    pub fn is_self_signed(&self) -> bool {
        self.is_signed_by(&self.key)
    }

    pub(super) fn is_signed_by(&self, key: &PeerKey) -> bool {
        Signed::split(&self.der).is_some_and(|signed| signed.is_signed_by(key))
    }

    pub(super) fn key(&self) -> &PeerKey {
        &self.key
    }
}

impl fmt::Debug for AuthorityCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityCertificate")
            .field("grid", &self.grid)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

pub(super) fn pin_of(key: &PeerKey) -> [u8; 32] {
    sha256(&key_info(key))
}
