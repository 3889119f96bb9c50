//! The source's side: judges tickets, agrees on connections, and has the star serve them.

use super::leases::{Crowded, Lease};
use super::{PATIENCE, TalkError, carry, places, read_frame, ticket, write_frame};
use crate::daemon::Node;
use crate::daemon::shared::lock;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{Refusal, TicketFault};
use orbit_core::ids::{LeaseId, LinkId, NodeId, Serial};
use orbit_core::wire::link::{LINK_ADDRESSES_MAX, LinkAnswer, LinkCall, LinkCipher, LinkOffer, SignedTicket};
use orbit_mesh::Cipher;
use orbit_mesh::direct::{DirectStream, Expected, Terms, dial};
use orbit_mesh::key::random;
use orbit_mesh::net::{Member, MeshStream, Protocol};
use orbit_mesh::pki::MemberCertificate;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Serves a stream on which a member asks for a connection, until there is one.
pub(crate) async fn serve(node: Arc<Node>, from: Member, stream: MeshStream) {
    let served = tokio::select! {
        served = converse(&node, &from, stream) => served,
        () = node.stop.cancelled() => Ok(()),
    };
    if let Err(error) = served {
        tracing::debug!(from = %from.node, error = chain(&error), "no direct link was agreed on");
    }
}

/// A connection that was offered.
struct Offered {
    lease: LeaseId,
    root: Vec<u8>,
    terms: Terms,
    expected: Expected,
    place: OwnedSemaphorePermit,
}

async fn converse(node: &Arc<Node>, from: &Member, mut stream: MeshStream) -> Result<(), TalkError> {
    let mut asker = from.node;
    let mut call = hear(&mut stream).await?;
    if let LinkCall::Through { to } = call {
        return pass_on(node, from, to, stream).await;
    }
    if let LinkCall::For { asker: other } = call {
        if !from.is_nucleus || from.fence < node.fence() {
            let refusal = Refusal::NotNucleus { node: node.standing().name };
            return last_answer(stream, &LinkAnswer::Refused(refusal)).await;
        }
        asker = other;
        call = hear(&mut stream).await?;
    }
    let offered = match call {
        LinkCall::Present { ticket, certificate, cipher } => {
            let lease = present(node, asker, &ticket, &certificate).await;
            lease.and_then(|(lease, root)| offer(node, lease, root, cipher))
        }
        LinkCall::More { lease, cipher } => {
            let epoch = node.fence().epoch;
            let root = lock(&node.links.leases).root(lease, asker, epoch, Instant::now());
            match root {
                Some(root) => offer(node, lease, root, cipher),
                None => Err(Refusal::Ticket { node: node.standing().name, reason: TicketFault::Over }),
            }
        }
        LinkCall::Release { lease } => {
            let ending = lock(&node.links.leases).end(lease, asker);
            ending.break_off();
            return last_answer(stream, &LinkAnswer::Released).await;
        }
        _ => Err(Refusal::OutOfRange {
            what: "what is said first about a direct link".into(),
            allowed: "a ticket or a lease".into(),
        }),
    };
    match offered {
        Ok((offer, offered)) => {
            answer(&mut stream, &LinkAnswer::Offer(offer)).await?;
            open(node, offered, stream).await
        }
        Err(refusal) => {
            tracing::info!(%asker, %refusal, "a direct link is refused");
            last_answer(stream, &LinkAnswer::Refused(refusal)).await
        }
    }
}

/// Judges a ticket and begins a lease.
async fn present(
    node: &Node,
    asker: NodeId,
    signed: &SignedTicket,
    certificate: &[u8],
) -> Result<(LeaseId, Vec<u8>), Refusal> {
    let serial = serial_of(node, asker, certificate)?;
    let ticket = ticket::admit(node, asker, signed).await?;
    let (id, root) = (LeaseId::from_bytes(random()), ticket.root.clone());
    let lease = Lease { job: ticket.job, destination: asker, serial, root: ticket.root, fence: ticket.fence };
    let begun = lock(&node.links.leases).begin(id, lease, Instant::now());
    begun.map_err(|Crowded| busy(node))?;
    Ok((id, root))
}

/// The serial number of the asker's certificate, if that is valid and its own.
fn serial_of(node: &Node, asker: NodeId, certificate: &[u8]) -> Result<Serial, Refusal> {
    let refused = |reason| Refusal::Certificate { reason };
    let read = MemberCertificate::parse(certificate).map_err(|_| refused(CertificateFault::Unreadable))?;
    let trust = node.membership().trust().map_err(|_| refused(CertificateFault::Untrusted))?;
    let member = trust.verify(certificate, &read.key, now_ms()).map_err(refused)?;
    if member.node != asker {
        return Err(refused(CertificateFault::OtherKey));
    }
    Ok(member.serial)
}

fn busy(node: &Node) -> Refusal {
    Refusal::Busy { name: node.standing().name, limit: super::SERVED_MAX as u32 }
}

/// Offers a connection and expects it.
fn offer(
    node: &Node,
    lease: LeaseId,
    root: Vec<u8>,
    theirs: LinkCipher,
) -> Result<(LinkOffer, Offered), Refusal> {
    let place = Arc::clone(&node.links.served).try_acquire_owned().map_err(|_| busy(node))?;
    let cipher = theirs.with(Cipher::for_this_processor().into());
    let terms =
        Terms { link: LinkId::from_bytes(random()), secret: Zeroizing::new(random()), cipher: cipher.into() };
    let expected = node.links.listener.expect(terms.clone()).map_err(|_| busy(node))?;
    let told = places::to_be_told(node.links.listener.addresses(), &node.mesh.listen_addresses());
    let offer = LinkOffer {
        lease,
        link: terms.link,
        secret: *terms.secret,
        cipher,
        addresses: told.iter().take(LINK_ADDRESSES_MAX).map(ToString::to_string).collect(),
    };
    Ok((offer, Offered { lease, root, terms, expected, place }))
}

/// What came of an offer first.
enum Next {
    Arrived(Option<Box<DirectStream>>),
    Heard(Result<LinkCall, TalkError>),
}

/// Waits for the connection, or for what the destination says when it cannot open it.
async fn open(node: &Arc<Node>, mut offered: Offered, mut stream: MeshStream) -> Result<(), TalkError> {
    loop {
        let next = tokio::select! {
            arrived = offered.expected.arrive() => Next::Arrived(arrived.map(Box::new)),
            // A frame that is lost when the connection arrives is not needed any more.
            heard = read_frame(&mut stream) => Next::Heard(heard),
        };
        match next {
            Next::Arrived(Some(arrived)) => {
                begin(node, offered.lease, offered.root, offered.place, *arrived);
                return Ok(());
            }
            Next::Arrived(None) => return Err(TalkError::Silent),
            Next::Heard(Ok(LinkCall::DialMe { link, addresses })) if link == offered.terms.link => {
                let addresses = places::to_try(&addresses, address_of(node, &stream).as_ref());
                match dial(&addresses, &offered.terms).await {
                    Ok(dialled) => {
                        let address = dialled.end().to_string();
                        begin(node, offered.lease, offered.root, offered.place, dialled);
                        return last_answer(stream, &LinkAnswer::Dialled { address }).await;
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        answer(&mut stream, &LinkAnswer::NotDialled { reason }).await?;
                    }
                }
            }
            Next::Heard(Ok(LinkCall::Carry { link })) if link == offered.terms.link => {
                answer(&mut stream, &LinkAnswer::Carrying).await?;
                let local = carry::carry(node, stream)?;
                let Offered { lease, root, expected, place, .. } = offered;
                let opened = spawn_blocking(move || expected.over(local)).await;
                let opened = opened.map_err(std::io::Error::other)??;
                begin(node, lease, root, place, opened);
                return Ok(());
            }
            // It may have closed the stream since the connection is there, or lost the mesh while it dials.
            Next::Heard(Err(TalkError::Io(_))) => {
                let arrived = offered.expected.arrive().await.ok_or(TalkError::Silent)?;
                begin(node, offered.lease, offered.root, offered.place, arrived);
                return Ok(());
            }
            Next::Heard(Err(error)) => return Err(error),
            Next::Heard(Ok(_)) => return Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into()),
        }
    }
}

/// Where the mesh meets the other end of a stream.
fn address_of(node: &Node, stream: &MeshStream) -> Option<orbit_mesh::Multiaddr> {
    node.mesh.peers().into_iter().find(|link| link.peer == stream.peer()).map(|link| link.address)
}

/// Has the star serve a connection, on threads that end with it.
fn begin(node: &Arc<Node>, lease: LeaseId, root: Vec<u8>, place: OwnedSemaphorePermit, stream: DirectStream) {
    let breaker = stream.breaker();
    if !lock(&node.links.leases).connected(lease, breaker, Instant::now()) {
        // The lease has ended meanwhile; so does the connection.
        return;
    }
    tracing::debug!(%lease, end = ?stream.end(), cipher = %stream.cipher(), "a direct link is open");
    let star = node.star.clone();
    node.tasks.spawn_blocking(move || {
        let (reader, writer) = stream.split();
        star.serve_link(Box::new(reader), Box::new(writer), &root);
        drop(place);
    });
}

/// As the Nucleus: leads a stream on to a node that the asker does not reach.
async fn pass_on(node: &Arc<Node>, from: &Member, to: NodeId, stream: MeshStream) -> Result<(), TalkError> {
    match way_on(node, from, to).await {
        Ok(onward) => {
            tokio::select! {
                passed = crate::nucleus::relay::pass_between(stream, onward) => Ok(passed?),
                () = node.stop.cancelled() => Ok(()),
            }
        }
        Err(refusal) => last_answer(stream, &LinkAnswer::Refused(refusal)).await,
    }
}

async fn way_on(node: &Node, from: &Member, to: NodeId) -> Result<MeshStream, Refusal> {
    let nucleus = node.acting_nucleus();
    let nucleus = nucleus.ok_or_else(|| Refusal::NotNucleus { node: node.standing().name })?;
    let name = nucleus.with(|state| state.node(to).map(|record| record.name.clone()));
    let name = name.ok_or_else(|| Refusal::UnknownNode { name: to.to_string(), nearest: None })?;
    let unreachable = || {
        let seen = nucleus.registry.sight(to).last_seen_ms;
        let ago = seen.map_or(-1, |at| now_ms() - at);
        Refusal::NodeUnreachable { name: name.clone(), last_seen_ago_ms: ago }
    };
    let link = node.mesh.peers().into_iter().find(|link| link.node == to).ok_or_else(unreachable)?;
    let mut onward = node.mesh.open(link.peer, Protocol::Link).await.map_err(|_| unreachable())?;
    let told = timeout(PATIENCE, write_frame(&mut onward, &LinkCall::For { asker: from.node })).await;
    if !matches!(told, Ok(Ok(()))) {
        return Err(unreachable());
    }
    Ok(onward)
}

async fn hear(stream: &mut MeshStream) -> Result<LinkCall, TalkError> {
    timeout(PATIENCE, read_frame(stream)).await.map_err(|_| TalkError::Silent)?
}

async fn answer(stream: &mut MeshStream, answer: &LinkAnswer) -> Result<(), TalkError> {
    timeout(PATIENCE, write_frame(stream, answer)).await.map_err(|_| TalkError::Silent)?
}

/// Says something and then nothing more. A stream that is merely dropped may lose it.
async fn last_answer(mut stream: MeshStream, answer: &LinkAnswer) -> Result<(), TalkError> {
    let said = async {
        write_frame(&mut stream, answer).await?;
        Ok(stream.shutdown().await?)
    };
    timeout(PATIENCE, said).await.map_err(|_| TalkError::Silent)?
}
