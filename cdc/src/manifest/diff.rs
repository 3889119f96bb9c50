//! [`diff`]: what a new version of a file has that the old one lacks.
//!
//! Both trees are read level by level from the top. On each level, subtrees that both have are set aside by their hash,
//! wherever they lie, and only the others are opened. So an edit costs a few nodes a level, an insertion too, and
//! equal files cost none.

use super::node::Child;
use super::root::{Root, Top};
use super::{NodeSource, WalkError};
use orbit_core::{ByteRange, Chunk, ContentHash};

/// Nodes asked for at a time: at most 2 MiB of them.
const BATCH: usize = 256;

/// Subtrees or chunks of one version that may differ on one level.
const MAX_PLACES: usize = 1 << 23;

/// A chunk and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedChunk {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its hash and length.
    pub chunk: Chunk,
}

/// Bytes that both versions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedRange {
    /// Where they begin in the old version.
    pub old_offset: u64,
    /// Where they are in the new one.
    pub new: ByteRange,
}

/// How to make the new version from the old one: each byte of it is either copied or missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What the old version has, in the order of the new one; touching ranges are merged.
    pub copied: Vec<CopiedRange>,
    /// What it lacks, in the order of the new one.
    pub missing: Vec<PlacedChunk>,
}

/// Why two manifests could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError<O: std::error::Error + 'static, N: std::error::Error + 'static> {
    /// A node of the old version.
    #[error("cannot read the manifest of the old version")]
    Old(#[source] WalkError<O>),
    /// A node of the new version.
    #[error("cannot read the manifest of the new version")]
    New(#[source] WalkError<N>),
    /// More than eight million chunks differ, half a terabyte of them: send the file whole. A manifest of few nodes that
    /// repeat each other could ask for any number.
    #[error("the two versions have too little in common")]
    TooDifferent,
}

impl Difference {
    /// The missing parts of the new version, in order; touching chunks are merged.
    pub fn missing_ranges(&self) -> Vec<ByteRange> {
        let mut ranges: Vec<ByteRange> = Vec::new();
        for placed in &self.missing {
            let len = u64::from(placed.chunk.len);
            let joined = ranges.pop_if(|last| last.end() == placed.offset);
            let start = joined.map_or(placed.offset, ByteRange::offset);
            ranges.extend(ByteRange::new(start, placed.offset - start + len));
        }
        ranges
    }
}

/// Compares two versions of a file by their manifests.
///
/// A chunk counts as missing if it is not below an old node that was opened: one that moved into an otherwise equal
/// part from a part that changed may be asked for although the old version has it elsewhere. Where the
/// old version has bytes more than once, those at the same offset are preferred.
///
/// Memory grows with what differs, about 100 bytes for a chunk that changed, up to [`DiffError::TooDifferent`].
pub fn diff<O: NodeSource, N: NodeSource>(
    old_root: &Root,
    old_nodes: O,
    new_root: &Root,
    new_nodes: N,
) -> Result<Difference, DiffError<O::Error, N::Error>> {
    diff_within(MAX_PLACES, old_root, old_nodes, new_root, new_nodes)
}

pub(super) fn diff_within<O: NodeSource, N: NodeSource>(
    max_places: usize,
    old_root: &Root,
    old_nodes: O,
    new_root: &Root,
    new_nodes: N,
) -> Result<Difference, DiffError<O::Error, N::Error>> {
    let mut old = Frontier::new(old_root, old_nodes);
    let mut new = Frontier::new(new_root, new_nodes);
    let mut difference = Difference::default();
    loop {
        if old.level == new.level {
            difference.copied.extend(set_aside_shared(&mut old.places, &mut new.places));
        }
        let level = old.level.max(new.level);
        if level == 0 || new.places.is_empty() {
            break;
        }
        old.open(level, max_places).map_err(DiffError::Old)?;
        new.open(level, max_places).map_err(DiffError::New)?;
        if old.places.len().max(new.places.len()) > max_places {
            return Err(DiffError::TooDifferent);
        }
    }
    difference.missing = new.places.iter().map(Place::as_chunk).collect();
    difference.copied = merge(difference.copied);
    Ok(difference)
}

/// A subtree or chunk and where it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hash: ContentHash,
    offset: u64,
    len: u64,
}

/// The subtrees of one version, on one level, that are not known to be shared; in the order of the file.
struct Frontier<S> {
    nodes: S,
    /// 0 for chunks, else one more than the height of the nodes.
    level: u8,
    places: Vec<Place>,
}

impl<S: NodeSource> Frontier<S> {
    fn new(root: &Root, nodes: S) -> Self {
        let (level, hash) = match root.top {
            Top::Empty => (0, None),
            Top::Chunk(hash) => (0, Some(hash)),
            Top::Tree { height, hash } => (height + 1, Some(hash)),
        };
        let places = hash.map(|hash| Place { hash, offset: 0, len: root.len }).into_iter().collect();
        Self { nodes, level, places }
    }

    /// Replaces the nodes of this level by their children. Does nothing on a lower level.
    fn open(&mut self, level: u8, max_places: usize) -> Result<(), WalkError<S::Error>> {
        if level == 0 || self.level != level {
            return Ok(());
        }
        let mut children = Vec::new();
        for places in std::mem::take(&mut self.places).chunks(BATCH) {
            if children.len() > max_places {
                // Enough to know that it is too much.
                break;
            }
            let mut hashes: Vec<ContentHash> = places.iter().map(|place| place.hash).collect();
            hashes.sort_unstable();
            hashes.dedup();
            let nodes = self.nodes.read_nodes(&hashes).map_err(WalkError::Read)?;
            for place in places {
                let node = hashes
                    .binary_search(&place.hash)
                    .ok()
                    .and_then(|index| nodes.get(index))
                    .filter(|node| node.height() + 1 == level && node.len() == place.len)
                    .ok_or(WalkError::Misfit(place.hash))?;
                let mut offset = place.offset;
                for &Child { hash, len } in node.children() {
                    children.push(Place { hash, offset, len });
                    offset += len;
                }
            }
        }
        (self.places, self.level) = (children, level - 1);
        Ok(())
    }
}

impl Place {
    fn as_chunk(&self) -> PlacedChunk {
        let chunk = Child { hash: self.hash, len: self.len }.as_chunk();
        PlacedChunk { offset: self.offset, chunk }
    }
}

/// Takes out of both versions what the other has too, and gives it as copies.
fn set_aside_shared(old: &mut Vec<Place>, new: &mut Vec<Place>) -> Vec<CopiedRange> {
    let mut by_hash = old.clone();
    by_hash.sort_unstable();
    let mut shared = Vec::new();
    let mut copies = Vec::new();
    new.retain(|place| {
        let Some(found) = find(&by_hash, place) else { return true };
        shared.push(found.hash);
        copies.extend(
            ByteRange::new(place.offset, place.len).map(|new| CopiedRange { old_offset: found.offset, new }),
        );
        false
    });
    shared.sort_unstable();
    old.retain(|place| shared.binary_search(&place.hash).is_err());
    copies
}

/// The old place with the same content, at the same offset if there is one.
fn find<'a>(by_hash: &'a [Place], wanted: &Place) -> Option<&'a Place> {
    let index = by_hash.partition_point(|place| (place.hash, place.offset) < (wanted.hash, wanted.offset));
    let same = |place: &&Place| place.hash == wanted.hash && place.len == wanted.len;
    let before = || index.checked_sub(1).and_then(|index| by_hash.get(index)).filter(same);
    by_hash.get(index).filter(same).or_else(before)
}

/// Copies in the order of the new version, those that touch in both versions joined.
fn merge(mut copies: Vec<CopiedRange>) -> Vec<CopiedRange> {
    copies.sort_unstable_by_key(|copy| copy.new.offset());
    let mut merged: Vec<CopiedRange> = Vec::new();
    for mut copy in copies {
        let touches = |last: &mut CopiedRange| {
            last.new.end() == copy.new.offset() && last.old_offset + last.new.len() == copy.old_offset
        };
        if let Some(last) = merged.pop_if(touches)
            && let Ok(new) = ByteRange::new(last.new.offset(), last.new.len() + copy.new.len())
        {
            copy = CopiedRange { old_offset: last.old_offset, new };
        }
        merged.push(copy);
    }
    merged
}
