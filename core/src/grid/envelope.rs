//! [`Envelope`]: a command as voters hand it on, and [`Outcome`], what came of it.

use super::command::Command;
use super::record::Change;
use super::refusal::Refusal;
use crate::ids::RequestId;
use crate::wire::{self, WireError};
use serde::{Deserialize, Serialize};

/// Largest envelope, bytes: a quarter of a message, so that an entry and its head always fit one.
pub const ENVELOPE_BYTES_MAX: usize = wire::MESSAGE_BYTES_MAX / 4;

/// What came of a command: the records that changed, or why none did.
pub type Outcome = Result<Vec<Change>, Refusal>;

/// A command on its way through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Version of the oldest program that can apply the command.
    pub version: u16,
    /// The request it belongs to; none for what the Nucleus does by itself.
    pub request: Option<RequestId>,
    /// What is to be done.
    pub command: Command,
}

/// Why bytes are no envelope that this program can apply.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// A newer program wrote it. Whoever left it out would differ from the others.
    #[error("a command of version {theirs} is in the log; this orbit knows versions up to {ours}")]
    Newer {
        /// Its version.
        theirs: u16,
        /// The newest that is known here.
        ours: u16,
    },
    /// It cannot be read.
    #[error("a command in the log cannot be read")]
    Unreadable(#[source] WireError),
}

impl Envelope {
    /// The newest version that this program knows. It is raised whenever an older program could not apply a command as this
    /// one does.
    pub const VERSION: u16 = 2;

    /// A command as this program writes it.
    pub const fn new(request: Option<RequestId>, command: Command) -> Self {
        Self { version: command.version(), request, command }
    }

    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads exactly one.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let newer = |version| EnvelopeError::Newer { theirs: version, ours: Self::VERSION };
        match wire::decode_max::<Self>(bytes, ENVELOPE_BYTES_MAX) {
            Ok(envelope) if envelope.version > Self::VERSION => Err(newer(envelope.version)),
            Ok(envelope) => Ok(envelope),
            // What a newer program wrote may have another shape, but begins with its version still.
            Err(error) => Err(match wire::decode::<Head>(bytes) {
                Ok(head) if head.version > Self::VERSION => newer(head.version),
                _ => EnvelopeError::Unreadable(error),
            }),
        }
    }
}

/// What every version's envelope has.
#[derive(Deserialize)]
struct Head {
    version: u16,
}

#[cfg(test)]
mod tests;
