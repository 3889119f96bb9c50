//! Passing a request on to the Nucleus, as it came: HTTP/1.1 over a stream of the mesh. While the grid elects, it waits.
//!
//! A question, and a change that carries an id, may be sent again: to the next Nucleus when the one that was asked is gone
//! or says that it is not the one. A change without an id is sent once.
//!
//! When there is no Nucleus in time, a question is answered from this node's own copy of the records if it has one, marked
//! as of when that was the grid's state; how the grid is, is told by every node.

use super::error::{AGAIN_HEADER, Again, ApiFailure, UNSURE};
use super::nucleus::{BODY_BYTES_MAX, GROUP, STATUS};
use super::records::{AS_OF_HEADER, WithoutNucleus, seat};
use super::request::REQUEST_HEADER;
use super::server::Handled;
use super::status::as_of;
use super::types::{ApiError, ErrorCode, GroupView};
use crate::daemon::Node;
use crate::daemon::shared::{LinkState, NoWay, Way};
use crate::nucleus::relay::pass_between;
use crate::nucleus::views::Eyes;
use crate::standalone::error::chain;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use orbit_core::grid::Refusal;
use orbit_core::ids::RequestId;
use orbit_mesh::PeerId;
use orbit_mesh::key::random;
use orbit_mesh::net::{AskError, Protocol};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits for a Nucleus: an election takes a second or two, and a busy machine a little more.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// Likewise, a question that this node can answer from its own records.
const PATIENCE_OF_QUESTIONS: Duration = Duration::from_secs(4);
/// Likewise, the question how the grid is.
const PATIENCE_OF_STATUS: Duration = Duration::from_secs(3);
/// Likewise, while no leader has been heard for [`LONG_SILENCE`]: nobody expects one in a moment.
const PATIENCE_IN_SILENCE: Duration = Duration::from_millis(700);
/// Longer than an election takes.
const LONG_SILENCE: Duration = Duration::from_secs(6);
/// How long the answer of a Nucleus that is replaced is still waited for.
const LAST_WORD: Duration = Duration::from_millis(400);
/// Pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(40);
/// Largest answer that is read here itself, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Answers as the Nucleus, or with what the Nucleus answers; a question without a Nucleus from this node's own records.
pub(crate) async fn to_nucleus(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let is_status = request.uri().path() == STATUS;
    let is_question = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
    if !is_question || !(is_status || seat(&node).is_some()) {
        let patience = if is_silent(&node) { PATIENCE_OF_STATUS } else { PATIENCE };
        return send(&node, request, Some(&next), patience).await.unwrap_or_else(ApiFailure::into_response);
    }
    let (parts, _) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let patience = patience(&node, is_status);
    match send(&node, again, Some(&next), patience).await {
        Ok(response) if !response.headers().contains_key(AGAIN_HEADER) => response,
        failed => answer_without_nucleus(&node, parts, next, failed).await,
    }
}

fn patience(node: &Node, is_status: bool) -> Duration {
    match () {
        () if is_silent(node) => PATIENCE_IN_SILENCE,
        () if is_status => PATIENCE_OF_STATUS,
        () => PATIENCE_OF_QUESTIONS,
    }
}

/// Whether no leader has been heard for longer than an election takes.
fn is_silent(node: &Node) -> bool {
    node.nucleus().is_none() && seat(node).is_some_and(|seat| seat.group.progress().silence > LONG_SILENCE)
}

/// Lets the handler answer from what this node has, and says of when that is. Where it cannot, it is told why the Nucleus
/// did not answer.
async fn answer_without_nucleus(
    node: &Node,
    mut parts: Parts,
    next: Next,
    failed: Handled<Response>,
) -> Response {
    let as_of_ms = seat(node).map(|seat| as_of(&Eyes::of_member(node, &seat.group)));
    parts.extensions.insert(WithoutNucleus);
    let mut response = next.run(Request::from_parts(parts, Body::empty())).await;
    if response.headers().contains_key(AGAIN_HEADER) {
        // The records went away in this moment.
        return failed.unwrap_or_else(ApiFailure::into_response);
    }
    if let Some(as_of_ms) = as_of_ms.filter(|_| response.status().is_success()) {
        response.headers_mut().insert(AS_OF_HEADER, HeaderValue::from(as_of_ms));
    }
    response
}

/// Asks the Nucleus who elects it.
pub(super) async fn ask_group(node: &Arc<Node>) -> Handled<GroupView> {
    let request = Request::get(GROUP).body(Body::empty());
    let request = request.map_err(|error| ApiFailure::usage(error.to_string()))?;
    read(node, send(node, request, None, PATIENCE).await?).await
}

/// Reads an answer that is for this node itself.
async fn read<T: DeserializeOwned>(node: &Node, response: Response) -> Handled<T> {
    let is_success = response.status().is_success();
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if is_success {
        return serde_json::from_slice(&bytes).map_err(|error| unreachable(node, &error));
    }
    let error = serde_json::from_slice::<ApiError>(&bytes);
    Err(error.map_or_else(|_| no_nucleus(node), ApiFailure::of))
}

/// Removes this node, by asking the Nucleus. If this node is the Nucleus, it hands over first.
pub(crate) async fn remove_this(node: &Arc<Node>) -> Handled<()> {
    if let Some(nucleus) = node.nucleus() {
        nucleus.hand_over(node).await?;
    }
    let request = Request::delete(format!("/v1/nodes/{}", node.membership().node))
        .header(REQUEST_HEADER, RequestId::from_bytes(random()).to_string())
        .body(Body::empty())
        .map_err(|error| ApiFailure::usage(error.to_string()))?;
    let response = send(node, request, None, PATIENCE).await?;
    if response.status().is_success() { Ok(()) } else { read(node, response).await }
}

/// A request that can be sent as often as need be, or once.
enum Outgoing {
    Repeatable(Parts, Bytes),
    Once(Option<Request>),
}

impl Outgoing {
    async fn new(request: Request) -> Handled<Self> {
        let is_question = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        if !is_question && !request.headers().contains_key(REQUEST_HEADER) {
            return Ok(Self::Once(Some(request)));
        }
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, BODY_BYTES_MAX).await;
        let body = body.map_err(|error| ApiFailure::usage(format!("the body cannot be read: {error}")))?;
        Ok(Self::Repeatable(parts, body))
    }

    /// The request; none if it was taken and may not be sent again.
    fn take(&mut self) -> Option<Request> {
        match self {
            Self::Repeatable(parts, body) => {
                Some(Request::from_parts(parts.clone(), Body::from(body.clone())))
            }
            Self::Once(request) => request.take(),
        }
    }

    const fn is_repeatable(&self) -> bool {
        matches!(self, Self::Repeatable(..))
    }
}

/// Sends a request to the Nucleus, which may be this node if `own` is there, until it is answered for good.
async fn send(
    node: &Arc<Node>,
    request: Request,
    own: Option<&Next>,
    patience: Duration,
) -> Handled<Response> {
    let deadline = Instant::now() + patience;
    let mut outgoing = Outgoing::new(request).await?;
    let mut is_unsure = false;
    loop {
        let outcome = match (node.way_to_nucleus(deadline).await, own) {
            (Ok(Way::Own), Some(next)) => match outgoing.take() {
                Some(request) => Ok(next.clone().run(request).await),
                None => return Err(no_nucleus(node)),
            },
            (Ok(Way::Own), None) => Err(no_nucleus(node)),
            (Ok(Way::Peer(peer)), _) => match connect(node, peer).await {
                Ok(sender) => match outgoing.take() {
                    Some(request) => pass_on(node, peer, sender, request).await,
                    None => return Err(no_nucleus(node)),
                },
                // Nothing was sent: whatever it is, it can be tried again.
                Err(failure) if Instant::now() < deadline => {
                    tracing::debug!(error = failure.0.message, "the Nucleus was not reached");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(failure) => Err(failure),
            },
            (Err(no_way), _) => Err(no_way.into()),
        };
        let again = match &outcome {
            Ok(response) => Again::of(response.headers()),
            Err(failure) if failure.0.is_uncertain => Again::Unsure,
            Err(_) => Again::Yes,
        };
        is_unsure |= again == Again::Unsure;
        if again == Again::No || !outgoing.is_repeatable() || Instant::now() + PAUSE >= deadline {
            return if is_unsure && again == Again::Yes { still_unsure(outcome) } else { outcome };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A last answer that says nothing of what became of an attempt before it.
fn still_unsure(outcome: Handled<Response>) -> Handled<Response> {
    match outcome {
        Ok(mut response) => {
            response.headers_mut().insert(AGAIN_HEADER, HeaderValue::from_static(UNSURE));
            Ok(response)
        }
        Err(failure) => Err(ApiFailure(failure.unsure().0, Again::Unsure)),
    }
}

/// Sends a request to a Nucleus. Given up when this node learns that it is not the Nucleus any more.
async fn pass_on(
    node: &Node,
    peer: PeerId,
    mut sender: http1::SendRequest<Body>,
    mut request: Request,
) -> Handled<Response> {
    let here = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let is_question = request.method() == Method::GET;
    let mut link = node.link.subscribe();
    // One that handed over because of this request answers it all the same.
    let is_gone = async {
        let _ = link.wait_for(|state| !matches!(state, LinkState::Connected(now) if *now == peer)).await;
        tokio::time::sleep(LAST_WORD).await;
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        if is_question { unreachable(node, error) } else { uncertain(node, error) }
    };
    let mut response = tokio::select! {
        answered = sender.send_request(request) => answered.map_err(|error| failed(&error))?,
        () = is_gone => return Err(failed(&std::io::Error::from(std::io::ErrorKind::ConnectionAborted))),
    };
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

async fn connect(node: &Node, peer: PeerId) -> Handled<http1::SendRequest<Body>> {
    let mut link = node.link.subscribe();
    let is_gone = link.wait_for(|state| !matches!(state, LinkState::Connected(now) if *now == peer));
    let opened = tokio::select! {
        opened = node.mesh.open(peer, Protocol::Api) => opened,
        // It may hang, and another be the Nucleus by now.
        _ = is_gone => Err(AskError::Closed { peer }),
    };
    let stream = opened.map_err(|error| match error {
        AskError::TooManyStreams { max, .. } => {
            let limit = u32::try_from(max).unwrap_or(u32::MAX);
            Refusal::Busy { name: "the way to the Nucleus".to_owned(), limit }.into()
        }
        error => unreachable(node, &error),
    })?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(node, &error))?;
    node.tasks.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a request that was passed on ended early");
        }
    });
    Ok(sender)
}

impl From<NoWay> for ApiFailure {
    fn from(NoWay { refusal, reason }: NoWay) -> Self {
        // A voter that counts who is missing says more than where it looked.
        let is_bare = matches!(refusal, Refusal::NoNucleus { .. });
        let mut failure = Self::from(refusal);
        if let Some(reason) = reason.filter(|_| is_bare) {
            failure.0.message = format!("{}: {reason}", failure.0.message);
        }
        failure
    }
}

fn no_nucleus(node: &Node) -> ApiFailure {
    node.no_nucleus().into()
}

fn unreachable(node: &Node, error: &(dyn std::error::Error + 'static)) -> ApiFailure {
    let mut failure = no_nucleus(node);
    failure.0.code = ErrorCode::Unreachable;
    failure.0.message = format!("the Nucleus did not answer: {}", chain(error));
    failure
}

/// A request to change something was sent; whether it arrived and was done is not known here.
fn uncertain(node: &Node, error: &(dyn std::error::Error + 'static)) -> ApiFailure {
    ApiFailure(unreachable(node, error).unsure().0, Again::Unsure)
}
