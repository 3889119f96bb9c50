//! `orbit node`: founding and joining a grid, and its nodes.

use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

/// `orbit node`.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Found a grid; this machine is its first node, and its Nucleus
    Init(InitArgs),
    /// Let this machine join a grid
    Join(JoinArgs),
    /// Run this machine's node in the foreground
    Run,
    /// List the nodes of the grid
    Ls,
    /// Show all about a node
    Show(OneNodeArgs),
    /// Give a node another name
    Rename(RenameArgs),
    /// Let a node vote in electing the Nucleus, before others
    Promote(OneNodeArgs),
    /// Let a node vote no more
    Demote(OneNodeArgs),
    /// Give a node no new work; the Nucleus hands over
    Drain(DrainArgs),
    /// Remove a node from the grid; its certificate is worth nothing from then on
    Rm(RemoveNodeArgs),
    /// Let this machine leave the grid
    Leave(LeaveArgs),
}

/// `orbit node init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Name of the grid [default: home]
    #[arg(long, value_name = "NAME")]
    pub grid_name: Option<String>,
    /// What the node lets others reach.
    #[command(flatten)]
    pub own: OwnNodeArgs,
    /// Directory that the grid may reach on this machine; may be given several times
    #[arg(long, value_name = "PATH")]
    pub allow: Vec<PathBuf>,
}

/// `orbit node join`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["token", "token_option"]).required(true))]
pub struct JoinArgs {
    /// What `orbit token create` printed on a node of the grid; - reads it from standard input
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
    /// The same
    #[arg(long = "token", id = "token_option", value_name = "TOKEN")]
    pub token_option: Option<String>,
    /// Where a node of the grid is: HOST, HOST:PORT or a multiaddress [default: found by mDNS]
    #[arg(long, visible_alias = "hub", value_name = "ADDR")]
    pub via: Option<String>,
    /// What the node lets others reach.
    #[command(flatten)]
    pub own: OwnNodeArgs,
    /// Directory that the grid may reach on this machine; may be given several times
    #[arg(long, value_name = "PATH")]
    pub allow: Vec<PathBuf>,
    /// Hold no files for the grid
    #[arg(long, conflicts_with = "allow")]
    pub no_files: bool,
}

impl JoinArgs {
    /// The token, whichever way it was given.
    pub fn token(&self) -> &str {
        self.token.as_deref().or(self.token_option.as_deref()).unwrap_or_default()
    }
}

/// What `init` and `join` have in common.
#[derive(Debug, Args)]
pub struct OwnNodeArgs {
    /// Name of this node [default: the machine's host name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Address to listen on; may be given several times [default: TCP port 4001, IPv4 and IPv6]
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<String>,
    /// Neither look for other nodes by mDNS nor be found by it
    #[arg(long)]
    pub no_mdns: bool,
    /// Run the node then, in the foreground
    #[arg(long)]
    pub run: bool,
}

/// A node.
#[derive(Debug, Args)]
pub struct OneNodeArgs {
    /// Name or id of the node
    #[arg(value_name = "NODE")]
    pub node: String,
}

/// `orbit node rename`.
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// Which.
    #[command(flatten)]
    pub node: OneNodeArgs,
    /// Its new name
    pub name: String,
}

/// `orbit node drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Which.
    #[command(flatten)]
    pub node: OneNodeArgs,
    /// Give it work again
    #[arg(long)]
    pub undo: bool,
}

/// `orbit node rm`.
#[derive(Debug, Args)]
pub struct RemoveNodeArgs {
    /// Which.
    #[command(flatten)]
    pub node: OneNodeArgs,
    /// Whether it is asked first.
    #[command(flatten)]
    pub consent: ConsentArgs,
}

/// `orbit node leave`.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Only forget the grid here, without telling it: when the grid has removed this node, or is no more
    #[arg(long)]
    pub forget: bool,
    /// Whether it is asked first.
    #[command(flatten)]
    pub consent: ConsentArgs,
}

/// Whether a person is asked first.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConsentArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}
