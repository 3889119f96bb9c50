//! Frames of the streams about jobs.

use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::job::JOB_FRAME_BYTES_MAX;
use orbit_core::wire::{WireError, decode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long the other side may take nothing of what is said to it.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// Why a frame was not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The stream.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// What came.
    #[error("what came is no message about jobs")]
    Wire(#[from] WireError),
    /// The other side does not go along.
    #[error("the star refused: {0}")]
    Refused(orbit_core::grid::Refusal),
}

/// Reads frames. A read that is dropped goes on with the next one.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) const fn new(stream: R) -> Self {
        Self { stream, bytes: Vec::new() }
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        loop {
            let wanted = match self.bytes.first_chunk::<FRAME_HEAD_LEN>() {
                None => FRAME_HEAD_LEN,
                Some(head) => FRAME_HEAD_LEN + frame_len(*head, JOB_FRAME_BYTES_MAX)?,
            };
            if self.bytes.len() >= FRAME_HEAD_LEN && self.bytes.len() == wanted {
                let message = decode(&self.bytes[FRAME_HEAD_LEN..])?;
                self.bytes.clear();
                // A stream stays open for long: it shall not hold what its largest message needed.
                self.bytes.shrink_to(4096);
                return Ok(message);
            }
            let missing = (wanted - self.bytes.len()) as u64;
            if (&mut self.stream).take(missing).read_buf(&mut self.bytes).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// Writes a message and sends it off. Not cancel-safe.
pub(crate) async fn write_frame<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    let frame = encode_frame(message);
    let written = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    timeout(SEND_PATIENCE, written).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::ids::JobId;
    use orbit_core::wire::job::JobOrder;
    use tokio::io::duplex;

    #[tokio::test]
    async fn messages_come_in_pieces() {
        let (mut near, far) = duplex(3);
        let mut reader = FrameReader::new(far);
        let order = JobOrder::Forget { job: JobId::from_bytes([7; 16]) };
        let frame = encode_frame(&order);
        near.write_all(&frame[..3]).await.expect("is taken");
        // Nothing is lost by giving up half-way.
        assert!(timeout(Duration::from_millis(20), reader.next::<JobOrder>()).await.is_err());
        let rest = tokio::spawn(async move {
            near.write_all(&frame[3..]).await.expect("is taken");
            write_frame(&mut near, &JobOrder::Complete).await.expect("is taken");
        });
        assert_eq!(reader.next::<JobOrder>().await.expect("a message"), order);
        assert_eq!(reader.next::<JobOrder>().await.expect("a message"), JobOrder::Complete);
        rest.await.expect("ends");
        assert!(matches!(reader.next::<JobOrder>().await, Err(FrameError::Io(_))));
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        let (mut near, far) = duplex(64);
        near.write_all(&(JOB_FRAME_BYTES_MAX as u32 + 1).to_le_bytes()).await.expect("is taken");
        let read = FrameReader::new(far).next::<JobOrder>().await;
        assert!(matches!(read, Err(FrameError::Wire(WireError::TooLarge { .. }))));
    }
}
