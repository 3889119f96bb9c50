//! Links inside a stream of the mesh, for two stars that cannot dial each other.

use crate::daemon::Node;
use crate::nucleus::relay::pass_between;
use orbit_mesh::net::MeshStream;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Gives a blocking stream that leads where `stream` leads; a task carries the bytes, until one side ends.
pub(super) fn carry(node: &Arc<Node>, stream: MeshStream) -> io::Result<UnixStream> {
    let (near, far) = UnixStream::pair()?;
    far.set_nonblocking(true)?;
    let far = tokio::net::UnixStream::from_std(far)?;
    let carrying = Arc::clone(node);
    node.tasks.spawn(async move {
        let carried = tokio::select! {
            carried = pass_between(far, stream) => carried,
            () = carrying.stop.cancelled() => Ok(()),
        };
        if let Err(error) = carried {
            tracing::debug!(%error, "a link inside the mesh ended");
        }
    });
    Ok(near)
}
