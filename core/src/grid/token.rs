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

const PREFIX: &str = "orbit-join-";
const VERSION: u8 = 1;
const CRC_LEN: usize = 4;
const BYTES: usize = 1 + GridId::LEN + 32 + TokenId::LEN + 32 + CRC_LEN;
/// Five bits a character.
const CHARACTERS: usize = (BYTES * 8).div_ceil(5);
/// A token of a later version may be longer; what is longer than this is none.
const CHARACTERS_MAX: usize = 1024;

impl JoinToken {
    /// Reads what a person pasted.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        // Terminals and mail break long lines: white space says nothing wherever it stands.
        let pasted: String = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .take(PREFIX.len() + CHARACTERS_MAX + 1)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let Some(body) = pasted.strip_prefix(PREFIX) else {
            let begins = !pasted.is_empty() && PREFIX.starts_with(&pasted);
            return Err(if begins {
                TokenError::CutOff { have: 0, want: CHARACTERS }
            } else {
                TokenError::NotAToken
            });
        };
        let bytes = data_encoding::BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).ok();
        let sound = bytes.as_deref().and_then(checked);
        if let Some([version, ..]) = sound
            && *version != VERSION
        {
            return Err(TokenError::Version { version: *version });
        }
        let have = body.chars().count();
        if have < CHARACTERS {
            return Err(TokenError::CutOff { have, want: CHARACTERS });
        }
        if have > CHARACTERS {
            return Err(TokenError::TooLong { have, want: CHARACTERS });
        }
        sound.and_then(Self::from_sound).ok_or(TokenError::Damaged)
    }

    /// The fields of bytes whose checksum fits.
    fn from_sound(bytes: &[u8]) -> Option<Self> {
        let (_, rest) = bytes.split_first()?;
        let (grid, rest) = rest.split_first_chunk()?;
        let (pin, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let secret = rest.try_into().ok()?;
        Some(Self { grid: GridId::from_bytes(*grid), pin: *pin, id: TokenId::from_bytes(*id), secret })
    }

    /// The token as text, secret included.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.grid.as_bytes());
        bytes.extend_from_slice(&self.pin);
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.secret);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        let mut text = data_encoding::BASE32_NOPAD.encode(&bytes);
        text.make_ascii_lowercase();
        text.insert_str(0, PREFIX);
        text
    }
}

/// What stands before the checksum at the end, if that fits.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<CRC_LEN>()?;
    (crc32fast::hash(body) == u32::from_be_bytes(*crc)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(byte: u8) -> JoinToken {
        JoinToken {
            grid: GridId::from_bytes([byte; 16]),
            pin: [byte ^ 1; 32],
            id: TokenId::from_bytes([byte ^ 2; 6]),
            secret: [byte ^ 3; 32],
        }
    }

    #[test]
    fn comes_back_however_it_was_pasted() {
        let text = token(7).to_text();
        assert_eq!(text.len(), PREFIX.len() + CHARACTERS);
        assert_eq!(JoinToken::parse(&text), Ok(token(7)));
        assert_eq!(JoinToken::parse(&text.to_uppercase()), Ok(token(7)));
        let broken: Vec<_> = text.as_bytes().chunks(20).map(String::from_utf8_lossy).collect();
        assert_eq!(JoinToken::parse(&format!("  {}\r\n", broken.join("\n\t "))), Ok(token(7)));
    }

    #[test]
    fn every_mistake_is_told_apart() {
        let text = token(7).to_text();
        for other in ["", "   ", "hunter2", "orbit-jain-abc", &text[1..]] {
            assert_eq!(JoinToken::parse(other), Err(TokenError::NotAToken), "{other}");
        }
        for have in [0, 1, 145] {
            let cut = &text[..PREFIX.len() + have];
            assert_eq!(JoinToken::parse(cut), Err(TokenError::CutOff { have, want: 146 }));
        }
        assert_eq!(JoinToken::parse("orbit-jo"), Err(TokenError::CutOff { have: 0, want: 146 }));
        let twice = format!("{text}{}", &text[PREFIX.len()..]);
        assert_eq!(JoinToken::parse(&twice), Err(TokenError::TooLong { have: 292, want: 146 }));
        assert!(matches!(JoinToken::parse(&text.repeat(1000)), Err(TokenError::TooLong { .. })));
        let mut damaged = text.clone().into_bytes();
        damaged[40] = if damaged[40] == b'a' { b'b' } else { b'a' };
        let damaged = String::from_utf8(damaged).expect("ASCII");
        assert_eq!(JoinToken::parse(&damaged), Err(TokenError::Damaged));
        assert_eq!(
            JoinToken::parse(&text.replace('a', "1")),
            Err(TokenError::Damaged),
            "1 is no base32 digit"
        );
    }

    #[test]
    fn a_later_version_is_named_whatever_its_length() {
        for len in [40, BYTES, 200] {
            let mut bytes = vec![9; len - CRC_LEN];
            let crc = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&crc.to_be_bytes());
            let text = format!("{PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&bytes));
            assert_eq!(JoinToken::parse(&text), Err(TokenError::Version { version: 9 }));
        }
    }

    #[test]
    fn the_secret_is_not_shown_by_accident() {
        let shown = format!("{:?}", token(0));
        assert!(!shown.contains("secret") && !shown.contains("3, 3"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_token_comes_back(byte: u8, pin: [u8; 32], secret: [u8; 32]) {
            let token = JoinToken { pin, secret, ..token(byte) };
            prop_assert_eq!(JoinToken::parse(&token.to_text()), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}", tail in "[a-z2-7]{0,300}") {
            let _ = JoinToken::parse(&text);
            let _ = JoinToken::parse(&format!("orbit-join-{tail}"));
            let _ = JoinToken::parse(&format!("orbit-join-{text}"));
        }

        #[test]
        fn one_changed_character_is_noticed(at in 0..CHARACTERS, with in "[a-z2-7]") {
            let text = token(7).to_text();
            let at = PREFIX.len() + at;
            prop_assume!(text[at..=at] != with);
            let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
            prop_assert_eq!(JoinToken::parse(&changed), Err(TokenError::Damaged));
        }
    }
}
