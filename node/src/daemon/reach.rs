//! Whether a node can be reached at the addresses it names: asked from outside, by a stranger.

use orbit_mesh::key::NodeKey;
use orbit_mesh::net::{Limits, Mesh, MeshConfig};
use orbit_mesh::{Multiaddr, PeerId};

/// Addresses tried at most.
const ADDRESSES_MAX: usize = 16;

/// Dials each address with a key made for this, and gives those at which `peer` answered. The node's own mesh is
/// connected with the peer already, and would neither dial again nor keep the two connections apart.
pub(crate) async fn dial_back(peer: PeerId, addresses: &[String]) -> Vec<String> {
    let config = MeshConfig {
        key: NodeKey::generate(),
        listen: Vec::new(),
        mdns: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: Limits::default(),
    };
    let Ok((mesh, _events)) = Mesh::start(config, None).await else { return Vec::new() };
    let mut reached = Vec::new();
    for written in addresses.iter().take(ADDRESSES_MAX) {
        let Ok(address) = written.parse::<Multiaddr>() else { continue };
        if mesh.connect(Some(peer), vec![address]).await.is_ok() {
            reached.push(written.clone());
            mesh.disconnect(peer).await;
        }
    }
    mesh.shutdown().await;
    reached
}
