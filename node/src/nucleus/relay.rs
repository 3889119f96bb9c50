//! Sessions between whoever asks and a star. The Nucleus opens them, signs them with its epoch and term, and copies bytes.

use super::Nucleus;
use crate::daemon::Node;
use orbit_core::grid::NodeRecord;
use orbit_core::grid::Refusal;
use orbit_core::wire::system::{Opening, Reply};
use orbit_core::wire::{MESSAGE_BYTES_MAX, decode, encode};
use orbit_mesh::net::Protocol;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long the asker may take to say what it wants.
const OPENING_PATIENCE: Duration = Duration::from_secs(10);
/// Largest opening, bytes: a path and a little more.
const OPENING_BYTES_MAX: usize = 16 << 10;
/// Bytes between this node and itself that wait to be read.
const PIPE_BYTES: usize = 256 << 10;
/// Bytes copied at a time in each direction.
const COPY_BYTES: usize = 64 << 10;

/// A way to a star, open for one session.
pub(crate) enum Way {
    /// Over the mesh.
    Mesh(orbit_mesh::net::MeshStream),
    /// To this node's own service.
    Own(tokio::io::DuplexStream),
}

/// Opens a way to a star.
pub(crate) async fn open(node: &Arc<Node>, nucleus: &Nucleus, record: &NodeRecord) -> Result<Way, Refusal> {
    if record.is_draining {
        return Err(Refusal::Draining { name: record.name.clone() });
    }
    if record.id == nucleus.own {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let star = node.star.clone();
        node.tasks.spawn(async move { star.serve(far).await });
        return Ok(Way::Own(near));
    }
    let unreachable = || {
        let seen = nucleus.registry.sight(record.id).last_seen_ms;
        let ago = seen.map_or(-1, |at| crate::standalone::state::now_ms() - at);
        Refusal::NodeUnreachable { name: record.name.clone(), last_seen_ago_ms: ago }
    };
    let link = node.mesh.peers().into_iter().find(|link| link.node == record.id).ok_or_else(unreachable)?;
    let stream = node.mesh.open(link.peer, Protocol::System).await.map_err(|_| unreachable())?;
    Ok(Way::Mesh(stream))
}

/// Carries one session until either side ends it.
pub(crate) async fn carry<A>(node: &Node, nucleus: &Nucleus, asker: A, way: Way)
where
    A: AsyncRead + AsyncWrite + Unpin,
{
    let carried = match way {
        Way::Mesh(star) => session(node, nucleus, asker, star).await,
        Way::Own(star) => session(node, nucleus, asker, star).await,
    };
    if let Err(error) = carried {
        tracing::debug!(%error, "a session ended early");
    }
}

async fn session<A, S>(node: &Node, nucleus: &Nucleus, mut asker: A, mut star: S) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opening =
        timeout(OPENING_PATIENCE, read_opening(&mut asker)).await.map_err(|_| io::ErrorKind::TimedOut)?;
    let mut opening = match opening {
        Ok(opening) => opening,
        Err(error) => {
            let refusal = Refusal::OutOfRange {
                what: "the opening of a session".into(),
                allowed: "one message of 16 KiB".into(),
            };
            asker.write_all(&super::pulse::frame(&encode(&Reply::Refused(refusal)))).await?;
            return Err(error);
        }
    };
    opening.fence = nucleus.fence;
    star.write_all(&super::pulse::frame(&encode(&opening))).await?;
    star.flush().await?;
    tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(&mut asker, &mut star, COPY_BYTES, COPY_BYTES) => copied.map(|_| ()),
        () = node.stop.cancelled() => Ok(()),
    }
}

async fn read_opening(asker: &mut (impl AsyncRead + Unpin)) -> io::Result<Opening> {
    const { assert!(OPENING_BYTES_MAX <= MESSAGE_BYTES_MAX) };
    let len = asker.read_u32_le().await? as usize;
    if len > OPENING_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
    asker.read_exact(&mut bytes).await?;
    decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
