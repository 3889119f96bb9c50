//! A node under attack: slow, silent, oversized and random, all at once, while a member works with it.

use crate::crowd::{figures, resident};
use crate::stranger::{Knocked, Stranger};
use crate::world::{Grid, Node, until};
use futures::AsyncWriteExt as _;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_mesh::{MeshEvent, Multiaddr, PeerId};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Sockets that say nothing, or nonsense, and stay.
const SLOW: usize = 1_500;
/// Strangers that flood at the same time, each over and over.
const FLOODING: usize = 16;
/// Streams that each of them opens and leaves half open.
const HALF_OPEN: usize = 64;

fn port(address: &Multiaddr) -> u16 {
    address.to_string().rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port")
}

async fn be_slow(address: SocketAddr, at: usize, stop: Arc<AtomicBool>) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    if at % 3 == 1 {
        let _ = socket.write_all(&orbit_mesh::key::random::<512>()).await;
    } else if at % 3 == 2 {
        let _ = socket.write_all(b"\x13/multistream/1.0.0\n\x07/noise\n").await;
    }
    until_stopped(&stop).await;
}

async fn until_stopped(stop: &AtomicBool) {
    until("the siege ends", || stop.load(Ordering::Relaxed)).await;
}

/// Opens streams and leaves them half open, then sends too much; again and again.
async fn flood(peer: PeerId, address: Multiaddr, frames: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let Some(stranger) = Stranger::connect(peer, address.clone()).await else { continue };
        let mut held = Vec::new();
        for _ in 0..HALF_OPEN {
            if let Knocked::Open(stream) = stranger.knock("/orbit/join/1").await {
                held.push(stream);
            }
        }
        let frame = vec![0x9f; 80 << 10];
        for stream in &mut held {
            if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
                break;
            }
            frames.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_served_while_strangers_do_their_worst() {
    let grid = Grid::new();
    let (mut nucleus, star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    star.join(&nucleus).await.expect("connected");
    let (peer, address) = (nucleus.peer(), nucleus.addresses()[0].clone());
    let mesh = nucleus.mesh.clone();
    let serving = tokio::spawn(async move {
        while let Some(event) = nucleus.events.recv().await {
            if let MeshEvent::Asked { answer, .. } = event {
                answer.send(ControlReply::Renewed { certificate: Vec::new(), anchors: Vec::new() });
            }
        }
    });

    let stop = Arc::new(AtomicBool::new(false));
    let frames = Arc::new(AtomicUsize::new(0));
    let before = resident();
    let mut siege = JoinSet::new();
    let socket = SocketAddr::from((Ipv4Addr::LOCALHOST, port(&address)));
    for at in 0..SLOW {
        siege.spawn(be_slow(socket, at, Arc::clone(&stop)));
    }
    for _ in 0..FLOODING {
        siege.spawn(flood(peer, address.clone(), Arc::clone(&frames), Arc::clone(&stop)));
    }
    let question = ControlRequest::Renew { request: Vec::new() };
    let mut took = Vec::new();
    let (start, mut most) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(4) {
        let asked = Instant::now();
        star.mesh.ask(peer, &question).await.expect("a member is answered");
        took.push(asked.elapsed());
        most = most.max(resident().unwrap_or(0));
    }
    let newcomer = Node::star(&grid).await;
    newcomer
        .join(&Node { mesh: mesh.clone(), events: tokio::sync::mpsc::channel(1).1, identity: None })
        .await
        .expect("another member gets in");
    stop.store(true, Ordering::Relaxed);
    took.sort();
    let grown = before.map_or(0, |before| most.saturating_sub(before)) >> 20;
    figures(&format!(
        "under siege: {} questions, p50 {:?}, p99 {:?}; {} oversized frames; {grown} MiB more, attackers included; {:?}",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        frames.load(Ordering::Relaxed),
        mesh.counters(),
    ));
    assert!(grown < 128, "{grown} MiB");
    while siege.join_next().await.is_some() {}
    until("the attackers are gone", || mesh.counters().connections == 2).await;
    serving.abort();
}
