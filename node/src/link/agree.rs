//! One connection, agreed on and opened: by dialling, by being dialled, or inside the mesh.

use super::error::LinkError;
use super::{PATIENCE, TalkError, carry, places, read_frame, write_frame};
use crate::daemon::Node;
use crate::daemon::shared::Way;
use orbit_core::grid::Ticket;
use orbit_core::ids::{LeaseId, NodeId};
use orbit_core::wire::link::{LINK_ADDRESSES_MAX, LinkAnswer, LinkCall, LinkOffer, LinkRoute};
use orbit_mesh::direct::{DialError, DirectStream, Terms, dial};
use orbit_mesh::key::peer_id_of;
use orbit_mesh::net::{ConnectError, MeshStream, Protocol};
use orbit_mesh::{Multiaddr, PeerId};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

/// How long the source may take to dial, and to tell that it could not.
const DIALLING_PATIENCE: Duration = Duration::from_secs(9);
/// How long a connection may be on its way when the source has said that it dialled.
const ARRIVING_PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection in the mesh may take, and a way to the Nucleus be waited for.
const MESH_PATIENCE: Duration = Duration::from_secs(4);

/// Where a source is, as its ticket says.
#[derive(Clone, Debug)]
pub(super) struct Place {
    node: NodeId,
    peer: PeerId,
    addresses: Vec<Multiaddr>,
}

impl Place {
    /// Of the source that a ticket is for; none if it is for another, or its key is none.
    pub fn of(source: NodeId, ticket: &Ticket) -> Option<Self> {
        let peer = peer_id_of(&ticket.source_key).filter(|_| ticket.source == source)?;
        let addresses = ticket.source_addresses.iter().filter_map(|text| text.parse().ok()).collect();
        Some(Self { node: source, peer, addresses })
    }
}

/// A connection that was opened.
pub(super) struct Agreed {
    pub lease: LeaseId,
    pub stream: DirectStream,
    pub route: LinkRoute,
}

/// A stream to the source.
struct Talk {
    stream: MeshStream,
    /// Where the mesh meets the source; none if it does so through the Nucleus.
    met_at: Option<Multiaddr>,
    is_through: bool,
}

/// Agrees on a connection and opens it. What worked last time is tried first. Cancel-safe: the source gives up what was offered.
pub(super) async fn agree(
    node: &Arc<Node>,
    place: &Place,
    call: LinkCall,
    hint: Option<LinkRoute>,
) -> Result<Agreed, LinkError> {
    let mut talk = reach(node, place, hint).await?;
    let offer = match talk.ask(&call, PATIENCE).await? {
        LinkAnswer::Offer(offer) => offer,
        LinkAnswer::Refused(refusal) => return Err(LinkError::Refused(refusal)),
        _ => return Err(LinkError::Unexpected),
    };
    let terms = Terms { link: offer.link, secret: Zeroizing::new(offer.secret), cipher: offer.cipher.into() };
    let lease = offer.lease;
    let (stream, route) = open(node, talk, &terms, &offer, hint).await?;
    Ok(Agreed { lease, stream, route })
}

async fn open(
    node: &Arc<Node>,
    mut talk: Talk,
    terms: &Terms,
    offer: &LinkOffer,
    hint: Option<LinkRoute>,
) -> Result<(DirectStream, LinkRoute), LinkError> {
    let mut there = DialError(Vec::new());
    if matches!(hint, None | Some(LinkRoute::Dialled)) {
        let addresses = places::to_try(&offer.addresses, talk.met_at.as_ref());
        match dial(&addresses, terms).await {
            Ok(stream) => return Ok((stream, LinkRoute::Dialled)),
            Err(error) => there = error,
        }
    }
    let mut back = String::new();
    if hint.is_none_or(|hint| hint <= LinkRoute::Reversed) {
        match be_dialled(node, &mut talk, terms).await? {
            Ok(stream) => return Ok((stream, LinkRoute::Reversed)),
            Err(reason) => back = reason,
        }
    }
    let route = if talk.is_through { LinkRoute::Relayed } else { LinkRoute::Mesh };
    match talk.ask(&LinkCall::Carry { link: offer.link }, PATIENCE).await {
        Ok(LinkAnswer::Carrying) => {}
        Ok(_) => return Err(LinkError::Unexpected),
        Err(error) => {
            tracing::debug!(%error, "the mesh does not carry the link");
            return Err(LinkError::NoWay { there, back });
        }
    }
    let carried = || -> io::Result<_> { carry::carry(node, talk.stream) };
    let local = carried().map_err(TalkError::Io)?;
    let terms = terms.clone();
    let opened = spawn_blocking(move || DirectStream::dial_over(local, &terms)).await;
    let stream = opened.map_err(io::Error::other).and_then(|opened| opened).map_err(TalkError::Io)?;
    Ok((stream, route))
}

/// Has the source dial; the reason if it could not.
async fn be_dialled(
    node: &Node,
    talk: &mut Talk,
    terms: &Terms,
) -> Result<Result<DirectStream, String>, LinkError> {
    let listener = &node.links.listener;
    let told = places::to_be_told(listener.addresses(), &node.mesh.listen_addresses());
    let addresses = told.iter().take(LINK_ADDRESSES_MAX).map(ToString::to_string).collect();
    let Ok(mut expected) = listener.expect(terms.clone()) else {
        return Ok(Err("this node opens too many direct links".to_owned()));
    };
    let call = LinkCall::DialMe { link: terms.link, addresses };
    let asked = talk.ask(&call, DIALLING_PATIENCE);
    tokio::pin!(asked);
    let answer = tokio::select! {
        Some(stream) = expected.arrive() => return Ok(Ok(stream)),
        answer = &mut asked => answer?,
    };
    match answer {
        LinkAnswer::Dialled { address } => {
            let arrived = timeout(ARRIVING_PATIENCE, expected.arrive()).await;
            Ok(arrived.ok().flatten().ok_or_else(|| format!("a connection to {address} did not arrive")))
        }
        LinkAnswer::NotDialled { reason } => Ok(Err(reason)),
        LinkAnswer::Refused(refusal) => Err(LinkError::Refused(refusal)),
        _ => Err(LinkError::Unexpected),
    }
}

/// Tells the source that a lease is not needed any more.
pub(super) async fn release(node: &Node, place: &Place, lease: LeaseId) {
    let told = async {
        let mut talk = reach(node, place, None).await?;
        Ok::<_, LinkError>(talk.ask(&LinkCall::Release { lease }, PATIENCE).await?)
    };
    match told.await {
        Ok(LinkAnswer::Released) => {}
        other => tracing::debug!(?other, "the source was not told that a job has ended"),
    }
}

/// Opens a stream to the source, or through the Nucleus if it is not reached, or was not the last time.
async fn reach(node: &Node, place: &Place, hint: Option<LinkRoute>) -> Result<Talk, LinkError> {
    if hint == Some(LinkRoute::Relayed)
        && let Some(stream) = through_nucleus(node, place).await
    {
        return Ok(Talk { stream, met_at: None, is_through: true });
    }
    let not_reached = match straight(node, place).await {
        Ok((stream, met_at)) => return Ok(Talk { stream, met_at: Some(met_at), is_through: false }),
        Err(error) => error,
    };
    match through_nucleus(node, place).await {
        Some(stream) => Ok(Talk { stream, met_at: None, is_through: true }),
        None => Err(not_reached),
    }
}

/// A stream to the source, and where the mesh meets it.
async fn straight(node: &Node, place: &Place) -> Result<(MeshStream, Multiaddr), LinkError> {
    let met_at = meet(node, place).await.map_err(|error| LinkError::Unreachable(Box::new(error)))?;
    // A connection that was cut a moment ago is not known to be.
    let opened = timeout(MESH_PATIENCE, node.mesh.open(place.peer, Protocol::Link)).await;
    let stream = opened.map_err(|_| TalkError::Silent)?.map_err(|error| LinkError::Ask(Box::new(error)))?;
    Ok((stream, met_at))
}

/// A stream that the Nucleus leads on to the source, if that is another node and reached.
async fn through_nucleus(node: &Node, place: &Place) -> Option<MeshStream> {
    let way = node.way_to_nucleus(Instant::now() + MESH_PATIENCE).await;
    let Ok(Way::Peer(nucleus)) = way else { return None };
    if nucleus == place.peer {
        return None;
    }
    let mut stream = node.mesh.open(nucleus, Protocol::Link).await.ok()?;
    let through = LinkCall::Through { to: place.node };
    timeout(PATIENCE, write_frame(&mut stream, &through)).await.ok()?.ok()?;
    Some(stream)
}

/// Connects with the source in the mesh, unless that is so already. Where it is met.
async fn meet(node: &Node, place: &Place) -> Result<Multiaddr, ConnectError> {
    let met = || node.mesh.peers().into_iter().find(|link| link.peer == place.peer).map(|link| link.address);
    if let Some(address) = met() {
        return Ok(address);
    }
    let discovered = node.mesh.discovered().into_iter().filter(|(peer, _)| *peer == place.peer);
    let mut addresses: Vec<Multiaddr> = discovered.flat_map(|(_, addresses)| addresses).collect();
    for address in &place.addresses {
        if !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    let connecting = node.mesh.connect(Some(place.peer), addresses.clone());
    let Ok(connected) = timeout(MESH_PATIENCE, connecting).await else {
        // The system's own attempts come further and further apart: a new one is begun next time.
        node.mesh.disconnect(place.peer).await;
        return Err(ConnectError::Timeout { seconds: MESH_PATIENCE.as_secs(), addresses });
    };
    connected?;
    met().ok_or(ConnectError::NoAddress)
}

impl Talk {
    async fn ask(&mut self, call: &LinkCall, patience: Duration) -> Result<LinkAnswer, TalkError> {
        let asked = async {
            write_frame(&mut self.stream, call).await?;
            read_frame(&mut self.stream).await
        };
        timeout(patience, asked).await.map_err(|_| TalkError::Silent)?
    }
}
