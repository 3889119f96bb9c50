//! Whether a node can be reached at the addresses it names: asked from outside, by a stranger.

use orbit_mesh::key::NodeKey;
use orbit_mesh::net::{Limits, Mesh, MeshConfig};
use orbit_mesh::{Multiaddr, PeerId};

/// Addresses tried at most.
const ADDRESSES_MAX: usize = 16;

/// Dials each address with a key made for this, and gives those that answered with the key of `peer`. Addresses of
/// other kinds than TCP over IP are left out.
pub(crate) async fn dial_back(peer: PeerId, addresses: &[String]) -> Vec<String> {
    let mut reached = Vec::new();
    for written in addresses.iter().take(ADDRESSES_MAX) {
        let Ok(address) = written.parse::<Multiaddr>() else { continue };
        // A mesh for each address: one that is connected already would not dial again.
        let config = MeshConfig {
            key: NodeKey::generate(),
            listen: Vec::new(),
            mdns: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            limits: Limits::default(),
        };
        let Ok((mesh, _events)) = Mesh::start(config, None).await else { continue };
        if mesh.connect(Some(peer), vec![address]).await.is_ok() {
            reached.push(written.clone());
        }
        mesh.shutdown().await;
    }
    reached
}
