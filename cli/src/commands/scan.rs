//! `orbit scan`.

use super::walk::{self, Rows};
use crate::args::ScanArgs;
use crate::exit::Exit;
use crate::render::events::Changes;
use crate::render::listing::ListingWriter;
use crate::session::Session;
use orbit_node::standalone;

pub(super) fn run(session: &Session, arguments: ScanArgs) -> anyhow::Result<Exit> {
    let rules = walk::rules(arguments.filter, arguments.one_file_system);
    let context = session.context(Changes::IfVerbose)?;
    let place = session.place(arguments.endpoint.0, &context.stop)?;
    let mut rows = Rows::new(&session.screen, &context);
    let mut writer = ListingWriter::new(walk::format(&session.screen, arguments.null));
    let faults = standalone::scan(&context, &place, &rules, &mut |row| {
        rows.write(|out| writer.write(out, row.directory.as_bytes(), row.name, row.metadata));
    });
    rows.end(faults)
}
