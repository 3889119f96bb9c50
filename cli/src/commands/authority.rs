//! `orbit ca`.

use crate::args::grid::AuthorityCommand;
use crate::exit::{CliError, Exit};
use crate::render::groups;
use crate::session::Session;
use orbit_node::api::client::Dated;
use orbit_node::api::types::AuthorityView;

pub(super) fn run(session: &Session, command: &AuthorityCommand) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let found: Dated<Vec<AuthorityView>> = match command {
        AuthorityCommand::Ls => client.get_dated("/v1/authorities")?,
        AuthorityCommand::Rotate => Dated { value: client.post("/v1/authorities", &())?, as_of_ms: None },
    };
    groups::authorities(&session.screen, &found.value).map_err(CliError::Output)?;
    session.tell_age(&found)
}
