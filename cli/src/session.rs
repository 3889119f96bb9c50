//! [`Session`]: one run of the program: what the global options say, and what every command needs.

use crate::args::{Arguments, GlobalArgs};
use crate::commands;
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::events::{Changes, Teller};
use crate::render::progress::Display;
use crate::render::screen::Screen;
use crate::render::{self, log};
use orbit_node::standalone::{Context, progress::Progress, state};
use std::path::PathBuf;
use std::sync::Arc;

/// One run of the program.
pub struct Session {
    global: GlobalArgs,
    /// Both output streams.
    pub screen: Arc<Screen>,
}

/// Runs the command, tells how it went, and gives the exit code.
pub fn run(arguments: Arguments) -> Exit {
    let screen = Arc::new(Screen::new(&arguments.global));
    log::start(&screen);
    let session = Session { global: arguments.global, screen };
    let ended = commands::run(&session, arguments.command);
    let flushed = ended.and_then(|exit| {
        session.screen.flush().map_err(CliError::Output)?;
        Ok(exit)
    });
    flushed.unwrap_or_else(|error| render::error::report(&session.screen, &error))
}

impl Session {
    /// Orbit's state directory.
    pub fn data_dir(&self) -> Result<PathBuf, CliError> {
        // An empty variable is an unset one, as everywhere.
        let named = self.global.data_dir.clone().filter(|directory| !directory.as_os_str().is_empty());
        named.or_else(state::default_directory).ok_or(CliError::NoDataDir)
    }

    /// What a run is given. From here on the first Ctrl-C asks it to stop.
    pub fn context(&self, changes: Changes) -> Result<Context, CliError> {
        Ok(Context {
            state_dir: self.data_dir()?,
            observer: Arc::new(Teller::new(Arc::clone(&self.screen), changes)),
            progress: Arc::new(Progress::default()),
            stop: interrupt::stop_flag(),
        })
    }

    /// Shows the run's progress until the display is dropped.
    pub fn display(&self, context: &Context, wanted: bool) -> Display {
        Display::start(&self.screen, Arc::clone(&context.progress), wanted)
    }
}
