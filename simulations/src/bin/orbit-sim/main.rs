//! `orbit-sim`: plays seeds, and prints the log of one that breaks a rule.
#![allow(clippy::print_stderr)] // telling a person is what this program is for

mod files;
mod group;

use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: orbit-sim [--seed N | [--from N] --seeds COUNT]
       orbit-sim group [--seed N | [--from N] --seeds COUNT] [--voters 1|3|5] [--jobs J] [--plant BUG]";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_group = arguments.next_if(|first| first == "group").is_some();
    let code = if is_group {
        group::Request::parse(arguments).map(|request| group::play(&request))
    } else {
        files::Request::parse(arguments).map(|request| files::play(&request))
    };
    code.unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    })
}

/// Whoever reads it may stop reading.
fn print(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}
