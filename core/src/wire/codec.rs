//! CBOR in and out: [`encode`] and [`decode`], strict about what they take.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not the message that was expected, or damaged.
    #[error("the message cannot be read")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
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

/// A message as CBOR.
///
/// # Panics
/// Never for messages of this module's types: they hold nothing that CBOR cannot carry.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    cbor4ii::serde::to_vec(Vec::with_capacity(128), message).expect("wire messages are plain data")
}

/// Reads exactly one message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let mut reader = cbor4ii::core::utils::SliceReader::new(bytes);
    let mut deserializer = cbor4ii::serde::Deserializer::new(&mut reader);
    let message = T::deserialize(&mut deserializer).map_err(|error| WireError::Malformed(Box::new(error)))?;
    let rest = {
        use cbor4ii::core::dec::Read as _;
        reader.fill(1).map(|rest| rest.as_ref().len()).unwrap_or_default()
    };
    if rest > 0 { Err(WireError::Trailing { count: rest }) } else { Ok(message) }
}
