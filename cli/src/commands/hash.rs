//! `orbit hash`.

use super::walk::{self, Rows};
use crate::args::HashArgs;
use crate::exit::Exit;
use crate::render::events::Changes;
use crate::render::hashes;
use crate::session::Session;
use orbit_core::system::ChunkDetail;
use orbit_node::standalone;

pub(super) fn run(session: &Session, arguments: HashArgs) -> anyhow::Result<Exit> {
    let rules = walk::rules(arguments.filter, arguments.one_file_system);
    let context = session.context(Changes::IfVerbose)?;
    let place = session.place(arguments.endpoint.0, &context.stop)?;
    let format = walk::format(&session.screen, arguments.null);
    let detail = if arguments.chunks { ChunkDetail::Chunks } else { ChunkDetail::RootOnly };
    let display = session.display(&context, arguments.progress.progress);
    let mut rows = Rows::new(&session.screen, &context);
    let faults = standalone::hash(&context, &place, &rules, detail, &mut |row| {
        rows.write(|out| hashes::write(out, format, &row));
    });
    drop(display);
    rows.end(faults)
}
