//! [`Daemon`]: `orbit node run` as a child of the test.

use crate::wait::{DEADLINE, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

/// A daemon in the foreground; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where in the log this start begins.
    begins_at: u64,
    shown: String,
}

impl Daemon {
    /// Starts it. Both its outputs are added to the log.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("opens the log");
        let begins_at = file.metadata().expect("is there").len();
        let shown = format!("{command:?}");
        command.stdout(file.try_clone().expect("duplicates a handle")).stderr(file);
        let child = command.spawn().unwrap_or_else(|e| panic!("start {shown}: {e}"));
        Self { child, log: log.to_owned(), begins_at, shown }
    }

    /// What it said since it was started.
    pub fn said(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.begins_at as usize..).unwrap_or_default()).into_owned()
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let ready = poll(super::PATIENCE, || {
            if self.said().lines().any(|line| line.contains(" is ready in the grid ")) {
                return Some(true);
            }
            self.child.try_wait().expect("asks for its child").map(|_| false)
        });
        assert!(ready == Some(true), "not ready: {}\n{}", self.shown, self.said());
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("asks for its child").is_none()
    }

    /// Sends SIGKILL and waits.
    pub fn kill(mut self) {
        self.end();
    }

    /// Sends SIGTERM and waits for its end.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signals its child");
        self.wait_for_end()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_for_end(mut self) -> ExitStatus {
        let status = poll(DEADLINE, || self.child.try_wait().expect("asks for its child"));
        status.unwrap_or_else(|| panic!("does not end: {}\n{}", self.shown, self.said()))
    }

    fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
        let panicked = self.said().contains("panicked at");
        // A second panic would hide the first.
        assert!(!panicked || std::thread::panicking(), "a panic: {}\n{}", self.shown, self.said());
    }
}
