//! The text of a key file. An Ed25519 key in PKCS #8 version 1 is 48 bytes, so its PEM is always three lines:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | `PrivateKeyInfo`, version 0, OID 1.3.101.112, an octet string within an octet string |
//! | 32 | seed |
//!
//! Reading takes exactly that, as `openssl genpkey -algorithm ed25519` writes it too, with any white space around lines.

use data_encoding::BASE64;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const DER_LEN: usize = PREFIX.len() + 32;
const BASE64_LEN: usize = DER_LEN / 3 * 4;

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// Not three lines of PEM that say `PRIVATE KEY`: cut off, or something else.
    #[error("it is not a PEM file with one PRIVATE KEY")]
    NotPem,
    /// A key, perhaps, but not an Ed25519 key in PKCS #8.
    #[error("it holds no Ed25519 key in PKCS #8")]
    NotEd25519,
}

/// The seed in a key file's text.
pub(super) fn seed_of(text: &str) -> Result<Zeroizing<[u8; 32]>, NotAKey> {
    let mut lines = text.trim().lines().map(str::trim);
    let (Some(BEGIN), Some(line), Some(END), None) = (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(if text.contains(BEGIN) && text.contains(END) {
            NotAKey::NotEd25519
        } else {
            NotAKey::NotPem
        });
    };
    if line.len() != BASE64_LEN {
        return Err(NotAKey::NotEd25519);
    }
    let mut der = Zeroizing::new([0; DER_LEN]);
    match BASE64.decode_mut(line.as_bytes(), &mut der[..]) {
        Ok(DER_LEN) => {}
        Ok(_) => return Err(NotAKey::NotEd25519),
        Err(_) => return Err(NotAKey::NotPem),
    }
    if der[..PREFIX.len()] != PREFIX {
        return Err(NotAKey::NotEd25519);
    }
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&der[PREFIX.len()..]);
    Ok(seed)
}

/// A key file's text for a seed.
pub(super) fn text_of(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut der = Zeroizing::new([0; DER_LEN]);
    der[..PREFIX.len()].copy_from_slice(&PREFIX);
    der[PREFIX.len()..].copy_from_slice(seed);
    // Large enough from the start: a string that grows leaves copies behind that nobody wipes.
    let mut text = Zeroizing::new(String::with_capacity(BEGIN.len() + BASE64_LEN + END.len() + 3));
    text.push_str(BEGIN);
    text.push('\n');
    BASE64.encode_append(&der[..], &mut text);
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}
