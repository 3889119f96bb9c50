//! Grids and nodes for tests.

use orbit_core::grid::{Fence, Role};
use orbit_core::ids::{GridId, NodeId, Serial};
use orbit_core::wire::bytes::Octets;
use orbit_mesh::key::{NodeKey, random};
use orbit_mesh::pki::{Authority, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, SigningRequest, Trust};
use orbit_mesh::{Identity, Limits, Mesh, MeshConfig, MeshEvent, Multiaddr, PeerId};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// How long a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

/// Waits until `is_so`.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    let mut look = tokio::time::interval(Duration::from_millis(2));
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen in time: {what}");
        look.tick().await;
    }
}

/// A grid: its authority.
pub struct Grid {
    pub id: GridId,
    pub authority: Authority,
}

/// A certificate as a test wants it.
pub struct Wish {
    pub role: Role,
    pub not_before_ms: i64,
    pub not_after_ms: i64,
    pub serial: Serial,
    pub node: NodeId,
}

impl Wish {
    pub fn star() -> Self {
        let now = now_ms();
        let mut serial = random::<16>();
        serial[0] &= 0x7f;
        Self {
            role: Role::Star,
            not_before_ms: now - BACKDATE_MS,
            not_after_ms: now + MEMBER_LIFETIME_MS,
            serial: Serial::from_bytes(serial),
            node: NodeId::from_bytes(random()),
        }
    }

    pub fn nucleus() -> Self {
        Self { role: Role::Nucleus, ..Self::star() }
    }
}

impl Grid {
    pub fn new() -> Self {
        let id = GridId::from_bytes(random());
        Self { id, authority: Authority::create(id, now_ms()).expect("an authority") }
    }

    pub fn certificate(&self, key: &NodeKey, wish: &Wish) -> Vec<u8> {
        let request = SigningRequest::create(key).expect("a request");
        let request = SigningRequest::parse(&request).expect("it is one");
        let grant = Grant {
            node: wish.node,
            grid: self.id,
            role: wish.role,
            serial: wish.serial,
            not_before_ms: wish.not_before_ms,
            not_after_ms: wish.not_after_ms,
        };
        self.authority.issue(&request, &grant).expect("a certificate")
    }

    pub fn trust(&self, revoked: &[Serial]) -> Trust {
        let anchors = [self.authority.certificate().der().to_vec()];
        Trust::new(self.id, &anchors, revoked.iter().copied()).expect("trust")
    }

    pub fn identity(&self, key: &NodeKey, wish: &Wish) -> Identity {
        Identity {
            trust: self.trust(&[]),
            certificate: self.certificate(key, wish),
            fence: Fence { epoch: 1, term: 1 },
            is_nucleus: wish.role == Role::Nucleus,
            anchors: vec![Octets(self.authority.certificate().der().to_vec())],
        }
    }
}

/// A node that runs.
pub struct Node {
    pub mesh: Mesh,
    pub events: mpsc::Receiver<MeshEvent>,
    pub identity: Option<Identity>,
}

impl Node {
    pub async fn start(key: NodeKey, identity: Option<Identity>) -> Self {
        Self::start_with(key, identity, Limits::default()).await
    }

    pub async fn start_with(key: NodeKey, identity: Option<Identity>, limits: Limits) -> Self {
        let config = MeshConfig {
            key,
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            mdns: false,
            version: "0.0.0".to_owned(),
            limits,
        };
        let (mesh, events) = Mesh::start(config, identity.clone()).await.expect("a mesh");
        Self { mesh, events, identity }
    }

    /// A member.
    pub async fn member(grid: &Grid, wish: &Wish) -> Self {
        let key = NodeKey::generate();
        let identity = grid.identity(&key, wish);
        Self::start(key, Some(identity)).await
    }

    /// A Nucleus.
    pub async fn nucleus(grid: &Grid) -> Self {
        Self::member(grid, &Wish::nucleus()).await
    }

    /// A star.
    pub async fn star(grid: &Grid) -> Self {
        Self::member(grid, &Wish::star()).await
    }

    pub fn peer(&self) -> PeerId {
        self.mesh.peer_id()
    }

    pub fn addresses(&self) -> Vec<Multiaddr> {
        let addresses = self.mesh.listen_addresses();
        assert!(!addresses.is_empty(), "it listens");
        addresses
    }

    /// Connects to another node, as its Nucleus would be.
    pub async fn join(&self, other: &Self) -> Result<PeerId, orbit_mesh::ConnectError> {
        self.mesh.connect(Some(other.peer()), other.addresses()).await
    }

    /// The next event that `wanted` makes something of; others are dropped.
    pub async fn next<T>(&mut self, what: &str, mut wanted: impl FnMut(MeshEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the mesh runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no such event: {what}"))
    }

    pub async fn admitted(&mut self) -> orbit_mesh::PeerLink {
        self.next("admitted", |event| match event {
            MeshEvent::Admitted(link) => Some(link),
            _ => None,
        })
        .await
    }

    pub async fn gone(&mut self) -> PeerId {
        self.next("gone", |event| match event {
            MeshEvent::Gone { peer, .. } => Some(peer),
            _ => None,
        })
        .await
    }

    pub fn dropped(&self, reason: &str) -> u64 {
        self.mesh.counters().dropped.get(reason).copied().unwrap_or(0)
    }
}
