//! Many at once: strangers, and a grid that comes back after a restart.

use crate::stranger::Stranger;
use crate::world::{DEADLINE, Grid, Node, Wish, until};
use futures::future::join_all;
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::reason;
use orbit_mesh::{Limits, Mesh, MeshConfig, MeshEvent, Protocol};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Resident memory of this process, bytes; none where the system does not tell.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Figures go to standard error, where `--nocapture` shows them.
pub fn figures(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_bounded_and_members_get_in_all_the_same() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let limits = Limits { strangers: 100, strangers_per_origin: 50, ..Limits::default() };
    let node = Node::start_with(key, Some(identity), limits).await;
    let address = node.addresses()[0].clone();
    let crowd: Vec<_> = join_all((0..300).map(|_| Stranger::connect(node.peer(), address.clone()))).await;
    let taken = crowd.iter().flatten().filter(|stranger| stranger.is_connected()).count();
    assert!(node.mesh.counters().strangers <= 100, "{:?}", node.mesh.counters());
    until("the refused ones are gone", || node.mesh.counters().connections <= 100).await;
    assert!(node.dropped(reason::STRANGERS) >= 150, "{:?} {taken}", node.mesh.counters());

    // The door is full; when those inside had their time, a member makes one of them leave.
    let star = Node::star(&grid).await;
    let start = Instant::now();
    while star.join(&node).await.is_err() {
        assert!(start.elapsed() < DEADLINE, "the member gets in");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    star.mesh.open(node.peer(), Protocol::Pulse).await.expect("and is served");
    assert!(node.dropped(reason::LINGERING) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_strangers_leave_no_memory_behind() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let limits = Limits { strangers: 8, ..Limits::default() };
    let node = Node::start_with(key, Some(identity), limits).await;
    let address = node.addresses()[0].clone();
    let wave = || async {
        for _ in 0..4 {
            drop(join_all((0..50).map(|_| Stranger::connect(node.peer(), address.clone()))).await);
        }
        until("they are gone", || node.mesh.counters().connections == 0).await;
    };
    wave().await;
    let before = resident();
    let waves: usize = std::env::var("ORBIT_WAVES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for _ in 0..waves {
        wave().await;
    }
    let counters = node.mesh.counters();
    assert_eq!((counters.connections, counters.strangers), (0, 0));
    if let (Some(before), Some(after)) = (before, resident()) {
        figures(&format!(
            "resident before {} strangers {} KiB, after {} KiB",
            waves * 200,
            before >> 10,
            after >> 10
        ));
        assert!(after < before + (32 << 20), "{before} {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grid_that_comes_back_at_once_gets_in() {
    let grid = Grid::new();
    let count: usize = std::env::var("ORBIT_CROWD").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut nucleus = Node::nucleus(&grid).await;
    let mut stars = Vec::new();
    for _ in 0..count {
        let key = NodeKey::generate();
        let identity = grid.identity(&key, &Wish::star());
        let config = MeshConfig {
            key,
            listen: Vec::new(),
            mdns: false,
            version: "0.0.0".to_owned(),
            limits: Limits::default(),
        };
        stars.push(Mesh::start(config, Some(identity)).await.expect("a mesh"));
    }
    let before = resident();
    let start = Instant::now();
    let addresses = nucleus.addresses();
    let peer = nucleus.peer();
    let outcomes = join_all(stars.iter().map(|(mesh, _)| mesh.connect(Some(peer), addresses.clone()))).await;
    let took = start.elapsed();
    let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(refused, 0, "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
    for _ in 0..count {
        nucleus.admitted().await;
    }
    assert_eq!(nucleus.mesh.peers().len(), count);
    assert_eq!(nucleus.mesh.counters().strangers, 0);
    let grown =
        resident().zip(before).map(|(after, before)| (after.saturating_sub(before) / count as u64) >> 10);
    figures(&format!("{count} members in {took:?}; both ends of a connection: {grown:?} KiB"));
    while nucleus.events.try_recv().is_ok_and(|event| !matches!(event, MeshEvent::Gone { .. })) {}
}
