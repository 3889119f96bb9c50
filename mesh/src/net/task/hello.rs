//! Hellos: both sides show who they are, and admit each other.

use super::super::Identity;
use super::super::command::Reply;
use super::super::counters::reason;
use super::super::error::{AskError, ConnectError};
use super::super::event::{Direction, Member};
use super::question::Outbound;
use super::roster::{Membership, Side};
use super::{Task, now_ms};
use crate::key::key_of;
use crate::pki::MemberCertificate;
use libp2p::PeerId;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::{Fence, Refusal};
use orbit_core::ids::GridId;
use orbit_core::wire::PROTOCOL_VERSION;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::join::{Hello, JoinReply, JoinRequest};
use std::time::{Duration, Instant};

/// For how long news wait for the answer to the hello before.
const NEWS_WAIT_MAX: Duration = Duration::from_secs(2);
/// Authorities that a hello may carry.
const ANCHORS_MAX: usize = 8;

/// Who waits for the outcome of a hello.
pub(super) enum Waiter {
    Connect(Reply<PeerId, ConnectError>),
    Hello(Reply<Hello, AskError>),
}

/// Why what somebody said in its hello does not make it a member.
enum Doubt {
    OtherGrid,
    Protocol { theirs: u32 },
    Certificate(CertificateFault),
    OldEpoch { theirs: u32, ours: u32 },
}

impl Task {
    /// Our own hello. Only answers carry the authorities.
    fn hello(&self, is_answer: bool) -> Hello {
        let base = Hello {
            protocol: PROTOCOL_VERSION,
            grid: None,
            fence: Fence::default(),
            certificate: Vec::new(),
            anchors: Vec::new(),
            is_nucleus: false,
            now_ms: now_ms(),
        };
        let Some(identity) = &self.identity else { return base };
        let anchors: Vec<Octets> =
            if is_answer { identity.anchors.iter().take(ANCHORS_MAX).cloned().collect() } else { Vec::new() };
        Hello {
            grid: Some(identity.trust.grid()),
            fence: identity.fence,
            certificate: identity.certificate.clone(),
            anchors,
            is_nucleus: identity.is_nucleus,
            ..base
        }
    }

    /// Sends our hello to a connected peer.
    pub(super) fn say_hello(&mut self, peer: PeerId, waiting: Vec<Waiter>) {
        let request = JoinRequest::Hello(self.hello(false));
        let id = self.swarm.behaviour_mut().join.send_request(&peer, request);
        self.questions
            .joins
            .insert(id, Outbound::Hello { peer, waiting, said: Instant::now(), is_outdated: false });
    }

    pub(super) fn ask_hello(&mut self, peer: PeerId, reply: Reply<Hello, AskError>) {
        if self.peers.contains_key(&peer) {
            self.say_hello(peer, vec![Waiter::Hello(reply)]);
        } else {
            let _ = reply.send(Err(AskError::NotConnected { peer }));
        }
    }

    /// Somebody said hello to us. Returns what it is answered.
    pub(super) fn answer_hello(&mut self, peer: PeerId, hello: &Hello) -> JoinReply {
        let Some(identity) = &self.identity else {
            return JoinReply::Refused(Refusal::OtherGrid);
        };
        if hello.protocol != PROTOCOL_VERSION {
            self.shared.counters.drop_one(reason::FOREIGN);
            return JoinReply::Refused(Refusal::Protocol { theirs: hello.protocol, ours: PROTOCOL_VERSION });
        }
        if hello.certificate.is_empty() {
            return JoinReply::Hello(self.hello(true));
        }
        match prove(identity, peer, hello) {
            Ok(membership) => {
                self.admit(membership, Side::Answering);
                JoinReply::Hello(self.hello(true))
            }
            Err(doubt) => {
                tracing::debug!(%peer, "a hello was refused");
                self.shared.counters.drop_one(match doubt {
                    Doubt::Certificate(_) => reason::CERTIFICATE,
                    _ => reason::FOREIGN,
                });
                JoinReply::Refused(self.refusal(&doubt))
            }
        }
    }

    fn refusal(&self, doubt: &Doubt) -> Refusal {
        match *doubt {
            Doubt::OtherGrid => Refusal::OtherGrid,
            Doubt::Protocol { theirs } => Refusal::Protocol { theirs, ours: PROTOCOL_VERSION },
            Doubt::Certificate(reason) => Refusal::Certificate { reason },
            // The terms of a refusal are those of one epoch. Here the epochs differ, and they are what is named.
            Doubt::OldEpoch { theirs, ours } => {
                Refusal::OldTerm { node: self.own_name(), theirs: theirs.into(), ours: ours.into() }
            }
        }
    }

    /// Our hello was answered.
    pub(super) fn on_hello_reply(&mut self, peer: PeerId, reply: JoinReply, waiting: Vec<Waiter>) {
        let outcome = match (reply, &self.identity) {
            (JoinReply::Refused(refusal), _) => Err(AskError::Refused { peer, refusal }),
            (JoinReply::Hello(hello), _) if hello.anchors.len() > ANCHORS_MAX => {
                Err(AskError::Unexpected { peer })
            }
            (JoinReply::Hello(hello), None) => Ok(hello),
            (JoinReply::Hello(hello), Some(identity)) => match prove_or_follow(identity, peer, &hello) {
                Ok(membership) => {
                    self.admit(membership, Side::Asking);
                    Ok(hello)
                }
                Err(doubt) => {
                    // We proved ourselves to somebody who is not what a member would be. It must not stay admitted.
                    self.shared.counters.drop_one(reason::CERTIFICATE);
                    self.cut_off(&peer);
                    Err(doubted(peer, &doubt))
                }
            },
            // Anything else answers another question.
            _ => Err(AskError::Unexpected { peer }),
        };
        settle(peer, outcome, waiting);
    }

    /// A hello of ours failed.
    pub(super) fn on_hello_failed(peer: PeerId, error: AskError, waiting: Vec<Waiter>) {
        settle(peer, Err(error), waiting);
    }

    /// Takes on a new identity: members it revokes are cut off, the others are told what changed.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.node = MemberCertificate::parse(&identity.certificate).ok().map(|certificate| certificate.node);
        let news = self.identity.as_ref().is_none_or(|old| {
            old.certificate != identity.certificate
                || old.fence != identity.fence
                || old.is_nucleus != identity.is_nucleus
        });
        let trusts_others = self.identity.as_ref().is_some_and(|old| {
            old.trust.grid() != identity.trust.grid() || !old.trust.pins().eq(identity.trust.pins())
        });
        self.identity = Some(identity);
        self.review_members(trusts_others);
        if news {
            let greet = |peer: &super::Peer| {
                let dialled = peer.connections.iter().any(|one| one.direction == Direction::Outbound);
                peer.member.is_some() || dialled
            };
            let greeted: Vec<PeerId> =
                self.peers.iter().filter(|(_, peer)| greet(peer)).map(|(id, _)| *id).collect();
            for peer in greeted {
                self.tell_news(peer);
            }
        }
    }

    /// Says hello because something about us changed. Two hellos could overtake each other, so while one is on its way the
    /// next waits for its answer.
    fn tell_news(&mut self, peer: PeerId) {
        let mut on_their_way = self.questions.joins.values_mut().filter_map(|outbound| match outbound {
            // One that is never answered must not hold back all that come after it.
            Outbound::Hello { peer: to, said, is_outdated, .. }
                if *to == peer && said.elapsed() < NEWS_WAIT_MAX =>
            {
                Some(is_outdated)
            }
            _ => None,
        });
        match on_their_way.next() {
            Some(is_outdated) => *is_outdated = true,
            None => self.say_hello(peer, Vec::new()),
        }
    }

    /// A hello of ours was answered or failed; if it has not said all, another follows.
    pub(super) fn on_hello_over(&mut self, peer: PeerId, is_outdated: bool) {
        if is_outdated && self.peers.contains_key(&peer) {
            self.tell_news(peer);
        }
    }

    /// What we call ourselves in refusals: the mesh knows no names.
    pub(super) fn own_name(&self) -> String {
        self.node.map_or_else(|| self.swarm.local_peer_id().to_string(), |node| node.to_string())
    }
}

/// Whether `hello`, said by the peer that Noise proved, proves a member of our grid.
///
/// An older epoch is refused only of a Nucleus: it was replaced by force and must not command. Others learn the epoch
/// from our hello; refused, they could never come back.
fn prove(identity: &Identity, peer: PeerId, hello: &Hello) -> Result<Membership, Doubt> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(Doubt::Protocol { theirs: hello.protocol });
    }
    let grid: GridId = identity.trust.grid();
    if hello.grid != Some(grid) {
        return Err(Doubt::OtherGrid);
    }
    let key = key_of(&peer).ok_or(Doubt::Certificate(CertificateFault::OtherKey))?;
    let certificate =
        identity.trust.verify(&hello.certificate, &key, now_ms()).map_err(Doubt::Certificate)?;
    let is_nucleus = hello.is_nucleus && certificate.role.may_lead();
    if is_nucleus && hello.fence.epoch < identity.fence.epoch {
        return Err(Doubt::OldEpoch { theirs: hello.fence.epoch, ours: identity.fence.epoch });
    }
    let member =
        Member { peer, key, node: certificate.node, role: certificate.role, is_nucleus, fence: hello.fence };
    Ok(Membership {
        member,
        serial: certificate.serial,
        not_after_ms: certificate.not_after_ms,
        certificate: hello.certificate.clone(),
    })
}

/// [`prove`], also when the authority changed while this node was away: the answer carries the authorities, and what is
/// trusted here leads to the new one. It is not kept: the Nucleus tells all that is to be kept on the first heartbeat.
fn prove_or_follow(identity: &Identity, peer: PeerId, hello: &Hello) -> Result<Membership, Doubt> {
    let doubt = match prove(identity, peer, hello) {
        Err(doubt @ Doubt::Certificate(CertificateFault::Untrusted)) => doubt,
        proved => return proved,
    };
    let anchors: Vec<Vec<u8>> = hello.anchors.iter().map(|anchor| anchor.0.clone()).collect();
    let Ok(trust) = identity.trust.following(&anchors, now_ms()) else { return Err(doubt) };
    prove(&Identity { trust, ..identity.clone() }, peer, hello)
}

fn doubted(peer: PeerId, doubt: &Doubt) -> AskError {
    match *doubt {
        Doubt::OtherGrid => AskError::OtherGrid { peer },
        Doubt::Protocol { theirs } => {
            AskError::Refused { peer, refusal: Refusal::Protocol { theirs, ours: PROTOCOL_VERSION } }
        }
        Doubt::Certificate(fault) => AskError::Untrusted { peer, fault },
        Doubt::OldEpoch { theirs, ours } => AskError::OldEpoch { peer, theirs, ours },
    }
}

/// Tells those who wait. Usually it is one.
fn settle(peer: PeerId, outcome: Result<Hello, AskError>, waiting: Vec<Waiter>) {
    let mut outcome = Some(outcome);
    for waiter in waiting {
        let outcome = match &outcome {
            Some(Ok(hello)) => Ok(hello.clone()),
            // Errors of the system cannot be copied; those after the first are told the connection is gone.
            _ => outcome.take().unwrap_or(Err(AskError::Closed { peer })),
        };
        match waiter {
            Waiter::Hello(reply) => drop(reply.send(outcome)),
            Waiter::Connect(reply) => drop(reply.send(outcome.map(|_| peer).map_err(connect_error))),
        }
    }
}

fn connect_error(error: AskError) -> ConnectError {
    match error {
        AskError::Refused { peer, refusal } => ConnectError::Refused { peer, refusal },
        AskError::Untrusted { peer, fault } => ConnectError::Untrusted { peer, fault },
        AskError::OtherGrid { peer } => ConnectError::OtherGrid { peer },
        AskError::OldEpoch { peer, theirs, ours } => ConnectError::OldEpoch { peer, theirs, ours },
        other => ConnectError::Hello(other),
    }
}
