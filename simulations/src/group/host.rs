//! [`Host`]: a machine with its disk, and the process of a node on it, which is started again whenever it ended.

use super::databases::{Cabinet, SimDatabases};
use super::disk::{Death, Platter, SimDisk, Wear};
use super::life::Life;
use super::network::SimTransport;
use super::office;
use super::world::World;
use crate::random::Random;
use orbit_consensus::{Group, GroupConfig, Office};
use orbit_core::ids::NodeId;
use orbit_store::{LogLimits, RaftLog, StoreError};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Entries that the log keeps in memory: few, so that the disk is read.
const CACHE_BYTES: usize = 2 << 10;
/// Handles of tasks that are kept before ended ones are forgotten.
const TASKS_SWEPT_AT: usize = 64;

/// A machine.
#[derive(Debug)]
pub struct Host {
    /// Its number.
    pub place: usize,
    /// Its name in the trace.
    pub name: String,
    /// Its node.
    pub id: NodeId,
    /// Its log's disk.
    pub platter: Arc<Platter>,
    /// Its databases.
    pub cabinet: Arc<Cabinet>,
    random: Random,
    /// How far its clock is off, milliseconds.
    clock_off_ms: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    handle: Option<Handle>,
    /// Steps the next process has to live.
    fuse: Option<u64>,
    /// What the next death is; drawn if nobody said so.
    death: Option<Death>,
    /// It never comes back.
    is_gone: bool,
    /// It comes back at once: there are no more faults.
    is_calm: bool,
    starts: u64,
}

/// A running process.
#[derive(Clone)]
pub struct Handle {
    /// From its start to its end.
    pub life: Arc<Life>,
    /// Its member of the group.
    pub group: Group,
    tasks: Arc<Mutex<Vec<AbortHandle>>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Handle {
    /// Runs a task of this process, which ends with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !self.life.is_on() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= TASKS_SWEPT_AT {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Ends all its tasks wherever they wait.
    fn end(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.group.kill();
    }
}

impl Host {
    /// A machine that is switched off.
    pub fn new(
        (place, name, id): (usize, String, NodeId),
        platter: Arc<Platter>,
        cabinet: Arc<Cabinet>,
        random: Random,
    ) -> Arc<Self> {
        let (clock_off_ms, state) = (AtomicI64::new(0), Mutex::default());
        Arc::new(Self { place, name, id, platter, cabinet, random, clock_off_ms, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running process, if it is.
    pub fn handle(&self) -> Option<Handle> {
        self.state().handle.clone().filter(|handle| handle.life.is_on())
    }

    /// Its clock is off by this much from now on.
    pub fn set_clock(&self, off_ms: i64) {
        self.clock_off_ms.store(off_ms, Ordering::Relaxed);
    }

    /// What its clock shows, milliseconds since 1970.
    pub fn now_ms(&self, world: &World) -> i64 {
        world.now_ms() + self.clock_off_ms.load(Ordering::Relaxed)
    }

    /// Ends the running process now.
    pub fn crash(&self, death: Death) {
        let mut state = self.state();
        state.death = Some(death);
        if let Some(handle) = &state.handle {
            handle.life.end("at any moment");
        }
    }

    /// Ends the running process, or the next, within some step.
    pub fn light_fuse(&self, steps: u64) {
        let mut state = self.state();
        match state.handle.as_ref().filter(|handle| handle.life.is_on()) {
            Some(handle) => handle.life.end_after(steps),
            None => state.fuse = Some(steps),
        }
    }

    /// It is destroyed.
    pub fn destroy(&self) {
        self.state().is_gone = true;
        self.crash(Death::PowerCut);
    }

    /// Whether it is destroyed.
    pub fn is_gone(&self) -> bool {
        self.state().is_gone
    }

    /// No more faults: what was broken is repaired.
    pub fn calm(&self) {
        let mut state = self.state();
        state.is_calm = true;
        state.fuse = None;
        if let Some(handle) = &state.handle {
            handle.life.end_after(0);
        }
        drop(state);
        self.platter.wear(Wear::default());
        self.cabinet.calm();
    }

    /// Nobody holds its process any more: network and process hold each other.
    pub fn let_go(&self, world: &World) {
        world.network.detach(self.place);
        self.state().handle = None;
    }

    /// How often its process was started.
    pub fn starts(&self) -> u64 {
        self.state().starts
    }

    /// Starts the process, waits for its end and starts it again, until it is destroyed.
    pub async fn run(self: Arc<Self>, world: Arc<World>) {
        while !self.is_gone() {
            let fuse = {
                let mut state = self.state();
                state.starts += 1;
                state.fuse.take()
            };
            let life = Life::begin(&self.name, fuse, &world.trace);
            let errors = self.errors();
            match self.start(&world, &life).await {
                Ok(handle) => {
                    self.state().handle = Some(handle.clone());
                    world.network.attach(self.place, handle.clone());
                    tokio::select! {
                        biased;
                        () = life.ended() => {}
                        failure = failed(&handle.group) => self.stopped(&world, &life, errors, &failure),
                    }
                    handle.end();
                    world.network.detach(self.place);
                    self.state().handle = None;
                }
                Err(error) => self.stopped(&world, &life, errors, &error),
            }
            let death = self.state().death.take().unwrap_or_else(|| self.draw_death());
            self.platter.after(death);
            self.cabinet.after(death);
            world.trace.note(&self.name, format_args!("is down by a {death:?}"));
            let pause = self.draw_pause();
            sleep(pause).await;
        }
        world.trace.note(&self.name, format_args!("never comes back"));
    }

    fn errors(&self) -> u64 {
        self.platter.errors() + self.cabinet.errors()
    }

    /// A process ended by itself. It may only if its disk failed, or if it had died already.
    fn stopped(&self, world: &World, life: &Arc<Life>, errors_before: u64, why: &str) {
        world.trace.note(&self.name, format_args!("stops: {why}"));
        if life.is_on() && self.errors() == errors_before {
            world
                .trace
                .violation("a member stops only when its disk failed", format_args!("{}: {why}", self.name));
        }
        life.end("stopped by itself");
    }

    fn draw_death(&self) -> Death {
        if self.random.one_in(2) { Death::Kill } else { Death::PowerCut }
    }

    fn draw_pause(&self) -> Duration {
        let limit_ms =
            if self.state().is_calm { 50 } else { *self.random.pick(&[30, 300, 3000]).expect("some") };
        Duration::from_millis(1 + self.random.below(limit_ms) as u64)
    }

    async fn start(self: &Arc<Self>, world: &Arc<World>, life: &Arc<Life>) -> Result<Handle, String> {
        let told = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{error}: {cause}")
        };
        let disk = SimDisk::open(&self.platter, life);
        let limits = LogLimits { segment_bytes: world.settings.segment_bytes, cache_bytes: CACHE_BYTES };
        let log = RaftLog::open_with(disk, limits).map_err(|error| {
            if matches!(error, StoreError::Corrupt { .. }) && life.is_on() {
                let who = &self.name;
                world
                    .trace
                    .violation("a log is sound after any crash", format_args!("{who}: {}", told(&error)));
            }
            told(&error)
        })?;
        let databases = SimDatabases::open(&self.cabinet, life);
        let settings = &world.settings;
        let config = GroupConfig {
            snapshot_every: settings.snapshot_every,
            entries_kept: settings.entries_kept,
            read_max: settings.read_max,
            is_inline: true,
            ..GroupConfig::new(self.id, self.random.word())
        };
        let transport = SimTransport::new(&world.network, life, self.place, self.id);
        let group = Group::start(config, log, Box::new(databases), transport).await;
        let group = group.map_err(|error| told(&error))?;
        let handle = Handle { life: life.clone(), group, tasks: Arc::default() };
        world.trace.note(&self.name, format_args!("is up"));
        handle.spawn(office::hold(world.clone(), self.clone(), handle.clone()));
        handle.spawn(observe(world.clone(), self.name.clone(), handle.clone()));
        Ok(handle)
    }
}

/// Waits until a member stopped by itself.
async fn failed(group: &Group) -> String {
    let mut standing = group.standing();
    loop {
        {
            let now = standing.borrow_and_update();
            if let Some(failure) = &now.failure {
                return failure.clone();
            }
            if now.office == Office::Stopped {
                return "it stopped".to_owned();
            }
        }
        if standing.changed().await.is_err() {
            return "its group is gone".to_owned();
        }
    }
}

/// Tells the rules what a member says of itself.
async fn observe(world: Arc<World>, name: String, handle: Handle) {
    let mut standing = handle.group.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        if handle.life.is_on() {
            let leader = now.leader.map(|id| world.name_of(id));
            let (voters, learners) = (now.voters.len(), now.learners.len());
            world.trace.note(
                &name,
                format_args!(
                    "is {:?} in term {} of {leader:?}, {voters} voters, {learners} learners{}",
                    now.office,
                    now.term,
                    if now.outgoing.is_some() { ", changing" } else { "" }
                ),
            );
            if now.office == Office::Leader {
                world.watch.check(|rules| {
                    let mut broken = rules.leaders.leads(&name, now.term);
                    broken.extend(rules.quorums.vote(&now.voters));
                    broken
                });
            }
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}
