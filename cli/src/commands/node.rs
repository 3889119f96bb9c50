//! `orbit node`.

mod own;

pub(super) use own::{data_dir, run as run_own};

use super::consent;
use crate::args::node::{DrainArgs, NodeCommand, OneNodeArgs, RemoveNodeArgs, RenameArgs};
use crate::exit::{CliError, Exit};
use crate::render::nodes;
use crate::session::Session;
use orbit_node::api::client::{Dated, segment};
use orbit_node::api::types::{GroupView, NodeChanged, NodePatch, NodeView};

pub(super) fn run(session: &Session, command: NodeCommand) -> anyhow::Result<Exit> {
    match command {
        NodeCommand::Init(arguments) => own::init(session, arguments),
        NodeCommand::Join(arguments) => own::join(session, arguments),
        NodeCommand::Run => own::run(session),
        NodeCommand::Leave(arguments) => own::leave(session, &arguments),
        NodeCommand::Ls => list(session),
        NodeCommand::Show(arguments) => show(session, &arguments),
        NodeCommand::Rename(arguments) => rename(session, arguments),
        NodeCommand::Promote(arguments) => want(session, &arguments, "wanted"),
        NodeCommand::Demote(arguments) => want(session, &arguments, "unwanted"),
        NodeCommand::Drain(arguments) => drain(session, &arguments),
        NodeCommand::Rm(arguments) => remove(session, &arguments),
    }
}

/// Path of a node in the API.
fn path(node: &str) -> String {
    format!("/v1/nodes/{}", segment(node))
}

fn list(session: &Session) -> anyhow::Result<Exit> {
    let found: Dated<Vec<NodeView>> = session.client()?.get_dated("/v1/nodes")?;
    nodes::list(&session.screen, &found.value).map_err(CliError::Output)?;
    session.tell_age(&found)
}

fn show(session: &Session, arguments: &OneNodeArgs) -> anyhow::Result<Exit> {
    let node: Dated<NodeView> = session.client()?.get_dated(&path(&arguments.node))?;
    nodes::page(&session.screen, &node.value).map_err(CliError::Output)?;
    session.tell_age(&node)
}

fn rename(session: &Session, arguments: RenameArgs) -> anyhow::Result<Exit> {
    let client = session.client()?;
    // By its id: under its old name it would not be found when the request is sent again.
    let node: NodeView = client.get(&path(&arguments.node.node))?;
    let patch = NodePatch { name: Some(arguments.name), ..NodePatch::default() };
    let changed: NodeChanged = client.patch(&path(&node.id), &patch)?;
    let said = format!("{} is now named {}", arguments.node.node, changed.node.name);
    nodes::changed(&session.screen, &changed, &[said]).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

fn drain(session: &Session, arguments: &DrainArgs) -> anyhow::Result<Exit> {
    let patch = NodePatch { is_draining: Some(!arguments.undo), ..NodePatch::default() };
    change(session, &arguments.node.node, &patch)
}

/// Changes a node, and tells what happened; also that it handed the Nucleus over, which whoever took over cannot tell.
fn change(session: &Session, node: &str, patch: &NodePatch) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let before: NodeView = client.get(&path(node))?;
    let changed: NodeChanged = client.patch(&path(&before.id), patch)?;
    let mut told = changed.told.clone();
    if before.is_nucleus {
        // The change was made: that this cannot be told is no failure of it.
        let voters = client.get::<GroupView>("/v1/group").map(|group| group.voters).unwrap_or_default();
        let heir = voters.into_iter().find(|voter| voter.is_nucleus && voter.id != before.id);
        if let Some(heir) = heir {
            told.insert(0, format!("{} handed the Nucleus over to {}", before.name, heir.name));
        }
    }
    nodes::changed(&session.screen, &changed, &told).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

/// Says what is wanted of a node's vote.
fn want(session: &Session, arguments: &OneNodeArgs, voting: &str) -> anyhow::Result<Exit> {
    let patch = NodePatch { voting: Some(voting.to_owned()), ..NodePatch::default() };
    change(session, &arguments.node, &patch)
}

fn remove(session: &Session, arguments: &RemoveNodeArgs) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let node: NodeView = client.get(&path(&arguments.node.node))?;
    consent::ask(session, arguments.consent, &format!("removing {} from the grid", node.name))?;
    client.delete(&path(&node.id))?;
    nodes::removed(&session.screen, &node).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
