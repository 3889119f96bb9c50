//! [`SimWriter`]: `OrbitWriter` over a [`Disk`], call by call like the real one.

mod area;
mod staged;

use crate::disk::state::Body;
use crate::disk::{Disk, Displace};
use crate::plant::Plant;
use crate::random::Random;
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::SystemError;
use orbit_core::writer::{
    AttributeChange, Disposal, Node, OrbitWriter, Outline, Place, StagedFile, StagedName,
};
use orbit_core::{EntryKind, Metadata, RelPath};
use staged::SimStagedFile;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a disk.
#[derive(Debug)]
pub struct SimWriter {
    disk: Arc<Disk>,
    area: RelPath,
    /// Begins the names of this run: no two runs may give the same.
    run: String,
    next: AtomicU64,
    plant: Option<Plant>,
    random: Random,
}

impl SimWriter {
    fn stage<T>(
        &self,
        place: Place<'_>,
        mut make: impl FnMut(&RelPath) -> io::Result<T>,
    ) -> Result<(StagedName, T), SystemError> {
        match place {
            Place::Inside(directory, name) => {
                let staged = directory.0.join(name).expect("the planner joined it before");
                let made = make(&staged).map_err(SystemError::io("write", &staged))?;
                Ok((StagedName(staged), made))
            }
            Place::Alone(path) => loop {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let name = format!("{}{number}", self.run);
                let staged = self.area.join(name.as_bytes()).expect("a plain name");
                match make(&staged) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    result => {
                        let made = result.map_err(SystemError::io("write", path))?;
                        return Ok((StagedName(staged), made));
                    }
                }
            },
        }
    }

    /// Makes the directories above `path` that are missing.
    fn reach_parent(&self, path: &RelPath) -> Result<(), SystemError> {
        let failed = |error| SystemError::io("create the directory of", path)(error);
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.disk.stat(&parent) {
            Ok(found) if found.is_directory() => return Ok(()),
            Ok(_) => return Err(SystemError::Escapes { path: path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        self.reach_parent(&parent)?;
        match self.disk.make(&parent, Body::Directory(BTreeMap::new()), 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Puts what is staged at `path`, if there is what was `expected`.
    fn put(&self, staged: &RelPath, path: &RelPath, expected: Option<&Metadata>) -> Result<(), SystemError> {
        let create = || match self.disk.rename(staged, path, Displace::Nothing) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(SystemError::Changed { path: path.clone() })
            }
            result => result.map_err(SystemError::io("create", path)),
        };
        let Some(expected) = expected else { return create() };
        let now = self.check(path, expected)?;
        if now.is_directory() {
            self.remove_directory(path)?;
            return create();
        }
        let incoming = self.disk.stat(staged).map_err(SystemError::io("look at", path))?;
        if incoming.is_directory() {
            let exchanged = self.disk.exchange(staged, path).and_then(|()| self.disk.unlink(staged));
            return exchanged.map_err(SystemError::io("replace", path));
        }
        self.disk.rename(staged, path, Displace::File).map_err(SystemError::io("replace", path))
    }

    fn check(&self, path: &RelPath, expected: &Metadata) -> Result<Metadata, SystemError> {
        match self.disk.stat(path) {
            Ok(now) if is_same_version(expected, &now) => Ok(now),
            Ok(_) => Err(SystemError::Changed { path: path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SystemError::Changed { path: path.clone() })
            }
            Err(error) => Err(SystemError::io("look at", path)(error)),
        }
    }

    fn remove_directory(&self, path: &RelPath) -> Result<(), SystemError> {
        match self.disk.rmdir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(SystemError::Occupied { path: path.clone() })
            }
            result => result.map_err(SystemError::io("remove", path)),
        }
    }

    fn merge(&self, staged: &RelPath, path: &RelPath) -> Result<Vec<(Vec<u8>, SystemError)>, SystemError> {
        let found = self.disk.list(staged).map_err(SystemError::io("read staged", path))?;
        let mut refused = Vec::new();
        for (name, _) in found {
            let join = |directory: &RelPath| directory.join(&name).expect("names on the disk are plain");
            if let Err(error) = self.put(&join(staged), &join(path), None) {
                refused.push((name, error));
            }
        }
        self.remove_tree(staged);
        Ok(refused)
    }

    fn set(&self, at: &RelPath, change: &AttributeChange<'_>) -> io::Result<()> {
        let now = self.disk.stat(at)?;
        if change.set_mode && now.kind != EntryKind::Symlink && now.attributes.mode != change.attributes.mode
        {
            self.disk.set_mode(at, change.attributes.mode)?;
        }
        self.disk.set_time(at, change.attributes.mtime.seconds)
    }

    /// Whether this name stands in the tree itself, by [`Plant::InPlace`].
    fn is_in_place(&self, staged: &StagedName) -> bool {
        self.plant == Some(Plant::InPlace) && !staged.0.starts_with(&self.area)
    }
}

impl OrbitWriter for SimWriter {
    fn stage_file(&self, place: Place<'_>, outline: Outline) -> Result<Box<dyn StagedFile>, SystemError> {
        if let (Some(Plant::InPlace), Place::Alone(path)) = (self.plant, place)
            && let Ok(inode) = self.disk.open(path)
        {
            self.disk.set_len(inode, path, 0).map_err(SystemError::io("write", path))?;
            let name = StagedName(path.clone());
            return Ok(Box::new(SimStagedFile { disk: self.disk.clone(), inode, name }));
        }
        let make = |path: &RelPath| self.disk.make(path, Body::File(Vec::new()), outline.mode & 0o777);
        let (name, inode) = self.stage(place, make)?;
        Ok(Box::new(SimStagedFile { disk: self.disk.clone(), inode, name }))
    }

    /// This file system cannot share.
    fn stage_copy_of(
        &self,
        _: &RelPath,
        _: &Metadata,
        _: Outline,
    ) -> Result<Option<Box<dyn StagedFile>>, SystemError> {
        Ok(None)
    }

    fn reopen_staged(&self, staged: &StagedName) -> Result<Option<Box<dyn StagedFile>>, SystemError> {
        match self.disk.open(&staged.0) {
            Ok(inode) => {
                let name = staged.clone();
                Ok(Some(Box::new(SimStagedFile { disk: self.disk.clone(), inode, name })))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SystemError::io("open", &staged.0)(error)),
        }
    }

    fn stage_node(&self, place: Place<'_>, node: &Node<'_>) -> Result<StagedName, SystemError> {
        let make = |path: &RelPath| match node {
            Node::Symlink(text) => self.disk.make(path, Body::Symlink(text.to_vec()), 0o777).map(|_| ()),
            Node::HardLink(to) => self.disk.link(to, path),
            Node::Fifo | Node::CharDevice(_) | Node::BlockDevice(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        self.stage(place, make).map(|(name, ())| name)
    }

    fn stage_directory(&self, path: &RelPath) -> Result<StagedName, SystemError> {
        let make = |path: &RelPath| self.disk.make(path, Body::Directory(BTreeMap::new()), 0o700);
        self.stage(Place::Alone(path), make).map(|(name, _)| name)
    }

    fn set_staged_attributes(
        &self,
        staged: &StagedName,
        change: &AttributeChange<'_>,
    ) -> Result<(), SystemError> {
        self.set(&staged.0, change).map_err(SystemError::io("set the attributes of", &staged.0))
    }

    fn commit(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        _: Disposal,
    ) -> Result<(), SystemError> {
        if self.is_in_place(staged) {
            return Ok(());
        }
        self.reach_parent(path)?;
        self.put(&staged.0, path, expected)
    }

    fn commit_directory(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        _: Disposal,
    ) -> Result<Vec<(Vec<u8>, SystemError)>, SystemError> {
        self.reach_parent(path)?;
        let merges = self.disk.stat(path).is_ok_and(|now| {
            now.is_directory() && expected.is_none_or(|expected| is_same_version(expected, &now))
        });
        if merges {
            return self.merge(&staged.0, path);
        }
        self.put(&staged.0, path, expected).map(|()| Vec::new())
    }

    fn discard(&self, staged: &StagedName) {
        if !self.is_in_place(staged) {
            self.remove_tree(&staged.0);
        }
    }

    fn set_attributes(&self, path: &RelPath, change: &AttributeChange<'_>) -> Result<(), SystemError> {
        self.set(path, change).map_err(SystemError::io("set the attributes of", path))
    }

    fn remove(&self, path: &RelPath, expected: &Metadata, _: Disposal) -> Result<(), SystemError> {
        if self.check(path, expected)?.is_directory() {
            return self.remove_directory(path);
        }
        self.disk.unlink(path).map_err(SystemError::io("remove", path))
    }

    fn flush(&self) -> Result<(), SystemError> {
        self.disk.flush(&self.random).map_err(SystemError::io("flush", &RelPath::root()))
    }
}

/// Whether `now` is still the object that was `planned`, as the real writer judges it.
pub fn is_same_version(planned: &Metadata, now: &Metadata) -> bool {
    let mut now_identity = now.identity();
    if planned.links > 1 {
        now_identity.ctime = planned.ctime;
    }
    match planned.kind {
        EntryKind::Directory => (planned.kind, planned.dev, planned.ino) == (now.kind, now.dev, now.ino),
        _ => planned.kind == now.kind && planned.identity() == now_identity,
    }
}

/// Where the stage area is.
pub fn area_path() -> RelPath {
    RelPath::root().join(STAGE_NAME).expect("the reserved name is a plain name")
}
