//! [`Lister`]: reads one directory into a [`Listing`].

use super::names::{KindHint, NameReader, Names, look_at};
use super::queue::Subdirectories;
use super::split::{SPLIT_NAMES_MIN, Split};
use crate::local::jail::{Jail, open_file_at};
use crate::local::metadata;
use orbit_core::filter::PathFilter;
use orbit_core::system::SystemError;
use orbit_core::{EntryKind, Listing, RelPath};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest rule file that is read.
const RULE_BYTES_MAX: u64 = 1 << 20;

/// How deep a walk goes. No sensible tree comes near; each level is resolved from the root again.
const DEPTH_MAX: usize = 16_384;

/// After how many names a listing notices that nobody waits for it any more.
const STOP_CHECK_NAMES: usize = 256;

/// What it takes to read a directory of this walk.
pub struct Lister {
    /// Where the tree is.
    pub jail: Arc<Jail>,
    /// Where the walk starts.
    pub start: RelPath,
    /// What is left out.
    pub filter: Arc<dyn PathFilter>,
    /// The only file system that is descended into, if there is such a limit.
    pub device: Option<u64>,
    /// Set when the walk is given up.
    pub stop: AtomicBool,
}

/// Memory that one thread uses for one directory after the other.
#[derive(Default)]
pub struct Scratch {
    reader: NameReader,
    names: Names,
}

/// A directory that was read, and where to go from there.
pub struct Listed {
    /// Its entries.
    pub listing: Listing,
    /// The subdirectories to descend into; `None` if there is none.
    pub subdirectories: Option<Arc<Subdirectories>>,
}

impl Lister {
    /// Reads the directory `path`: all of it, or an error. A name that vanishes meanwhile is left out.
    ///
    /// A huge directory is handed to `share` so that other threads can help.
    pub fn list(
        &self,
        path: &RelPath,
        scratch: &mut Scratch,
        share: impl FnOnce(Arc<Split>),
    ) -> Result<Listed, SystemError> {
        if path.depth() > DEPTH_MAX {
            return Err(SystemError::io("descend to", path)(Errno::LOOP.into()));
        }
        if self.is_boundary(path)? {
            let mut listing = Listing::new(path.clone());
            listing.is_boundary = true;
            return Ok(Listed { listing, subdirectories: None });
        }
        let directory = self.jail.open_directory(path)?;
        let Scratch { reader, names } = scratch;
        names.clear();
        reader.read(directory.as_fd(), names).map_err(SystemError::io("read directory", path))?;
        self.learn_rules(directory.as_fd(), path, names)?;
        names.retain(|name, hint| match hint {
            KindHint::Unknown => true,
            hint => self.keeps(path, name, hint == KindHint::Directory),
        });
        names.sort_by_inode();
        let unsure = names.iter().any(|(_, hint)| hint == KindHint::Unknown);

        let mut listing = Listing::new(path.clone());
        if names.len() < SPLIT_NAMES_MIN {
            self.look_at_all(directory.as_fd(), names, &mut listing)?;
        } else {
            self.look_together(directory, std::mem::take(names), &mut listing, share)?;
        }
        if unsure {
            listing.retain(|name, metadata| self.keeps(path, name, metadata.kind == EntryKind::Directory));
        }
        listing.sort();
        let subdirectories = Subdirectories::of(&listing);
        Ok(Listed { listing, subdirectories })
    }

    fn look_at_all(
        &self,
        directory: BorrowedFd<'_>,
        names: &Names,
        listing: &mut Listing,
    ) -> Result<(), SystemError> {
        for (index, (name, _)) in names.iter().enumerate() {
            if index % STOP_CHECK_NAMES == 0 && self.stop.load(Ordering::Relaxed) {
                return Err(cannot_look(&listing.path, name, io::ErrorKind::Interrupted.into()));
            }
            match look_at(directory, name) {
                Ok(Some(metadata)) => listing.push(name, metadata),
                Ok(None) => {}
                Err(error) => return Err(cannot_look(&listing.path, name, error)),
            }
        }
        Ok(())
    }

    fn look_together(
        &self,
        directory: OwnedFd,
        names: Names,
        listing: &mut Listing,
        share: impl FnOnce(Arc<Split>),
    ) -> Result<(), SystemError> {
        let split = Arc::new(Split::new(directory, names));
        share(Arc::clone(&split));
        let collected = split.collect(&self.stop, |name, metadata| listing.push(name, metadata));
        collected.map_err(|(name, error)| cannot_look(&listing.path, &name, error))
    }

    /// Hands the directory's rule file to the filter, before anything in the directory is judged.
    fn learn_rules(
        &self,
        directory: BorrowedFd<'_>,
        path: &RelPath,
        names: &Names,
    ) -> Result<(), SystemError> {
        let Some(rule_file) = self.filter.rule_file() else { return Ok(()) };
        if !names.iter().any(|(name, _)| name == rule_file) {
            return Ok(());
        }
        let rule_path = path.join(rule_file).map_err(|error| {
            SystemError::io("read rules", path)(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?;
        let file = open_file_at(directory, rule_file, &rule_path)?;
        let mut rules = Vec::new();
        File::from(file)
            .take(RULE_BYTES_MAX + 1)
            .read_to_end(&mut rules)
            .map_err(SystemError::io("read", &rule_path))?;
        if rules.len() as u64 > RULE_BYTES_MAX {
            return Err(SystemError::WrongKind {
                path: rule_path,
                wanted: "a rule file of at most 1 MiB".into(),
            });
        }
        self.filter.learn(path, &rules);
        Ok(())
    }

    fn keeps(&self, directory: &RelPath, name: &[u8], is_directory: bool) -> bool {
        let path = directory.join(name).expect("a name was checked when it was read");
        !self.filter.excludes(&path, is_directory)
    }

    /// Whether another file system begins here. It is not opened to find out: that could mount it, or hang.
    fn is_boundary(&self, path: &RelPath) -> Result<bool, SystemError> {
        let Some(device) = self.device.filter(|_| *path != self.start) else { return Ok(false) };
        let (parent, name) = self.jail.open_parent(path)?;
        let found = metadata::of_name(parent.as_fd(), name).map_err(SystemError::io("look at", path))?;
        Ok(found.dev != device)
    }
}

/// One name that cannot be looked at fails its directory: a listing without it would read as "it is gone".
fn cannot_look(directory: &RelPath, name: &[u8], error: io::Error) -> SystemError {
    let path = directory.join(name).expect("a name was checked when it was read");
    SystemError::io("look at", &path)(error)
}
