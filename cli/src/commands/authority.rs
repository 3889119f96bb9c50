//! `orbit ca`.

use crate::args::grid::AuthorityCommand;
use crate::exit::{CliError, Exit};
use crate::render::groups;
use crate::session::Session;
use orbit_node::api::types::AuthorityView;

pub(super) fn run(session: &Session, command: &AuthorityCommand) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let found: Vec<AuthorityView> = match command {
        AuthorityCommand::Ls => client.get("/v1/authorities")?,
        AuthorityCommand::Rotate => client.post("/v1/authorities", &())?,
    };
    groups::authorities(&session.screen, &found).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
