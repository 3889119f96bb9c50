//! Direct links between stars, for jobs: who may open one, to what, and how it comes about.
//!
//! The destination of a job reads at its source over links. The Nucleus signs a [ticket](self::ticket) for it; the destination
//! presents that to the source over the mesh; the source judges it and begins a [lease](leases), under which connections are
//! agreed on, one at a time, for as long as the job takes. The Nucleus is needed for the ticket alone.
//!
//! ```text
//!  Nucleus ── ticket ──▶ destination ── Present ──▶ source: signed by a Nucleus? mine? for you? in time? first time?
//!                             │ ◀── Offer: lease, link id, secret, addresses
//!                             ├══ TCP ══▶ or ◀══ TCP ══ or inside the mesh    ──▶ StarService, below the ticket's path
//!                             └── More ──▶ the next connection of the lease
//! ```
//!
//! What a link carries is the system protocol, spoken by threads ([`StarService::serve_link`](crate::star::StarService)).
//!
//! Reading order: [`ticket`], [`leases`], `serve` (the source's side), [`connect`] and `agree` (the destination's), `carry`, `places`.

mod agree;
mod bridge;
mod carry;
pub mod connect;
pub mod error;
pub(crate) mod leases;
mod places;
pub(crate) mod serve;
pub(crate) mod ticket;

pub(crate) use connect::connect;
pub use connect::{DirectLink, Tickets};
pub use error::LinkError;

use crate::daemon::DaemonError;
use crate::daemon::Node;
use crate::daemon::shared::lock;
use leases::Leases;
use orbit_core::grid::ticket::Seen;
use orbit_core::wire::WireError;
use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::decode;
use orbit_core::wire::link::LINK_BYTES_MAX;
use orbit_mesh::direct::{DirectLimits, DirectListener};
use orbit_mesh::key::NodeKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Connections that are served at a time: each has two threads and a megabyte. A job uses about five.
const SERVED_MAX: usize = 64;
/// How often leases are looked at: one that is over ends its connections.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// How long either side may take to say the next thing while a connection is agreed on.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a node has for direct links, as source and as destination.
pub(crate) struct Links {
    listener: DirectListener,
    /// Signs tickets, while this node is the Nucleus.
    key: NodeKey,
    leases: Mutex<Leases>,
    seen: Mutex<Seen>,
    served: Arc<Semaphore>,
    /// Carries what is asynchronous for threads that are not.
    runtime: Handle,
}

impl Links {
    /// Listens where the mesh does, on a port of its own: any free one for port 0. In a runtime.
    pub(crate) fn bind(listen: &[String], port: u16, key: NodeKey) -> Result<Self, DaemonError> {
        let addresses = places::to_listen_on(listen, port);
        let listener = DirectListener::bind(&addresses, DirectLimits::default())
            .map_err(|source| DaemonError::LinkPort { port, source })?;
        Ok(Self {
            listener,
            key,
            leases: Mutex::default(),
            seen: Mutex::default(),
            served: Arc::new(Semaphore::new(SERVED_MAX)),
            runtime: Handle::current(),
        })
    }
}

/// Takes connections and ends leases that are over, until the node stops; then all of them.
pub(crate) async fn keep(node: Arc<Node>) {
    let listening = node.links.listener.serve();
    let tidying = async {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            let membership = node.membership();
            let over = lock(&node.links.leases)
                .tidy(Instant::now(), membership.fence.epoch, |serial| membership.revoked.contains(serial));
            over.break_off();
        }
    };
    tokio::select! {
        () = node.stop.cancelled() => {}
        ended = listening => {
            if let Err(error) = ended {
                node.end_with(DaemonError::LinkPort { port: node.config.link_port, source: error });
            }
        }
        () = tidying => {}
    }
    let all = lock(&node.links.leases).end_all();
    all.break_off();
}

/// Reads one frame. Not cancel-safe: what was read of it is lost.
async fn read_frame<T: DeserializeOwned>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, TalkError> {
    let mut head = [0; FRAME_HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let len = frame_len(head, LINK_BYTES_MAX)?;
    let mut bytes = Vec::with_capacity(len);
    stream.take(len as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(decode(&bytes)?)
}

/// Writes one frame and sends it off. Not cancel-safe.
async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> Result<(), TalkError> {
    stream.write_all(&encode_frame(message)).await?;
    Ok(stream.flush().await?)
}

/// Why two stars did not understand each other.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The stream between them broke.
    #[error("the connection in the mesh broke")]
    Io(#[from] io::Error),
    /// What came cannot be read.
    #[error("what came cannot be read")]
    Wire(#[from] WireError),
    /// Nothing came.
    #[error("the other side did not answer in time")]
    Silent,
}

#[cfg(test)]
mod tests;
