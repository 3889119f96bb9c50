//! [`Snapshot`]: a picture of a tree, and how two of them differ.

use crate::content::{Content, KnownContents};
use rustix::fs::{Mode, OFlags, openat};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest piece of a path handed to one system call.
const SEGMENT_BYTES_MAX: usize = 3_500;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File(Content),
    /// A directory.
    Directory,
    /// A symbolic link and its text.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device node: whether it is a block device, and its number.
    Device(bool, u64),
}

/// Extended attributes by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is, with its content.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Extended attributes, access control lists among them.
    pub xattrs: Xattrs,
    /// Change time.
    pub ctime: (i64, i64),
    /// File system and inode.
    pub inode: (u64, u64),
    /// Names of the inode, inside the tree or not.
    pub links: u64,
    /// Whether clearly fewer bytes are allocated than its length says.
    pub sparse: bool,
}

impl Seen {
    /// Whether both are the same object for whoever reads them: content and every attribute that is kept.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.kind == other.kind && self.attributes() == other.attributes()
    }

    /// What is kept beside the content.
    pub fn attributes(&self) -> (Option<u32>, u32, u32, (i64, i64), &Xattrs) {
        let mode = (!matches!(self.kind, Kind::Symlink(_))).then_some(self.mode);
        (mode, self.uid, self.gid, self.mtime, &self.xattrs)
    }

    /// Whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    fn take(path: &Path, known: &mut KnownContents) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let kind = metadata.file_type();
        let kind = if kind.is_file() {
            Kind::File(known.of(path, &metadata))
        } else if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            Kind::Symlink(fs::read_link(path).expect("reads a link").into_os_string().into_vec())
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_socket() {
            Kind::Socket
        } else {
            Kind::Device(kind.is_block_device(), metadata.rdev())
        };
        Some(Self {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            xattrs: xattrs(path),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
            links: metadata.nlink(),
            sparse: metadata.blocks() * 512 + (64 << 10) < metadata.len(),
        })
    }
}

/// Extended attributes of what is at `path`, but the label that a security module gives everything.
///
/// # Panics
/// If they change while they are read.
pub fn xattrs(path: &Path) -> Xattrs {
    let mut names = vec![0; 64 << 10];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return Xattrs::new() };
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("a listed attribute is there");
        value.truncate(len);
        value
    };
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.filter(|name| *name != b"security.selinux").map(|name| (name.to_vec(), value(name))).collect()
}

/// A picture of a tree. Keys are paths below its root; the root itself is the empty path.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is there.
    pub entries: BTreeMap<Vec<u8>, Seen>,
}

impl Snapshot {
    /// Takes a picture of everything at and below `root`, however deep; it may also be a single file. A root that is
    /// missing gives an empty picture.
    pub fn take(root: &Path) -> Self {
        Self::take_knowing(root, &mut KnownContents::default())
    }

    /// The same, reading only files that are not in `known` yet.
    ///
    /// # Panics
    /// If a directory cannot be read.
    pub fn take_knowing(root: &Path, known: &mut KnownContents) -> Self {
        let mut snapshot = Self::default();
        let Some(top) = Seen::take(root, known) else { return snapshot };
        let mut waiting = if top.is_directory() { vec![Vec::new()] } else { Vec::new() };
        snapshot.entries.insert(Vec::new(), top);
        while let Some(directory) = waiting.pop() {
            let handle = open_directory(root, &directory);
            let here = path_of(&handle);
            for entry in fs::read_dir(&here).expect("reads a directory") {
                let name = entry.expect("reads a directory").file_name();
                let Some(seen) = Seen::take(&here.join(&name), known) else { continue };
                let path = join(&directory, name.as_bytes());
                if seen.is_directory() {
                    waiting.push(path.clone());
                }
                snapshot.entries.insert(path, seen);
            }
        }
        snapshot
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Seen> {
        self.entries.get(path.as_bytes())
    }

    /// The same picture without `path` and what is below it.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/").into_bytes();
        self.entries.retain(|key, _| key != path.as_bytes() && !key.starts_with(&below));
        self
    }

    /// What a copy of this tree holds: everything but sockets.
    #[must_use]
    pub fn as_copied(mut self) -> Self {
        self.entries.retain(|_, seen| seen.kind != Kind::Socket);
        self
    }

    /// Paths of files that are one inode, by each of them: the first name stands for the group.
    fn link_groups(&self) -> HashMap<&[u8], &[u8]> {
        let mut first = HashMap::new();
        let mut groups = HashMap::new();
        for (path, seen) in self.entries.iter().filter(|(_, s)| s.links > 1 && !s.is_directory()) {
            groups.insert(path.as_slice(), *first.entry(seen.inode).or_insert(path.as_slice()));
        }
        groups
    }

    /// How a copy differs from this original, one line a difference.
    pub fn differences(&self, copy: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let (links, copied_links) = (self.link_groups(), copy.link_groups());
        for (path, seen) in &self.entries {
            let Some(copied) = copy.entries.get(path) else {
                lines.push(format!("{}: missing", shown(path)));
                continue;
            };
            lines.extend(difference(seen, copied).map(|what| format!("{}: {what}", shown(path))));
            let group =
                |of: &HashMap<&[u8], &[u8]>| of.get(path.as_slice()).map_or(path.clone(), |p| p.to_vec());
            if group(&links) != group(&copied_links) {
                lines.push(format!("{}: hard links differ", shown(path)));
            }
        }
        let surplus = copy.entries.keys().filter(|path| !self.entries.contains_key(*path));
        lines.extend(surplus.map(|path| format!("{}: should not be there", shown(path))));
        lines
    }

    /// How a tree that nobody should have touched was touched: contents and attributes, and inodes and change times.
    pub fn touches(&self, now: &Self) -> Vec<String> {
        let mut lines = self.differences(now);
        for (path, seen) in &self.entries {
            let Some(after) = now.entries.get(path) else { continue };
            if after.inode != seen.inode {
                lines.push(format!("{}: is another inode", shown(path)));
            } else if after.ctime != seen.ctime {
                lines.push(format!(
                    "{}: changed at {:?}, before at {:?}",
                    shown(path),
                    after.ctime,
                    seen.ctime
                ));
            }
        }
        lines
    }
}

fn difference(seen: &Seen, copied: &Seen) -> Option<String> {
    if seen.kind != copied.kind {
        return Some(format!("{:?} became {:?}", seen.kind, copied.kind));
    }
    if seen.attributes() != copied.attributes() {
        return Some(format!("{} became {}", attributes_shown(seen), attributes_shown(copied)));
    }
    (seen.sparse && !copied.sparse).then(|| "lost its holes".to_owned())
}

fn attributes_shown(seen: &Seen) -> String {
    let xattrs: Vec<String> =
        seen.xattrs.iter().map(|(name, value)| format!("{}={}", shown(name), shown(value))).collect();
    let Seen { mode, uid, gid, mtime, .. } = seen;
    format!("{mode:o} {uid}:{gid} {mtime:?} [{}]", xattrs.join(" "))
}

/// A path for people.
pub fn shown(path: &[u8]) -> String {
    let text = path.escape_ascii().to_string();
    if text.len() > 200 { format!("{}… ({} bytes)", &text[..200], path.len()) } else { format!("`{text}`") }
}

/// Panics unless `destination` is what a full copy of `source` is, with nothing beside it.
#[track_caller]
pub fn assert_same_tree(source: &Path, destination: &Path) {
    assert_same(
        &Snapshot::take(source).as_copied(),
        &Snapshot::take(destination),
        "the copy is not the original",
    );
}

/// Panics unless `copy` is what `original` is.
#[track_caller]
pub fn assert_same(original: &Snapshot, copy: &Snapshot, what: &str) {
    assert_none(&original.differences(copy), what);
}

/// Panics if the tree at `path` was touched since `before`.
#[track_caller]
pub fn assert_untouched(before: &Snapshot, path: &Path) {
    let what = format!("{} was touched", path.display());
    assert_none(&before.touches(&Snapshot::take(path)), &what);
}

/// Panics with the first lines, if there are any.
#[track_caller]
pub fn assert_none(lines: &[String], what: &str) {
    let head: Vec<&str> = lines.iter().take(20).map(String::as_str).collect();
    assert!(lines.is_empty(), "{what}; {} differences:\n  {}", lines.len(), head.join("\n  "));
}

/// Opens a directory below `root`, in pieces that fit into one call each.
///
/// # Panics
/// If it cannot be opened.
pub fn open_directory(root: &Path, mut path: &[u8]) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut reached = openat(rustix::fs::CWD, root, flags, Mode::empty()).expect("opens the root");
    while !path.is_empty() {
        let end = if path.len() <= SEGMENT_BYTES_MAX {
            path.len()
        } else {
            let window = &path[..SEGMENT_BYTES_MAX];
            window.iter().rposition(|&byte| byte == b'/').expect("names are shorter than a piece")
        };
        reached = openat(reached.as_fd(), &path[..end], flags, Mode::empty()).expect("opens a directory");
        path = path.get(end + 1..).unwrap_or_default();
    }
    reached
}

/// A path that leads to an open directory.
pub fn path_of(handle: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// Bytes as a file name.
pub fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
