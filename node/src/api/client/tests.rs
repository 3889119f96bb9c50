use super::*;
use crate::api::types::{ConstellationView, ErrorCode, NodeList};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// A data directory of a node, and somebody on its socket.
struct Scene {
    place: tempfile::TempDir,
    listener: UnixListener,
}

/// What a request looked like: its head, line by line, and its body.
struct Asked {
    head: Vec<String>,
    body: String,
    stream: StdStream,
}

impl Scene {
    fn new() -> Self {
        let place = member();
        let listener = UnixListener::bind(place.path().join("orbit.sock")).expect("listens");
        Self { place, listener }
    }

    fn client(&self) -> ApiClient {
        ApiClient::connect(self.place.path()).expect("finds the daemon")
    }

    /// Answers every request by `answer`.
    fn serve(self, answer: impl Fn(Asked) + Send + 'static) -> (ApiClient, tempfile::TempDir) {
        let client = self.client();
        let Self { place, listener } = self;
        let _: JoinHandle<()> = std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever only looks whether somebody is there asks nothing.
                if let Some(asked) = read_request(stream.expect("accepts")) {
                    answer(asked);
                }
            }
        });
        (client, place)
    }
}

fn member() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("makes a directory");
    std::fs::create_dir(place.path().join("identity")).expect("makes a directory");
    std::fs::write(place.path().join("identity/membership.cbor"), "").expect("writes");
    place
}

fn read_request(stream: StdStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase()),
        }
    }
    let len = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |len| len.parse().expect("is a length"));
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body: String::from_utf8(body).expect("is text"), stream: reader.into_inner() })
}

impl Asked {
    fn answer(mut self, status: &str, body: &str) {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        drop(self.stream.write_all(text.as_bytes()));
    }
}

#[test]
fn where_nobody_is() {
    let outside = tempfile::tempdir().expect("makes a directory");
    let error = ApiClient::connect(outside.path()).expect_err("no grid");
    assert!(matches!(error, ClientError::NotInGrid { .. }), "{error}");
    let silent = member();
    let error = ApiClient::connect(silent.path()).expect_err("no daemon");
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    // What a killed daemon leaves.
    drop(UnixListener::bind(silent.path().join("orbit.sock")).expect("listens"));
    let error = ApiClient::connect(silent.path()).expect_err("no daemon");
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    assert_eq!((error.code(), error.is_without_effect()), (ErrorCode::Unreachable, true));
}

#[test]
fn objects_go_there_and_back() {
    let (client, _place) = Scene::new().serve(|asked| {
        let seen = format!("{} {}", asked.head[0], asked.body);
        let has_type = asked.head.iter().any(|line| line == "content-type: application/json");
        assert_eq!(has_type, !asked.body.is_empty());
        asked.answer("200 OK", &serde_json::json!({"name": seen, "nodes": []}).to_string());
    });
    let one: ConstellationView = client.get("/v1/a").expect("answers");
    assert_eq!(one.name, "get /v1/a http/1.1 ");
    let list = NodeList { nodes: vec!["nas1".into()] };
    let one: ConstellationView = client.post("/v1/b", &list).expect("answers");
    assert_eq!(one.name, r#"post /v1/b http/1.1 {"nodes":["nas1"]}"#);
    let one: ConstellationView = client.patch("/v1/b", &list).expect("answers");
    assert_eq!(one.name, r#"patch /v1/b http/1.1 {"nodes":["nas1"]}"#);
    let one: ConstellationView = client.delete_from("/v1/b", &list).expect("answers");
    assert_eq!(one.name, r#"delete /v1/b http/1.1 {"nodes":["nas1"]}"#);
    let error = client.get::<Vec<String>>("/v1/a").expect_err("another object");
    assert!(matches!(error, ClientError::Answer(_)), "{error}");
}

#[test]
fn nothing_is_an_answer() {
    let (client, _place) = Scene::new().serve(|asked| asked.answer("200 OK", ""));
    client.delete("/v1/a").expect("answers");
    client.post::<()>("/v1/a", &()).expect("answers");
}

#[test]
fn what_a_person_wrote_is_one_segment() {
    for (written, encoded) in
        [("nas2", "nas2"), ("a/../b", "a%2F%2E%2E%2Fb"), ("ä ?#%", "%C3%A4%20%3F%23%25")]
    {
        assert_eq!(segment(written), encoded);
    }
    let (client, _place) = Scene::new().serve(|asked| {
        let line = asked.head[0].clone();
        asked.answer("200 OK", &serde_json::json!([line]).to_string());
    });
    let path = format!("/v1/nodes/{}", segment("x HTTP/1.1\r\nHost: y"));
    let seen: Vec<String> = client.get(&path).expect("answers");
    assert_eq!(seen, ["get /v1/nodes/x%20http%2f1%2e1%0d%0ahost%3a%20y http/1.1"]);
}

#[test]
fn failures_say_why() {
    let (client, _place) = Scene::new().serve(|asked| {
        let (status, body) = match asked.head[0].split('/').nth(2) {
            Some("unknown http") => (
                "404 Not Found",
                r#"{"code":"not_found","message":"there is no node nas22","hint":"`orbit node ls` lists them"}"#,
            ),
            Some("broken http") => {
                ("500 Internal Server Error", r#"{"code":"failed","message":"disk","hint":null}"#)
            }
            _ => ("405 Method Not Allowed", "not like this"),
        };
        asked.answer(status, body);
    });
    let unknown = client.get::<()>("/v1/unknown").expect_err("no node");
    assert_eq!(unknown.to_string(), "there is no node nas22");
    assert_eq!(unknown.hint().as_deref(), Some("`orbit node ls` lists them"));
    assert_eq!((unknown.code(), unknown.is_without_effect()), (ErrorCode::NotFound, true));
    let broken = client.delete("/v1/broken").expect_err("fails");
    assert_eq!((broken.code(), broken.is_without_effect()), (ErrorCode::Failed, false));
    let other = client.delete("/v1/other").expect_err("fails");
    assert!(other.to_string().ends_with("405: not like this"), "{other}");
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let (client, _place) = Scene::new().serve(|mut asked| {
        drop(asked.stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
        while asked.stream.write_all(&chunk).is_ok() {}
    });
    let error = client.get::<()>("/v1/a").expect_err("too long");
    assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let scene = Scene::new();
    let daemon = Arc::into_inner(scene.client().0).expect("nobody else has it");
    let client = ApiClient(Arc::new(Daemon { patience: Duration::from_millis(100), ..daemon }));
    let error = client.get::<()>("/v1/a").expect_err("no answer");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    let error = client.star_link("nas2").open().err().expect("no answer");
    assert_eq!(error.kind(), io::ErrorKind::HostUnreachable);
}

#[test]
fn a_conversation_that_breaks_off_is_told() {
    let (client, _place) = Scene::new().serve(|mut asked| {
        drop(asked.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[]"));
    });
    let error = client.get::<Vec<String>>("/v1/a").expect_err("breaks off");
    assert!(matches!(error, ClientError::Body(_)), "{error}");
    assert!(!error.is_without_effect());
}

/// Becomes a stream that gives back what it is sent, with the first bytes in one piece with the answer.
fn echo(mut asked: Asked) {
    assert_eq!(asked.head[0], "get /v1/nodes/nas2/system http/1.1");
    assert!(asked.head.contains(&"connection: upgrade".to_owned()), "{:?}", asked.head);
    assert!(asked.head.contains(&"upgrade: orbit-system/1".to_owned()), "{:?}", asked.head);
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: orbit-system/1\r\n\r\nearly";
    asked.stream.write_all(head.as_bytes()).expect("writes");
    let _: JoinHandle<()> = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = asked.stream.read(&mut buffer) {
            if asked.stream.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    });
}

#[test]
fn a_way_to_a_star_is_a_blocking_stream() {
    let (client, _place) = Scene::new().serve(echo);
    let link = client.star_link("nas2");
    // Streams are independent of each other and of the client.
    let mut streams = [link.open().expect("opens"), link.open().expect("opens")];
    drop((link, client));
    for stream in &mut streams {
        let mut early = [0; 5];
        stream.read_exact(&mut early).expect("reads");
        assert_eq!(&early, b"early");
        let sent: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for piece in sent.chunks(1000) {
            let mut back = vec![0; piece.len()];
            stream.write_all(piece).expect("writes");
            stream.read_exact(&mut back).expect("reads");
            assert!(back == piece);
        }
    }
}

#[test]
fn a_refused_way_says_why() {
    let (client, _place) = Scene::new().serve(|asked| {
        asked.answer(
            "503 Service Unavailable",
            r#"{"code":"unreachable","message":"nas2 is away","hint":null}"#,
        );
    });
    let error = client.star_link("nas2").open().err().expect("refused");
    assert_eq!(error.kind(), io::ErrorKind::HostUnreachable);
    let error = error.downcast::<ClientError>().expect("the client's own");
    assert_eq!(error.to_string(), "nas2 is away");
}

#[test]
fn a_stream_ends_with_its_other_end() {
    let (client, _place) = Scene::new().serve(|mut asked| {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: orbit-system/1\r\n\r\n";
        asked.stream.write_all(head.as_bytes()).expect("writes");
    });
    let mut stream = client.star_link("nas2").open().expect("opens");
    assert_eq!(stream.read(&mut [0; 10]).expect("ends"), 0);
    let wrote = std::iter::repeat_with(|| stream.write(&[0; 4096])).find_map(Result::err);
    assert_eq!(wrote.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
}

#[test]
fn whoever_waits_can_be_stopped() {
    let (client, _place) = Scene::new().serve(echo);
    let stop = Arc::new(AtomicBool::new(false));
    let link = client.star_link_until("nas2", Arc::clone(&stop));
    let mut stream = link.open().expect("opens");
    stream.read_exact(&mut [0; 5]).expect("reads");
    stop.store(true, Ordering::Relaxed);
    let error = stream.read_exact(&mut [0; 1]).expect_err("stopped");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert!(link.open().is_err());
}
