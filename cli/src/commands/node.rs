//! `orbit node`.

mod own;

use super::consent;
use crate::args::node::{DrainArgs, NodeCommand, OneNodeArgs, RemoveNodeArgs, RenameArgs};
use crate::exit::{CliError, Exit};
use crate::render::nodes;
use crate::session::Session;
use orbit_node::api::client::segment;
use orbit_node::api::types::{NodePatch, NodeView};

pub(super) fn run(session: &Session, command: NodeCommand) -> anyhow::Result<Exit> {
    match command {
        NodeCommand::Init(arguments) => own::init(session, arguments),
        NodeCommand::Join(arguments) => own::join(session, arguments),
        NodeCommand::Run => own::run(session),
        NodeCommand::Leave(arguments) => own::leave(session, &arguments),
        NodeCommand::Ls => list(session),
        NodeCommand::Show(arguments) => show(session, &arguments),
        NodeCommand::Rename(arguments) => rename(session, arguments),
        NodeCommand::Drain(arguments) => drain(session, &arguments),
        NodeCommand::Rm(arguments) => remove(session, &arguments),
    }
}

/// Path of a node in the API.
fn path(node: &str) -> String {
    format!("/v1/nodes/{}", segment(node))
}

fn list(session: &Session) -> anyhow::Result<Exit> {
    let found: Vec<NodeView> = session.client()?.get("/v1/nodes")?;
    nodes::list(&session.screen, &found).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn show(session: &Session, arguments: &OneNodeArgs) -> anyhow::Result<Exit> {
    let node: NodeView = session.client()?.get(&path(&arguments.node))?;
    nodes::page(&session.screen, &node).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn rename(session: &Session, arguments: RenameArgs) -> anyhow::Result<Exit> {
    let patch = NodePatch { name: Some(arguments.name), is_draining: None };
    let node: NodeView = session.client()?.patch(&path(&arguments.node.node), &patch)?;
    let said = format!("{} is now named {}", arguments.node.node, node.name);
    nodes::changed(&session.screen, &node, &said).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn drain(session: &Session, arguments: &DrainArgs) -> anyhow::Result<Exit> {
    let patch = NodePatch { name: None, is_draining: Some(!arguments.undo) };
    let node: NodeView = session.client()?.patch(&path(&arguments.node.node), &patch)?;
    let said = if arguments.undo { "gets new work again" } else { "is draining: it gets no new work" };
    nodes::changed(&session.screen, &node, &format!("{} {said}", node.name)).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn remove(session: &Session, arguments: &RemoveNodeArgs) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let node: NodeView = client.get(&path(&arguments.node.node))?;
    // The Nucleus is not removed anyway: its refusal is worth more than a question.
    if !node.is_nucleus {
        consent::ask(session, arguments.consent, &format!("removing {} from the grid", node.name))?;
    }
    client.delete(&path(&node.id))?;
    nodes::removed(&session.screen, &node).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
