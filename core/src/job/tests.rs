mod harness;

use super::*;
use harness::{Harness, Stored};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;

/// More events than any of these runs can need.
const EVENTS_MAX: usize = 10_000;

fn stored() -> impl Strategy<Value = Stored> {
    prop::collection::vec(0..30_usize, Phase::ALL.len()).prop_map(|counts| with_steps(&counts))
}

fn with_steps(counts: &[usize]) -> Stored {
    let mut next = 0;
    let steps = Phase::ALL.iter().zip(counts).map(|(phase, &count)| {
        let first = next;
        next += count as u64;
        (*phase, (first..next).map(StepId).collect())
    });
    Stored { steps: steps.collect(), recorded: BTreeSet::new() }
}

fn weights() -> impl Strategy<Value = Weight> {
    let bytes = prop_oneof![Just(1), Just(GROUP_BYTES / 3), Just(GROUP_BYTES * 2)];
    (bytes, prop_oneof![Just(1), Just(GROUP_ITEMS)]).prop_map(|(bytes, items)| Weight { bytes, items })
}

/// What a random run may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// Items fail.
    Faults,
    /// Stops, a full disk, a failing flush.
    Foul,
}

/// Runs to the end, or for so many events; `turns` decides what happens next.
fn drive(harness: &mut Harness, weight: Weight, weather: Weather, turns: &[u16], events_max: usize) {
    harness.feed(Event::Begin);
    for event in 0..events_max {
        if harness.outcome.is_some() {
            return;
        }
        let mut choices = harness.choices(weight);
        choices.retain(|choice| match choice {
            Event::Ran { faults, .. } | Event::Committed { faults } => {
                *faults == 0 || weather != Weather::Fair
            }
            Event::FlushFailed | Event::Stop | Event::NoSpace => weather == Weather::Foul,
            _ => true,
        });
        assert!(!choices.is_empty(), "somebody is always at work until the end: {harness:#?}");
        let turn = turns[event % turns.len()].rotate_left((event / turns.len()) as u32 % 16);
        harness.feed(choices[usize::from(turn) % choices.len()].clone());
    }
    assert!(events_max < EVENTS_MAX, "a run ends: {harness:#?}");
}

fn weathers() -> impl Strategy<Value = Weather> {
    prop_oneof![Just(Weather::Fair), Just(Weather::Faults), Just(Weather::Foul)]
}

fn turns() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    /// The rules are the harness's; here they meet every order of events.
    #[test]
    fn keeps_its_rules_and_ends(
        stored in stored(),
        workers in 1..9_usize,
        weight in weights(),
        weather in weathers(),
        turns in turns(),
        faults in prop_oneof![3 => Just(0_u64), 1 => Just(2)],
    ) {
        let mut harness = Harness::new(stored, workers, faults);
        drive(&mut harness, weight, weather, &turns, EVENTS_MAX);
        if weather == Weather::Fair {
            prop_assert_eq!(harness.outcome, Some(Outcome::Complete));
            prop_assert_eq!(harness.deletions_skipped, faults > 0);
        }
    }

    #[test]
    fn a_crash_loses_no_record_and_the_next_run_completes(
        stored in stored(),
        workers in 1..9_usize,
        weight in weights(),
        weather in weathers(),
        turns in turns(),
        crashes in prop::collection::vec(0..80_usize, 1..4),
    ) {
        let all: BTreeSet<_> = stored.steps.values().flatten().copied().collect();
        let mut stored = stored;
        for events in crashes {
            let mut harness = Harness::new(stored, workers, 0);
            drive(&mut harness, weight, weather, &turns, events);
            stored = harness.stored;
        }
        let mut harness = Harness::new(stored, workers, 0);
        drive(&mut harness, weight, Weather::Fair, &turns, EVENTS_MAX);
        prop_assert_eq!(harness.outcome, Some(Outcome::Complete));
        prop_assert_eq!(harness.stored.recorded, all);
    }
}

#[test]
fn a_failed_flush_ends_the_run_while_workers_are_still_at_it() {
    let mut harness = Harness::new(with_steps(&[4]), 2, 0);
    harness.feed(Event::Begin);
    let weight = Weight { bytes: GROUP_BYTES, items: 1 };
    harness.feed(Event::Ran { step: StepId(0), weight, faults: 0 });
    harness.feed(Event::FlushFailed);
    for step in harness.running.clone() {
        assert_eq!(harness.outcome, None);
        harness.feed(Event::Ran { step, weight, faults: 0 });
    }
    assert_eq!(harness.outcome, Some(Outcome::NotDurable));
    assert_eq!(harness.stored.recorded, BTreeSet::new());
}

#[test]
fn workers_wait_while_too_much_is_staged() {
    let mut harness = Harness::new(with_steps(&[100]), 4, 0);
    harness.feed(Event::Begin);
    let weight = Weight { bytes: GROUP_BYTES, items: 1 };
    let mut ran = 0;
    // The first fills a group, whose flush never ends.
    while let Some(step) = harness.running.first().copied() {
        harness.feed(Event::Ran { step, weight, faults: 0 });
        ran += 1;
    }
    assert!((GROUPS_WAITING_MAX..=GROUPS_WAITING_MAX + 4).contains(&(ran - 1)), "{ran} steps");
}

/// Every transition of a small run, by what the machine waits for.
#[test]
fn the_transitions_as_reviewed() {
    let mut table: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let mut begun = Harness::new(with_steps(&[1, 0, 1]), 2, 0);
    begun.feed(Event::Begin);
    let mut seen = HashSet::new();
    let mut open = vec![begun];
    while let Some(harness) = open.pop() {
        if harness.outcome.is_some() || !seen.insert(format!("{harness:?}")) {
            continue;
        }
        for event in harness.choices(Weight { bytes: 1, items: 1 }) {
            let mut next = harness.clone();
            let commands: Vec<_> = next.feed(event.clone()).iter().map(verb).collect();
            let entry = format!("{} ⟶ {}", commands.join(", "), state(&next));
            table.entry(state(&harness)).or_default().entry(event_name(&event)).or_default().insert(entry);
            open.push(next);
        }
    }
    let mut out = String::new();
    for (state, events) in table {
        writeln!(out, "{state}").expect("a string");
        for (event, entries) in events {
            for entry in entries {
                writeln!(out, "    {event}: {entry}").expect("a string");
            }
        }
    }
    insta::assert_snapshot!(out);
}

/// A state as a reader thinks of it.
fn state(harness: &Harness) -> String {
    let job = &harness.job;
    if let Some(outcome) = harness.outcome {
        return format!("over: {outcome:?}");
    }
    let settling = match &job.settling {
        Settling::Idle => "",
        Settling::Flushing { group, .. } if group.is_empty() => ", flushing names",
        Settling::Flushing { .. } => ", flushing data",
        Settling::Committing(_) => ", committing",
    };
    let running = if job.running > 0 { ", running" } else { "" };
    let faults = if job.faults > 0 { ", after a fault" } else { "" };
    let ending = job.ending.map(|ending| format!(", ending {ending:?}")).unwrap_or_default();
    format!("{:?}{running}{settling}{faults}{ending}", job.phase)
}

fn event_name(event: &Event) -> String {
    match event {
        Event::Ran { faults: 0, .. } => "Ran".to_owned(),
        Event::Ran { .. } => "Ran with a fault".to_owned(),
        Event::Committed { faults: 0 } => "Committed".to_owned(),
        Event::Committed { .. } => "Committed with a fault".to_owned(),
        Event::GaveUp(_) => "GaveUp".to_owned(),
        Event::GaveUpRest { .. } => "GaveUpRest".to_owned(),
        event => format!("{event:?}"),
    }
}

fn verb(command: &Command) -> String {
    match command {
        Command::Fetch { phase, .. } => format!("Fetch {phase:?}"),
        Command::Run(_) => "Run".to_owned(),
        Command::Commit(_) => "Commit".to_owned(),
        Command::Record(_) => "Record".to_owned(),
        Command::Finish(_) => "Finish".to_owned(),
        command => format!("{command:?}"),
    }
}
