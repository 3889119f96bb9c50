//! `orbit dedup`.

use super::walk;
use crate::args::DedupArgs;
use crate::args::options::EndpointArg;
use crate::exit::{CliError, Exit};
use crate::render::dedup::{self, SetWriter};
use crate::render::events::Changes;
use crate::session::Session;
use orbit_node::standalone::{self, DedupOptions};
use std::path::PathBuf;

pub(super) fn run(session: &Session, arguments: DedupArgs) -> anyhow::Result<Exit> {
    let endpoints = arguments.endpoints.into_iter().map(EndpointArg::local);
    let endpoints: Vec<PathBuf> = endpoints.collect::<Result<_, _>>()?;
    let options = DedupOptions {
        walk: walk::rules(arguments.filter, arguments.one_file_system),
        apply: arguments.apply,
        min_bytes: 1,
        chunks: arguments.chunks,
    };
    let context = session.context(Changes::IfVerbose)?;
    let display = session.display(&context, arguments.progress.progress);
    let mut sets = SetWriter::new(&session.screen, &endpoints);
    let result = standalone::dedup(&context, &endpoints, &options, &mut |set| sets.write(set));
    drop(display);
    sets.end().map_err(CliError::Output)?;
    Ok(dedup::report(&session.screen, &result?, arguments.apply).map_err(CliError::Output)?)
}
