//! `orbit ls`.

use crate::args::LsArgs;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::directory;
use crate::session::Session;
use orbit_node::standalone;

pub(super) fn run(session: &Session, arguments: LsArgs) -> anyhow::Result<Exit> {
    let place = session.place(arguments.endpoint.0, &interrupt::stop_flag())?;
    let found = standalone::browse(&place)?;
    directory::show(&session.screen, &found).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
