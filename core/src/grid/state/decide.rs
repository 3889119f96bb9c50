//! [`GridState::decide`]: what a command changes.

use super::admission::unknown;
use super::bounds::{self, is_over, out_of_range};
use super::{GridState, names};
use crate::grid::command::Command;
use crate::grid::record::{
    Anchor, Change, Constellation, GridHeader, NodeRecord, Profile, Role, TokenRecord,
};
use crate::grid::refusal::Refusal;
use crate::ids::{NodeId, TokenId};
use std::collections::BTreeSet;

pub(super) type Decided = Result<Vec<Change>, Refusal>;

impl GridState {
    /// Which records a command changes, in the order in which they must be stored, or why it is refused. No change at
    /// all is an answer too: it is so already.
    pub fn decide(&self, command: &Command) -> Decided {
        if self.header.is_none() && !matches!(command, Command::Found { .. }) {
            return Err(Refusal::NotFounded);
        }
        match command {
            Command::Found { header, anchor, node } => self.found(header, anchor, node),
            Command::Enrol { token, secret_hash, node, now_ms } => {
                self.enrol(*token, secret_hash, node, *now_ms)
            }
            Command::Renew { node, certificate } => self.renew(*node, certificate),
            Command::Describe { node, profile } => self.describe(*node, profile),
            Command::Rename { node, name } => self.rename(*node, name),
            Command::Drain { node, is_draining } => self.drain(*node, *is_draining),
            Command::SetVoting { node, voting } => self.set_voting(*node, *voting),
            Command::SetRole { node, role } => self.set_role(*node, *role),
            Command::Remove { node, now_ms } => self.remove(*node, *now_ms),
            Command::CreateToken { token } => self.create_token(token),
            Command::RemoveToken { token } => self.forget_token(*token),
            Command::CreateConstellation { name } => self.create_constellation(name),
            Command::AddToConstellation { name, nodes } => self.add_to_constellation(name, nodes),
            Command::RemoveFromConstellation { name, nodes } => self.remove_from_constellation(name, nodes),
            Command::RotateAuthority { anchor } => self.rotate(anchor),
            Command::Tidy { now_ms, retired } => self.tidy(*now_ms, retired),
            Command::KeepAuthorityKey { pin, sealed } => self.keep_authority_key(*pin, sealed),
            Command::ForgetAuthorityKey { pin } => Ok(self.forget_authority_key(*pin)),
            Command::RecordContents { contents, .. } => {
                bounds::contents(contents)?;
                Ok(command.contents_change().into_iter().collect())
            }
            Command::ForgetContents { .. } => Ok(command.contents_change().into_iter().collect()),
            Command::Meter { rows } => self.meter(rows),
            Command::BeginEpoch { epoch, now_ms: _ } => self.begin_epoch(*epoch),
            Command::Job(command) => self.decide_job(command),
        }
    }

    fn found(&self, header: &GridHeader, anchor: &Anchor, node: &NodeRecord) -> Decided {
        if self.header.is_some() {
            return Err(Refusal::AlreadyFounded);
        }
        bounds::header(header)?;
        bounds::anchor(anchor)?;
        bounds::profile(&node.profile)?;
        self.new_certificate(&node.certificate)?;
        if node.role != Role::Nucleus {
            return Err(out_of_range("the first node's role", "nucleus"));
        }
        let name = names::free_name(self, &node.name, node.id);
        Ok(vec![
            Change::Header(header.clone()),
            Change::Anchors(vec![Anchor { is_current: true, ..anchor.clone() }]),
            Change::Node(NodeRecord { name, ..node.clone() }),
        ])
    }

    pub(super) fn member(&self, id: NodeId) -> Result<&NodeRecord, Refusal> {
        self.nodes.get(&id).ok_or_else(|| unknown(id))
    }

    /// A member's record with a change, if it is one.
    pub(super) fn changed(&self, id: NodeId, change: impl FnOnce(&mut NodeRecord)) -> Decided {
        let member = self.member(id)?;
        let mut record = member.clone();
        change(&mut record);
        Ok(if record == *member { Vec::new() } else { vec![Change::Node(record)] })
    }

    fn describe(&self, id: NodeId, profile: &Profile) -> Decided {
        bounds::profile(profile)?;
        self.changed(id, |record| record.profile = profile.clone())
    }

    fn rename(&self, id: NodeId, name: &str) -> Decided {
        self.member(id)?;
        if !names::is_valid(name) {
            return Err(Refusal::BadName { name: names::shown(name) });
        }
        if names::is_taken(self, name, id) {
            return Err(Refusal::NameTaken { name: name.to_owned() });
        }
        self.changed(id, |record| name.clone_into(&mut record.name))
    }

    fn drain(&self, id: NodeId, is_draining: bool) -> Decided {
        self.changed(id, |record| record.is_draining = is_draining)
    }

    fn remove(&self, id: NodeId, now_ms: i64) -> Decided {
        let member = self.member(id)?;
        if self.nodes.len() > 1 {
            self.another_nucleus(member)?;
        }
        let mut changes = self.revocations(member);
        for constellation in self.constellations.values().filter(|group| group.nodes.contains(&id)) {
            let mut rest = constellation.clone();
            rest.nodes.remove(&id);
            changes.push(Change::Constellation(rest));
        }
        changes.extend(self.end_jobs_of(id, now_ms));
        changes.push(Change::NodeRemoved(id));
        Ok(changes)
    }

    fn create_token(&self, token: &TokenRecord) -> Decided {
        match self.tokens.get(&token.id) {
            Some(known) if known == token => return Ok(Vec::new()),
            Some(_) => return Err(out_of_range("the token's id", "one that no token has")),
            None => {}
        }
        bounds::token(token)?;
        bounds::room_for_token(self, token.created_ms)?;
        Ok(vec![Change::Token(token.clone())])
    }

    fn forget_token(&self, id: TokenId) -> Decided {
        match self.tokens.get(&id) {
            Some(_) => Ok(vec![Change::TokenRemoved(id)]),
            None => Err(Refusal::TokenUnknown { token: id }),
        }
    }

    fn create_constellation(&self, name: &str) -> Decided {
        if !names::is_valid(name) {
            let allowed = "two to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit";
            return Err(out_of_range("the constellation's name", allowed));
        }
        if self.constellations.contains_key(name) {
            return Err(Refusal::ConstellationExists { name: name.to_owned() });
        }
        bounds::room_for_constellation(self)?;
        Ok(vec![Change::Constellation(Constellation { name: name.to_owned(), nodes: BTreeSet::new() })])
    }

    fn add_to_constellation(&self, name: &str, nodes: &[NodeId]) -> Decided {
        bounds::named_nodes(nodes)?;
        let known = self.find_constellation(name)?;
        let mut constellation = known.clone();
        for node in nodes {
            constellation.nodes.insert(self.member(*node)?.id);
        }
        Ok(if constellation == *known { Vec::new() } else { vec![Change::Constellation(constellation)] })
    }

    fn remove_from_constellation(&self, name: &str, nodes: &[NodeId]) -> Decided {
        bounds::named_nodes(nodes)?;
        let known = self.find_constellation(name)?;
        if nodes.is_empty() {
            return Ok(vec![Change::ConstellationRemoved(known.name.clone())]);
        }
        let mut constellation = known.clone();
        for node in nodes {
            constellation.nodes.remove(&self.member(*node)?.id);
        }
        Ok(if constellation == *known { Vec::new() } else { vec![Change::Constellation(constellation)] })
    }

    fn rotate(&self, anchor: &Anchor) -> Decided {
        bounds::anchor(anchor)?;
        if self.anchors.last().is_some_and(|current| current.is_current && current.der == anchor.der) {
            return Ok(Vec::new());
        }
        if anchor.cross_signed.is_empty() || self.anchors.iter().any(|known| known.der == anchor.der) {
            return Err(out_of_range("the new authority", "a new one, cross-signed by the current one"));
        }
        bounds::room_for_anchor(self)?;
        let older = self.anchors.iter().map(|known| Anchor { is_current: false, ..known.clone() });
        let newest = Anchor { is_current: true, ..anchor.clone() };
        Ok(vec![Change::Anchors(older.chain([newest]).collect())])
    }

    fn tidy(&self, now_ms: i64, retired: &[Anchor]) -> Decided {
        bounds::retired(retired)?;
        let is_retired = |anchor: &Anchor| retired.iter().any(|old| old.der == anchor.der);
        if self.anchors.iter().any(|anchor| anchor.is_current && is_retired(anchor)) {
            return Err(out_of_range("the authority to give up", "any but the current one"));
        }
        let mut changes = Vec::new();
        let kept: Vec<_> = self.anchors.iter().filter(|anchor| !is_retired(anchor)).cloned().collect();
        if kept.len() < self.anchors.len() {
            changes.push(Change::Anchors(kept));
        }
        let is_old = |token: &&TokenRecord| is_over(token.expires_ms, now_ms);
        changes.extend(self.tokens.values().filter(is_old).map(|token| Change::TokenRemoved(token.id)));
        let expired = self.revoked.iter().filter(|(_, ended)| is_over(ended.until_ms, now_ms));
        changes.extend(expired.map(|(serial, _)| Change::RevocationForgotten(*serial)));
        let expired = self.superseded.iter().filter(|(_, ended)| is_over(ended.until_ms, now_ms));
        changes.extend(expired.map(|(serial, _)| Change::SupersededForgotten(*serial)));
        changes.extend(self.outdated(now_ms).into_iter().map(Change::JobRemoved));
        Ok(changes)
    }
}
