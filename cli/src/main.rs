//! The `orbit` command: arguments in, one command run, its result rendered, an exit code out.
//!
//! ```text
//!   args ──▶ commands ──▶ orbit_node ──▶ render (the only place that prints) ──▶ exit (the only place for codes)
//!                 ▲
//!            interrupt (Ctrl-C asks for a clean stop)
//! ```
//!
//! Reading order: [`args`] → [`commands`] → [`session`] → [`render`] → [`exit`]. Nothing here touches files of the
//! trees that are synced: that is `orbit_node`'s business.

mod args;
mod commands;
mod exit;
mod hint;
mod interrupt;
mod render;
mod session;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(arguments) => session::run(arguments).into(),
        Err(error) => render::error::usage(&error).into(),
    }
}
