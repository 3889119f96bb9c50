//! `orbit constellation`.

use crate::args::grid::ConstellationCommand;
use crate::exit::{CliError, Exit};
use crate::render::groups;
use crate::session::Session;
use orbit_node::api::client::{Dated, segment};
use orbit_node::api::types::{ConstellationView, NodeList};

pub(super) fn run(session: &Session, command: ConstellationCommand) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let screen = &session.screen;
    let path = |name: &str| format!("/v1/constellations/{}", segment(name));
    let nodes = |name: &str| format!("{}/nodes", path(name));
    let written = match command {
        ConstellationCommand::Ls => {
            let found: Dated<Vec<ConstellationView>> = client.get_dated("/v1/constellations")?;
            groups::constellations(screen, &found.value).map_err(CliError::Output)?;
            return session.tell_age(&found);
        }
        ConstellationCommand::Create(wish) => {
            let wish = ConstellationView { name: wish.name, nodes: Vec::new() };
            groups::constellation(screen, &client.post("/v1/constellations", &wish)?)
        }
        ConstellationCommand::Add(wish) => {
            let list = NodeList { nodes: wish.nodes };
            groups::constellation(screen, &client.post(&nodes(&wish.constellation.name), &list)?)
        }
        ConstellationCommand::Rm(wish) if wish.nodes.is_empty() => {
            client.delete(&path(&wish.constellation.name))?;
            groups::removed(screen, &wish.constellation.name)
        }
        ConstellationCommand::Rm(wish) => {
            let list = NodeList { nodes: wish.nodes };
            groups::constellation(screen, &client.delete_from(&nodes(&wish.constellation.name), &list)?)
        }
    };
    written.map_err(CliError::Output)?;
    Ok(Exit::Done)
}
