//! Questions and streams between members.

use crate::crowd::figures;
use crate::world::{DEADLINE, Grid, Node, until};
use orbit_core::grid::Refusal;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_mesh::net::reason;
use orbit_mesh::{AskError, MeshEvent, MeshStream, Protocol};
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn pair() -> (Node, Node) {
    let grid = Grid::new();
    let (nucleus, star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    star.join(&nucleus).await.expect("connected");
    (nucleus, star)
}

async fn opened(node: &mut Node) -> (Protocol, MeshStream) {
    node.next("a stream", |event| match event {
        MeshEvent::Opened { protocol, stream, .. } => Some((protocol, stream)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_question_is_answered_in_both_directions() {
    let (mut nucleus, mut star) = pair().await;
    let question = ControlRequest::Renew { request: vec![7; 300] };
    let expected = question.clone();
    let to_star = nucleus.mesh.clone();
    let asked = tokio::spawn({
        let (mesh, peer, question) = (star.mesh.clone(), nucleus.peer(), question.clone());
        async move { mesh.ask(peer, &question).await }
    });
    let answer = nucleus
        .next("a question", |event| match event {
            MeshEvent::Asked { from, request, answer } => {
                assert_eq!(from.peer, star.peer());
                assert_eq!(request, expected);
                Some(answer)
            }
            _ => None,
        })
        .await;
    answer.send(ControlReply::Renewed { certificate: Vec::new(), anchors: Vec::new() });
    assert_eq!(
        asked.await.expect("it ran").expect("an answer"),
        ControlReply::Renewed { certificate: Vec::new(), anchors: Vec::new() }
    );

    let peer = star.peer();
    let asked = tokio::spawn(async move { to_star.ask(peer, &question).await });
    let dropped = star
        .next("a question", |event| match event {
            MeshEvent::Asked { answer, .. } => Some(answer),
            _ => None,
        })
        .await;
    drop(dropped);
    let error = asked.await.expect("it ran").expect_err("no answer");
    assert!(matches!(error, AskError::Io { .. }), "{error:?}");
    until("it is counted", || star.dropped(reason::UNANSWERED) == 1).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_taken() {
    let (nucleus, star) = pair().await;
    let question = ControlRequest::Renew { request: vec![7; 5 << 20] };
    let error = star.mesh.ask(nucleus.peer(), &question).await.expect_err("too large");
    assert!(matches!(error, AskError::Io { .. }), "{error:?}");
    let question = ControlRequest::Renew { request: vec![7; 3 << 20] };
    let asked = star.mesh.ask(nucleus.peer(), &question);
    let mut nucleus = nucleus;
    let answered = nucleus.next("the question", |event| match event {
        MeshEvent::Asked { answer, .. } => {
            answer.send(ControlReply::Refused(Refusal::OtherGrid));
            Some(())
        }
        _ => None,
    });
    let (reply, ()) = tokio::join!(asked, answered);
    assert_eq!(reply.expect("a smaller one is"), ControlReply::Refused(Refusal::OtherGrid));
}

#[tokio::test]
async fn a_stream_carries_eight_mebibytes_both_ways() {
    let (mut nucleus, star) = pair().await;
    let bytes: Vec<u8> = (0..8 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mine = star.mesh.open(nucleus.peer(), Protocol::System).await.expect("a stream");
    let (protocol, theirs) = opened(&mut nucleus).await;
    assert_eq!((protocol, theirs.peer(), mine.peer()), (Protocol::System, star.peer(), nucleus.peer()));

    let carry = |stream: MeshStream| async {
        let (mut read, mut write) = tokio::io::split(stream);
        let sending = async {
            write.write_all(&bytes).await.expect("sent");
            write.shutdown().await.expect("closed");
        };
        let mut received = Vec::new();
        let ((), count) = tokio::join!(sending, read.read_to_end(&mut received));
        assert_eq!(count.expect("received"), bytes.len());
        assert!(received == bytes, "what was received is what was sent");
    };
    tokio::time::timeout(DEADLINE, async { tokio::join!(carry(mine), carry(theirs)) })
        .await
        .expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_do_not_block_each_other() {
    let (mut nucleus, star) = pair().await;
    let bytes = std::sync::Arc::new(vec![0x5a; 1 << 20]);
    let mut working = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let mine = star.mesh.open(nucleus.peer(), Protocol::System).await.expect("a stream");
        let (_, theirs) = opened(&mut nucleus).await;
        for stream in [mine, theirs] {
            let bytes = std::sync::Arc::clone(&bytes);
            working.spawn(async move {
                let (mut read, mut write) = tokio::io::split(stream);
                let sending = async {
                    write.write_all(&bytes).await.expect("sent");
                    write.shutdown().await.expect("closed");
                };
                let mut received = Vec::new();
                let ((), count) = tokio::join!(sending, read.read_to_end(&mut received));
                assert_eq!(count.expect("received"), bytes.len());
            });
        }
    }
    let all = async { while working.join_next().await.transpose().expect("it ran").is_some() {} };
    tokio::time::timeout(DEADLINE, all).await.expect("in time");
}

#[tokio::test]
async fn streams_of_one_peer_are_bounded_and_places_come_back() {
    let (mut nucleus, star) = pair().await;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..64 {
        mine.push(star.mesh.open(nucleus.peer(), Protocol::Api).await.expect("a stream"));
        theirs.push(opened(&mut nucleus).await.1);
    }
    let error = star.mesh.open(nucleus.peer(), Protocol::Api).await.expect_err("one too many");
    assert!(matches!(error, AskError::TooManyStreams { max: 64, .. }), "{error:?}");
    nucleus.mesh.open(star.peer(), Protocol::System).await.expect("the other direction is not affected");
    let mut voters = Vec::new();
    for _ in 0..8 {
        voters.push(
            star.mesh.open(nucleus.peer(), Protocol::Raft).await.expect("the group has places of its own"),
        );
        assert_eq!(opened(&mut nucleus).await.0, Protocol::Raft);
    }
    let error = star.mesh.open(nucleus.peer(), Protocol::Raft).await.expect_err("and they are bounded too");
    assert!(matches!(error, AskError::TooManyStreams { max: 8, .. }), "{error:?}");

    // The opener's own count is not what protects: let it forget its streams, while the other side keeps them.
    drop(mine);
    star.mesh.open(nucleus.peer(), Protocol::Api).await.expect("it goes out");
    until("it is dropped and counted", || nucleus.dropped(reason::STREAMS) == 1).await;
    drop(theirs);
    let mut again = star.mesh.open(nucleus.peer(), Protocol::Pulse).await.expect("a place came back");
    let (_, mut other) = opened(&mut nucleus).await;
    again.write_all(b"beat").await.expect("written");
    again.flush().await.expect("sent");
    let mut beat = [0; 4];
    other.read_exact(&mut beat).await.expect("read");
    assert_eq!(&beat, b"beat");
}

#[tokio::test]
async fn nobody_is_asked_who_is_not_connected() {
    let grid = Grid::new();
    let (nucleus, star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    let question = ControlRequest::Renew { request: Vec::new() };
    let error = star.mesh.ask(nucleus.peer(), &question).await.expect_err("not connected");
    assert!(matches!(error, AskError::NotConnected { .. }), "{error:?}");
    let error = star.mesh.hello(nucleus.peer()).await.expect_err("not connected");
    assert!(matches!(error, AskError::NotConnected { .. }), "{error:?}");
    star.mesh.clone().shutdown().await;
    let error = star.mesh.open(nucleus.peer(), Protocol::Api).await.expect_err("stopped");
    assert!(matches!(error, AskError::Stopped), "{error:?}");
}

/// Prints what a question and a stream cost; asserts nothing about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latencies() {
    let (mut nucleus, star) = pair().await;
    let (peer, addresses) = (nucleus.peer(), nucleus.addresses());
    let serving = tokio::spawn(async move {
        while let Some(event) = nucleus.events.recv().await {
            match event {
                MeshEvent::Asked { answer, .. } => {
                    answer.send(ControlReply::Renewed { certificate: Vec::new(), anchors: Vec::new() });
                }
                MeshEvent::Opened { stream, .. } => drop(stream),
                _ => {}
            }
        }
    });
    let question = ControlRequest::Renew { request: Vec::new() };
    let (mut asks, mut opens) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let start = Instant::now();
        star.mesh.ask(peer, &question).await.expect("an answer");
        asks.push(start.elapsed());
        let start = Instant::now();
        drop(star.mesh.open(peer, Protocol::Api).await.expect("a stream"));
        opens.push(start.elapsed());
    }
    let mut connects = Vec::new();
    for _ in 0..50 {
        star.mesh.disconnect(peer).await;
        until("it is gone", || star.mesh.counters().connections == 0).await;
        let start = Instant::now();
        star.mesh.connect(Some(peer), addresses.clone()).await.expect("connected");
        connects.push(start.elapsed());
    }
    connects.sort();
    asks.sort();
    opens.sort();
    figures(&format!(
        "ask p50 {:?} p99 {:?}, open p50 {:?} p99 {:?}, connect and hello p50 {:?} worst {:?}",
        asks[250], asks[495], opens[250], opens[495], connects[25], connects[49]
    ));
    star.mesh.shutdown().await;
    serving.abort();
}
