//! `orbit status`.

use crate::exit::{CliError, Exit};
use crate::render::status;
use crate::session::Session;
use orbit_node::api::types::StatusView;

/// An answered question is a success, whatever the answer.
pub(super) fn run(session: &Session) -> anyhow::Result<Exit> {
    let found: StatusView = session.client()?.get("/v1/status")?;
    status::tell(&session.screen, &found).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
