//! [`run`]: one seed from founding to the end: work under faults, repair, recovery, and a look at what is left.

use super::client::{self, Tokens};
use super::faults;
use super::invariants::recovery;
use super::panics;
use super::plant::Plant;
use super::settings::Settings;
use super::trace::{Keep, Trace};
use super::world::World;
use crate::random::Random;
use orbit_consensus::Office;
use orbit_core::grid::Command;
use orbit_core::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often leases of all hosts are looked at.
const LEASE_LOOK: Duration = Duration::from_millis(4);
/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(50);
/// How long clients may take to end.
const CLIENTS_END_WITHIN: Duration = Duration::from_secs(20);

/// What is fixed from outside.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many voters are wanted; drawn if none.
    pub voters: Option<u8>,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// Whether lines of the trace are kept.
    pub keep: Keep,
}

impl Default for Options {
    fn default() -> Self {
        Self { voters: None, plant: None, keep: Keep::Hash }
    }
}

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Rules that were broken; empty when all is well.
    pub violations: Vec<String>,
    /// The event log, if it was kept.
    pub log: Vec<String>,
    /// Hash of the event log.
    pub hash: u64,
    /// What happened.
    pub tally: Tally,
}

/// What many seeds met: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Seeds.
    pub seeds: u64,
    /// Events in the logs.
    pub events: u64,
    /// Virtual time, milliseconds.
    pub virtual_ms: u64,
    /// Messages between hosts.
    pub messages: u64,
    /// Times a process was started again.
    pub restarts: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads and writes whose order was checked.
    pub operations: u64,
    /// Registers whose history took too long to decide.
    pub undecided: u64,
    /// Terms that had a leader.
    pub terms: u64,
    /// Changes of the voters.
    pub changes: u64,
    /// Positions at which states were compared.
    pub compared: u64,
    /// Tokens that admitted a node.
    pub admitted: u64,
    /// Commands that stars obeyed.
    pub obeyed: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        let Self { seeds, events, virtual_ms, messages, restarts, acknowledged, operations, .. } = other;
        self.seeds += seeds;
        self.events += events;
        self.virtual_ms += virtual_ms;
        self.messages += messages;
        self.restarts += restarts;
        self.acknowledged += acknowledged;
        self.operations += operations;
        self.undecided += other.undecided;
        self.terms += other.terms;
        self.changes += other.changes;
        self.compared += other.compared;
        self.admitted += other.admitted;
        self.obeyed += other.obeyed;
    }
}

/// Plays a seed on this thread.
pub fn run(seed: u64, options: &Options) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .expect("a runtime without input and output needs nothing of the system");
    let options = *options;
    panics::listen();
    runtime.block_on(play(seed, options))
}

async fn play(seed: u64, options: Options) -> Report {
    let random = Random::new(seed);
    let settings = Settings::draw(&random, options.voters);
    let trace = Arc::new(Trace::begin(options.keep));
    let world = World::new(seed, settings, options.plant, &random, trace.clone());
    for host in &world.hosts {
        tokio::spawn(host.clone().run(world.clone()));
    }
    let leases = tokio::spawn(watch_leases(world.clone()));
    // The group grows to its size in peace, mostly.
    if !random.one_in(4) {
        grown(&world).await;
    }
    let tokens = Tokens::default();
    let clients: Vec<_> = (0..world.settings.clients)
        .map(|number| tokio::spawn(client::work(world.clone(), number, random.fork(), tokens.clone())))
        .collect();
    faults::trouble(world.clone(), random.fork()).await;
    faults::calm(&world);
    recover(&world).await;
    world.close();
    let ended = tokio::time::timeout(CLIENTS_END_WITHIN, futures::future::join_all(clients)).await;
    if ended.is_err() {
        trace.note("calm", format_args!("some clients did not end"));
    }
    if !trace.is_broken() {
        settle(&world).await;
    }
    leases.abort();
    look_at_the_end(&world);
    for panic in panics::done() {
        trace.violation("nothing panics", format_args!("{panic}"));
    }
    let report = report(seed, &world);
    for host in &world.hosts {
        host.let_go(&world);
    }
    report
}

/// Waits, not for long, until there are as many voters as are wanted.
async fn grown(world: &World) {
    let wanted = usize::from(world.settings.voters);
    let is_grown = || {
        let leads = |standing: &orbit_consensus::Standing| standing.office == Office::Leader;
        let standings = world.hosts.iter().filter_map(|host| host.handle());
        standings.map(|handle| handle.group.standing().borrow().clone()).any(|standing| {
            leads(&standing) && standing.voters.len() == wanted && standing.outgoing.is_none()
        })
    };
    let begun = Instant::now();
    while !is_grown() && begun.elapsed() < Duration::from_secs(10) {
        sleep(LOOK).await;
    }
    world.trace.note("calm", format_args!("grown: {}", is_grown()));
}

/// At every moment at most one host relies on being the leader.
async fn watch_leases(world: Arc<World>) {
    loop {
        sleep(LEASE_LOOK).await;
        let holders: Vec<(String, u64)> = world
            .hosts
            .iter()
            .filter_map(|host| Some((host, host.handle()?)))
            .filter(|(_, handle)| handle.group.holds_lease())
            .map(|(host, handle)| (host.name.clone(), handle.group.standing().borrow().term))
            .collect();
        world.watch.check(|rules| rules.leaders.leases(&holders));
        for panic in panics::take() {
            world.trace.violation("nothing panics", format_args!("{panic}"));
        }
    }
}

/// A write is accepted soon after the last fault.
async fn recover(world: &Arc<World>) {
    let begun = Instant::now();
    let node = world.members[0];
    let mut is_accepted = false;
    while !is_accepted && begun.elapsed() < Duration::from_millis(recovery::WRITE_WITHIN_MS) {
        for host in &world.hosts {
            let Some(handle) = host.handle() else { continue };
            let command = Command::Drain { node, is_draining: false };
            is_accepted |= handle.group.execute(None, command).await.is_ok();
        }
        sleep(LOOK).await;
    }
    world.trace.note("calm", format_args!("a write is accepted: {is_accepted}"));
    if !is_accepted {
        world.watch.check(|_| vec![recovery::no_write(&world.standing())]);
    }
}

/// Everybody who belongs to the group gets to the same state.
async fn settle(world: &World) {
    let begun = Instant::now();
    let limit = Duration::from_millis(recovery::EQUAL_WITHIN_MS);
    while !is_level(world) {
        if begun.elapsed() > limit {
            world.watch.check(|_| vec![recovery::not_equal(&world.standing())]);
            return;
        }
        sleep(LOOK).await;
    }
    world.trace.note("calm", format_args!("all are level"));
}

/// Nodes that the leader sends its log to, and that exist.
fn followers(world: &World) -> Vec<NodeId> {
    let standings = world.hosts.iter().filter_map(|host| host.handle());
    let mut standings = standings.map(|handle| handle.group.standing().borrow().clone());
    let leads = standings.find(|standing| standing.office == Office::Leader);
    let exists = |id: &NodeId| world.hosts.iter().any(|host| host.id == *id && !host.is_gone());
    leads.map_or_else(Vec::new, |standing| {
        standing.voters.iter().chain(&standing.learners).copied().filter(exists).collect()
    })
}

fn is_level(world: &World) -> bool {
    let followers = followers(world);
    let positions: Vec<_> = world
        .hosts
        .iter()
        .filter(|host| followers.contains(&host.id))
        .map(|host| {
            let handle = host.handle()?;
            let progress = handle.group.progress();
            let image = host.cabinet.image();
            let is_level =
                image.jobs.position() == progress.last && image.universe.position() == progress.last;
            progress.last.filter(|_| is_level)
        })
        .collect();
    !positions.is_empty() && positions.iter().all(|at| at.is_some() && *at == positions[0])
}

fn look_at_the_end(world: &World) {
    let followers = followers(world);
    for host in world.hosts.iter().filter(|host| followers.contains(&host.id)) {
        let image = host.cabinet.image();
        world.watch.check(|rules| {
            let mut broken = rules.acknowledged.is_there(&host.name, &image.jobs);
            broken.extend(rules.states.both(&host.name, &image.jobs, &image.universe));
            broken
        });
        if let Some(handle) = host.handle()
            && handle.group.with(Clone::clone) != image.jobs.grid_state()
        {
            let rule = "the state in memory is the stored one";
            world.trace.violation(rule, format_args!("{}", host.name));
        }
    }
}

fn report(seed: u64, world: &World) -> Report {
    let mut undecided = 0;
    world.watch.check(|rules| {
        let (broken, open) = rules.history.check();
        undecided = open as u64;
        broken
    });
    let (hash, events) = world.trace.hash();
    let restarts = world.hosts.iter().map(|host| host.starts().saturating_sub(1)).sum();
    let tally = world.watch.with(|rules| Tally {
        seeds: 1,
        events,
        virtual_ms: world.trace.now_ms(),
        messages: world.network.messages(),
        restarts,
        acknowledged: rules.acknowledged.count() as u64,
        operations: rules.history.count() as u64,
        undecided,
        terms: rules.leaders.terms() as u64,
        changes: rules.quorums.changes(),
        compared: rules.states.compared() as u64,
        admitted: rules.tokens.count() as u64,
        obeyed: rules.stars.count(),
    });
    let (violations, log) = world.trace.take();
    Report { seed, violations, log, hash, tally }
}
