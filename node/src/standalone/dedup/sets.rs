//! Files of equal size become sets of equal content.

use super::super::{Context, default_threads};
use super::candidates::{Candidate, Candidates};
use super::forest::{DeviceId, Faults, Forest};
use super::{DuplicateFile, DuplicateSet, Storage, extents, parallel};
use orbit_core::system::{ChunkDetail, SourceFile, SystemError};
use orbit_core::{ContentHash, Metadata, RelPath};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

/// Files of this size and more get all the threads.
pub(super) const SHARED_FILE_BYTES: u64 = 256 << 20;
/// Files of this size and more are read whole only if their beginning repeats too.
const HEAD_FROM_BYTES: u64 = 128 << 10;
/// How much of the beginning is looked at.
const HEAD_LEN: usize = 4096;

/// A set, and what sharing needs beside what is told of it.
pub(super) struct FoundSet {
    pub set: DuplicateSet,
    /// In the order of the set's files.
    pub members: Vec<Member>,
}

/// One file of a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub tree: usize,
    pub dev: DeviceId,
    pub ino: u64,
    /// Below the root of its tree.
    pub path: RelPath,
    pub allocated: u64,
    /// Where its content lies, if others use that place too.
    pub layout: Option<ContentHash>,
}

/// The sets within a batch of whole size groups, largest first.
pub(super) fn find(
    context: &Context,
    forest: &Forest<'_>,
    candidates: &Candidates,
    batch: &[Candidate],
    faults: &mut Faults,
) -> Vec<FoundSet> {
    let finder = Finder { context, forest, candidates };
    let mut files = finder.with_equal_heads(batch, faults);
    files.sort_unstable_by_key(Candidate::disk_position);
    let files = finder.machines_in_turn(files);
    let mut identified = finder.identify_all(&files, faults);
    identified.sort_unstable_by_key(|(file, root)| (Reverse(file.size), *root, file.walk_position()));
    let is_one_set = |a: &Identified, b: &Identified| (a.0.size, a.1) == (b.0.size, b.1);
    let mut sets: Vec<_> = identified
        .chunk_by(is_one_set)
        .filter(|files| files.len() > 1)
        .filter_map(|files| finder.set(files, faults))
        .collect();
    sets.sort_by_key(|(position, found)| (Reverse(found.set.size), *position));
    sets.into_iter().map(|(_, found)| found).collect()
}

/// A file and the root of its manifest.
type Identified = (Candidate, ContentHash);

struct Finder<'f> {
    context: &'f Context,
    forest: &'f Forest<'f>,
    candidates: &'f Candidates,
}

impl Finder<'_> {
    /// Leaves out large files whose beginning no other file of their size has.
    fn with_equal_heads(&self, batch: &[Candidate], faults: &mut Faults) -> Vec<Candidate> {
        let (large, mut kept): (Vec<_>, Vec<_>) = batch.iter().partition(|file| file.size >= HEAD_FROM_BYTES);
        let heads = parallel::map(&large, self.forest.calls(), &self.context.stop, |file| {
            let system = self.forest.site(self.candidates.tree(file)).system();
            system.read_header(&self.candidates.path(file), HEAD_LEN).map(|head| orbit_cdc::hash_bytes(&head))
        });
        let (mut once, mut again) = (HashSet::new(), HashSet::new());
        for (file, head) in large.iter().zip(&heads) {
            if let Some(Ok(head)) = head
                && !once.insert((file.size, *head))
            {
                again.insert((file.size, *head));
            }
        }
        for (file, head) in large.into_iter().zip(heads) {
            match head {
                Some(Ok(head)) if again.contains(&(file.size, head)) => kept.push(file),
                Some(Err(error)) => {
                    faults.report(self.forest, self.candidates.tree(&file), error);
                    self.count_done(&file);
                }
                _ => self.count_done(&file),
            }
        }
        kept
    }

    /// Takes files of all machines in turn, so that all are at work; of each one the order stays.
    fn machines_in_turn(&self, files: Vec<Candidate>) -> Vec<Candidate> {
        let mut turns: HashMap<u32, usize> = HashMap::new();
        let mut in_turn: Vec<_> = files
            .into_iter()
            .map(|file| {
                let turn = turns.entry(self.candidates.dev(&file).0).or_insert(0);
                *turn += 1;
                (*turn, file)
            })
            .collect();
        if turns.len() > 1 {
            in_turn.sort_by_key(|(turn, _)| *turn);
        }
        in_turn.into_iter().map(|(_, file)| file).collect()
    }

    /// Reads files whole, unless their identity is cached.
    fn identify_all(&self, files: &[Candidate], faults: &mut Faults) -> Vec<Identified> {
        let roots = parallel::map(files, self.forest.calls(), &self.context.stop, |file| self.identify(file));
        let mut identified = Vec::with_capacity(files.len());
        for (file, root) in files.iter().zip(roots) {
            match root {
                Some(Ok(root)) => identified.push((*file, root)),
                Some(Err(error)) => faults.report(self.forest, self.candidates.tree(file), error),
                None => {}
            }
        }
        identified
    }

    fn identify(&self, file: &Candidate) -> Result<ContentHash, SystemError> {
        let path = self.candidates.path(file);
        self.context.progress.set_current(|| path.display().into_owned());
        let threads = if file.size >= SHARED_FILE_BYTES { default_threads() } else { 1 };
        let site = self.forest.site(self.candidates.tree(file)).with_threads(threads);
        let root = site.system().chunk(&path, ChunkDetail::RootOnly, &mut |_| {});
        self.count_done(file);
        root
    }

    /// A set, and where it begins in the walk.
    fn set(&self, files: &[Identified], faults: &mut Faults) -> Option<(u64, FoundSet)> {
        let looked_at =
            parallel::map(files, self.forest.calls(), &self.context.stop, |(file, _)| self.look_at(file));
        let mut members = Vec::with_capacity(files.len());
        for ((file, _), member) in files.iter().zip(looked_at) {
            match member? {
                Ok(member) => members.push(member),
                Err(error) => faults.report(self.forest, self.candidates.tree(file), error),
            }
        }
        let (first, root) = files.first()?;
        (members.len() > 1).then(|| (first.walk_position(), self.set_of(first.size, *root, members)))
    }

    /// What a set needs to know of a file, which must still be the one that was found.
    fn look_at(&self, file: &Candidate) -> Result<Member, SystemError> {
        let (tree, path) = (self.candidates.tree(file), self.candidates.path(file));
        let mut member =
            Member { tree, dev: self.candidates.dev(file), ino: file.ino, path, allocated: 0, layout: None };
        let site = self.forest.site(tree);
        if !site.is_local() {
            let metadata = site.system().metadata(&member.path)?;
            member.expect(&metadata, file.size)?;
            member.allocated = metadata.allocated;
            return Ok(member);
        }
        let (open, metadata) = member.open(self.forest, file.size)?;
        member.allocated = metadata.allocated;
        member.layout = open.descriptor().and_then(|handle| extents::shared_layout(handle, file.size));
        Ok(member)
    }

    fn set_of(&self, size: u64, root: ContentHash, members: Vec<Member>) -> FoundSet {
        let mut places = HashSet::new();
        let files = members.iter().map(|member| {
            let (endpoint, path) = self.forest.seen_from_endpoint(member.tree, &member.path);
            let is_shared = member.layout.is_some_and(|layout| !places.insert((member.dev, layout)));
            let storage = match self.forest.site(member.tree).is_local() {
                true if is_shared => Storage::SharedBefore,
                true => Storage::Own,
                false => Storage::Elsewhere,
            };
            DuplicateFile { endpoint, path, allocated: member.allocated, storage }
        });
        let files: Vec<_> = files.collect();
        let bytes_shareable = shareable(members.iter().zip(&files));
        FoundSet { set: DuplicateSet { root, size, files, bytes_shareable }, members }
    }

    fn count_done(&self, file: &Candidate) {
        self.context.progress.files_done.fetch_add(1, Ordering::Relaxed);
        self.context.progress.bytes_done.fetch_add(file.size, Ordering::Relaxed);
    }
}

impl Member {
    /// Opens the file, if it is still the one that was found, and gives its metadata too.
    pub fn open(
        &self,
        forest: &Forest<'_>,
        size: u64,
    ) -> Result<(Box<dyn SourceFile>, Metadata), SystemError> {
        let file = forest.site(self.tree).system().open(&self.path)?;
        let metadata = file.metadata().map_err(SystemError::io("look at", &self.path))?;
        self.expect(&metadata, size)?;
        Ok((file, metadata))
    }

    /// Fails unless this is metadata of the file that was found.
    fn expect(&self, metadata: &Metadata, size: u64) -> Result<(), SystemError> {
        if (metadata.dev, metadata.ino, metadata.size) == (self.dev.1, self.ino, size) {
            Ok(())
        } else {
            Err(SystemError::Changed { path: self.path.clone() })
        }
    }
}

/// What would be saved: on each file system, all that is stored but the least.
fn shareable<'m>(files: impl Iterator<Item = (&'m Member, &'m DuplicateFile)>) -> u64 {
    let mut stored: HashMap<DeviceId, (u64, u64)> = HashMap::new();
    for (member, _) in files.filter(|(_, file)| file.storage == Storage::Own) {
        let (total, least) = stored.entry(member.dev).or_insert((0, u64::MAX));
        *total += member.allocated;
        *least = member.allocated.min(*least);
    }
    stored.values().map(|(total, least)| total - least).sum()
}
