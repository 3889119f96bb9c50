//! [`Config`]: what `star.toml` says of a node, read and checked.
//!
//! ```toml
//! name = "nas2"
//! [security]
//! allowed_paths = ["/mnt/data"]
//! [mesh]
//! listen = ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]
//! mdns = true
//! link_port = 0                        # for the data of jobs; 0: any free one
//! via = ["gateway.example.org:4001"]   # where to look for the grid when mDNS does not reach it
//! [nucleus]                            # heeded on whichever node is the Nucleus: the same on all is best
//! voters = 3                           # nodes that vote, if there are enough: 1, 3 or 5
//! stabilise_s = 30                     # a voter that is silent for longer is replaced
//! snapshot_every = 10000               # entries of the log after which a snapshot is written
//! ```

use super::error::DaemonError;
use orbit_core::endpoint::is_node_name;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Directories a node can allow at most.
const ALLOWED_PATHS_MAX: usize = 64;
/// Largest `star.toml` that is read, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A node's configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name it wishes for; the grid's word counts once it is a member.
    pub name: String,
    /// Its jail: absolute paths.
    pub allowed_paths: Vec<PathBuf>,
    /// Multiaddresses it listens on.
    pub listen: Vec<String>,
    /// Whether it finds others and lets itself be found by mDNS.
    pub mdns: bool,
    /// The port on which direct links are taken, at the addresses of `listen`; 0 for any free one.
    pub link_port: u16,
    /// Where to look for the grid besides: `HOST:PORT` or multiaddresses.
    pub via: Vec<String>,
    /// Voters that are wanted, if there are nodes for them.
    pub voters: u8,
    /// How long a voter may be silent before it is replaced.
    pub stabilise: Duration,
    /// Entries of the log after which a snapshot is written.
    pub snapshot_every: u64,
}

/// Voters that are wanted unless `star.toml` says otherwise.
const VOTERS: u8 = 3;
/// Likewise, seconds of silence.
const STABILISE_S: u64 = 30;
/// Longest time that can be set, seconds: a day.
const STABILISE_S_MAX: u64 = 86_400;
/// Entries between snapshots unless `star.toml` says otherwise.
const SNAPSHOT_EVERY: u64 = 10_000;
/// Fewest and most that can be set.
const SNAPSHOT_EVERY_MIN: u64 = 10;
const SNAPSHOT_EVERY_MAX: u64 = 10_000_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    name: String,
    #[serde(default)]
    security: RawSecurity,
    #[serde(default)]
    mesh: RawMesh,
    #[serde(default, skip_serializing_if = "RawNucleus::is_default")]
    nucleus: RawNucleus,
    #[serde(skip_serializing)]
    api: Option<toml::Value>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawNucleus {
    voters: u8,
    stabilise_s: u64,
    snapshot_every: u64,
}

impl RawNucleus {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RawNucleus {
    fn default() -> Self {
        Self { voters: VOTERS, stabilise_s: STABILISE_S, snapshot_every: SNAPSHOT_EVERY }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSecurity {
    #[serde(default)]
    allowed_paths: Vec<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMesh {
    listen: Vec<String>,
    mdns: bool,
    #[serde(skip_serializing_if = "is_any_port")]
    link_port: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    via: Vec<String>,
}

impl Default for RawMesh {
    fn default() -> Self {
        Self { listen: default_listen(), mdns: true, link_port: 0, via: Vec::new() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_any_port(port: &u16) -> bool {
    *port == 0
}

fn default_listen() -> Vec<String> {
    let port = orbit_mesh::DEFAULT_PORT;
    vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")]
}

/// Why a `star.toml` is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no TOML, or has keys or values of another kind than expected.
    #[error("it is not as expected")]
    Syntax(#[from] toml::de::Error),
    /// Its name is none.
    #[error("`{0}` is no node name")]
    Name(String),
    /// A path of the jail is not absolute, or not plain.
    #[error("allowed path {} is not absolute, or has `.` or `..` in it", .0.display())]
    Relative(PathBuf),
    /// Too many paths.
    #[error("{0} allowed paths are more than the {ALLOWED_PATHS_MAX} a node can have")]
    TooMany(usize),
    /// An address to listen on is none.
    #[error("`{0}` is no multiaddress; an example is /ip4/0.0.0.0/tcp/4001")]
    Listen(String),
    /// It asks for what is not there yet.
    #[error("[api] is not supported yet: the API answers on orbit.sock in the data directory")]
    Api,
    /// A number of voters that no grid has.
    #[error("[nucleus] voters is {0}; it can be 1, 3 or 5")]
    Voters(u8),
    /// A time that is too short or too long.
    #[error("[nucleus] stabilise_s is {0}; it can be 1 to {STABILISE_S_MAX}")]
    Stabilise(u64),
    /// So many entries between snapshots that they come all the time, or never.
    #[error("[nucleus] snapshot_every is {0}; it can be {SNAPSHOT_EVERY_MIN} to {SNAPSHOT_EVERY_MAX}")]
    SnapshotEvery(u64),
    /// It cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It is larger than a configuration can be.
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    Large,
}

impl Config {
    /// Of a node that founds or joins a grid. The directories must exist; relative ones count from here.
    pub fn for_new_node(
        name: Option<&str>,
        allow: &[PathBuf],
        listen: &[String],
        mdns: bool,
    ) -> Result<Self, DaemonError> {
        let name = name.map_or_else(host_name, str::to_owned);
        if !is_node_name(name.as_bytes()) {
            return Err(DaemonError::BadName { name });
        }
        if allow.len() > ALLOWED_PATHS_MAX {
            return Err(DaemonError::TooManyPaths { max: ALLOWED_PATHS_MAX });
        }
        let mut allowed_paths = Vec::new();
        for path in allow {
            let refused = |source| DaemonError::AllowedPath { path: path.clone(), source };
            // Without links and dots: paths that are asked for are compared with it as text.
            let absolute = std::fs::canonicalize(path).map_err(refused)?;
            if !absolute.is_dir() {
                return Err(refused(io::ErrorKind::NotADirectory.into()));
            }
            allowed_paths.push(absolute);
        }
        let listen = if listen.is_empty() { default_listen() } else { listen.to_vec() };
        for address in &listen {
            if address.parse::<orbit_mesh::Multiaddr>().is_err() {
                return Err(DaemonError::Address {
                    address: address.clone(),
                    reason: "it is no multiaddress".to_owned(),
                });
            }
        }
        let stabilise = Duration::from_secs(STABILISE_S);
        Ok(Self {
            name,
            allowed_paths,
            listen,
            mdns,
            link_port: 0,
            via: Vec::new(),
            voters: VOTERS,
            stabilise,
            snapshot_every: SNAPSHOT_EVERY,
        })
    }

    /// Reads `star.toml`.
    pub fn load(path: &Path) -> Result<Self, DaemonError> {
        let refused =
            |error: ConfigError| DaemonError::Config { path: path.to_owned(), source: Box::new(error) };
        let read = || -> Result<String, ConfigError> {
            if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
                return Err(ConfigError::Large);
            }
            Ok(std::fs::read_to_string(path)?)
        };
        read().and_then(|text| Self::parse(&text)).map_err(refused)
    }

    /// Reads the text of a `star.toml`. Unknown keys are refused: a misspelt one must not be ignored.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text)?;
        if !is_node_name(raw.name.as_bytes()) {
            return Err(ConfigError::Name(raw.name));
        }
        if raw.api.is_some() {
            return Err(ConfigError::Api);
        }
        let paths = raw.security.allowed_paths;
        if paths.len() > ALLOWED_PATHS_MAX {
            return Err(ConfigError::TooMany(paths.len()));
        }
        let is_plain = |path: &&PathBuf| {
            let parts = path.as_os_str().as_encoded_bytes().split(|&byte| byte == b'/');
            path.is_absolute() && parts.into_iter().all(|part| part != b"." && part != b"..")
        };
        if let Some(relative) = paths.iter().find(|path| !is_plain(path)) {
            return Err(ConfigError::Relative(relative.clone()));
        }
        if let Some(bad) = raw.mesh.listen.iter().find(|text| text.parse::<orbit_mesh::Multiaddr>().is_err())
        {
            return Err(ConfigError::Listen(bad.clone()));
        }
        if !matches!(raw.nucleus.voters, 1 | 3 | 5) {
            return Err(ConfigError::Voters(raw.nucleus.voters));
        }
        if !(1..=STABILISE_S_MAX).contains(&raw.nucleus.stabilise_s) {
            return Err(ConfigError::Stabilise(raw.nucleus.stabilise_s));
        }
        if !(SNAPSHOT_EVERY_MIN..=SNAPSHOT_EVERY_MAX).contains(&raw.nucleus.snapshot_every) {
            return Err(ConfigError::SnapshotEvery(raw.nucleus.snapshot_every));
        }
        Ok(Self {
            name: raw.name,
            allowed_paths: paths,
            listen: raw.mesh.listen,
            mdns: raw.mesh.mdns,
            link_port: raw.mesh.link_port,
            via: raw.mesh.via,
            voters: raw.nucleus.voters,
            stabilise: Duration::from_secs(raw.nucleus.stabilise_s),
            snapshot_every: raw.nucleus.snapshot_every,
        })
    }

    /// Writes `star.toml`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), DaemonError> {
        let raw = RawConfig {
            name: self.name.clone(),
            security: RawSecurity { allowed_paths: self.allowed_paths.clone() },
            mesh: RawMesh {
                listen: self.listen.clone(),
                mdns: self.mdns,
                link_port: self.link_port,
                via: self.via.clone(),
            },
            nucleus: RawNucleus {
                voters: self.voters,
                stabilise_s: self.stabilise.as_secs(),
                snapshot_every: self.snapshot_every,
            },
            api: None,
        };
        let text = toml::to_string(&raw)
            .map_err(|error| DaemonError::Config { path: path.to_owned(), source: Box::new(error) })?;
        super::data_dir::write_whole(path, text.as_bytes()).map_err(DaemonError::file("write", path))
    }
}

/// The machine's name up to the first dot, with what a node name cannot hold left out.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String = name
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(orbit_core::endpoint::NODE_NAME_LEN_MAX)
        .collect();
    if is_node_name(name.as_bytes()) { name } else { "node".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONTRACT: &str = r#"
name = "nas2"
[security]
allowed_paths = ["/mnt/data"]
[mesh]
listen = ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"]
mdns = true
"#;

    #[test]
    fn the_example_of_the_contract_is_read() {
        let config = Config::parse(CONTRACT).expect("it is as the contract says");
        assert_eq!(config.name, "nas2");
        assert_eq!(config.allowed_paths, [PathBuf::from("/mnt/data")]);
        assert_eq!(config.listen, default_listen());
        assert!(config.mdns);
    }

    #[test]
    fn a_name_is_enough() {
        let config = Config::parse("name = \"nas2\"").expect("the rest has defaults");
        assert_eq!((config.listen, config.mdns, config.allowed_paths), (default_listen(), true, Vec::new()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, word) in [
            ("name = \"nas2\"\nallowd_paths = []", "allowd_paths"),
            ("name = \"nas2\"\n[mesh]\nmdsn = false", "mdsn"),
            ("", "name"),
            ("name = \"n\"", "node name"),
            ("name = \"nas2\"\n[security]\nallowed_paths = [\"data\"]", "absolute"),
            ("name = \"nas2\"\n[security]\nallowed_paths = [\"/srv/../data\"]", "`..`"),
            ("name = \"nas2\"\n[nucleus]\nvoters = 4", "1, 3 or 5"),
            ("name = \"nas2\"\n[nucleus]\nstabilise_s = 0", "stabilise_s"),
            ("name = \"nas2\"\n[api]\nlisten = \"127.0.0.1:7700\"", "orbit.sock"),
            ("name = \"nas2\"\n[mesh]\nlisten = [\"0.0.0.0:4001\"]", "multiaddress"),
        ] {
            let error = Config::parse(text).expect_err(text);
            let told = crate::standalone::error::chain(&error);
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn a_saved_one_comes_back() {
        let place = tempfile::tempdir().expect("makes a directory");
        let path = place.path().join("star.toml");
        let config = Config {
            via: vec!["a.example:4001".into()],
            link_port: 4100,
            voters: 5,
            stabilise: Duration::from_secs(7),
            snapshot_every: 70,
            ..Config::parse(CONTRACT).expect("reads")
        };
        config.save(&path).expect("saves");
        assert_eq!(Config::load(&path).expect("loads"), config);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Config::parse(&text);
        }
    }
}
