//! Direct links: TCP connections of their own between two stars, for data.
//!
//! What is said here is bulk: it must not share the connection that carries heartbeats and votes, and the multiplexer of the
//! mesh is several times slower. The two ends know each other from the mesh, where they have agreed on [`Terms`]: an id, a
//! fresh secret and a cipher. The connection proves that both have them, by a Noise handshake, and is encrypted from then on.
//!
//! **What it is not for**: who may open one and why (tickets are the daemon's), and what is said on it.
//!
//! Establishing is asynchronous ([`DirectListener`], [`dial`]); a [`DirectStream`] blocks, since those who read and write files
//! are threads.
//!
//! ```text
//!  dialler ──▶ 8 magic ▸ 16 link id ▸ 48 Noise message 1 (psk, e) ──▶ listener: expected? secret right?
//!          ◀── 48 Noise message 2 (e, ee) ◀──
//!          ◀═▶ messages ◀═▶
//! ```
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | length of what follows, big endian: 17 to 65 535 |
//! | 2 | | sealed: data, up to 65 518 bytes |
//! | | 1 | sealed: kind: 0 data, 1 end |
//! | | 16 | tag |
//!
//! The protocol is `Noise_NNpsk0_25519_AESGCM_SHA256`, or `ChaChaPoly`, revision 34 of the specification, with transport
//! messages as it defines them; both sides call its `Rekey` after each [`REKEY_AFTER`] messages. A stream that ends without a
//! message of kind 1 was cut.
//!
//! A peer whose machine does not answer for about [`SILENCE_MAX`] is given up. One that merely takes nothing is waited for:
//! its disk may be slow.
//!
//! Reading order: `handshake` → `seal` → `writer`, `reader` → `socket` → `listener`, `dial`.

mod dial;
mod handshake;
mod listener;
mod reader;
mod seal;
mod socket;
mod stream;
mod writer;

pub use dial::{DialError, dial};
pub use listener::{Crowded, DirectCounters, DirectLimits, DirectListener, Expected};
pub use reader::DirectReader;
pub use stream::{Breaker, DirectStream, End, Traffic};
pub use writer::DirectWriter;

use crate::cipher::Cipher;
use orbit_core::ids::LinkId;
use orbit_core::wire::link::LinkCipher;
use std::fmt;
use std::io;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest message, bytes, as Noise has it.
const MESSAGE_BYTES_MAX: usize = 65_535;
/// Bytes of its length.
const LEN_BYTES: usize = 2;
/// Bytes of the cipher's tag.
const TAG_BYTES: usize = 16;
/// Most data in a message, bytes.
pub const DATA_BYTES_MAX: usize = MESSAGE_BYTES_MAX - TAG_BYTES - 1;
/// Full messages that are sent at once, and room for those that arrive: larger writes were not faster.
const MESSAGES_AT_ONCE: usize = 4;
/// Bytes of these.
const BATCH_BYTES: usize = MESSAGES_AT_ONCE * (LEN_BYTES + MESSAGE_BYTES_MAX);
/// Messages after which both sides change their keys: at most 64 GiB under one, far below what AES-GCM can bear.
pub const REKEY_AFTER: u64 = 1 << 20;
/// How long a peer's machine may leave unanswered what it must answer.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What the last byte of a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    End,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::End => 1,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Data),
            1 => Some(Self::End),
            _ => None,
        }
    }
}

/// What both ends agreed on for one connection.
#[derive(Clone)]
pub struct Terms {
    /// Names the connection.
    pub link: LinkId,
    /// The secret that both prove to have; for this connection alone.
    pub secret: Zeroizing<[u8; 32]>,
    /// The cipher.
    pub cipher: Cipher,
}

/// Without the secret.
impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("link", &self.link)
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

impl From<LinkCipher> for Cipher {
    fn from(cipher: LinkCipher) -> Self {
        match cipher {
            LinkCipher::AesGcm => Self::AesGcm,
            LinkCipher::ChaChaPoly => Self::ChaChaPoly,
        }
    }
}

impl From<Cipher> for LinkCipher {
    fn from(cipher: Cipher) -> Self {
        match cipher {
            Cipher::AesGcm => Self::AesGcm,
            Cipher::ChaChaPoly => Self::ChaChaPoly,
        }
    }
}

/// What is wrong with a direct link: the cause of the I/O errors of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// It ended in the middle.
    #[error("the direct link was cut")]
    Cut,
    /// What arrived is not what was sent.
    #[error("data on the direct link was changed on its way")]
    Changed,
    /// What arrived is no message.
    #[error("what came over the direct link is no message")]
    NoMessage,
    /// The other machine does not answer.
    #[error("the other side of the direct link does not answer")]
    Silent,
    /// It failed before.
    #[error("the direct link failed before")]
    Failed,
    /// Its key has been used as often as it may be.
    #[error("the direct link has carried all that it may")]
    Worn,
}

impl From<LinkFault> for io::Error {
    fn from(fault: LinkFault) -> Self {
        let kind = match fault {
            LinkFault::Cut => io::ErrorKind::UnexpectedEof,
            LinkFault::Changed | LinkFault::NoMessage => io::ErrorKind::InvalidData,
            LinkFault::Silent => io::ErrorKind::TimedOut,
            LinkFault::Failed => io::ErrorKind::BrokenPipe,
            LinkFault::Worn => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, fault)
    }
}

#[cfg(test)]
mod tests;
