//! The stage area: made at the beginning, swept, and removed at the end.

use super::{SimWriter, area_path};
use crate::disk::Disk;
use crate::disk::state::Body;
use crate::plant::Plant;
use crate::random::Random;
use orbit_core::RelPath;
use orbit_core::system::SystemError;
use orbit_core::writer::StagedName;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

impl SimWriter {
    /// Makes the stage area, and removes what a killed run left in it.
    pub fn begin(
        disk: Arc<Disk>,
        kept: &BTreeSet<StagedName>,
        plant: Option<Plant>,
        random: Random,
    ) -> Result<Self, SystemError> {
        let area = area_path();
        match disk.make(&area, Body::Directory(BTreeMap::new()), 0o700) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SystemError::io("stage in", &area)(error));
            }
            _ => {}
        }
        let run = match plant {
            Some(Plant::ReusedStageNames) => String::new(),
            _ => format!("{}-", disk.machine().now()),
        };
        let writer = Self { disk, area, run, next: AtomicU64::new(0), plant, random };
        writer.sweep(kept)?;
        Ok(writer)
    }

    /// Removes everything staged but what is `kept`, and the area if that leaves it empty.
    pub fn finish(self, kept: &BTreeSet<StagedName>) -> Result<(), SystemError> {
        self.sweep(kept)?;
        if kept.is_empty() {
            self.disk.rmdir(&self.area).map_err(SystemError::io("remove", &self.area))?;
        }
        Ok(())
    }

    fn sweep(&self, kept: &BTreeSet<StagedName>) -> Result<(), SystemError> {
        let found = self.disk.list(&self.area).map_err(SystemError::io("clean up", &self.area))?;
        for (name, _) in found {
            let staged = StagedName(self.area.join(&name).expect("names on the disk are plain"));
            if !kept.contains(&staged) {
                self.remove_tree(&staged.0);
            }
        }
        Ok(())
    }

    /// What cannot be removed now is swept by the next run.
    pub(super) fn remove_tree(&self, path: &RelPath) {
        match self.disk.unlink(path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
            _ => return,
        }
        for (name, _) in self.disk.list(path).unwrap_or_default() {
            self.remove_tree(&path.join(&name).expect("names on the disk are plain"));
        }
        // Whatever kept it is met again by the next sweep.
        let _ = self.disk.rmdir(path);
    }
}
