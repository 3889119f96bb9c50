//! Two stars on loopback and a Nucleus that only signs.

use super::error::LinkError;
use super::{DirectLink, Links, Tickets, serve, ticket};
use crate::daemon::config::Config;
use crate::daemon::data_dir::{DataDir, Membership};
use crate::daemon::{Node, RunOptions};
use crate::remote::{RemoteError, RemoteSystem, StarLink};
use crate::standalone::state::now_ms;
use crate::star::{StarLimits, StarService, StarServiceConfig};
use orbit_core::RelPath;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::ticket::TICKET_LIFETIME_MS;
use orbit_core::grid::{Fence, Refusal, Role, Ticket, TicketFault, Verb};
use orbit_core::ids::{GridId, JobId, NodeId, PeerKey, Serial};
use orbit_core::system::OrbitSystem;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::encode;
use orbit_core::wire::link::{LinkRoute, SignedTicket};
use orbit_mesh::key::{NodeKey, random};
use orbit_mesh::net::{Identity, Limits, Mesh, MeshConfig, MeshEvent, Protocol};
use orbit_mesh::pki::{Authority, BACKDATE_MS, Grant, MEMBER_LIFETIME_MS, SigningRequest, random_serial};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

const FENCE: Fence = Fence { epoch: 1, term: 5 };

/// A grid, and the key of its Nucleus.
struct Grid {
    id: GridId,
    authority: Authority,
    nucleus: Member,
}

/// A key and what certifies it.
#[derive(Clone)]
struct Member {
    node: NodeId,
    key: NodeKey,
    certificate: Vec<u8>,
    serial: Serial,
}

fn certified(grid: GridId, authority: &Authority, role: Role) -> Member {
    let key = NodeKey::generate();
    let request =
        SigningRequest::parse(&SigningRequest::create(&key).expect("a request")).expect("it is one");
    let (node, serial, now) = (NodeId::from_bytes(random()), random_serial(), now_ms());
    let (not_before_ms, not_after_ms) = (now - BACKDATE_MS, now + MEMBER_LIFETIME_MS);
    let grant = Grant { node, grid, role, serial, not_before_ms, not_after_ms };
    Member { node, certificate: authority.issue(&request, &grant).expect("a certificate"), key, serial }
}

impl Grid {
    fn new() -> Self {
        let id = GridId::from_bytes(random());
        let authority = Authority::create(id, now_ms()).expect("an authority");
        let nucleus = certified(id, &authority, Role::Nucleus);
        Self { id, authority, nucleus }
    }

    fn membership(&self, member: &Member) -> Membership {
        Membership {
            grid: self.id,
            grid_name: "home".into(),
            node: member.node,
            certificate: member.certificate.clone(),
            anchors: vec![Octets(self.authority.certificate().der().to_vec())],
            revoked: Vec::new(),
            nuclei: Vec::new(),
            fence: FENCE,
        }
    }

    /// A running node. Unless it `takes` connections, its port is like one behind a firewall.
    async fn star(&self, place: &Path, name: &str, takes: Takes) -> Star {
        let member = certified(self.id, &self.authority, Role::Star);
        let home = DataDir::new(&place.join(name));
        home.create().expect("makes a directory");
        let files = place.join(format!("{name}-files"));
        std::fs::create_dir(&files).expect("makes a directory");
        let mut config = Config::parse(&format!("name = \"{name}\"")).expect("a configuration");
        config.allowed_paths = vec![files.clone()];
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let membership = self.membership(&member);
        home.save_membership(&membership).expect("saves");
        let mesh_config = MeshConfig {
            key: member.key.clone(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
            mdns: false,
            version: String::new(),
            limits: Limits::default(),
        };
        let identity = Identity {
            trust: membership.trust().expect("trust"),
            certificate: membership.certificate.clone(),
            fence: FENCE,
            is_nucleus: false,
            anchors: membership.anchors.clone(),
        };
        let (mesh, mut events) = Mesh::start(mesh_config, Some(identity)).await.expect("listens");
        let star = StarService::new(StarServiceConfig {
            name: name.to_owned(),
            allowed: config.allowed_paths.clone(),
            data_dir: home.path().to_owned(),
            fence: FENCE,
            limits: StarLimits::default(),
        });
        let links = Links::bind(&config.listen, 0, member.key.clone()).expect("listens");
        let options = RunOptions::default();
        let stop = CancellationToken::new();
        let node = Arc::new(Node::new(home, config, options, mesh, star, links, membership, stop));
        let serving = Arc::clone(&node);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let MeshEvent::Opened { from, protocol: Protocol::Link, stream } = event {
                    tokio::spawn(serve::serve(Arc::clone(&serving), from, stream));
                }
            }
        });
        if takes == Takes::Connections {
            tokio::spawn(super::keep(Arc::clone(&node)));
        }
        Star { node, member, files }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Connections,
    Nothing,
}

struct Star {
    node: Arc<Node>,
    member: Member,
    files: PathBuf,
}

impl Star {
    fn root(&self) -> Vec<u8> {
        self.files.as_os_str().as_bytes().to_vec()
    }
}

/// Whether a fault is the one that is meant.
type IsIt = fn(&TicketFault) -> bool;

/// A ticket for `destination` to read the files of `source`.
fn ticket_for(grid: &Grid, source: &Star, destination: &Star) -> Ticket {
    let now_ms = now_ms();
    Ticket {
        grid: grid.id,
        fence: FENCE,
        job: JobId::from_bytes([7; 16]),
        source: source.member.node,
        source_key: source.member.key.key(),
        source_addresses: source.node.mesh.listen_addresses().iter().map(ToString::to_string).collect(),
        destination: destination.member.node,
        root: source.root(),
        verb: Verb::Read,
        nonce: random(),
        issued_ms: now_ms,
        expires_ms: now_ms + TICKET_LIFETIME_MS,
    }
}

fn signed(by: &Member, ticket: &Ticket) -> Vec<u8> {
    encode(&ticket::sign(&by.key, by.certificate.clone(), ticket))
}

/// Connects by tickets that `make` makes; how many were asked for.
async fn connected(
    source: &Star,
    destination: &Star,
    make: impl Fn() -> Vec<u8> + Send + Sync + 'static,
) -> (Result<Arc<DirectLink>, LinkError>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let tickets: Tickets = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(make())
    });
    let (node, source) = (Arc::clone(&destination.node), source.member.node);
    let link = spawn_blocking(move || super::connect(&node, source, tickets)).await.expect("no panic");
    (link, count)
}

/// With good tickets.
async fn well_connected(
    grid: &Grid,
    source: &Star,
    destination: &Star,
) -> (Arc<DirectLink>, Arc<AtomicUsize>) {
    let (sample, nucleus) = (ticket_for(grid, source, destination), grid.nucleus.clone());
    let make = move || signed(&nucleus, &Ticket { nonce: random(), ..sample.clone() });
    let (link, count) = connected(source, destination, make).await;
    (link.expect("it connects"), count)
}

/// Reads a file over a link.
fn read(link: &Arc<DirectLink>, root: Vec<u8>, name: &str) -> Result<Vec<u8>, RemoteError> {
    let (system, _) = RemoteSystem::open(Arc::clone(link) as Arc<dyn StarLink>, root)?;
    let path = RelPath::new(name).expect("a path");
    let header = system.read_header(&path, 1 << 20);
    Ok(header.unwrap_or_else(|error| panic!("{name} is read: {error:?}")))
}

/// Two stars, one with a file.
async fn two(grid: &Grid, place: &Path, source: Takes, destination: Takes) -> (Star, Star) {
    let source = grid.star(place, "nas1", source).await;
    let destination = grid.star(place, "nas2", destination).await;
    std::fs::write(source.files.join("file"), "what the source holds").expect("writes");
    (source, destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ticket_leads_to_as_many_connections_as_a_job_needs() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let (link, tickets) = well_connected(&grid, &source, &destination).await;
    assert_eq!(link.route(), LinkRoute::Dialled);
    let told = link.describe();
    assert!(told.starts_with("direct, tcp4 127.0.0.1:"), "{told}");
    let (root, held) = (source.root(), Arc::clone(&link));
    spawn_blocking(move || {
        // Held at the same time, so each has a connection of its own.
        let open =
            |_| RemoteSystem::open(Arc::clone(&held) as Arc<dyn StarLink>, root.clone()).expect("opens");
        let systems: Vec<_> = (0..5).map(open).collect();
        for (system, _) in &systems {
            let header = system.read_header(&RelPath::new("file").expect("a path"), 100).expect("reads");
            assert_eq!(header, b"what the source holds");
        }
    })
    .await
    .expect("no panic");
    assert_eq!(tickets.load(Ordering::Relaxed), 1);
    let (received, sent) = link.bytes();
    assert!(received > 500 && sent > 500, "{received} {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_reaches_its_tickets_path_alone_and_that_only_below_allowed_ones() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    std::fs::create_dir(source.files.join("below")).expect("makes a directory");
    let (link, _) = well_connected(&grid, &source, &destination).await;
    let below = [source.root(), b"/below".to_vec()].concat();
    let other = spawn_blocking(move || read(&link, below, "file").expect_err("another path")).await;
    assert!(!other.expect("no panic").to_string().is_empty());
    let outside = place.path().as_os_str().as_bytes().to_vec();
    let ticket = Ticket { root: outside.clone(), ..ticket_for(&grid, &source, &destination) };
    let bytes = signed(&grid.nucleus, &ticket);
    let (link, _) = connected(&source, &destination, move || bytes.clone()).await;
    let link = link.expect("the ticket itself is good");
    let refused = spawn_blocking(move || read(&link, outside, "file").expect_err("outside the jail")).await;
    let refused = refused.expect("no panic");
    assert!(matches!(refused, RemoteError::Refused(Refusal::OutsideJail { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_dials_if_the_destination_cannot() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Nothing, Takes::Connections).await;
    let (link, tickets) = well_connected(&grid, &source, &destination).await;
    assert_eq!(link.route(), LinkRoute::Reversed);
    assert!(
        link.describe().starts_with("direct, dialled by the source, tcp4 127.0.0.1:"),
        "{}",
        link.describe()
    );
    let (root, held) = (source.root(), Arc::clone(&link));
    let begun = std::time::Instant::now();
    spawn_blocking(move || {
        for _ in 0..3 {
            assert_eq!(read(&held, root.clone(), "file").expect("opens"), b"what the source holds");
        }
    })
    .await
    .expect("no panic");
    assert!(begun.elapsed().as_secs() < 3, "what worked is tried first: {:?}", begun.elapsed());
    assert_eq!(tickets.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_carries_the_data_if_neither_can_dial() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Nothing, Takes::Nothing).await;
    let large = vec![0xa5; 1 << 20];
    std::fs::write(source.files.join("large"), &large).expect("writes");
    let (link, _) = well_connected(&grid, &source, &destination).await;
    assert_eq!(link.route(), LinkRoute::Mesh);
    assert!(link.describe().starts_with("over the mesh connection, "), "{}", link.describe());
    let (root, held) = (source.root(), Arc::clone(&link));
    spawn_blocking(move || {
        assert_eq!(read(&held, root.clone(), "file").expect("opens"), b"what the source holds");
        assert!(read(&held, root, "large").expect("opens") == large);
    })
    .await
    .expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_not_good_is_refused_with_a_reason() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let good = ticket_for(&grid, &source, &destination);
    let star = certified(grid.id, &grid.authority, Role::Star);
    let foreign = Grid::new();
    let forged = |ticket: &Ticket| {
        let mut signed = ticket::sign(&grid.nucleus.key, grid.nucleus.certificate.clone(), ticket);
        let other = Ticket { root: b"/etc".to_vec(), ..ticket.clone() };
        signed.ticket = encode(&other);
        encode(&signed)
    };
    let removed = certified(grid.id, &grid.authority, Role::Nucleus);
    let revoked = removed.serial;
    source.node.change_membership(move |membership| membership.revoked.push(revoked)).await.expect("is kept");
    let old = Fence { epoch: 1, term: 4 };
    let hour = 3_600_000;
    let past =
        Ticket { issued_ms: good.issued_ms - hour, expires_ms: good.expires_ms - hour, ..good.clone() };
    let future =
        Ticket { issued_ms: good.issued_ms + hour, expires_ms: good.expires_ms + hour, ..good.clone() };
    let elsewhere = NodeId::from_bytes([9; 16]);
    let cases: Vec<(&str, Vec<u8>, IsIt)> = vec![
        ("by a star", signed(&star, &good), |fault| *fault == TicketFault::NotNucleus),
        ("by another grid's Nucleus", signed(&foreign.nucleus, &good), |fault| {
            *fault == TicketFault::Signer(CertificateFault::Untrusted)
        }),
        ("by one that was removed", signed(&removed, &good), |fault| {
            *fault == TicketFault::Signer(CertificateFault::Revoked)
        }),
        ("changed", forged(&good), |fault| *fault == TicketFault::Forged),
        ("for another grid", signed(&grid.nucleus, &Ticket { grid: foreign.id, ..good.clone() }), |fault| {
            *fault == TicketFault::OtherGrid
        }),
        (
            "for another destination",
            signed(&grid.nucleus, &Ticket { destination: elsewhere, ..good.clone() }),
            |fault| *fault == TicketFault::OtherDestination,
        ),
        ("of an old term", signed(&grid.nucleus, &Ticket { fence: old, ..good.clone() }), |fault| {
            matches!(fault, TicketFault::OldTerm { .. })
        }),
        ("expired", signed(&grid.nucleus, &past), |fault| matches!(fault, TicketFault::Expired { .. })),
        ("not yet valid", signed(&grid.nucleus, &future), |fault| {
            matches!(fault, TicketFault::NotYet { .. })
        }),
    ];
    for (name, bytes, is_it) in cases {
        let (link, _) = connected(&source, &destination, move || bytes.clone()).await;
        match link.expect_err(name) {
            LinkError::Refused(refusal @ Refusal::Ticket { .. }) => {
                let Refusal::Ticket { node, reason } = &refusal else { continue };
                assert!(node == "nas1" && is_it(reason), "{name}: {refusal}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let mismatched = signed(&grid.nucleus, &Ticket { source: elsewhere, ..good.clone() });
    let (link, _) = connected(&source, &destination, move || mismatched.clone()).await;
    assert!(matches!(link, Err(LinkError::BadTicket)), "the destination sees that itself");
    assert_eq!(source.node.links.listener.counters().established, 0, "nobody was let in");

    let once = signed(&grid.nucleus, &good);
    let again = once.clone();
    let (link, _) = connected(&source, &destination, move || once.clone()).await;
    link.expect("the good one counts");
    let (link, _) = connected(&source, &destination, move || again.clone()).await;
    let error = link.expect_err("but once");
    assert!(!error.is_final());
    assert!(
        matches!(error, LinkError::Refused(Refusal::Ticket { reason: TicketFault::Used, .. })),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_for_another_source_is_refused_by_whoever_is_asked() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let third = grid.star(place.path(), "nas3", Takes::Connections).await;
    // It leads to another node than it names.
    let (key, addresses) = (third.member.key.key(), third.node.mesh.listen_addresses());
    let good = ticket_for(&grid, &source, &destination);
    let source_addresses = addresses.iter().map(ToString::to_string).collect();
    let bytes = signed(&grid.nucleus, &Ticket { source_key: key, source_addresses, ..good });
    let (link, _) = connected(&source, &destination, move || bytes.clone()).await;
    let error = link.expect_err("it is for another's files");
    assert!(
        matches!(&error, LinkError::Refused(Refusal::Ticket { node, reason: TicketFault::OtherSource }) if node == "nas3"),
        "{error:?}"
    );
    assert!(error.is_final());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_term_is_kept_before_anything_is_done_for_it() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let newer = Fence { epoch: 1, term: 9 };
    let bytes = signed(&grid.nucleus, &Ticket { fence: newer, ..ticket_for(&grid, &source, &destination) });
    let (link, _) = connected(&source, &destination, move || bytes.clone()).await;
    link.expect("it connects");
    assert_eq!(source.node.home.membership().expect("is kept").fence, newer);
    assert_eq!(source.node.star.fence(), newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_forgotten_is_shown_another_ticket() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let (link, tickets) = well_connected(&grid, &source, &destination).await;
    let all = super::lock(&source.node.links.leases).end_all();
    all.break_off();
    let (root, held) = (source.root(), Arc::clone(&link));
    let outcome = spawn_blocking(move || {
        // The first connection was open already, and is cut.
        let cut = read(&held, root.clone(), "file")
            .map_err(|error| assert!(matches!(error, RemoteError::Link(_)), "{error:?}"));
        (cut.is_err(), read(&held, root, "file"))
    });
    let (was_cut, again) = outcome.await.expect("no panic");
    assert!(was_cut);
    assert_eq!(again.expect("a new lease"), b"what the source holds");
    assert_eq!(tickets.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_broken_off_stays_so() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let (link, _) = well_connected(&grid, &source, &destination).await;
    let (root, held) = (source.root(), Arc::clone(&link));
    spawn_blocking(move || {
        let (system, _) = RemoteSystem::open(Arc::clone(&held) as Arc<dyn StarLink>, root).expect("opens");
        held.break_off();
        system.read_header(&RelPath::new("file").expect("a path"), 9).expect_err("it was cut");
        let error = held.open().err().expect("and no other is opened");
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<LinkError>());
        assert!(matches!(cause, Some(LinkError::Cancelled)), "{error:?}");
    })
    .await
    .expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_removed_loses_its_links_and_a_job_that_ends_gives_them_back() {
    let (grid, place) = (Grid::new(), tempfile::tempdir().expect("a directory"));
    let (source, destination) = two(&grid, place.path(), Takes::Connections, Takes::Connections).await;
    let leases = |source: &Star| super::lock(&source.node.links.leases).count();
    let (link, _) = well_connected(&grid, &source, &destination).await;
    assert_eq!(leases(&source), 1);
    spawn_blocking(move || drop(link)).await.expect("no panic");
    until("the lease being given back", || leases(&source) == 0).await;

    let (link, _) = well_connected(&grid, &source, &destination).await;
    let (root, held) = (source.root(), Arc::clone(&link));
    let open = spawn_blocking(move || RemoteSystem::open(held as Arc<dyn StarLink>, root).expect("opens"));
    let (system, _) = open.await.expect("no panic");
    let revoked = destination.member.serial;
    source.node.change_membership(|membership| membership.revoked.push(revoked)).await.expect("is kept");
    until("the lease being over", || leases(&source) == 0).await;
    let read = move || system.read_header(&RelPath::new("file").expect("a path"), 9).expect_err("it was cut");
    spawn_blocking(read).await.expect("no panic");
}

#[test]
fn a_ticket_is_what_was_signed() {
    let grid = Grid::new();
    let trust = grid.membership(&grid.nucleus).trust().expect("trust");
    let bytes = vec![1; 40];
    let ticket = Ticket {
        grid: grid.id,
        fence: FENCE,
        job: JobId::from_bytes([7; 16]),
        source: NodeId::from_bytes([1; 16]),
        source_key: PeerKey::from_bytes([2; 32]),
        source_addresses: Vec::new(),
        destination: NodeId::from_bytes([3; 16]),
        root: bytes,
        verb: Verb::Read,
        nonce: [4; 16],
        issued_ms: 0,
        expires_ms: 1,
    };
    let signed = ticket::sign(&grid.nucleus.key, grid.nucleus.certificate.clone(), &ticket);
    assert_eq!(ticket::open(&signed, &trust, now_ms()), Ok(ticket));
    for bit in 0..signed.ticket.len() * 8 {
        let mut changed = SignedTicket { ticket: signed.ticket.clone(), ..signed.clone() };
        changed.ticket[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ticket::open(&changed, &trust, now_ms()), Err(TicketFault::Forged), "bit {bit}");
    }
    for bit in 0..64 * 8 {
        let mut changed = signed.clone();
        changed.signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(ticket::open(&changed, &trust, now_ms()), Err(TicketFault::Forged), "bit {bit}");
    }
    // The key signs other things too: without what it is for, the same signature is none.
    let bare = SignedTicket { signature: grid.nucleus.key.sign(&signed.ticket), ..signed };
    assert_eq!(ticket::open(&bare, &trust, now_ms()), Err(TicketFault::Forged));
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
