//! [`Grid`]: several nodes on this machine, each as on a machine of its own.
//!
//! ```text
//!  Grid ─┬─ Node     a home, a data directory, a jail, a daemon: runs commands there, starts and kills the daemon
//!        └─ Network  a switch and a network namespace for each node; cables are cut, packets dropped
//! ```
//!
//! On loopback, nodes have ports of their own and find nobody by themselves. In namespaces each has an address of its
//! own, and multicast reaches the others, so that nothing need be typed; that needs root.
//!
//! Nothing outlives a grid: daemons are killed and namespaces removed when it is dropped, by a panic too. What a killed
//! test run left is removed by the next.

mod api;
pub mod conversation;
mod daemon;
pub mod group;
pub mod network;
pub mod node;

use crate::orbit::Exit;
use crate::report::say;
use crate::wait::poll;
use network::{Addresses, Network};
use node::{Node, Place};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a grid may take to come together on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Nodes, and what connects them. Nodes count from 0; the first founds the grid, and is named `nas1`.
#[derive(Debug)]
pub struct Grid {
    // Before the network: daemons end before their namespaces.
    nodes: Vec<Node>,
    network: Option<Network>,
    directory: tempfile::TempDir,
}

impl Grid {
    /// Nodes on 127.0.0.1, each on ports of its own and without mDNS.
    pub fn loopback(count: usize) -> Self {
        let place = |_| Place::Loopback { port: node::free_port() };
        Self::with(count, None, place)
    }

    /// Nodes in network namespaces of their own, with IPv4 addresses on one switch. `None`, and a loud word, where that
    /// cannot be had.
    pub fn namespaces(count: usize) -> Option<Self> {
        Self::namespaces_with(count, Addresses::Four)
    }

    /// The same with addresses of another kind.
    pub fn namespaces_with(count: usize, addresses: Addresses) -> Option<Self> {
        let network = Network::build_or_skips(count, addresses)?;
        let names: Vec<String> = (0..count).map(|index| network.namespace(index)).collect();
        let place = |index: usize| Place::Namespace { name: names[index].clone() };
        Some(Self::with(count, Some(network), place))
    }

    fn with(count: usize, network: Option<Network>, place: impl Fn(usize) -> Place) -> Self {
        let directory = tempfile::Builder::new().prefix("orbit-grid-").tempdir().expect("makes a directory");
        let node = |index: usize| {
            let name = format!("nas{}", index + 1);
            let allowed = directory.path().join(&name).join("data");
            std::fs::create_dir_all(&allowed).expect("makes a directory");
            Node::new(name, allowed, place(index))
        };
        Self { nodes: (0..count).map(node).collect(), network, directory }
    }

    /// Two or more nodes, founded and joined on loopback, all ready.
    pub fn standing(count: usize) -> Self {
        let grid = Self::loopback(count);
        grid.assemble();
        grid
    }

    /// Founds the grid on the first node and lets the others join, by address on loopback and without in namespaces.
    #[track_caller]
    pub fn assemble(&self) {
        self.assemble_first(self.nodes.len());
    }

    /// The same with only the first `count` of the nodes.
    #[track_caller]
    pub fn assemble_first(&self, count: usize) {
        self.node(0).init();
        let token = self.node(0).token(&["--uses", &(count - 1).max(1).to_string()]);
        for node in &self.nodes[1..count] {
            node.join(&token, &self.via(node));
        }
        self.wait_until_ready(count);
    }

    /// What a node must be told to find the first: nothing where multicast reaches it.
    fn via(&self, node: &Node) -> Vec<String> {
        match node.place() {
            Place::Namespace { .. } => Vec::new(),
            Place::Loopback { .. } => vec!["--via".to_owned(), self.node(0).address()],
        }
    }

    /// A node.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// All.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What connects them.
    ///
    /// # Panics
    /// On loopback.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("nodes in namespaces have a network")
    }

    /// A path beside the nodes' own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until the first node lists `count` nodes as ready.
    #[track_caller]
    pub fn wait_until_ready(&self, count: usize) -> Duration {
        self.wait_until(&format!("{count} nodes are ready"), |nodes| {
            nodes.iter().filter(|node| node["state"] == "ready").count() == count
        })
    }

    /// Waits until the node of that name is in that state, as the first node lists it.
    #[track_caller]
    pub fn wait_for_state(&self, name: &str, state: &str) -> Duration {
        self.wait_until(&format!("{name} is {state}"), |nodes| {
            nodes.iter().any(|node| node["name"] == name && node["state"] == state)
        })
    }

    /// Waits until the first node lists the grid so.
    ///
    /// # Panics
    /// After one and a half times [`PATIENCE`], with the last listing.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&[Value]) -> bool) -> Duration {
        let begun = Instant::now();
        let mut last = Vec::new();
        let seen = poll(PATIENCE * 3 / 2, || {
            last = self.node(0).try_list().unwrap_or_default();
            condition(&last).then(|| begun.elapsed())
        });
        seen.unwrap_or_else(|| panic!("waited in vain until {what}; the last listing: {last:#?}"))
    }
}

/// Everything the daemons said, when a test fails.
impl Drop for Grid {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in &self.nodes {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            say(&format!("--- {} said (last {} of {} lines)", node.name(), tail.len(), lines.len()));
            say(&tail.join("\n"));
        }
    }
}

/// The only object that a command printed with `--json`.
///
/// # Panics
/// If there is none, or something else.
#[track_caller]
pub fn object(run: &crate::orbit::Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("not one JSON object: {e}\n{run}"))
}

/// Panics unless a command ended so and said each of these things, in whatever case.
#[track_caller]
pub fn expect_mistake(run: crate::orbit::Run, exit: Exit, says: &[&str]) -> crate::orbit::Run {
    let run = run.expect(exit);
    for text in says {
        assert!(run.says(text), "expected to read `{text}`\n{run}");
    }
    assert!(run.stdout.is_empty(), "an error belongs on standard error\n{run}");
    run
}
