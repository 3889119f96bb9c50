//! The progress display: two lines on a terminal, or one line a second elsewhere.

mod figures;

use super::screen::Screen;
use figures::Meter;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orbit_node::standalone::progress::Progress;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// Redraws on a terminal.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Lines elsewhere.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// What is over before this shows no display at all, so that nothing flashes up.
const PATIENCE: Duration = Duration::from_millis(300);

/// A display in progress. Dropping it clears the display.
pub struct Display {
    /// Dropped to end the thread.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    /// Redrawn in place.
    Bar,
    /// One line after the other.
    Lines,
}

impl Display {
    /// Shows `progress` on stderr: if that is a terminal and neither `-q` nor `-v` (whose lines it would chase) is
    /// given, or if `wanted`.
    pub fn start(screen: &Arc<Screen>, progress: Arc<Progress>, wanted: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        let mode = match (is_terminal, wanted) {
            (true, true) => Mode::Bar,
            (true, false) if !screen.quiet => Mode::Bar,
            (false, true) => Mode::Lines,
            _ => Mode::Off,
        };
        if mode == Mode::Off {
            return Self { end: None, thread: None };
        }
        let (end, ended) = mpsc::channel();
        let screen = Arc::clone(screen);
        let draw = move || {
            let mut meter = Meter::new(progress);
            let mut wait = if mode == Mode::Bar { PATIENCE } else { LINE_INTERVAL };
            let mut bar = None;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let figures = meter.read();
                if mode == Mode::Lines {
                    screen.err(&format!("{figures}\n"));
                    continue;
                }
                wait = DRAW_INTERVAL;
                let bar = bar.get_or_insert_with(|| new_bar(&screen));
                // One column stays free: some terminals wrap a full line.
                let width = usize::from(console::Term::stderr().size().1).saturating_sub(1);
                bar.set_message(figures.lines(width));
            }
            screen.set_bar(None);
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        };
        // Without a thread there is no display, and the run is none the worse.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { end: Some(end), thread }
    }
}

fn new_bar(screen: &Screen) -> ProgressBar {
    let hertz = (1000 / DRAW_INTERVAL.as_millis()) as u8;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(hertz));
    bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
    screen.set_bar(Some(bar.clone()));
    bar
}

impl Drop for Display {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A display that panicked has said so; the run's result still counts.
            drop(thread.join());
        }
    }
}
