//! What `scan`, `hash` and `dedup` have in common: rules for a walk, and rows that go to a pipe which may close.

use crate::args::filter::FilterArgs;
use crate::exit::{CliError, Exit};
use crate::render::listing::RecordFormat;
use crate::render::screen::Screen;
use orbit_node::standalone::{Context, RunError, WalkRules};
use std::io::{self, Write};
use std::sync::atomic::Ordering;

pub(super) fn rules(filter: FilterArgs, one_file_system: bool) -> WalkRules {
    WalkRules { rules: filter.rules, ignore_files: filter.ignore_files, one_file_system }
}

pub(super) fn format(screen: &Screen, is_null: bool) -> RecordFormat {
    match (screen.json, is_null) {
        (true, _) => RecordFormat::Json,
        (false, true) => RecordFormat::Nul,
        (false, false) => RecordFormat::Lines,
    }
}

/// Rows on their way to stdout. When it takes no more, the walk is asked to stop: nobody reads on.
pub(super) struct Rows<'a> {
    screen: &'a Screen,
    context: &'a Context,
    failed: Option<io::Error>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(screen: &'a Screen, context: &'a Context) -> Self {
        Self { screen, context, failed: None }
    }

    /// Writes one row.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.failed.is_none()
            && let Err(error) = write(&mut *self.screen.stream())
        {
            self.failed = Some(error);
            self.context.stop.store(true, Ordering::Relaxed);
        }
    }

    /// How the walk ended: `faults` paths could not be read.
    pub(super) fn end(self, faults: Result<u64, RunError>) -> anyhow::Result<Exit> {
        if let Some(error) = self.failed {
            return Err(CliError::Output(error).into());
        }
        let exit = if faults? > 0 { Exit::Partial } else { Exit::Done };
        self.screen.flush().map_err(CliError::Output)?;
        Ok(exit)
    }
}
