//! [`trouble`]: what goes wrong, and when.

use super::disk::{Death, Wear};
use super::network::{Place, Weather};
use super::office::Wish;
use super::world::World;
use crate::random::Random;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A clock jumps at most so far either way, milliseconds: two hours, more than tokens live.
const JUMP_MS_MAX: usize = 7_200_000;
/// Most steps until a process ends within one.
const FUSE_MAX: [usize; 3] = [6, 40, 200];

/// Makes trouble until its time is over. What is broken then stays so until somebody repairs it.
pub async fn trouble(world: Arc<World>, random: Random) {
    let begun = Instant::now();
    let limit = Duration::from_millis(world.settings.faults_ms);
    let climate = world.settings.climate;
    let kinds = [climate.crashes, climate.cuts, climate.weather, climate.disks, climate.people];
    // Sooner or later one machine is lost for good: not more than the group survives.
    let mut may_destroy = world.settings.voters >= 3 && world.hosts.len() > 3 && random.one_in(3);
    while begun.elapsed() < limit {
        let pause = 10 + random.below(world.settings.fault_pause_ms);
        sleep(Duration::from_millis(pause as u64)).await;
        let mut drawn = random.below(kinds.iter().sum());
        let kind = kinds.iter().position(|share| {
            let is_it = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            is_it
        });
        match kind {
            Some(0) => crash(&world, &random, &mut may_destroy),
            Some(1) => lines(&world, &random),
            Some(2) => weather(&world, &random),
            Some(3) => wear(&world, &random),
            _ => people(&world, &random),
        }
    }
}

/// Repairs everything but what is destroyed.
pub fn calm(world: &World) {
    world.network.mend();
    world.network.set_weather(Weather::CALM);
    world.hosts.iter().for_each(|host| host.calm());
    world.trace.note("calm", format_args!("everything is repaired"));
}

fn crash(world: &Arc<World>, random: &Random, may_destroy: &mut bool) {
    let place = random.below(world.hosts.len());
    let host = &world.hosts[place];
    let death = if random.one_in(2) { Death::Kill } else { Death::PowerCut };
    match random.below(10) {
        0..=3 => host.crash(death),
        4 if *may_destroy && world.can_spare(place) => {
            *may_destroy = false;
            host.destroy();
        }
        // The power fails everywhere.
        5 if random.one_in(3) => world.hosts.iter().for_each(|host| host.crash(Death::PowerCut)),
        _ => {
            let limit = *random.pick(&FUSE_MAX).expect("there are some");
            host.light_fuse(1 + random.below(limit) as u64);
        }
    }
}

/// Some hosts, at random.
fn some(world: &World, random: &Random) -> Vec<Place> {
    (0..world.hosts.len()).filter(|_| random.one_in(2)).collect()
}

fn lines(world: &Arc<World>, random: &Random) {
    let hosts = world.hosts.len();
    // Stars and clients are behind the hosts; they are with whichever side they draw.
    let places = world.client_place(world.settings.clients);
    let ways: Vec<(Place, Place)> = match random.below(6) {
        0 | 1 => {
            let one_side = some(world, random);
            let others = (0..hosts).filter(|place| !one_side.contains(place));
            others
                .flat_map(|other| one_side.iter().flat_map(move |one| [(*one, other), (other, *one)]))
                .collect()
        }
        // A host that is heard and hears nothing, or the other way round.
        2 => {
            let one = random.below(hosts);
            let hears = random.one_in(2);
            let others = (0..places).filter(|place| *place != one);
            others.map(|other| if hears { (one, other) } else { (other, one) }).collect()
        }
        3 => {
            let (from, to) = (random.below(hosts), random.below(hosts));
            vec![(from, to)]
        }
        4 => {
            let slow = Duration::from_millis(20 + random.below(600) as u64);
            for _ in 0..=random.below(4) {
                world.network.slow((random.below(hosts), random.below(hosts)), slow);
            }
            world.trace.note("line", format_args!("some are slow by {slow:?}"));
            Vec::new()
        }
        _ => {
            let (place, stall_ms) = (random.below(hosts), 50 + random.below(3_000));
            world.network.stall(place, Instant::now() + Duration::from_millis(stall_ms as u64));
            world.trace.note("line", format_args!("n{} stalls for {stall_ms} ms", place + 1));
            Vec::new()
        }
    };
    if !ways.is_empty() {
        world.trace.note("line", format_args!("cut: {ways:?}"));
        world.network.cut(ways);
    }
    let (network, trace) = (world.network.clone(), world.trace.clone());
    let limit_ms = *random.pick(&[200, 1_500, 5_000]).expect("there are some");
    let mended_after = Duration::from_millis(50 + random.below(limit_ms) as u64);
    tokio::spawn(async move {
        sleep(mended_after).await;
        network.mend();
        trace.note("line", format_args!("all are mended"));
    });
}

fn weather(world: &Arc<World>, random: &Random) {
    let weather = Weather {
        lost: *random.pick(&[0, 20, 100, 300]).expect("there are some"),
        twice: *random.pick(&[0, 50, 300]).expect("there are some"),
        late_us: *random.pick(&[600, 5_000, 40_000, 150_000]).expect("there are some"),
        overtaken: *random.pick(&[0, 50, 200]).expect("there are some"),
    };
    world.trace.note("air", format_args!("{weather:?}"));
    world.network.set_weather(weather);
    let (network, trace) = (world.network.clone(), world.trace.clone());
    let lasts = Duration::from_millis(200 + random.below(4_000) as u64);
    tokio::spawn(async move {
        sleep(lasts).await;
        network.set_weather(Weather::CALM);
        trace.note("air", format_args!("calm"));
    });
}

fn wear(world: &Arc<World>, random: &Random) {
    let host = world.hosts[random.below(world.hosts.len())].clone();
    let one_in = || if random.one_in(2) { 0 } else { 4 + random.below(40) };
    let wear = Wear { append: one_in(), sync: one_in(), read: one_in() };
    let commits = one_in();
    world.trace.note(&host.name, format_args!("its disk fails: {wear:?}, commits {commits}"));
    host.platter.wear(wear);
    host.cabinet.wear(commits);
    let lasts = Duration::from_millis(100 + random.below(2_500) as u64);
    tokio::spawn(async move {
        sleep(lasts).await;
        host.platter.wear(Wear::default());
        host.cabinet.wear(0);
    });
}

fn people(world: &Arc<World>, random: &Random) {
    let host = &world.hosts[random.below(world.hosts.len())];
    match random.below(7) {
        0 => {
            let off_ms = random.below(2 * JUMP_MS_MAX) as i64 - JUMP_MS_MAX as i64;
            host.set_clock(off_ms);
            world.trace.note(&host.name, format_args!("its clock is off by {off_ms} ms"));
        }
        1 => world.wish(Wish::Promote(host.id)),
        2 => world.wish(Wish::Demote(host.id)),
        3 => world.wish(Wish::LeaveOpen(host.id)),
        4 => world.wish(Wish::HandOver(Some(host.id))),
        _ => world.wish(Wish::HandOver(None)),
    }
}
