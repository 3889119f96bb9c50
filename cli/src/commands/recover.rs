//! `orbit recover`.

use super::node;
use crate::args::rescue::RecoverArgs;
use crate::exit::{CliError, Exit};
use crate::render::rescue;
use crate::session::Session;
use orbit_node::api::client::{ApiClient, ClientError};
use orbit_node::api::types::{RecoverRequest, RecoveryView, SurvivorView, ThisNode};
use orbit_node::daemon::DaemonError;
use orbit_node::daemon::recover::{RecoverError, Recovered, recover, survey};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long applying what the log holds may take.
const PATIENCE: Duration = Duration::from_mins(11);
/// How long this node may take to become the Nucleus then.
const OFFICE_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is asked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(session: &Session, arguments: &RecoverArgs) -> anyhow::Result<Exit> {
    let data_dir = node::data_dir(session)?;
    let client = match ApiClient::connect(&data_dir) {
        Ok(client) => Some(client),
        Err(ClientError::NotRunning { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let view: RecoveryView = match &client {
        Some(client) => client.get("/v1/node/recovery")?,
        None => survey(&data_dir)?,
    };
    if view.has_quorum {
        return Err(DaemonError::from(RecoverError::HasQuorum { grid: view.grid.name }).into());
    }
    rescue::survey(&session.screen, &view).map_err(CliError::Output)?;
    if let Some(newer) = newer(&view).filter(|_| !arguments.here) {
        return Err(CliError::NewerElsewhere { node: newer.name.clone(), this: view.node }.into());
    }
    consent(session, arguments, &view)?;
    let recovered = go_on(client.as_ref(), &data_dir, &view.grid.name)?;
    let acts = client.as_ref().is_some_and(becomes_nucleus);
    rescue::recovered(&session.screen, &recovered, client.is_some(), acts).map_err(CliError::Output)?;
    Ok(Exit::Done)
}

/// The survivor with the newest changes, if it is another node.
fn newer(view: &RecoveryView) -> Option<&SurvivorView> {
    let newest =
        view.survivors.iter().max_by_key(|survivor| (survivor.term, survivor.index, survivor.is_this))?;
    (!newest.is_this).then_some(newest)
}

/// Goes on if the person types the grid's name, here or on the command line.
fn consent(session: &Session, arguments: &RecoverArgs, view: &RecoveryView) -> Result<(), CliError> {
    let name = &view.grid.name;
    if let Some(given) = &arguments.yes_lose_quorum {
        return if given == name {
            Ok(())
        } else {
            Err(CliError::OtherGridName { given: given.clone(), name: name.clone() })
        };
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::NobodyToAskToRecover { name: name.clone() });
    }
    session.screen.err("This cannot be undone. Type the grid's name to go on: ");
    let mut typed = String::new();
    let read = io::stdin().read_line(&mut typed).is_ok();
    if read && typed.trim() == name { Ok(()) } else { Err(CliError::Declined) }
}

fn go_on(client: Option<&ApiClient>, data_dir: &Path, grid_name: &str) -> anyhow::Result<Recovered> {
    let Some(client) = client else { return Ok(recover(data_dir, grid_name)?) };
    let wish = RecoverRequest { grid_name: grid_name.to_owned() };
    Ok(client.post_patiently("/v1/node/recover", &wish, PATIENCE)?)
}

/// Whether the running node takes up the office.
fn becomes_nucleus(client: &ApiClient) -> bool {
    let deadline = Instant::now() + OFFICE_PATIENCE;
    while Instant::now() < deadline {
        if client.get::<ThisNode>("/v1/node").is_ok_and(|node| node.is_nucleus) {
            return true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_node::api::types::GridView;

    fn survivor(name: &str, is_this: bool, end: Option<(u64, u64)>) -> SurvivorView {
        SurvivorView {
            id: name.into(),
            name: name.into(),
            is_this,
            answered: end.is_some(),
            trouble: None,
            term: end.map(|(term, _)| term),
            index: end.map(|(_, index)| index),
            changed_ms: None,
        }
    }

    #[test]
    fn the_newest_survivor_is_found() {
        let view = |survivors| RecoveryView {
            grid: GridView { id: String::new(), name: "home".into() },
            node: "nas1".into(),
            has_quorum: false,
            others_were_asked: true,
            survivors,
            members: 3,
        };
        let newest = |a, b| {
            newer(&view(vec![survivor("nas1", true, a), survivor("nas2", false, b)])).map(|s| s.name.clone())
        };
        assert_eq!(newest(Some((7, 10)), Some((7, 10))), None);
        assert_eq!(newest(Some((7, 10)), Some((7, 11))).as_deref(), Some("nas2"));
        assert_eq!(newest(Some((7, 99)), Some((8, 11))).as_deref(), Some("nas2"), "terms count first");
        assert_eq!(newest(Some((7, 10)), None), None);
    }
}
