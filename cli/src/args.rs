//! What may be written on the command line. The contract is `docs/cli.md`.

pub mod filter;
pub mod grid;
pub mod job;
pub mod node;
pub mod options;
pub mod rescue;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use filter::FilterArgs;
use grid::{AuthorityArgs, ConstellationArgs, TokenArgs};
use job::JobArgs;
use node::NodeArgs;
use options::{EndpointArg, SyncArgs};
use rescue::{BackupArgs, RecoverArgs, RestoreArgs};
use std::path::PathBuf;

/// Move files so that nothing is ever half done
///
/// An ENDPOINT is a path on this machine, or NODE:PATH in a grid. A local path with a colon is written ./a:b.
#[derive(Debug, Parser)]
#[command(name = "orbit", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Options every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all done                         5  unreachable: node, Nucleus or quorum
  1  unexpected failure               6  refused: jail, rights, token, certificate
  2  usage                            7  the plan no longer fits what is on disk
  3  partial: some files failed       8  a guard stopped it: delete gate, free space,
  4  something named does not exist      missing source marker, overlapping trees";

/// Options every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Print JSON: one object, or one a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// Where Orbit keeps its state [default: $XDG_STATE_HOME/orbit or ~/.local/state/orbit]
    #[arg(long, global = true, value_name = "DIR", env = "ORBIT_DATA_DIR", hide_env_values = true)]
    pub data_dir: Option<PathBuf>,
    /// Tell more: each change (-v), and what goes on inside (-vv)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Tell only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "ORBIT_COLOR",
        hide_env_values = true
    )]
    pub color: ColorWhen,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make DESTINATION hold what SOURCE holds
    Sync(SyncArgs),
    /// Make, show, run and remove stored plans
    Plan(PlanArgs),
    /// List path, size and modification time of every entry
    Scan(ScanArgs),
    /// Print BLAKE3 of files, or their chunks and manifest root
    Hash(HashArgs),
    /// Find what is stored twice, where, and what sharing would save
    Dedup(DedupArgs),
    /// List a directory, here or on a node of the grid
    Ls(LsArgs),
    /// Found, join and run a grid; its nodes
    Node(NodeArgs),
    /// Let other machines join the grid
    Token(TokenArgs),
    /// Syncs between nodes of the grid
    Job(JobArgs),
    /// Tell whether the grid is healthy
    Status,
    /// Groups of nodes
    Constellation(ConstellationArgs),
    /// The grid's certificate authorities
    Ca(AuthorityArgs),
    /// Write everything the grid knows to a file
    Backup(BackupArgs),
    /// Begin a grid anew from a backup, with this machine as its Nucleus
    Restore(RestoreArgs),
    /// Go on with what this machine has, when most voters are lost for good
    Recover(RecoverArgs),
    /// Check this machine; each finding comes with its fix
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual pages
    Man(ManArgs),
}

/// `orbit plan`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(
    override_usage = "orbit plan [OPTIONS] <SOURCE> <DESTINATION>\n       orbit plan <show|run|rm> <ID>\n       \
                            orbit plan ls"
)]
pub struct PlanArgs {
    /// What to do with stored plans.
    #[command(subcommand)]
    pub stored: Option<StoredPlanCommand>,
    /// What to plan.
    #[command(flatten)]
    pub make: options::RequestIfGiven,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What to do with a stored plan.
#[derive(Debug, Subcommand)]
pub enum StoredPlanCommand {
    /// Print every change of a plan
    Show(PlanIdArgs),
    /// Run a plan, if the disk is still as it was
    Run(RunPlanArgs),
    /// List the stored plans
    Ls,
    /// Forget a plan
    Rm(PlanIdArgs),
}

/// A stored plan.
#[derive(Debug, Args)]
pub struct PlanIdArgs {
    /// Id of the plan, or how it begins
    pub id: String,
}

/// `orbit plan run`.
#[derive(Debug, Args)]
pub struct RunPlanArgs {
    /// Which plan.
    #[command(flatten)]
    pub plan: PlanIdArgs,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProgressArgs {
    /// Show progress even when stderr is no terminal
    #[arg(long)]
    pub progress: bool,
}

/// `orbit scan`.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// The directory
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: EndpointArg,
    /// What is left out.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Do not descend into other file systems
    #[arg(long)]
    pub one_file_system: bool,
    /// End records with NUL and print names as they are, instead of escaping what is not printable
    #[arg(short = '0', long, conflicts_with = "json")]
    pub null: bool,
}

/// `orbit hash`.
#[derive(Debug, Args)]
pub struct HashArgs {
    /// A file, or a directory whose files are hashed
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: EndpointArg,
    /// Print every chunk (offset, length, hash) and the manifest root instead
    #[arg(long)]
    pub chunks: bool,
    /// What is left out.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Do not descend into other file systems
    #[arg(long)]
    pub one_file_system: bool,
    /// End records with NUL and print names as they are, instead of escaping what is not printable
    #[arg(short = '0', long, conflicts_with = "json")]
    pub null: bool,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `orbit dedup`.
#[derive(Debug, Args)]
pub struct DedupArgs {
    /// Directories and files to compare, of one or several machines
    #[arg(value_name = "ENDPOINT", required = true)]
    pub endpoints: Vec<EndpointArg>,
    /// Share the extents of identical files of this machine, where the file system can, after the kernel compared them
    /// byte by byte
    #[arg(long)]
    pub apply: bool,
    /// Also count what repeats below whole files, by chunks; reads every file
    #[arg(long)]
    pub chunks: bool,
    /// What is left out.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Do not descend into other file systems
    #[arg(long)]
    pub one_file_system: bool,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// `orbit ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// A directory, or another path to show by itself
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: EndpointArg,
}

/// `orbit doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Directories whose file systems are checked too
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The port a node would listen on
    #[arg(long, value_name = "PORT", default_value_t = orbit_node::doctor::DEFAULT_PORT)]
    pub port: u16,
}

/// `orbit completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `orbit man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one file a command to this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// The command as clap sees it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Reads the process's command line.
pub fn parse() -> Result<Arguments, clap::Error> {
    parse_from(std::env::args_os())
}

/// Reads a command line; the first argument is the program's name.
pub fn parse_from<I>(line: I) -> Result<Arguments, clap::Error>
where
    I: IntoIterator<Item: Into<std::ffi::OsString> + Clone>,
{
    let matches = command().try_get_matches_from(line)?;
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

#[cfg(test)]
mod tests;
