//! The group that elects the Nucleus, with real daemons on loopback, each in a process that can be killed.
#![cfg(target_os = "linux")]

mod fixture;

use fixture::{DAYS, Daemon, LOOPBACK, enter, founded, joined, member_of, node, refusal, wait};
use orbit_node::api::client::ApiClient;
use orbit_node::api::types::{
    ErrorCode, NodePatch, NodeState, NodeView, StatusView, ThisNode, TokenCreated, TokenRequest, TokenView,
};
use orbit_node::daemon::{InitOptions, init, run_with};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Names the data directory to the process that runs it.
const PLACE: &str = "ORBIT_TEST_PLACE";

/// Not for itself: the processes that the others start and kill are this one test.
#[test]
fn a_daemon_in_a_process_of_its_own() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let options = Daemon::new(Path::new(&place), DAYS).options;
    let stop = Arc::new(AtomicBool::new(false));
    run_with(Path::new(&place), options, &stop, &mut |_| {}).expect("the daemon ends well");
}

/// A data directory and its process.
struct Member {
    name: &'static str,
    place: PathBuf,
    process: Option<Child>,
}

impl Member {
    fn start(name: &'static str, place: &Path) -> Self {
        let mut member = Self { name, place: place.join(name), process: None };
        member.run();
        // The same port again when it comes back.
        let address = member.this().addresses[0].clone();
        let toml = member.place.join("star.toml");
        let fixed = std::fs::read_to_string(&toml).expect("reads").replace(LOOPBACK, &address);
        std::fs::write(&toml, fixed).expect("writes");
        member
    }

    fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.place.join("log"));
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_daemon_in_a_process_of_its_own", "--nocapture"])
            .env(PLACE, &self.place)
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        self.process = Some(child.expect("starts"));
        wait("the daemon answering", || {
            ApiClient::connect(&self.place).ok()?.get::<ThisNode>("/v1/node").ok()
        });
    }

    fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("is killed");
        process.wait().expect("ends");
    }

    fn client(&self) -> ApiClient {
        ApiClient::connect(&self.place).expect("the daemon answers")
    }

    fn this(&self) -> ThisNode {
        self.client().get("/v1/node").expect("it tells what it is")
    }

    fn is_nucleus(&self) -> bool {
        self.process.is_some() && self.this().is_nucleus
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// A grid of three voters.
fn three(place: &Path) -> [Member; 3] {
    let options = InitOptions {
        name: Some("nas1".into()),
        listen: vec![LOOPBACK.into()],
        no_mdns: true,
        ..InitOptions::default()
    };
    init(&place.join("nas1"), &options).expect("founds a grid");
    let first = Member::start("nas1", place);
    let via = first.this().addresses[0].clone();
    let [second, third] = ["nas2", "nas3"].map(|name| {
        enter(place, name, &new_token(&first, 1), &via).expect("joins");
        Member::start(name, place)
    });
    wait("three voters", || tolerates(&first, 1));
    // What is kept after the change of the voters is kept by all of them, and so is the change.
    new_token(&first, 1);
    [first, second, third]
}

fn tolerates(asked: &Member, failures: u32) -> Option<()> {
    let status: StatusView = asked.client().get("/v1/status").ok()?;
    (status.tolerates_failures == failures).then_some(())
}

fn new_token(asked: &Member, uses: u32) -> String {
    let wish = TokenRequest { ttl_s: 600, uses, role: "star".into() };
    asked.client().post::<TokenCreated>("/v1/tokens", &wish).expect("makes a token").token
}

/// Who is the Nucleus, once somebody is, and the others.
fn leader(members: &[Member]) -> usize {
    wait("a Nucleus", || members.iter().position(Member::is_nucleus))
}

/// Everything below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("reads").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("is there");
        if kind.is_dir() {
            files(&path, found);
        } else if kind.is_file() {
            found.push(path);
        }
    }
}

#[test]
fn the_grid_goes_on_when_its_nucleus_is_killed() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut members = three(place.path());
    let old = leader(&members);
    members[old].kill();
    let killed = Instant::now();
    for survivor in members.iter().filter(|member| member.process.is_some()) {
        // Waits for the election by itself.
        new_token(survivor, 1);
    }
    assert!(killed.elapsed() < Duration::from_secs(15), "it took {:?}", killed.elapsed());
    let new = leader(&members);
    assert_ne!(new, old);
    members[old].run();
    let back = members[old].name;
    wait("the old one being back", || {
        let view = members[new].client().get::<NodeView>(&format!("/v1/nodes/{back}")).ok()?;
        (view.state == NodeState::Ready).then_some(())
    });
    wait("the old one knowing the new one", || {
        let this = members[old].this();
        (!this.is_nucleus && this.trouble.is_none()).then_some(())
    });
    // What was written before, and while it was away, is known everywhere.
    for member in &members {
        let tokens: Vec<TokenView> = member.client().get("/v1/tokens").expect("lists");
        assert_eq!(tokens.len(), 5, "on {}", member.name);
    }
}

#[test]
fn keys_lie_sealed_among_the_records() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut members = three(place.path());
    let key = std::fs::read_to_string(members[0].place.join("nucleus/seal.key")).expect("reads");
    let key = key.trim();
    let raw: Vec<u8> = (0..key.len() / 2)
        .map(|at| u8::from_str_radix(&key[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
        .collect();
    assert_eq!(raw.len(), 32);
    for member in &mut members {
        member.kill();
        let mut found = Vec::new();
        files(&member.place, &mut found);
        let mut holders = 0;
        for path in found {
            let bytes = std::fs::read(&path).expect("reads");
            let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
            if path.ends_with("nucleus/seal.key") {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(path.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
                assert!(has(key.as_bytes()));
                holders += 1;
                continue;
            }
            assert!(!has(key.as_bytes()) && !has(&raw), "the seal key is in {}", path.display());
            let is_own = path.ends_with("identity/node.key");
            assert!(is_own || !has(b"PRIVATE KEY"), "a key lies open in {}", path.display());
        }
        assert_eq!(holders, 1, "every voter has the seal key");
    }
}

#[test]
fn without_a_quorum_nothing_is_commanded() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut members = three(place.path());
    let alone = leader(&members);
    for at in (0..3).filter(|at| *at != alone) {
        members[at].kill();
    }
    let asked = Instant::now();
    let wish = TokenRequest { ttl_s: 600, uses: 1, role: "star".into() };
    let (code, message) = refusal(members[alone].client().post::<TokenCreated>("/v1/tokens", &wish));
    assert_eq!(code, ErrorCode::Unreachable, "{message}");
    // The node waits for a Nucleus, and the client asks it once more.
    assert!(asked.elapsed() < Duration::from_secs(25), "it took {:?}", asked.elapsed());
    assert!(!members[alone].is_nucleus(), "it has laid the office down");
    let link = members[alone].client().star_link("nas1");
    assert!(link.open().is_err(), "no star is commanded");
    let other = (0..3).find(|at| *at != alone).expect("there are three");
    members[other].run();
    // Two of three decide again.
    new_token(&members[other], 1);
    assert!(member_of(&members[other].client(), "nas1").is_some());
}

#[test]
fn a_token_for_one_use_is_used_once_across_a_failover() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut members = three(place.path());
    let token = new_token(&members[0], 1);
    let old = leader(&members);
    let via = members[(old + 1) % 3].this().addresses[0].clone();
    let joining = {
        let (place, token, via) = (place.path().to_owned(), token.clone(), via.clone());
        std::thread::spawn(move || enter(&place, "nas4", &token, &via).map(|joined| joined.name))
    };
    members[old].kill();
    assert_eq!(joining.join().expect("no panic").expect("joins"), "nas4");
    let error = enter(place.path(), "nas5", &token, &via).expect_err("it is used");
    assert!(error.to_string().contains("already used"), "{error}");
}

#[test]
fn a_request_that_is_repeated_is_carried_out_once() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut members = three(place.path());
    let before: Vec<TokenView> = members[0].client().get("/v1/tokens").expect("lists");
    let first = ask_with_id(&members[0].place, "11111111-2222-3333-4444-555555555555");
    let old = leader(&members);
    members[old].kill();
    let survivor = &members[(old + 1) % 3];
    let again = ask_with_id(&survivor.place, "11111111-2222-3333-4444-555555555555");
    assert_eq!(first.token, again.token, "another Nucleus gives the same answer");
    let other = ask_with_id(&survivor.place, "11111111-2222-3333-4444-555555555556");
    assert_ne!(first.token, other.token);
    let tokens: Vec<TokenView> = survivor.client().get("/v1/tokens").expect("lists");
    assert_eq!(tokens.len(), before.len() + 2);
    enter(place.path(), "nas4", &again.token, &survivor.this().addresses[0]).expect("the token works");
}

/// Makes a token by a request with this id.
fn ask_with_id(place: &Path, id: &str) -> TokenCreated {
    let body = r#"{"ttl_s":600,"uses":1,"role":"star"}"#;
    let mut stream = UnixStream::connect(place.join("orbit.sock")).expect("the daemon answers");
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: orbit\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\norbit-request: {id}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sends");
    stream.write_all(body.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("is answered");
    let json = answer.find('{').map(|at| &answer[at..=answer.rfind('}').expect("an end")]);
    serde_json::from_str(json.expect("an object")).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn a_nucleus_that_stops_hands_over() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut daemons = vec![founded(place.path(), DAYS)];
    for name in ["nas2", "nas3"] {
        let daemon = joined(place.path(), name, &daemons[0], DAYS);
        daemons.push(daemon);
    }
    wait("three voters", || {
        let status: StatusView = daemons[0].client().get("/v1/status").ok()?;
        (status.tolerates_failures == 1).then_some(())
    });
    let is_nucleus =
        |daemon: &Daemon| daemon.client().get::<ThisNode>("/v1/node").is_ok_and(|this| this.is_nucleus);
    let old = wait("a Nucleus", || daemons.iter().position(is_nucleus));
    let mut old = daemons.swap_remove(old);
    let asked = daemons.pop().expect("two are left");
    let stopping = std::thread::spawn(move || {
        old.stop();
        old
    });
    // Commands go on meanwhile, and none fails.
    let mut slowest = Duration::ZERO;
    while !stopping.is_finished() {
        let began = Instant::now();
        let nodes = node(&asked, "nas1");
        slowest = slowest.max(began.elapsed());
        assert!(nodes.is_some(), "a question failed while the office was handed over");
    }
    assert!(slowest < Duration::from_secs(8), "the slowest question took {slowest:?}");
    let mut old = stopping.join().expect("no panic");
    old.start();
    wait("the old one being back", || {
        node(&asked, "nas1").filter(|view| view.state == NodeState::Ready).map(|_| ())
    });
}

#[test]
fn a_nucleus_that_leaves_hands_over_first() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut first = founded(place.path(), DAYS);
    let second = joined(place.path(), "nas2", &first, DAYS);
    // The second one is a learner as soon as it has the records; only then can the first one go.
    wait("the first one leaving", || first.client().post::<()>("/v1/leave", &()).ok());
    first.stop();
    wait("the second one being the Nucleus", || {
        second.client().get::<ThisNode>("/v1/node").ok().filter(|this| this.is_nucleus)
    });
    let nodes: Vec<NodeView> = second.client().get("/v1/nodes").expect("lists");
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["nas2"]);
}

#[test]
fn the_vote_of_a_nucleus_can_be_taken_and_given_back() {
    let place = tempfile::tempdir().expect("makes a directory");
    let members = three(place.path());
    let old = leader(&members);
    let vote = |voting: &str| {
        let patch = NodePatch { voting: Some(voting.into()), ..NodePatch::default() };
        let path = format!("/v1/nodes/{}", members[old].name);
        wait("the wish being taken", || {
            members[(old + 1) % 3].client().patch::<NodeView>(&path, &patch).ok()
        });
    };
    vote("unwanted");
    wait("another Nucleus", || {
        let now = members.iter().position(Member::is_nucleus)?;
        (now != old && tolerates(&members[now], 0).is_some()).then_some(())
    });
    vote("wanted");
    wait("three voters again", || tolerates(&members[leader(&members)], 1));
}
