//! What concerns this machine's own node: `orbit node init`, `join`, `run` and `leave`.

use super::super::consent;
use crate::args::node::{InitArgs, JoinArgs, LeaveArgs};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::setup;
use crate::session::Session;
use orbit_node::api::types::{NodeView, ThisNode};
use orbit_node::daemon::{self, InitOptions, JoinOptions};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long handing over and leaving may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(40);
/// Most bytes of a line that may be a token.
const TOKEN_BYTES_MAX: u64 = 4096;

pub(super) fn init(session: &Session, arguments: InitArgs) -> anyhow::Result<Exit> {
    let own = arguments.own;
    let options = InitOptions {
        name: own.name,
        grid_name: arguments.grid_name,
        allow: arguments.allow,
        listen: own.listen,
        no_mdns: own.no_mdns,
    };
    let founded = daemon::init(&data_dir(session)?, &options)?;
    setup::founded(&session.screen, &founded, own.run).map_err(CliError::Output)?;
    if own.run { run(session) } else { Ok(Exit::Done) }
}

pub(super) fn join(session: &Session, arguments: JoinArgs) -> anyhow::Result<Exit> {
    let options = JoinOptions {
        token: token_of(&arguments)?,
        via: arguments.via,
        name: arguments.own.name,
        allow: arguments.allow,
        no_files: arguments.no_files,
        listen: arguments.own.listen,
        no_mdns: arguments.own.no_mdns,
    };
    let joined = daemon::join(&data_dir(session)?, &options)?;
    let wished = options.name.as_deref();
    setup::joined(&session.screen, &joined, wished, arguments.own.run).map_err(CliError::Output)?;
    if arguments.own.run { run_anew(session) } else { Ok(Exit::Done) }
}

/// Runs the node as a new program in this process. Everybody on a machine may read the command line of a process, and
/// that of a daemon must not hold a token's secret for as long as it lives.
fn run_anew(session: &Session) -> anyhow::Result<Exit> {
    session.screen.flush().map_err(CliError::Output)?;
    let program = std::env::current_exe().map_err(CliError::Again)?;
    let mut again = std::process::Command::new(program);
    again.args(session.global_arguments(&data_dir(session)?)).args(["node", "run"]);
    Err(CliError::Again(std::os::unix::process::CommandExt::exec(&mut again)).into())
}

/// The token as written, or from standard input.
fn token_of(arguments: &JoinArgs) -> Result<String, CliError> {
    if arguments.token() != "-" {
        return Ok(arguments.token().to_owned());
    }
    let mut line = String::new();
    let mut limited = io::Read::take(io::stdin().lock(), TOKEN_BYTES_MAX);
    io::BufRead::read_line(&mut io::BufReader::new(&mut limited), &mut line).map_err(CliError::Input)?;
    Ok(line)
}

/// From the root: a node outlives the directory it was set up from.
pub(in crate::commands) fn data_dir(session: &Session) -> Result<PathBuf, CliError> {
    let named = session.data_dir()?;
    Ok(std::path::absolute(&named).unwrap_or(named))
}

/// Runs until a signal asks it to stop, or the node leaves its grid.
pub(in crate::commands) fn run(session: &Session) -> anyhow::Result<Exit> {
    let data_dir = data_dir(session)?;
    let stop = interrupt::stop_flag();
    let mut told: io::Result<()> = Ok(());
    daemon::run(&data_dir, &stop, &mut |node| told = setup::ready(&session.screen, node))?;
    // A daemon goes on even if nobody listens to what it says; in the end that is told.
    told.map_err(CliError::Output)?;
    Ok(Exit::Done)
}

pub(super) fn leave(session: &Session, arguments: &LeaveArgs) -> anyhow::Result<Exit> {
    if arguments.forget {
        return forget(session, arguments);
    }
    let client = session.client()?;
    let node: ThisNode = client.get("/v1/node")?;
    // The grid ends with its last node.
    let is_last = node.is_nucleus && client.get::<Vec<NodeView>>("/v1/nodes")?.len() == 1;
    let deed = if is_last { "ending" } else { "leaving" };
    consent::ask(session, arguments.consent, &format!("{deed} the grid {}", node.grid.name))?;
    // It may hand over the Nucleus before, and the daemon ends then: it is asked once.
    client.post_patiently::<()>("/v1/leave", &(), LEAVE_PATIENCE)?;
    setup::left(&session.screen, &node, is_last).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn forget(session: &Session, arguments: &LeaveArgs) -> anyhow::Result<Exit> {
    let data_dir = data_dir(session)?;
    let deed = format!("forgetting the grid in {}", data_dir.display());
    consent::ask(session, arguments.consent, &deed)?;
    daemon::forget(&data_dir)?;
    setup::forgotten(&session.screen, &data_dir).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
