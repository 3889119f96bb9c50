//! [`Talk`]: a session with a star about the contents it holds.

use crate::daemon::Node;
use orbit_core::grid::{Fence, NodeRecord, Refusal};
use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::system::{Call, ContentsPage, Opening, Reply};
use orbit_core::wire::{MESSAGE_BYTES_MAX, WireError, decode};
use orbit_mesh::Multiaddr;
use orbit_mesh::key::peer_id_of;
use orbit_mesh::net::{AskError, Protocol};
use serde::Serialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a connection, and the opening of a stream, may take.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);
/// How long the star may take to say the next word: others may be using its disk.
const WORD_PATIENCE: Duration = Duration::from_mins(2);
/// Bytes between this node and itself that wait to be read.
const PIPE_BYTES: usize = 256 << 10;

/// Why a star did not tell what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum TalkError {
    /// It is not connected.
    #[error("it is not connected")]
    NotConnected,
    /// It opens no stream.
    #[error("it opens no stream")]
    Open(#[from] AskError),
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("what came is no answer")]
    Wire(#[from] WireError),
    /// It answered something else.
    #[error("it answered something else than what was asked")]
    Unexpected,
    /// It refuses.
    #[error("it refuses")]
    Refused(#[source] Refusal),
    /// It takes too long.
    #[error("it does not answer")]
    Silent,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A session. One question at a time.
pub(super) struct Talk(Box<dyn Stream>);

impl Talk {
    /// Opens a session with a star that is connected, or with this node itself.
    pub async fn open(node: &Arc<Node>, star: &NodeRecord, fence: Fence) -> Result<Self, TalkError> {
        let stream: Box<dyn Stream> = if star.id == node.membership().node {
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let service = node.star.clone();
            node.tasks.spawn(async move { service.serve_contents(far).await });
            Box::new(near)
        } else {
            let peers = node.mesh.peers();
            let link = peers.iter().find(|link| link.node == star.id).ok_or(TalkError::NotConnected)?;
            let opened = timeout(OPENING_PATIENCE, node.mesh.open(link.peer, Protocol::System)).await;
            Box::new(opened.map_err(|_| TalkError::Silent)??)
        };
        let mut talk = Self(stream);
        talk.say(&Opening { fence, path: Vec::new(), browse: false }).await?;
        match talk.hear().await? {
            Reply::Opened(_) => Ok(talk),
            _ => Err(TalkError::Unexpected),
        }
    }

    /// Connects to a star first, if it is not connected.
    pub async fn dial(node: &Arc<Node>, star: &NodeRecord, fence: Fence) -> Result<Self, TalkError> {
        let is_here =
            star.id == node.membership().node || node.mesh.peers().iter().any(|link| link.node == star.id);
        if !is_here {
            let peer = peer_id_of(&star.key).ok_or(TalkError::NotConnected)?;
            let parsed = star.profile.addresses.iter().filter_map(|address| address.parse().ok());
            let mut addresses: Vec<Multiaddr> = parsed.collect();
            let found = node.mesh.discovered().into_iter().filter(|(found, _)| *found == peer);
            addresses.extend(found.flat_map(|(_, addresses)| addresses));
            let connected = timeout(OPENING_PATIENCE, node.mesh.connect(Some(peer), addresses)).await;
            if !matches!(connected, Ok(Ok(_))) {
                return Err(TalkError::NotConnected);
            }
        }
        Self::open(node, star, fence).await
    }

    /// Asks for a page of what it holds.
    pub async fn contents(&mut self, unless: Option<u64>, after: Vec<u8>) -> Result<ContentsPage, TalkError> {
        self.say(&Call::Contents { unless, after }).await?;
        match self.hear().await? {
            Reply::Contents(page) => Ok(page),
            _ => Err(TalkError::Unexpected),
        }
    }

    /// Asks for manifests. [`hear`](Self::hear) them until [`Reply::Done`].
    pub async fn ask_manifests(&mut self, roots: Vec<[u8; 32]>) -> Result<(), TalkError> {
        self.say(&Call::Manifests { roots }).await
    }

    /// The next reply that is no refusal.
    pub async fn hear(&mut self) -> Result<Reply, TalkError> {
        match timeout(WORD_PATIENCE, self.read()).await.map_err(|_| TalkError::Silent)?? {
            Reply::Refused(refusal) => Err(TalkError::Refused(refusal)),
            reply => Ok(reply),
        }
    }

    async fn read(&mut self) -> Result<Reply, TalkError> {
        let mut head = [0; FRAME_HEAD_LEN];
        self.0.read_exact(&mut head).await?;
        let len = frame_len(head, MESSAGE_BYTES_MAX)?;
        let mut bytes = Vec::new();
        // Not all at once: whoever claims much has to send it.
        if (&mut self.0).take(len as u64).read_to_end(&mut bytes).await? < len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(decode(&bytes)?)
    }

    async fn say(&mut self, message: &impl Serialize) -> Result<(), TalkError> {
        let frame = encode_frame(message);
        let said = async {
            self.0.write_all(&frame).await?;
            self.0.flush().await
        };
        Ok(timeout(WORD_PATIENCE, said).await.map_err(|_| TalkError::Silent)??)
    }
}
