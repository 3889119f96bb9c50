//! The jobs that this star executes: those that write to it.
//!
//! ```text
//!   Nucleus ══ /orbit/job/1 ══▶ serve ──orders──▶ JobRunner ──▶ Held (one a job) ──▶ worker, a thread of its own
//!           ◀═════ notes ══════       ◀───news─────────────────  │ in jobs/ID           │ plan_from, run_from
//!                                                                └──────────────────────┘ source: jail or direct link
//! ```
//!
//! The Nucleus says what is wanted of each job; a worker does it, and says how things stand. Both are states, not events: they
//! are told again on every new stream, so a Nucleus may be replaced at any moment, and a star may be killed at any moment.
//! Without a Nucleus the workers go on for as long as they need no ticket.
//!
//! **Not for**: what a sync does (`standalone`), nor who may go when (`core::grid`).
//!
//! Reading order: this file, `held`, `worker`, `source`, then `serve`.

mod frames;
mod held;
mod kept;
mod observer;
mod report;
mod request;
pub(crate) mod serve;
mod source;
mod worker;

pub(crate) use frames::{FrameError, FrameReader, write_frame};

use crate::daemon::Node;
use crate::daemon::shared::lock;
use crate::standalone::error::chain;
use held::Held;
use kept::Kept;
use orbit_core::grid::job::Wanted;
use orbit_core::ids::JobId;
use orbit_core::wire::job::JobSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The jobs of this star.
#[derive(Debug)]
pub(crate) struct JobRunner {
    /// Where jobs and their plans are kept.
    directory: PathBuf,
    held: Mutex<BTreeMap<JobId, Arc<Held>>>,
    /// Counts up whenever there is something to tell.
    news: watch::Sender<u64>,
    /// Ends the conversation with the Nucleus that is under way.
    conversation: Mutex<CancellationToken>,
}

impl JobRunner {
    /// Takes up what is kept in `data_dir`. Nothing is worked on before the Nucleus wants it.
    pub(crate) fn new(data_dir: &Path) -> Self {
        let directory = data_dir.join("jobs");
        let (news, _) = watch::channel(0);
        let kept = kept::load_all(&directory);
        let held = kept.into_iter().map(|(id, kept)| (id, Arc::new(Held::new(id, kept, news.clone()))));
        Self {
            held: Mutex::new(held.collect()),
            directory,
            news,
            conversation: Mutex::new(CancellationToken::new()),
        }
    }

    /// How many jobs there are here.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(lock(&self.held).len()).unwrap_or(u32::MAX)
    }

    /// A conversation begins, and the one before ends.
    fn begin_conversation(&self) -> CancellationToken {
        let token = CancellationToken::new();
        std::mem::replace(&mut *lock(&self.conversation), token.clone()).cancel();
        token
    }

    fn all(&self) -> Vec<Arc<Held>> {
        lock(&self.held).values().cloned().collect()
    }

    fn get(&self, job: JobId) -> Option<Arc<Held>> {
        lock(&self.held).get(&job).cloned()
    }

    /// The Nucleus wants this of a job.
    fn want(&self, node: &Arc<Node>, job: JobId, attempt: u32, wanted: Wanted, spec: JobSpec) {
        // Said while nobody can remove it: one that was given up before lives on.
        let mut all = lock(&self.held);
        let new = || Arc::new(Held::new(job, Kept::new(attempt, spec.clone()), self.news.clone()));
        let held = all.entry(job).or_insert_with(new);
        if held.want(attempt, wanted, spec) {
            worker::start(node, Arc::clone(held));
        }
    }

    /// Nothing of a job is needed any more.
    fn forget(&self, node: &Arc<Node>, job: JobId) {
        let Some(held) = self.get(job) else { return };
        if held.give_up() {
            worker::start(node, held);
        }
    }

    /// Forgets every job that is not among `named`.
    fn forget_others(&self, node: &Arc<Node>, named: &BTreeSet<JobId>) {
        for held in self.all().iter().filter(|held| !named.contains(&held.id)) {
            self.forget(node, held.id);
        }
    }

    /// Forgets a job whose plan is gone already. Whether it is not wanted again.
    fn remove(&self, held: &Held) -> bool {
        let mut all = lock(&self.held);
        if !held.is_given_up() {
            return false;
        }
        all.remove(&held.id);
        if let Err(error) = kept::remove(&self.directory, held.id) {
            tracing::warn!(job = %held.id, error = chain(&error), "cannot remove what is kept of a job");
        }
        self.news.send_modify(|count| *count += 1);
        true
    }

    /// Asks all workers to stop, and waits for none of them: what they do can be killed at any moment.
    pub(crate) fn stop(&self) {
        for held in self.all() {
            held.interrupt();
        }
    }
}
