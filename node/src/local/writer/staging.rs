//! Finds the volume, the stage area and the name for what is staged.

use super::LocalWriter;
use super::area::{Absent, Area};
use super::commit::failed;
use super::trash::Trash;
use super::volume::Volume;
use orbit_core::RelPath;
use orbit_core::filter::STAGE_NAME;
use orbit_core::system::SystemError;
use orbit_core::writer::{Place, StagedName};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;
use std::sync::Arc;

/// What a run keeps on one volume.
#[derive(Debug)]
pub struct WriterVolume {
    /// Where its objects are staged.
    pub area: Arc<Area>,
    /// Where its displaced objects go.
    pub trash: Trash,
}

impl LocalWriter {
    pub(super) fn volumes(&self) -> Vec<Arc<WriterVolume>> {
        self.volumes.read().expect("no thread panics while it adds a volume").clone()
    }

    /// The area that holds a staged object, and its name from there.
    pub(super) fn locate<'s>(
        &self,
        staged: &'s StagedName,
    ) -> Result<(Arc<WriterVolume>, &'s [u8]), SystemError> {
        let find = |volumes: &[Arc<WriterVolume>]| {
            volumes.iter().find_map(|volume| Some((volume.clone(), volume.area.relative(staged)?)))
        };
        if let Some(found) = find(&self.volumes.read().expect("no thread panics while it adds a volume")) {
            return Ok(found);
        }
        let missing = || failed("find staged", &staged.0, Errno::NOENT);
        // A checkpoint may name an object in an area that this run has not used yet.
        let at = directory_of_area(&staged.0).ok_or_else(missing)?;
        let volume = self.add_volume(&at, Absent::Keep)?.ok_or_else(missing)?;
        let relative = volume.area.relative(staged).ok_or_else(missing)?;
        Ok((volume, relative))
    }

    /// The volume on which an object for `path` is staged.
    pub(super) fn volume_for(&self, path: &RelPath) -> Result<Arc<WriterVolume>, SystemError> {
        let mut existing = path.clone();
        let handle = loop {
            match self.jail.open_parent(&existing) {
                Ok((handle, _)) => break handle,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            existing = existing.parent().expect("the root exists");
        };
        let look = |handle: OwnedFd| Volume::of(handle).map_err(SystemError::io("look at", path));
        let wanted = look(handle)?;
        if let Some(found) = self.volumes().iter().find(|volume| volume.area.volume == wanted) {
            return Ok(found.clone());
        }
        // Its top: the mount point, or the subvolume.
        let mut top = existing.parent().expect("the handle was of a parent");
        while !top.is_root() && look(self.jail.open_parent(&top)?.0)? == wanted {
            top = top.parent().expect("it is not the root");
        }
        Ok(self.add_volume(&top, Absent::Create)?.expect("claiming creates it"))
    }

    fn add_volume(&self, at: &RelPath, absent: Absent) -> Result<Option<Arc<WriterVolume>>, SystemError> {
        let mut volumes = self.volumes.write().expect("no thread panics while it adds a volume");
        if let Some(known) = volumes.iter().find(|volume| volume.area.at == *at) {
            return Ok(Some(known.clone()));
        }
        let claimed = Area::claim(&self.jail, at, absent).map_err(|error| error.into_system(at))?;
        let Some(area) = claimed else { return Ok(None) };
        area.sweep(&self.options.keep_staged)?;
        let directory = area.parent().try_clone_to_owned().map_err(SystemError::io("open", at))?;
        let trash = Trash::below(directory, &self.options.run_id);
        let volume = Arc::new(WriterVolume { area: Arc::new(area), trash });
        volumes.push(volume.clone());
        Ok(Some(volume))
    }

    /// The area for objects of `path`'s directory; looked for once a directory and thread.
    fn area_for(&self, path: &RelPath) -> Result<Arc<Area>, SystemError> {
        let worker = self.workers.mine();
        let mut worker = worker.lock().expect("only its own thread uses it");
        let parent = directory_bytes(path);
        if let Some((last, area)) = &worker.last
            && last.as_bytes() == parent
        {
            return Ok(area.clone());
        }
        let area = self.volume_for(path)?.area.clone();
        worker.last = Some((path.parent().unwrap_or_default(), area.clone()));
        Ok(area)
    }

    /// Has `make` make an object where `place` says: under a new name of this thread's, or in a staged directory.
    pub(super) fn stage<T>(
        &self,
        place: Place<'_>,
        mut make: impl FnMut(&Area, &StagedName, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T, SystemError> {
        let path = match place {
            Place::Inside(directory, name) => {
                let (volume, _) = self.locate(directory)?;
                let staged =
                    directory.0.join(name).map_err(|_| failed("stage", &directory.0, Errno::INVAL))?;
                let staged = StagedName(staged);
                let relative = volume.area.relative(&staged).expect("it is below the staged directory");
                return make(&volume.area, &staged, relative)
                    .map_err(|errno| failed("write", &staged.0, errno));
            }
            Place::Alone(path) => path,
        };
        let area = self.area_for(path)?;
        let worker = self.workers.mine();
        let mut worker = worker.lock().expect("only its own thread uses it");
        if !worker.made_in.contains(&area.path) {
            match mkdirat(&area.dir, worker.directory.as_str(), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => worker.made_in.push(area.path.clone()),
                Err(errno) => return Err(failed("stage", path, errno)),
            }
        }
        loop {
            let relative = worker.new_name();
            let below = RelPath::new(relative.clone()).expect("worker and number are plain names");
            match make(&area, &StagedName(below.below(&area.path)), &relative) {
                Err(Errno::EXIST) => {}
                result => return result.map_err(|errno| failed("write", path, errno)),
            }
        }
    }
}

/// Bytes of the directory that contains `path`.
fn directory_bytes(path: &RelPath) -> &[u8] {
    let bytes = path.as_bytes();
    &bytes[..bytes.iter().rposition(|&byte| byte == b'/').unwrap_or(0)]
}

/// The directory in which the stage area of a staged object lies.
fn directory_of_area(staged: &RelPath) -> Option<RelPath> {
    let mut ancestor = staged.parent()?;
    while ancestor.name()? != STAGE_NAME {
        ancestor = ancestor.parent()?;
    }
    ancestor.parent()
}
