//! [`State`]: a file system at one moment, and [`Op`]: the least thing that changes it.

use orbit_core::RelPath;
use std::collections::BTreeMap;

/// Number of an inode; the root directory is [`ROOT`].
pub type Inode = u64;

/// The root directory.
pub const ROOT: Inode = 1;

/// What an inode holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// Bytes. One stands for [`SCALE`](super::SCALE) real ones.
    File(Vec<u8>),
    /// A symbolic link's text.
    Symlink(Vec<u8>),
    /// Names.
    Directory(BTreeMap<Vec<u8>, Inode>),
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub body: Body,
    /// Permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: i64,
    /// Change time.
    pub ctime: i64,
}

/// A name in a directory.
pub type Spot = (Inode, Vec<u8>);

/// The least changes. Each happens wholly or not at all, even when the power fails.
#[derive(Clone, Debug)]
pub enum Op {
    /// An inode comes to be, with a name.
    Make(Spot, Inode, Node),
    /// It gets another name.
    Link(Spot, Inode),
    /// A name goes.
    Unlink(Spot),
    /// A name moves, over what was there.
    Rename(Spot, Spot),
    /// Two names change places.
    Exchange(Spot, Spot),
    /// Bytes of a file at an offset.
    Write(Inode, usize, Vec<u8>),
    /// A file's length.
    Length(Inode, usize),
    /// Permission bits.
    Mode(Inode, u32),
    /// Modification time.
    Time(Inode, i64),
}

impl Op {
    /// The file whose bytes it changes.
    pub const fn data_of(&self) -> Option<Inode> {
        match self {
            Self::Write(inode, ..) | Self::Length(inode, _) => Some(*inode),
            _ => None,
        }
    }
}

/// A file system at one moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Inodes; those without a name may still be open.
    pub nodes: BTreeMap<Inode, Node>,
}

impl Default for State {
    fn default() -> Self {
        let root = Node { body: Body::Directory(BTreeMap::new()), mode: 0o755, mtime: 1, ctime: 1 };
        Self { nodes: BTreeMap::from([(ROOT, root)]) }
    }
}

impl State {
    /// The inode at a path, no link followed.
    pub fn find(&self, path: &RelPath) -> Option<Inode> {
        path.components().try_fold(ROOT, |at, name| self.names(at)?.get(name).copied())
    }

    /// What is at a path.
    pub fn node(&self, path: &RelPath) -> Option<&Node> {
        self.nodes.get(&self.find(path)?)
    }

    /// The names in a directory.
    pub fn names(&self, directory: Inode) -> Option<&BTreeMap<Vec<u8>, Inode>> {
        match &self.nodes.get(&directory)?.body {
            Body::Directory(names) => Some(names),
            _ => None,
        }
    }

    /// How many names an inode has.
    pub fn links(&self, inode: Inode) -> u32 {
        let directories = self.nodes.values().filter_map(|node| match &node.body {
            Body::Directory(names) => Some(names),
            _ => None,
        });
        directories.flat_map(BTreeMap::values).filter(|&&named| named == inode).count() as u32
    }

    /// Every path with its inode, the root left out.
    pub fn paths(&self) -> BTreeMap<RelPath, Inode> {
        let mut out = BTreeMap::new();
        let mut open = vec![(RelPath::root(), ROOT)];
        while let Some((path, inode)) = open.pop() {
            for (name, &child) in self.names(inode).into_iter().flatten() {
                let path = path.join(name).expect("names on the disk are plain");
                open.push((path.clone(), child));
                out.insert(path, child);
            }
        }
        out
    }

    /// Forgets inodes without a name.
    pub fn collect(&mut self) {
        let mut named: Vec<_> = self.paths().into_values().collect();
        named.push(ROOT);
        named.sort_unstable();
        self.nodes.retain(|inode, _| named.binary_search(inode).is_ok());
    }

    /// Does `op` as far as what it names is there: after a power cut, what came before it may be missing.
    pub fn apply(&mut self, op: &Op, time: i64) {
        match op {
            Op::Make(spot, inode, node) => {
                self.nodes.insert(*inode, node.clone());
                self.set_name(spot, Some(*inode), time);
            }
            Op::Link(spot, inode) => {
                if self.nodes.contains_key(inode) {
                    self.set_name(spot, Some(*inode), time);
                }
            }
            Op::Unlink(spot) => {
                self.set_name(spot, None, time);
            }
            Op::Rename(from, to) => {
                if self.names(to.0).is_some()
                    && let Some(inode) = self.set_name(from, None, time)
                {
                    self.set_name(to, Some(inode), time);
                }
            }
            Op::Exchange(a, b) => {
                let both = (self.named(a), self.named(b));
                if let (Some(at_a), Some(at_b)) = both {
                    self.set_name(a, Some(at_b), time);
                    self.set_name(b, Some(at_a), time);
                }
            }
            Op::Write(inode, offset, bytes) => self.change(*inode, time, |node| {
                if let Body::File(data) = &mut node.body {
                    data.resize(data.len().max(offset + bytes.len()), 0);
                    data[*offset..offset + bytes.len()].copy_from_slice(bytes);
                    node.mtime = time;
                }
            }),
            Op::Length(inode, len) => self.change(*inode, time, |node| {
                if let Body::File(data) = &mut node.body {
                    data.resize(*len, 0);
                    node.mtime = time;
                }
            }),
            Op::Mode(inode, mode) => self.change(*inode, time, |node| node.mode = *mode),
            Op::Time(inode, mtime) => self.change(*inode, time, |node| node.mtime = *mtime),
        }
    }

    fn named(&self, spot: &Spot) -> Option<Inode> {
        self.names(spot.0)?.get(&spot.1).copied()
    }

    fn change(&mut self, inode: Inode, time: i64, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            change(node);
            node.ctime = time;
        }
    }

    /// Sets or takes a name, and gives what it stood for. Directory and inodes feel it in their times.
    fn set_name(&mut self, spot: &Spot, inode: Option<Inode>, time: i64) -> Option<Inode> {
        let mut before = None;
        self.change(spot.0, time, |node| {
            if let Body::Directory(names) = &mut node.body {
                before = match inode {
                    Some(inode) => names.insert(spot.1.clone(), inode),
                    None => names.remove(&spot.1),
                };
                node.mtime = time;
            }
        });
        for touched in before.into_iter().chain(inode) {
            self.change(touched, time, |_| {});
        }
        before
    }
}
