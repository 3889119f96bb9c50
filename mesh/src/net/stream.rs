//! [`Protocol`] and [`MeshStream`]: byte streams between members.

use libp2p::{PeerId, Stream, StreamProtocol};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

/// What a stream between members is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Heartbeats, `/orbit/pulse/1`.
    Pulse,
    /// Operations of a file system, `/orbit/system/1`.
    System,
    /// What is wanted of jobs, and how they stand, `/orbit/job/1`.
    Job,
    /// HTTP/1.1 to the Nucleus, `/orbit/api/1`.
    Api,
    /// To agree on a direct link, `/orbit/link/1`.
    Link,
    /// Between members of the nucleus group, `/orbit/raft/1`. Any member may open one; whether the other is of the group
    /// is for the daemon to say.
    Raft,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Pulse, Self::System, Self::Job, Self::Api, Self::Link, Self::Raft];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pulse => "/orbit/pulse/1",
            Self::System => "/orbit/system/1",
            Self::Job => "/orbit/job/1",
            Self::Api => "/orbit/api/1",
            Self::Link => "/orbit/link/1",
            Self::Raft => "/orbit/raft/1",
        }
    }

    pub(super) const fn wire(self) -> StreamProtocol {
        StreamProtocol::new(self.name())
    }
}

/// A place among the streams that one peer may have open; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `max` are taken.
    pub(super) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let grow = |now: usize| (now < max).then_some(now + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A byte stream to a member. Closing the writing side lets the other side read to the end; dropping the stream resets
/// it.
#[derive(Debug)]
pub struct MeshStream {
    peer: PeerId,
    io: Compat<Stream>,
    /// Held so that the stream is counted as long as it lives.
    _place: Place,
}

impl MeshStream {
    pub(super) fn new(peer: PeerId, stream: Stream, place: Place) -> Self {
        Self { peer, io: stream.compat(), _place: place }
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Place::take(&taken, 2).expect("the first");
        let _second = Place::take(&taken, 2).expect("the second");
        assert!(Place::take(&taken, 2).is_none());
        drop(first);
        assert!(Place::take(&taken, 2).is_some());
    }
}
