//! `orbit status`.

use crate::exit::{CliError, Exit};
use crate::render::status;
use crate::session::Session;
use orbit_node::api::types::StatusView;

/// An answered question is a success, whatever the answer; but it is the Nucleus that has to answer it.
pub(super) fn run(session: &Session) -> anyhow::Result<Exit> {
    let found: StatusView = session.client()?.get("/v1/status")?;
    status::tell(&session.screen, &found).map_err(CliError::Output)?;
    Ok(if found.nucleus.is_some() { Exit::Done } else { Exit::Unreachable })
}
