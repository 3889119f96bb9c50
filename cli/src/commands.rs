//! One file a command: arguments in, `orbit_node` called, the result handed to `render`.

mod authority;
mod backup;
mod completions;
mod consent;
mod constellation;
mod dedup;
mod doctor;
mod grid_sync;
mod hash;
mod job;
mod ls;
mod man;
mod node;
mod passphrase;
mod plan;
mod recover;
mod restore;
mod scan;
mod status;
mod sync;
mod token;
mod walk;

use crate::args::Command;
use crate::exit::Exit;
use crate::session::Session;

/// Runs a command. An error is told by the caller.
pub fn run(session: &Session, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Sync(arguments) => sync::run(session, arguments),
        Command::Plan(arguments) => plan::run(session, arguments),
        Command::Scan(arguments) => scan::run(session, arguments),
        Command::Hash(arguments) => hash::run(session, arguments),
        Command::Dedup(arguments) => dedup::run(session, arguments),
        Command::Ls(arguments) => ls::run(session, arguments),
        Command::Node(arguments) => node::run(session, arguments.command),
        Command::Token(arguments) => token::run(session, arguments.command),
        Command::Job(arguments) => job::run(session, arguments.command),
        Command::Status => status::run(session),
        Command::Constellation(arguments) => constellation::run(session, arguments.command),
        Command::Ca(arguments) => authority::run(session, &arguments.command),
        Command::Backup(arguments) => backup::run(session, &arguments),
        Command::Restore(arguments) => restore::run(session, arguments),
        Command::Recover(arguments) => recover::run(session, &arguments),
        Command::Doctor(arguments) => doctor::run(session, arguments),
        Command::Completions(arguments) => completions::run(session, &arguments),
        Command::Man(arguments) => man::run(session, &arguments),
    }
}
