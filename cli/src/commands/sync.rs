//! `orbit sync` on one machine.

use crate::args::options::SyncArgs;
use crate::exit::{CliError, Exit};
use crate::render;
use crate::render::events::Changes;
use crate::render::summary::{self, Deed};
use crate::session::Session;
use orbit_node::standalone::{self, RunError, RunReport};

pub(super) fn run(session: &Session, arguments: SyncArgs) -> anyhow::Result<Exit> {
    if arguments.request.crosses_nodes() {
        return super::grid_sync::run(session, arguments);
    }
    let request = arguments.request.into_request()?;
    let (changes, deed) =
        if arguments.dry_run { (Changes::All, Deed::WouldSync) } else { (Changes::IfVerbose, Deed::Synced) };
    let context = session.context(changes)?;
    let display = session.display(&context, arguments.progress.progress);
    let result = match deed {
        Deed::WouldSync => standalone::dry_run(&context, &request),
        Deed::Synced => standalone::sync(&context, &request),
    };
    drop(display);
    tell(session, deed, result)
}

/// Tells how a run ended, whichever way.
pub(super) fn tell(
    session: &Session,
    deed: Deed,
    result: Result<RunReport, RunError>,
) -> anyhow::Result<Exit> {
    let error = match result {
        Ok(report) => return Ok(summary::report(&session.screen, deed, &report).map_err(CliError::Output)?),
        Err(error) => error,
    };
    let done = match &error {
        RunError::NoSpace { report, .. } | RunError::NotDurable { report, .. } => Some(report.summary),
        _ => None,
    };
    let Some(done) = done.filter(|_| session.screen.json) else { return Err(error.into()) };
    // A run that did something ends with its figures, even so.
    let exit = render::error::report(&session.screen, &error.into());
    summary::write_summary(&session.screen, &done, exit).map_err(CliError::Output)?;
    Ok(exit)
}
