//! TCP, counted; Noise; yamux. And [`Lanes`], by which a stranger's connection is held to a number of bytes.

use super::counters::{Counters, reason};
use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite, FutureExt as _, TryFutureExt as _};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, Transport as _};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp, yamux};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// Time for TCP, Noise and yamux together, when somebody connects to us.
const INBOUND_TIMEOUT: Duration = Duration::from_secs(10);
/// Likewise when we connect: less than the whole of a connection attempt, so that its error names the addresses.
const OUTBOUND_TIMEOUT: Duration = Duration::from_secs(8);
/// Streams on one connection: 72 of ours in each direction, and questions, pings and identify beside them. yamux keeps
/// up to 256 KiB for each, so a larger number would only be more memory for a peer to fill.
const YAMUX_STREAMS_MAX: usize = 256;
/// Connections the kernel holds until they are accepted: a whole grid may come back at once after a restart.
const BACKLOG: u32 = 4_096;

/// The transport of a mesh.
pub(super) fn transport(
    keypair: &Keypair,
    counters: &Arc<Counters>,
    lanes: &Arc<Lanes>,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let secured = Secured {
        noise: noise::Config::new(keypair)?,
        counters: Arc::clone(counters),
        lanes: Arc::clone(lanes),
    };
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(YAMUX_STREAMS_MAX);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true).listen_backlog(BACKLOG));
    Ok(tcp
        .upgrade(Version::V1Lazy)
        .authenticate(secured)
        .multiplex(streams)
        .inbound_timeout(INBOUND_TIMEOUT)
        .outbound_timeout(OUTBOUND_TIMEOUT)
        .boxed())
}

/// Bytes that all strangers together may have sent on connections that still exist. Beyond it, those that sent more than
/// [`FAIR`] are hung up on; a member's hello is well below that, so members get in whatever strangers do.
const POOL: u64 = 32 << 20;
const FAIR: u64 = 8 << 10;

/// What one TCP connection received, and may receive.
#[derive(Debug)]
pub(super) struct Lane {
    received: AtomicU64,
    /// Bytes; 0 is no limit. The handshake itself is short and has none.
    limit: AtomicU64,
    is_cut: AtomicBool,
    /// What of `received` is in the pool.
    pooled: AtomicU64,
    /// Sum of `pooled` of all lanes.
    pool: Arc<AtomicU64>,
}

impl Lane {
    fn may_read(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let received = self.received.load(Ordering::Relaxed);
        let pooled = self.pool.load(Ordering::Relaxed);
        limit == 0 || received <= limit && (pooled <= POOL || received <= FAIR)
    }

    fn count(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        if self.limit.load(Ordering::Relaxed) != 0 {
            self.pool.fetch_add(bytes, Ordering::Relaxed);
            self.pooled.fetch_add(bytes, Ordering::Relaxed);
            if self.limit.load(Ordering::Relaxed) == 0 {
                // The limit was taken off at this very moment.
                self.drain();
            }
        }
    }

    /// Takes out of the pool what this lane put in; whoever comes first takes each byte once.
    fn drain(&self) {
        self.pool.fetch_sub(self.pooled.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// From now on what is received is counted, as a stranger's.
    fn restrict(&self, limit: u64) {
        self.received.store(0, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes the limit off.
    fn lift(&self) {
        self.limit.store(0, Ordering::Relaxed);
        self.drain();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.lift();
    }
}

/// The lanes of every peer. A connection's handler cannot see how much its peer makes yamux buffer, so the limit on
/// strangers sits below encryption, where every byte passes.
#[derive(Debug)]
pub(super) struct Lanes {
    stranger_bytes: u64,
    pool: Arc<AtomicU64>,
    /// Weak: a lane lives as long as its connection. Dead ones of a peer are removed when it comes again, and all from time to time.
    by_peer: Mutex<HashMap<PeerId, Vec<Weak<Lane>>>>,
}

impl Lanes {
    /// Strangers may send `stranger_bytes` each.
    pub(super) fn new(stranger_bytes: u64) -> Self {
        Self { stranger_bytes, pool: Arc::default(), by_peer: Mutex::default() }
    }

    fn lane(&self) -> Arc<Lane> {
        Arc::new(Lane {
            received: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            is_cut: AtomicBool::new(false),
            pooled: AtomicU64::new(0),
            pool: Arc::clone(&self.pool),
        })
    }

    fn add(&self, peer: PeerId, lane: &Arc<Lane>) {
        lane.restrict(self.stranger_bytes);
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = by_peer.entry(peer).or_default();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(lane));
    }

    /// Takes the limit off all connections of a member.
    pub(super) fn lift(&self, peer: &PeerId) {
        self.each(peer, Lane::lift);
    }

    /// Lets not a byte more through on the connections of a peer. Closing alone would first send what is queued, which
    /// a peer that reads nothing can put off.
    pub(super) fn cut(&self, peer: &PeerId) {
        self.each(peer, |lane| lane.is_cut.store(true, Ordering::Relaxed));
    }

    fn each(&self, peer: &PeerId, act: impl Fn(&Lane)) {
        let by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in by_peer.get(peer).into_iter().flatten().filter_map(Weak::upgrade) {
            act(&lane);
        }
    }

    /// Forgets lanes of connections that ended.
    pub(super) fn sweep(&self) {
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        by_peer.retain(|_, lanes| {
            lanes.retain(|lane| lane.strong_count() > 0);
            !lanes.is_empty()
        });
    }
}

/// A stream whose bytes are counted: all but the few by which both sides agree on Noise.
pub(super) struct Counted<S> {
    io: S,
    counters: Arc<Counters>,
    lane: Arc<Lane>,
}

impl<S> Counted<S> {
    fn check_cut(&self) -> io::Result<()> {
        if self.lane.is_cut.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer was cut off"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_cut()?;
        if !this.lane.may_read() {
            this.counters.drop_one(reason::TALKATIVE);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "it sent more than a stranger may",
            )));
        }
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if let Poll::Ready(Ok(count)) = read {
            this.counters.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
            this.lane.count(count as u64);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.check_cut()?;
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = written {
            this.counters.bytes_out.fetch_add(count as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Noise over a counted stream. Only here the stream and, when it is done, the peer's name are both known.
#[derive(Clone)]
struct Secured {
    noise: noise::Config,
    counters: Arc<Counters>,
    lanes: Arc<Lanes>,
}

impl Secured {
    fn counted<S>(&self, io: S) -> Counted<S> {
        Counted { io, counters: Arc::clone(&self.counters), lane: self.lanes.lane() }
    }
}

type Proved<S> = (PeerId, noise::Output<Counted<S>>);

impl UpgradeInfo for Secured {
    type Info = <noise::Config as UpgradeInfo>::Info;
    type InfoIter = <noise::Config as UpgradeInfo>::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.noise.protocol_info()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<S> for Secured {
    type Output = Proved<S>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Proved<S>, noise::Error>>;

    fn upgrade_inbound(self, socket: S, info: Self::Info) -> Self::Future {
        let (counted, lanes) = (self.counted(socket), self.lanes);
        let lane = Arc::clone(&counted.lane);
        let proving = self.noise.upgrade_inbound(counted, info);
        proving.inspect_ok(move |(peer, _)| lanes.add(*peer, &lane)).boxed()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<S> for Secured {
    type Output = Proved<S>;
    type Error = noise::Error;
    type Future = BoxFuture<'static, Result<Proved<S>, noise::Error>>;

    fn upgrade_outbound(self, socket: S, info: Self::Info) -> Self::Future {
        let (counted, lanes) = (self.counted(socket), self.lanes);
        let lane = Arc::clone(&counted.lane);
        let proving = self.noise.upgrade_outbound(counted, info);
        proving.inspect_ok(move |(peer, _)| lanes.add(*peer, &lane)).boxed()
    }
}
