//! Listening and connecting: what fails says why, and where.

use crate::world::{DEADLINE, Grid, Node, Wish, until};
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::reason;
use orbit_mesh::{AddressFault, ConnectError, Limits, Mesh, MeshConfig, MeshError, Multiaddr};
use std::net::{TcpListener, TcpStream};

fn config(listen: &[&str]) -> MeshConfig {
    MeshConfig {
        key: NodeKey::generate(),
        listen: listen.iter().map(|address| address.parse().expect("an address")).collect(),
        mdns: false,
        version: "0.0.0".to_owned(),
        limits: Limits::default(),
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().expect("bound").port());
    let error = Mesh::start(config(&[&address]), None).await.map(|_| ()).expect_err("it is taken");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn two_nodes_do_not_share_a_port() {
    let (first, _events) = Mesh::start(config(&["/ip4/127.0.0.1/tcp/0"]), None).await.expect("a mesh");
    let address = first.listen_addresses()[0].to_string();
    let error = Mesh::start(config(&[&address]), None).await.map(|_| ()).expect_err("it is taken");
    assert!(matches!(error, MeshError::Taken { .. }), "{error:?}");
    first.shutdown().await;
    let (again, _events) = Mesh::start(config(&[&address]), None).await.expect("it is free again");
    again.shutdown().await;
}

#[tokio::test]
async fn one_address_that_does_not_work_is_no_error() {
    // Reserved for documentation: no interface here has it.
    let listen = ["/ip4/203.0.113.77/tcp/4001", "/ip4/127.0.0.1/tcp/0"];
    let (mesh, _events) = Mesh::start(config(&listen), None).await.expect("one works");
    assert_eq!(mesh.listen_addresses().len(), 1);
    let error = Mesh::start(config(&listen[..1]), None).await.map(|_| ()).expect_err("none works");
    assert!(error.to_string().contains(listen[0]), "{error}");
}

#[tokio::test]
async fn an_unspecified_address_is_expanded() {
    let (mesh, _events) = Mesh::start(config(&["/ip4/0.0.0.0/tcp/0"]), None).await.expect("a mesh");
    let addresses = mesh.listen_addresses();
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|address| !address.to_string().contains("/0.0.0.0/")), "{addresses:?}");
}

#[tokio::test]
async fn all_addresses_and_their_reasons_are_told() {
    let grid = Grid::new();
    let (nucleus, star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    // The port of a client: nobody listens there, and nobody else can meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let closed = client.local_addr().expect("bound").port();
    let closed: Multiaddr = format!("/ip4/127.0.0.1/tcp/{closed}").parse().expect("an address");
    let name: Multiaddr = "/dns/nas.example/tcp/4001".parse().expect("an address");
    for peer in [Some(nucleus.peer()), None] {
        let error = star.mesh.connect(peer, vec![closed.clone(), name.clone()]).await.expect_err("neither");
        let ConnectError::Unreachable { causes } = error else { panic!("{error:?}") };
        assert_eq!(causes.len(), 2, "{causes:?}");
        let of = |address| &causes.iter().find(|(known, _)| known == address).expect("it is named").1;
        assert!(matches!(of(&name), AddressFault::Unsupported), "{causes:?}");
        assert!(of(&closed).to_string().contains("refused"), "{causes:?}");
    }
    let error = star.mesh.connect(None, Vec::new()).await.expect_err("nowhere");
    assert!(matches!(error, ConnectError::NoAddress), "{error:?}");
}

#[tokio::test]
async fn another_node_at_the_address_is_named_and_the_right_one_is_still_found() {
    let grid = Grid::new();
    let (nucleus, star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    let other = Node::star(&grid).await;
    let error = star.mesh.connect(Some(nucleus.peer()), other.addresses()).await.expect_err("another");
    assert!(error.to_string().contains(&other.peer().to_string()), "{error}");
    let both = other.addresses().into_iter().chain(nucleus.addresses()).collect();
    assert_eq!(star.mesh.connect(Some(nucleus.peer()), both).await.expect("the second"), nucleus.peer());
}

/// Whoever joins by a name dials all its addresses, and asks as soon as one answers. A question that went by a
/// connection that was just being given up was never answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn several_addresses_of_one_node_make_one_connection() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::nucleus());
    let listen = ["/ip4/127.0.0.1/tcp/0"; 3];
    let limits = Limits { join_burst: 100_000, ..Limits::default() };
    let (nucleus, _events) =
        Mesh::start(MeshConfig { key, limits, ..config(&listen) }, Some(identity)).await.expect("a mesh");
    let addresses = nucleus.listen_addresses();
    assert_eq!(addresses.len(), listen.len());
    for _ in 0..100 {
        let (newcomer, _events) = Mesh::start(config(&[]), None).await.expect("a mesh");
        let peer = newcomer.connect(None, addresses.clone()).await.expect("connects");
        for _ in 0..10 {
            let ask = || newcomer.hello(peer);
            for answer in <[_; 3]>::from(tokio::join!(ask(), ask(), ask())) {
                answer.expect("it is answered");
            }
            assert_eq!(newcomer.counters().connections, 1);
        }
        newcomer.shutdown().await;
    }
}

#[tokio::test]
async fn dialling_oneself_says_so() {
    let grid = Grid::new();
    let star = Node::star(&grid).await;
    for peer in [None, Some(star.peer())] {
        let error = star.mesh.connect(peer, star.addresses()).await.expect_err("ourselves");
        assert!(error.to_string().contains("this node itself"), "{error}");
    }
}

/// A node that restarts leaves a connection behind that may look alive for long.
#[tokio::test]
async fn a_restarted_peer_replaces_its_old_connection() {
    let grid = Grid::new();
    let nucleus = Node::nucleus(&grid).await;
    let wish = Wish::star();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("node.key");
    let key = NodeKey::create(&file).expect("a key");
    let identity = grid.identity(&key, &wish);
    let before = Node::start(key, Some(identity.clone())).await;
    before.join(&nucleus).await.expect("connected");
    let after = Node::start(NodeKey::load(&file).expect("the key"), Some(identity)).await;
    after.join(&nucleus).await.expect("connected again");
    until("the old one is closed", || nucleus.dropped(reason::REPLACED) == 1).await;
    until("and gone", || nucleus.mesh.counters().connections == 1).await;
    assert_eq!(nucleus.mesh.peers().len(), 1);
    until("the other end has noticed", || before.mesh.peers().is_empty()).await;
    assert_eq!(nucleus.dropped(reason::REPLACED), 1);
    assert_eq!(after.mesh.peers().len(), 1);
}

#[tokio::test]
async fn mdns_never_keeps_a_mesh_from_starting() {
    let (mesh, _events) = Mesh::start(MeshConfig { mdns: true, ..config(&["/ip4/127.0.0.1/tcp/0"]) }, None)
        .await
        .expect("a mesh");
    assert!(mesh.discovered().is_empty());
    mesh.shutdown().await;
}

#[tokio::test]
async fn a_mesh_ends_with_its_events() {
    let (mesh, events) = Mesh::start(config(&["/ip4/127.0.0.1/tcp/0"]), None).await.expect("a mesh");
    drop(events);
    let start = std::time::Instant::now();
    let nowhere = || vec!["/dns/nas.example/tcp/4001".parse::<Multiaddr>().expect("an address")];
    while !matches!(mesh.connect(None, nowhere()).await, Err(ConnectError::Stopped)) {
        assert!(start.elapsed() < DEADLINE, "it ends");
    }
}
