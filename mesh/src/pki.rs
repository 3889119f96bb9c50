//! The grid's certificates: who made them, whom they are for, and whether to believe them.
//!
//! A grid has an [`Authority`], which certifies each member's Ed25519 key. There are four kinds of X.509 documents, all
//! made here and all read here; nothing from another maker is expected to fit, so reading is strict:
//!
//! | document | subject | subject alternative name (one URI) | signed by |
//! |---|---|---|---|
//! | authority, self-signed | CN `orbit grid GRID` | `orbit:GRID` | itself |
//! | authority, cross-signed | the same | the same | the authority before it |
//! | member | CN `NODE` | `orbit:GRID/NODE/ROLE` | an authority |
//! | request (PKCS #10) | empty | none | the node |
//!
//! All authorities of a grid have the same name, so that a cross-signed one is *self-issued* in the words of RFC 5280,
//! which its ancestor's path length of 0 does not count; it is the key that tells them apart, and [`Trust`] goes by
//! nothing else.
//!
//! **Order of checks.** [`Trust::verify`] bounds the length, takes the signature off by a fixed pattern, and verifies it
//! before any ASN.1 is parsed: a stranger's bytes never reach the parser. Time comes last, so that who reads `Expired`
//! knows that all else was right; that is what lets an expired but known key enrol again.
//!
//! **What a caller has to do itself.** A request proves that its maker held the key, not that the asker does: compare
//! [`SigningRequest::key`] with the key Noise proved. A certificate that [`verify_against_pin`] accepts is of *some*
//! member; send a token's secret only to one whose role is nucleus.
//!
//! Reading order: [`member`] → [`authority`] → [`trust`] → `chain` → [`pin`] → [`request`] → `shape`.

pub mod authority;
mod chain;
pub mod member;
pub mod pin;
pub mod request;
mod shape;
pub mod trust;

pub use authority::{Authority, AuthorityCertificate, Grant};
pub use member::MemberCertificate;
pub use pin::verify_against_pin;
pub use request::SigningRequest;
pub use trust::Trust;

use crate::key::{NotAKey, random};
use orbit_core::ids::Serial;

/// How long a membership certificate is valid: 90 days. The caller puts it into a [`Grant`].
pub const MEMBER_LIFETIME_MS: i64 = 90 * DAY_MS;
/// How long an authority is valid: ten years, in days.
pub const AUTHORITY_LIFETIME_MS: i64 = 3650 * DAY_MS;
/// How far in the past a certificate begins, so that a member whose clock is behind accepts it: 1 h.
pub const BACKDATE_MS: i64 = 3_600_000;
/// Longest DER that is looked at, bytes; ours have about 500.
pub const DER_BYTES_MAX: usize = 8 << 10;
/// Most certificates of authorities, self-signed and cross-signed, that are looked at in one go.
pub const ANCHORS_MAX: usize = 8;
/// Most certificates from a pinned authority to a member's, the member's included.
pub const CHAIN_MAX: usize = 4;

const DAY_MS: i64 = 86_400_000;

/// Why a certificate or request cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// It is not what it should be. What is wrong is told to whoever made the document, so it is a plain phrase.
    #[error("this is no {what} of an orbit grid: {why}")]
    Unreadable {
        /// What was wanted.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The private key cannot be read.
    #[error("the authority's private key cannot be used")]
    Key(#[source] NotAKey),
    /// The private key belongs to another certificate.
    #[error("the authority's private key and its certificate do not belong together")]
    OtherKey,
    /// The document is another grid's.
    #[error("the {what} belongs to another grid")]
    OtherGrid {
        /// Which document.
        what: &'static str,
    },
    /// A grant asks for what a certificate cannot say.
    #[error("cannot issue a certificate: {why}")]
    BadGrant {
        /// What is wrong.
        why: &'static str,
    },
    /// Not one self-signed authority, or more than [`ANCHORS_MAX`] documents.
    #[error("a grid has 1 to {ANCHORS_MAX} authorities, not {count}")]
    AnchorCount {
        /// How many there are.
        count: usize,
    },
    /// An authority that none of those trusted so far has certified.
    #[error("an authority is not certified by any that this node trusts")]
    Unproven,
    /// The certificate library refused.
    #[error("cannot make the {what}")]
    Make {
        /// Which document.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

/// A new serial number: 127 random bits. The top bit is clear because a serial number is positive, and a set bit would
/// need a seventeenth byte. [`Authority::issue`] takes no other, nor zero.
pub fn random_serial() -> Serial {
    let mut bytes: [u8; 16] = random();
    bytes[0] &= 0x7f;
    // Zero is no serial number; one chance in 2^127 is cheaper to close than to argue about.
    bytes[15] |= u8::from(bytes == [0; 16]);
    Serial::from_bytes(bytes)
}

#[cfg(test)]
mod tests;
