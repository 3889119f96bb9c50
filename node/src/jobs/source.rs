//! What a job reads: a tree of this star through its jail, or one of another star over a direct link.

use super::held::Held;
use super::report;
use crate::daemon::Node;
use crate::link::{self, LinkError, Tickets};
use crate::standalone::error::chain;
use crate::standalone::{JobSource, RunError};
use orbit_core::grid::job::JobFailure;
use orbit_core::wire::job::JobSpec;
use std::sync::Arc;

/// Why there is no source now.
#[derive(Debug)]
pub(super) enum NoSource {
    /// There will be none.
    Failed(JobFailure),
    /// There may be one later.
    Wait(String),
    /// Something else is wanted meanwhile.
    Stopped,
}

/// Opens the source of a job, and says which way the data takes; none: it stays on this star.
pub(super) fn open(
    node: &Arc<Node>,
    held: &Arc<Held>,
    attempt: u32,
    spec: &JobSpec,
) -> Result<(JobSource, Option<String>), NoSource> {
    let endpoint = spec.source.to_string();
    let path = spec.source.path.as_bytes();
    if spec.source.node == node.membership().node {
        let opened = JobSource::of_this(&node.star.jails(), path, endpoint);
        return opened
            .map(|source| (source, None))
            .map_err(|error| NoSource::Failed(report::failure(&error)));
    }
    let link = match held.link() {
        Some(link) => link,
        None => connect(node, held, attempt, spec)?,
    };
    match JobSource::of_star(Arc::clone(&link) as _, path.to_vec(), endpoint) {
        Ok(source) => Ok((source, Some(link.describe()))),
        Err(error) => Err(lost(held, &error)),
    }
}

fn connect(
    node: &Arc<Node>,
    held: &Arc<Held>,
    attempt: u32,
    spec: &JobSpec,
) -> Result<Arc<link::DirectLink>, NoSource> {
    let asker = Arc::clone(held);
    let tickets: Tickets = Arc::new(move || match asker.ask_ticket(attempt) {
        None => Err(LinkError::Cancelled),
        Some(Err(refusal)) => Err(LinkError::NoTicket(refusal.to_string())),
        Some(Ok(ticket)) => Ok(ticket),
    });
    match link::connect::connect(node, spec.source.node, tickets) {
        Ok(link) => {
            held.set_link(Some(Arc::clone(&link)));
            Ok(link)
        }
        Err(LinkError::Cancelled) => Err(NoSource::Stopped),
        Err(error) if error.is_final() => {
            Err(NoSource::Failed(report::refused(&chain(&error), error.hint())))
        }
        Err(error) => Err(NoSource::Wait(chain(&error))),
    }
}

/// What to do about an error that may be the link's. A link that is lost is not used again.
pub(super) fn lost(held: &Held, error: &RunError) -> NoSource {
    if !error.is_source_lost() {
        return NoSource::Failed(report::failure(error));
    }
    if let Some(link) = held.link() {
        link.break_off();
        held.set_link(None);
    }
    NoSource::Wait(chain(error))
}
