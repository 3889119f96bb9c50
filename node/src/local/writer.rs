//! [`LocalWriter`]: stages objects beside the tree, and renames them into it.
//!
//! Reading order: [`area`] and [`staging`] (where objects are staged), [`staged_file`] (bytes), [`attributes`], [`commit`] (renames),
//! [`trash`]; [`tree_lock`] keeps two runs apart, [`sweep`] removes what a killed one left.

mod area;
mod attributes;
mod buffer;
mod commit;
mod errors;
mod rename;
mod staged_file;
mod staging;
mod sweep;
mod trash;
mod tree_lock;
mod volume;
mod workers;

pub use buffer::{ALIGNMENT, AlignedBuffer};
pub use commit::is_same_version;
pub use errors::{BeginError, Busy};
pub use volume::{FreeSpace, free_space, timestamp_granularity_ns};

use crate::local::jail::{Jail, open_at};
use crate::local::metadata;
use area::{Absent, Area};
use attributes::{Past, Target};
use commit::{Incoming, IncomingKind, failed};
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::SystemError;
use orbit_core::writer::{
    AttributeChange, Disposal, Node, OrbitWriter, Outline, Place, StagedFile, StagedName,
};
use orbit_core::{EntryKind, Metadata, RelPath};
use rename::Spot;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, symlinkat, syncfs};
use staged_file::LocalStagedFile;
use staging::WriterVolume;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use trash::Trash;
use tree_lock::TreeLock;
use workers::Workers;

/// How a run writes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Name of this run's directory in the trash, one path component: `2026-11-24T06-50-58Z`.
    pub run_id: Vec<u8>,
    /// Where [`Disposal::Trash`] moves things.
    pub trash: TrashPlace,
    /// Staged objects that checkpoints of an earlier run refer to: everything else it left is removed.
    pub keep_staged: BTreeSet<StagedName>,
}

/// Where displaced objects are kept.
#[derive(Clone, Debug)]
pub enum TrashPlace {
    /// In `.orbit-trash` at the top of the destination.
    InDestination,
    /// In this directory, which lies on the destination's file system. What is displaced on another file system
    /// mounted inside the destination is kept in `.orbit-trash` at the top of that.
    Directory(PathBuf),
    /// The same, of a directory that is open already.
    Opened(Arc<Jail>),
}

/// The writing side of a local tree, for one run. It holds locks that keep other runs out until it is dropped.
///
/// Dropped without [`finish`](Self::finish), it leaves what it staged, as a kill would; the next run sweeps it.
#[derive(Debug)]
pub struct LocalWriter {
    jail: Arc<Jail>,
    options: WriterOptions,
    /// The root's first.
    volumes: RwLock<Vec<Arc<WriterVolume>>>,
    workers: Workers,
    _lock: TreeLock,
}

impl LocalWriter {
    /// Locks the tree, makes the stage area, and removes what a killed run left in it.
    pub fn begin(jail: Arc<Jail>, options: WriterOptions) -> Result<Self, BeginError> {
        let lock = TreeLock::acquire(&jail)?;
        let trash = Trash::of_root(&jail, &options)?;
        let area = Area::claim(&jail, &RelPath::root(), Absent::Create)?.expect("claiming creates it");
        area.sweep(&options.keep_staged)?;
        let volumes = RwLock::new(vec![Arc::new(WriterVolume { area: Arc::new(area), trash })]);
        Ok(Self { jail, options, volumes, workers: Workers::default(), _lock: lock })
    }

    /// Says whether another run writes to this tree or to one inside or around it. Creates nothing.
    pub fn check_idle(jail: &Jail) -> Result<(), BeginError> {
        drop(TreeLock::acquire(jail)?);
        // Where directories cannot be locked, the area's lock file can tell.
        let held = open_at(jail.root_fd(), STAGE_NAME, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            .ok()
            .and_then(|area| area::is_lock_held(area.as_fd()));
        held.map_or(Ok(()), |busy| Err(BeginError::Busy(busy)))
    }

    /// Removes everything staged but what is `kept`, and the stage areas with it where that leaves them empty.
    pub fn finish(self, kept: &BTreeSet<StagedName>) -> Result<(), SystemError> {
        let volumes = self.volumes.read().expect("no thread panics while it adds a volume");
        volumes.iter().map(|volume| volume.area.close(kept)).fold(Ok(()), Result::and)
    }

    /// Removes the leftovers of a killed run from the stage area in `directory`, if there is one: a mount inside the
    /// destination on which this run stages nothing may have one.
    pub fn sweep_area(&self, directory: &RelPath) -> Result<(), BeginError> {
        if self.volumes().iter().any(|volume| volume.area.at == *directory) {
            return Ok(());
        }
        if let Some(area) = Area::claim(&self.jail, directory, Absent::Keep)? {
            area.close(&self.options.keep_staged)?;
        }
        Ok(())
    }

    /// Room on the destination's file system.
    pub fn free_space(&self) -> Result<FreeSpace, SystemError> {
        let root = RelPath::root();
        free_space(self.jail.root_fd()).map_err(SystemError::io("ask for free space on", &root))
    }

    /// The trash of the volume on which `staged` lies.
    fn trash_for(volume: &WriterVolume, disposal: Disposal) -> Option<&Trash> {
        (disposal == Disposal::Trash).then_some(&volume.trash)
    }
}

impl OrbitWriter for LocalWriter {
    fn stage_file(&self, place: Place<'_>, outline: Outline) -> Result<Box<dyn StagedFile>, SystemError> {
        self.stage(place, |area, name, relative| {
            LocalStagedFile::create(area, name.clone(), relative, outline)
        })
        .map(|file| Box::new(file) as Box<dyn StagedFile>)
    }

    fn stage_copy_of(
        &self,
        path: &RelPath,
        expected: &Metadata,
        outline: Outline,
    ) -> Result<Option<Box<dyn StagedFile>>, SystemError> {
        let old = self.jail.open_file(path)?;
        let now = metadata::of_handle(old.as_fd()).map_err(SystemError::io("look at", path))?;
        if !commit::is_same_version(expected, &now) {
            return Err(SystemError::Changed { path: path.clone() });
        }
        // What is reserved would only be given back.
        let outline = Outline { layout: orbit_core::writer::Layout::Sparse, ..outline };
        let staged = self.stage(Place::Alone(path), |area, name, relative| {
            LocalStagedFile::create(area, name.clone(), relative, outline)
        })?;
        match staged.share(old.as_fd()) {
            Ok(true) => Ok(Some(Box::new(staged))),
            Ok(false) => {
                self.discard(staged.name());
                Ok(None)
            }
            Err(error) => {
                self.discard(staged.name());
                Err(SystemError::io("share the content of", path)(error))
            }
        }
    }

    fn reopen_staged(&self, staged: &StagedName) -> Result<Option<Box<dyn StagedFile>>, SystemError> {
        let opened = self.locate(staged).and_then(|(volume, relative)| {
            LocalStagedFile::reopen(&volume.area, staged.clone(), relative)
                .map_err(SystemError::io("open", &staged.0))
        });
        match opened {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stage_node(&self, place: Place<'_>, node: &Node<'_>) -> Result<StagedName, SystemError> {
        let target = match node {
            Node::HardLink(path) => Some(self.jail.open_parent(path)?),
            _ => None,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        self.stage(place, |area, name, relative| {
            match (*node, &target) {
                (Node::Symlink(text), _) => symlinkat(text, &area.dir, relative),
                (Node::Fifo, _) => mknodat(&area.dir, relative, FileType::Fifo, mode, 0),
                (Node::CharDevice(dev), _) => {
                    mknodat(&area.dir, relative, FileType::CharacterDevice, mode, dev)
                }
                (Node::BlockDevice(dev), _) => mknodat(&area.dir, relative, FileType::BlockDevice, mode, dev),
                (Node::HardLink(_), Some((parent, target))) => {
                    linkat(parent, *target, &area.dir, relative, AtFlags::empty())
                }
                (Node::HardLink(_), None) => unreachable!("its directory was opened above"),
            }
            .map(|()| name.clone())
        })
    }

    fn stage_directory(&self, path: &RelPath) -> Result<StagedName, SystemError> {
        self.stage(Place::Alone(path), |area, name, relative| {
            mkdirat(&area.dir, relative, Mode::RWXU).map(|()| name.clone())
        })
    }

    fn set_staged_attributes(
        &self,
        staged: &StagedName,
        change: &AttributeChange<'_>,
    ) -> Result<(), SystemError> {
        let (volume, relative) = self.locate(staged)?;
        let spot = Spot { dir: volume.area.dir.as_fd(), name: relative };
        set_attributes_at(spot, &staged.0, Past::Fresh, change)
    }

    fn commit(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        disposal: Disposal,
    ) -> Result<(), SystemError> {
        let (volume, relative) = self.locate(staged)?;
        let (parent, name) = commit::reach_parent(&self.jail, path)?;
        let staged = Spot { dir: volume.area.dir.as_fd(), name: relative };
        let incoming = Incoming { staged, kind: IncomingKind::Other };
        let place = Spot { dir: parent.as_fd(), name };
        commit::put(incoming, place, path, expected, Self::trash_for(&volume, disposal))
    }

    fn commit_directory(
        &self,
        staged: &StagedName,
        path: &RelPath,
        expected: Option<&Metadata>,
        disposal: Disposal,
    ) -> Result<Vec<(Vec<u8>, SystemError)>, SystemError> {
        let (volume, relative) = self.locate(staged)?;
        let (parent, name) = commit::reach_parent(&self.jail, path)?;
        let spot = Spot { dir: volume.area.dir.as_fd(), name: relative };
        let place = Spot { dir: parent.as_fd(), name };
        let merges_with = |now: &Metadata| {
            now.kind == EntryKind::Directory
                && expected.is_none_or(|expected| commit::is_same_version(expected, now))
        };
        if metadata::of_name(place.dir, place.name).is_ok_and(|now| merges_with(&now)) {
            return self.merge_directory(spot, path);
        }
        let incoming = Incoming { staged: spot, kind: IncomingKind::Directory };
        match commit::put(incoming, place, path, expected, Self::trash_for(&volume, disposal)) {
            // Another thread made it as the parent of something else just now.
            Err(SystemError::Changed { .. })
                if metadata::of_name(place.dir, place.name).is_ok_and(|now| merges_with(&now)) =>
            {
                self.merge_directory(spot, path)
            }
            result => result.map(|()| Vec::new()),
        }
    }

    fn discard(&self, staged: &StagedName) {
        // What cannot be removed now is swept at the end or by the next run.
        if let Ok((volume, relative)) = self.locate(staged) {
            let _ = sweep::remove_tree(volume.area.dir.as_fd(), relative);
        }
    }

    fn set_attributes(&self, path: &RelPath, change: &AttributeChange<'_>) -> Result<(), SystemError> {
        if path.is_root() {
            let spot = Spot { dir: self.jail.root_fd(), name: b"." };
            return set_attributes_at(spot, path, Past::Existing, change);
        }
        let (parent, name) = self.jail.open_parent(path)?;
        set_attributes_at(Spot { dir: parent.as_fd(), name }, path, Past::Existing, change)
    }

    fn remove(&self, path: &RelPath, expected: &Metadata, disposal: Disposal) -> Result<(), SystemError> {
        let (parent, name) = self.jail.open_parent(path)?;
        let place = Spot { dir: parent.as_fd(), name };
        if disposal == Disposal::Discard {
            return commit::remove(place, path, expected, None);
        }
        let volume = self.volume_for(path)?;
        commit::remove(place, path, expected, Some(&volume.trash))
    }

    fn flush(&self) -> Result<(), SystemError> {
        for volume in self.volumes() {
            syncfs(&volume.area.dir).map_err(|errno| failed("flush", &volume.area.at, errno))?;
        }
        Ok(())
    }
}

impl LocalWriter {
    /// Renames the entries of a staged directory into the directory `path`, none over what is there.
    fn merge_directory(
        &self,
        staged: Spot<'_>,
        path: &RelPath,
    ) -> Result<Vec<(Vec<u8>, SystemError)>, SystemError> {
        let into = self.jail.open_directory(path)?;
        let from = open_staged_directory(staged).map_err(|errno| failed("open staged", path, errno))?;
        let mut refused = Vec::new();
        for name in sweep::names(from.as_fd()).map_err(|errno| failed("read staged", path, errno))? {
            let staged = Spot { dir: from.as_fd(), name: &name };
            let place = Spot { dir: into.as_fd(), name: &name };
            let incoming = Incoming { staged, kind: IncomingKind::Other };
            let target = path.join(&name).expect("a name of a directory is a plain name");
            if let Err(error) = commit::put(incoming, place, &target, None, None) {
                refused.push((name, error));
            }
        }
        // What could not be committed goes with it; what cannot be removed now is swept later.
        let _ = sweep::remove_tree(staged.dir, staged.name);
        Ok(refused)
    }
}

fn open_staged_directory(staged: Spot<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(staged.dir, staged.name, flags, Mode::empty())
}

/// Opens `spot` without following a link and sets attributes through the handle.
fn set_attributes_at(
    spot: Spot<'_>,
    path: &RelPath,
    past: Past,
    change: &AttributeChange<'_>,
) -> Result<(), SystemError> {
    let operation = "set the attributes of";
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(spot.dir, spot.name, flags, Mode::empty()).map_err(|e| failed(operation, path, e))?;
    let now = metadata::of_handle(handle.as_fd()).map_err(SystemError::io(operation, path))?;
    let target = Target::Handle { handle: handle.as_fd(), spot, kind: now.kind };
    attributes::apply(target, past, &now.attributes, change).map_err(|errno| failed(operation, path, errno))
}

#[cfg(test)]
mod tests;
