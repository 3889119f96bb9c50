//! The stream between two voters (or a voter and a learner), as far as it is not the group's own business.
//!
//! Whoever opens the stream sends a [`RaftHello`], and is answered with a [`RaftWelcome`]. Both are frames of a length (4
//! bytes, little endian) and CBOR. Then [`RaftFrame`]s follow both ways:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of what follows, little endian; at most [`RAFT_FRAME_BYTES_MAX`] |
//! | 4 | 8 | id, little endian: an answer has that of its call |
//! | 12 | 1 | kind: [`RaftFrameKind`] |
//! | 13 | | body: for calls and answers the group's own messages, for a seal key a [`SealKey`] |

use super::codec::{FRAME_HEAD_LEN, WireError};
use crate::grid::Refusal;
use crate::ids::{GridId, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Version of what is said on the stream.
pub const RAFT_VERSION: u16 = 1;
/// Largest frame without its length, bytes.
pub const RAFT_FRAME_BYTES_MAX: usize = super::MESSAGE_BYTES_MAX;
/// Bytes before a frame's body, without its length.
pub const RAFT_FRAME_HEAD_LEN: usize = 9;
/// Largest body, bytes.
pub const RAFT_BODY_BYTES_MAX: usize = RAFT_FRAME_BYTES_MAX - RAFT_FRAME_HEAD_LEN;

/// What a stream is for, so that what is large does not hold up what is urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Votes, heartbeats, log entries.
    Quick,
    /// Parts of snapshots.
    Bulk,
}

/// The first frame, of whoever opens the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaftHello {
    /// [`RAFT_VERSION`].
    pub version: u16,
    /// The grid.
    pub grid: GridId,
    /// Its epoch: another one is refused, since the two sides do not vote for the same thing.
    pub epoch: u32,
    /// Who speaks. It must be whom the connection's certificate names.
    pub from: NodeId,
    /// What the stream is for.
    pub lane: Lane,
}

/// The answer to a [`RaftHello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RaftWelcome {
    /// Go on.
    Welcome {
        /// The epoch, which is that of the hello.
        epoch: u32,
        /// Whether the answerer holds the grid's seal key.
        has_seal_key: bool,
    },
    /// The stream is closed after this.
    Refused(Refusal),
}

/// The key under which the private keys of the grid's authorities are sealed. The leader hands it to a node before it
/// becomes a learner.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealKey {
    /// The key.
    #[serde(with = "super::bytes::fixed")]
    pub key: [u8; 32],
}

/// Without the key.
impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").finish_non_exhaustive()
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftFrameKind {
    /// A message of the group.
    Call,
    /// Its answer.
    Answer,
    /// A [`SealKey`].
    SealKey,
    /// The seal key was kept, durably. No body.
    SealKeyKept,
}

impl RaftFrameKind {
    const fn code(self) -> u8 {
        match self {
            Self::Call => 0,
            Self::Answer => 1,
            Self::SealKey => 2,
            Self::SealKeyKept => 3,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Call),
            1 => Some(Self::Answer),
            2 => Some(Self::SealKey),
            3 => Some(Self::SealKeyKept),
            _ => None,
        }
    }
}

/// What is said after the welcome.
#[derive(Clone, PartialEq, Eq)]
pub struct RaftFrame {
    /// Chosen by the caller; the answer repeats it.
    pub id: u64,
    /// What it is.
    pub kind: RaftFrameKind,
    /// What it says.
    pub body: Vec<u8>,
}

/// Without the body, which may be a key.
impl fmt::Debug for RaftFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, body } = self;
        f.debug_struct("RaftFrame").field("id", id).field("kind", kind).field("len", &body.len()).finish()
    }
}

impl RaftFrame {
    /// As bytes, with its length before it. One with a body above [`RAFT_BODY_BYTES_MAX`] is refused.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let len = RAFT_FRAME_HEAD_LEN + self.body.len();
        let head = u32::try_from(len).ok().filter(|_| len <= RAFT_FRAME_BYTES_MAX);
        let head = head.ok_or(WireError::TooLarge { len: len as u64, max: RAFT_FRAME_BYTES_MAX })?;
        let mut bytes = Vec::with_capacity(FRAME_HEAD_LEN + len);
        bytes.extend_from_slice(&head.to_le_bytes());
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.push(self.kind.code());
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    /// From the bytes behind its length, which [`frame_len`](super::codec::frame_len) has checked.
    pub fn decode(mut bytes: Vec<u8>) -> Result<Self, WireError> {
        let (id, rest) = bytes.split_first_chunk().ok_or(WireError::CutOff)?;
        let code = *rest.first().ok_or(WireError::CutOff)?;
        let kind = RaftFrameKind::of(code).ok_or(WireError::Item { byte: code })?;
        let id = u64::from_le_bytes(*id);
        bytes.drain(..RAFT_FRAME_HEAD_LEN);
        Ok(Self { id, kind, body: bytes })
    }
}
