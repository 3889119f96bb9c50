//! Frames on an asynchronous stream: a length, 4 bytes little endian, and that many bytes.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// What is set aside for a frame before its bytes arrive: a length is only a claim.
const BYTES_AHEAD: usize = 16 << 10;

/// A frame longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Reads one frame; none if the stream ends, at a frame's border or within. Not cancel-safe.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, TooLong> {
    let mut len = [0; 4];
    if stream.read_exact(&mut len).await.is_err() {
        return Ok(None);
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > bytes_max {
        return Err(TooLong);
    }
    let mut frame = Vec::with_capacity(len.min(BYTES_AHEAD));
    match stream.take(len as u64).read_to_end(&mut frame).await {
        Ok(read) if read == len => Ok(Some(frame)),
        _ => Ok(None),
    }
}

/// Why a frame could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendFault {
    /// The other side is gone.
    Closed,
    /// It reads nothing.
    Stalled,
}

/// Writes everything, as long as something of it goes out every `stall`.
pub(super) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stall: Duration,
) -> Result<(), SendFault> {
    while !bytes.is_empty() {
        let written = within(stall, stream.write(bytes)).await?;
        if written == 0 {
            return Err(SendFault::Closed);
        }
        bytes = &bytes[written..];
    }
    within(stall, stream.flush()).await
}

async fn within<T>(stall: Duration, io: impl Future<Output = io::Result<T>>) -> Result<T, SendFault> {
    match timeout(stall, io).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(SendFault::Closed),
        Err(_) => Err(SendFault::Stalled),
    }
}
