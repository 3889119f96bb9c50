//! What nodes say to each other: messages as CBOR, and listings as packed columns.
//!
//! Every decoder takes foreign bytes: lengths are bounded, unknown fields and trailing bytes are refused, nothing panics.
//!
//! | protocol | shape | messages |
//! |---|---|---|
//! | `/orbit/join/1` | one question, one answer, 64 KiB | [`join`] |
//! | `/orbit/control/1` | one question, one answer, 4 MiB | [`control`] |
//! | `/orbit/pulse/1` | a stream kept open, star to Nucleus | [`pulse`] |
//! | `/orbit/raft/1` | a stream kept open between two voters, 4 MiB a frame | [`raft`] |
//! | `/orbit/link/1` | a stream on which two stars agree on a direct link | [`link`] |
//! | `/orbit/system/1` | a stream for the operations of `OrbitSystem` | [`system`], [`listing`] |
//! | `/orbit/job/1` | a stream kept open, Nucleus to star | [`job`] |
//! | `/orbit/api/1` | a stream that carries HTTP/1.1 to the Nucleus | |

pub mod bytes;
pub mod codec;
pub mod control;
pub mod job;
pub mod join;
pub mod link;
pub mod listing;
pub mod pulse;
pub mod raft;
pub mod system;

pub use codec::{WireError, decode, decode_max, encode};

/// Version of the protocols between nodes. A peer with another one is refused with both numbers.
pub const PROTOCOL_VERSION: u32 = 1;
/// Largest message of the join protocol, bytes.
pub const JOIN_BYTES_MAX: usize = 64 << 10;
/// Largest message of any other protocol, bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
