//! Whether a node can be reached at the addresses it names: asked from outside, by a stranger.

use futures::future::join_all;
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::{Limits, Mesh, MeshConfig};
use orbit_mesh::{Multiaddr, PeerId};
use std::time::Duration;
use tokio::time::timeout;

/// Addresses tried at most.
const ADDRESSES_MAX: usize = 16;
/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Dials each address with a key made for this, and gives those at which `peer` answered. The node's own mesh is
/// connected with the peer already, and would neither dial again nor keep the two connections apart; nor would one that
/// dialled two addresses. Takes little more than three seconds.
pub(crate) async fn dial_back(peer: PeerId, addresses: &[String]) -> Vec<String> {
    let dials = addresses.iter().take(ADDRESSES_MAX).map(|written| async move {
        let address = written.parse().ok()?;
        answers(peer, address).await.then(|| written.clone())
    });
    join_all(dials).await.into_iter().flatten().collect()
}

async fn answers(peer: PeerId, address: Multiaddr) -> bool {
    let config = MeshConfig {
        key: NodeKey::generate(),
        listen: Vec::new(),
        mdns: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    let Ok((mesh, _events)) = Mesh::start(config, None).await else { return false };
    let answered = timeout(PATIENCE, mesh.connect(Some(peer), vec![address])).await;
    mesh.shutdown().await;
    matches!(answered, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_addresses_that_answer_count() {
        let config = MeshConfig {
            key: NodeKey::generate(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            mdns: false,
            version: String::new(),
            limits: Limits::default(),
        };
        let (mesh, _events) = Mesh::start(config, None).await.expect("listens");
        let open: Vec<String> = mesh.listen_addresses().iter().map(ToString::to_string).collect();
        // The first answers; those after it must be dialled all the same.
        let named = [open.clone(), vec!["/ip4/127.0.0.1/tcp/1".into(), "nonsense".into()]].concat();
        assert_eq!(dial_back(mesh.peer_id(), &named).await, open);
        mesh.shutdown().await;
    }
}
