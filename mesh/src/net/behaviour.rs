//! [`MeshBehaviour`]: everything the swarm does, put together.

use super::codec::CborCodec;
use super::counters::Counters;
use super::door::Door;
use super::finder::Finder;
use super::gate::Gate;
use super::limits::Limits;
use super::streams::{Incoming, Streams};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{StreamProtocol, identify, mdns, ping, request_response};
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{JoinReply, JoinRequest};
use orbit_core::wire::{JOIN_BYTES_MAX, MESSAGE_BYTES_MAX};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// The only protocol that strangers can open.
pub(super) const JOIN: StreamProtocol = StreamProtocol::new("/orbit/join/1");
/// Questions between members.
pub(super) const CONTROL: StreamProtocol = StreamProtocol::new("/orbit/control/1");
/// Time for a question and its answer, the daemon's thinking included.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Join requests at the same time on one connection: more than one is not needed, a few do no harm.
const JOIN_AT_ONCE: usize = 4;
/// Questions at the same time on one connection, both directions together. Each may hold a message of 4 MiB.
const CONTROL_AT_ONCE: usize = 32;
/// How often members are asked for a sign of life, and how long they have. A connection that broke without a sign is
/// noticed within half a minute; heartbeats notice sooner where they matter.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type JoinCodec = CborCodec<JoinRequest, JoinReply>;
type ControlCodec = CborCodec<ControlRequest, ControlReply>;
pub(super) type JoinEvent = request_response::Event<JoinRequest, JoinReply>;
pub(super) type ControlEvent = request_response::Event<ControlRequest, ControlReply>;

/// The whole. The order of the fields is the order in which they are asked about a new connection: the door first, so
/// that nobody else has heard of a connection that it refuses.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Happened")]
pub(super) struct MeshBehaviour {
    pub(super) door: Door,
    pub(super) finder: Toggle<Finder>,
    pub(super) finder_ip6: Toggle<Finder>,
    pub(super) join: request_response::Behaviour<JoinCodec>,
    pub(super) members: Gate<Members>,
}

/// What only members may use.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Happened")]
pub(super) struct Members {
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) control: request_response::Behaviour<ControlCodec>,
    pub(super) streams: Streams,
}

/// What behaviours report.
#[derive(Debug)]
pub(super) enum Happened {
    Found(mdns::Event),
    Join(JoinEvent),
    Identified,
    Pinged(ping::Event),
    Control(ControlEvent),
    Opened(Incoming),
}

impl MeshBehaviour {
    pub(super) fn new(
        keypair: &Keypair,
        version: &str,
        [finder, finder_ip6]: [Option<Finder>; 2],
        limits: &Limits,
        counters: &Arc<Counters>,
    ) -> Self {
        let agent = identify::Config::new("orbit/1".to_owned(), keypair.public())
            .with_agent_version(format!("orbit/{version}"))
            .with_cache_size(0);
        let both = request_response::ProtocolSupport::Full;
        let config = |at_once| {
            request_response::Config::default()
                .with_request_timeout(ANSWER_TIMEOUT)
                .with_max_concurrent_streams(at_once)
        };
        Self {
            door: Door::new(limits.clone(), Arc::clone(counters)),
            finder: finder.into(),
            finder_ip6: finder_ip6.into(),
            join: request_response::Behaviour::with_codec(
                CborCodec::new(JOIN_BYTES_MAX, Arc::clone(counters)),
                [(JOIN, both)],
                config(JOIN_AT_ONCE),
            ),
            members: Gate::new(Members {
                identify: identify::Behaviour::new(agent),
                ping: ping::Behaviour::new(
                    ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT),
                ),
                control: request_response::Behaviour::with_codec(
                    CborCodec::new(MESSAGE_BYTES_MAX, Arc::clone(counters)),
                    [(CONTROL, request_response::ProtocolSupport::Full)],
                    config(CONTROL_AT_ONCE),
                ),
                streams: Streams::new(limits, Arc::clone(counters)),
            }),
        }
    }
}

impl From<Infallible> for Happened {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<mdns::Event> for Happened {
    fn from(event: mdns::Event) -> Self {
        Self::Found(event)
    }
}

impl From<JoinEvent> for Happened {
    fn from(event: JoinEvent) -> Self {
        Self::Join(event)
    }
}

impl From<ControlEvent> for Happened {
    fn from(event: ControlEvent) -> Self {
        Self::Control(event)
    }
}

impl From<identify::Event> for Happened {
    fn from(_: identify::Event) -> Self {
        Self::Identified
    }
}

impl From<ping::Event> for Happened {
    fn from(event: ping::Event) -> Self {
        Self::Pinged(event)
    }
}

impl From<Incoming> for Happened {
    fn from(incoming: Incoming) -> Self {
        Self::Opened(incoming)
    }
}
