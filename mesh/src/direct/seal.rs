//! [`Sealer`] and [`Opener`]: the transport messages of the Noise protocol, in the buffer they lie in.
//!
//! `snow` would copy each message once more; so its keys are taken over after the handshake, and the rest is what the
//! specification says: a counter as nonce, no associated data, and `Rekey`.

use super::{LinkFault, REKEY_AFTER, TAG_BYTES};
use crate::cipher::Cipher;
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Seals messages of one direction, in order.
pub(super) struct Sealer(Key);

/// Opens messages of one direction, in order.
pub(super) struct Opener(Key);

struct Key {
    /// Half a kilobyte: a stream is moved about.
    bound: Box<LessSafeKey>,
    cipher: Cipher,
    /// Messages so far.
    count: u64,
}

impl Sealer {
    pub fn new(cipher: Cipher, key: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Key::new(cipher, key))
    }

    /// Encrypts `message` where it lies, and gives its tag.
    pub fn seal(&mut self, message: &mut [u8]) -> Result<[u8; TAG_BYTES], LinkFault> {
        let nonce = self.0.next_nonce()?;
        let tag = self.0.bound.seal_in_place_separate_tag(nonce, Aad::empty(), message);
        let tag = tag.expect("a message is far shorter than a cipher's longest");
        Ok(tag.as_ref().try_into().expect("a tag has 16 bytes"))
    }
}

impl Opener {
    pub fn new(cipher: Cipher, key: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Key::new(cipher, key))
    }

    /// Decrypts what `sealed`, a message and its tag, holds, where it lies; gives its length.
    pub fn open(&mut self, sealed: &mut [u8]) -> Result<usize, LinkFault> {
        let nonce = self.0.next_nonce()?;
        let opened = self.0.bound.open_in_place(nonce, Aad::empty(), sealed);
        opened.map(|message| message.len()).map_err(|_| LinkFault::Changed)
    }
}

impl Key {
    fn new(cipher: Cipher, key: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { bound: bound(cipher, key), cipher, count: 0 }
    }

    /// The nonce of the next message; a new key when it is time for one.
    fn next_nonce(&mut self) -> Result<Nonce, LinkFault> {
        if self.count > 0 && self.count.is_multiple_of(REKEY_AFTER) {
            self.rekey();
        }
        // The last one is for `Rekey` alone.
        if self.count == u64::MAX {
            return Err(LinkFault::Worn);
        }
        let nonce = nonce(self.cipher, self.count);
        self.count += 1;
        Ok(nonce)
    }

    /// `Rekey(k)`: the first 32 bytes of `ENCRYPT(k, 2^64 - 1, "", zeros)`.
    fn rekey(&mut self) {
        let mut next = Zeroizing::new([0; KEY_BYTES]);
        let nonce = nonce(self.cipher, u64::MAX);
        let sealed = self.bound.seal_in_place_separate_tag(nonce, Aad::empty(), &mut next[..]);
        let _tag = sealed.expect("32 bytes are not too long for a cipher");
        self.bound = bound(self.cipher, &next);
    }
}

fn bound(cipher: Cipher, key: &Zeroizing<[u8; KEY_BYTES]>) -> Box<LessSafeKey> {
    let algorithm = match cipher {
        Cipher::AesGcm => &AES_256_GCM,
        Cipher::ChaChaPoly => &CHACHA20_POLY1305,
    };
    let key = UnboundKey::new(algorithm, &key[..]).expect("both ciphers have keys of 32 bytes");
    Box::new(LessSafeKey::new(key))
}

/// Four zero bytes, then the counter: big endian for AES-GCM, little endian for ChaChaPoly.
fn nonce(cipher: Cipher, count: u64) -> Nonce {
    let count = match cipher {
        Cipher::AesGcm => count.to_be_bytes(),
        Cipher::ChaChaPoly => count.to_le_bytes(),
    };
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - count.len()..].copy_from_slice(&count);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
impl Sealer {
    /// As if so many messages had been sealed.
    pub fn skip_to(&mut self, count: u64) {
        self.0.count = count;
    }
}

#[cfg(test)]
impl Opener {
    /// As if so many messages had been opened.
    pub fn skip_to(&mut self, count: u64) {
        self.0.count = count;
    }
}
