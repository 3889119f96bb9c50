//! Who may become a member, and with which certificate.

use super::bounds::{self, SUPERSEDED_MAX, is_over, out_of_range};
use super::{GridState, names};
use crate::grid::record::{CertificateRecord, Change, NodeRecord, Profile, Role, TokenRecord, Voting};
use crate::grid::refusal::Refusal;
use crate::ids::{NodeId, PeerKey, TokenId};
use subtle::ConstantTimeEq;

/// How a token answers a request: what the certificate is to say, so that it can be signed before the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The same request for the same token was granted before, and its member's certificate is valid still.
    Repeated {
        /// The member.
        node: NodeId,
    },
    /// A member of this key gets a new certificate, and the ones it had are revoked.
    Again {
        /// The member.
        node: NodeId,
        /// The role that the token gives.
        role: Role,
    },
    /// A new member.
    New {
        /// The role that the token gives.
        role: Role,
    },
}

impl GridState {
    /// Whether a token admits a request, and as what. [`decide`](Self::decide) asks the same for
    /// [`Command::Enrol`](crate::grid::Command::Enrol); asked before, it spares signing a certificate for nothing.
    ///
    /// Whoever does not know the secret learns that the token exists and nothing else of it.
    pub fn admission(
        &self,
        token: TokenId,
        secret_hash: &[u8; 32],
        key: PeerKey,
        request_hash: &[u8; 32],
        now_ms: i64,
    ) -> Result<Admission, Refusal> {
        let Some(record) = self.tokens.get(&token) else {
            return Err(Refusal::TokenUnknown { token });
        };
        if !bool::from(record.secret_hash.ct_eq(secret_hash)) {
            return Err(Refusal::TokenWrong { token });
        }
        let member = self.node_by_key(key);
        // The answer may have been lost on its way: whoever asks again gets it again, even when the token has ended.
        if let Some(member) = member
            && record.used_by.contains(request_hash)
            && member.certificate.not_after_ms > now_ms
        {
            return Ok(Admission::Repeated { node: member.id });
        }
        if record.expires_ms <= now_ms {
            return Err(Refusal::TokenExpired { token, ago_ms: now_ms.saturating_sub(record.expires_ms) });
        }
        if record.uses_left() == 0 {
            return Err(Refusal::TokenUsed { token, uses: record.uses });
        }
        match member {
            // It may have voted. If it lost its records, it would vote again as the same node without knowing.
            Some(member) if member.role.may_lead() => Err(Refusal::MayVote { name: member.name.clone() }),
            Some(member) => Ok(Admission::Again { node: member.id, role: record.role }),
            None => Ok(Admission::New { role: record.role }),
        }
    }

    pub(super) fn enrol(
        &self,
        token: TokenId,
        secret_hash: &[u8; 32],
        wished: &NodeRecord,
        now_ms: i64,
    ) -> Result<Vec<Change>, Refusal> {
        let request_hash = &wished.certificate.request_hash;
        let admission = self.admission(token, secret_hash, wished.key, request_hash, now_ms)?;
        if matches!(admission, Admission::Repeated { .. }) {
            return Ok(Vec::new());
        }
        bounds::profile(&wished.profile)?;
        self.new_certificate(&wished.certificate)?;
        let (role, mut changes, node) = match admission {
            Admission::Again { node, role } => {
                let (changes, record) = self.enrolled_again(node, wished)?;
                (role, changes, record)
            }
            Admission::Repeated { .. } => unreachable!("answered above"),
            Admission::New { role } => (role, Vec::new(), self.enrolled_first(wished, now_ms)?),
        };
        changes.extend(self.tokens.get(&token).map(|token| used(token, *request_hash)));
        changes.push(Change::Node(NodeRecord { role, ..node }));
        Ok(changes)
    }

    fn enrolled_first(&self, wished: &NodeRecord, now_ms: i64) -> Result<NodeRecord, Refusal> {
        bounds::room_for_node(self)?;
        if self.nodes.contains_key(&wished.id) {
            return Err(out_of_range("the new node's id", "one that no node has"));
        }
        Ok(NodeRecord {
            name: names::free_name(self, &wished.name, wished.id),
            joined_ms: now_ms,
            is_draining: false,
            voting: Voting::Auto,
            ..wished.clone()
        })
    }

    /// The same node once more: it may have lost its certificate, and somebody else may have found it.
    fn enrolled_again(&self, id: NodeId, wished: &NodeRecord) -> Result<(Vec<Change>, NodeRecord), Refusal> {
        let member = self.nodes.get(&id).ok_or_else(|| unknown(id))?;
        if wished.id != id {
            // The certificate names another id: two requests of one key crossed. Asking again finds the member.
            return Err(Refusal::TooMany { retry_after_s: 1 });
        }
        let profile = if wished.profile == Profile::default() { &member.profile } else { &wished.profile };
        let record = NodeRecord {
            certificate: wished.certificate.clone(),
            profile: profile.clone(),
            ..member.clone()
        };
        Ok((self.revocations(member), record))
    }

    /// Revokes every certificate a member has.
    pub(super) fn revocations(&self, member: &NodeRecord) -> Vec<Change> {
        let key = member.key;
        let newest = (member.certificate.serial, member.certificate.not_after_ms);
        let older = self.superseded_of(key);
        let revoked = std::iter::once(newest).chain(older).map(|(serial, until_ms)| Change::Revoked {
            serial,
            key,
            until_ms,
        });
        revoked
            .chain(self.superseded_of(key).map(|(serial, _)| Change::SupersededForgotten(serial)))
            .collect()
    }

    pub(super) fn renew(&self, id: NodeId, certificate: &CertificateRecord) -> Result<Vec<Change>, Refusal> {
        let member = self.nodes.get(&id).ok_or_else(|| unknown(id))?;
        if member.certificate == *certificate {
            return Ok(Vec::new());
        }
        self.new_certificate(certificate)?;
        // The new one begins when it was issued: what has ended by then is of no use to anybody.
        let now_ms = certificate.not_before_ms;
        let (ended, valid): (Vec<_>, Vec<_>) =
            self.superseded_of(member.key).partition(|(_, until_ms)| is_over(*until_ms, now_ms));
        if valid.len() >= SUPERSEDED_MAX {
            return Err(Refusal::TooMany { retry_after_s: 86_400 });
        }
        let mut changes: Vec<_> =
            ended.into_iter().map(|(serial, _)| Change::SupersededForgotten(serial)).collect();
        let old = &member.certificate;
        if !is_over(old.not_after_ms, now_ms) {
            changes.push(Change::Superseded {
                serial: old.serial,
                key: member.key,
                until_ms: old.not_after_ms,
            });
        }
        changes.push(Change::Node(NodeRecord { certificate: certificate.clone(), ..member.clone() }));
        Ok(changes)
    }

    pub(super) fn new_certificate(&self, certificate: &CertificateRecord) -> Result<(), Refusal> {
        bounds::certificate(certificate)?;
        if self.knows_serial(certificate.serial) {
            return Err(out_of_range("the certificate's serial number", "one that was not used before"));
        }
        Ok(())
    }
}

fn used(token: &TokenRecord, request_hash: [u8; 32]) -> Change {
    let mut token = token.clone();
    token.used_by.push(request_hash);
    Change::Token(token)
}

/// An id that was looked up before, and is gone.
pub(super) fn unknown(id: NodeId) -> Refusal {
    Refusal::UnknownNode { name: id.to_string(), nearest: None }
}
