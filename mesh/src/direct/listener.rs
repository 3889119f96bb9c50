//! [`DirectListener`]: takes connections that were agreed on, and no others.

use super::handshake::{self, ANSWER_BYTES, CALL_BYTES};
use super::stream::DirectStream;
use super::{Terms, handshake::Keys};
use orbit_core::ids::LinkId;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Pause after the system could not accept a connection, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds on what strangers may do.
#[derive(Clone, Copy, Debug)]
pub struct DirectLimits {
    /// Connections at once that have not proved anything. One more ends the oldest: whoever knows a secret needs but a round trip.
    pub strangers: usize,
    /// How long one may take to prove that it is expected.
    pub handshake: Duration,
    /// Connections that are expected at once.
    pub expected: usize,
    /// How long one is expected.
    pub expected_time: Duration,
}

impl Default for DirectLimits {
    fn default() -> Self {
        Self {
            strangers: 256,
            handshake: Duration::from_secs(5),
            expected: 256,
            expected_time: Duration::from_secs(30),
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectCounters {
    /// Links established.
    pub established: u64,
    /// Closed: it named no link that was expected.
    pub unknown: u64,
    /// Closed: it did not know the secret, or what it said was no call.
    pub unproven: u64,
    /// Closed: it took too long, or went away.
    pub slow: u64,
    /// Closed: there were too many that had proved nothing.
    pub crowded: u64,
}

/// Too many connections are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many direct links are being opened")]
pub struct Crowded;

/// Listens for direct links. Clones are handles on one listener.
#[derive(Clone, Debug)]
pub struct DirectListener(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sockets: Mutex<Vec<StdListener>>,
    addresses: Vec<SocketAddr>,
    expected: Mutex<HashMap<LinkId, Waiting>>,
    limits: DirectLimits,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    established: AtomicU64,
    unknown: AtomicU64,
    unproven: AtomicU64,
    slow: AtomicU64,
    crowded: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    terms: Terms,
    arrived: oneshot::Sender<DirectStream>,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    Unknown,
    Unproven,
    Slow,
}

impl DirectListener {
    /// Listens at these addresses: port 0 is any free port, the same at all of them if that is possible. Addresses that this
    /// machine does not have are left out, if another is left. [`serve`](Self::serve) takes connections.
    pub fn bind(addresses: &[SocketAddr], limits: DirectLimits) -> io::Result<Self> {
        let mut sockets: Vec<StdListener> = Vec::new();
        let mut bound: Vec<SocketAddr> = Vec::new();
        let mut missing = None;
        for address in addresses {
            let same_port = SocketAddr::new(address.ip(), bound.first().map_or(0, SocketAddr::port));
            let socket = match address.port() {
                0 => listen(same_port).or_else(|_| listen(*address)),
                _ => listen(*address),
            };
            match socket {
                Ok(socket) => {
                    bound.push(socket.local_addr()?);
                    sockets.push(socket);
                }
                Err(error) if is_missing(&error) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = missing.filter(|_| sockets.is_empty()) {
            return Err(error);
        }
        Ok(Self(Arc::new(Shared {
            sockets: Mutex::new(sockets),
            addresses: bound,
            expected: Mutex::default(),
            limits,
            counts: Counts::default(),
        })))
    }

    /// Where it listens; an unspecified address stands for those of all interfaces.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// What was counted since the start.
    pub fn counters(&self) -> DirectCounters {
        let counts = &self.0.counts;
        DirectCounters {
            established: counts.established.load(Relaxed),
            unknown: counts.unknown.load(Relaxed),
            unproven: counts.unproven.load(Relaxed),
            slow: counts.slow.load(Relaxed),
            crowded: counts.crowded.load(Relaxed),
        }
    }

    /// Expects a connection from now on, for as long as what is returned lives. It is taken once.
    pub fn expect(&self, terms: Terms) -> Result<Expected, Crowded> {
        let mut expected = self.0.expected();
        if expected.len() >= self.0.limits.expected {
            return Err(Crowded);
        }
        let (arrived, stream) = oneshot::channel();
        let link = terms.link;
        expected.insert(link, Waiting { terms, arrived });
        drop(expected);
        Ok(Expected { link, stream, listener: Arc::clone(&self.0) })
    }

    /// Takes connections until it is dropped; the listener is closed then. To be called once, in a runtime.
    pub async fn serve(&self) -> io::Result<()> {
        let sockets = std::mem::take(&mut *self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner));
        let mut listening = JoinSet::new();
        for socket in sockets {
            let listener = TcpListener::from_std(socket)?;
            listening.spawn(accept(Arc::clone(&self.0), listener));
        }
        while listening.join_next().await.is_some() {}
        Ok(())
    }
}

/// Whether the machine has no such address, or does not know its family.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // IPv4 has a listener of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, 128)?;
    Ok(StdListener::from(socket))
}

/// Takes connections. Each is judged in a task of its own.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut judged = JoinSet::new();
    let mut strangers: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        while judged.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        strangers.retain(|stranger| !stranger.is_finished());
        if strangers.len() >= shared.limits.strangers
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.abort();
            shared.counts.crowded.fetch_add(1, Relaxed);
        }
        strangers.push_back(judged.spawn(judge(Arc::clone(&shared), stream)));
    }
}

async fn judge(shared: Arc<Shared>, mut stream: TcpStream) {
    let counts = &shared.counts;
    let taken = timeout(shared.limits.handshake, shared.hear(&mut stream));
    let ended = match taken.await.unwrap_or(Err(Closed::Slow)) {
        Ok((waiting, keys)) => {
            let cipher = waiting.terms.cipher;
            let established =
                stream.into_std().and_then(|stream| DirectStream::over_tcp(stream, keys, cipher));
            match established {
                Ok(established) => {
                    counts.established.fetch_add(1, Relaxed);
                    // Whoever expected it may have given up in this very moment.
                    drop(waiting.arrived.send(established));
                    return;
                }
                Err(_) => Closed::Slow,
            }
        }
        Err(closed) => closed,
    };
    let count = match ended {
        Closed::Unknown => &counts.unknown,
        Closed::Unproven => &counts.unproven,
        Closed::Slow => &counts.slow,
    };
    count.fetch_add(1, Relaxed);
}

impl Shared {
    fn expected(&self) -> MutexGuard<'_, HashMap<LinkId, Waiting>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears a call and answers it, if it is one that is expected and proves it.
    async fn hear(&self, stream: &mut TcpStream) -> Result<(Waiting, Keys), Closed> {
        let mut call = [0; CALL_BYTES];
        stream.read_exact(&mut call).await.map_err(|_| Closed::Slow)?;
        let (waiting, keys, answer) = self.take(&call)?;
        stream.write_all(&answer).await.map_err(|_| Closed::Slow)?;
        Ok((waiting, keys))
    }

    /// Takes what was expected. A call with a wrong secret takes nothing away: its id can be read by anybody on the way.
    fn take(&self, call: &[u8; CALL_BYTES]) -> Result<(Waiting, Keys, [u8; ANSWER_BYTES]), Closed> {
        let link = handshake::link_of(call).ok_or(Closed::Unproven)?;
        let terms = self.expected().get(&link).map(|waiting| waiting.terms.clone()).ok_or(Closed::Unknown)?;
        let (keys, answer) = handshake::answer(&terms, call).map_err(|_| Closed::Unproven)?;
        let waiting = self.expected().remove(&link).ok_or(Closed::Unknown)?;
        Ok((waiting, keys, answer))
    }
}

/// A connection that is expected; no longer when this is dropped.
#[derive(Debug)]
pub struct Expected {
    link: LinkId,
    stream: oneshot::Receiver<DirectStream>,
    listener: Arc<Shared>,
}

impl Expected {
    /// Waits for it, at most as long as the limits say. Cancel-safe: it may be waited for again.
    pub async fn arrive(&mut self) -> Option<DirectStream> {
        timeout(self.listener.limits.expected_time, &mut self.stream).await.ok()?.ok()
    }

    /// Takes the connection by another way than the port: the stream `local` leads to the dialler. Blocks for the handshake.
    pub fn over(self, local: UnixStream) -> io::Result<DirectStream> {
        use std::io::{Read as _, Write as _};
        let mut call = [0; CALL_BYTES];
        local.set_read_timeout(Some(self.listener.limits.handshake))?;
        (&local).read_exact(&mut call)?;
        local.set_read_timeout(None)?;
        let refused = |_| io::Error::from(io::ErrorKind::PermissionDenied);
        if handshake::link_of(&call) != Some(self.link) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (waiting, keys, answer) = self.listener.take(&call).map_err(refused)?;
        (&local).write_all(&answer)?;
        self.listener.counts.established.fetch_add(1, Relaxed);
        DirectStream::over_local(local, keys, waiting.terms.cipher)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.listener.expected().remove(&self.link);
    }
}
