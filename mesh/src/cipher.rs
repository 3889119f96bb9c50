//! [`Cipher`]: which authenticated cipher direct links should use on this processor.

use std::fmt;

/// A cipher of the Noise protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256 in Galois counter mode: the faster one where the processor has instructions for it.
    AesGcm,
    /// ChaCha20 with Poly1305: the faster one, and constant in time, everywhere else.
    ChaChaPoly,
}

impl Cipher {
    /// AES-GCM where AES and carry-less multiplication are instructions, else ChaCha20-Poly1305.
    pub fn for_this_processor() -> Self {
        if has_aes_instructions() { Self::AesGcm } else { Self::ChaChaPoly }
    }
}

/// The name Noise gives it.
impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::AesGcm => "AESGCM",
            Self::ChaChaPoly => "ChaChaPoly",
        })
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    // On this architecture the `aes` feature includes the polynomial multiplication (PMULL).
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_kernel() {
        let Ok(info) = std::fs::read_to_string("/proc/cpuinfo") else { return };
        let has = |word: &str| info.split_whitespace().any(|flag| flag == word);
        let kernel_says = has("aes") && (has("pclmulqdq") || has("pmull"));
        assert_eq!(Cipher::for_this_processor() == Cipher::AesGcm, kernel_says);
    }
}
