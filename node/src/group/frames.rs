//! Frames of the streams between members of the group, read and written.

use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::raft::{RAFT_FRAME_BYTES_MAX, RaftFrame};
use orbit_core::wire::{WireError, decode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest message of the handshake, bytes. A refusal may name a few nodes.
const GREETING_BYTES_MAX: usize = 16 << 10;

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The stream.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// What came.
    #[error("what came is no frame of the group")]
    Wire(#[from] WireError),
}

/// Reads one frame. Not cancel-safe: what was read of it is lost.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<RaftFrame, FrameError> {
    Ok(RaftFrame::decode(read(stream, RAFT_FRAME_BYTES_MAX).await?)?)
}

/// Writes one frame and sends it off. Not cancel-safe.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &RaftFrame,
) -> Result<(), FrameError> {
    stream.write_all(&frame.encode()?).await?;
    Ok(stream.flush().await?)
}

/// Reads a message of the handshake. Not cancel-safe.
pub(super) async fn read_greeting<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<T, FrameError> {
    Ok(decode(&read(stream, GREETING_BYTES_MAX).await?)?)
}

/// Writes a message of the handshake. Not cancel-safe.
pub(super) async fn write_greeting<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    greeting: &T,
) -> Result<(), FrameError> {
    stream.write_all(&encode_frame(greeting)).await?;
    Ok(stream.flush().await?)
}

async fn read(stream: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Vec<u8>, FrameError> {
    let mut head = [0; FRAME_HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let mut bytes = Vec::new();
    // Not all at once: whoever claims much has to send it.
    let len = frame_len(head, max)?;
    bytes.reserve(len.min(64 << 10));
    stream.take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::wire::raft::RaftFrameKind;
    use tokio::io::duplex;

    #[tokio::test]
    async fn frames_come_back() {
        let (mut near, mut far) = duplex(1000);
        for len in [0, 1, 70_000] {
            let frame = RaftFrame { id: len as u64, kind: RaftFrameKind::Call, body: vec![7; len] };
            let sent = frame.clone();
            let (written, read) = tokio::join!(write_frame(&mut near, &sent), read_frame(&mut far));
            written.expect("is written");
            assert_eq!(read.expect("is read"), frame);
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_or_too_large_is_refused() {
        let (mut near, mut far) = duplex(1000);
        near.write_all(&(RAFT_FRAME_BYTES_MAX as u32 + 1).to_le_bytes()).await.expect("is written");
        assert!(matches!(read_frame(&mut far).await, Err(FrameError::Wire(WireError::TooLarge { .. }))));
        near.write_all(&[20, 0, 0, 0, 1, 2]).await.expect("is written");
        drop(near);
        assert!(matches!(read_frame(&mut far).await, Err(FrameError::Io(_))));
    }
}
