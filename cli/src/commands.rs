//! One file a command: arguments in, `orbit_node` called, the result handed to `render`.

mod completions;
mod dedup;
mod doctor;
mod hash;
mod man;
mod plan;
mod scan;
mod sync;
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
        Command::Doctor(arguments) => doctor::run(session, arguments),
        Command::Completions(arguments) => completions::run(session, &arguments),
        Command::Man(arguments) => man::run(session, &arguments),
    }
}
