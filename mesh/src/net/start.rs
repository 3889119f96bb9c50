//! How a mesh comes to life: transport, behaviours, listeners, task.

use super::behaviour::MeshBehaviour;
use super::error::MeshError;
use super::event::MeshEvent;
use super::finder::{Family, Finder};
use super::handle::Mesh;
use super::shared::Shared;
use super::task::{Parts, Task};
use super::transport::{Lanes, transport};
use super::{Identity, MeshConfig};
use crate::pki::MemberCertificate;
use futures::StreamExt as _;
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, SwarmEvent};
use libp2p::{Multiaddr, Swarm};
use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Commands that wait for the task: it takes them in microseconds, so this is only reached when it is overwhelmed, and
/// then whoever commands waits.
const COMMANDS: usize = 256;
/// Events that wait for the daemon. Room for a whole grid arriving at once, and the share that is kept from strangers.
const EVENTS: usize = 2_048;
/// Time for listeners to say where they listen. An unspecified address has to ask the system for its interfaces.
const LISTENING: Duration = Duration::from_secs(2);
/// How long a connection stays on which nothing happens, unless its peer is a member.
const IDLE: Duration = Duration::from_secs(30);
/// Streams of one connection whose protocol is being agreed upon. A member may open all of its streams at once.
const NEGOTIATING: usize = 64;

/// See [`Mesh::start`].
pub(super) async fn start(
    config: MeshConfig,
    identity: Option<Identity>,
) -> Result<(Mesh, mpsc::Receiver<MeshEvent>), MeshError> {
    let MeshConfig { key, listen, mdns, version, limits } = config;
    let keypair = key.keypair();
    let peer = key.peer_id();
    let shared = Arc::new(Shared::default());
    let lanes = Arc::new(Lanes::new(limits.stranger_bytes));
    let tasks = TaskTracker::new();

    let transport = transport(&keypair, &shared.counters, &lanes).map_err(MeshError::Key)?;
    let behaviour = MeshBehaviour::new(
        &keypair,
        &version,
        [Family::Ip4, Family::Ip6].map(|family| finder(mdns, peer, family)),
        &limits,
        &shared.counters,
    );
    let connections = tasks.clone();
    let executor = move |task| drop(connections.spawn(task));
    let settings = swarm::Config::with_executor(executor)
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(NEGOTIATING);
    let mut swarm = Swarm::new(transport, behaviour, peer, settings);
    listen_on(&mut swarm, listen).await?;
    shared.set_listen(swarm.listeners().cloned().collect());

    let (commands, command_receiver) = mpsc::channel(COMMANDS);
    let (event_sender, events) = mpsc::channel(EVENTS);
    let node = identity
        .as_ref()
        .and_then(|identity| MemberCertificate::parse(&identity.certificate).ok())
        .map(|certificate| certificate.node);
    let parts = Parts {
        swarm,
        identity,
        node,
        limits,
        shared: Arc::clone(&shared),
        lanes,
        commands: command_receiver,
        events: event_sender,
    };
    tasks.spawn(Task::new(parts).run());
    Ok((Mesh { peer, key: key.key(), commands, shared, tasks }, events))
}

/// mDNS, if it is wanted and works here.
fn finder(is_wanted: bool, peer: libp2p::PeerId, family: Family) -> Option<Finder> {
    if !is_wanted {
        return None;
    }
    match Finder::new(peer, family) {
        Ok(finder) => Some(finder),
        Err(error) => {
            tracing::warn!(%error, ?family, "mDNS does not work here: other nodes are found only by address");
            None
        }
    }
}

/// Listens on `addresses`. A port that is taken is an error; another address that does not work (no IPv6, say) is one
/// only if none does. Cancel-safe: listeners end with the swarm.
async fn listen_on(swarm: &mut Swarm<MeshBehaviour>, addresses: Vec<Multiaddr>) -> Result<(), MeshError> {
    let mut failures = Vec::new();
    let mut waiting = HashSet::new();
    // All are tried before any is taken: one for all of IPv6 would find the port taken by our own for all of IPv4.
    let claims: Vec<_> = addresses.iter().map(claim).collect();
    for (address, claimed) in addresses.into_iter().zip(claims) {
        let listening = match claimed {
            Err(error) => Err(error),
            Ok(()) => swarm.listen_on(address.clone()).map_err(|error| match error {
                TransportError::Other(error) => error,
                TransportError::MultiaddrNotSupported(_) => {
                    io::Error::new(io::ErrorKind::InvalidInput, "not an IP address and a TCP port")
                }
            }),
        };
        match listening {
            Ok(listener) => drop(waiting.insert(listener)),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(MeshError::Taken { address, source });
            }
            Err(error) => failures.push((address, error)),
        }
    }
    let had_any = !waiting.is_empty();
    let settling = async {
        while !waiting.is_empty() {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, .. }
                | SwarmEvent::ListenerClosed { listener_id, .. } => drop(waiting.remove(&listener_id)),
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(LISTENING, settling).await;
    for (address, error) in &failures {
        tracing::warn!(%address, %error, "not listening there");
    }
    if had_any || failures.is_empty() { Ok(()) } else { Err(MeshError::Listen { failures }) }
}

/// Tries to bind. The transport shares ports between sockets of one user, so that two nodes could take the same port
/// without noticing, and each would get half of the connections.
fn claim(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => std::net::IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        _ => Ok(()),
    }
}
