//! Why a command did not do its work.

use super::json::{Line, write_line};
use super::screen::Screen;
use super::style::Style;
use crate::exit::Exit;
use crate::hint;
use clap::error::{ContextKind, ErrorKind};
use std::io::{self, Write};

/// Tells an error and gives its exit code.
pub fn report(screen: &Screen, error: &anyhow::Error) -> Exit {
    let exit = Exit::of_error(error);
    if exit == Exit::Done {
        return exit;
    }
    let message = message(error);
    let hint = hint::hint(error);
    if screen.json {
        let line = Line::Error { message: &message, hint: hint.as_deref(), exit: exit.code() };
        // Where stdout takes nothing the exit code still tells.
        drop(screen.out(|out| write_line(out, &line)).and_then(|()| screen.flush()));
    } else {
        screen.err(&text(screen.err_style, &message, hint.as_deref()));
    }
    exit
}

/// What failed, on what, why, and that nothing was changed where that is certain.
fn message(error: &anyhow::Error) -> String {
    let mut message = orbit_node::standalone::error::chain(error.as_ref());
    if hint::nothing_was_changed(error) {
        // A question mark ends a sentence; a semicolon cannot follow it.
        message += if message.ends_with('?') { " Nothing was changed." } else { "; nothing was changed" };
    }
    message
}

fn text(style: Style, message: &str, hint: Option<&str>) -> String {
    // What a star says may stand in it, and must not drive the terminal.
    let shown = |text: &str| orbit_core::rel_path::display_name(text.as_bytes()).into_owned();
    let hint = hint.map(|hint| format!("{} {}\n", style.helpful("hint:"), shown(hint))).unwrap_or_default();
    format!("{} {}\n{hint}", style.bad("error:"), shown(message))
}

/// Tells what is wrong with the command line; help and version arrive here too.
pub fn usage(error: &clap::Error) -> Exit {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    let wants_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if exit == Exit::Usage && wants_json {
        let whole = error.render().to_string();
        let (message, hint) = split_usage(&whole);
        let hint = hint.or_else(|| unknown_command_hint(error));
        let line = Line::Error { message: &message, hint: hint.as_deref(), exit: exit.code() };
        drop(write_line(&mut io::stdout(), &line));
    } else {
        // Broken pipes end quietly, as everywhere.
        drop(error.print());
        drop(io::stdout().flush());
        if let Some(hint) = unknown_command_hint(error) {
            drop(writeln!(io::stderr(), "\nhint: {hint}"));
        }
    }
    exit
}

/// What there is, where a command is unknown and resembles none.
fn unknown_command_hint(error: &clap::Error) -> Option<String> {
    let is_near = error.get(ContextKind::SuggestedSubcommand).is_some();
    if error.kind() != ErrorKind::InvalidSubcommand || is_near {
        return None;
    }
    let command = crate::args::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    Some(format!("the commands are {}", names.join(", ")))
}

/// clap's text in two: the first paragraph, and the tip in it if there is one.
fn split_usage(whole: &str) -> (String, Option<String>) {
    let paragraph = |prefix: &str| {
        let found = whole.split("\n\n").find_map(|part| part.trim().strip_prefix(prefix));
        found.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    (paragraph("error:").unwrap_or_default(), paragraph("tip:"))
}

#[cfg(test)]
mod tests;
