//! [`SealKey`]: seals secrets that are kept or carried: the authority's key among the grid's records, and in a backup.
//!
//! XChaCha20-Poly1305 under a key of 32 bytes that was drawn at random, or made of a passphrase by Argon2id. A sealed
//! secret names its purpose in what is authenticated, so that one cannot be passed off as another.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 24 | nonce, drawn for each sealing |
//! | 25 | n + 16 | the secret encrypted, and its tag |

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER_PERMISSIVE;
use orbit_mesh::key::{KeyError, file, random};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

/// The purpose of an authority's private key, PKCS#8 PEM, among the grid's records.
pub const AUTHORITY: &str = "orbit authority key v1";

/// Version of the format.
const VERSION: u8 = 1;
/// Bytes before the encrypted secret.
const HEAD_BYTES: usize = 25;
/// What sealing adds to a secret, bytes.
pub const SEALED_BYTES_MORE: usize = HEAD_BYTES + 16;
/// Bounds on what a foreign file may ask of this machine: KiB, passes, lanes.
const STRETCH_MAX: (u32, u32, u32) = (1 << 20, 64, 16);

/// Why a secret cannot be sealed or unsealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Not this key's, not for this purpose, or changed since.
    #[error("it was sealed under another key, or it is damaged")]
    Wrong,
    /// No sealed secret, or of a version that is not known here.
    #[error("it is no sealed secret that this version of orbit knows")]
    Format,
    /// The parameters of the passphrase's stretching are out of bounds.
    #[error(
        "its passphrase would be stretched with {memory_kib} KiB, {passes} passes and {lanes} lanes: out of bounds"
    )]
    Stretch {
        /// Memory, KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// The file of a key cannot be used.
    #[error(transparent)]
    File(#[from] KeyError),
    /// The file holds something else than a key.
    #[error("{} holds no seal key: 64 hexadecimal digits", path.display())]
    NotAKey {
        /// The file.
        path: std::path::PathBuf,
    },
}

/// A key to seal under. Wiped from memory when dropped.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

/// How a passphrase becomes a key; stored beside what is sealed under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Drawn for each backup.
    pub salt: [u8; 16],
    /// Memory that Argon2id fills, KiB.
    pub memory_kib: u32,
    /// How often.
    pub passes: u32,
    /// By how many lanes.
    pub lanes: u32,
}

impl Stretch {
    /// Half a second or so on a small machine, in memory that it has. The salt is drawn.
    pub fn new() -> Self {
        Self { salt: random(), memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

impl Default for Stretch {
    fn default() -> Self {
        Self::new()
    }
}

impl SealKey {
    /// A new key, kept nowhere.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, to hand them over to another voter.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a passphrase. Takes a while, and as much memory as `stretch` says.
    pub fn from_passphrase(passphrase: &str, stretch: &Stretch) -> Result<Self, SealError> {
        let Stretch { salt, memory_kib, passes, lanes } = stretch;
        let out_of_bounds = || SealError::Stretch { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
        if *memory_kib > STRETCH_MAX.0 || *passes > STRETCH_MAX.1 || *lanes > STRETCH_MAX.2 {
            return Err(out_of_bounds());
        }
        let params =
            argon2::Params::new(*memory_kib, *passes, *lanes, Some(32)).map_err(|_| out_of_bounds())?;
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut()).map_err(|_| out_of_bounds())?;
        Ok(Self(key))
    }

    /// Reads it from a file, which only its owner may read.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let text = file::read(path)?;
        let not_a_key = || SealError::NotAKey { path: path.to_owned() };
        let decoded = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| not_a_key())?;
        let decoded = Zeroizing::new(decoded);
        decoded.as_slice().try_into().map(Self::from_bytes).map_err(|_| not_a_key())
    }

    /// Writes it to a new file of mode 0600, durably.
    pub fn create(&self, path: &Path) -> Result<(), SealError> {
        let mut text = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(self.0.as_ref()));
        text.push('\n');
        Ok(file::create(path, &text)?)
    }

    /// Seals a secret for a purpose.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Vec<u8> {
        let nonce = random::<24>();
        let payload = Payload { msg: secret, aad: purpose.as_bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.expect("secrets are far smaller than 256 GiB");
        let mut bytes = vec![VERSION];
        bytes.extend(nonce);
        bytes.extend(sealed);
        bytes
    }

    /// The secret that was sealed under this key for this purpose.
    pub fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, sealed) = sealed.split_at_checked(HEAD_BYTES).ok_or(SealError::Format)?;
        if head[0] != VERSION {
            return Err(SealError::Format);
        }
        let payload = Payload { msg: sealed, aad: purpose.as_bytes() };
        let secret = self.cipher().decrypt(XNonce::from_slice(&head[1..]), payload);
        secret.map(Zeroizing::new).map_err(|_| SealError::Wrong)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(self.0.as_ref()))
    }
}

/// Shows nothing of it.
impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

#[cfg(test)]
mod tests;
