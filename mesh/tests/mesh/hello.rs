//! Who is admitted, who is not, and who is cut off.

use crate::world::{Grid, Node, Wish, now_ms, until};
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{Fence, Refusal, Role};
use orbit_core::ids::Serial;
use orbit_core::wire::join::{JoinReply, JoinRequest};
use orbit_mesh::key::NodeKey;
use orbit_mesh::net::reason;
use orbit_mesh::{AskError, ConnectError, Direction, Identity, LinkKind, MeshEvent, Protocol};

fn refused(outcome: Result<orbit_mesh::PeerId, ConnectError>) -> Refusal {
    match outcome {
        Err(ConnectError::Refused { refusal, .. }) => refusal,
        other => panic!("it should have been refused: {other:?}"),
    }
}

#[tokio::test]
async fn both_sides_admit_each_other() {
    let grid = Grid::new();
    let (mut nucleus, mut star) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    assert_eq!(star.join(&nucleus).await.expect("connected"), nucleus.peer());

    let link = star.admitted().await;
    assert_eq!((link.peer, link.key), (nucleus.peer(), nucleus.mesh.key()));
    assert_eq!((link.role, link.is_nucleus), (Role::Nucleus, true));
    assert_eq!((link.direction, link.kind), (Direction::Outbound, LinkKind::Tcp4));
    assert_eq!(link.fence, Fence { epoch: 1, term: 1 });
    let link = nucleus.admitted().await;
    assert_eq!((link.peer, link.role, link.is_nucleus), (star.peer(), Role::Star, false));
    assert_eq!(link.direction, Direction::Inbound);
    assert_eq!(nucleus.mesh.peers().len(), 1);
    assert_eq!(star.join(&nucleus).await.expect("it is connected already"), nucleus.peer());
    until("a ping", || nucleus.mesh.peers().iter().all(|link| link.rtt.is_some())).await;
    until("a ping back", || star.mesh.peers().iter().all(|link| link.rtt.is_some())).await;
    let counters = nucleus.mesh.counters();
    assert!(counters.bytes_in > 1_000 && counters.bytes_out > 1_000, "{counters:?}");
    assert_eq!((counters.connections, counters.strangers), (1, 0));

    star.mesh.shutdown().await;
    assert_eq!(nucleus.gone().await, link.peer);
    until("no connections", || nucleus.mesh.counters().connections == 0).await;
    assert!(nucleus.mesh.peers().is_empty());
}

#[tokio::test]
async fn both_may_dial_at_once() {
    let grid = Grid::new();
    let (one, other) = (Node::nucleus(&grid).await, Node::star(&grid).await);
    let (there, back) = tokio::join!(one.join(&other), other.join(&one));
    there.expect("there");
    back.expect("back");
    let _ = one.mesh.open(other.peer(), Protocol::Api).await.expect("a stream there");
    let _ = other.mesh.open(one.peer(), Protocol::Api).await.expect("a stream back");
    assert!(one.mesh.counters().connections <= 2);
}

#[tokio::test]
async fn a_star_is_no_nucleus_by_saying_so() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let key = NodeKey::generate();
    let identity = Identity { is_nucleus: true, ..grid.identity(&key, &Wish::star()) };
    let liar = Node::start(key, Some(identity)).await;
    liar.join(&nucleus).await.expect("it is a member");
    assert!(!nucleus.admitted().await.is_nucleus);
}

#[tokio::test]
async fn a_witness_may_act_as_the_nucleus() {
    let grid = Grid::new();
    let mut star = Node::star(&grid).await;
    let key = NodeKey::generate();
    let wish = Wish { role: Role::Witness, ..Wish::star() };
    let witness =
        Node::start(key.clone(), Some(Identity { is_nucleus: true, ..grid.identity(&key, &wish) })).await;
    witness.join(&star).await.expect("a member");
    assert!(star.admitted().await.is_nucleus);
}

#[tokio::test]
async fn those_connected_learn_at_once_who_took_over() {
    let grid = Grid::new();
    let mut star = Node::star(&grid).await;
    let (old, heir) = (Node::nucleus(&grid).await, Node::nucleus(&grid).await);
    let as_voter = |node: &Node, term, is_nucleus| {
        let fence = Fence { epoch: 1, term };
        Identity { fence, is_nucleus, ..node.identity.clone().expect("an identity") }
    };
    heir.mesh.set_identity(as_voter(&heir, 1, false)).await;
    // One dialled, the other was dialled: both ways the news go out.
    old.join(&star).await.expect("a member");
    star.join(&heir).await.expect("a member");
    for _ in 0..2 {
        star.admitted().await;
    }
    let shown = |star: &Node| {
        let mut nuclei: Vec<_> = star.mesh.peers().into_iter().filter(|link| link.is_nucleus).collect();
        nuclei.sort_by_key(|link| link.fence);
        nuclei.into_iter().map(|link| (link.peer, link.fence.term)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&star), [(old.peer(), 1)]);
    heir.mesh.set_identity(as_voter(&heir, 2, true)).await;
    until("the heir is shown too", || shown(&star) == [(old.peer(), 1), (heir.peer(), 2)]).await;
    old.mesh.set_identity(as_voter(&old, 2, false)).await;
    until("the old one is not shown any more", || shown(&star) == [(heir.peer(), 2)]).await;
    // Several changes in a moment end with the last one.
    for term in 3..40 {
        heir.mesh.set_identity(as_voter(&heir, term, term % 2 == 0)).await;
    }
    heir.mesh.set_identity(as_voter(&heir, 40, true)).await;
    until("the last word counts", || shown(&star) == [(heir.peer(), 40)]).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (grid, forged) = (Grid::new(), Grid::new());
    let nucleus = Node::nucleus(&grid).await;
    let key = NodeKey::generate();
    // It claims the right grid, by a certificate of its own authority.
    let forged = Grid { id: grid.id, ..forged };
    let identity = Identity { trust: grid.trust(&[]), ..grid.identity(&key, &Wish::star()) };
    let own = forged_certificate(&forged, &key);
    let forger = Node::start(key, Some(Identity { certificate: own, ..identity })).await;
    let refusal = refused(forger.join(&nucleus).await);
    assert!(matches!(refusal, Refusal::Certificate { .. }), "{refusal:?}");
    assert_eq!(nucleus.dropped(reason::CERTIFICATE), 1);
    assert!(nucleus.mesh.peers().is_empty() && forger.mesh.peers().is_empty());
    let error = forger.mesh.open(nucleus.peer(), Protocol::System).await.expect_err("no stream");
    assert!(matches!(error, AskError::NotAdmitted { .. }), "{error:?}");
}

fn forged_certificate(forged: &Grid, key: &NodeKey) -> Vec<u8> {
    let authority = orbit_mesh::pki::Authority::create(forged.id, now_ms()).expect("an authority");
    Grid { id: forged.id, authority }.certificate(key, &Wish::star())
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_says_so() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let wish = Wish { not_after_ms: now_ms() - 60_000, ..Wish::star() };
    let late = Node::member(&grid, &wish).await;
    match refused(late.join(&nucleus).await) {
        Refusal::Certificate { reason: CertificateFault::Expired { ago_ms } } => assert!(ago_ms >= 60_000),
        other => panic!("{other:?}"),
    }
    // The connection stays for a while, so that a known key can ask for a new certificate.
    let asking = late.mesh.join(nucleus.peer(), JoinRequest::ReEnrol { request: vec![1, 2, 3] });
    let answering = nucleus.next("a request for a new certificate", |event| match event {
        MeshEvent::Join { request: JoinRequest::ReEnrol { request }, key, answer, .. } => {
            assert_eq!((request, key), (vec![1, 2, 3], late.mesh.key()));
            answer.send(JoinReply::Refused(Refusal::OtherGrid));
            Some(())
        }
        _ => None,
    });
    let (reply, ()) = tokio::join!(asking, answering);
    assert_eq!(reply.expect("an answer"), JoinReply::Refused(Refusal::OtherGrid));
}

#[tokio::test]
async fn a_certificate_that_expires_while_connected_ends_the_membership() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let wish = Wish { not_after_ms: now_ms() + 3_000, ..Wish::star() };
    let star = Node::member(&grid, &wish).await;
    star.join(&nucleus).await.expect("still valid");
    nucleus.admitted().await;
    assert_eq!(nucleus.gone().await, star.peer());
    assert_eq!(nucleus.dropped(reason::REVOKED), 1);
}

#[tokio::test]
async fn a_revoked_member_is_cut_off_at_once_and_not_let_in_again() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let wish = Wish::star();
    let serial = wish.serial;
    let (mut removed, other) = (Node::member(&grid, &wish).await, Node::star(&grid).await);
    removed.join(&nucleus).await.expect("a member");
    other.join(&nucleus).await.expect("a member");
    removed.admitted().await;
    let stream = removed.mesh.open(nucleus.peer(), Protocol::Pulse).await.expect("a stream");

    let mine = nucleus.identity.clone().expect("an identity");
    nucleus.mesh.set_identity(Identity { trust: grid.trust(&[serial]), ..mine }).await;
    assert_eq!(nucleus.mesh.peers().len(), 1, "the list shows it at once");
    assert_eq!(removed.gone().await, nucleus.peer());
    drop(stream);
    match refused(removed.join(&nucleus).await) {
        Refusal::Certificate { reason: CertificateFault::Revoked } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(nucleus.mesh.peers()[0].peer, other.peer());
    let _ = nucleus.gone().await;
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused() {
    let grid = Grid::new();
    let nucleus = Node::nucleus(&grid).await;
    let (mine, theirs) = (NodeKey::generate(), NodeKey::generate());
    let stolen = grid.identity(&theirs, &Wish::nucleus());
    let thief = Node::start(mine, Some(stolen)).await;
    match refused(thief.join(&nucleus).await) {
        Refusal::Certificate { reason: CertificateFault::OtherKey } => {}
        other => panic!("{other:?}"),
    }
    assert!(nucleus.mesh.peers().is_empty());
}

#[tokio::test]
async fn a_nucleus_with_a_stolen_certificate_is_not_believed() {
    let grid = Grid::new();
    let (mine, theirs) = (NodeKey::generate(), NodeKey::generate());
    let thief = Node::start(mine, Some(grid.identity(&theirs, &Wish::nucleus()))).await;
    let star = Node::star(&grid).await;
    match star.join(&thief).await {
        Err(ConnectError::Untrusted { fault: CertificateFault::OtherKey, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(star.mesh.peers().is_empty());
    // The thief believed the star, which is a member; but the star hung up.
    until("the thief is alone", || thief.mesh.peers().is_empty()).await;
}

#[tokio::test]
async fn a_node_of_another_grid_is_told_so() {
    let (grid, other) = (Grid::new(), Grid::new());
    let nucleus = Node::nucleus(&grid).await;
    let lost = Node::star(&other).await;
    assert_eq!(refused(lost.join(&nucleus).await), Refusal::OtherGrid);
    assert_eq!(nucleus.dropped(reason::FOREIGN), 1);
}

#[tokio::test]
async fn a_node_without_a_grid_admits_nobody() {
    let grid = Grid::new();
    let lonely = Node::start(NodeKey::generate(), None).await;
    let star = Node::star(&grid).await;
    assert_eq!(refused(star.join(&lonely).await), Refusal::OtherGrid);
    assert!(lonely.mesh.peers().is_empty());
}

#[tokio::test]
async fn a_replaced_nucleus_is_refused_and_a_star_that_slept_is_not() {
    let grid = Grid::new();
    let key = NodeKey::generate();
    let identity = Identity { fence: Fence { epoch: 2, term: 9 }, ..grid.identity(&key, &Wish::nucleus()) };
    let mut recovered = Node::start(key, Some(identity)).await;
    let old = Node::nucleus(&grid).await;
    match refused(old.join(&recovered).await) {
        Refusal::OldTerm { theirs: 1, ours: 2, .. } => {}
        other => panic!("{other:?}"),
    }
    let mut star = Node::star(&grid).await;
    star.join(&recovered).await.expect("it may come back");
    assert_eq!(star.admitted().await.fence, Fence { epoch: 2, term: 9 }, "and learns the epoch");
    assert_eq!(recovered.admitted().await.fence.epoch, 1);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_those_connected() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let key = NodeKey::generate();
    let wish = Wish::star();
    let identity = grid.identity(&key, &wish);
    let renewed = Wish { serial: Serial::from_bytes([7; 16]), ..wish };
    let renewed = Identity { certificate: grid.certificate(&key, &renewed), ..identity.clone() };
    let star = Node::start(key, Some(identity)).await;
    star.join(&nucleus).await.expect("a member");
    nucleus.admitted().await;
    star.mesh.set_identity(renewed).await;
    assert_eq!(nucleus.admitted().await.peer, star.peer());
    let mine = nucleus.identity.clone().expect("an identity");
    let revoked = grid.trust(&[Serial::from_bytes([7; 16])]);
    nucleus.mesh.set_identity(Identity { trust: revoked, ..mine }).await;
    assert_eq!(nucleus.gone().await, star.peer(), "the new serial is the one that counts");
}

#[tokio::test]
async fn a_joining_node_learns_who_answers_and_is_admitted_when_it_has_a_certificate() {
    let grid = Grid::new();
    let mut nucleus = Node::nucleus(&grid).await;
    let key = NodeKey::generate();
    let identity = grid.identity(&key, &Wish::star());
    let mut node = Node::start(key, None).await;
    node.mesh.connect(None, nucleus.addresses()).await.expect("connected");
    let hello = node.mesh.hello(nucleus.peer()).await.expect("a hello");
    assert_eq!(hello.grid, Some(grid.id));
    assert_eq!(hello.anchors.len(), 1);
    orbit_mesh::pki::verify_against_pin(
        &grid.authority.certificate().pin(),
        grid.id,
        &[hello.anchors[0].0.clone()],
        &hello.certificate,
        &nucleus.mesh.key(),
        now_ms(),
    )
    .expect("it proves itself against the pin");
    assert!(nucleus.mesh.peers().is_empty() && node.mesh.peers().is_empty());

    node.mesh.set_identity(identity).await;
    node.join(&nucleus).await.expect("a member now");
    assert_eq!(node.admitted().await.peer, nucleus.peer());
    assert_eq!(nucleus.admitted().await.peer, node.peer());
    let _ = node.mesh.open(nucleus.peer(), Protocol::Pulse).await.expect("a stream");
}
