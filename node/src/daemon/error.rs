//! [`DaemonError`]: why a node does not found, join or run.

use super::backup::file::BackupError;
use super::recover::RecoverError;
use super::seal::SealError;
use crate::api::error::{code_of, hint_of};
use crate::api::types::ErrorCode;
use orbit_consensus::{GroupError, StartError};
use orbit_core::grid::{Refusal, TokenError};
use orbit_core::wire::WireError;
use orbit_mesh::key::KeyError;
use orbit_mesh::net::{AskError, ConnectError, MeshError};
use orbit_mesh::pki::PkiError;
use orbit_store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why a node does not found, join or run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The data directory belongs to a node already.
    #[error("this machine is in the grid {grid} already, as {name} ({})", data_dir.display())]
    AlreadyInGrid {
        /// Name of the grid.
        grid: String,
        /// Name of the node.
        name: String,
        /// Where its data lies.
        data_dir: PathBuf,
    },
    /// The data directory belongs to no node.
    #[error("this machine is not in a grid ({})", data_dir.display())]
    NotInGrid {
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// Another daemon uses the data directory.
    #[error("another orbit node runs with {}", data_dir.display())]
    AlreadyRunning {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The grid has removed this node.
    #[error("{name} was removed from the grid {grid}")]
    Removed {
        /// Name of the node.
        name: String,
        /// Name of the grid.
        grid: String,
    },
    /// The socket's path would be longer than the system allows.
    #[error("cannot listen on {}: the path of a socket has at most 107 bytes", path.display())]
    LongPath {
        /// The socket.
        path: PathBuf,
    },
    /// The port for direct links cannot be listened on.
    #[error("cannot listen for direct links on {}", port_told(*.port))]
    LinkPort {
        /// The port; 0 for any.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was pasted is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A node has to be given a jail, or told that it holds no files.
    #[error("nothing is allowed yet: say which directories the grid may reach")]
    NoPaths,
    /// More directories than a node can have.
    #[error("a node can allow at most {max} directories")]
    TooManyPaths {
        /// How many.
        max: usize,
    },
    /// A directory of the jail cannot be used.
    #[error("cannot allow {}", path.display())]
    AllowedPath {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that no node can have.
    #[error(
        "`{name}` is no name: two to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// `star.toml` cannot be understood.
    #[error("cannot read {}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address cannot be understood or found.
    #[error("cannot use the address {address}: {reason}")]
    Address {
        /// As written.
        address: String,
        /// Why.
        reason: String,
    },
    /// A name leads to no address.
    #[error("the name {host} cannot be looked up: {reason}")]
    UnknownHost {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Nobody of the token's grid was found.
    #[error("found no node of the token's grid: {reason}")]
    NoGridFound {
        /// What was seen, and why that is so.
        reason: String,
        /// What to do.
        fix: String,
    },
    /// Members were found, and none of them is the Nucleus.
    #[error("members of the grid answer, but none of them is the Nucleus now")]
    NoNucleusYet,
    /// This machine's clock differs so much that certificates are not valid.
    #[error("this machine's clock is {} {} the grid's", orbit_core::grid::refusal::span(ahead_ms.abs()), if *ahead_ms > 0 { "ahead of" } else { "behind" })]
    Clock {
        /// How far it is ahead, milliseconds.
        ahead_ms: i64,
    },
    /// The node that was asked belongs to another grid than the token.
    #[error("the node at {address} is not of the token's grid")]
    OtherGrid {
        /// Where it was reached.
        address: String,
    },
    /// The grid refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A node could not be reached.
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// A node did not answer.
    #[error(transparent)]
    Ask(Box<AskError>),
    /// The mesh could not start.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be made or read.
    #[error("cannot use the grid's certificates")]
    Pki(#[from] PkiError),
    /// The grid's records are gone, or are of a grid without this node.
    #[error("{} does not hold this node's grid, although this node is to be its Nucleus", path.display())]
    NoRecords {
        /// Where they should be.
        path: PathBuf,
    },
    /// The records hold no key of the authority, or one that cannot be read.
    #[error("the grid's records hold no key of its authority")]
    NoAuthorityKey,
    /// A secret cannot be sealed or unsealed.
    #[error("cannot use the grid's sealed keys")]
    Seal(#[from] SealError),
    /// The group that elects the Nucleus did not do what was asked.
    #[error(transparent)]
    Group(GroupError),
    /// This node's member of the group cannot start.
    #[error(transparent)]
    Start(StartError),
    /// The grid's records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A backup cannot be made or used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The grid is not recovered on this node.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A file of the data directory is damaged.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WireError,
    },
    /// A file of the data directory cannot be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Threads or timers cannot be had.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Part of the daemon ended by itself.
    #[error("the node stopped: {what} ended")]
    Ended {
        /// What.
        what: &'static str,
    },
}

impl From<AskError> for DaemonError {
    fn from(error: AskError) -> Self {
        Self::Ask(Box::new(error))
    }
}

/// A refusal stays one.
impl From<ConnectError> for DaemonError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused { refusal, .. } => Self::Refused(refusal),
            error => Self::Connect(Box::new(error)),
        }
    }
}

impl DaemonError {
    /// Wraps an I/O error on a file of the data directory.
    pub fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// What kind of failure; decides the exit code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Removed { .. }
            | Self::AlreadyInGrid { .. }
            | Self::AlreadyRunning { .. }
            | Self::Clock { .. }
            | Self::OtherGrid { .. } => ErrorCode::Refused,
            Self::Token(_)
            | Self::TooManyPaths { .. }
            | Self::NoPaths
            | Self::BadName { .. }
            | Self::Config { .. }
            | Self::Address { .. } => ErrorCode::Usage,
            Self::AllowedPath { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            Self::UnknownHost { .. }
            | Self::NotInGrid { .. }
            | Self::NoGridFound { .. }
            | Self::Ask(_)
            | Self::Connect(_)
            | Self::NoNucleusYet
            | Self::Group(GroupError::Unsure) => ErrorCode::Unreachable,
            Self::Refused(refusal) => code_of(refusal),
            Self::Backup(error) => error.code(),
            Self::Recover(error) => error.code(),
            _ => ErrorCode::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::AlreadyInGrid { .. } => "`orbit node run` runs it; `orbit node leave` leaves that grid; another --data-dir makes another node".to_owned(),
            Self::Removed { .. } => {
                "forget it here with `orbit node leave --forget`; then join again with a new token".to_owned()
            }
            Self::UnknownHost { .. } => {
                "check the spelling and this machine's DNS, or write the address: --via IP".to_owned()
            }
            Self::LongPath { .. } => "choose a shorter --data-dir".to_owned(),
            Self::LinkPort { .. } => "another program has the port: change `link_port` under [mesh] in star.toml, or leave it out".to_owned(),
            Self::NoRecords { .. } | Self::NoAuthorityKey => {
                "put back a copy of it; without one this grid cannot go on: `orbit node leave --forget`, then found \
                 another"
                    .to_owned()
            }
            Self::Damaged { .. } | Self::Key(_) | Self::Pki(_) => {
                "put back a copy of the data directory, or give this membership up: `orbit node leave --forget`, then \
                 join again with a new token"
                    .to_owned()
            }
            Self::NotInGrid { .. } => "`orbit node init` founds a grid, `orbit node join TOKEN` enters one".to_owned(),
            Self::AlreadyRunning { .. } => "`orbit status` asks it how it is; another --data-dir makes another node".to_owned(),
            Self::Token(TokenError::Version { .. }) => "update orbit on this machine".to_owned(),
            Self::Token(_) => "copy the whole line again, or make a new one with `orbit token create` on a node of the grid".to_owned(),
            Self::TooManyPaths { .. } => "allow a directory above them".to_owned(),
            Self::NoPaths => "add --allow PATH, as often as needed, or --no-files for a node that holds none".to_owned(),
            Self::AllowedPath { path, .. } if path.as_os_str() == "/PATH" => {
                "in place of /PATH name a directory that the grid may reach here".to_owned()
            }
            Self::AllowedPath { path, .. } => format!("make the directory first: mkdir -p {}", path.display()),
            Self::BadName { .. } => "give another one with --name".to_owned(),
            Self::Address { .. } => "write HOST, HOST:PORT, [IPV6]:PORT or a multiaddress such as /ip4/192.0.2.7/tcp/4001".to_owned(),
            Self::NoGridFound { fix, .. } => fix.clone(),
            Self::NoNucleusYet => "ask again in a few seconds; `orbit status` on a member tells whether enough of its voters run".to_owned(),
            Self::Clock { .. } => "set it (for example `timedatectl set-ntp true`) and join again".to_owned(),
            Self::OtherGrid { .. } => "give the address of a node of the grid that made the token".to_owned(),
            Self::Refused(refusal) => return hint_of(refusal),
            Self::Backup(error) => return error.hint(),
            Self::Recover(error) => return Some(error.hint()),
            Self::Connect(_) | Self::Ask(_) => "is `orbit node run` running there, and does a firewall let TCP port 4001 through?".to_owned(),
            Self::Mesh(_) => "another program has the port: change `listen` under [mesh] in star.toml, or stop it".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}

fn port_told(port: u16) -> String {
    if port == 0 { "any port".to_owned() } else { format!("port {port}") }
}
