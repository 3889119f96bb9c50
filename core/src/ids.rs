//! Typed ids of what a grid is made of. An id of one kind cannot be used for another.
//!
//! In CBOR an id is a byte string of its length, in JSON its text.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the kind wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}")]
pub struct BadId {
    /// What was read, shortened.
    pub text: String,
    /// What was wanted.
    pub kind: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Bytes of an id.
            pub const LEN: usize = $len;

            /// From its bytes, which the caller drew at random or read back.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        /// Lower-case hexadecimal; ids of 16 bytes with hyphens, as UUIDs are written.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                unhex(text).map(Self).ok_or_else(|| BadId { text: text.chars().take(64).collect(), kind: $kind })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(IdVisitor { kind: $kind }).map(Self)
                } else {
                    deserializer.deserialize_bytes(IdVisitor { kind: $kind }).map(Self)
                }
            }
        }
    };
}

id!(
    /// A grid: a UUID drawn when it was founded.
    GridId, 16, "grid id"
);
id!(
    /// A node: a UUID given by the grid, never used again.
    NodeId, 16, "node id"
);
id!(
    /// A join token, without its secret.
    TokenId, 6, "token id"
);
id!(
    /// A certificate's serial number.
    Serial, 16, "serial number"
);
id!(
    /// One request for a change, drawn by whoever asks: the same request again is not carried out twice.
    RequestId, 16, "request id"
);
id!(
    /// A job of the grid, drawn when it is submitted.
    JobId, 16, "job id"
);
id!(
    /// What two stars agreed for a job: while it lasts, connections may be opened.
    LeaseId, 16, "lease id"
);
id!(
    /// One connection of a direct link.
    LinkId, 16, "link id"
);
id!(
    /// A node's Ed25519 public key: what Noise proves of a peer.
    PeerKey, 32, "public key"
);

struct IdVisitor<const N: usize> {
    kind: &'static str,
}

impl<const N: usize> Visitor<'_> for IdVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} of {N} bytes", self.kind)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        unhex(text).ok_or_else(|| E::custom(BadId { text: text.chars().take(64).collect(), kind: self.kind }))
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2 + 4);
    for (at, byte) in bytes.iter().enumerate() {
        if bytes.len() == 16 && matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.bytes().filter(|&byte| byte != b'-');
    for byte in &mut bytes {
        let mut digit = || char::from(digits.next()?).to_digit(16);
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_is_written_as_one() {
        let id = NodeId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "abababab-abab-abab-abab-abababababab");
        assert_eq!(TokenId::from_bytes([1, 2, 3, 4, 5, 255]).to_string(), "0102030405ff");
    }

    proptest! {
        #[test]
        fn ids_come_back(bytes: [u8; 16], short: [u8; 6]) {
            prop_assert_eq!(GridId::from_bytes(bytes).to_string().parse(), Ok(GridId::from_bytes(bytes)));
            prop_assert_eq!(TokenId::from_bytes(short).to_string().parse(), Ok(TokenId::from_bytes(short)));
            let packed = crate::wire::encode(&GridId::from_bytes(bytes));
            prop_assert_eq!(packed.len(), 17);
            prop_assert_eq!(crate::wire::decode::<GridId>(&packed).expect("an id"), GridId::from_bytes(bytes));
            prop_assert!(crate::wire::decode::<TokenId>(&packed).is_err());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            let _ = text.parse::<NodeId>();
            let _ = text.parse::<Serial>();
        }
    }
}
