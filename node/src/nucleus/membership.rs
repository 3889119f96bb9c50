//! Who becomes and stays a member: enrolment by token, new certificates, a new authority.

use super::registry::Registry;
use super::{Nucleus, authority, pulse};
use crate::daemon::seal::AUTHORITY;
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_consensus::GroupError;
use orbit_core::grid::refusal::CertificateFault;
use orbit_core::grid::state::Admission;
use orbit_core::grid::{Anchor, Change, Command, GridState, NodeRecord, Profile, Refusal, Voting};
use orbit_core::ids::{NodeId, PeerKey};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::control::ControlReply;
use orbit_core::wire::join::{Enrol, Enrolled, JoinReply};
use orbit_mesh::key::sha256;
use orbit_mesh::net::Member;
use orbit_mesh::pki::{Authority, AuthorityCertificate, BACKDATE_MS, MEMBER_LIFETIME_MS, SigningRequest};
use std::sync::Arc;

impl Nucleus {
    /// Admits a node by token. `key` is what Noise proved of whoever asks.
    pub(crate) async fn enrol(&self, node: &Node, key: PeerKey, enrol: Enrol) -> JoinReply {
        match self.try_enrol(node, key, enrol).await {
            Ok(enrolled) => JoinReply::Enrolled(Box::new(enrolled)),
            Err(error) => JoinReply::Refused(refusal(node, error)),
        }
    }

    async fn try_enrol(&self, node: &Node, key: PeerKey, enrol: Enrol) -> Result<Enrolled, DaemonError> {
        let request = requested(&enrol.request, key)?;
        let (secret_hash, now) = (sha256(&enrol.secret), now_ms());
        // Asked before signing, so that a stranger with a wrong secret costs no signature. The rules ask again.
        let (header, admission) = self.with(|state| {
            let header = state.header().cloned().ok_or(Refusal::OtherGrid)?;
            Ok::<_, Refusal>((header, state.admission(enrol.token, &secret_hash, key, &request.hash(), now)?))
        })?;
        let (id, role) = match admission {
            Admission::Repeated { .. } => return self.enrolled(node, key),
            Admission::Again { node, role } => (node, role),
            Admission::New { role } => (NodeId::from_bytes(*uuid::Uuid::new_v4().as_bytes()), role),
        };
        let grant = authority::grant(header.id, id, role, now, self.lifetime_ms);
        let command = Command::Enrol {
            token: enrol.token,
            secret_hash,
            node: NodeRecord {
                id,
                name: enrol.name,
                key,
                role,
                joined_ms: now,
                is_draining: false,
                voting: Voting::Auto,
                certificate: authority::issue(&self.authority(), &request, &grant)?,
                profile: Profile::default(),
            },
            now_ms: now,
        };
        let changes = self.commit(None, command).await?;
        if changes.iter().any(|change| matches!(change, Change::Revoked { .. })) {
            // A member came again, perhaps because its key was copied: what it had is worth nothing now.
            self.announce(node).await;
        }
        self.enrolled(node, key)
    }

    /// Gives a member whose certificate expired a new one: its key is proof enough while the grid knows it.
    pub(crate) async fn re_enrol(&self, node: &Node, key: PeerKey, request: &[u8]) -> JoinReply {
        let given = async {
            let record = self.with(|state| state.node_by_key(key).cloned());
            let record = record.ok_or(Refusal::Certificate { reason: CertificateFault::Revoked })?;
            self.give_certificate(&record, &requested(request, key)?).await?;
            self.enrolled(node, key)
        };
        match given.await {
            Ok(enrolled) => JoinReply::Enrolled(Box::new(enrolled)),
            Err(error) => JoinReply::Refused(refusal(node, error)),
        }
    }

    /// A member asks for its next certificate.
    pub(crate) async fn renew(&self, node: &Node, from: &Member, request: &[u8]) -> ControlReply {
        let given = async {
            let record = self.with(|state| state.node_by_key(from.key).cloned());
            let record = record.ok_or(Refusal::Certificate { reason: CertificateFault::Revoked })?;
            self.give_certificate(&record, &requested(request, from.key)?).await
        };
        match given.await {
            Ok(certificate) => ControlReply::Renewed { certificate, anchors: self.with(pulse::anchors) },
            Err(error) => ControlReply::Refused(refusal(node, error)),
        }
    }

    /// The Nucleus's own next certificate.
    pub(crate) async fn renew_own(&self, node: &Node, request: &[u8]) -> Result<Vec<u8>, DaemonError> {
        let key = node.mesh.key();
        let record = self.with(|state| state.node_by_key(key).cloned());
        let record = record.ok_or(Refusal::Certificate { reason: CertificateFault::Revoked })?;
        self.give_certificate(&record, &requested(request, key)?).await
    }

    /// A new certificate, or the newest again if it answers the same request and is still young: asking twice costs
    /// nothing, whatever made the asker ask twice.
    async fn give_certificate(
        &self,
        record: &NodeRecord,
        request: &SigningRequest,
    ) -> Result<Vec<u8>, DaemonError> {
        let (newest, authority, now) = (&record.certificate, self.authority(), now_ms());
        let issued = newest.not_before_ms + BACKDATE_MS;
        let is_young = (newest.not_before_ms..issued + (newest.not_after_ms - issued) / 3).contains(&now);
        if is_young
            && newest.request_hash == request.hash()
            && newest.authority == authority.certificate().pin()
            && authority::certified_role(newest) == Some(record.role)
        {
            return Ok(newest.der.clone());
        }
        let header = self.with(|state| state.header().cloned()).ok_or(Refusal::OtherGrid)?;
        let grant = authority::grant(header.id, record.id, record.role, now, self.lifetime_ms);
        let certificate = authority::issue(&authority, request, &grant)?;
        let der = certificate.der.clone();
        self.commit(None, Command::Renew { node: record.id, certificate }).await?;
        Ok(der)
    }

    fn enrolled(&self, node: &Node, key: PeerKey) -> Result<Enrolled, DaemonError> {
        self.with(|state| {
            let record =
                state.node_by_key(key).ok_or(Refusal::Certificate { reason: CertificateFault::Revoked })?;
            let header = state.header().ok_or(Refusal::OtherGrid)?;
            Ok(Enrolled {
                grid: header.id,
                grid_name: header.name.clone(),
                node: record.id,
                name: record.name.clone(),
                certificate: record.certificate.der.clone(),
                anchors: pulse::anchors(state),
                nuclei: pulse::nuclei(node, self, state),
                fence: self.fence,
            })
        })
    }

    /// Starts a new authority, certified by the one before; members are told to ask for new certificates.
    pub(crate) async fn rotate_authority(&self, node: &Node) -> Result<(), DaemonError> {
        let _one_at_a_time = self.rotating.lock().await;
        let header = self.with(|state| state.header().cloned()).ok_or(Refusal::OtherGrid)?;
        let now = now_ms();
        let next = Authority::create(header.id, now)?;
        let cross_signed = self.authority().cross_sign(next.certificate())?;
        // The key first: an authority without its key could issue nothing.
        let pin = next.certificate().pin();
        let sealed = Octets(self.seat.seal.seal(AUTHORITY, next.key_pem().as_bytes()));
        self.commit(None, Command::KeepAuthorityKey { pin, sealed }).await?;
        let der = next.certificate().der().to_vec();
        let anchor = Anchor { der, cross_signed, created_ms: now, is_current: true };
        self.commit(None, Command::RotateAuthority { anchor }).await?;
        *lock(&self.authority) = Arc::new(next);
        self.announce(node).await;
        if let Err(error) = self.forget_old_keys().await {
            tracing::warn!(error = chain(&error), "an authority's key that is over is forgotten later");
        }
        // The others are asked to renew by their heartbeats; this node asks itself, again if need be.
        node.renewal_wanted.notify_one();
        Ok(())
    }
}

impl Nucleus {
    /// Forgets the keys of authorities that issue nothing any more.
    pub(super) async fn forget_old_keys(&self) -> Result<(), DaemonError> {
        let current = self.authority().certificate().pin();
        let old: Vec<[u8; 32]> =
            self.with(|state| state.authority_pins().copied().filter(|pin| *pin != current).collect());
        for pin in old {
            self.commit(None, Command::ForgetAuthorityKey { pin }).await?;
        }
        Ok(())
    }
}

/// A request for a certificate, for the key that Noise proved and no other.
fn requested(request: &[u8], key: PeerKey) -> Result<SigningRequest, DaemonError> {
    let request = SigningRequest::parse(request)?;
    if request.key() == key {
        Ok(request)
    } else {
        Err(Refusal::Certificate { reason: CertificateFault::OtherKey }.into())
    }
}

/// Whether the clock fits what was issued by it: certificates are renewed long before they end, so the newest is neither
/// in the future nor older than its life.
pub(super) fn is_plausible(state: &GridState, now_ms: i64) -> bool {
    let issued = state.nodes().map(|record| record.certificate.not_before_ms + BACKDATE_MS).max();
    issued.is_some_and(|newest| (newest - BACKDATE_MS..newest + MEMBER_LIFETIME_MS).contains(&now_ms))
}

/// Authorities nothing depends on any more: no certificate that a member has, no token that still works.
pub(super) fn retired_anchors(state: &GridState, registry: &Registry, now_ms: i64) -> Vec<Anchor> {
    let anchors = state.anchors();
    // A member may not have received what was issued to it. It has when its heartbeats say so.
    let uses_newest = |record: &NodeRecord| registry.uses(record.id) == Some(record.certificate.serial);
    let are_all_settled = state.nodes().all(uses_newest);
    let is_retired = |(at, anchor): &(usize, &Anchor)| {
        let Some(next) = anchors.get(at + 1) else { return false };
        let Ok(certificate) = AuthorityCertificate::parse(&anchor.der) else { return false };
        let pin = certificate.pin();
        let issued = state.nodes().any(|record| record.certificate.authority == pin);
        let pinned = state.tokens().any(|token| token.expires_ms > now_ms && token.authority == pin);
        let over = now_ms > next.created_ms + MEMBER_LIFETIME_MS;
        !anchor.is_current && !issued && !pinned && (are_all_settled || over)
    };
    // Each links the next to the one before, so they go from the oldest on.
    anchors.iter().enumerate().take_while(is_retired).map(|(_, anchor)| anchor.clone()).collect()
}

/// What a stranger or member is told; what went wrong inside is for the log.
fn refusal(node: &Node, error: DaemonError) -> Refusal {
    match error {
        DaemonError::Refused(refusal) => refusal,
        DaemonError::Pki(_) => Refusal::Certificate { reason: CertificateFault::Unreadable },
        // Asked again, it is answered whatever became of it.
        DaemonError::Group(GroupError::Unsure) => node.no_nucleus(),
        DaemonError::Group(error) => {
            tracing::error!(error = chain(&error), "cannot keep a change");
            let message =
                "it could not keep the change, so nothing was changed; is its disk full?".to_owned();
            Refusal::Failed { node: node.standing().name, message }
        }
        error => {
            tracing::error!(error = chain(&error), "cannot admit a node");
            Refusal::Failed { node: node.standing().name, message: "see its log".to_owned() }
        }
    }
}
