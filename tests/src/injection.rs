//! [`Injection`]: a run in which the kernel refuses one system call, or kills the process at it.

use crate::orbit::{Orbit, Run, Running};
use crate::report::skipped;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

/// What happens at the system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It fails with this error (`EIO`).
    Error(&'static str),
    /// The process dies before it.
    Kill,
}

/// Which system call is met, and how.
#[derive(Clone, Copy, Debug)]
pub struct Injection {
    /// Its name.
    pub call: &'static str,
    /// The how-manieth of each thread.
    pub when: u32,
    /// What happens.
    pub harm: Harm,
}

/// A run under injection.
#[derive(Debug)]
pub struct Injected {
    /// How it ended.
    pub run: Run,
    /// The calls that were met, as strace writes them with the paths of descriptors; empty if there were none.
    pub met: Vec<String>,
}

impl Injection {
    /// Whether there is an strace that may trace; says `SKIPPED` if not.
    pub fn is_possible_or_skips() -> bool {
        let tried =
            Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
        let why = match tried {
            Ok(status) if status.success() => return true,
            Ok(_) => "strace may not trace here".to_owned(),
            Err(error) => format!("strace does not start: {error}"),
        };
        skipped("failing system calls", &why);
        false
    }

    /// Runs the binary with these arguments.
    ///
    /// # Panics
    /// If strace does not start, or the binary hangs or panics.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(self, orbit: &Orbit, arguments: impl IntoIterator<Item = A>) -> Injected {
        let Self { call, when, harm } = self;
        let log = orbit.home().join("strace.log");
        let harm_option = match harm {
            Harm::Error(name) => format!("error={name}"),
            Harm::Kill => "signal=KILL".to_owned(),
        };
        let mut command = orbit.environment("strace");
        // Without a filter in the kernel each system call stops twice; but with it no signal is sent.
        command.args((harm != Harm::Kill).then_some("--seccomp-bpf"));
        // `?`: a call that this strace or machine does not know is one that is never met.
        command.args(["-f", "-qq", "-y", "-o"]).arg(&log).args(["-e", &format!("trace=?{call}")]);
        command.args(["-e", &format!("inject=?{call}:{harm_option}:when={when}")]);
        command.arg(orbit.binary()).args(arguments);
        let run = Running::start(command).finish();
        let met = met(&log, harm).expect("strace writes its log");
        Injected { run, met }
    }
}

/// Runs the binary and gives every one of these system calls, as strace writes them with the paths of descriptors.
///
/// # Panics
/// As [`Injection::run`].
#[track_caller]
pub fn trace<A: AsRef<OsStr>>(
    calls: &str,
    orbit: &Orbit,
    arguments: impl IntoIterator<Item = A>,
) -> (Run, Vec<String>) {
    let log = orbit.home().join("strace.log");
    let mut command = orbit.environment("strace");
    command
        .args(["--seccomp-bpf", "-f", "-qq", "-y", "-o"])
        .arg(&log)
        .args(["-e", &format!("trace={calls}")]);
    command.arg(orbit.binary()).args(arguments);
    let run = Running::start(command).finish();
    let text = fs::read(&log).expect("strace writes its log");
    (run, String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

fn met(log: &Path, harm: Harm) -> io::Result<Vec<String>> {
    let text = fs::read(log)?;
    let text = String::from_utf8_lossy(&text);
    let is_met = |line: &&str| match harm {
        Harm::Error(_) => line.contains("(INJECTED)"),
        Harm::Kill => line.contains("killed by SIGKILL"),
    };
    Ok(text.lines().filter(is_met).map(str::to_owned).collect())
}
