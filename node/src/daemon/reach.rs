//! Whether a node can be reached at the addresses it names.

use orbit_mesh::net::Mesh;
use orbit_mesh::{Multiaddr, PeerId};

/// Addresses tried at most.
const ADDRESSES_MAX: usize = 16;

/// Dials each address, and gives those at which `peer` itself answered.
pub(crate) async fn dial_back(mesh: &Mesh, peer: PeerId, addresses: &[String]) -> Vec<String> {
    let mut reached = Vec::new();
    for written in addresses.iter().take(ADDRESSES_MAX) {
        let Ok(address) = written.parse::<Multiaddr>() else { continue };
        if mesh.probe(peer, address).await.is_ok() {
            reached.push(written.clone());
        }
    }
    reached
}
