//! CBOR in and out: [`encode`] and [`decode`], strict about what they take.
//!
//! Before anything is built from foreign bytes their skeleton is walked once, without recursion: one item and nothing
//! behind it, nested at most 32 deep, no length that is larger than what is left, no length left open, no tags. What a message holds
//! is therefore never larger than a small multiple of its bytes.

mod skeleton;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not the message that was expected, or damaged.
    #[error("the message cannot be read")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It ends before it is complete, or claims to hold more than there is.
    #[error("the message is cut off")]
    CutOff,
    /// Its items are nested deeper than any message's.
    #[error("the message is nested more than {max} deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// It has more items than any message.
    #[error("the message has more than {max} items")]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// It holds an item of a kind that no message has.
    #[error("the message holds an item that begins with {byte:#04x}, which no message does")]
    Item {
        /// The item's first byte.
        byte: u8,
    },
    /// Bytes follow the message.
    #[error("{count} bytes follow the message")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// It is larger than the protocol allows.
    #[error("the message has {len} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its length.
        len: u64,
        /// The limit.
        max: usize,
    },
}

/// Bytes of a frame's length.
pub const FRAME_HEAD_LEN: usize = 4;

/// A message as CBOR.
///
/// # Panics
/// Never for messages of this module's types: they hold nothing that CBOR cannot carry.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    cbor4ii::serde::to_vec(Vec::with_capacity(128), message).expect("wire messages are plain data")
}

/// Reads exactly one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    skeleton::check(bytes)?;
    cbor4ii::serde::from_slice(bytes).map_err(|error| WireError::Malformed(Box::new(error)))
}

/// Reads exactly one message of at most `max` bytes.
pub fn decode_max<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, WireError> {
    if bytes.len() > max {
        return Err(WireError::TooLarge { len: bytes.len() as u64, max });
    }
    decode(bytes)
}

/// A message as a frame: its length (4 bytes, little endian), then its CBOR.
///
/// # Panics
/// If the message is longer than 4 GiB: no protocol has one.
pub fn encode_frame<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEAD_LEN];
    frame.reserve(128);
    let mut frame = cbor4ii::serde::to_vec(frame, message).expect("wire messages are plain data");
    let len = u32::try_from(frame.len() - FRAME_HEAD_LEN).expect("a message is far shorter than 4 GiB");
    frame[..FRAME_HEAD_LEN].copy_from_slice(&len.to_le_bytes());
    frame
}

/// How many bytes follow a frame's head, if they are at most `max`.
pub fn frame_len(head: [u8; FRAME_HEAD_LEN], max: usize) -> Result<usize, WireError> {
    let len = u32::from_le_bytes(head);
    match usize::try_from(len) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(WireError::TooLarge { len: u64::from(len), max }),
    }
}
