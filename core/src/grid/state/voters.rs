//! What commands about voting, and about what only voters keep, change. Who votes at the moment is not part of the
//! state: whether the voters can do without somebody is decided by those who know them.

use super::GridState;
use super::bounds::{self, out_of_range};
use super::decide::Decided;
use crate::grid::record::{Change, GridHeader, Metered, NodeRecord, Role, Voting};
use crate::grid::refusal::Refusal;
use crate::ids::NodeId;
use crate::wire::bytes::Octets;

impl GridState {
    pub(super) fn set_voting(&self, id: NodeId, voting: Voting) -> Decided {
        let member = self.member(id)?;
        if voting == Voting::Wanted && member.is_draining {
            return Err(Refusal::Draining { name: member.name.clone() });
        }
        self.changed(id, |record| record.voting = voting)
    }

    /// A star becomes a Nucleus or the other way round. Witnesses are made by tokens and stay what they are.
    pub(super) fn set_role(&self, id: NodeId, wanted: Role) -> Decided {
        let member = self.member(id)?;
        if member.role == wanted {
            return Ok(Vec::new());
        }
        if member.role == Role::Witness || wanted == Role::Witness {
            return Err(Refusal::FixedRole { name: member.name.clone(), role: member.role, wanted });
        }
        self.another_nucleus(member)?;
        self.changed(id, |record| record.role = wanted)
    }

    /// Refuses to do without the only Nucleus.
    pub(super) fn another_nucleus(&self, member: &NodeRecord) -> Result<(), Refusal> {
        let is_other = |other: &NodeRecord| other.role == Role::Nucleus && other.id != member.id;
        if member.role == Role::Nucleus && !self.nodes.values().any(is_other) {
            return Err(Refusal::IsNucleus { name: member.name.clone() });
        }
        Ok(())
    }

    pub(super) fn keep_authority_key(&self, pin: [u8; 32], sealed: &Octets) -> Decided {
        bounds::sealed(&sealed.0)?;
        match self.authority_keys.get(&pin) {
            Some(kept) if kept == sealed => return Ok(Vec::new()),
            Some(_) => {}
            None => bounds::room_for_authority_key(self)?,
        }
        Ok(vec![Change::AuthorityKey { pin, sealed: sealed.clone() }])
    }

    pub(super) fn forget_authority_key(&self, pin: [u8; 32]) -> Vec<Change> {
        let is_kept = self.authority_keys.contains_key(&pin);
        is_kept.then_some(Change::AuthorityKeyForgotten(pin)).into_iter().collect()
    }

    pub(super) fn meter(&self, rows: &[Metered]) -> Decided {
        bounds::metered(rows)?;
        let of_members = rows.iter().filter(|row| self.nodes.contains_key(&row.node));
        Ok(of_members.copied().map(Change::Metered).collect())
    }

    pub(super) fn begin_epoch(&self, epoch: u32) -> Decided {
        let header = self.header.as_ref().ok_or(Refusal::NotFounded)?;
        if epoch == header.epoch {
            return Ok(Vec::new());
        }
        if epoch < header.epoch {
            return Err(out_of_range("the epoch", format!("above {}", header.epoch)));
        }
        Ok(vec![Change::Header(GridHeader { epoch, ..header.clone() })])
    }
}
