//! [`Jails`]: the allowed paths, for what the star does on its own: the jobs of the grid.

use super::Shared;
use super::allowed::{NoPlace, Place};
use crate::local::jail::Jail;
use crate::local::manifest_cache::ManifestCache;
use crate::standalone::RunError;
use orbit_core::RelPath;
use orbit_core::grid::Refusal;
use orbit_core::rel_path::display_name;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The allowed paths of a star. Clones are handles on one star.
#[derive(Clone)]
pub struct Jails(Arc<Shared>);

/// What an absolute path of this star leads to.
#[derive(Debug)]
pub(crate) enum Spot {
    /// A directory.
    Directory(Arc<Jail>),
    /// Something else: its name in the directory that holds it.
    Entry(Arc<Jail>, RelPath),
    /// Nothing: the name it would have in a directory that exists.
    Missing(Arc<Jail>, RelPath),
}

impl Jails {
    pub(super) const fn of(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Finds what an absolute path names, or would name. It blocks on the disk.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Spot, RunError> {
        let node = self.0.name();
        match self.0.allowed.find(&node, path, false) {
            Ok(Place::Inside { jail, start }) if start.is_root() => Ok(Spot::Directory(jail)),
            Ok(Place::Inside { jail, start }) => Ok(Spot::Entry(jail, start)),
            Ok(Place::Above(_)) => Err(self.outside(path)),
            Err(NoPlace::Refused(refusal)) => Err(RunError::Refused(refusal)),
            Err(NoPlace::Failed(error)) if error.is_not_found() => self.find_home(path),
            Err(NoPlace::Failed(error)) => Err(error.into()),
        }
    }

    /// Finds the directory of something that does not exist.
    fn find_home(&self, path: &[u8]) -> Result<Spot, RunError> {
        let no_parent = || RunError::NoParent { path: shown(path) };
        let trimmed = &path[..path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1)];
        let slash = trimmed.iter().rposition(|&byte| byte == b'/').ok_or_else(no_parent)?;
        let name = RelPath::new(&trimmed[slash + 1..])
            .map_err(|source| RunError::BadPath { path: shown(path), source })?;
        // The root of everything is an allowed path or lies above them.
        let parent = if slash == 0 { &b"/"[..] } else { &trimmed[..slash] };
        match self.0.allowed.find(&self.0.name(), parent, false) {
            Ok(Place::Inside { jail, start }) if start.is_root() => Ok(Spot::Missing(jail, name)),
            Ok(Place::Inside { .. }) => Err(no_parent()),
            Ok(Place::Above(_)) => Err(self.outside(path)),
            Err(NoPlace::Refused(refusal)) => Err(RunError::Refused(refusal)),
            Err(NoPlace::Failed(error)) if error.is_not_found() => Err(no_parent()),
            Err(NoPlace::Failed(error)) => Err(error.into()),
        }
    }

    /// Hashes of this star's files, shared with whoever asks it.
    pub(crate) fn hashes(&self) -> Arc<dyn ManifestCache> {
        Arc::new(self.0.cache.lease())
    }

    fn outside(&self, path: &[u8]) -> RunError {
        let path = display_name(path).into_owned();
        RunError::Refused(Refusal::OutsideJail { node: self.0.name(), path, allowed: Vec::new() })
    }
}

fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}
