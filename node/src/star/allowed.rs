//! [`AllowedPaths`]: which directories of this machine others may reach, and where an asked path lies in them.
//!
//! An asked path is text from elsewhere. It is compared, component by component, with the allowed paths, which are
//! text from `star.toml`; what is left below the one it lies in becomes a [`RelPath`], and from there on everything is
//! opened by the handle of that allowed directory.
//!
//! What an allowed path really is, symbolic links on the way to it resolved, is looked up once. Each session opens it
//! anew, by a way without links: a disk that is mounted there later is seen, nothing is kept busy between sessions,
//! and a link that is put in its place is refused, until the star is started again.

use crate::local::jail::Jail;
use crate::local::system::LocalSystem;
use orbit_core::grid::Refusal;
use orbit_core::rel_path::display_name;
use orbit_core::system::{OrbitSystem, SystemError};
use orbit_core::{EntryKind, RelPath};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A path in a refusal is cut to this many bytes: the asker knows it.
const SHOWN_BYTES_MAX: usize = 4_096;

/// The allowed paths of a star.
#[derive(Debug)]
pub struct AllowedPaths(Vec<Allowed>);

/// One allowed path.
#[derive(Debug)]
struct Allowed {
    /// As it is written.
    path: PathBuf,
    /// Its components.
    components: Vec<Vec<u8>>,
    /// Where it really lies, below `/`, once it was needed.
    real: Mutex<Option<RelPath>>,
}

/// Where an asked path leads.
#[derive(Debug)]
pub enum Place {
    /// Into an allowed directory.
    Inside {
        /// The directory asked for, or the one that holds what was asked for.
        jail: Arc<Jail>,
        /// Its name in there; the root if it is the directory itself.
        start: RelPath,
    },
    /// Above allowed directories: names that lead to them.
    Above(BTreeSet<Vec<u8>>),
}

/// Why an asked path leads nowhere.
#[derive(Debug)]
pub enum NoPlace {
    /// The star does not allow it.
    Refused(Refusal),
    /// It cannot be opened.
    Failed(SystemError),
}

impl AllowedPaths {
    /// Allows these.
    pub fn new(paths: &[PathBuf]) -> Self {
        let allow = |path: &PathBuf| Allowed {
            components: components(path.as_os_str().as_bytes()).map(<[u8]>::to_vec).collect(),
            path: path.clone(),
            real: Mutex::default(),
        };
        Self(paths.iter().map(allow).collect())
    }

    /// Finds and opens what `path` names. It blocks on the disk. `node` is the star's name, for refusals.
    pub fn find(&self, node: &str, path: &[u8], browse: bool) -> Result<Place, NoPlace> {
        let outside = || NoPlace::Refused(self.outside(node, path));
        if !is_plain(path) {
            return Err(outside());
        }
        let asked: Vec<&[u8]> = components(path).collect();
        let around = |allowed: &&Allowed| is_prefix(&allowed.components, &asked);
        // Of allowed paths within each other the deepest: it was opened by its own name.
        if let Some(allowed) = self.0.iter().filter(around).max_by_key(|allowed| allowed.components.len()) {
            let below = asked[allowed.components.len()..].join(&b'/');
            let below = RelPath::new(below).map_err(|_| outside())?;
            let jail = allowed.open(node).map_err(NoPlace::Refused)?;
            return enter(&jail, &below).map_err(NoPlace::Failed);
        }
        let ways: BTreeSet<Vec<u8>> = self.0.iter().filter_map(|allowed| allowed.way_from(&asked)).collect();
        if browse && !ways.is_empty() { Ok(Place::Above(ways)) } else { Err(outside()) }
    }

    fn outside(&self, node: &str, path: &[u8]) -> Refusal {
        let shown = &path[..path.len().min(SHOWN_BYTES_MAX)];
        let allowed = self.0.iter().map(|allowed| shown_path(&allowed.path)).collect();
        Refusal::OutsideJail { node: node.to_owned(), path: display_name(shown).into_owned(), allowed }
    }
}

impl Allowed {
    fn open(&self, node: &str) -> Result<Arc<Jail>, Refusal> {
        self.try_open().map(Arc::new).map_err(|error| Refusal::Failed {
            node: node.to_owned(),
            message: format!(
                "the allowed path {} cannot be opened: {}",
                shown_path(&self.path),
                plain(&error)
            ),
        })
    }

    fn try_open(&self) -> io::Result<Jail> {
        let real = self.real()?;
        let root = Jail::open(Path::new("/"))?;
        if real.is_root() {
            return Ok(root);
        }
        root.below(&real).map_err(|error| match error {
            SystemError::Io { source, .. } => source,
            other => io::Error::other(format!(
                "a link was put in its place ({other}); start the node again if it is yours"
            )),
        })
    }

    fn real(&self) -> io::Result<RelPath> {
        let mut known = super::lock(&self.real);
        if let Some(real) = &*known {
            return Ok(real.clone());
        }
        let found = std::fs::canonicalize(&self.path)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let below = found.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or_default().to_vec();
        let real = RelPath::new(below).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        *known = Some(real.clone());
        Ok(real)
    }

    /// The name below `asked` that leads here, if `asked` lies above.
    fn way_from(&self, asked: &[&[u8]]) -> Option<Vec<u8>> {
        let way = self.components.get(asked.len())?;
        let is_above = self.components.iter().zip(asked).all(|(own, asked)| own == asked);
        is_above.then(|| way.clone())
    }
}

/// Opens a directory below `jail` as a jail of its own; anything else is named in the directory that holds it.
fn enter(jail: &Arc<Jail>, path: &RelPath) -> Result<Place, SystemError> {
    if path.is_root() {
        return Ok(Place::Inside { jail: Arc::clone(jail), start: RelPath::root() });
    }
    let kind = LocalSystem::new(Arc::clone(jail)).metadata(path)?.kind;
    if kind == EntryKind::Directory {
        return Ok(Place::Inside { jail: Arc::new(jail.below(path)?), start: RelPath::root() });
    }
    let name = path.name().unwrap_or_default();
    let start = RelPath::root()
        .join(name)
        .map_err(|error| SystemError::io("open", path)(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let above = path.parent().unwrap_or_default();
    Ok(Place::Inside { jail: Arc::new(jail.below(&above)?), start })
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
}

/// Absolute, without NUL, `.` and `..`: what is to be reached is said plainly or not at all.
fn is_plain(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && !path.contains(&0)
        && !components(path).any(|component| matches!(component, b"." | b".."))
}

fn is_prefix(allowed: &[Vec<u8>], asked: &[&[u8]]) -> bool {
    allowed.len() <= asked.len() && allowed.iter().zip(asked).all(|(own, asked)| own == asked)
}

fn shown_path(path: &Path) -> String {
    display_name(OsStr::as_bytes(path.as_os_str())).into_owned()
}

/// What the system says, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
#[path = "allowed_tests.rs"]
mod tests;
