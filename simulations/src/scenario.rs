//! [`run`]: one seed from beginning to end: some worlds, in each some runs with trouble, and one without.

use crate::driver::{End, Settings, Weather, sync};
use crate::invariants::{Watch, recorded, recovery, success, whole};
use crate::machine::{ErrorKind, Trouble};
use crate::plant::Plant;
use crate::random::Random;
use crate::store::Store;
use crate::world::{Mode, World};
use std::cell::RefCell;

/// Power cuts that are tried on a copy of the disk after each run.
const CUTS: usize = 4;
/// Worlds of a seed, one after another.
const WORLDS: usize = 4;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Every system call and what happened between them.
    pub log: Vec<String>,
    /// Rules that were broken; empty when all is well.
    pub violations: Vec<String>,
    /// What the runs met and how they ended, but for those of the recovery.
    pub ends: Vec<(Trouble, End)>,
}

/// What many seeds met: a simulation in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// System calls.
    pub calls: usize,
    /// Runs in which the process was killed.
    pub kills: usize,
    /// Runs in which the power failed.
    pub cuts: usize,
    /// Runs that met errors, a full disk or a request to stop, and said so.
    pub failures: usize,
    /// Runs that said that all was well.
    pub successes: usize,
}

impl Tally {
    /// Takes in a report.
    pub fn add(&mut self, report: &Report) {
        self.calls += report.log.len();
        for end in &report.ends {
            let count = match end {
                (Trouble::Kill { .. } | Trouble::KillAtFlush { .. }, End::Died) => &mut self.kills,
                (_, End::Died) => &mut self.cuts,
                (_, End::Success) => &mut self.successes,
                _ => &mut self.failures,
            };
            *count += 1;
        }
    }
}

/// Plays a seed, with a planted bug or none.
pub fn run(seed: u64, plant: Option<Plant>) -> Report {
    let random = Random::new(seed);
    let mut report = Report { seed, log: Vec::new(), violations: Vec::new(), ends: Vec::new() };
    for _ in 0..WORLDS {
        play(&random.fork(), plant, &mut report);
        if !report.violations.is_empty() {
            break;
        }
    }
    report
}

/// Plays one world.
fn play(random: &Random, plant: Option<Plant>, report: &mut Report) {
    let scenario = Scenario::draw(random, plant);
    let rounds = 3 + random.below(10);
    for round in 0..rounds {
        let (trouble, weather) = (draw_trouble(random), draw_weather(random));
        let machine = &scenario.world.machine;
        machine.note(format!("run {round}: {trouble:?}, {weather:?}, {:?}", scenario.settings));
        let (end, watch) = scenario.round(trouble, weather);
        report.ends.push((trouble, end));
        report.violations = watch.violations;
        if !report.violations.is_empty() {
            break;
        }
        if random.one_in(2) {
            scenario.change_source(random);
        }
    }
    if report.violations.is_empty() {
        report.violations = scenario.recover();
    }
    report.log.extend(scenario.world.machine.log());
}

struct Scenario {
    world: World,
    store: RefCell<Store>,
    settings: Settings,
    random: Random,
}

impl Scenario {
    fn draw(random: &Random, plant: Option<Plant>) -> Self {
        let mode = if random.one_in(3) { Mode::Keep } else { Mode::Mirror };
        let settings = Settings {
            workers: *random.pick(&[1, 1, 2, 4]).expect("there are some"),
            weight_factor: *random.pick(&[1, 16, 128]).expect("there are some"),
            mode,
            verify: random.one_in(2),
            keeps_plan: random.one_in(3),
            plant,
        };
        let (world, store) = (World::new(&random.fork(), mode), RefCell::new(Store::default()));
        Self { world, store, settings, random: random.fork() }
    }

    fn change_source(&self, random: &Random) {
        for _ in 0..=random.below(4) {
            // What is half copied is what would be mixed up.
            let copying: Vec<_> = self.store.borrow().checkpoints.keys().cloned().collect();
            let at = random.pick(&copying).filter(|_| random.one_in(2));
            self.world.change_source(at, random);
        }
    }

    /// One run, and a look at what it left.
    fn round(&self, trouble: Trouble, weather: Weather) -> (End, Watch) {
        let world = &self.world;
        let watch = RefCell::new(Watch::default());
        world.machine.start(trouble);
        let end = sync(world, &self.store, &watch, &self.settings, weather, &self.random);
        world.machine.note(format!("      == {end:?}"));
        if let (End::Died, Trouble::PowerCut { .. }) = (end, trouble) {
            world.destination.cut(&self.random);
        }
        world.destination.collect();
        world.source.collect();
        let mut watch = watch.into_inner();
        let history = world.history.borrow();
        whole::check(&mut watch, &history, &world.destination.now(), "now");
        let is_equal = end == End::Success && watch.planned_version == world.source_version.get();
        let source = world.source.now();
        for _ in 0..CUTS {
            let after_cut = world.destination.after_cut(&self.random);
            whole::check(&mut watch, &history, &after_cut, "after a power cut");
            recorded::check(&mut watch, &after_cut);
            if is_equal {
                success::check(&mut watch, self.settings.mode, &source, &after_cut);
            }
        }
        if matches!(end, End::Success | End::Partial(_)) && trouble == Trouble::None {
            recovery::nothing_staged(&mut watch, world, &self.store.borrow());
        }
        (end, watch)
    }

    /// Runs without trouble. The first may still carry out a kept plan of an older source.
    fn recover(&self) -> Vec<String> {
        self.world.machine.note("recovery");
        let calm = || self.round(Trouble::None, Weather::default());
        let is_obstructed = || {
            let (source, destination) = (self.world.source.now(), self.world.destination.now());
            success::is_obstructed(self.settings.mode, &source, &destination)
        };
        if self.settings.keeps_plan {
            let (_, watch) = calm();
            if !watch.violations.is_empty() {
                return watch.violations;
            }
        }
        let (end, mut watch) = calm();
        if is_obstructed() {
            return watch.violations;
        }
        recovery::check(&mut watch, end, &self.world, &self.store.borrow());
        if watch.violations.is_empty() {
            watch = calm().1;
            recovery::check_settled(&mut watch);
        }
        watch.violations
    }
}

/// Short runs make some hundred calls; what strikes later finds the run over.
fn draw_trouble(random: &Random) -> Trouble {
    let spread = *random.pick(&[30, 100, 300, 1000]).expect("there are some");
    let at = 1 + random.below(spread) as u64;
    match random.below(12) {
        0 | 1 => Trouble::Kill { at },
        2..=4 => Trouble::KillAtFlush { flush: 1 + random.below(6) as u64 },
        5..=7 => Trouble::PowerCut { at },
        8..=10 => {
            let kind = if random.one_in(2) { ErrorKind::NoSpace } else { ErrorKind::Io };
            Trouble::Errors { from: at, to: at + 1 + random.below(20) as u64, kind }
        }
        _ => Trouble::None,
    }
}

fn draw_weather(random: &Random) -> Weather {
    Weather {
        stop_at: random.one_in(6).then(|| random.below(120)),
        source_changes_one_in: random.one_in(3).then(|| 10 + random.below(60)),
    }
}
