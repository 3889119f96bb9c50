//! The options of a sync, and how they become a [`SyncRequest`].

use super::ProgressArgs;
use super::filter::FilterArgs;
use crate::exit::CliError;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParserFactory};
use clap::{ArgMatches, Args, FromArgMatches};
use orbit_core::endpoint::Endpoint;
use orbit_core::rate::BandwidthSchedule;
use orbit_node::standalone::error::chain;
use orbit_node::standalone::request::{SyncRequest, Trash};
use std::ffi::OsString;
use std::path::PathBuf;

/// `orbit sync`.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// What is synced.
    #[command(flatten)]
    pub request: RequestArgs,
    /// Print the plan, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Do not ask: a sync between nodes shows its plan and asks, one on this machine never does
    #[arg(short, long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Whether progress is shown.
    #[command(flatten)]
    pub progress: ProgressArgs,
}

/// What is synced, and how.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// A directory (its contents) or a file
    pub source: EndpointArg,
    /// What is made to hold it
    pub destination: EndpointArg,

    /// Also delete what SOURCE lacks
    #[arg(long)]
    pub mirror: bool,
    /// Refuse to delete more than this percentage of the destination's entries
    #[arg(long, value_name = "PCT", default_value = "25", value_parser = percent, requires = "mirror")]
    pub max_delete: u8,
    /// Keep what is deleted or replaced in .orbit-trash, or in DIR on the same file system
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "clap's type for an option whose value may be left out")]
    pub trash: Option<Option<PathBuf>>,
    /// Do nothing unless FILE exists in SOURCE: proof that its disk is mounted
    #[arg(long, value_name = "FILE")]
    pub source_marker: Option<PathBuf>,

    /// Compare by content hash instead of size and modification time
    #[arg(short, long)]
    pub checksum: bool,
    /// Re-read the destination from its disk after writing
    #[arg(long)]
    pub verify: bool,

    /// What is left out.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Do not descend into other file systems
    #[arg(long)]
    pub one_file_system: bool,

    /// Bytes a second (10M, 500k, off), or a timetable such as "08:00,1M 23:00,off"
    #[arg(long, value_name = "RATE", env = "ORBIT_BWLIMIT", hide_env_values = true, value_parser = bandwidth)]
    pub bwlimit: Option<BandwidthSchedule>,
    /// Worker threads [default: by the machine]
    #[arg(short, long, value_name = "N", env = "ORBIT_JOBS", hide_env_values = true, value_parser = jobs)]
    pub jobs: Option<usize>,

    /// Do not keep owner and group (they are kept as root only)
    #[arg(long)]
    pub no_owner: bool,
    /// Do not keep permission bits
    #[arg(long)]
    pub no_perms: bool,
    /// Do not keep extended attributes and ACLs
    #[arg(long)]
    pub no_xattrs: bool,
}

impl RequestArgs {
    /// Whether a node of the grid is named on either side.
    pub const fn crosses_nodes(&self) -> bool {
        matches!(self.source.0, Endpoint::Remote { .. })
            || matches!(self.destination.0, Endpoint::Remote { .. })
    }

    /// The request, if both sides are on this machine.
    pub fn into_request(self) -> Result<SyncRequest, CliError> {
        Ok(SyncRequest {
            source: self.source.local()?,
            destination: self.destination.local()?,
            mirror: self.mirror,
            max_delete_percent: self.max_delete,
            trash: match self.trash {
                None => Trash::Off,
                Some(None) => Trash::Default,
                Some(Some(directory)) => Trash::Directory(directory),
            },
            checksum: self.checksum,
            verify: self.verify,
            rules: self.filter.rules,
            ignore_files: self.filter.ignore_files,
            ignore_texts: Vec::new(),
            bandwidth: self.bwlimit,
            jobs: self.jobs.unwrap_or(0),
            one_file_system: self.one_file_system,
            owner: !self.no_owner,
            permissions: !self.no_perms,
            xattrs: !self.no_xattrs,
            source_marker: self.source_marker,
        })
    }
}

/// A request where SOURCE is given. `Option<RequestArgs>` would be one only if no struct were flattened inside.
#[derive(Debug)]
pub struct RequestIfGiven(pub Option<RequestArgs>);

impl Args for RequestIfGiven {
    fn augment_args(command: clap::Command) -> clap::Command {
        RequestArgs::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        RequestArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for RequestIfGiven {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = matches.contains_id("source");
        Ok(Self(is_given.then(|| RequestArgs::from_arg_matches(matches)).transpose()?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// An endpoint as an argument.
#[derive(Clone, Debug)]
pub struct EndpointArg(pub Endpoint);

impl EndpointArg {
    /// Its path, if it is on this machine.
    pub fn local(self) -> Result<PathBuf, CliError> {
        match self.0 {
            Endpoint::Local(path) => Ok(path),
            endpoint @ Endpoint::Remote { .. } => Err(CliError::Elsewhere { endpoint }),
        }
    }
}

impl ValueParserFactory for EndpointArg {
    type Parser = EndpointParser;

    fn value_parser() -> EndpointParser {
        EndpointParser
    }
}

/// Reads an [`EndpointArg`] from any bytes: names need not be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct EndpointParser;

impl TypedValueParser for EndpointParser {
    type Value = EndpointArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<EndpointArg, clap::Error> {
        let parser = OsStringValueParser::new()
            .try_map(|written: OsString| Endpoint::parse(&written).map(EndpointArg));
        parser.parse_ref(command, arg, value)
    }
}

/// clap tells an error's text and not its causes.
pub(super) fn bandwidth(text: &str) -> Result<BandwidthSchedule, String> {
    text.parse().map_err(|error| chain(&error))
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number.parse().ok().filter(|n| *n <= 100).ok_or_else(|| "write a whole number from 0 to 100".to_owned())
}

/// More threads than this cost memory and gain nothing on any machine.
const JOBS_MAX: usize = 64;

fn jobs(text: &str) -> Result<usize, String> {
    let valid = |n: &usize| (1..=JOBS_MAX).contains(n);
    text.parse().ok().filter(valid).ok_or_else(|| format!("write a whole number from 1 to {JOBS_MAX}"))
}
