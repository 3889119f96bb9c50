//! [`plan`]: what must happen so that a destination holds what a source holds.
//!
//! Two scans in [`RelPath`] order are merge-joined, directory by directory, and every difference becomes a
//! [`Change`]. Memory is bounded by the widest directories on the path in hand, not by the tree.
//!
//! ```text
//!   source scan ─┐                     ┌─ Put, Attributes, Link ─┐
//!                ├─ join by directory ─┤                         ├─ Batcher ─ steps
//!   destination ─┘   then by name      └─ Delete, Finish ────────┘
//! ```

mod directory;
mod links;
mod surplus;

use crate::batcher::{Batcher, SinkError, StepSink};
use crate::compare::CompareOptions;
use crate::entry::{EntryKind, Listing, Metadata};
use crate::filter::PathFilter;
use crate::plan::Phase;
use crate::priority::Class;
use crate::rel_path::RelPath;
use crate::summary::Totals;
use crate::system::{Scan, SystemError};
use links::Links;
use std::cmp::Ordering;
use std::collections::HashMap;

/// What the planner asks of the world while it joins.
pub trait PlanWorld {
    /// Whether the contents of two files of equal size are the same (asked with `checksum` only). One answer a pair, in
    /// order; pairs may be compared in parallel.
    fn same_content(&self, pairs: &[ContentPair]) -> Vec<Result<bool, SystemError>>;

    /// Whether extended attributes are the same. Asked only where the source's change time is later than the
    /// destination's: a copy is younger than what it was made from, until that changes.
    fn same_xattrs(&self, pair: &ContentPair) -> Result<bool, SystemError> {
        let _ = pair;
        Ok(true)
    }

    /// Class of a large file whose name says nothing, from its header.
    fn class_of(&self, path: &RelPath) -> Class;

    /// Something that could not be planned. It is reported and the rest goes on.
    fn fault(&self, path: &RelPath, fault: &PlanFault);

    /// Something that is left out by design.
    fn notice(&self, path: &RelPath, what: &str);

    /// Entries seen so far, both sides, for progress; asked to stop by `false`.
    fn progress(&self, entries: u64) -> bool;
}

/// Two objects that only a closer look can tell apart.
#[derive(Clone, Debug)]
pub struct ContentPair {
    /// Their path below both roots.
    pub path: RelPath,
    /// As scanned in the source.
    pub source: Metadata,
    /// As scanned in the destination.
    pub destination: Metadata,
}

/// Why a path could not be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanFault {
    /// A directory of the source could not be read. Nothing below it is touched.
    #[error("cannot read this directory of the source")]
    Source(#[source] SystemError),
    /// A directory of the destination could not be read. Nothing below it is touched.
    #[error("cannot read this directory of the destination")]
    Destination(#[source] SystemError),
    /// Another file system is mounted at this directory of the destination, and the walk keeps out of it. Nothing below
    /// it is touched.
    #[error("another file system is mounted here in the destination")]
    DestinationBoundary,
    /// Contents could not be compared.
    #[error("cannot compare contents")]
    Compare(#[source] SystemError),
}

/// Why planning ended without a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The plan could not be stored.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// [`PlanWorld::progress`] asked to stop.
    #[error("planning was interrupted")]
    Interrupted,
}

/// How two trees are compared and what may be done.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// What counts as a difference.
    pub compare: CompareOptions,
    /// Whether what the source lacks is deleted.
    pub mirror: bool,
    /// Whether device nodes can be made (needs privilege).
    pub devices: bool,
}

/// Both sides of a directory that is to be joined when its listings arrive.
#[derive(Clone, Copy, Debug)]
struct Pending {
    source: Metadata,
    /// What the destination has under that name.
    destination: Option<Metadata>,
    /// When it is made, if it is new: late below a directory that takes a file's place.
    phase: Phase,
}

struct Planner<'a> {
    options: PlanOptions,
    filter: &'a dyn PathFilter,
    world: &'a dyn PlanWorld,
    batcher: Batcher<'a>,
    totals: Totals,
    links: Links,
    /// Directories of the source that are still to come.
    pending: HashMap<RelPath, Pending>,
    /// When what lies in the directory in hand, but does not travel with it, is made at the earliest.
    phase: Phase,
    /// Whether the root needs its attributes set whatever else happens.
    root: Pending,
    root_finished: bool,
    scanned: u64,
}

/// Plans a tree. `root` holds the metadata of both roots (`None`: the destination will be made, empty). Gives the totals;
/// the steps go to `sink`, faults and notices to `world`.
///
/// Deletions are planned as they are found; whoever runs the plan must drop them if `totals.faults` is not 0.
pub fn plan(
    scans: (&mut dyn Scan, Option<&mut (dyn Scan + 'static)>),
    root: (Metadata, Option<Metadata>),
    options: PlanOptions,
    filter: &dyn PathFilter,
    world: &dyn PlanWorld,
    sink: &mut dyn StepSink,
) -> Result<Totals, PlanError> {
    let root = Pending { source: root.0, destination: root.1, phase: Phase::Files };
    let mut planner = Planner {
        options,
        filter,
        world,
        batcher: Batcher::new(sink),
        totals: Totals::default(),
        links: Links::default(),
        pending: HashMap::from([(RelPath::root(), root)]),
        phase: Phase::Files,
        root,
        root_finished: false,
        scanned: 0,
    };
    planner.join(scans.0, scans.1)?;
    planner.finish()
}

/// Plans a single file: `name` is what it is to be called in the destination's root.
pub fn plan_file(
    name: &[u8],
    source: Metadata,
    destination: Option<Metadata>,
    options: PlanOptions,
    world: &dyn PlanWorld,
    sink: &mut dyn StepSink,
) -> Result<Totals, PlanError> {
    let root = Pending { source, destination: None, phase: Phase::Files };
    let mut planner = Planner {
        options,
        filter: &crate::filter::KeepAll,
        world,
        batcher: Batcher::new(sink),
        totals: Totals::default(),
        links: Links::default(),
        pending: HashMap::new(),
        phase: Phase::Files,
        root,
        root_finished: true,
        scanned: 0,
    };
    let mut from = Listing::new(RelPath::root());
    // A file named by itself is copied by itself, however many other names it has.
    from.push(name, Metadata { links: 1, ..source });
    let to = destination.map(|metadata| {
        let mut listing = Listing::new(RelPath::root());
        listing.push(name, metadata);
        listing
    });
    planner.join_names(&from, to.as_ref(), &mut Vec::new(), None)?;
    planner.finish()
}

impl Planner<'_> {
    fn join(
        &mut self,
        source: &mut dyn Scan,
        destination: Option<&mut (dyn Scan + 'static)>,
    ) -> Result<(), PlanError> {
        let mut destination = destination;
        let next_destination =
            |scan: &mut Option<&mut (dyn Scan + 'static)>| scan.as_mut().and_then(|s| s.next());
        let mut from = source.next();
        let mut to = next_destination(&mut destination);
        loop {
            let order = match (&from, &to) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(s), Some(d)) => path_of(s).cmp(path_of(d)),
            };
            // Listings are taken before they are judged: both scans stand still at this directory meanwhile, so
            // pruning still reaches its children.
            let from_now = if order == Ordering::Greater { None } else { from.take() };
            let to_now = if order == Ordering::Less { None } else { to.take() };
            let (took_from, took_to) = (from_now.is_some(), to_now.is_some());
            let mut prune_source = Vec::new();
            let mut prune_destination = Vec::new();
            self.directory(from_now, to_now, &mut prune_source, &mut prune_destination)?;
            for path in &prune_source {
                source.prune(path);
            }
            for path in &prune_destination {
                if let Some(scan) = destination.as_mut() {
                    scan.prune(path);
                }
            }
            if took_from {
                from = source.next();
            }
            if took_to {
                to = next_destination(&mut destination);
            }
            if !self.world.progress(self.scanned) {
                return Err(PlanError::Interrupted);
            }
        }
    }

    fn finish(mut self) -> Result<Totals, PlanError> {
        if !self.root_finished && !self.batcher.is_empty() {
            self.batcher.add_finish(&RelPath::root(), self.root.source)?;
        }
        self.totals.steps = self.batcher.finish()?;
        Ok(self.totals)
    }

    fn fault(&mut self, path: &RelPath, fault: &PlanFault) {
        self.totals.faults += 1;
        self.world.fault(path, fault);
    }

    /// Whether the destination has something under this name that the rules leave alone: a directory where the source has
    /// a file, or the other way round. (A rule can be for directories only.)
    fn is_protected(&self, path: &RelPath, source: &Metadata, existing: Option<&Metadata>) -> bool {
        existing.is_some_and(|existing| {
            existing.is_directory() != source.is_directory()
                && self.filter.excludes(path, existing.is_directory())
        })
    }

    fn can_make(&self, kind: EntryKind) -> bool {
        match kind {
            EntryKind::Socket => false,
            EntryKind::CharDevice | EntryKind::BlockDevice => self.options.devices,
            _ => true,
        }
    }
}

fn path_of(found: &Result<Listing, crate::system::ScanFault>) -> &RelPath {
    match found {
        Ok(listing) => &listing.path,
        Err(fault) => &fault.path,
    }
}

#[cfg(test)]
mod tests;
