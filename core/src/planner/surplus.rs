//! What only the destination has.

use super::directory::prune_all;
use super::{PlanError, Planner};
use crate::entry::{Listing, Metadata};
use crate::plan::{Change, Item, Phase};
use crate::priority::Class;
use crate::rel_path::RelPath;

impl Planner<'_> {
    /// A name that only the destination has. Says whether it will be removed.
    pub(super) fn surplus(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        existing: &Metadata,
        prune_destination: &mut Vec<RelPath>,
    ) -> Result<bool, PlanError> {
        self.totals.destination_entries += 1;
        let path = directory.join(name).expect("a scan gives plain names");
        let is_directory = existing.is_directory();
        if !self.options.mirror || self.filter.excludes(&path, is_directory) {
            if is_directory {
                prune_destination.push(path);
            }
            return Ok(false);
        }
        self.totals.files_deleted += 1;
        let item = Item { name: name.to_vec(), change: Change::Delete { existing: *existing } };
        self.batcher.add(Phase::Deletions, Class::default(), directory, item)?;
        Ok(true)
    }

    /// A directory that only the destination has; its own name was dealt with in its parent.
    pub(super) fn surplus_directory(
        &mut self,
        listing: &Listing,
        prune_destination: &mut Vec<RelPath>,
    ) -> Result<(), PlanError> {
        self.scanned += listing.len() as u64;
        if listing.is_boundary || !self.options.mirror {
            prune_all(listing, prune_destination);
            return Ok(());
        }
        for (name, existing) in listing.iter() {
            self.surplus(&listing.path, name, existing, prune_destination)?;
        }
        Ok(())
    }
}
