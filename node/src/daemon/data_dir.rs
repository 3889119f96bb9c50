//! [`DataDir`]: where a node keeps what it is, and [`Membership`]: which grid it belongs to.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `star.toml` | configuration, the owner's to edit | 0600 |
//! | `identity/node.key` | Ed25519 key, PKCS#8 PEM | 0600 |
//! | `identity/membership.cbor` | [`Membership`]: version byte 1, then CBOR; present exactly while the node is a member | 0600 |
//! | `nucleus/` | the replicated records and their log, on those who vote or learn; `group/files.rs` | 0700 |
//! | `jobs.db`, `universe_v3.db` | databases | 0600 |
//! | `jobs/` | the jobs that this node executes, and their plans | 0700 |
//! | `orbit.sock` | the API | 0600 |
//! | `orbit.lock` | held by the daemon | 0600 |

use super::error::DaemonError;
use orbit_core::grid::Fence;
use orbit_core::ids::{GridId, NodeId, Serial};
use orbit_core::wire::bytes::{self, Octets};
use orbit_core::wire::join::NucleusAddress;
use orbit_core::wire::{WireError, decode, encode};
use orbit_mesh::key::NodeKey;
use orbit_mesh::pki::{PkiError, Trust};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Version of the membership file.
const MEMBERSHIP_VERSION: u8 = 1;

/// Longest path of a Unix socket: `sun_path` has 108 bytes, the last of them NUL.
pub(crate) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A node's data directory.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Which grid a node belongs to, and what it knows of it without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The grid.
    pub grid: GridId,
    /// Its name.
    pub grid_name: String,
    /// The node.
    pub node: NodeId,
    /// Its certificate, DER.
    #[serde(with = "bytes")]
    pub certificate: Vec<u8>,
    /// The authorities it trusts, DER, self-signed and cross-signed.
    pub anchors: Vec<Octets>,
    /// Revoked certificates it knows of.
    pub revoked: Vec<Serial>,
    /// Where the Nucleus is, or may be.
    pub nuclei: Vec<NucleusAddress>,
    /// Highest epoch and term it has seen.
    pub fence: Fence,
}

impl Membership {
    /// What certificates are checked against.
    pub fn trust(&self) -> Result<Trust, PkiError> {
        let anchors: Vec<Vec<u8>> = self.anchors.iter().map(|anchor| anchor.0.clone()).collect();
        Trust::new(self.grid, &anchors, self.revoked.iter().copied())
    }
}

/// The daemon's hold on its directory; ends with the value or the process.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl DataDir {
    /// At this path, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration.
    pub fn star_toml(&self) -> PathBuf {
        self.0.join("star.toml")
    }

    /// The run and grid database.
    pub fn jobs_db(&self) -> PathBuf {
        self.0.join(crate::standalone::state::JOBS_FILE)
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join("orbit.sock")
    }

    /// Where a member of the group that elects the Nucleus keeps the grid's records.
    pub fn nucleus(&self) -> PathBuf {
        self.0.join("nucleus")
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("identity/node.key")
    }

    fn membership_file(&self) -> PathBuf {
        self.0.join("identity/membership.cbor")
    }

    /// Makes the directories, readable by their owner only.
    pub fn create(&self) -> Result<(), DaemonError> {
        if self.socket().as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(DaemonError::LongPath { path: self.socket() });
        }
        let directory = self.0.join("identity");
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&directory).map_err(DaemonError::file("create directory", directory))
    }

    /// Makes the directory of the grid's records, readable by its owner only.
    pub(crate) fn create_nucleus(&self) -> Result<(), DaemonError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(self.nucleus()).map_err(DaemonError::file("create directory", self.nucleus()))
    }

    /// A name beside `nucleus/` that nothing has yet, for what is put aside.
    pub(crate) fn aside(&self, why: &str, now_ms: i64) -> PathBuf {
        let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let name = format!("nucleus.{why}-{}", time.strftime("%Y-%m-%dT%H-%M-%SZ"));
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        let mut free = std::iter::once(name.clone()).chain(numbered).map(|name| self.0.join(name));
        free.find(|path| !path.exists()).unwrap_or_else(|| self.0.join(name))
    }

    /// An empty place beside `nucleus/`, in which another one is made.
    pub(crate) fn scratch(&self, name: &str) -> Result<Self, DaemonError> {
        let path = self.0.join(name);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DaemonError::file("remove", path)(error));
            }
            _ => {}
        }
        let scratch = Self(path);
        scratch.create_nucleus()?;
        Ok(scratch)
    }

    /// Puts `nucleus/` aside, if there is one, and that of `scratch` in its place, durably. Where the old one lies now.
    pub(crate) fn replace_nucleus(&self, scratch: &Self, why: &str) -> Result<Option<PathBuf>, DaemonError> {
        let nucleus = self.nucleus();
        let aside = nucleus.exists().then(|| self.aside(why, crate::standalone::state::now_ms()));
        if let Some(aside) = &aside {
            std::fs::rename(&nucleus, aside).map_err(DaemonError::file("rename", &nucleus))?;
        }
        std::fs::rename(scratch.nucleus(), &nucleus)
            .map_err(DaemonError::file("rename", scratch.nucleus()))?;
        self.flush()?;
        // Nothing is in it any more; the next attempt would remove it, too.
        let _ = std::fs::remove_dir_all(scratch.path());
        Ok(aside)
    }

    /// Makes its names durable.
    pub(crate) fn flush(&self) -> Result<(), DaemonError> {
        File::open(&self.0)
            .and_then(|directory| directory.sync_all())
            .map_err(DaemonError::file("flush", &self.0))
    }

    /// Keeps other daemons out.
    pub fn lock(&self) -> Result<Lock, DaemonError> {
        let path = self.0.join("orbit.lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&path).map_err(DaemonError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(DaemonError::AlreadyRunning { data_dir: self.0.clone() })
            }
            Err(std::fs::TryLockError::Error(error)) => Err(DaemonError::file("lock", path)(error)),
        }
    }

    /// Refuses if this directory belongs to a member already.
    pub fn refuse_if_member(&self) -> Result<(), DaemonError> {
        if !self.membership_file().exists() {
            return Ok(());
        }
        let membership = self.membership()?;
        let name = super::config::Config::load(&self.star_toml()).map(|config| config.name);
        Err(DaemonError::AlreadyInGrid {
            grid: membership.grid_name,
            name: name.unwrap_or_else(|_| membership.node.to_string()),
            data_dir: self.0.clone(),
        })
    }

    /// The node's key; made if there is none.
    pub fn key_or_new(&self) -> Result<NodeKey, DaemonError> {
        let path = self.key_file();
        Ok(if path.exists() { NodeKey::load(&path)? } else { NodeKey::create(&path)? })
    }

    /// The node's key.
    pub fn key(&self) -> Result<NodeKey, DaemonError> {
        Ok(NodeKey::load(&self.key_file())?)
    }

    /// Which grid this is a node of.
    pub fn membership(&self) -> Result<Membership, DaemonError> {
        let path = self.membership_file();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DaemonError::NotInGrid { data_dir: self.0.clone() });
            }
            Err(error) => return Err(DaemonError::file("read", path)(error)),
        };
        let damaged = |source: WireError| DaemonError::Damaged { path: path.clone(), source };
        match bytes.split_first() {
            Some((&MEMBERSHIP_VERSION, body)) => decode(body).map_err(damaged),
            _ => Err(damaged(WireError::Malformed("it begins with another version".into()))),
        }
    }

    /// Keeps a membership, whole or not at all.
    pub fn save_membership(&self, membership: &Membership) -> Result<(), DaemonError> {
        let path = self.membership_file();
        let mut bytes = vec![MEMBERSHIP_VERSION];
        bytes.extend(encode(membership));
        write_whole(&path, &bytes).map_err(DaemonError::file("write", path))
    }

    /// Forgets the grid with its records, which others have or which end with this node; then as [`forget`](Self::forget).
    pub fn forget_grid(&self) -> Result<(), DaemonError> {
        let nucleus = self.nucleus();
        match std::fs::remove_dir_all(&nucleus) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DaemonError::file("remove", nucleus)(error))
            }
            _ => self.forget(),
        }
    }

    /// Forgets the grid, durably: the key first, and last the membership, so that what was cut off in between can be
    /// done again.
    pub fn forget(&self) -> Result<(), DaemonError> {
        for path in [self.key_file(), self.membership_file()] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(DaemonError::file("remove", path)(error));
                }
                _ => {}
            }
        }
        let directory = self.0.join("identity");
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(DaemonError::file("flush", directory))
    }
}

/// Replaces a file by one that is durable and readable by its owner only; at any moment the old or the new one is there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged = directory.join(name);
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&staged)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership {
            grid: GridId::from_bytes([1; 16]),
            grid_name: "home".into(),
            node: NodeId::from_bytes([2; 16]),
            certificate: vec![3; 300],
            anchors: vec![Octets(vec![4; 300])],
            revoked: vec![Serial::from_bytes([5; 16])],
            nuclei: Vec::new(),
            fence: Fence { epoch: 1, term: 7 },
        }
    }

    #[test]
    fn a_membership_comes_back() {
        let place = tempfile::tempdir().expect("makes a directory");
        let home = DataDir::new(place.path());
        home.create().expect("creates");
        assert!(matches!(home.membership(), Err(DaemonError::NotInGrid { .. })));
        home.save_membership(&membership()).expect("saves");
        assert_eq!(home.membership().expect("loads"), membership());
        assert!(matches!(home.refuse_if_member(), Err(DaemonError::AlreadyInGrid { .. })));
        home.forget().expect("forgets");
        assert!(matches!(home.membership(), Err(DaemonError::NotInGrid { .. })));
    }

    #[test]
    fn a_damaged_membership_is_told() {
        let place = tempfile::tempdir().expect("makes a directory");
        let home = DataDir::new(place.path());
        home.create().expect("creates");
        home.save_membership(&membership()).expect("saves");
        let whole = std::fs::read(home.membership_file()).expect("reads");
        for len in 0..whole.len() {
            std::fs::write(home.membership_file(), &whole[..len]).expect("writes");
            assert!(matches!(home.membership(), Err(DaemonError::Damaged { .. })), "{len} bytes");
        }
    }

    #[test]
    fn one_daemon_at_a_time() {
        let place = tempfile::tempdir().expect("makes a directory");
        let home = DataDir::new(place.path());
        let lock = home.lock().expect("locks");
        assert!(matches!(home.lock(), Err(DaemonError::AlreadyRunning { .. })));
        drop(lock);
        home.lock().expect("locks again");
    }
}
