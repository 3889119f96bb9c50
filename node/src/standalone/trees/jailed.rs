//! Trees of a job: the source is given, and what lies on this machine is reached through the star's allowed paths.

use super::super::job::JobSource;
use super::super::place::Site;
use super::{Shape, Trees, check_nesting};
use crate::local::jail::Jail;
use crate::local::system::LocalSystem;
use crate::local::writer::TrashPlace;
use crate::standalone::error::{Guard, RunError};
use crate::standalone::request::{SyncRequest, Trash};
use crate::star::{Jails, Spot};
use orbit_core::RelPath;
use orbit_core::system::OrbitSystem;
use rustix::fd::AsFd;
use rustix::fs::{Mode, mkdirat};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

impl Trees {
    /// Opens the destination of a job, beside its source. Changes nothing.
    pub fn of_job(request: &SyncRequest, source: &JobSource, jails: &Jails) -> Result<Self, RunError> {
        check_marker(request, source)?;
        let path = request.destination.as_os_str().as_bytes();
        let spot = jails.find(path)?;
        let wrong = |wanted| RunError::WrongKind { path: request.destination.clone(), wanted };
        let (mut destination, mut home) = (None, None);
        let shape = if source.start().is_root() {
            match spot {
                Spot::Directory(jail) => destination = Some(jail),
                Spot::Missing(jail, name) => home = Some((jail, name)),
                Spot::Entry(..) => return Err(wrong("a directory")),
            }
            Shape::Tree
        } else {
            let name = match spot {
                Spot::Directory(jail) => {
                    destination = Some(jail);
                    source.start().clone()
                }
                Spot::Missing(jail, name) if path.ends_with(b"/") => {
                    home = Some((jail, name));
                    source.start().clone()
                }
                Spot::Entry(..) if path.ends_with(b"/") => return Err(wrong("a directory")),
                Spot::Missing(jail, name) | Spot::Entry(jail, name) => {
                    destination = Some(jail);
                    name
                }
            };
            Shape::File { source: source.start().clone(), destination: name }
        };
        let destination_path = match (&destination, &home) {
            (Some(jail), _) => jail.root_path().to_path_buf(),
            (None, Some((jail, name))) => jail.root_path().join(std::ffi::OsStr::from_bytes(name.as_bytes())),
            (None, None) => request.destination.clone(),
        };
        let trash = trash_place(request, jails)?;
        let (universe, hashes) = (None, request.checksum.then(|| jails.hashes()));
        let site = match (source.site(), &hashes) {
            (Site::Local(system), Some(hashes)) => Site::Local(system.clone().with_cache(Arc::clone(hashes))),
            (site, _) => site.clone(),
        };
        let trees =
            Self { source: site, destination_path, destination, shape, home, trash, hashes, universe };
        trees.check_job(request)?;
        Ok(trees)
    }

    /// What is refused of a sync on one machine is refused of a job on one star.
    fn check_job(&self, request: &SyncRequest) -> Result<(), RunError> {
        if let TrashPlace::Opened(trash) = &self.trash {
            let source = self.source.local().map(|system| system.jail().root_path());
            for tree in source.into_iter().chain([self.destination_path.as_path()]) {
                if self.shape == Shape::Tree && trash.root_path().starts_with(tree) {
                    let (trash, tree) = (trash.root_path().to_path_buf(), tree.to_path_buf());
                    return Err(Guard::TrashInside { trash, tree }.into());
                }
            }
        }
        let Some(source) = self.source.local() else { return Ok(()) };
        match &self.shape {
            Shape::Tree => {
                check_nesting(source.jail().root_path(), &self.destination_path, self.destination.is_some())
            }
            Shape::File { source: from, destination: to } => {
                let Some(jail) = &self.destination else { return Ok(()) };
                let there = LocalSystem::new(Arc::clone(jail)).metadata(to);
                if let (Ok(from), Ok(to)) = (source.metadata(from), there)
                    && (from.dev, from.ino) == (to.dev, to.ino)
                {
                    let (source_path, destination) = (request.source.clone(), request.destination.clone());
                    return Err(Guard::Same { destination, source_path }.into());
                }
                Ok(())
            }
        }
    }
}

/// The marker lies in the source, beside a single file.
fn check_marker(request: &SyncRequest, source: &JobSource) -> Result<(), RunError> {
    let Some(marker) = &request.source_marker else { return Ok(()) };
    let name = RelPath::new(marker.as_os_str().as_bytes())
        .map_err(|source| RunError::BadPath { path: marker.clone(), source })?;
    match source.site().system().metadata(&name) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => {
            Err(Guard::MarkerMissing { path: request.source.join(marker) }.into())
        }
        Err(error) => Err(source.site().fatal(error)),
    }
}

fn trash_place(request: &SyncRequest, jails: &Jails) -> Result<TrashPlace, RunError> {
    let Trash::Directory(path) = &request.trash else { return Ok(TrashPlace::InDestination) };
    match jails.find(path.as_os_str().as_bytes())? {
        Spot::Directory(jail) => Ok(TrashPlace::Opened(jail)),
        Spot::Entry(..) => Err(RunError::WrongKind { path: path.clone(), wanted: "a directory" }),
        Spot::Missing(..) => Err(RunError::NotFound { path: path.clone() }),
    }
}

/// Makes the directory that a destination will be.
pub(super) fn make_directory(home: &Jail, name: &RelPath) -> io::Result<()> {
    Ok(mkdirat(home.root_fd().as_fd(), name.as_bytes(), Mode::from_raw_mode(0o777))?)
}
