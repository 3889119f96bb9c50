//! [`Conversation`]: many requests to a daemon's API over one connection, without the command line.

use orbit_core::ids::RequestId;
use orbit_mesh::key::random;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take: longer than the daemon waits for a Nucleus.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A request. One that changes something has an id, so that it can be sent again.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    body: Option<Value>,
    id: Option<String>,
}

impl Request {
    /// A question.
    pub fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: None, id: None }
    }

    /// A change, with an id of its own.
    pub fn change(method: &'static str, path: &str, body: Option<Value>) -> Self {
        let id = Some(RequestId::from_bytes(random()).to_string());
        Self { method, path: path.to_owned(), body, id }
    }

    /// Makes a constellation.
    pub fn create(constellation: &str) -> Self {
        let body = serde_json::json!({ "name": constellation });
        Self::change("POST", "/v1/constellations", Some(body))
    }

    /// Removes a constellation.
    pub fn remove(constellation: &str) -> Self {
        Self::change("DELETE", &format!("/v1/constellations/{constellation}"), None)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// Who is the Nucleus was changing: the same request is worth sending again.
    pub is_to_repeat: bool,
    /// When this was the grid's state, milliseconds since 1970, if no Nucleus confirms it.
    pub as_of_ms: Option<i64>,
    /// What it says.
    pub body: Value,
}

impl Answer {
    /// Whether it is what was asked for.
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// What it says of a failure.
    pub fn message(&self) -> String {
        self.body["message"].as_str().map_or_else(|| self.body.to_string(), str::to_owned)
    }
}

/// A connection to the daemon of a data directory.
#[derive(Debug)]
pub struct Conversation {
    stream: BufReader<UnixStream>,
}

impl Conversation {
    /// Connects.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(data_dir.join("orbit.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks. After an error the conversation is over, and whether the request was carried out is not known.
    pub fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.stream.get_mut().write_all(&written(request))?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.ok_or_else(|| malformed("no status"))?,
            is_to_repeat: false,
            as_of_ms: None,
            body: Value::Null,
        };
        let (mut len, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => len = value.parse().map_err(|_| malformed("a length that is none"))?,
                "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
                "orbit-again" => answer.is_to_repeat = true,
                "orbit-as-of" => answer.as_of_ms = value.parse().ok(),
                _ => {}
            }
        }
        let body = if is_chunked { self.chunks()? } else { self.bytes(len)? };
        if !body.is_empty() {
            answer.body = serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        if len > ANSWER_BYTES_MAX {
            return Err(malformed("an answer that is too long"));
        }
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let len = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let len = len.map_err(|_| malformed("a chunk without a length"))?;
            body.extend(self.bytes(len)?);
            self.line()?;
            if len == 0 {
                return Ok(body);
            }
        }
    }
}

fn written(request: &Request) -> Vec<u8> {
    let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
    let mut lines = vec![format!("{} {} HTTP/1.1", request.method, request.path), "Host: orbit".to_owned()];
    lines.extend(request.id.as_ref().map(|id| format!("orbit-request: {id}")));
    if !body.is_empty() {
        lines.push("Content-Type: application/json".to_owned());
    }
    if request.method != "GET" {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the API answered {what}"))
}
