//! `orbit backup`, `restore` and `recover`.

use super::node::OwnNodeArgs;
use clap::Args;
use std::path::PathBuf;

/// `orbit backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file; - writes to standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only read the file, and check all of it
    #[arg(long, conflicts_with_all = ["local", "passphrase_file"])]
    pub verify: bool,
    /// Of this machine's own copy, which may be behind: works without a Nucleus
    #[arg(long)]
    pub local: bool,
    /// Where its secrets get their key from.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
}

/// `orbit restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put aside what this machine holds of a grid; nothing of it is deleted
    #[arg(long)]
    pub replace: bool,
    /// The grid's seal key, for a nightly backup [default: nucleus/seal.key in the data directory]
    #[arg(long, value_name = "KEY", conflicts_with = "passphrase_file")]
    pub seal_key: Option<PathBuf>,
    /// What the node lets others reach.
    #[command(flatten)]
    pub own: OwnNodeArgs,
    /// Directory that the grid may reach on this machine; may be given several times
    #[arg(long, value_name = "PATH")]
    pub allow: Vec<PathBuf>,
    /// What opens its secrets.
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
}

/// Where a passphrase comes from.
#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// A file whose first line is the passphrase [default: ORBIT_BACKUP_PASSPHRASE, or it is asked for]
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `orbit recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Do not ask; NAME is the grid's name
    #[arg(long, value_name = "NAME")]
    pub yes_lose_quorum: Option<String>,
    /// Here, although another survivor that answers has newer changes: they are lost
    #[arg(long)]
    pub here: bool,
}
