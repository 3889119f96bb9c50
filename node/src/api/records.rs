//! [`Records`]: the grid's records as a question reads them: at the Nucleus, or without one in this node's own copy.

use super::error::ApiFailure;
use super::server::Handled;
use crate::daemon::Node;
use crate::group::Seat;
use crate::nucleus::Nucleus;
use crate::nucleus::views::Eyes;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use orbit_consensus::Group;
use orbit_core::grid::{GridState, NodeRecord, Refusal};
use std::sync::Arc;

/// The header of an answer that no Nucleus confirms: when it was the grid's state, milliseconds since 1970.
pub const AS_OF_HEADER: &str = "orbit-as-of";

/// Marks a request for which no Nucleus was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct WithoutNucleus;

/// This node's seat in the group, if its records are of use: a node that was made a star again may have old ones.
pub(super) fn seat(node: &Node) -> Option<Arc<Seat>> {
    node.group().filter(|seat| {
        let may_lead = node.certificate().is_ok_and(|own| own.role.may_lead());
        may_lead && !seat.group.standing().borrow().voters.is_empty()
    })
}

/// Where the records are read.
pub(super) struct Records {
    group: Group,
    nucleus: Option<Arc<Nucleus>>,
}

impl Records {
    /// Looks at the records.
    pub(super) fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        self.group.with(look)
    }

    /// Whose look at the grid it is.
    pub(super) fn eyes(&self, node: &Node) -> Eyes {
        match &self.nucleus {
            Some(nucleus) => Eyes::of_nucleus(node, nucleus),
            None => Eyes::of_member(node, &self.group),
        }
    }

    /// The Nucleus, if it is it that answers.
    pub(super) fn nucleus(&self) -> Option<&Arc<Nucleus>> {
        self.nucleus.as_ref()
    }

    /// A member by its name or id.
    pub(super) fn find(&self, written: &str) -> Handled<NodeRecord> {
        Ok(self.with(|state| state.find_node(written).cloned())?)
    }
}

/// The records of the Nucleus; of any member of the group if there is no Nucleus.
impl FromRequestParts<Arc<Node>> for Records {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Handled<Self> {
        if parts.extensions.get::<WithoutNucleus>().is_some() {
            let seat = seat(node).ok_or_else(|| node.no_nucleus())?;
            return Ok(Self { group: seat.group.clone(), nucleus: None });
        }
        let nucleus = node.acting_nucleus();
        let nucleus = nucleus.ok_or_else(|| Refusal::NotNucleus { node: node.standing().name })?;
        Ok(Self { group: nucleus.group().clone(), nucleus: Some(nucleus) })
    }
}
