//! [`Screen`]: stdout and stderr, shared by everyone who prints, with the progress display kept out of the way.

use super::style::Style;
use crate::args::GlobalArgs;
use indicatif::ProgressBar;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes gathered before they are written: a listing of a million lines costs hundreds of system calls, not a million.
const BUFFER_LEN: usize = 256 * 1024;

/// Both output streams.
pub struct Screen {
    out: Mutex<BufWriter<Stdout>>,
    out_is_terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// Whether JSON is wanted.
    pub json: bool,
    /// Whether only what went wrong is wanted.
    pub quiet: bool,
    /// How much more is wanted.
    pub verbose: u8,
    /// Colours on stdout.
    pub out_style: Style,
    /// Colours on stderr.
    pub err_style: Style,
}

impl Screen {
    /// The process's streams.
    pub fn new(global: &GlobalArgs) -> Self {
        Self {
            out: Mutex::new(BufWriter::with_capacity(BUFFER_LEN, io::stdout())),
            out_is_terminal: io::stdout().is_terminal(),
            bar: Mutex::new(None),
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            out_style: Style::for_stream(global.color, &io::stdout()),
            err_style: Style::for_stream(global.color, &io::stderr()),
        }
    }

    /// Stdout for a stream of records. Nobody else prints meanwhile.
    pub fn stream(&self) -> MutexGuard<'_, BufWriter<Stdout>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes to stdout, buffered where it is no terminal.
    pub fn out(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        if self.out_is_terminal {
            return self.beside_the_bar(|| {
                let mut out = self.stream();
                write(&mut *out).and_then(|()| out.flush())
            });
        }
        write(&mut *self.stream())
    }

    /// Writes one line to stdout.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.out(|out| writeln!(out, "{text}"))
    }

    /// Hands everything to the system.
    pub fn flush(&self) -> io::Result<()> {
        self.stream().flush()
    }

    /// Writes text to stderr. What cannot be told there cannot be told anywhere: failures are dropped.
    pub fn err(&self, text: &str) {
        self.beside_the_bar(|| drop(io::stderr().write_all(text.as_bytes())));
    }

    /// Shows or takes away the progress display.
    pub fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    fn beside_the_bar<T>(&self, print: impl FnOnce() -> T) -> T {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}
