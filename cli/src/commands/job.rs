//! `orbit job`.

use super::grid_sync::{path, watch};
use crate::args::job::JobCommand;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::jobs;
use crate::session::Session;
use jiff::tz::TimeZone;
use orbit_node::api::client::Dated;
use orbit_node::api::job_types::{JobLimit, JobPause, JobTimes, JobView};

pub(super) fn run(session: &Session, command: JobCommand) -> anyhow::Result<Exit> {
    let client = session.client()?;
    let screen = &session.screen;
    let changed: JobView = match command {
        JobCommand::Ls => {
            let found: Dated<Vec<JobView>> = client.get_dated("/v1/jobs")?;
            jobs::list(screen, &found.value).map_err(CliError::Output)?;
            return session.tell_age(&found);
        }
        JobCommand::Show(job) => {
            let found: Dated<JobView> = client.get_dated(&path(&job.id, ""))?;
            jobs::page(screen, &found.value).map_err(CliError::Output)?;
            return session.tell_age(&found);
        }
        JobCommand::Watch(arguments) => {
            let stop = interrupt::stop_flag();
            let job: JobView = client.get(&path(&arguments.job.id, ""))?;
            return watch(session, &client, job, &stop, arguments.progress.progress);
        }
        JobCommand::Rm(job) => {
            // Named by its whole id: sent again, it must not mean another one.
            let found: JobView = client.get(&path(&job.id, ""))?;
            client.delete(&path(&found.id, ""))?;
            jobs::removed(screen, &found).map_err(CliError::Output)?;
            return Ok(Exit::Done);
        }
        JobCommand::Pause(arguments) => {
            client.post(&path(&arguments.job.id, "pause"), &JobPause { for_s: arguments.time })?
        }
        JobCommand::Resume(job) => client.post(&path(&job.id, "resume"), &())?,
        JobCommand::Limit(arguments) => {
            let limit = JobLimit { bandwidth: Some(arguments.rate) };
            client.post(&path(&arguments.job.id, "limit"), &limit)?
        }
        JobCommand::Schedule(arguments) => {
            let zone = arguments.zone.or_else(|| TimeZone::system().iana_name().map(str::to_owned));
            let times = JobTimes { cron: arguments.cron, zone };
            client.post(&path(&arguments.job.id, "schedule"), &times)?
        }
        JobCommand::Cancel(job) => client.post(&path(&job.id, "cancel"), &())?,
        JobCommand::Retry(job) => client.post(&path(&job.id, "retry"), &())?,
    };
    jobs::changed(screen, &changed).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
