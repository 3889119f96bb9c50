//! Members: admitted, shown, dismissed, cut off.

use super::super::counters::reason;
use super::super::event::{Member, MeshEvent, PeerLink};
use super::super::origin::link_kind;
use super::{Task, now_ms};
use libp2p::PeerId;
use orbit_core::ids::Serial;

/// What a peer proved.
pub(super) struct Membership {
    pub(super) member: Member,
    pub(super) serial: Serial,
    pub(super) not_after_ms: i64,
    /// Kept to be judged again when other authorities are trusted.
    pub(super) certificate: Vec<u8>,
}

/// Which side of a hello we were.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// We asked: the other side admitted us before it answered.
    Asking,
    /// We answer: the other side admits us when it has our answer.
    Answering,
}

impl Task {
    /// Makes a peer that proved its membership a member. In force when this returns, so the answer to its hello may be
    /// sent.
    pub(super) fn admit(&mut self, membership: Membership, side: Side) {
        let peer = membership.member.peer;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let news = known
            .member
            .as_ref()
            .is_none_or(|old| old.member != membership.member || old.certificate != membership.certificate);
        known.member = Some(membership);
        self.lanes.lift(&peer);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.door.welcome(peer);
        match side {
            Side::Asking => behaviour.members.open(&peer),
            Side::Answering => behaviour.members.allow(&peer),
        }
        if let Some(link) = self.show(&peer)
            && news
        {
            tracing::debug!(%peer, node = %link.node, "admitted");
            self.tell(MeshEvent::Admitted(link));
        }
    }

    /// Shows a member to those who look at the list, and returns what they see.
    pub(super) fn show(&mut self, peer: &PeerId) -> Option<PeerLink> {
        let known = self.peers.get(peer)?;
        let member = &known.member.as_ref()?.member;
        let connection = known.connections.first()?;
        let mut link = PeerLink {
            peer: *peer,
            key: member.key,
            node: member.node,
            role: member.role,
            is_nucleus: member.is_nucleus,
            fence: member.fence,
            address: connection.address.clone(),
            direction: connection.direction,
            kind: link_kind(&connection.address),
            rtt: None,
            since: connection.since,
        };
        self.shared.change_members(|members| {
            link.rtt = members.get(peer).and_then(|old| old.rtt);
            members.insert(*peer, link.clone());
        });
        Some(link)
    }

    /// Takes a member off the list. Its connections are gone, or about to be.
    pub(super) fn dismiss(&mut self, peer: &PeerId) {
        self.swarm.behaviour_mut().door.forget(peer);
        let Some(membership) = self.peers.get_mut(peer).and_then(|known| known.member.take()) else { return };
        self.shared.change_members(|members| members.remove(peer));
        let Member { key, node, .. } = membership.member;
        self.tell(MeshEvent::Gone { peer: *peer, key, node });
    }

    /// Closes the gate and all connections of a peer, whatever is on its way.
    pub(super) fn cut_off(&mut self, peer: &PeerId) {
        self.swarm.behaviour_mut().members.revoke(peer);
        self.lanes.cut(peer);
        self.dismiss(peer);
    }

    /// Cuts off members that our identity no longer accepts. Their certificates are judged again only if other
    /// authorities are trusted now; else the list of revoked ones tells.
    pub(super) fn review_members(&mut self, trusts_others: bool) {
        let Some(identity) = &self.identity else { return };
        let (trust, now) = (&identity.trust, now_ms());
        let is_bad = |held: &Membership| {
            trust.is_revoked(&held.serial)
                || trusts_others && trust.verify(&held.certificate, &held.member.key, now).is_err()
        };
        let bad: Vec<PeerId> = self.members_that(is_bad);
        self.cut_off_all(&bad);
    }

    /// Cuts off members whose certificate expired while they were connected. They renew long before; one that did not
    /// has to enrol again.
    pub(super) fn cut_off_expired(&mut self) {
        let now = now_ms();
        let expired = self.members_that(|held| held.not_after_ms < now);
        self.cut_off_all(&expired);
    }

    fn members_that(&self, is_so: impl Fn(&Membership) -> bool) -> Vec<PeerId> {
        let members = self.peers.iter().filter_map(|(peer, known)| Some((peer, known.member.as_ref()?)));
        members.filter(|(_, held)| is_so(held)).map(|(peer, _)| *peer).collect()
    }

    fn cut_off_all(&mut self, peers: &[PeerId]) {
        for peer in peers {
            tracing::info!(%peer, "a member is cut off: its certificate is no longer accepted");
            self.shared.counters.drop_one(reason::REVOKED);
            self.cut_off(peer);
        }
    }
}
