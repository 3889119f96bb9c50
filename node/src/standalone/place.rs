//! [`Place`]: what can be looked at: a path of this machine, or one of a star.

use super::default_threads;
use super::error::RunError;
use super::state::UniverseCache;
use super::trees::{root_and_path, root_metadata};
use crate::api::client::ClientError;
use crate::local::system::LocalSystem;
use crate::remote::{self, Browsed, RemoteError, RemoteSystem, StarLink, remote_cause};
use orbit_core::endpoint::Endpoint;
use orbit_core::filter::KeepAll;
use orbit_core::system::{OrbitSystem, ScanOptions, SystemError};
use orbit_core::{Listing, Metadata, RelPath};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Calls that a star is asked side by side. Most of the time of a small one passes on the way.
const STAR_CALLS: usize = 8;

/// An endpoint, with the way to it.
#[derive(Clone)]
pub enum Place {
    /// A path of this machine.
    Here(PathBuf),
    /// A path of a star.
    Star(StarPlace),
}

/// A path of a star, and the way there.
#[derive(Clone)]
pub struct StarPlace {
    /// The node as a person named it.
    pub node: String,
    /// Which machine that is: the node's id, or none if it is this machine after all. Files with the same number on
    /// the same machine are the same file.
    pub machine: Option<String>,
    /// The path there.
    pub path: Vec<u8>,
    /// Where streams to it come from.
    pub link: Arc<dyn StarLink>,
}

impl Place {
    /// As a person wrote it.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Here(path) => Endpoint::Local(path.clone()),
            Self::Star(star) => Endpoint::Remote { node: star.node.clone(), path: star.path.clone() },
        }
    }

    /// Opens it, and gives what is to be looked at: the root if it is a directory, else its name.
    pub(super) fn open(&self) -> Result<(Site, RelPath), RunError> {
        match self {
            Self::Here(path) => {
                let (jail, start) = root_and_path(path)?;
                Ok((Site::Local(LocalSystem::new(Arc::new(jail))), start))
            }
            Self::Star(star) => {
                let endpoint = self.endpoint().to_string();
                match RemoteSystem::open(Arc::clone(&star.link), star.path.clone()) {
                    Ok((system, start)) => Ok((Site::Star { system, endpoint }, start)),
                    Err(error) => Err(RunError::of_star(endpoint, error)),
                }
            }
        }
    }
}

/// Looks at one place: a directory's entries, another object itself, or, above what a star allows, the way there.
pub fn browse(place: &Place) -> Result<Browsed, RunError> {
    match place {
        Place::Star(star) => remote::browse(&*star.link, star.path.clone())
            .map_err(|error| RunError::of_star(place.endpoint().to_string(), error)),
        Place::Here(path) => {
            let (jail, start) = root_and_path(path)?;
            let system = LocalSystem::new(Arc::new(jail));
            if let Some(name) = start.name() {
                return Ok(Browsed::Entry(name.to_vec(), system.metadata(&start)?));
            }
            let filter = Arc::new(KeepAll);
            let mut scan = system.scan(&ScanOptions { start, filter, one_file_system: true, threads: 1 })?;
            match scan.next() {
                Some(Ok(listing)) => Ok(Browsed::Directory(listing)),
                Some(Err(fault)) => Err(fault.error.into()),
                None => Ok(Browsed::Directory(Listing::default())),
            }
        }
    }
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Here(path)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.endpoint())
    }
}

/// A place that is open.
#[derive(Clone, Debug)]
pub(super) enum Site {
    /// Reached by system calls.
    Local(LocalSystem),
    /// Asked of a star.
    Star {
        /// It.
        system: RemoteSystem,
        /// The endpoint, for messages.
        endpoint: String,
    },
}

impl Site {
    /// The contract's operations.
    pub fn system(&self) -> &dyn OrbitSystem {
        match self {
            Self::Local(system) => system,
            Self::Star { system, .. } => system,
        }
    }

    /// The same, where this machine's hashes are known. What a star knows, it keeps itself.
    pub fn with_cache(self, cache: &Arc<UniverseCache>) -> Self {
        match self {
            Self::Local(system) => Self::Local(system.with_cache(cache.clone())),
            star @ Self::Star { .. } => star,
        }
    }

    /// The same, where one large file of this machine keeps so many threads busy. A star decides for itself.
    pub fn with_threads(&self, threads: usize) -> Self {
        match self {
            Self::Local(system) => Self::Local(system.clone().with_threads(threads)),
            star @ Self::Star { .. } => star.clone(),
        }
    }

    /// How many calls are worth making side by side.
    pub fn calls(&self) -> usize {
        match self {
            Self::Local(_) => default_threads(),
            Self::Star { .. } => STAR_CALLS,
        }
    }

    /// Whether it is on this machine.
    pub const fn is_local(&self) -> bool {
        self.local().is_some()
    }

    /// The system, if it is on this machine.
    pub const fn local(&self) -> Option<&LocalSystem> {
        match self {
            Self::Local(system) => Some(system),
            Self::Star { .. } => None,
        }
    }

    /// Bytes that crossed the network for it so far.
    pub fn bytes_wire(&self) -> u64 {
        match self {
            Self::Local(_) => 0,
            Self::Star { system, .. } => system.bytes_wire(),
        }
    }

    /// Metadata of the root.
    pub fn root_metadata(&self) -> Result<Metadata, RunError> {
        match self {
            Self::Local(system) => root_metadata(system.jail()),
            Self::Star { system, .. } => system.metadata(&RelPath::root()).map_err(|error| self.fatal(error)),
        }
    }

    /// Whether an error, or one of its causes, says that the star cannot be asked any more; and what that ends a run with.
    pub fn lost(&self, error: &(dyn std::error::Error + 'static)) -> Option<RunError> {
        let Self::Star { endpoint, .. } = self else { return None };
        Some(RunError::of_star(endpoint.clone(), remote_cause(error)?.retold()))
    }

    /// Tells an operation that failed, after which others may succeed, from a star that is lost.
    pub fn judge(&self, error: SystemError) -> Result<SystemError, RunError> {
        let Self::Star { endpoint, .. } = self else { return Ok(error) };
        let SystemError::Io { operation, path, source } = error else { return Ok(error) };
        match source.downcast::<RemoteError>() {
            Ok(lost) => Err(RunError::of_star(endpoint.clone(), lost)),
            Err(source) => Ok(SystemError::Io { operation, path, source }),
        }
    }

    /// Why a run ends that cannot go on without what has failed.
    pub fn fatal(&self, error: SystemError) -> RunError {
        self.judge(error).map_or_else(|lost| lost, RunError::System)
    }
}

/// Whether the other end of a stream is no more.
fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

impl RunError {
    /// Why a star gave nothing, as whoever named `endpoint` understands it.
    pub fn of_star(endpoint: String, error: RemoteError) -> Self {
        match error {
            RemoteError::Refused(refusal) => Self::Refused(refusal),
            RemoteError::Failed { source, .. } if source.is_not_found() => {
                Self::NotFound { path: endpoint.into() }
            }
            // Of the way there, this machine's daemon says more than the stream can.
            RemoteError::Link(source) => match source.downcast::<ClientError>() {
                Ok(error) => Self::Grid(error),
                Err(source) if has_ended(&source) => Self::Gone { endpoint },
                Err(source) => Self::Star { endpoint, source: RemoteError::Link(source) },
            },
            source => Self::Star { endpoint, source },
        }
    }
}
