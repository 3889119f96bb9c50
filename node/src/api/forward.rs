//! Passing a request on to the Nucleus, as it came: HTTP/1.1 over a stream of the mesh.

use super::error::ApiFailure;
use super::server::Handled;
use super::types::{ApiError, ErrorCode};
use crate::daemon::Node;
use crate::daemon::shared::LinkState;
use crate::nucleus::relay::pass_between;
use crate::standalone::error::chain;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use orbit_core::grid::Refusal;
use orbit_mesh::net::{AskError, MeshStream, Protocol};

/// Largest answer that is read here itself, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Answers with what the Nucleus answers.
pub(crate) async fn to_nucleus(node: &Node, request: Request) -> Response {
    match pass_on(node, request).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    }
}

async fn pass_on(node: &Node, mut request: Request) -> Handled<Response> {
    let here = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let mut sender = connect(node).await?;
    let is_question = request.method() == Method::GET;
    let mut response = sender
        .send_request(request)
        .await
        .map_err(|error| if is_question { unreachable(node, &error) } else { uncertain(node, &error) })?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let there = hyper::upgrade::on(&mut response);
        let here = here.ok_or_else(|| ApiFailure::usage("the request asks for no upgrade"))?;
        node.tasks.spawn(async move {
            if let (Ok(here), Ok(there)) = tokio::join!(here, there) {
                // What went wrong is known to the side that waits for data.
                let ended = pass_between(TokioIo::new(here), TokioIo::new(there)).await;
                tracing::debug!(?ended, "a session was passed on");
            }
        });
    }
    Ok(response.map(Body::new))
}

/// Removes a node, by asking the Nucleus.
pub(crate) async fn remove_node(node: &Node, name: &str) -> Handled<()> {
    let request = Request::delete(format!("/v1/nodes/{name}"))
        .body(Body::empty())
        .map_err(|error| ApiFailure::usage(error.to_string()))?;
    let mut sender = connect(node).await?;
    let response = sender.send_request(request).await.map_err(|error| uncertain(node, &error))?;
    if response.status().is_success() {
        return Ok(());
    }
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Err(serde_json::from_slice::<ApiError>(&bytes).map_or_else(|_| no_nucleus(node), ApiFailure))
}

async fn connect(node: &Node) -> Handled<http1::SendRequest<Body>> {
    let stream = open(node).await?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(node, &error))?;
    node.tasks.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a request that was passed on ended early");
        }
    });
    Ok(sender)
}

async fn open(node: &Node) -> Handled<MeshStream> {
    let peer = match &*node.link.borrow() {
        LinkState::Connected(peer) => *peer,
        LinkState::Refused(refusal) => return Err(refusal.clone().into()),
        LinkState::Own => return Err(no_nucleus(node)),
        LinkState::Searching(reason) => {
            let mut failure = no_nucleus(node);
            failure.0.message = format!("{}: {reason}", failure.0.message);
            return Err(failure);
        }
    };
    node.mesh.open(peer, Protocol::Api).await.map_err(|error| match error {
        AskError::TooManyStreams { max, .. } => {
            let limit = u32::try_from(max).unwrap_or(u32::MAX);
            Refusal::Busy { name: "the way to the Nucleus".to_owned(), limit }.into()
        }
        error => unreachable(node, &error),
    })
}

fn no_nucleus(node: &Node) -> ApiFailure {
    Refusal::NoNucleus { node: node.standing().name }.into()
}

fn unreachable(node: &Node, error: &(dyn std::error::Error + 'static)) -> ApiFailure {
    let mut failure = no_nucleus(node);
    failure.0.code = ErrorCode::Unreachable;
    failure.0.message = format!("the Nucleus did not answer: {}", chain(error));
    failure
}

/// A request to change something was sent; whether it arrived and was done is not known here.
fn uncertain(node: &Node, error: &(dyn std::error::Error + 'static)) -> ApiFailure {
    let mut failure = unreachable(node, error);
    failure.0.code = ErrorCode::Failed;
    failure.0.message += "; it may or may not have been done";
    failure.0.hint = Some("look with `orbit node ls` or `orbit token ls` before trying again".to_owned());
    failure
}
