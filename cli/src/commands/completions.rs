//! `orbit completions`.

use crate::args::{self, CompletionsArgs};
use crate::exit::{CliError, Exit};
use crate::session::Session;

pub(super) fn run(session: &Session, arguments: &CompletionsArgs) -> anyhow::Result<Exit> {
    // Into memory first: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut args::command(), "orbit", &mut script);
    session.screen.out(|out| out.write_all(&script)).map_err(CliError::Output)?;
    Ok(Exit::Done)
}
