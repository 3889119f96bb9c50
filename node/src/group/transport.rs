//! [`MeshTransport`]: how the members of the group reach each other: over kept-open streams of the mesh.

use super::link::Link;
use crate::daemon::Node;
use crate::daemon::shared::lock;
use futures::future::BoxFuture;
use orbit_consensus::{Transport, Unreachable};
use orbit_core::ids::NodeId;
use orbit_core::wire::raft::Lane;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, Weak};
use tokio_util::sync::CancellationToken;

/// Messages of at least this size take the stream for what is large, bytes: parts of snapshots, and entries so many that
/// a heartbeat must not wait for them.
const BULK_FROM: usize = 192 << 10;

/// The ways to the other members of the group.
pub(crate) struct MeshTransport {
    node: Weak<Node>,
    links: Mutex<HashMap<(NodeId, Lane), Link>>,
    ended: CancellationToken,
}

impl MeshTransport {
    pub(super) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::downgrade(node), links: Mutex::default(), ended: node.stop.child_token() }
    }

    /// Keeps ways open to these, and gives up those to others.
    pub(super) fn keep(&self, members: &BTreeSet<NodeId>) {
        lock(&self.links).retain(|(id, _), _| members.contains(id));
        for id in members {
            self.link(*id, Lane::Quick);
        }
    }

    /// Ends all ways, for good.
    pub(super) fn close(&self) {
        self.ended.cancel();
        lock(&self.links).clear();
    }

    fn link(&self, to: NodeId, lane: Lane) -> Option<Link> {
        let node = self.node.upgrade().filter(|_| !self.ended.is_cancelled())?;
        let mut links = lock(&self.links);
        Some(links.entry((to, lane)).or_insert_with(|| Link::open(&node, to, lane, &self.ended)).clone())
    }
}

impl Transport for MeshTransport {
    fn call(&self, to: NodeId, message: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>> {
        let lane = if message.len() >= BULK_FROM { Lane::Bulk } else { Lane::Quick };
        let link = self.link(to, lane);
        let unreachable = move |reason: String| Unreachable { node: to, reason };
        Box::pin(async move {
            let link = link.ok_or_else(|| unreachable("this node is stopping".to_owned()))?;
            link.call(message).await.map_err(unreachable)
        })
    }
}
