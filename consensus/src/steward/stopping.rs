//! What a person asks: may this node stop voting, and why does that one not vote?

use super::{Observed, count};
use crate::quorum::quorum;
use orbit_core::grid::{Refusal, Role, Voting};
use orbit_core::ids::NodeId;
use std::collections::BTreeSet;
use std::fmt;

/// Who votes when `node` does not any more, because it is demoted or removed; all present voters if it does not vote.
///
/// Refused when the others could decide nothing, and also when they could do so only by giving up voters that are
/// silent at the moment: what is written then would be on a single node.
pub fn may_stop_voting(observed: &Observed, node: NodeId) -> Result<BTreeSet<NodeId>, Refusal> {
    let voters = &observed.voters;
    if !observed.can_decide(voters) {
        return Err(no_quorum(observed));
    }
    if !voters.contains(&node) {
        return Ok(voters.clone());
    }
    let others: Vec<_> =
        observed.ranked(Some(node)).into_iter().chain(observed.the_rest(Some(node))).collect();
    let first =
        |size: usize| -> Option<BTreeSet<NodeId>> { Some(others.get(..size)?.iter().copied().collect()) };
    if let Some(same) = first(voters.len())
        && observed.can_decide(&same)
    {
        return Ok(same);
    }
    let others_heard = voters.iter().filter(|id| **id != node && observed.is_heard(**id)).count();
    let needed = quorum(count(voters));
    if others_heard >= usize::from(needed) {
        let fewer = [3, 1].into_iter().filter(|size| *size < voters.len()).filter_map(first);
        let best = fewer.max_by_key(|set| (observed.margin(set), set.len()));
        if let Some(best) = best.filter(|set| observed.can_decide(set)) {
            return Ok(best);
        }
    }
    let silent = voters.iter().filter(|id| **id != node && !observed.is_heard(**id));
    Err(Refusal::WouldLoseQuorum {
        name: name(observed, node),
        voters: u32::from(count(voters)),
        needed: u32::from(needed),
        others_heard: u32::try_from(others_heard).unwrap_or(u32::MAX),
        silent: silent.map(|id| name(observed, *id)).collect(),
    })
}

fn no_quorum(observed: &Observed) -> Refusal {
    let voters = &observed.voters;
    let silent = voters.iter().filter(|id| !observed.is_heard(**id));
    Refusal::NoQuorum {
        voters: u32::from(count(voters)),
        needed: u32::from(quorum(count(voters))),
        heard: u32::try_from(observed.heard_of(voters)).unwrap_or(u32::MAX),
        silent: silent.map(|id| name(observed, *id)).collect(),
    }
}

/// The name, or the id of one that is no member any more.
fn name(observed: &Observed, id: NodeId) -> String {
    observed.members.get(&id).map_or_else(|| id.to_string(), |member| member.name.clone())
}

/// Why a member's vote is not (yet) as one might expect. Its text completes `nas2: …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It votes, though it is draining or was demoted.
    NobodyInItsPlace,
    /// It is draining.
    Draining,
    /// It was demoted.
    Demoted,
    /// It is not heard.
    Silent,
    /// It has been heard for a moment only.
    JustHeard,
    /// Its certificate does not say yet that it may vote.
    NoCertificate,
    /// It does not have all of the Nucleus's records yet.
    CatchingUp,
    /// It has all records. With it there would be an even number of voters.
    EvenNumber {
        /// How many vote.
        voters: u8,
    },
    /// As many vote as are wanted.
    Enough {
        /// How many vote.
        voters: u8,
    },
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes =
            |count: u8| if count == 1 { "1 node votes".to_owned() } else { format!("{count} nodes vote") };
        match self {
            Self::NobodyInItsPlace => f.write_str("it votes until another node can take its place"),
            Self::Draining => f.write_str("it is draining"),
            Self::Demoted => f.write_str("it was demoted (`orbit node promote` undoes that)"),
            Self::Silent => f.write_str("it is not heard"),
            Self::JustHeard => f.write_str("it has been heard for a moment only"),
            Self::NoCertificate => f.write_str("it waits for its certificate as a Nucleus"),
            Self::CatchingUp => f.write_str("it is being sent the Nucleus's records"),
            Self::EvenNumber { voters } => {
                write!(f, "it has all records and stands by: {}, and the number stays odd", nodes(*voters))
            }
            Self::Enough { voters } => write!(f, "{}, as many as are wanted", nodes(*voters)),
        }
    }
}

/// Why a member votes though it should not, or does not vote. None if it votes as it should, or is unknown.
pub fn why_not(observed: &Observed, node: NodeId) -> Option<WhyNot> {
    let member = observed.members.get(&node)?;
    let voters = count(&observed.voters);
    if observed.voters.contains(&node) {
        return observed.is_leaving(node).then_some(WhyNot::NobodyInItsPlace);
    }
    let why = if member.is_draining {
        WhyNot::Draining
    } else if member.voting == Voting::Unwanted {
        WhyNot::Demoted
    } else if !observed.is_heard(node) {
        WhyNot::Silent
    } else if !observed.is_settled(node) {
        WhyNot::JustHeard
    } else if !observed.wanted().contains(&node) {
        WhyNot::Enough { voters }
    } else if member.role == Role::Star || !member.is_certified {
        WhyNot::NoCertificate
    } else if !member.has_log {
        WhyNot::CatchingUp
    } else if observed.possible_voters() <= voters && voters < observed.rules.voters_wanted {
        WhyNot::EvenNumber { voters }
    } else {
        WhyNot::Enough { voters }
    };
    Some(why)
}
