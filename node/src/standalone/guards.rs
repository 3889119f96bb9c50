//! Guards that look at a whole plan before anything is changed.

use super::error::{Guard, RunError};
use super::request::SyncRequest;
use super::trees::{Shape, Trees};
use crate::local::writer::free_space;
use orbit_core::Totals;
use rustix::fd::BorrowedFd;

/// Holds a plan against the guards. `needed_bytes` is the room that what is still to be done takes.
pub(super) fn check(
    request: &SyncRequest,
    trees: &Trees,
    totals: &Totals,
    needed_bytes: u64,
) -> Result<(), RunError> {
    if request.mirror && trees.shape == Shape::Tree {
        check_empty_source(request, totals)?;
        check_delete_gate(request, totals)?;
    }
    check_free_space(trees, needed_bytes)
}

/// An empty source is far more often an unmounted disk than a wish to delete everything.
fn check_empty_source(request: &SyncRequest, totals: &Totals) -> Result<(), Guard> {
    let is_empty = totals.files_total == 0 && totals.directories_total == 0;
    if is_empty && totals.files_deleted > 0 && request.max_delete_percent < 100 {
        return Err(Guard::EmptySource { path: request.source.clone() });
    }
    Ok(())
}

fn check_delete_gate(request: &SyncRequest, totals: &Totals) -> Result<(), Guard> {
    let (deletions, entries) = (totals.files_deleted, totals.destination_entries.max(1));
    let limit = request.max_delete_percent;
    if u128::from(deletions) * 100 > u128::from(entries) * u128::from(limit) {
        return Err(Guard::DeleteGate { deletions, entries, limit });
    }
    Ok(())
}

/// Compares with what the new versions need in full: the old ones are freed only after they are replaced. Where source and
/// destination may share extents they need none of it, so such file systems are not held to it.
pub(super) fn check_free_space(trees: &Trees, needed: u64) -> Result<(), RunError> {
    // A destination that is still to be made is made in a directory of the same file system; the run itself will see.
    let Some(jail) = &trees.destination else { return Ok(()) };
    let root = jail.root_fd();
    let Ok(space) = free_space(root) else { return Ok(()) };
    // What an earlier run staged is gone on with, or swept, before anything is written.
    let available = space.bytes.saturating_add(trees.staged_bytes());
    if needed > available && !shares_extents(root) {
        return Err(Guard::FreeSpace { needed, available }.into());
    }
    Ok(())
}

/// Whether a file system of this type can share extents between files.
fn shares_extents(handle: BorrowedFd<'_>) -> bool {
    /// XFS, btrfs and bcachefs, from `linux/magic.h` and their sources.
    const SHARING: [u64; 3] = [0x5846_5342, 0x9123_683e, 0xca45_1a4e];
    #[allow(clippy::unnecessary_cast)] // the field's width differs between machines
    rustix::fs::fstatfs(handle).is_ok_and(|found| SHARING.contains(&(found.f_type as u64 & 0xffff_ffff)))
}
