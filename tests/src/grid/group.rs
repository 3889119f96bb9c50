//! Who elects the Nucleus: what a test asks about it, and waits for.

use super::conversation::{Answer, Conversation, Request};
use super::node::Node;
use super::{Grid, PATIENCE};
use crate::wait::poll;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io;
use std::time::Duration;

/// How long a group may take to have its voters on a busy machine: each is heard for a while, certified, sent the records.
const VOTERS_PATIENCE: Duration = Duration::from_secs(90);

impl Node {
    /// `GET /v1/status` of its daemon, which may not know a Nucleus.
    pub fn status(&self) -> Option<Value> {
        self.get("/v1/status").ok().filter(|status| status["sentence"].is_string())
    }

    /// Asks its daemon in a conversation of its own.
    pub fn ask(&self, request: &Request) -> io::Result<Answer> {
        Conversation::open(&self.data_dir())?.ask(request)
    }

    /// Whether its daemon says that it acts as the Nucleus.
    pub fn is_nucleus(&self) -> bool {
        self.get("/v1/node").is_ok_and(|node| node["is_nucleus"] == true)
    }

    /// Names of the grid's constellations.
    #[track_caller]
    pub fn constellations(&self) -> Vec<String> {
        let list = self.json_list(["constellation", "ls"]);
        let name = |listed: &Value| listed["name"].as_str().unwrap_or_default().to_owned();
        list.iter().map(name).collect()
    }

    /// Stops its daemon's process in its tracks (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.daemon_id().cast_signed()).expect("a process has an id");
        kill_process(pid, signal).expect("signals its child");
    }
}

impl Grid {
    /// Nodes on loopback, founded and joined, of which three (or five with `voters = 5` in `settings`) vote.
    pub fn voting(count: usize, settings: &str) -> Self {
        let grid = Self::loopback(count);
        grid.set_group(settings);
        grid.assemble();
        let wanted = if settings.contains("voters = 5") { 5 } else { 3 };
        grid.wait_until_voting(0, wanted.min(count));
        grid
    }

    /// Lines of `[nucleus]` in the `star.toml` of every node that is founded or joins from now on.
    pub fn set_group(&self, settings: &str) {
        for node in self.nodes() {
            node.set_group(settings);
        }
    }

    /// Waits until `count` nodes vote, all of them heard and level, as `asked` tells.
    #[track_caller]
    pub fn wait_until_voting(&self, asked: usize, count: usize) {
        let is_well = |voter: &Value| {
            voter["is_heard"] == true && (voter["is_nucleus"] == true || voter["behind"] == 0)
        };
        self.wait_for_status(asked, &format!("{count} nodes vote"), |status| {
            let voters = status["group"]["voters"].as_array();
            status["nucleus"].is_string()
                && voters.is_some_and(|voters| voters.len() == count && voters.iter().all(is_well))
        });
    }

    /// Waits until `asked` tells the grid so, and gives what it told.
    ///
    /// # Panics
    /// After a while, with what it told last.
    #[track_caller]
    pub fn wait_for_status(&self, asked: usize, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_status_within(VOTERS_PATIENCE, asked, what, condition)
    }

    /// The same with another limit.
    ///
    /// # Panics
    /// After that time, with what it told last.
    #[track_caller]
    pub fn wait_for_status_within(
        &self,
        limit: Duration,
        asked: usize,
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        let seen = poll(limit, || {
            std::thread::sleep(Duration::from_millis(20));
            last = self.node(asked).status();
            last.clone().filter(|status| condition(status))
        });
        seen.unwrap_or_else(|| panic!("waited in vain until {what}; nas{} tells: {last:#?}", asked + 1))
    }

    /// Which of `nodes` is the Nucleus, once all of them say so and it says it is.
    ///
    /// # Panics
    /// If they do not agree in time.
    #[track_caller]
    pub fn nucleus_among(&self, nodes: &[usize]) -> usize {
        let mut last = Vec::new();
        let agreed = poll(PATIENCE * 2, || {
            std::thread::sleep(Duration::from_millis(10));
            let told = |index: &usize| {
                let status = self.node(*index).status()?;
                status["nucleus"].as_str().filter(|_| status["as_of_ms"].is_null()).map(str::to_owned)
            };
            last = nodes.iter().map(told).collect();
            let name = last.first()?.clone()?;
            let is_agreed = last.iter().all(|told| told.as_ref() == Some(&name));
            let index = nodes.iter().copied().find(|index| self.node(*index).name() == name)?;
            (is_agreed && self.node(index).is_nucleus()).then_some(index)
        });
        agreed.unwrap_or_else(|| panic!("{nodes:?} do not agree on a Nucleus among them: {last:?}"))
    }
}

/// All but some of the first `count` nodes.
pub fn others(count: usize, but: &[usize]) -> Vec<usize> {
    (0..count).filter(|index| !but.contains(index)).collect()
}
