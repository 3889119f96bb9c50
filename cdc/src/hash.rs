//! Content hashes: BLAKE3 of bytes.

use orbit_core::ContentHash;

/// The hash of `bytes`.
pub fn hash_bytes(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// A hash of `bytes` that is never one of plain content or of another purpose (BLAKE3 in key-derivation mode).
pub(crate) fn hash_for_purpose(purpose: &str, bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(blake3::derive_key(purpose, bytes))
}

/// A hash of bytes that arrive in parts.
#[derive(Clone, Debug, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// A hash of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The hash of all bytes so far.
    pub fn finish(&self) -> ContentHash {
        ContentHash::from_bytes(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_blake3() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hash_bytes(b"").to_string(), empty);
    }

    #[test]
    fn purposes_keep_hashes_apart() {
        assert_ne!(hash_for_purpose("one", b"x"), hash_for_purpose("two", b"x"));
        assert_ne!(hash_for_purpose("one", b"x"), hash_bytes(b"x"));
    }

    proptest! {
        #[test]
        fn parts_hash_like_the_whole(parts: Vec<Vec<u8>>) {
            let mut hasher = ContentHasher::new();
            for part in &parts {
                hasher.update(part);
            }
            prop_assert_eq!(hasher.finish(), hash_bytes(&parts.concat()));
        }
    }
}
