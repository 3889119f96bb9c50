//! Jobs, from the Nucleus's side: it tells each star what is wanted of the jobs that write to it, and takes in what the
//! star says. The rules are in `core::grid`; the work is the stars' (`crate::jobs`).
//!
//! ```text
//!   API ─▶ JobCommand ─▶ Group ─▶ records ─┐ poke
//!                          ▲               ▼
//!   views ◀─ JobDesk ◀─ notes ◀═══ one conversation a star ═══▶ orders
//! ```
//!
//! What changes seldom is among the records; figures and the list of faults are in the memory of the [`JobDesk`], and come
//! again from the stars when another node becomes the Nucleus.

pub(crate) mod cron;
mod talk;
pub(crate) mod view;

use super::Nucleus;
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use cron::Cron;
use jiff::tz::TimeZone;
use orbit_core::grid::job::{JobAct, JobCommand, JobFault, JobSchedule, Pace};
use orbit_core::grid::{Change, Command, GridState, Refusal};
use orbit_core::ids::{JobId, NodeId, RequestId};
use orbit_core::wire::job::JobProgress;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How often is looked what nobody tells: that a pause is over, or that a star has come back.
const LOOK: Duration = Duration::from_secs(1);
/// Faults of one job in memory.
const FAULTS_MAX: usize = 1000;

/// What is known of jobs beside the records.
#[derive(Debug)]
pub(crate) struct JobDesk {
    live: Mutex<HashMap<JobId, Live>>,
    /// Why there is no conversation with a star.
    troubles: Mutex<BTreeMap<NodeId, String>>,
    /// Counts up whenever something changed that people see.
    news: watch::Sender<u64>,
    /// Counts up whenever stars may have to be told something.
    orders: watch::Sender<u64>,
}

/// What a star said of a job lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) attempt: u32,
    pub(crate) progress: Option<JobProgress>,
    pub(crate) faults: Vec<JobFault>,
}

impl Default for JobDesk {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            troubles: Mutex::default(),
            news: watch::Sender::new(0),
            orders: watch::Sender::new(0),
        }
    }
}

impl JobDesk {
    /// Hears whenever something changes that people see.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The records changed.
    fn poke(&self) {
        self.orders.send_modify(|count| *count += 1);
        self.show();
    }

    fn show(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// What a star said of an attempt.
    pub(crate) fn live(&self, job: JobId, attempt: u32) -> Option<Live> {
        lock(&self.live).get(&job).filter(|live| live.attempt == attempt).cloned()
    }

    /// Why the star of a job is not told anything now.
    pub(crate) fn trouble(&self, star: NodeId) -> Option<String> {
        lock(&self.troubles).get(&star).cloned()
    }

    fn set_trouble(&self, star: NodeId, trouble: Option<&str>) {
        let mut troubles = lock(&self.troubles);
        let before = match trouble {
            Some(text) => troubles.insert(star, text.to_owned()),
            None => troubles.remove(&star),
        };
        drop(troubles);
        if before.as_deref() != trouble {
            self.show();
        }
    }

    fn note(&self, job: JobId, attempt: u32, change: impl FnOnce(&mut Live)) {
        let mut all = lock(&self.live);
        let live = all.entry(job).or_default();
        if live.attempt != attempt {
            *live = Live { attempt, ..Live::default() };
        }
        change(live);
        drop(all);
        self.show();
    }

    fn forget_others(&self, known: &BTreeSet<JobId>) {
        lock(&self.live).retain(|job, _| known.contains(job));
    }
}

impl Nucleus {
    /// Does something to a job: a quorum has kept it when this returns, and the star is told.
    pub(crate) async fn job(
        &self,
        request: Option<RequestId>,
        job: JobId,
        act: JobAct,
    ) -> Result<Vec<Change>, DaemonError> {
        let command = Command::Job(JobCommand { job, now_ms: now_ms(), act });
        let changes = self.commit(request, command).await?;
        self.jobs.poke();
        Ok(changes)
    }
}

/// Keeps a conversation with every star that has jobs, and ends pauses. Until the office ends.
pub(crate) async fn keep(node: Arc<Node>, nucleus: Arc<Nucleus>) {
    let mut orders = nucleus.jobs.orders.subscribe();
    let mut talks: BTreeMap<NodeId, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        end_pauses(&nucleus).await;
        begin_due(&nucleus).await;
        talks.retain(|_, talk| !talk.is_finished());
        for star in stars(&nucleus) {
            talks.entry(star).or_insert_with(|| {
                node.tasks.spawn(talk::keep(Arc::clone(&node), Arc::clone(&nucleus), star))
            });
        }
        nucleus.jobs.forget_others(&nucleus.with(|state| state.jobs().map(|record| record.id).collect()));
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            changed = orders.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Stars that have something to do, or believe so.
fn stars(nucleus: &Nucleus) -> BTreeSet<NodeId> {
    nucleus.with(|state| {
        let busy = state
            .nodes()
            .map(|record| record.id)
            .filter(|id| nucleus.registry.sight(*id).load.is_some_and(|load| load.jobs_running > 0));
        with_jobs(state).chain(busy).filter(|id| state.node(*id).is_some()).collect()
    })
}

fn with_jobs(state: &GridState) -> impl Iterator<Item = NodeId> {
    state.jobs().filter(|record| !record.state.is_ended()).map(|record| record.destination.node)
}

/// Lets jobs begin anew whose time has come.
async fn begin_due(nucleus: &Nucleus) {
    let now = now_ms();
    let due: Vec<(JobId, JobSchedule)> = nucleus.with(|state| {
        let scheduled = state.jobs().filter_map(|record| Some((record.id, record.schedule.clone()?)));
        scheduled.filter(|(_, schedule)| schedule.next_ms <= now).collect()
    });
    for (job, schedule) in due {
        let act =
            JobAct::Due { was_ms: schedule.next_ms, next_ms: next_time(&schedule.cron, &schedule.zone, now) };
        if let Err(error) = nucleus.job(None, job, act).await {
            tracing::warn!(%job, error = chain(&error), "a job whose time has come is begun later");
        }
    }
}

/// When a schedule's next time is.
fn next_time(cron: &str, zone: &str, now_ms: i64) -> Option<i64> {
    Cron::parse(cron).ok()?.next(now_ms, &TimeZone::get(zone).ok()?)
}

/// A schedule as a person wrote it.
pub(crate) fn schedule(cron: String, zone: String) -> Result<JobSchedule, Refusal> {
    let wrong = |what: &str, allowed: String| Refusal::OutOfRange { what: what.to_owned(), allowed };
    let parsed = Cron::parse(&cron).map_err(|error| wrong("the schedule", error.to_string()))?;
    let known = TimeZone::get(&zone).map_err(|_| {
        wrong("the time zone", "one that the Nucleus's machine knows, such as Europe/Berlin".into())
    })?;
    let next_ms = parsed.next(now_ms(), &known);
    let next_ms = next_ms.ok_or_else(|| wrong("the schedule", "times that come".to_owned()))?;
    Ok(JobSchedule { cron, zone, next_ms, skipped: 0 })
}

/// Lets jobs go on whose pause is over.
async fn end_pauses(nucleus: &Nucleus) {
    let now = now_ms();
    let over: Vec<JobId> = nucleus.with(|state| {
        let is_over = |pace: &Pace| matches!(pace, Pace::Paused { until_ms: Some(until) } if *until <= now);
        let paused = state.jobs().filter(|record| record.state.pace().is_some_and(is_over));
        paused.map(|record| record.id).collect()
    });
    for job in over {
        if let Err(error) = nucleus.job(None, job, JobAct::Resume).await {
            tracing::warn!(%job, error = chain(&error), "a pause is not over yet");
        }
    }
}
