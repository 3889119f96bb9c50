//! [`dial`]: opens a direct link at one of several addresses.

use super::Terms;
use super::handshake::{ANSWER_BYTES, Calling};
use super::stream::DirectStream;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Addresses that are tried at most.
const ADDRESSES_MAX: usize = 16;
/// The next address is tried when the one before has not answered for so long.
const NEXT_AFTER: Duration = Duration::from_millis(200);
/// How long an address may take to answer, handshake included.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why no address leads to a link; each with its reason.
#[derive(Debug, thiserror::Error)]
#[error("no address for direct links answered: {}", Listed(.0))]
pub struct DialError(pub Vec<(SocketAddr, io::Error)>);

struct Listed<'e>(&'e [(SocketAddr, io::Error)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none is known");
        }
        for (at, (address, error)) in self.0.iter().enumerate() {
            let text = error.to_string();
            let plain = text.split(" (os error").next().unwrap_or_default();
            write!(f, "{}{address} ({plain})", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Opens a link at the first of these addresses that answers; they are tried one shortly after the other, and those after the
/// sixteenth not at all. About six seconds at most. Cancel-safe.
pub async fn dial(addresses: &[SocketAddr], terms: &Terms) -> Result<DirectStream, DialError> {
    let mut waiting = addresses.iter().copied().take(ADDRESSES_MAX);
    let mut attempts: JoinSet<(SocketAddr, io::Result<DirectStream>)> = JoinSet::new();
    let mut failures = Vec::new();
    let mut next = Instant::now();
    let mut is_last = false;
    loop {
        tokio::select! {
            // The next one's turn has come, or there is nothing to wait for.
            () = sleep_until(next), if !is_last => match waiting.next() {
                Some(address) => {
                    let terms = terms.clone();
                    attempts.spawn(async move { (address, attempt(address, &terms).await) });
                    next = Instant::now() + NEXT_AFTER;
                }
                None => is_last = true,
            },
            Some(done) = attempts.join_next() => match done {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(error))) => {
                    failures.push((address, error));
                    next = Instant::now();
                }
                Err(error) => {
                    tracing::error!(%error, "an attempt to open a direct link ended");
                    next = Instant::now();
                }
            },
            else => return Err(DialError(failures)),
        }
    }
}

async fn attempt(address: SocketAddr, terms: &Terms) -> io::Result<DirectStream> {
    let calling = async {
        let mut stream = TcpStream::connect(address).await?;
        let (calling, call) = Calling::begin(terms);
        stream.write_all(&call).await?;
        let mut answer = [0; ANSWER_BYTES];
        stream.read_exact(&mut answer).await?;
        let keys = calling.finish(&answer).map_err(io::Error::other)?;
        DirectStream::over_tcp(stream.into_std()?, keys, terms.cipher)
    };
    timeout(PATIENCE, calling).await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?
}

impl DirectStream {
    /// Opens a link over a stream that leads to whoever expects it. Blocks for the handshake.
    pub fn dial_over(local: UnixStream, terms: &Terms) -> io::Result<Self> {
        let (calling, call) = Calling::begin(terms);
        local.set_read_timeout(Some(PATIENCE))?;
        (&local).write_all(&call)?;
        let mut answer = [0; ANSWER_BYTES];
        (&local).read_exact(&mut answer)?;
        local.set_read_timeout(None)?;
        Self::over_local(local, calling.finish(&answer).map_err(io::Error::other)?, terms.cipher)
    }
}
