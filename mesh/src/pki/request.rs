//! [`SigningRequest`]: a node's wish for a certificate (PKCS #10).

use super::PkiError;
use super::shape::{Signed, key_of_info};
use crate::key::{NodeKey, sha256};
use orbit_core::ids::PeerKey;
use rcgen::{CertificateParams, DistinguishedName};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

/// A request whose signature holds: its maker had the private key. It may still be a copy that somebody else sends, so
/// the key must be compared with the sender's. Names and extensions in it are not looked at: what a certificate says is
/// decided by whoever grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    key: PeerKey,
    hash: [u8; 32],
}

impl SigningRequest {
    /// A request for this key, DER. The same key makes the same request, byte for byte.
    pub fn create(key: &NodeKey) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(key.secret())
            .map_err(|source| PkiError::Make { what: "certificate request", source })?;
        Ok(request.der().to_vec())
    }

    /// Reads a request and verifies its signature.
    pub fn parse(der: &[u8]) -> Result<Self, PkiError> {
        Self::read(der).map_err(|why| PkiError::Unreadable { what: "certificate request", why })
    }

    fn read(der: &[u8]) -> Result<Self, &'static str> {
        let signed = Signed::split(der).ok_or("it is not written as ours are")?;
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| "it is no certificate request")?;
        let info = &request.certification_request_info;
        if !rest.is_empty() || info.raw != signed.body {
            return Err("it is not written as ours are");
        }
        if info.version != X509Version::V1 {
            return Err("it has another version than 1");
        }
        let key = key_of_info(info.subject_pki.raw).ok_or("its key cannot be used")?;
        if !signed.is_signed_by(&key) {
            return Err("it is not signed by its key");
        }
        Ok(Self { key, hash: sha256(der) })
    }

    /// The key it is for.
    pub fn key(&self) -> PeerKey {
        self.key
    }

    /// SHA-256 of its DER: the same request again has the same hash.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}
