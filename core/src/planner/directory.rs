//! The join of one directory's two listings.

use super::{ContentPair, Pending, PlanError, PlanFault, Planner};
use crate::batcher::LARGE_FILE_BYTES;
use crate::compare::{Verdict, attributes_differ, compare, same_mtime};
use crate::entry::{EntryKind, Listing, Metadata};
use crate::plan::{Change, DirectoryState, Item, Phase};
use crate::priority::{Class, class_of_name};
use crate::rel_path::RelPath;
use crate::system::{ScanFault, SystemError};
use std::cmp::Ordering;

type Found = Option<Result<Listing, ScanFault>>;

/// Files that only their bytes can tell apart, until the directory is done.
type Asked = Vec<ContentPair>;

/// New files of a new directory, gathered so that they share one rename.
type Gathered = Vec<(Class, Item)>;

impl Planner<'_> {
    /// Joins what the two scans found at one directory, and names the subdirectories they need not descend into.
    pub(super) fn directory(
        &mut self,
        source: Found,
        destination: Found,
        prune_source: &mut Vec<RelPath>,
        prune_destination: &mut Vec<RelPath>,
    ) -> Result<(), PlanError> {
        let source = match source {
            Some(Ok(listing)) => listing,
            Some(Err(fault)) => {
                if let Some(Ok(listing)) = destination {
                    prune_all(&listing, prune_destination);
                }
                self.pending.remove(&fault.path);
                self.fault(&fault.path, &PlanFault::Source(fault.error));
                return Ok(());
            }
            None => {
                return match destination {
                    Some(Ok(listing)) => self.surplus_directory(&listing, prune_destination),
                    Some(Err(fault)) => {
                        self.fault(&fault.path, &PlanFault::Destination(fault.error));
                        Ok(())
                    }
                    None => Ok(()),
                };
            }
        };
        let destination = match destination {
            Some(Err(fault)) => {
                prune_all(&source, prune_source);
                self.pending.remove(&source.path);
                self.fault(&fault.path, &PlanFault::Destination(fault.error));
                return Ok(());
            }
            Some(Ok(listing)) => Some(listing),
            None => None,
        };
        if destination.as_ref().is_some_and(|listing| listing.is_boundary) && !source.is_boundary {
            prune_all(&source, prune_source);
            self.pending.remove(&source.path);
            self.fault(&source.path, &PlanFault::DestinationBoundary);
            return Ok(());
        }
        self.scanned += (source.len() + destination.as_ref().map_or(0, Listing::len)) as u64;
        self.pair_of_directories(&source, destination.as_ref(), prune_destination)
    }

    fn pair_of_directories(
        &mut self,
        source: &Listing,
        destination: Option<&Listing>,
        prune_destination: &mut Vec<RelPath>,
    ) -> Result<(), PlanError> {
        let path = &source.path;
        let Some(pending) = self.pending.remove(path) else {
            // A listing nobody announced: its parent failed meanwhile.
            return Ok(());
        };
        self.totals.directories_total += u64::from(!path.is_root());
        if let (true, Some(listing)) = (source.is_boundary, destination) {
            prune_all(listing, prune_destination);
        }
        let destination = destination.filter(|_| !source.is_boundary);
        let is_new = !path.is_root() && !pending.destination.is_some_and(|d| d.is_directory());
        let takes_place = is_new && pending.destination.is_some();
        self.phase = if takes_place { Phase::Late } else { pending.phase };
        let mut gathered = is_new.then(Vec::new);
        let mut touched = self.join_names(source, destination, prune_destination, gathered.as_mut())?;
        if let Some(items) = gathered {
            self.totals.directories_new += 1;
            let state = DirectoryState::New { source: pending.source, existing: pending.destination };
            self.batcher.add_new_directory(pending.phase, self.phase, path, state, items)?;
            touched = true;
        }
        if touched || self.directory_differs(path, &pending) {
            self.batcher.add_finish(path, pending.source)?;
            self.root_finished |= path.is_root();
        }
        Ok(())
    }

    /// Merge-joins the names. Says whether the directory itself is modified by the changes.
    pub(super) fn join_names(
        &mut self,
        source: &Listing,
        destination: Option<&Listing>,
        prune_destination: &mut Vec<RelPath>,
        mut gathered: Option<&mut Gathered>,
    ) -> Result<bool, PlanError> {
        let directory = &source.path;
        let mut asked = Vec::new();
        let mut touched = false;
        let mut from = source.iter().peekable();
        let mut to = destination.into_iter().flat_map(Listing::iter).peekable();
        loop {
            let order = match (from.peek(), to.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(s), Some(d)) => s.0.cmp(d.0),
            };
            if order == Ordering::Greater {
                if let Some((name, existing)) = to.next() {
                    touched |= self.surplus(directory, name, existing, prune_destination)?;
                }
                continue;
            }
            let Some((name, metadata)) = from.next() else { break };
            let existing =
                if order == Ordering::Equal { to.next().map(|(_, existing)| existing) } else { None };
            let path = directory.join(name).expect("a scan gives plain names");
            let is_left_alone = !self.can_make(metadata.kind) || self.is_protected(&path, metadata, existing);
            if let Some(existing) = existing
                && existing.is_directory()
                && !metadata.is_directory()
                && (is_left_alone || !self.options.mirror)
            {
                prune_destination.push(path);
            }
            touched |= self.pair(directory, name, metadata, existing, gathered.as_deref_mut(), &mut asked)?;
        }
        touched |= self.resolve(directory, &asked)?;
        Ok(touched)
    }

    /// One name of the source, with what the destination has under it.
    fn pair(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        source: &Metadata,
        existing: Option<&Metadata>,
        gathered: Option<&mut Gathered>,
        asked: &mut Asked,
    ) -> Result<bool, PlanError> {
        self.totals.destination_entries += u64::from(existing.is_some());
        let path = directory.join(name).expect("a scan gives plain names");
        if self.is_protected(&path, source, existing) {
            self.world.notice(&path, "left alone: what the destination has here is excluded");
            return Ok(false);
        }
        let is_root = |root: Option<Metadata>| {
            root.is_some_and(|root| (root.dev, root.ino) == (source.dev, source.ino))
        };
        if source.is_directory() && is_root(self.root.destination) {
            self.world.notice(&path, "the destination itself, mounted here: left out");
            return Ok(false);
        }
        if source.is_directory() {
            let kept = existing.is_some_and(Metadata::is_directory);
            let pending = Pending { source: *source, destination: existing.copied(), phase: self.phase };
            self.pending.insert(path, pending);
            return Ok(!kept);
        }
        if !self.can_make(source.kind) {
            let why = match source.kind {
                EntryKind::Socket => "a socket, skipped: it lives only with its program",
                _ => "a device node, skipped: making one needs root",
            };
            self.world.notice(&path, why);
            return Ok(false);
        }
        self.totals.files_total += 1;
        if source.is_file() {
            self.totals.bytes_total += source.size;
        }
        if source.is_file()
            && source.links > 1
            && let Some(first) = self.links.first_of(source)
        {
            return self.further_name(directory, name, &first, source, existing);
        }
        let mut verdict = existing.map_or(Verdict::Content, |e| compare(source, e, &self.options.compare));
        if let (Verdict::Same, Some(existing)) = (verdict, existing)
            && self.xattrs_differ(&path, source, existing)
        {
            verdict = Verdict::Attributes;
        }
        if let (Verdict::Ask, true, Some(existing)) = (verdict, source.links > 1, existing) {
            // Its further names need to know now whether this inode stays.
            let pair = ContentPair { path: path.clone(), source: *source, destination: *existing };
            let answer = self.world.same_content(std::slice::from_ref(&pair)).pop();
            match answer.map_or(Some(Verdict::Content), |answer| self.verdict(&pair, answer)) {
                Some(answered) => verdict = answered,
                None => return Ok(false),
            }
        }
        verdict = unless_shared(verdict, existing);
        if source.is_file() && source.links > 1 {
            let stays = existing.filter(|_| verdict == Verdict::Same);
            self.links.remember(source, path.clone(), stays, late_if_directory(self.phase, existing));
        }
        if let (Verdict::Ask, Some(destination)) = (verdict, existing) {
            asked.push(ContentPair { path, source: *source, destination: *destination });
            return Ok(false);
        }
        self.act(verdict, directory, name, source, existing, gathered)
    }

    fn act(
        &mut self,
        verdict: Verdict,
        directory: &RelPath,
        name: &[u8],
        source: &Metadata,
        existing: Option<&Metadata>,
        gathered: Option<&mut Gathered>,
    ) -> Result<bool, PlanError> {
        match (verdict, existing) {
            (Verdict::Same, _) => {
                self.totals.files_unchanged += 1;
                Ok(false)
            }
            (Verdict::Attributes, Some(existing)) => self.attributes(directory, name, source, existing),
            _ => self.put(directory, name, source, existing, gathered),
        }
    }

    fn further_name(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        first: &super::links::First,
        source: &Metadata,
        existing: Option<&Metadata>,
    ) -> Result<bool, PlanError> {
        if existing.is_some_and(|e| first.stays == Some((e.dev, e.ino))) {
            self.totals.files_unchanged += 1;
            return Ok(false);
        }
        self.count_put(existing);
        let change = Change::Link { to: first.path.clone(), source: *source, existing: existing.copied() };
        let phase = match first.phase {
            Phase::Files => late_if_directory(Phase::Links.max(self.phase), existing),
            _ => Phase::LateLinks,
        };
        self.batcher.add(phase, Class::default(), directory, Item { name: name.to_vec(), change })?;
        Ok(true)
    }

    fn attributes(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        source: &Metadata,
        existing: &Metadata,
    ) -> Result<bool, PlanError> {
        self.totals.files_attributes += 1;
        let change = Change::Attributes { source: *source, existing: *existing };
        let item = Item { name: name.to_vec(), change };
        self.batcher.add(Phase::Files, Class::default(), directory, item)?;
        Ok(false)
    }

    fn put(
        &mut self,
        directory: &RelPath,
        name: &[u8],
        source: &Metadata,
        existing: Option<&Metadata>,
        gathered: Option<&mut Gathered>,
    ) -> Result<bool, PlanError> {
        self.count_put(existing);
        if source.is_file() {
            self.totals.bytes_planned += source.size;
            self.totals.bytes_allocated += source.size.min(source.allocated);
        }
        let class = self.class(directory, name, source);
        let change = Change::Put { source: *source, existing: existing.copied() };
        let item = Item { name: name.to_vec(), change };
        match gathered {
            Some(items) => items.push((class, item)),
            None => self.batcher.add(late_if_directory(self.phase, existing), class, directory, item)?,
        }
        Ok(true)
    }

    fn count_put(&mut self, existing: Option<&Metadata>) {
        match existing {
            Some(_) => self.totals.files_changed += 1,
            None => self.totals.files_new += 1,
        }
    }

    /// Name first; a large file whose name says nothing is asked for its header.
    fn class(&self, directory: &RelPath, name: &[u8], source: &Metadata) -> Class {
        class_of_name(name).unwrap_or_else(|| {
            if source.is_file() && source.size >= LARGE_FILE_BYTES {
                self.world.class_of(&directory.join(name).expect("a scan gives plain names"))
            } else {
                Class::default()
            }
        })
    }

    /// Lets the bytes decide about the directory's asked pairs.
    fn resolve(&mut self, directory: &RelPath, asked: &Asked) -> Result<bool, PlanError> {
        let mut touched = false;
        // Bounded, so that a wide directory neither holds all answers nor keeps progress waiting.
        for pairs in asked.chunks(256) {
            let answers = self.world.same_content(pairs);
            for (pair, answer) in pairs.iter().zip(answers) {
                if let Some(verdict) = self.verdict(pair, answer) {
                    let verdict = unless_shared(verdict, Some(&pair.destination));
                    let name = pair.path.name().expect("a file is not the root");
                    let existing = Some(&pair.destination);
                    touched |= self.act(verdict, directory, name, &pair.source, existing, None)?;
                }
            }
            if !self.world.progress(self.scanned) {
                return Err(PlanError::Interrupted);
            }
        }
        Ok(touched)
    }

    /// What a comparison of contents means; `None` after a fault.
    fn verdict(&mut self, pair: &ContentPair, answer: Result<bool, SystemError>) -> Option<Verdict> {
        match answer {
            Err(error) => {
                self.fault(&pair.path, &PlanFault::Compare(error));
                None
            }
            Ok(false) => Some(Verdict::Content),
            Ok(true)
                if self.file_attributes_differ(&pair.source, &pair.destination)
                    || self.xattrs_differ(&pair.path, &pair.source, &pair.destination) =>
            {
                Some(Verdict::Attributes)
            }
            Ok(true) => Some(Verdict::Same),
        }
    }

    fn file_attributes_differ(&self, source: &Metadata, existing: &Metadata) -> bool {
        let options = &self.options.compare;
        attributes_differ(source, existing, options) || !same_mtime(source, existing, options.granularity_ns)
    }

    fn directory_differs(&mut self, path: &RelPath, pending: &Pending) -> bool {
        pending.destination.is_none_or(|d| {
            !d.is_directory()
                || self.file_attributes_differ(&pending.source, &d)
                || self.xattrs_differ(path, &pending.source, &d)
        })
    }

    /// Whether extended attributes differ, where that can be. What cannot be read is reported when it is set.
    fn xattrs_differ(&self, path: &RelPath, source: &Metadata, existing: &Metadata) -> bool {
        if source.kind == EntryKind::Symlink || source.ctime <= existing.ctime {
            return false;
        }
        let pair = ContentPair { path: path.clone(), source: *source, destination: *existing };
        !self.world.same_xattrs(&pair).unwrap_or(false)
    }
}

const fn late_if_directory(phase: Phase, existing: Option<&Metadata>) -> Phase {
    match existing {
        Some(existing) if existing.is_directory() => Phase::Late,
        _ => phase,
    }
}

/// An inode with several names is replaced, never written into: its other names may belong to something else.
fn unless_shared(verdict: Verdict, existing: Option<&Metadata>) -> Verdict {
    match existing {
        Some(existing) if verdict == Verdict::Attributes && existing.links > 1 => Verdict::Content,
        _ => verdict,
    }
}

pub(super) fn prune_all(listing: &Listing, prune: &mut Vec<RelPath>) {
    let directories = listing.iter().filter(|(_, metadata)| metadata.is_directory());
    prune.extend(directories.map(|(name, _)| listing.path.join(name).expect("a scan gives plain names")));
}
