//! [`Orbit`]: the real binary, with a home of its own.

use crate::report::skipped;
use crate::wait::{DEADLINE, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};
use std::{env, fs};

/// What the program says by its exit code; the contract of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Unexpected failure.
    Failure = 1,
    /// Usage.
    Usage = 2,
    /// Some files failed or were skipped.
    Partial = 3,
    /// Something named does not exist.
    Missing = 4,
    /// A node cannot be reached.
    Unreachable = 5,
    /// Refused.
    Refused = 6,
    /// The plan no longer fits what is on disk.
    Stale = 7,
    /// A guard stopped it.
    Guarded = 8,
}

/// Runs the binary. Everything it remembers lies below a directory of this value's.
#[derive(Debug)]
pub struct Orbit {
    home: tempfile::TempDir,
    binary: PathBuf,
    user: Option<u32>,
}

impl Default for Orbit {
    fn default() -> Self {
        Self::new()
    }
}

impl Orbit {
    /// With an empty home.
    ///
    /// # Panics
    /// If there is no binary and none can be built.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("orbit-home-").tempdir().expect("makes a directory");
        Self { home, binary: binary().to_owned(), user: None }
    }

    /// As another user (needs root). The binary is copied to where that user may read it.
    ///
    /// # Panics
    /// If that cannot be set up.
    pub fn as_user(uid: u32) -> Self {
        let mut orbit = Self::new();
        let copy = orbit.home.path().join("orbit");
        fs::copy(&orbit.binary, &copy).expect("copies the binary");
        fs::set_permissions(orbit.home.path(), fs::Permissions::from_mode(0o755)).expect("sets the mode");
        for directory in [orbit.home.path().join("state"), orbit.home.path().to_owned()] {
            fs::create_dir_all(&directory).expect("makes a directory");
            std::os::unix::fs::chown(&directory, Some(uid), Some(uid)).expect("changes the owner");
        }
        orbit.binary = copy;
        orbit.user = Some(uid);
        orbit
    }

    /// The directory with `state/orbit`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where its databases lie.
    pub fn state(&self) -> PathBuf {
        self.home.path().join("state/orbit")
    }

    /// Makes it forget everything.
    ///
    /// # Panics
    /// If what it remembers cannot be removed.
    pub fn forget(&self) {
        crate::tree::remove(&self.state());
    }

    /// The binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A command that will run `program` as the binary would be run.
    pub fn environment(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ORBIT_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.home()).env("XDG_STATE_HOME", self.home().join("state"));
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR").stdin(Stdio::null()).current_dir(self.home());
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// The binary with these arguments, not started yet.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.environment(&self.binary);
        command.args(arguments);
        command
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// If it does not start, hangs, or panics.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Running::start(self.command(arguments)).finish()
    }

    /// `orbit sync SOURCE DESTINATION FLAGS --json`, to the end.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn sync(&self, source: &Path, destination: &Path, flags: &[&str]) -> Run {
        self.run(sync_arguments(source, destination, flags))
    }

    /// The same, only started.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start_sync(&self, source: &Path, destination: &Path, flags: &[&str]) -> Running {
        Running::start(self.command(sync_arguments(source, destination, flags)))
    }
}

/// What [`Orbit::sync`] hands to the binary.
pub fn sync_arguments(source: &Path, destination: &Path, flags: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        vec!["sync".into(), source.into(), destination.into(), "--json".into()];
    arguments.extend(flags.iter().map(OsString::from));
    arguments
}

/// A run in progress; killed if it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    output: Vec<JoinHandle<String>>,
}

impl Running {
    /// Starts a command with its output on pipes.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {shown}: {e}"));
        let stdout = child.stdout.take().expect("is a pipe");
        let stderr = child.stderr.take().expect("is a pipe");
        Self { child, shown, output: vec![collect(stdout), collect(stderr)] }
    }

    /// Sends SIGKILL. `false` if the run had ended before.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn kill(mut self) -> (bool, Run) {
        self.child.kill().expect("kills its child");
        let run = self.finish();
        (run.status.signal() == Some(9), run)
    }

    /// Sends SIGINT, as Ctrl-C does.
    ///
    /// # Panics
    /// If it cannot be sent.
    pub fn interrupt(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("signals its child");
    }

    /// Bytes it has written to files so far, by any system call (of the child itself).
    pub fn written_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        let field =
            |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        field("wchar:").unwrap_or(0).max(field("write_bytes:").unwrap_or(0))
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If that cannot be asked.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("asks for its child").is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it hangs or panics.
    #[track_caller]
    pub fn finish(self) -> Run {
        self.finish_within(DEADLINE)
    }

    /// The same with another limit.
    ///
    /// # Panics
    /// If it hangs or panics.
    #[track_caller]
    pub fn finish_within(mut self, limit: Duration) -> Run {
        let status = poll(limit, || self.child.try_wait().expect("asks for its child"));
        if status.is_none() {
            self.child.kill().expect("kills its child");
            self.child.wait().expect("waits for its child");
        }
        let mut output = self.output.drain(..).map(|thread| thread.join().expect("a reader does not panic"));
        let (stdout, stderr) = (output.next().unwrap_or_default(), output.next().unwrap_or_default());
        drop(output);
        let command = std::mem::take(&mut self.shown);
        let Some(status) = status else {
            panic!("{command} hangs\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        };
        let run = Run { status, stdout, stderr, command };
        assert!(!run.stderr.contains("panicked at"), "a panic\n{run}");
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A run that ended.
#[derive(Clone, Debug)]
pub struct Run {
    /// How.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    command: String,
}

impl Run {
    /// Its exit code, unless it died of a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Panics with everything it said unless it ended so.
    #[allow(clippy::return_self_not_must_use)] // an assertion: most callers need nothing more
    #[track_caller]
    pub fn expect(self, exit: Exit) -> Self {
        assert!(self.code() == Some(exit as i32), "expected exit {} ({exit:?})\n{self}", exit as i32);
        self
    }

    /// Panics unless it said this somewhere, in whatever case.
    #[allow(clippy::return_self_not_must_use)] // likewise
    #[track_caller]
    pub fn expect_says(self, text: &str) -> Self {
        assert!(self.says(text), "expected to read `{text}`\n{self}");
        self
    }

    /// Whether it said this somewhere, in whatever case.
    pub fn says(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.stdout.to_lowercase().contains(&text) || self.stderr.to_lowercase().contains(&text)
    }

    /// The summary that `sync --json` ends with.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.events().pop();
        let summary = last.filter(|event| event["event"] == "summary");
        summary.unwrap_or_else(|| panic!("no summary\n{self}"))
    }

    /// A number of the summary.
    ///
    /// # Panics
    /// If it is missing.
    #[track_caller]
    pub fn count(&self, field: &str) -> u64 {
        let summary = self.summary();
        summary[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in the summary\n{self}"))
    }

    /// Every line of its output, read as JSON.
    ///
    /// # Panics
    /// If one is no JSON.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}: `{line}`\n{self}"))
            })
            .collect()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, stdout, stderr, command } = self;
        write!(f, "$ {command}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The binary: `ORBIT_BIN`, or the one of the build this test belongs to, built now if it is missing or older than
/// its sources.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("ORBIT_BIN").map_or_else(build, PathBuf::from))
}

/// The library that shifts clocks, if the binary can be made to load it; if not, says that `what` is skipped.
///
/// # Panics
/// If the binary cannot be read.
pub fn faketime(what: &str) -> Option<String> {
    let architecture = std::env::consts::ARCH;
    let library = ["lib", "lib64"]
        .map(|lib| vec![format!("/usr/{lib}/{architecture}-linux-gnu"), format!("/usr/{lib}")])
        .concat()
        .into_iter()
        .map(|directory| format!("{directory}/faketime/libfaketime.so.1"))
        .find(|path| Path::new(path).exists());
    let Some(library) = library else {
        skipped(what, "libfaketime is not installed");
        return None;
    };
    // A static binary loads nothing.
    let bytes = fs::read(binary()).expect("reads the binary");
    let is_dynamic = bytes.windows(9).any(|window| window == b"ld-linux-");
    if !is_dynamic {
        skipped(what, "the binary is static, and loads no library");
    }
    is_dynamic.then_some(library)
}

/// The workspace this crate belongs to.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests lie in <target>/<profile>/deps");
    let binary = profile.join("orbit");
    let built = fs::metadata(&binary).and_then(|metadata| metadata.modified());
    if built.is_ok_and(|built| built >= newest_source()) {
        return binary;
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "-q", "-p", "orbit-cli"]);
    cargo.arg("--target-dir").arg(profile.parent().expect("a profile lies in the target directory"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo starts");
    assert!(status.success(), "the binary cannot be built");
    binary
}

fn newest_source() -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let crates = ["core", "cdc", "store", "mesh", "consensus", "node", "cli"];
    let mut waiting: Vec<PathBuf> = crates.iter().map(|name| workspace().join(name).join("src")).collect();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => newest = newest.max(metadata.modified().unwrap_or(newest)),
                Err(_) => {}
            }
        }
    }
    newest
}
