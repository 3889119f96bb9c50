//! What somebody without a certificate can do: speak the join protocol, in small portions, and nothing else.

use crate::stranger::{Knocked, Stranger};
use crate::world::{DEADLINE, Grid, Node, Wish, until};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use orbit_core::grid::{Fence, Refusal};
use orbit_core::ids::TokenId;
use orbit_core::wire::join::{Enrol, Hello, JoinReply, JoinRequest};
use orbit_core::wire::{PROTOCOL_VERSION, decode, encode};
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::reason;
use orbit_mesh::{Limits, MeshEvent, Protocol};
use std::time::Duration;

/// Everything a member could open, and some more that libp2p programs speak.
const FORBIDDEN: [&str; 16] = [
    "/orbit/control/1",
    "/orbit/pulse/1",
    "/orbit/system/1",
    "/orbit/api/1",
    "/orbit/join/2",
    "/orbit/join",
    "/orbit/link/1",
    "/ipfs/id/1.0.0",
    "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
    "/ipfs/kad/1.0.0",
    "/meshsub/1.1.0",
    "/floodsub/1.0.0",
    "/libp2p/autonat/1.0.0",
    "/libp2p/circuit/relay/0.2.0/hop",
    "/http/1.1",
];

async fn stranger(node: &Node) -> Stranger {
    Stranger::connect(node.peer(), node.addresses()[0].clone()).await.expect("a connection")
}

async fn join_stream(stranger: &Stranger) -> Stream {
    match stranger.knock("/orbit/join/1").await {
        Knocked::Open(stream) => stream,
        other => panic!("the join protocol is there for everybody: {other:?}"),
    }
}

/// Sends bytes as a join request and returns what comes back.
async fn say(stranger: &Stranger, bytes: &[u8]) -> Vec<u8> {
    let mut stream = join_stream(stranger).await;
    let mut answer = Vec::new();
    let saying = async {
        // The node may reset the stream while this is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(DEADLINE, saying).await.expect("it ends");
    answer
}

async fn ask(stranger: &Stranger, request: &JoinRequest) -> JoinReply {
    decode(&say(stranger, &encode(request)).await).expect("an answer")
}

fn anonymous() -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        grid: None,
        fence: Fence::default(),
        certificate: Vec::new(),
        anchors: Vec::new(),
        is_nucleus: false,
        now_ms: 0,
    }
}

fn enrol(name: &str) -> JoinRequest {
    JoinRequest::Enrol(Enrol {
        token: TokenId::from_bytes([1; 6]),
        secret: vec![2; 32],
        request: vec![3; 200],
        name: name.to_owned(),
    })
}

/// The node works for those it should work for.
async fn is_alive(grid: &Grid, node: &Node) {
    let star = Node::star(grid).await;
    star.join(node).await.expect("a member is admitted");
    star.mesh.open(node.peer(), Protocol::Pulse).await.expect("and served");
    star.mesh.shutdown().await;
}

#[tokio::test]
async fn every_protocol_but_join_does_not_exist() {
    let grid = Grid::new();
    let mut node = Node::nucleus(&grid).await;
    let outsider = stranger(&node).await;
    for protocol in FORBIDDEN {
        let knocked = outsider.knock(protocol).await;
        assert!(matches!(knocked, Knocked::NotAvailable), "{protocol}: {knocked:?}");
    }
    match ask(&outsider, &JoinRequest::Hello(anonymous())).await {
        JoinReply::Hello(hello) => assert_eq!((hello.grid, hello.anchors.len()), (Some(grid.id), 1)),
        other => panic!("{other:?}"),
    }
    // A hello without a certificate changes nothing.
    for protocol in FORBIDDEN {
        let knocked = outsider.knock(protocol).await;
        assert!(matches!(knocked, Knocked::NotAvailable), "{protocol}: {knocked:?}");
    }
    is_alive(&grid, &node).await;
    node.admitted().await;
    assert!(node.mesh.peers().iter().all(|link| link.role == orbit_core::grid::Role::Star));
}

#[tokio::test]
async fn another_protocol_version_is_told_both_numbers() {
    let grid = Grid::new();
    let node = Node::nucleus(&grid).await;
    let outsider = stranger(&node).await;
    let key = NodeKey::generate();
    let hello = Hello {
        protocol: 9,
        grid: Some(grid.id),
        certificate: grid.certificate(&key, &Wish::star()),
        ..anonymous()
    };
    match ask(&outsider, &JoinRequest::Hello(hello)).await {
        JoinReply::Refused(Refusal::Protocol { theirs: 9, ours: PROTOCOL_VERSION }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_join_request_is_asked_of_the_daemon_and_answered() {
    let grid = Grid::new();
    let mut node = Node::nucleus(&grid).await;
    let outsider = stranger(&node).await;
    let request = enrol("nas2");
    let question = request.clone();
    let answering = node.next("a join request", |event| match event {
        MeshEvent::Join { request, answer, peer, key } => {
            assert_eq!(request, question);
            assert_eq!(orbit_mesh::key::peer_id_of(&key), Some(peer));
            answer.send(JoinReply::Refused(Refusal::TokenUnknown { token: TokenId::from_bytes([1; 6]) }));
            Some(())
        }
        _ => None,
    });
    let (reply, ()) = tokio::join!(ask(&outsider, &request), answering);
    assert_eq!(reply, JoinReply::Refused(Refusal::TokenUnknown { token: TokenId::from_bytes([1; 6]) }));
}

#[tokio::test]
async fn nonsense_is_dropped_and_counted() {
    let grid = Grid::new();
    let node = Node::nucleus(&grid).await;
    let valid = encode(&JoinRequest::Hello(anonymous()));
    let nested: Vec<u8> = std::iter::repeat_n(0x81, 60_000).collect();
    let endless: Vec<u8> = std::iter::repeat_n(0x9f, 60_000).collect();
    let huge_claim = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let trailing: Vec<u8> = valid.iter().copied().chain([0]).collect();
    let random: Vec<u8> = orbit_mesh::key::random::<4_096>().to_vec();
    let nonsense: [&[u8]; 7] =
        [&[], &nested, &endless, &huge_claim, &trailing, &valid[..valid.len() - 1], &random];
    for (at, bytes) in nonsense.iter().enumerate() {
        let outsider = stranger(&node).await;
        assert!(say(&outsider, bytes).await.is_empty(), "case {at} is not answered");
        let wanted = at as u64 + 1;
        until("it is counted", || node.dropped(reason::MALFORMED) == wanted).await;
    }
    is_alive(&grid, &node).await;
}

#[tokio::test]
async fn an_oversized_message_is_dropped_before_it_is_read() {
    let grid = Grid::new();
    let node = Node::nucleus(&grid).await;
    let outsider = stranger(&node).await;
    assert!(say(&outsider, &vec![0x41; (64 << 10) + 1]).await.is_empty());
    until("it is counted", || node.dropped(reason::OVERSIZED) == 1).await;
    is_alive(&grid, &node).await;
}

#[tokio::test]
async fn a_stranger_that_sends_too_much_is_hung_up_on() {
    let grid = Grid::new();
    let node = Node::nucleus(&grid).await;
    let mut outsider = stranger(&node).await;
    // Many streams, none of which asks for much: it is the sum that counts.
    for _ in 0..16 {
        let _ = tokio::time::timeout(DEADLINE, async {
            if let Knocked::Open(mut stream) = outsider.knock("/orbit/join/1").await {
                let _ = stream.write_all(&vec![0x41; 32 << 10]).await;
                let _ = stream.flush().await;
            }
        })
        .await;
    }
    assert!(outsider.hung_up(DEADLINE).await);
    assert_eq!(node.dropped(reason::TALKATIVE), 1);
    is_alive(&grid, &node).await;
}

#[tokio::test]
async fn half_a_message_is_not_waited_for_for_ever() {
    let grid = Grid::new();
    let node = Node::nucleus(&grid).await;
    let outsider = stranger(&node).await;
    let bytes = encode(&JoinRequest::Hello(anonymous()));
    let mut stream = join_stream(&outsider).await;
    stream.write_all(&bytes[..bytes.len() / 2]).await.expect("half of it");
    stream.flush().await.expect("sent");
    is_alive(&grid, &node).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it ends");
    assert!(ended.is_err() || rest.is_empty());
    assert_eq!(node.dropped(reason::SLOW), 1);
}

#[tokio::test]
async fn a_stranger_may_not_stay() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let limits = Limits { stranger_time: Duration::from_secs(2), ..Limits::default() };
    let node = Node::start_with(key, Some(identity), limits).await;
    let star = Node::star(&grid).await;
    star.join(&node).await.expect("a member");
    let mut outsider = stranger(&node).await;
    assert!(outsider.is_connected());
    assert!(outsider.hung_up(DEADLINE).await);
    assert_eq!(node.dropped(reason::LINGERING), 1);
    assert_eq!(node.mesh.peers().len(), 1, "the member stays");
}

#[tokio::test]
async fn requests_are_rated_for_each_address_but_not_those_of_members() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let limits = Limits { join_burst: 5, join_per_second: 1, ..Limits::default() };
    let node = Node::start_with(key, Some(identity), limits).await;
    let outsider = stranger(&node).await;
    let mut refused = 0;
    for _ in 0..12 {
        match ask(&outsider, &JoinRequest::Hello(anonymous())).await {
            JoinReply::Hello(_) => {}
            JoinReply::Refused(Refusal::TooMany { retry_after_s }) => {
                assert!((1..=3).contains(&retry_after_s));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 5, "{refused}");
    assert_eq!(node.dropped(reason::RATE), refused);
    is_alive(&grid, &node).await;
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_costs_the_asker_ten_seconds_and_others_nothing() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let limits = Limits { join_waiting: 2, ..Limits::default() };
    let mut node = Node::start_with(key, Some(identity), limits).await;
    let (first, second, third) = (stranger(&node).await, stranger(&node).await, stranger(&node).await);
    let bytes = encode(&enrol("slow"));
    let waiting = async {
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(
                node.next("a join request", |event| match event {
                    MeshEvent::Join { answer, .. } => Some(answer),
                    _ => None,
                })
                .await,
            );
        }
        // With two waiting there is no room for a third.
        let reply = ask(&third, &enrol("third")).await;
        assert!(matches!(reply, JoinReply::Refused(Refusal::TooMany { .. })), "{reply:?}");
        held
    };
    let (one, two, held) = tokio::join!(say(&first, &bytes), say(&second, &bytes), waiting);
    assert!(one.is_empty() && two.is_empty(), "the deadline passed");
    drop(held);
    assert_eq!(node.dropped(reason::BUSY), 1);
    until("they are counted", || node.dropped(reason::UNANSWERED) == 2).await;
    is_alive(&grid, &node).await;
}
