//! Sessions between whoever asks and a star. The Nucleus opens them, signs them with its epoch and term, and copies bytes.

use super::Nucleus;
use crate::daemon::Node;
use futures::FutureExt;
use orbit_core::grid::{NodeRecord, Refusal};
use orbit_core::wire::system::{Opening, Reply};
use orbit_core::wire::{MESSAGE_BYTES_MAX, decode, encode};
use orbit_mesh::net::{AskError, Protocol};
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
/// How long one side may take nothing of what the other says; longer than a star waits (`StarLimits::stall`), whose
/// decision it is. It bounds how long an asker that reads nothing holds the way to a star that has ended.
const TAKING_PATIENCE: Duration = Duration::from_mins(10);

/// A way to a star, open for one session.
pub(crate) enum Way {
    /// Over the mesh.
    Mesh(Box<orbit_mesh::net::MeshStream>),
    /// To this node's own service.
    Own(tokio::io::DuplexStream),
}

/// Opens a way to a star.
pub(crate) async fn open(node: &Arc<Node>, nucleus: &Nucleus, record: &NodeRecord) -> Result<Way, Refusal> {
    if !nucleus.group().holds_lease() {
        // Another may be the Nucleus by now: this one commands nobody.
        return Err(nucleus.no_quorum());
    }
    if record.is_draining {
        return Err(Refusal::Draining { name: record.name.clone() });
    }
    nucleus.asking.touch(record.id);
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
    let stream = node.mesh.open(link.peer, Protocol::System).await.map_err(|error| match error {
        AskError::TooManyStreams { max, .. } => {
            Refusal::Busy { name: record.name.clone(), limit: u32::try_from(max).unwrap_or(u32::MAX) }
        }
        _ => unreachable(),
    })?;
    Ok(Way::Mesh(Box::new(stream)))
}

/// Carries one session until either side ends it.
pub(crate) async fn carry<A>(node: &Node, nucleus: &Nucleus, asker: A, way: Way)
where
    A: AsyncRead + AsyncWrite + Unpin,
{
    let session = async {
        match way {
            Way::Mesh(star) => session(node, nucleus, asker, star).await,
            Way::Own(star) => session(node, nucleus, asker, star).await,
        }
    };
    let carried = tokio::select! {
        carried = session => carried,
        () = nucleus.ended.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    if let Err(error) = carried {
        tracing::debug!(%error, "a session ended early");
    }
    // Something may have been hashed.
    nucleus.asking.soon();
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
    if opening.path.is_empty() {
        // Such a session is about all that a star hashed: it is for voters, not for people.
        let refusal = Refusal::OutOfRange { what: "the path".into(), allowed: "an absolute one".into() };
        asker.write_all(&super::pulse::frame(&encode(&Reply::Refused(refusal)))).await?;
        return asker.shutdown().await;
    }
    opening.fence = nucleus.fence;
    star.write_all(&super::pulse::frame(&encode(&opening))).await?;
    star.flush().await?;
    tokio::select! {
        ended = pass_between(asker, star) => ended,
        () = node.stop.cancelled() => Ok(()),
    }
}

/// Carries bytes both ways until the side of the star has ended and what it said was passed on, or the asker has gone.
pub(crate) async fn pass_between<A, S>(asker: A, star: S) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite,
    S: AsyncRead + AsyncWrite,
{
    let (from_asker, to_asker) = tokio::io::split(asker);
    let (from_star, to_star) = tokio::io::split(star);
    let questions = async {
        match pour(from_asker, to_star).await {
            // A star that hears no more may still say why.
            Err(Broken::To(_)) => std::future::pending().await,
            ended => ended,
        }
    };
    let ended = tokio::select! {
        ended = pour(from_star, to_asker) => ended,
        ended = questions => ended,
    };
    ended.map_err(|(Broken::From(error) | Broken::To(error))| error)
}

/// Which end of a copy failed.
enum Broken {
    From(io::Error),
    To(io::Error),
}

/// Copies until the end, and passes that on too.
async fn pour(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), Broken> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = if let Some(read) = from.read(&mut buffer).now_or_never() {
            read
        } else {
            // Nothing more comes for the moment, so what is on its way must not wait for it.
            taken(to.flush()).await?;
            from.read(&mut buffer).await
        };
        let read = read.map_err(Broken::From)?;
        if read == 0 {
            return taken(to.shutdown()).await;
        }
        taken(to.write_all(&buffer[..read])).await?;
    }
}

async fn taken(write: impl Future<Output = io::Result<()>>) -> Result<(), Broken> {
    timeout(TAKING_PATIENCE, write)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(Broken::To)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn a_session_ends_with_the_star_after_its_last_words() {
        let (mut asker, near) = duplex(16);
        let (mut star, far) = duplex(16);
        let passed = tokio::spawn(pass_between(near, far));
        let said = b"more than the pipes between them hold at once";
        asker.write_all(b"a question").await.expect("asks");
        star.write_all(&said[..8]).await.expect("answers");
        let rest = tokio::spawn(async move {
            star.write_all(&said[8..]).await.expect("answers");
            // It hears no more, and ends.
            drop(star);
        });
        let mut heard = Vec::new();
        asker.read_to_end(&mut heard).await.expect("hears the end");
        assert_eq!(heard, said);
        rest.await.expect("ends");
        // The asker is still there, and has not closed anything.
        timeout(Duration::from_secs(5), passed).await.expect("ends").expect("no panic").expect("ends well");
        drop(asker);
    }

    #[tokio::test]
    async fn a_session_ends_with_the_asker() {
        let (asker, near) = duplex(16);
        let (mut star, far) = duplex(16);
        let passed = tokio::spawn(pass_between(near, far));
        drop(asker);
        let mut heard = Vec::new();
        timeout(Duration::from_secs(5), star.read_to_end(&mut heard)).await.expect("ends").expect("hears it");
        timeout(Duration::from_secs(5), passed).await.expect("ends").expect("no panic").expect("ends well");
    }
}
