//! [`Hands`]: what a worker has in hand, and what is on its way to it from a star.

use super::place::Site;
use super::run::Run;
use super::stage::is_done;
use super::sync::Strictness;
use crate::local::writer::AlignedBuffer;
use crate::remote::{Fetch, Fetched};
use orbit_core::RelPath;
use orbit_core::plan::{Change, Group, Item, Step};
use orbit_core::system::{OrbitSystem, SystemError};
use orbit_core::wire::system::FETCH_FILE_BYTES_MAX;
use std::collections::VecDeque;

/// A worker's buffer, and the objects of its step that were asked for together.
pub(super) struct Hands {
    pub buffer: AlignedBuffer,
    ahead: Option<Fetch>,
}

impl Hands {
    pub fn new() -> Self {
        Self { buffer: AlignedBuffer::new(super::copy::PIECE_BYTES), ahead: None }
    }

    /// Has what a step needs of a star set out, in the order in which its groups are taken.
    pub fn reach_for<'g>(
        &mut self,
        run: &Run<'_>,
        step: &Step,
        groups: impl Iterator<Item = &'g Group>,
    ) -> Result<(), SystemError> {
        self.ahead = None;
        let Site::Star { system, .. } = run.source else { return Ok(()) };
        let wanted = |item: &Item| match &item.change {
            Change::Put { source, .. } => !source.is_file() || source.size <= FETCH_FILE_BYTES_MAX,
            Change::Attributes { .. } | Change::Finish { .. } => run.request.xattrs,
            Change::Link { .. } | Change::Delete { .. } => false,
        };
        if step.items().filter(|item| wanted(item)).nth(1).is_none() {
            // One alone is as quickly asked for by itself.
            return Ok(());
        }
        let mut paths = VecDeque::new();
        for group in groups {
            for item in group.items.iter().filter(|item| wanted(item)) {
                let path = match &item.change {
                    Change::Finish { .. } => group.directory.clone(),
                    _ => group.directory.join(&item.name).expect("the planner joined it before"),
                };
                // What an earlier attempt did is not sent again.
                let is_made = run.strictness != Strictness::Fresh
                    && is_done(&item.change, || run.destination.metadata(&path).ok());
                if !is_made {
                    paths.push_back(path);
                }
            }
        }
        let mut fetch = system.fetch(paths, run.request.xattrs);
        fetch.begin().map_err(|error| error.on(&RelPath::root()))?;
        self.ahead = Some(fetch);
        Ok(())
    }

    /// Takes what was asked for; none if it was not.
    pub fn take(&mut self, path: &RelPath) -> Result<Option<Fetched>, SystemError> {
        match &mut self.ahead {
            Some(fetch) => fetch.take(path),
            None => Ok(None),
        }
    }
}
