//! Messages of the request-response protocols as bytes: one CBOR message, then the end of the stream.

use super::counters::{Counters, reason};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use orbit_core::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

/// Reads and writes messages of at most `max` bytes. The sender closes its side after the message, so no length is sent
/// that a peer could lie about, and memory grows only with what has arrived.
pub(super) struct CborCodec<Q, R> {
    max: usize,
    counters: Arc<Counters>,
    messages: PhantomData<fn() -> (Q, R)>,
}

impl<Q, R> CborCodec<Q, R> {
    pub(super) fn new(max: usize, counters: Arc<Counters>) -> Self {
        Self { max, counters, messages: PhantomData }
    }

    /// Reads one message. Dropped before its end, it counts the message as slow; the stream is of no more use then.
    async fn read<M: DeserializeOwned>(&self, io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<M> {
        let mut unfinished = Unfinished { counters: &self.counters, reason: Some(reason::SLOW) };
        let mut bytes = Vec::new();
        io.take(self.max as u64 + 1).read_to_end(&mut bytes).await?;
        if bytes.len() > self.max {
            unfinished.reason = Some(reason::OVERSIZED);
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too large"));
        }
        unfinished.reason = Some(reason::MALFORMED);
        let message =
            wire::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        unfinished.reason = None;
        Ok(message)
    }

    /// Writes one message. Dropped before its end, the stream is of no more use.
    async fn write<M: Serialize>(
        &self,
        io: &mut (impl AsyncWrite + Unpin + Send),
        message: &M,
    ) -> io::Result<()> {
        let bytes = wire::encode(message);
        if bytes.len() > self.max {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too large to be sent"));
        }
        io.write_all(&bytes).await
    }
}

impl<Q, R> Clone for CborCodec<Q, R> {
    fn clone(&self) -> Self {
        Self::new(self.max, Arc::clone(&self.counters))
    }
}

/// Counts a message that was not read to its end. A deadline drops the reading future without a word, so this is the
/// only place that sees it.
struct Unfinished<'a> {
    counters: &'a Counters,
    reason: Option<&'static str>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.counters.drop_one(reason);
        }
    }
}

impl<Q, R> Codec for CborCodec<Q, R>
where
    Q: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Protocol = StreamProtocol;
    type Request = Q;
    type Response = R;

    async fn read_request<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Q>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn read_response<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<R>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io).await
    }

    async fn write_request<T>(&mut self, _: &Self::Protocol, io: &mut T, request: Q) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &Self::Protocol, io: &mut T, response: R) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, &response).await
    }
}
