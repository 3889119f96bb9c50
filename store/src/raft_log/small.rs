//! The two small files: `vote` and `purged`. Each is replaced as a whole.
//!
//! | offset of `vote` | | of `purged` | |
//! |---|---|---|---|
//! | 0 | "ORBV" | 0 | "ORBP" |
//! | 4 | version, u32: 1 | 4 | version, u32: 1 |
//! | 8 | term, u64 | 8 | term, u64 |
//! | 16 | candidate, 16 bytes | 16 | index, u64 |
//! | 32 | 1 if a quorum voted so, u32 | 24 | CRC-32 of bytes 0..24 |
//! | 36 | CRC-32 of bytes 0..36 | | |

use super::{LogPosition, StoredVote};
use crate::record::Fields;
use orbit_core::ids::NodeId;

pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
const VOTE_MAGIC: [u8; 4] = *b"ORBV";
const PURGED_MAGIC: [u8; 4] = *b"ORBP";
const VERSION: u32 = 1;

pub(super) fn encode_vote(vote: &StoredVote) -> Vec<u8> {
    let mut bytes = begin(VOTE_MAGIC);
    bytes.extend_from_slice(&vote.term.to_le_bytes());
    bytes.extend_from_slice(vote.candidate.as_bytes());
    bytes.extend_from_slice(&u32::from(vote.is_committed).to_le_bytes());
    end(bytes)
}

/// `None` if the bytes are no vote.
pub(super) fn decode_vote(bytes: &[u8]) -> Option<StoredVote> {
    let mut fields = Fields(checked(VOTE_MAGIC, bytes, 40)?);
    let (term, candidate) = (fields.u64()?, NodeId::from_bytes(fields.array()?));
    let is_committed = match fields.u32()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(StoredVote { term, candidate, is_committed })
}

pub(super) fn encode_purged(position: LogPosition) -> Vec<u8> {
    let mut bytes = begin(PURGED_MAGIC);
    bytes.extend_from_slice(&position.term.to_le_bytes());
    bytes.extend_from_slice(&position.index.to_le_bytes());
    end(bytes)
}

/// `None` if the bytes are no purge position.
pub(super) fn decode_purged(bytes: &[u8]) -> Option<LogPosition> {
    let mut fields = Fields(checked(PURGED_MAGIC, bytes, 28)?);
    Some(LogPosition { term: fields.u64()?, index: fields.u64()? })
}

fn begin(magic: [u8; 4]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes
}

fn end(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What lies between the head and the checksum.
fn checked(magic: [u8; 4], bytes: &[u8], len: usize) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let mut fields = Fields(body);
    let is_ours = fields.array::<4>()? == magic && fields.u32()? == VERSION && bytes.len() == len;
    (is_ours && u32::from_le_bytes(*crc) == crc32fast::hash(body)).then_some(fields.0)
}
