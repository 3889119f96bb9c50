//! `orbit plan` and what is done with stored plans.

use super::sync::tell;
use crate::args::options::RequestArgs;
use crate::args::{PlanArgs, ProgressArgs, StoredPlanCommand};
use crate::exit::{CliError, Exit};
use crate::render::events::Changes;
use crate::render::plans;
use crate::render::summary::Deed;
use crate::session::Session;
use orbit_node::standalone;

pub(super) fn run(session: &Session, arguments: PlanArgs) -> anyhow::Result<Exit> {
    match (arguments.stored, arguments.make.0) {
        (Some(command), _) => stored(session, command),
        (None, Some(request)) => make(session, request, arguments.progress),
        (None, None) => unreachable!("clap asks for SOURCE and DESTINATION where no subcommand is given"),
    }
}

fn make(session: &Session, request: RequestArgs, progress: ProgressArgs) -> anyhow::Result<Exit> {
    let request = request.into_request()?;
    let context = session.context(Changes::IfVerbose)?;
    let display = session.display(&context, progress.progress);
    let result = standalone::make_plan(&context, &request);
    drop(display);
    let plan = result?;
    plans::made(&session.screen, &plan).map_err(CliError::Output)?;
    Ok(if plan.totals.faults > 0 { Exit::Partial } else { Exit::Done })
}

fn stored(session: &Session, command: StoredPlanCommand) -> anyhow::Result<Exit> {
    let screen = &session.screen;
    match command {
        StoredPlanCommand::Show(plan) => {
            let plan = standalone::show_plan(&session.context(Changes::All)?, &plan.id)?;
            plans::shown(screen, &plan).map_err(CliError::Output)?;
        }
        StoredPlanCommand::Run(arguments) => {
            let context = session.context(Changes::IfVerbose)?;
            let display = session.display(&context, arguments.progress.progress);
            let result = standalone::run_plan(&context, &arguments.plan.id);
            drop(display);
            return tell(session, Deed::Synced, result);
        }
        StoredPlanCommand::Ls => {
            let found = standalone::list_plans(&session.context(Changes::IfVerbose)?)?;
            plans::list(screen, &found).map_err(CliError::Output)?;
        }
        StoredPlanCommand::Rm(plan) => {
            let id = standalone::remove_plan(&session.context(Changes::IfVerbose)?, &plan.id)?;
            plans::removed(screen, &id).map_err(CliError::Output)?;
        }
    }
    Ok(Exit::Done)
}
