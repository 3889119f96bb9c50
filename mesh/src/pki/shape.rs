//! What all our documents have in common, byte by byte, and the little of ASN.1 that is read before a signature holds.
//!
//! Everything is signed with Ed25519, so the outside of every document is the same, and any other spelling of it (BER
//! has many) is refused; a signed document can then not be altered without becoming unreadable or untrusted.
//!
//! | bytes | what |
//! |---|---|
//! | 2–4 | `SEQUENCE`, length in its shortest form |
//! | n | the signed body |
//! | 7 | algorithm, OID 1.3.101.112, no parameters |
//! | 3 | `BIT STRING` of 64 bytes, no unused bits |
//! | 64 | signature |

use super::DER_BYTES_MAX;
use orbit_core::grid::Role;
use orbit_core::ids::{GridId, NodeId, PeerKey, Serial};
use std::fmt;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{X509Name, X509Version};

const ALGORITHM: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
const SIGNATURE_HEAD: [u8; 3] = [0x03, 0x41, 0x00];
const KEY_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SIGNATURE_LEN: usize = 64;

/// A document taken apart: what was signed, and the signature.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) body: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes a document apart; none if it is longer than allowed or not written as ours are.
    pub(super) fn split(der: &'a [u8]) -> Option<Self> {
        if der.len() > DER_BYTES_MAX {
            return None;
        }
        let (content_len, content) = match *der {
            [0x30, len @ 0..=0x7f, ref content @ ..] | [0x30, 0x81, len @ 0x80..=0xff, ref content @ ..] => {
                (usize::from(len), content)
            }
            [0x30, 0x82, high @ 1..=0xff, low, ref content @ ..] => {
                (usize::from(u16::from_be_bytes([high, low])), content)
            }
            _ => return None,
        };
        if content.len() != content_len {
            return None;
        }
        let (content, signature) = content.split_at_checked(content.len().checked_sub(SIGNATURE_LEN)?)?;
        let body = content.strip_suffix(&SIGNATURE_HEAD)?.strip_suffix(&ALGORITHM)?;
        Some(Self { body, signature })
    }

    /// Did this key sign it?
    pub(super) fn is_signed_by(&self, key: &PeerKey) -> bool {
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.as_bytes())
            .verify(self.body, self.signature)
            .is_ok()
    }
}

/// A public key as `SubjectPublicKeyInfo`, DER: what pins are the hash of.
pub(super) fn key_info(key: &PeerKey) -> [u8; 44] {
    let mut der = [0; 44];
    der[..KEY_HEAD.len()].copy_from_slice(&KEY_HEAD);
    der[KEY_HEAD.len()..].copy_from_slice(key.as_bytes());
    der
}

/// The key in a `SubjectPublicKeyInfo`; none if it is not an Ed25519 key, or one under which anybody can sign.
pub(super) fn key_of_info(der: &[u8]) -> Option<PeerKey> {
    let key = PeerKey::from_bytes(der.strip_prefix(&KEY_HEAD)?.try_into().ok()?);
    (!is_weak(&key) && crate::key::peer_id_of(&key).is_some()).then_some(key)
}

/// Points of small order: for each of them signatures can be written down that verify for many messages, without any
/// secret. Whoever enrolled with one would share its identity with everybody. Little endian, without the sign bit; the
/// last two are 0 and 1 again, written as p and p + 1.
const WEAK: [[u8; 32]; 7] = [
    [0; 32],
    little(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn little(low: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = low;
    bytes
}

const fn near_prime(low: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = low;
    bytes[31] = 0x7f;
    bytes
}

pub(super) fn is_weak(key: &PeerKey) -> bool {
    let mut bytes = *key.as_bytes();
    bytes[31] &= 0x7f;
    WEAK.contains(&bytes)
}

/// Who a certificate is for, as its alternative name says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Authority(GridId),
    Member(GridId, NodeId, Role),
}

impl Name {
    /// Reads a URI. There is one way to write each name: what comes out differently again is refused.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("orbit:")?.split('/');
        let grid = parts.next()?.parse().ok()?;
        let name = match parts.next() {
            None => Self::Authority(grid),
            Some(node) => Self::Member(grid, node.parse().ok()?, role(parts.next()?)?),
        };
        (name.to_string() == uri).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(grid) => write!(f, "orbit:{grid}"),
            Self::Member(grid, node, role) => write!(f, "orbit:{grid}/{node}/{role}"),
        }
    }
}

fn role(name: &str) -> Option<Role> {
    [Role::Star, Role::Witness, Role::Nucleus].into_iter().find(|role| role.name() == name)
}

/// What a certificate says, once it is known to be written as ours are.
pub(super) struct Certificate {
    pub(super) common_name: String,
    pub(super) name: Name,
    pub(super) key: PeerKey,
    pub(super) serial: Serial,
    pub(super) not_before_ms: i64,
    pub(super) not_after_ms: i64,
    pub(super) extensions: Extensions,
}

/// The extensions that we write; `None` for one that is missing.
#[derive(Default)]
pub(super) struct Extensions {
    name: Option<Name>,
    /// Key usage, one bit a usage, digital signature lowest.
    pub(super) usage: Option<u16>,
    /// Basic constraints: is it an authority, and how long may a path below it be.
    pub(super) constraints: Option<(bool, Option<u32>)>,
    /// Extended key usage: for clients and servers, and nothing else.
    pub(super) is_for_both_ends: bool,
}

impl Certificate {
    /// Reads a certificate; the error says what is wrong.
    pub(super) fn parse(der: &[u8]) -> Result<Self, &'static str> {
        let signed = Signed::split(der).ok_or("it is not written as ours are")?;
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| "it is no certificate")?;
        // The parser and the pattern must agree about what was signed.
        if !rest.is_empty() || certificate.tbs_certificate.as_ref() != signed.body {
            return Err("it is not written as ours are");
        }
        if certificate.version != X509Version::V3 {
            return Err("it has another version than 3");
        }
        if certificate.signature != certificate.signature_algorithm {
            return Err("it names two signature algorithms");
        }
        if certificate.issuer_uid.is_some() || certificate.subject_uid.is_some() {
            return Err("it has a unique identifier");
        }
        let extensions = Extensions::read(certificate.extensions())?;
        let validity = &certificate.validity;
        Ok(Self {
            common_name: common_name(&certificate.subject).ok_or("its subject is not one common name")?,
            name: extensions.name.ok_or("it has no alternative name")?,
            key: key_of_info(certificate.subject_pki.raw).ok_or("its key cannot be used")?,
            serial: serial(certificate.raw_serial()).ok_or("its serial number is out of range")?,
            not_before_ms: validity.not_before.timestamp().saturating_mul(1000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1000),
            extensions,
        })
    }
}

impl Extensions {
    fn read(extensions: &[X509Extension<'_>]) -> Result<Self, &'static str> {
        let mut found = Self::default();
        for (at, extension) in extensions.iter().enumerate() {
            if extensions[..at].iter().any(|earlier| earlier.oid == extension.oid) {
                return Err("it has an extension twice");
            }
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    let [GeneralName::URI(uri)] = names.general_names[..] else {
                        return Err("it has other alternative names than one URI");
                    };
                    found.name = Some(Name::parse(uri).ok_or("its alternative name is not well formed")?);
                }
                ParsedExtension::KeyUsage(usage) => found.usage = Some(usage.flags),
                ParsedExtension::BasicConstraints(constraints) => {
                    found.constraints = Some((constraints.ca, constraints.path_len_constraint));
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    let others = [
                        usage.any,
                        usage.code_signing,
                        usage.email_protection,
                        usage.time_stamping,
                        usage.ocsp_signing,
                    ];
                    found.is_for_both_ends = usage.client_auth
                        && usage.server_auth
                        && usage.other.is_empty()
                        && !others.contains(&true);
                }
                ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                ParsedExtension::ParseError { .. } | ParsedExtension::Unparsed => {
                    return Err("it has a damaged extension");
                }
                // Whatever else there is may add, but must not restrict what we do not understand.
                _ if extension.critical => return Err("it has a critical extension that is not known here"),
                _ => {}
            }
        }
        Ok(found)
    }
}

fn common_name(subject: &X509Name<'_>) -> Option<String> {
    let mut names = subject.iter_attributes();
    let (Some(name), None) = (names.next(), names.next()) else { return None };
    if *name.attr_type() != x509_parser::oid_registry::OID_X509_COMMON_NAME {
        return None;
    }
    name.as_str().ok().map(str::to_owned)
}

/// A positive serial number of at most 16 bytes, in its shortest form.
fn serial(raw: &[u8]) -> Option<Serial> {
    match *raw {
        [] | [0x80..=0xff, ..] | [0] | [0, 0..=0x7f, ..] => return None,
        _ => {}
    }
    let mut bytes = [0; 16];
    bytes[16_usize.checked_sub(raw.len())?..].copy_from_slice(raw);
    Some(Serial::from_bytes(bytes))
}
