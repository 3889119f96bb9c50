//! [`ApiClient`]: asks this machine's daemon, and blocks until it has answered.
//!
//! Any node answers for the whole grid: its daemon passes on to the Nucleus what it cannot answer itself. So whoever
//! asks speaks to one Unix socket in the data directory, and never to the network.

mod error;
mod star;

pub use error::ClientError;
pub use star::StarStream;

use super::error::Again;
use super::records::AS_OF_HEADER;
use super::request::REQUEST_HEADER;
use super::types::ApiError;
use crate::remote::StarLink;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use orbit_core::ids::RequestId;
use orbit_mesh::key::random;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;

/// How long a request may take; the daemon gives up earlier on what it asks of others.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long a change is sent again while it is not known who is the Nucleus. The daemon waits longer than that for one,
/// so it is sent again only when that answers soon, or breaks off.
const AGAIN_FOR: Duration = Duration::from_secs(6);
/// Pause before that.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest answer that is read, bytes: a grid of ten thousand nodes has room in it.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How much of an answer that is no object of the API is shown, bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// A client of the daemon that runs for a data directory.
#[derive(Clone, Debug)]
pub struct ApiClient(Arc<Daemon>);

/// Where the daemon is, and what drives the conversation with it.
#[derive(Debug)]
struct Daemon {
    data_dir: PathBuf,
    socket: PathBuf,
    runtime: Runtime,
    patience: Duration,
}

/// An answer, and how old it is.
#[derive(Clone, Debug)]
pub struct Dated<T> {
    /// The answer.
    pub value: T,
    /// When it was the grid's state, milliseconds since 1970; none: now. Else no Nucleus confirms it.
    pub as_of_ms: Option<i64>,
}

/// A part of a path: what a person wrote, so that it cannot be taken for more than one part.
pub fn segment(written: &str) -> String {
    utf8_percent_encode(written, NON_ALPHANUMERIC).to_string()
}

impl ApiClient {
    /// Finds the daemon of a data directory.
    pub fn connect(data_dir: &Path) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::Runtime)?;
        let socket = data_dir.join("orbit.sock");
        let daemon = Daemon { data_dir: data_dir.to_owned(), socket, runtime, patience: PATIENCE };
        // Asked now, so that nobody is told late that nobody is there.
        daemon.runtime.block_on(daemon.reach())?;
        Ok(Self(Arc::new(daemon)))
    }

    /// `GET`. Parts of `path` that people wrote are made by [`segment`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        Ok(self.get_dated(path)?.value)
    }

    /// `GET`, with what is said of the answer's age.
    pub fn get_dated<T: DeserializeOwned>(&self, path: &str) -> Result<Dated<T>, ClientError> {
        self.0.ask(Method::GET, path, Bytes::new(), self.0.patience)
    }

    /// `POST`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.0.change(&Method::POST, path, &json(body))
    }

    /// `POST` of what may take long: it is not sent again.
    pub fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, ClientError> {
        Ok(self.0.ask(Method::POST, path, json(body), patience)?.value)
    }

    /// `POST` whose answer is a file. Waits as long as pieces of it come.
    pub fn download(
        &self,
        path: &str,
        body: &impl Serialize,
        into: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        self.0.download(path, json(body), into)
    }

    /// `PATCH`.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.0.change(&Method::PATCH, path, &json(body))
    }

    /// `DELETE` of what the path names.
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.0.change(&Method::DELETE, path, &Bytes::new())
    }

    /// `DELETE` of a part of what the path names.
    pub fn delete_from<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.0.change(&Method::DELETE, path, &json(body))
    }

    /// A way to the files of a node, by its name or id.
    pub fn star_link(&self, node: &str) -> Arc<dyn StarLink> {
        self.star_link_until(node, Arc::default())
    }

    /// The same, whose streams fail once `stop` is set, even while they wait for an answer.
    pub fn star_link_until(&self, node: &str, stop: Arc<AtomicBool>) -> Arc<dyn StarLink> {
        let path = format!("/v1/nodes/{}/system", segment(node));
        Arc::new(star::Link { daemon: Arc::clone(&self.0), path, stop })
    }
}

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("the API's objects are JSON").into()
}

impl Daemon {
    /// A change, with an id, so that it can be sent again: it is done once at most, however often it arrives.
    fn change<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
    ) -> Result<T, ClientError> {
        let id = RequestId::from_bytes(random()).to_string();
        let id = HeaderValue::from_str(&id).expect("an id can stand in a header");
        let deadline = Instant::now() + AGAIN_FOR;
        let mut is_unsure = false;
        loop {
            let mut request = request(method.clone(), path, body.clone());
            request.headers_mut().insert(REQUEST_HEADER, id.clone());
            match self.send(request, self.patience) {
                Ok(answer) => return Ok(answer.value),
                Err((error, again @ (Again::Yes | Again::Unsure))) if Instant::now() + PAUSE < deadline => {
                    tracing::debug!(%error, "the request is sent again");
                    is_unsure |= again == Again::Unsure;
                    std::thread::sleep(PAUSE);
                }
                // An answer that stands says what became of all attempts.
                Err((error, again)) if is_unsure && again != Again::No && error.is_without_effect() => {
                    return Err(ClientError::Unsettled(Box::new(error)));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Dated<T>, ClientError> {
        self.send(request(method, path, body), patience).map_err(|(error, _)| error)
    }

    /// Sends a request, and says whether it may be sent again if it failed.
    fn send<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
        patience: Duration,
    ) -> Result<Dated<T>, (ClientError, Again)> {
        let mut again = Again::No;
        let answered = self.in_time(patience, async {
            // The daemon itself may be starting again.
            again = Again::Yes;
            let (mut sender, _driver) = self.converse().await?;
            // From here on it may have been done; whether it was is found out by sending it again.
            again = Again::Unsure;
            let response = sender.send_request(request).await.map_err(ClientError::Http)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = body_of(response).await?;
            again = Again::of(&headers);
            if status.is_success() { Ok((body, as_of(&headers))) } else { Err(failure(status, &body)) }
        });
        let (answer, as_of_ms) = answered.map_err(|error| {
            // Whoever waited that long has waited long enough.
            let again = if matches!(error, ClientError::Timeout { .. }) { Again::No } else { again };
            (error, again)
        })?;
        // "Nothing" is an empty body.
        let answer = if answer.is_empty() { Bytes::from_static(b"null") } else { answer };
        let value =
            serde_json::from_slice(&answer).map_err(|error| (ClientError::Answer(error), Again::No))?;
        Ok(Dated { value, as_of_ms })
    }

    fn download(
        &self,
        path: &str,
        body: Bytes,
        into: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let (mut response, _driver) = self.in_time(self.patience, async {
            let (mut sender, driver) = self.converse().await?;
            let response =
                sender.send_request(request(Method::POST, path, body)).await.map_err(ClientError::Http)?;
            let status = response.status();
            if status.is_success() {
                Ok((response, driver))
            } else {
                Err(failure(status, &body_of(response).await?))
            }
        })?;
        loop {
            let frame = self.in_time(self.patience, async {
                let frame = response.frame().await.transpose();
                frame.map_err(|error| ClientError::Body(Box::new(error)))
            })?;
            let Some(frame) = frame else { return Ok(()) };
            if let Ok(piece) = frame.into_data() {
                into(&piece).map_err(ClientError::Sink)?;
            }
        }
    }

    /// Asks for a path that becomes a byte stream.
    fn upgrade(&self, path: &str, protocol: &str) -> Result<(UnixStream, Bytes), ClientError> {
        self.in_time(self.patience, async {
            let (mut sender, _driver) = self.converse().await?;
            let mut request = request(Method::GET, path, Bytes::new());
            let protocol = protocol.parse().expect("a protocol's name can stand in a header");
            request.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
            let response = sender.send_request(request).await.map_err(ClientError::Http)?;
            let status = response.status();
            if status != StatusCode::SWITCHING_PROTOCOLS {
                return Err(failure(status, &body_of(response).await?));
            }
            let upgraded = hyper::upgrade::on(response).await.map_err(ClientError::Http)?;
            let parts = upgraded.downcast::<TokioIo<UnixStream>>().expect("it is the stream it was made of");
            Ok((parts.io.into_inner(), parts.read_buf))
        })
    }

    fn in_time<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        // The timer needs the runtime when it is made, not only when it runs.
        let in_time = self.runtime.block_on(async { tokio::time::timeout(patience, work).await });
        in_time.unwrap_or(Err(ClientError::Timeout { patience }))
    }

    /// Opens a conversation; it lasts as long as the second value.
    async fn converse(&self) -> Result<(SendRequest<Full<Bytes>>, AbortOnDropHandle<()>), ClientError> {
        let stream = TokioIo::new(self.reach().await?);
        let (sender, connection) = http1::handshake(stream).await.map_err(ClientError::Http)?;
        let driver = tokio::spawn(async move {
            // What goes wrong is told to whoever waits for the answer, too.
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "the conversation with the daemon ended early");
            }
        });
        Ok((sender, AbortOnDropHandle::new(driver)))
    }

    async fn reach(&self) -> Result<UnixStream, ClientError> {
        let source = match UnixStream::connect(&self.socket).await {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        let data_dir = self.data_dir.clone();
        if !data_dir.join("identity/membership.cbor").exists() {
            return Err(ClientError::NotInGrid { data_dir });
        }
        Err(match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { data_dir }
            }
            _ => ClientError::Socket { socket: self.socket.clone(), source },
        })
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "orbit");
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(body)).expect("paths are fixed text and segments")
}

async fn body_of(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLong { max: ANSWER_BYTES_MAX }),
        Err(error) => Err(ClientError::Body(error)),
    }
}

fn as_of(headers: &HeaderMap) -> Option<i64> {
    headers.get(AS_OF_HEADER)?.to_str().ok()?.parse().ok()
}

fn failure(status: StatusCode, body: &[u8]) -> ClientError {
    if let Ok(error) = serde_json::from_slice::<ApiError>(body) {
        return ClientError::Api(error);
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(MESSAGE_BYTES_MAX)]).trim().to_owned();
    ClientError::Status { status: status.as_u16(), text }
}

#[cfg(test)]
mod tests;
