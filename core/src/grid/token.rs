//! [`JoinToken`]: what a person carries from one machine to the next.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, 1 |
//! | 16 | grid id |
//! | 32 | pin: SHA-256 of the authority's public key (SubjectPublicKeyInfo, DER) |
//! | 6 | token id |
//! | 32 | secret |
//! | 4 | CRC-32 of all before, big endian |
//!
//! Written as `orbit-join-` and base32 (RFC 4648 without padding, lower case; case and white space do not matter when
//! read).

use crate::ids::{GridId, TokenId};
use std::fmt;

/// A join token with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The grid it is for.
    pub grid: GridId,
    /// SHA-256 of the public key of the grid's authority.
    pub pin: [u8; 32],
    /// Its id.
    pub id: TokenId,
    /// What proves that its bearer may join.
    pub secret: [u8; 32],
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something else altogether.
    #[error("this is no join token: it does not begin with orbit-join-")]
    NotAToken,
    /// Some of it is missing: it was cut off while copying.
    #[error("the join token is cut off: {have} of {want} characters")]
    CutOff {
        /// Characters after the prefix.
        have: usize,
        /// Characters a token has.
        want: usize,
    },
    /// More than a token.
    #[error("the join token is too long: {have} characters instead of {want}")]
    TooLong {
        /// Characters after the prefix.
        have: usize,
        /// Characters a token has.
        want: usize,
    },
    /// Its checksum does not fit: a character was changed.
    #[error("the join token is damaged: its checksum does not fit")]
    Damaged,
    /// Made by a newer version.
    #[error("the join token has version {version}, which this orbit does not know")]
    Version {
        /// Its version.
        version: u8,
    },
}

/// Without the secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("grid", &self.grid).field("id", &self.id).finish_non_exhaustive()
    }
}

impl JoinToken {
    /// Reads what a person pasted.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let _ = text;
        todo!()
    }

    /// The token as text, secret included.
    pub fn to_text(&self) -> String {
        todo!()
    }
}
