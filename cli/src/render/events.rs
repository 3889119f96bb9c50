//! [`Teller`]: tells what a run does while it does it.

use super::format::{bytes, harmless};
use super::json::{JsonPath, Line, write_line};
use super::screen::Screen;
use orbit_core::RelPath;
use orbit_node::standalone::observer::{Observer, RunEvent, Verb};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells a run's events: as JSON lines on stdout, or for people with faults on stderr.
pub struct Teller {
    screen: Arc<Screen>,
    changes: Changes,
    /// Stdout no longer takes anything; the run goes on all the same.
    is_deaf: AtomicBool,
}

/// Which planned changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// All: they are what was asked for.
    All,
    /// Only with `-v`.
    IfVerbose,
}

impl Teller {
    /// Tells on `screen`.
    pub fn new(screen: Arc<Screen>, changes: Changes) -> Self {
        Self { screen, changes, is_deaf: AtomicBool::new(false) }
    }

    fn out(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if !self.is_deaf.load(Ordering::Relaxed) && self.screen.out(write).is_err() {
            self.is_deaf.store(true, Ordering::Relaxed);
        }
    }

    /// One line, at once: whoever follows a run by a pipe should not wait for a buffer to fill.
    fn json(&self, line: &Line<'_>) {
        self.out(|out| {
            write_line(out, line)?;
            out.flush()
        });
    }

    fn change(&self, verb: Verb, path: &RelPath, size: u64) {
        if self.changes == Changes::IfVerbose && self.screen.verbose == 0 {
            return;
        }
        if self.screen.json {
            let line = Line::Change { change: verb_name(verb), path: JsonPath::from(path), bytes: size };
            self.out(|out| write_line(out, &line));
        } else {
            self.out(|out| writeln!(out, "{}", change_line(verb, path, size)));
        }
    }
}

impl Observer for Teller {
    fn event(&self, event: &RunEvent<'_>) {
        match *event {
            RunEvent::Planned(totals) if self.screen.json => self.json(&Line::Planned(*totals)),
            RunEvent::Planned(_) => {}
            RunEvent::Change { verb, path, bytes } => self.change(verb, path, bytes),
            RunEvent::Fault { path, message } if self.screen.json => {
                self.json(&Line::Fault { path: JsonPath::from(path), message });
            }
            RunEvent::Fault { path, message } => {
                let mark = self.screen.err_style.bad("!");
                self.screen.err(&format!("{mark} {}\n", harmless(&fault_text(path, message))));
            }
            RunEvent::Notice(message) if self.screen.json => self.json(&Line::Notice { message }),
            RunEvent::Notice(message) => {
                if !self.screen.quiet {
                    self.screen.err(&format!("{} {message}\n", self.screen.err_style.doubtful("note:")));
                }
            }
        }
    }
}

/// `path: reason`, without the path twice where the reason already names it.
fn fault_text(path: &RelPath, message: &str) -> String {
    let path = path.to_string();
    if path != "." && message.contains(&path) { message.to_owned() } else { format!("{path}: {message}") }
}

/// A change's name in JSON and for people.
pub const fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Replace => "replace",
        Verb::Attributes => "attributes",
        Verb::Link => "link",
        Verb::Delete => "delete",
    }
}

/// `replace      4.5 GB  photos/disk.img`.
fn change_line(verb: Verb, path: &RelPath, size: u64) -> String {
    let size = if size == 0 { String::new() } else { bytes(size) };
    format!("{:<10} {size:>10}  {path}", verb_name(verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("a path")
    }

    #[test]
    fn changes_line_up() {
        let lines = [
            change_line(Verb::Create, &path("photos/2024"), 0),
            change_line(Verb::Create, &path("photos/2024/a.jpg"), 4_512_345),
            change_line(Verb::Replace, &path("disk.img"), 50_000_000_000),
            change_line(Verb::Attributes, &path("run.sh"), 120),
            change_line(Verb::Link, &path("b"), 0),
            change_line(Verb::Delete, &path("old\nname"), 12),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        create                 photos/2024
        create         4.5 MB  photos/2024/a.jpg
        replace       50.0 GB  disk.img
        attributes      120 B  run.sh
        link                   b
        delete           12 B  old\x0aname
        ");
    }

    #[test]
    fn faults_name_their_path_once() {
        assert_eq!(fault_text(&path("a/b"), "cannot open a/b: gone"), "cannot open a/b: gone");
        assert_eq!(fault_text(&path("a/b"), "is a socket"), "a/b: is a socket");
        assert_eq!(fault_text(&RelPath::root(), "cannot scan it."), ".: cannot scan it.");
    }
}
