//! [`Node`]: one node of a grid, as a person sits before it.

use super::daemon::Daemon;
use crate::orbit::{Exit, Orbit, Run, Running};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// How long a command may take before it counts as hanging: longer than the deadlines of the program itself.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(45);

/// The port a node listens on unless told otherwise.
pub const PORT: u16 = 4001;

/// Where a node is on the network.
#[derive(Clone, Debug)]
pub enum Place {
    /// On 127.0.0.1.
    Loopback {
        /// Its port.
        port: u16,
    },
    /// In a network namespace, on its default port.
    Namespace {
        /// The namespace.
        name: String,
    },
}

/// A node: home, jail, daemon.
#[derive(Debug)]
pub struct Node {
    name: String,
    orbit: Orbit,
    allowed: PathBuf,
    place: Place,
    environment: Mutex<Vec<(String, String)>>,
    group_settings: Mutex<String>,
    daemon: Mutex<Option<Daemon>>,
}

impl Node {
    /// A node that has not been set up.
    pub fn new(name: String, allowed: PathBuf, place: Place) -> Self {
        Self {
            name,
            orbit: Orbit::new(),
            allowed,
            place,
            environment: Mutex::default(),
            group_settings: Mutex::default(),
            daemon: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it lets others reach.
    pub fn allowed(&self) -> &Path {
        &self.allowed
    }

    /// `NAME:PATH` of something below what it allows.
    pub fn endpoint(&self, below: &str) -> String {
        format!("{}:{}", self.name, self.allowed.join(below).display())
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.orbit.state()
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What others dial, on loopback.
    ///
    /// # Panics
    /// In a namespace: the network knows the address there.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Loopback { port } => format!("127.0.0.1:{port}"),
            Place::Namespace { .. } => panic!("addresses in namespaces are the network's"),
        }
    }

    /// Sets a variable for everything that is run from now on.
    pub fn set_variable(&self, name: &str, value: &str) {
        self.environment.lock().expect("no test panicked").push((name.to_owned(), value.to_owned()));
    }

    /// Forgets the variables.
    pub fn clear_variables(&self) {
        self.environment.lock().expect("no test panicked").clear();
    }

    /// The binary with these arguments as run on this node, not started yet.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut words: Vec<&OsStr> = Vec::new();
        if dies_with_parent() {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(OsStr::new));
        }
        if let Place::Namespace { name } = &self.place {
            words.extend(["ip", "netns", "exec", name].map(OsStr::new));
        }
        words.push(self.orbit.binary().as_os_str());
        let mut command = self.orbit.environment(words[0]);
        command.args(&words[1..]).args(arguments);
        command.envs(self.environment.lock().expect("no test panicked").iter().cloned());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        self.start(arguments).finish_within(COMMAND_DEADLINE)
    }

    /// Starts a command.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Running {
        Running::start(self.command(arguments))
    }

    /// Runs a command that succeeds, with `--json`, and reads the one object it prints.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.command(arguments);
        command.arg("--json");
        super::object(&Running::start(command).finish_within(COMMAND_DEADLINE).expect(Exit::Done))
    }

    /// Runs a command that succeeds, with `--json`, and reads the list it prints: one array, or one object a line.
    #[track_caller]
    pub fn json_list<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Vec<Value> {
        let mut command = self.command(arguments);
        command.arg("--json");
        let run = Running::start(command).finish_within(COMMAND_DEADLINE).expect(Exit::Done);
        list_of(&run)
    }

    /// `orbit node ls`, if it can be had.
    pub fn try_list(&self) -> Option<Vec<Value>> {
        let run = self.run(["node", "ls", "--json"]);
        (run.code() == Some(0)).then(|| list_of(&run))
    }

    /// `orbit node show NAME`.
    #[track_caller]
    pub fn show(&self, name: &str) -> Value {
        self.json(["node", "show", name])
    }

    /// Founds a grid and leaves the daemon running, ready.
    #[track_caller]
    pub fn init(&self) {
        let mut arguments = ["node", "init", "--name", &self.name].map(str::to_owned).to_vec();
        arguments.extend(self.options());
        self.set_up(arguments);
        self.wait_until_ready();
    }

    /// A new join token.
    #[track_caller]
    pub fn token(&self, options: &[&str]) -> String {
        let created = self.json(["token", "create"].iter().chain(options));
        created["token"].as_str().unwrap_or_else(|| panic!("no token in {created}")).to_owned()
    }

    /// Joins and leaves the daemon running; it may not be ready yet.
    #[track_caller]
    pub fn join(&self, token: &str, more: &[String]) {
        self.set_up(self.join_arguments(token, more));
    }

    /// Lines of `[nucleus]` in its `star.toml`, from when it founds or joins a grid.
    pub fn set_group(&self, settings: &str) {
        settings.clone_into(&mut self.group_settings.lock().expect("no test panicked"));
    }

    /// Founds or joins a grid and leaves the daemon running; with settings of its own it is started after they are written.
    #[track_caller]
    fn set_up(&self, arguments: Vec<String>) {
        let settings = self.group_settings.lock().expect("no test panicked").clone();
        if settings.is_empty() {
            return self.start_daemon(arguments);
        }
        self.run(arguments.iter().filter(|argument| *argument != "--run")).expect(Exit::Done);
        let file = fs::File::options().append(true).open(self.data_dir().join("star.toml"));
        let written = file.and_then(|mut file| writeln!(file, "\n[nucleus]\n{settings}"));
        written.expect("writes star.toml");
        self.restart();
    }

    /// Joins as a witness, which holds no files, and leaves the daemon running.
    #[track_caller]
    pub fn join_as_witness(&self, token: &str, via: &str) {
        let mut arguments = self.join_arguments(token, &["--via".to_owned(), via.to_owned()]);
        // What it would allow goes, with the option's name.
        let at = arguments.iter().position(|argument| argument == "--allow").expect("allows something");
        arguments.drain(at..at + 2);
        arguments.push("--no-files".to_owned());
        self.set_up(arguments);
    }

    /// The arguments of `orbit node join … --run` on this node.
    pub fn join_arguments(&self, token: &str, more: &[String]) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["node", "join", token, "--name", &self.name].map(str::to_owned).to_vec();
        arguments.extend(self.options());
        arguments.extend(more.iter().cloned());
        arguments
    }

    /// Options of `init` and `join`.
    fn options(&self) -> Vec<String> {
        let allowed = self.allowed.to_str().expect("a temporary path is text").to_owned();
        let mut options = vec!["--allow".to_owned(), allowed, "--run".to_owned()];
        if let Place::Loopback { port } = self.place {
            options.extend([
                "--listen".to_owned(),
                format!("/ip4/127.0.0.1/tcp/{port}"),
                "--no-mdns".to_owned(),
            ]);
        }
        options
    }

    /// Starts the daemon of a node that was set up before; it may not be ready yet.
    #[track_caller]
    pub fn restart(&self) {
        self.start_daemon(["node", "run"]);
    }

    /// Starts a command that becomes the daemon.
    #[track_caller]
    pub fn start_daemon<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) {
        let command = self.command(arguments);
        let mut daemon = self.daemon();
        assert!(daemon.is_none(), "{} has a daemon already", self.name);
        *daemon = Some(Daemon::start(command, &self.log_file()));
    }

    /// Waits until its daemon says that it is ready.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        self.daemon().as_mut().expect("has a daemon").wait_until_ready();
    }

    /// Kills its daemon with SIGKILL.
    #[track_caller]
    pub fn kill(&self) {
        let daemon = self.daemon().take();
        daemon.expect("has a daemon").kill();
    }

    /// Stops its daemon with SIGTERM.
    #[track_caller]
    pub fn stop(&self) -> ExitStatus {
        let daemon = self.daemon().take();
        daemon.expect("has a daemon").stop()
    }

    /// Waits until its daemon ends by itself.
    #[track_caller]
    pub fn wait_for_end(&self) -> ExitStatus {
        let daemon = self.daemon().take();
        daemon.expect("has a daemon").wait_for_end()
    }

    /// Process of its daemon.
    ///
    /// # Panics
    /// If it has none.
    pub fn daemon_id(&self) -> u32 {
        self.daemon().as_ref().expect("has a daemon").id()
    }

    /// Whether its daemon runs.
    pub fn is_running(&self) -> bool {
        self.daemon().as_mut().is_some_and(Daemon::is_running)
    }

    /// What its daemon said since it was last started.
    pub fn said(&self) -> String {
        self.daemon().as_ref().map(Daemon::said).unwrap_or_default()
    }

    /// What its daemons ever said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.orbit.home().join("daemon.log")
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().expect("no test panicked")
    }
}

/// A port of 127.0.0.1 that nobody uses now.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("finds a port");
    listener.local_addr().expect("has an address").port()
}

#[track_caller]
fn list_of(run: &Run) -> Vec<Value> {
    match serde_json::from_str(&run.stdout) {
        Ok(Value::Array(values)) => values,
        _ => run.events(),
    }
}

/// Whether `setpriv` can make children die when the thread that started them ends, however it ends.
fn dies_with_parent() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let tried = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).status();
        tried.is_ok_and(|status| status.success())
    })
}
