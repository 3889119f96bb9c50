//! `orbit token`.

use crate::args::grid::TokenCommand;
use crate::exit::{CliError, Exit};
use crate::render::tokens;
use crate::session::Session;
use orbit_node::api::client::{Dated, segment};
use orbit_node::api::types::{TokenCreated, TokenRequest, TokenView};

pub(super) fn run(session: &Session, command: TokenCommand) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let screen = &session.screen;
    let written = match command {
        TokenCommand::Create(wish) => {
            let role = wish.role.name().to_owned();
            let request = TokenRequest { ttl_s: wish.ttl, uses: wish.uses, role };
            let created: TokenCreated = client.post("/v1/tokens", &request)?;
            tokens::created(screen, &created)
        }
        TokenCommand::Ls => {
            let found: Dated<Vec<TokenView>> = client.get_dated("/v1/tokens")?;
            tokens::list(screen, &found.value).map_err(CliError::Output)?;
            return session.tell_age(&found);
        }
        TokenCommand::Rm(token) => {
            client.delete(&format!("/v1/tokens/{}", segment(&token.id)))?;
            tokens::removed(screen, &token.id)
        }
    };
    written.map_err(CliError::Output)?;
    Ok(Exit::Done)
}
