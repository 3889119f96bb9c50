//! `orbit dedup`.

use super::walk;
use crate::args::DedupArgs;
use crate::exit::{CliError, Exit};
use crate::render::dedup::{self, SetWriter};
use crate::render::events::Changes;
use crate::session::Session;
use orbit_core::endpoint::Endpoint;
use orbit_node::standalone::{self, DedupOptions};

pub(super) fn run(session: &Session, arguments: DedupArgs) -> anyhow::Result<Exit> {
    let endpoints: Vec<Endpoint> = arguments.endpoints.into_iter().map(|argument| argument.0).collect();
    let elsewhere = |endpoint: &&Endpoint| matches!(endpoint, Endpoint::Remote { .. });
    if let Some(endpoint) = endpoints.iter().find(elsewhere).filter(|_| arguments.apply) {
        return Err(CliError::ApplyElsewhere { endpoint: endpoint.clone() }.into());
    }
    let options = DedupOptions {
        walk: walk::rules(arguments.filter, arguments.one_file_system),
        apply: arguments.apply,
        min_bytes: 1,
        chunks: arguments.chunks,
    };
    let context = session.context(Changes::IfVerbose)?;
    let places = session.places(endpoints.clone(), &context.stop)?;
    let display = session.display(&context, arguments.progress.progress);
    let mut sets = SetWriter::new(&session.screen, &endpoints);
    let result = standalone::dedup(&context, &places, &options, &mut |set| sets.write(set));
    drop(display);
    sets.end().map_err(CliError::Output)?;
    Ok(dedup::report(&session.screen, &result?, arguments.apply).map_err(CliError::Output)?)
}
