//! `orbit doctor`.

use crate::args::DoctorArgs;
use crate::exit::{CliError, Exit};
use crate::render::doctor::Chart;
use crate::session::Session;
use orbit_node::doctor::{Checkup, examine};

pub(super) fn run(session: &Session, arguments: DoctorArgs) -> anyhow::Result<Exit> {
    let checkup = Checkup { state_dir: session.data_dir()?, paths: arguments.paths, port: arguments.port };
    let mut chart = Chart::new(&session.screen);
    examine(&checkup, &mut |finding| chart.add(&finding));
    Ok(chart.end().map_err(CliError::Output)?)
}
