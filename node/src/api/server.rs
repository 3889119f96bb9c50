//! [`ApiServer`]: the router on the Unix socket, and on streams that members open to the Nucleus.

use super::{forward, local, nucleus};
use crate::daemon::data_dir::SOCKET_PATH_BYTES_MAX;
use crate::daemon::{DaemonError, Node};
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use orbit_core::grid::Refusal;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::ids::{NodeId, PeerKey};
use orbit_mesh::net::{Member, MeshStream};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Streams of members that wait to be served. They are taken at once unless the runtime is overloaded.
const WAITING_MAX: usize = 256;

/// The API of a node, bound and not yet served.
pub(crate) struct ApiServer {
    socket: UnixListener,
    members: Sender<(MeshStream, Member)>,
    arrivals: Receiver<(MeshStream, Member)>,
}

/// Where API streams of members go.
#[derive(Clone, Debug)]
pub(crate) struct MemberStreams(Sender<(MeshStream, Member)>);

impl MemberStreams {
    /// Hands a stream over; drops it when too many wait.
    pub(crate) fn offer(&self, from: Member, stream: MeshStream) {
        if self.0.try_send((stream, from)).is_err() {
            tracing::warn!("an API stream was dropped: too many wait");
        }
    }
}

impl ApiServer {
    /// Binds the socket, for this user only. Whoever holds the data directory's lock may replace a socket that a killed
    /// daemon left.
    pub(crate) fn bind(node: &Node) -> Result<Self, DaemonError> {
        let path = node.home.socket();
        let failed = |operation| DaemonError::file(operation, path.clone());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace")(error)),
            _ => {}
        }
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(DaemonError::LongPath { path });
        }
        let socket = UnixListener::bind(&path).map_err(failed("listen on"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        let (members, arrivals) = channel(WAITING_MAX);
        Ok(Self { socket, members, arrivals })
    }

    /// Where the mesh hands over streams of members.
    pub(crate) fn member_streams(&self) -> MemberStreams {
        MemberStreams(self.members.clone())
    }

    /// Serves until the node stops.
    pub(crate) async fn serve(self, node: Arc<Node>) {
        let on_socket = axum::serve(self.socket, router(&node)).with_graceful_shutdown(stopped(&node));
        let members = MemberListener(self.arrivals);
        let guard = middleware::from_fn_with_state(Arc::clone(&node), members_only);
        let for_members = nucleus::router(&node).layer(guard).into_make_service_with_connect_info::<Caller>();
        let on_mesh = axum::serve(members, for_members).with_graceful_shutdown(stopped(&node));
        let (socket, mesh) = tokio::join!(on_socket, on_mesh);
        if let Err(error) = socket.and(mesh) {
            tracing::error!(%error, "the API ended");
        }
    }
}

fn stopped(node: &Arc<Node>) -> impl Future<Output = ()> + Send + 'static {
    let stop = node.stop.clone();
    async move { stop.cancelled().await }
}

/// Everything on the socket: this node's own paths, and the Nucleus's, which other nodes pass on.
fn router(node: &Arc<Node>) -> Router {
    let to_nucleus = middleware::from_fn_with_state(Arc::clone(node), forward::to_nucleus);
    local::router(node).merge(nucleus::router(node).layer(to_nucleus))
}

/// Streams of members as a listener.
struct MemberListener(Receiver<(MeshStream, Member)>);

impl Listener for MemberListener {
    type Io = MeshStream;
    type Addr = Caller;

    async fn accept(&mut self) -> (MeshStream, Caller) {
        match self.0.recv().await {
            Some((stream, from)) => (stream, Caller { node: from.node, key: from.key }),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Caller> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}

/// The member whose stream a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    node: NodeId,
    key: PeerKey,
}

impl Connected<IncomingStream<'_, MemberListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, MemberListener>) -> Self {
        *stream.remote_addr()
    }
}

/// The member that asks; none if it is this node itself, by its socket.
pub(crate) fn caller(extensions: &Extensions) -> Option<NodeId> {
    extensions.get::<ConnectInfo<Caller>>().map(|ConnectInfo(caller)| caller.node)
}

/// Lets requests of members through. The mesh has let the asker in; that it still is a member, the grid's records alone know
/// for certain.
async fn members_only(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<ConnectInfo<Caller>>().map(|ConnectInfo(caller)| *caller);
    let refusal = match (node.acting_nucleus(), caller) {
        (Some(nucleus), Some(caller)) => {
            let is_key = |key| key == caller.key;
            if nucleus.with(|state| state.node(caller.node).is_some_and(|record| is_key(record.key))) {
                return next.run(request).await;
            }
            Refusal::Certificate { reason: CertificateFault::Revoked }
        }
        _ => Refusal::NotNucleus { node: node.standing().name },
    };
    axum::response::IntoResponse::into_response(super::error::ApiFailure::from(refusal))
}

/// What a handler gives back.
pub(crate) type Handled<T> = Result<T, super::error::ApiFailure>;
/// [`Handled`] with a whole response.
pub(crate) type HandledResponse = Handled<Response>;
