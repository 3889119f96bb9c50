//! [`NodeKey`]: the Ed25519 key that a node is known by, its file, and the randomness and hash that go with it.
//!
//! What is wiped from memory and what is not: the seed and every text or buffer that holds it are wiped when dropped,
//! but for the copies that the compiler leaves on the stack when it moves a value. ring's own `Ed25519KeyPair` has no
//! wiping drop; one lives on the stack for the length of one signature. libp2p's key pair, of which the swarm holds one,
//! is ed25519-dalek's, which wipes itself.

pub mod file;
mod pem;

pub use file::KeyError;
pub use pem::NotAKey;

use libp2p::identity;
use orbit_core::ids::PeerKey;
use ring::rand::SecureRandom as _;
use ring::signature::KeyPair as _;
use std::fmt;
use std::path::Path;
use zeroize::Zeroizing;

pub use libp2p::PeerId;

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has none to give: nothing of a grid is safe without.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether a message has this Ed25519 signature by this key.
pub fn is_signed_by(key: &PeerKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.as_bytes());
    key.verify(message, signature).is_ok()
}

/// The libp2p id of a key; none if the bytes are no point of the curve.
pub fn peer_id_of(key: &PeerKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// The key inside a libp2p id; none if it is not an Ed25519 key, or written in another way than [`peer_id_of`] does.
pub fn key_of(peer: &PeerId) -> Option<PeerKey> {
    let key = identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    let key = PeerKey::from_bytes(key.try_into_ed25519().ok()?.to_bytes());
    (peer_id_of(&key).as_ref() == Some(peer)).then_some(key)
}

/// A node's key pair. One key is the node's libp2p id, what Noise proves, and what its membership certificate is for.
#[derive(Clone)]
pub struct NodeKey(Secret);

impl NodeKey {
    /// A new key, kept nowhere.
    pub fn generate() -> Self {
        Self(Secret::generate())
    }

    /// Reads a key file; refuses one that others can read.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = file::read(path)?;
        Self::from_pem(&text).map_err(|source| KeyError::NotAKey { path: path.to_owned(), source })
    }

    /// Makes a key and its file, which must not exist: readable by its owner alone, on disk when this returns.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let key = Self::generate();
        file::create(path, &key.0.to_pem())?;
        Ok(key)
    }

    /// Reads the text of a key file: PKCS #8, PEM.
    pub fn from_pem(text: &str) -> Result<Self, NotAKey> {
        Secret::from_pem(text).map(Self)
    }

    /// Its public half.
    pub fn key(&self) -> PeerKey {
        self.0.key
    }

    /// Its libp2p id.
    pub fn peer_id(&self) -> PeerId {
        self.keypair().public().to_peer_id()
    }

    /// Signs a message, by Ed25519. The message says itself what it is for: the key signs other things too.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    /// As libp2p wants it.
    pub(crate) fn keypair(&self) -> identity::Keypair {
        let mut seed = self.0.seed.clone();
        identity::Keypair::ed25519_from_bytes(&mut seed[..]).expect("any 32 bytes are an Ed25519 seed")
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Without the secret.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeKey").field(&self.key()).finish()
    }
}

/// An Ed25519 seed and its public key: of a node or of an authority.
#[derive(Clone)]
pub(crate) struct Secret {
    seed: Zeroizing<[u8; 32]>,
    key: PeerKey,
}

impl Secret {
    pub(crate) fn generate() -> Self {
        Self::from_seed(Zeroizing::new(random()))
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let pair = ring_pair(&seed);
        let key = pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes");
        Self { seed, key: PeerKey::from_bytes(key) }
    }

    pub(crate) fn from_pem(text: &str) -> Result<Self, NotAKey> {
        pem::seed_of(text).map(Self::from_seed)
    }

    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        pem::text_of(&self.seed)
    }

    pub(crate) fn key(&self) -> PeerKey {
        self.key
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        ring_pair(&self.seed).sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

fn ring_pair(seed: &[u8; 32]) -> ring::signature::Ed25519KeyPair {
    ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed")
}

/// So that rcgen signs without a copy of the secret of its own.
impl rcgen::PublicKeyData for Secret {
    fn der_bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for Secret {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Self::sign(self, message).to_vec())
    }
}

#[cfg(test)]
mod tests;
