//! [`Entry`]: what a scan says of one name, and [`Listing`]: what it says of one directory.

use crate::rel_path::RelPath;
use serde::{Deserialize, Serialize};

/// A point in time as file systems store it: seconds since 1970 (negative before) and nanoseconds `0..1e9`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(i64, u32)", into = "(i64, u32)")]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl From<(i64, u32)> for Timestamp {
    fn from((seconds, nanos): (i64, u32)) -> Self {
        Self { seconds, nanos }
    }
}

impl From<Timestamp> for (i64, u32) {
    fn from(time: Timestamp) -> Self {
        (time.seconds, time.nanos)
    }
}

impl Timestamp {
    /// Nanoseconds since 1970, for arithmetic; spans ±292 years in `i64`, everything in `i128`.
    pub const fn as_nanos(self) -> i128 {
        self.seconds as i128 * 1_000_000_000 + self.nanos as i128
    }
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum EntryKind {
    /// A regular file.
    File = 0,
    /// A directory.
    Directory = 1,
    /// A symbolic link; it is never followed.
    Symlink = 2,
    /// A named pipe.
    Fifo = 3,
    /// A socket.
    Socket = 4,
    /// A character device.
    CharDevice = 5,
    /// A block device.
    BlockDevice = 6,
}

/// A stored kind that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry kind {0} is unknown")]
pub struct UnknownKind(u8);

impl EntryKind {
    /// For people, with an article: "a directory".
    pub const fn noun(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::Socket => "a socket",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
        }
    }
}

impl TryFrom<u8> for EntryKind {
    type Error = UnknownKind;

    fn try_from(number: u8) -> Result<Self, UnknownKind> {
        use EntryKind::{BlockDevice, CharDevice, Directory, Fifo, File, Socket, Symlink};
        let all = [File, Directory, Symlink, Fifo, Socket, CharDevice, BlockDevice];
        all.get(usize::from(number)).copied().ok_or(UnknownKind(number))
    }
}

impl From<EntryKind> for u8 {
    fn from(kind: EntryKind) -> Self {
        kind as Self
    }
}

/// Permission bits, owner and modification time: what is set on a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits with set-id and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
}

/// One name's metadata, without the name. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "MetadataRow", into = "MetadataRow")]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Length in bytes (of a symbolic link: of its text).
    pub size: u64,
    /// Bytes allocated on disk; less than `size` where the file has holes.
    pub allocated: u64,
    /// What a copy is given.
    pub attributes: Attributes,
    /// Change time: moves with every change of content or metadata and cannot be set.
    pub ctime: Timestamp,
    /// File system it lives on.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Names the inode has.
    pub links: u32,
    /// Device number of a device node.
    pub rdev: u64,
}

/// [`Metadata`] as it is stored: positions instead of field names, a third of the bytes.
type MetadataRow = (EntryKind, u64, u64, (u32, u32, u32), Timestamp, Timestamp, (u64, u64), u32, u64);

impl From<MetadataRow> for Metadata {
    fn from(row: MetadataRow) -> Self {
        let (kind, size, allocated, (mode, uid, gid), mtime, ctime, (dev, ino), links, rdev) = row;
        let attributes = Attributes { mode, uid, gid, mtime };
        Self { kind, size, allocated, attributes, ctime, dev, ino, links, rdev }
    }
}

impl From<Metadata> for MetadataRow {
    fn from(m: Metadata) -> Self {
        let a = m.attributes;
        let owner = (a.mode, a.uid, a.gid);
        (m.kind, m.size, m.allocated, owner, a.mtime, m.ctime, (m.dev, m.ino), m.links, m.rdev)
    }
}

impl Metadata {
    /// Whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, EntryKind::Directory)
    }

    /// Whether it is a regular file.
    pub const fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File)
    }

    /// What pins this version of the file.
    pub const fn identity(&self) -> FileIdentity {
        FileIdentity {
            dev: self.dev,
            ino: self.ino,
            size: self.size,
            mtime: self.attributes.mtime,
            ctime: self.ctime,
        }
    }
}

/// One version of one file on one machine: any write moves at least one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// File system.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Timestamp,
    /// Change time.
    pub ctime: Timestamp,
}

/// One row of a [`Listing`]: metadata and where its name lies.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name_start: u32,
    name_len: u16,
    /// The metadata.
    pub metadata: Metadata,
}

/// One directory's entries, sorted by name bytes. Names share one buffer: a listing of a million names costs two
/// allocations.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The directory.
    pub path: RelPath,
    /// The walk stopped here (another file system begins): the listing is empty and says nothing of what is below.
    pub is_boundary: bool,
    names: Vec<u8>,
    entries: Vec<Entry>,
}

impl Listing {
    /// An empty listing of `path`.
    pub fn new(path: RelPath) -> Self {
        Self { path, is_boundary: false, names: Vec::new(), entries: Vec::new() }
    }

    /// Makes room for so many more entries, with so many bytes of names in all.
    pub fn reserve(&mut self, entries: usize, name_bytes: usize) {
        self.entries.reserve(entries);
        self.names.reserve(name_bytes);
    }

    /// Appends an entry; call [`sort`](Self::sort) when all are in.
    ///
    /// # Panics
    /// If the names of one directory exceed 4 GiB or one name 64 KiB (no file system allows either).
    pub fn push(&mut self, name: &[u8], metadata: Metadata) {
        let name_start = u32::try_from(self.names.len()).expect("names of one directory fit in 4 GiB");
        let name_len = u16::try_from(name.len()).expect("a name fits in 64 KiB");
        self.names.extend_from_slice(name);
        self.entries.push(Entry { name_start, name_len, metadata });
    }

    /// Sorts by name bytes.
    pub fn sort(&mut self) {
        let names = &self.names;
        let key = |e: &Entry| &names[e.name_start as usize..e.name_start as usize + usize::from(e.name_len)];
        self.entries.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    }

    /// The name of an entry of this listing.
    pub fn name(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.name_start as usize..][..usize::from(entry.name_len)]
    }

    /// The rows, sorted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Rows with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Metadata)> {
        self.entries.iter().map(|e| (self.name(e), &e.metadata))
    }

    /// Keeps the rows for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &Metadata) -> bool) {
        let names = &self.names;
        self.entries
            .retain(|e| keep(&names[e.name_start as usize..][..usize::from(e.name_len)], &e.metadata));
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
