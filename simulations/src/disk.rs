//! [`Disk`]: a file system in memory that keeps apart what was done and what is durable.

mod cut;
pub mod state;

use crate::machine::{Effect, Machine};
use crate::random::Random;
use orbit_core::{Attributes, EntryKind, Metadata, RelPath, Timestamp};
use state::{Body, Inode, Node, Op, Spot, State};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// One byte of the model stands for so many real ones in every size, so that a small tree meets the limits for large
/// files, steps and groups.
pub const SCALE: u64 = 4 << 20;

/// Whether a rename may displace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displace {
    /// It fails if something is there.
    Nothing,
    /// What is there (not a directory) goes.
    File,
}

/// A file system.
#[derive(Debug)]
pub struct Disk {
    inner: Mutex<Inner>,
    machine: Arc<Machine>,
    /// Device number, and its letter in the log.
    device: u64,
}

#[derive(Debug)]
struct Inner {
    now: State,
    durable: State,
    /// What is done and not yet durable, in order.
    pending: Vec<Written>,
    /// Bytes that a failed flush lost: processes still read them, but no later flush brings them to the disk, unless they
    /// are written again.
    lost: BTreeMap<Inode, BTreeSet<usize>>,
    next_inode: Inode,
}

/// An operation and when it was done.
#[derive(Clone, Debug)]
struct Written {
    op: Op,
    time: i64,
}

impl Inner {
    fn write(&mut self, op: Op, time: i64) {
        if let Op::Write(inode, offset, bytes) = &op
            && let Some(lost) = self.lost.get_mut(inode)
        {
            lost.retain(|at| !(*offset..offset + bytes.len()).contains(at));
        }
        self.now.apply(&op, time);
        self.pending.push(Written { op, time });
    }

    /// What a flush makes durable.
    fn on_disk_soon(&self) -> State {
        let mut state = self.now.clone();
        for (inode, lost) in &self.lost {
            if let Some(Node { body: Body::File(data), .. }) = state.nodes.get_mut(inode) {
                for &at in lost.iter().filter(|&&at| at < data.len()).collect::<Vec<_>>() {
                    data[at] = 0;
                }
            }
        }
        state
    }

    fn lose_some(&mut self, random: &Random) {
        let lost = self.pending.extract_if(.., |written| written.op.data_of().is_some() && random.one_in(2));
        for written in lost {
            if let Op::Write(inode, offset, bytes) = written.op {
                self.lost.entry(inode).or_default().extend(offset..offset + bytes.len());
            }
        }
    }

    fn spot(&self, path: &RelPath) -> io::Result<Spot> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.now.find(&parent).ok_or(io::ErrorKind::NotFound)?;
        self.now.names(directory).ok_or(io::ErrorKind::NotADirectory)?;
        Ok((directory, path.name().expect("it has a parent").to_vec()))
    }

    fn inode(&self, path: &RelPath) -> io::Result<Inode> {
        self.now.find(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk {
    /// A disk that holds `state`, durable.
    pub fn new(machine: Arc<Machine>, device: u64, state: State) -> Self {
        let next_inode = state.nodes.keys().max().expect("there is a root") + 1;
        let inner = Inner {
            now: state.clone(),
            durable: state,
            pending: Vec::new(),
            lost: BTreeMap::new(),
            next_inode,
        };
        Self { inner: Mutex::new(inner), machine, device }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a model does not panic")
    }

    /// The machine it is in.
    pub const fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// What processes see.
    pub fn now(&self) -> State {
        self.inner().now.clone()
    }

    /// What no power cut can take.
    pub fn durable(&self) -> State {
        self.inner().durable.clone()
    }

    /// What a power cut might leave now.
    pub fn after_cut(&self, random: &Random) -> State {
        self.inner().after_cut(random)
    }

    /// The power fails and comes back.
    pub fn cut(&self, random: &Random) {
        let mut inner = self.inner();
        let state = inner.after_cut(random);
        inner.now = state.clone();
        inner.durable = state;
        inner.pending.clear();
        inner.lost.clear();
    }

    /// A process ended: what it had open without a name is gone.
    pub fn collect(&self) {
        let mut inner = self.inner();
        inner.now.collect();
        let live = inner.now.clone();
        inner
            .pending
            .retain(|written| written.op.data_of().is_none_or(|file| live.nodes.contains_key(&file)));
    }

    /// Changes the disk behind everybody's back, durable at once.
    pub fn edit(&self, edit: impl FnOnce(&mut State, i64, Inode)) {
        let time = self.machine.tick();
        let mut inner = self.inner();
        let inode = inner.next_inode;
        edit(&mut inner.now, time, inode);
        let last = *inner.now.nodes.keys().max().expect("there is a root");
        inner.next_inode = last.max(inode) + 1;
        inner.durable = inner.now.clone();
    }

    fn call(&self, name: &str, path: &RelPath, effect: Effect) -> io::Result<MutexGuard<'_, Inner>> {
        let letter = if self.device == 1 { "s" } else { "d" };
        self.machine.call(name, &format_args!("{letter}:{path}"), effect)?;
        Ok(self.inner())
    }

    /// Metadata of a path.
    pub fn stat(&self, path: &RelPath) -> io::Result<Metadata> {
        let inner = self.call("stat", path, Effect::Reads)?;
        let inode = inner.inode(path)?;
        Ok(self.metadata_of(&inner.now, inode))
    }

    /// Metadata of an open file.
    pub fn stat_open(&self, inode: Inode, path: &RelPath) -> io::Result<Metadata> {
        let inner = self.call("fstat", path, Effect::Reads)?;
        Ok(self.metadata_of(&inner.now, inode))
    }

    fn metadata_of(&self, state: &State, inode: Inode) -> Metadata {
        let node = &state.nodes[&inode];
        let (kind, size) = match &node.body {
            Body::File(data) => (EntryKind::File, data.len() as u64 * SCALE),
            Body::Symlink(text) => (EntryKind::Symlink, text.len() as u64),
            Body::Directory(_) => (EntryKind::Directory, 0),
        };
        let time = |seconds| Timestamp { seconds, nanos: 0 };
        Metadata {
            kind,
            size,
            allocated: size,
            attributes: Attributes { mode: node.mode, uid: 0, gid: 0, mtime: time(node.mtime) },
            ctime: time(node.ctime),
            dev: self.device,
            ino: inode,
            links: state.links(inode),
            rdev: 0,
        }
    }

    /// Names and metadata in a directory.
    pub fn list(&self, path: &RelPath) -> io::Result<Vec<(Vec<u8>, Metadata)>> {
        let inner = self.call("list", path, Effect::Reads)?;
        let names = inner.now.names(inner.inode(path)?).ok_or(io::ErrorKind::NotADirectory)?;
        Ok(names.iter().map(|(name, &inode)| (name.clone(), self.metadata_of(&inner.now, inode))).collect())
    }

    /// Opens a regular file.
    pub fn open(&self, path: &RelPath) -> io::Result<Inode> {
        let inner = self.call("open", path, Effect::Reads)?;
        let inode = inner.inode(path)?;
        match inner.now.nodes[&inode].body {
            Body::File(_) => Ok(inode),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Reads from an open file.
    pub fn read(&self, inode: Inode, path: &RelPath, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.call("read", path, Effect::Reads)?;
        let Body::File(data) = &inner.now.nodes[&inode].body else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let rest = data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    /// Text of a symbolic link.
    pub fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        let inner = self.call("readlink", path, Effect::Reads)?;
        match &inner.now.nodes[&inner.inode(path)?].body {
            Body::Symlink(text) => Ok(text.clone()),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Makes a new object under a free name.
    pub fn make(&self, path: &RelPath, body: Body, mode: u32) -> io::Result<Inode> {
        let mut inner = self.call("make", path, Effect::Writes)?;
        let spot = inner.spot(path)?;
        if inner.now.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (inode, time) = (inner.next_inode, self.machine.now());
        inner.next_inode += 1;
        inner.write(Op::Make(spot, inode, Node { body, mode, mtime: time, ctime: time }), time);
        Ok(inode)
    }

    /// Gives the file at `from` another, free name.
    pub fn link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let mut inner = self.call("link", to, Effect::Writes)?;
        let (inode, spot) = (inner.inode(from)?, inner.spot(to)?);
        if inner.now.find(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.write(Op::Link(spot, inode), self.machine.now());
        Ok(())
    }

    /// Writes to an open file.
    pub fn write(&self, inode: Inode, path: &RelPath, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.call("write", path, Effect::Writes)?;
        inner.write(Op::Write(inode, offset as usize, bytes.to_vec()), self.machine.now());
        Ok(())
    }

    /// Sets an open file's length.
    pub fn set_len(&self, inode: Inode, path: &RelPath, len: u64) -> io::Result<()> {
        let mut inner = self.call("truncate", path, Effect::Writes)?;
        inner.write(Op::Length(inode, len as usize), self.machine.now());
        Ok(())
    }

    /// Removes a file's name.
    pub fn unlink(&self, path: &RelPath) -> io::Result<()> {
        let mut inner = self.call("unlink", path, Effect::Writes)?;
        if inner.now.names(inner.inode(path)?).is_some() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let spot = inner.spot(path)?;
        inner.write(Op::Unlink(spot), self.machine.now());
        Ok(())
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, path: &RelPath) -> io::Result<()> {
        let mut inner = self.call("rmdir", path, Effect::Writes)?;
        let names = inner.now.names(inner.inode(path)?).ok_or(io::ErrorKind::NotADirectory)?;
        if !names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let spot = inner.spot(path)?;
        inner.write(Op::Unlink(spot), self.machine.now());
        Ok(())
    }

    /// Renames.
    pub fn rename(&self, from: &RelPath, to: &RelPath, displace: Displace) -> io::Result<()> {
        let mut inner = self.call("rename", to, Effect::Writes)?;
        inner.inode(from)?;
        let (from, spot) = (inner.spot(from)?, inner.spot(to)?);
        if let Some(there) = inner.now.find(to) {
            if displace == Displace::Nothing {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if inner.now.names(there).is_some() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
        }
        inner.write(Op::Rename(from, spot), self.machine.now());
        Ok(())
    }

    /// Has two names change places.
    pub fn exchange(&self, a: &RelPath, b: &RelPath) -> io::Result<()> {
        let mut inner = self.call("exchange", b, Effect::Writes)?;
        inner.inode(a)?;
        inner.inode(b)?;
        let (a, b) = (inner.spot(a)?, inner.spot(b)?);
        inner.write(Op::Exchange(a, b), self.machine.now());
        Ok(())
    }

    /// Sets permission bits.
    pub fn set_mode(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let mut inner = self.call("chmod", path, Effect::Writes)?;
        let inode = inner.inode(path)?;
        inner.write(Op::Mode(inode, mode), self.machine.now());
        Ok(())
    }

    /// Sets the modification time.
    pub fn set_time(&self, path: &RelPath, mtime: i64) -> io::Result<()> {
        let mut inner = self.call("utimes", path, Effect::Writes)?;
        let inode = inner.inode(path)?;
        inner.write(Op::Time(inode, mtime), self.machine.now());
        Ok(())
    }

    /// Makes one file's bytes durable, not its name. It fails if some of them were lost before, as Linux does since 4.13.
    pub fn sync_file(&self, inode: Inode, path: &RelPath) -> io::Result<()> {
        let mut inner = self.call("fdatasync", path, Effect::Flushes)?;
        if inner.lost.get(&inode).is_some_and(|lost| !lost.is_empty()) {
            return Err(io::Error::other("input/output error"));
        }
        let body = inner.on_disk_soon().nodes[&inode].body.clone();
        inner.pending.retain(|written| written.op.data_of() != Some(inode));
        if let Some(node) = inner.durable.nodes.get_mut(&inode) {
            node.body = body;
            return Ok(());
        }
        // Its inode is not on the disk yet: it goes there with these bytes, and waits for its name.
        for written in &mut inner.pending {
            match &mut written.op {
                Op::Make(_, made, node) if *made == inode => node.body = body.clone(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes everything durable. When it fails, some bytes may be marked as written that are not.
    pub fn flush(&self, random: &Random) -> io::Result<()> {
        match self.call("syncfs", &RelPath::root(), Effect::Flushes) {
            Ok(mut inner) => {
                inner.durable = inner.on_disk_soon();
                inner.pending.clear();
                Ok(())
            }
            Err(error) => {
                if !self.machine.is_dead() {
                    self.inner().lose_some(random);
                }
                Err(error)
            }
        }
    }
}
