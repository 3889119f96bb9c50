//! [`Tree`]: a tree in memory, how random ones are made, and [`MemoryScan`], which walks one.

use crate::entry::{Attributes, EntryKind, Listing, Metadata, Timestamp};
use crate::filter::PathFilter;
use crate::rel_path::RelPath;
use crate::system::{Scan, ScanFault, SystemError};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;

/// Names that sort in every way around `/`, one that is excluded, and one for each end of the priorities.
const NAMES: [&str; 7] = ["a", "a.b", "a-", "b", "skip", "k.pem", "z.iso"];

/// Time of what the run itself touches.
pub const NOW: i64 = 1_000_000;

/// One object: an inode may stand under several paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub metadata: Metadata,
    /// Stands for the bytes, or a link's text.
    pub content: u8,
}

/// A tree with its root, which is the empty path.
#[derive(Clone)]
pub struct Tree {
    pub objects: BTreeMap<RelPath, Object>,
    pub device: u64,
    pub next_inode: u64,
}

impl fmt::Debug for Tree {
    /// One line an object: a failing case is read by people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, Object { metadata, content }) in &self.objects {
            let Metadata { kind, ino, links, attributes, .. } = metadata;
            let (time, mode) = (attributes.mtime.seconds, attributes.mode);
            writeln!(f, "  {path}: {kind:?} {content}, time {time}, mode {mode:o}, inode {ino} of {links}")?;
        }
        Ok(())
    }
}

/// One object to put into a random tree, over whatever is there.
#[derive(Clone, Debug)]
pub struct Planting {
    path: Vec<usize>,
    what: What,
    content: u8,
    stamp: i64,
    mode: u32,
}

#[derive(Clone, Debug)]
enum What {
    Kind(EntryKind),
    /// Another name of an earlier file.
    Link(usize),
    /// A file that has another name outside the tree.
    LinkedOutside,
}

/// Whether times tell contents apart, as `compare` assumes without `checksum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    FollowContent,
    Independent,
}

pub fn plantings(max: usize) -> impl Strategy<Value = Vec<Planting>> {
    let kind = prop_oneof![
        8 => Just(What::Kind(EntryKind::File)),
        4 => Just(What::Kind(EntryKind::Directory)),
        2 => Just(What::Kind(EntryKind::Symlink)),
        1 => Just(What::Kind(EntryKind::Fifo)),
        1 => Just(What::Kind(EntryKind::Socket)),
        1 => Just(What::Kind(EntryKind::CharDevice)),
        4 => (0..8_usize).prop_map(What::Link),
        1 => Just(What::LinkedOutside),
    ];
    let path = prop::collection::vec(0..NAMES.len(), 1..4);
    let mode = prop_oneof![3 => Just(0o644_u32), 1 => Just(0o600)];
    let planting = (path, kind, 0..4_u8, 0..3_i64, mode)
        .prop_map(|(path, what, content, stamp, mode)| Planting { path, what, content, stamp, mode });
    prop::collection::vec(planting, 0..max)
}

impl Tree {
    /// An empty one.
    pub fn new(device: u64) -> Self {
        let mut tree = Self { objects: BTreeMap::new(), device, next_inode: 1 };
        let root = tree.fresh(EntryKind::Directory, 0, 7, 0o755);
        tree.objects.insert(RelPath::root(), root);
        tree
    }

    pub fn build(device: u64, plantings: &[&[Planting]], times: Times) -> Self {
        let mut tree = Self::new(device);
        let mut outside = BTreeSet::new();
        plantings.concat().iter().for_each(|planting| tree.plant(planting, times, &mut outside));
        tree.count_links(&outside);
        tree
    }

    /// Files from lines of path, content, and mode where it is not 644.
    pub fn scripted(device: u64, script: &str) -> Self {
        let mut tree = Self::new(device);
        for line in script.lines() {
            let mut words = line.split(' ');
            let text = words.next().expect("a path");
            let content = words.next().map_or(0, |word| word.parse().expect("a number"));
            let mode = words.next().map_or(0o644, |word| u32::from_str_radix(word, 8).expect("octal"));
            let file = tree.fresh(EntryKind::File, content, 100 + i64::from(content), mode);
            let mut above = path(text).parent().expect("not the root");
            while !above.is_root() {
                let directory = tree.fresh(EntryKind::Directory, 0, 5, 0o755);
                tree.objects.entry(above.clone()).or_insert(directory);
                above = above.parent().expect("not the root");
            }
            tree.objects.insert(path(text), file);
        }
        tree
    }

    fn plant(&mut self, planting: &Planting, times: Times, outside: &mut BTreeSet<u64>) {
        let text = planting.path.iter().map(|&name| NAMES[name]).collect::<Vec<_>>().join("/");
        let path = path(&text);
        let is_file = matches!(planting.what, What::Kind(EntryKind::File) | What::LinkedOutside);
        let stamp = match times {
            // A link's text is never compared by itself.
            Times::Independent if is_file => 100 + planting.stamp,
            _ => 100 + i64::from(planting.content),
        };
        let object = match planting.what {
            What::Kind(kind) => self.fresh(kind, planting.content, stamp, planting.mode),
            What::Link(at) => {
                let files: Vec<_> =
                    self.objects.values().filter(|object| object.metadata.is_file()).collect();
                match files.get(at % files.len().max(1)) {
                    Some(file) => (*file).clone(),
                    None => return,
                }
            }
            What::LinkedOutside => {
                let object = self.fresh(EntryKind::File, planting.content, stamp, planting.mode);
                outside.insert(object.metadata.ino);
                object
            }
        };
        for depth in 1..planting.path.len() {
            let parent: Vec<_> = path.components().take(depth).collect();
            let parent = RelPath::new(parent.join(&b'/')).expect("made of plain names");
            if !self.is_directory(&parent) {
                self.remove_below(&parent);
                let directory = self.fresh(EntryKind::Directory, 0, 5, 0o755);
                self.objects.insert(parent, directory);
            }
        }
        let keeps = object.metadata.is_directory() && self.is_directory(&path);
        if !keeps {
            self.remove_below(&path);
        }
        self.objects.insert(path, object);
    }

    fn fresh(&mut self, kind: EntryKind, content: u8, stamp: i64, mode: u32) -> Object {
        let mode = if kind == EntryKind::Symlink { 0o777 } else { mode };
        self.next_inode += 1;
        let size = match (kind, content) {
            // A large file, which is a step of its own.
            (EntryKind::File, 3) => 9 << 20,
            (EntryKind::File | EntryKind::Symlink, _) => u64::from(content % 2) + 4,
            _ => 0,
        };
        let mtime = Timestamp { seconds: stamp, nanos: 0 };
        let attributes = Attributes { mode, uid: 0, gid: 0, mtime };
        let metadata = Metadata {
            kind,
            size,
            allocated: size,
            attributes,
            ctime: mtime,
            dev: self.device,
            ino: self.next_inode,
            links: 1,
            rdev: u64::from(kind == EntryKind::CharDevice) * (1 + u64::from(content % 2)),
        };
        let has_content = matches!(kind, EntryKind::File | EntryKind::Symlink);
        Object { metadata, content: if has_content { content } else { 0 } }
    }

    pub fn make_directory(&mut self, mode: u32) -> Object {
        self.fresh(EntryKind::Directory, 0, NOW, mode)
    }

    fn count_links(&mut self, outside: &BTreeSet<u64>) {
        let mut links: BTreeMap<u64, u32> = BTreeMap::new();
        for object in self.objects.values() {
            *links.entry(object.metadata.ino).or_default() += 1;
        }
        for object in self.objects.values_mut() {
            let inode = object.metadata.ino;
            object.metadata.links = links[&inode] + u32::from(outside.contains(&inode));
        }
    }

    /// As a scan would find them now.
    pub fn recount_links(&mut self) {
        self.count_links(&BTreeSet::new());
    }

    pub fn has_sockets(&self) -> bool {
        self.objects.values().any(|object| object.metadata.kind == EntryKind::Socket)
    }

    pub fn is_directory(&self, path: &RelPath) -> bool {
        self.objects.get(path).is_some_and(|object| object.metadata.is_directory())
    }

    /// Paths of what is directly in a directory.
    pub fn children(&self, directory: &RelPath) -> Vec<RelPath> {
        self.objects.keys().filter(|path| path.parent().as_ref() == Some(directory)).cloned().collect()
    }

    pub fn remove_below(&mut self, path: &RelPath) {
        self.objects.retain(|other, _| !other.starts_with(path));
    }

    /// A walk, in which the directories `failing` cannot be read.
    pub fn scan<'t>(&'t self, filter: &'t dyn PathFilter, failing: &BTreeSet<RelPath>) -> MemoryScan {
        let mut listings = VecDeque::new();
        let mut hidden: Vec<&RelPath> = Vec::new();
        for (path, object) in &self.objects {
            let is_hidden = hidden.iter().any(|above| path.starts_with(above));
            if is_hidden || filter.excludes(path, object.metadata.is_directory()) && !path.is_root() {
                hidden.push(path);
                continue;
            }
            if object.metadata.is_directory() {
                listings.push_back(Listing::new(path.clone()));
            }
            if let Some(parent) = path.parent() {
                let listing = listings.iter_mut().rev().find(|listing| listing.path == parent);
                let name = path.name().expect("it has a parent");
                listing.expect("parents come first").push(name, object.metadata);
            }
        }
        listings.iter_mut().for_each(Listing::sort);
        MemoryScan { listings, failing: failing.clone(), last: None }
    }
}

/// Valid by construction.
pub fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("tests use valid paths")
}

/// A walk of a [`Tree`]. Holds its caller to the contract of [`Scan::prune`].
pub struct MemoryScan {
    listings: VecDeque<Listing>,
    failing: BTreeSet<RelPath>,
    last: Option<RelPath>,
}

impl MemoryScan {
    /// Another file system begins at `path`: the walk stops there.
    pub fn stop_at(&mut self, path: &RelPath) {
        self.listings.retain(|below| !below.path.starts_with(path) || below.path == *path);
        for listing in self.listings.iter_mut().filter(|listing| listing.path == *path) {
            *listing = Listing::new(path.clone());
            listing.is_boundary = true;
        }
    }
}

impl Scan for MemoryScan {
    fn next(&mut self) -> Option<Result<Listing, ScanFault>> {
        let listing = self.listings.pop_front()?;
        let path = listing.path.clone();
        self.last = Some(path.clone());
        if self.failing.contains(&path) {
            self.listings.retain(|below| !below.path.starts_with(&path));
            let source = io::ErrorKind::PermissionDenied.into();
            let error = SystemError::Io { operation: "read".into(), path: path.clone(), source };
            return Some(Err(ScanFault { path, error }));
        }
        Some(Ok(listing))
    }

    fn prune(&mut self, directory: &RelPath) {
        assert_eq!(directory.parent(), self.last, "only children of the last listing may be pruned");
        self.listings.retain(|below| !below.path.starts_with(directory));
    }
}

/// Leaves out every `skip`, and directories called `b`.
pub struct SkipFilter;

impl PathFilter for SkipFilter {
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool {
        path.name() == Some(b"skip") || (is_directory && path.name() == Some(b"b"))
    }
}
