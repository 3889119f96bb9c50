//! Questions and answers over the join and control protocols, and streams.

use super::super::behaviour::{ControlEvent, JoinEvent};
use super::super::command::{Answered, Reply};
use super::super::counters::reason;
use super::super::error::AskError;
use super::super::event::{Answer, Member, MeshEvent};
use super::super::origin::Origin;
use super::super::stream::{MeshStream, Protocol};
use super::super::streams::Incoming;
use super::hello::Waiter;
use super::{Connection, Task};
use crate::key::key_of;
use libp2p::PeerId;
use libp2p::request_response::{
    InboundFailure, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};
use libp2p::swarm::ConnectionId;
use orbit_core::grid::Refusal;
use orbit_core::wire::control::{ControlReply, ControlRequest};
use orbit_core::wire::join::{Hello, JoinReply, JoinRequest};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Events that must still fit when a stranger's question is handed to the daemon: strangers are refused first.
const SPARED_FOR_MEMBERS: usize = 256;

/// What we asked and have no answer to yet.
pub(super) struct Questions {
    pub(super) joins: HashMap<OutboundRequestId, Outbound>,
    controls: HashMap<OutboundRequestId, Reply<ControlReply, AskError>>,
    answers: mpsc::UnboundedSender<Answered>,
    /// Join requests that the daemon has not answered.
    waiting: Arc<AtomicUsize>,
}

/// A request over the join protocol.
pub(super) enum Outbound {
    /// `said`: when. `is_outdated`: something about us changed since.
    Hello {
        peer: PeerId,
        waiting: Vec<Waiter>,
        said: Instant,
        is_outdated: bool,
    },
    Join(Reply<JoinReply, AskError>),
}

/// One join request that waits for the daemon.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Questions {
    pub(super) fn new(answers: mpsc::UnboundedSender<Answered>) -> Self {
        Self { joins: HashMap::new(), controls: HashMap::new(), answers, waiting: Arc::default() }
    }

    /// Forgets questions whose asker gave up. The network may never tell: a request can wait in a gate that stays
    /// closed.
    pub(super) fn forget_abandoned(&mut self) {
        self.controls.retain(|_, reply| !reply.is_closed());
        self.joins.retain(|_, outbound| match outbound {
            Outbound::Hello { .. } => true,
            Outbound::Join(reply) => !reply.is_closed(),
        });
    }
}

impl Task {
    pub(super) fn ask_join(&mut self, peer: PeerId, request: JoinRequest, reply: Reply<JoinReply, AskError>) {
        if self.peers.contains_key(&peer) {
            let id = self.swarm.behaviour_mut().join.send_request(&peer, request);
            self.questions.joins.insert(id, Outbound::Join(reply));
        } else {
            let _ = reply.send(Err(AskError::NotConnected { peer }));
        }
    }

    pub(super) fn ask_control(
        &mut self,
        peer: PeerId,
        request: ControlRequest,
        reply: Reply<ControlReply, AskError>,
    ) {
        if let Err(error) = self.member(peer) {
            let _ = reply.send(Err(error));
            return;
        }
        let id = self.swarm.behaviour_mut().members.inner_mut().control.send_request(&peer, request);
        self.questions.controls.insert(id, reply);
    }

    pub(super) fn open_stream(
        &mut self,
        peer: PeerId,
        protocol: Protocol,
        reply: Reply<MeshStream, AskError>,
    ) {
        match self.member(peer) {
            Ok(_) => self.swarm.behaviour_mut().members.inner_mut().streams.open(peer, protocol, reply),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// The member that `peer` is.
    #[expect(
        clippy::result_large_err,
        reason = "a refusal inside is large, and this is called once for a question"
    )]
    fn member(&self, peer: PeerId) -> Result<&Member, AskError> {
        let known = self.peers.get(&peer).ok_or(AskError::NotConnected { peer })?;
        known.member.as_ref().map(|held| &held.member).ok_or(AskError::NotAdmitted { peer })
    }

    pub(super) fn on_join(&mut self, event: JoinEvent) {
        match event {
            JoinEvent::Message { peer, connection_id, message } => match message {
                Message::Request { request, channel, .. } => {
                    self.on_join_request(peer, connection_id, request, channel);
                }
                Message::Response { request_id, response } => {
                    match self.questions.joins.remove(&request_id) {
                        Some(Outbound::Hello { peer, waiting, is_outdated, .. }) => {
                            self.on_hello_reply(peer, response, waiting);
                            self.on_hello_over(peer, is_outdated);
                        }
                        Some(Outbound::Join(reply)) => drop(reply.send(Ok(response))),
                        None => {}
                    }
                }
            },
            JoinEvent::OutboundFailure { peer, request_id, error, .. } => {
                match self.questions.joins.remove(&request_id) {
                    Some(Outbound::Hello { peer, waiting, is_outdated, .. }) => {
                        Self::on_hello_failed(peer, failure(peer, error), waiting);
                        self.on_hello_over(peer, is_outdated);
                    }
                    Some(Outbound::Join(reply)) => drop(reply.send(Err(failure(peer, error)))),
                    None => {}
                }
            }
            JoinEvent::InboundFailure { connection_id, error, .. } => {
                self.on_unanswered(&error);
                self.swarm.behaviour_mut().door.set_asked(connection_id, false);
            }
            JoinEvent::ResponseSent { connection_id, .. } => {
                self.swarm.behaviour_mut().door.set_asked(connection_id, false);
            }
        }
    }

    fn on_join_request(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        request: JoinRequest,
        channel: ResponseChannel<JoinReply>,
    ) {
        let reply = match request {
            JoinRequest::Hello(hello) => {
                let reply = self.answer_hello(peer, &hello);
                let is_proved = !hello.certificate.is_empty() && matches!(reply, JoinReply::Hello(_));
                if is_proved || self.is_first_greeting(peer, connection, &hello) {
                    reply
                } else {
                    self.rated(peer, connection).map_or_else(|refused| refused, |()| reply)
                }
            }
            request => match self.rated(peer, connection) {
                Err(refused) => refused,
                Ok(()) => match self.forward_join(peer, connection, request, channel) {
                    None => return,
                    Some((channel, refused)) => {
                        let _ = self.swarm.behaviour_mut().join.send_response(channel, refused);
                        return;
                    }
                },
            },
        };
        let _ = self.swarm.behaviour_mut().join.send_response(channel, reply);
    }

    fn connection_mut(&mut self, peer: &PeerId, connection: ConnectionId) -> Option<&mut Connection> {
        self.peers.get_mut(peer)?.connections.iter_mut().find(|one| one.id == connection)
    }

    /// Whether this is the first hello without a certificate on a connection. It is free: a joining node has to say it,
    /// and to connect costs a stranger more than the answer costs us.
    fn is_first_greeting(&mut self, peer: PeerId, connection: ConnectionId, hello: &Hello) -> bool {
        let connection = self.connection_mut(&peer, connection);
        hello.certificate.is_empty()
            && connection.is_some_and(|known| !std::mem::replace(&mut known.was_greeted, true))
    }

    /// Whether the address behind a connection may ask once more.
    fn rated(&mut self, peer: PeerId, connection: ConnectionId) -> Result<(), JoinReply> {
        let Some(known) = self.connection_mut(&peer, connection) else { return Ok(()) };
        let origin = Origin::of_multiaddr(&known.address);
        self.buckets.take(origin, Instant::now()).map_err(|wait| {
            self.shared.counters.drop_one(reason::RATE);
            let retry_after_s = u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
            JoinReply::Refused(Refusal::TooMany { retry_after_s })
        })
    }

    /// Hands a join request to the daemon, or gives the channel back with a refusal.
    fn forward_join(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        request: JoinRequest,
        channel: ResponseChannel<JoinReply>,
    ) -> Option<(ResponseChannel<JoinReply>, JoinReply)> {
        let busy = || JoinReply::Refused(Refusal::TooMany { retry_after_s: 1 });
        let has_room = self.has_room(SPARED_FOR_MEMBERS)
            && self.questions.waiting.load(Ordering::Relaxed) < self.limits.join_waiting;
        let (true, Some(key)) = (has_room, key_of(&peer)) else {
            self.shared.counters.drop_one(reason::BUSY);
            return Some((channel, busy()));
        };
        self.questions.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(Arc::clone(&self.questions.waiting));
        let origin = self.connection_mut(&peer, connection).map(|known| Origin::of_multiaddr(&known.address));
        let answers = self.questions.answers.clone();
        let answer = Answer::new(move |reply| {
            drop(waiting);
            // If the task is gone, so is the asker.
            let _ = answers.send(Answered::Join { channel, origin, reply });
        });
        self.swarm.behaviour_mut().door.set_asked(connection, true);
        // There is room: it was looked at above, and nobody else sends.
        self.offer(MeshEvent::Join { peer, key, request, answer }, SPARED_FOR_MEMBERS);
        None
    }

    pub(super) fn on_control(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_asked(peer, request, channel);
            }
            ControlEvent::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(reply) = self.questions.controls.remove(&request_id) {
                    let _ = reply.send(Ok(response));
                }
            }
            ControlEvent::OutboundFailure { peer, request_id, error, .. } => {
                if let Some(reply) = self.questions.controls.remove(&request_id) {
                    let _ = reply.send(Err(failure(peer, error)));
                }
            }
            ControlEvent::InboundFailure { error, .. } => self.on_unanswered(&error),
            ControlEvent::ResponseSent { .. } => {}
        }
    }

    fn on_asked(&mut self, peer: PeerId, request: ControlRequest, channel: ResponseChannel<ControlReply>) {
        let Ok(from) = self.member(peer).cloned() else { return };
        if !self.has_room(0) {
            self.shared.counters.drop_one(reason::BUSY);
            let limit = u32::try_from(self.events.max_capacity()).unwrap_or(u32::MAX);
            let reply = ControlReply::Refused(Refusal::Busy { name: self.own_name(), limit });
            let _ = self.swarm.behaviour_mut().members.inner_mut().control.send_response(channel, reply);
            return;
        }
        let answers = self.questions.answers.clone();
        let answer = Answer::new(move |reply| {
            let _ = answers.send(Answered::Control { channel, reply });
        });
        self.offer(MeshEvent::Asked { from, request, answer }, 0);
    }

    pub(super) fn on_opened(&mut self, Incoming { protocol, stream }: Incoming) {
        let Ok(from) = self.member(stream.peer()).cloned() else { return };
        if !self.offer(MeshEvent::Opened { from, protocol, stream }, 0) {
            self.shared.counters.drop_one(reason::BUSY);
        }
    }

    /// Passes the daemon's answer on. If the asker is gone, there is nobody to tell.
    pub(super) fn on_answered(&mut self, answered: Answered) {
        match answered {
            Answered::Join { channel, origin, reply } => {
                // Only failures count: many machines behind one router may join with one token.
                if let (JoinReply::Enrolled(_), Some(origin)) = (&reply, origin) {
                    self.buckets.give_back(origin);
                }
                let _ = self.swarm.behaviour_mut().join.send_response(channel, reply);
            }
            Answered::Control { channel, reply } => {
                let _ = self.swarm.behaviour_mut().members.inner_mut().control.send_response(channel, reply);
            }
        }
    }

    fn on_unanswered(&self, error: &InboundFailure) {
        if matches!(error, InboundFailure::Timeout | InboundFailure::ResponseOmission) {
            self.shared.counters.drop_one(reason::UNANSWERED);
        }
    }
}

fn failure(peer: PeerId, error: OutboundFailure) -> AskError {
    match error {
        OutboundFailure::Timeout => AskError::Timeout { peer },
        OutboundFailure::ConnectionClosed => AskError::Closed { peer },
        OutboundFailure::DialFailure => AskError::NotConnected { peer },
        OutboundFailure::UnsupportedProtocols => AskError::NotAdmitted { peer },
        OutboundFailure::Io(source) => AskError::Io { peer, source },
    }
}
