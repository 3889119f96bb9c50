//! The life of jobs, and who goes before whom.

use super::*;
use crate::grid::Command;
use crate::grid::job::{JobEnd, JobOptions, JobPath, JobSchedule, JobTrouble, StepKind, StepState, Wanted};
use crate::grid::record::Role;
use crate::grid::state::tests::{enrol, founded, id, node, run};
use crate::summary::{Summary, Totals};

fn job(number: u8) -> JobId {
    JobId::from_bytes([number; 16])
}

/// Members 1 to 3 of a grid without jobs.
fn grid() -> GridState {
    let mut state = founded();
    for byte in 2..4 {
        run(&mut state, &enrol(node(byte, &format!("nas{byte}"), Role::Star), 5)).expect("is admitted");
    }
    state
}

fn end(node: u8, path: &str) -> JobEnd {
    JobEnd { node: id(node), name: format!("nas{node}"), path: JobPath::new(path) }
}

fn wish(to: &str, mode: JobMode) -> JobWish {
    JobWish {
        source: end(2, "/data"),
        destination: end(3, to),
        options: JobOptions::default(),
        created_on: id(1),
        mode,
    }
}

fn act(number: u8, now_ms: i64, act: JobAct) -> Command {
    Command::Job(JobCommand { job: job(number), now_ms, act })
}

fn submit(state: &mut GridState, number: u8, to: &str, mode: JobMode) {
    let act = act(number, number.into(), JobAct::Submit(Box::new(wish(to, mode))));
    run(state, &act).expect("is submitted");
}

fn report(number: u8, report: JobReport) -> Command {
    act(number, 50, JobAct::Report { attempt: 1, report: Box::new(report) })
}

fn planned() -> JobReport {
    let totals = Totals { files_new: 3, steps: 1, ..Totals::default() };
    JobReport::Planned { totals, route: Some("direct".into()), steps: JobStep::all_pending() }
}

fn ended(ending: Ending) -> JobReport {
    JobReport::Ended {
        ending,
        summary: Summary { files_new: 3, ..Summary::default() },
        steps: JobStep::all_pending(),
        fault_count: 0,
        faults: Vec::new(),
    }
}

fn waiting() -> JobReport {
    JobReport::Waiting(JobTrouble::new("nas2 cannot be reached"))
}

fn state_of(state: &GridState, number: u8) -> &'static str {
    state.job(job(number)).map_or("gone", |record| record.state.name())
}

fn blocker_of(state: &GridState, number: u8) -> Option<Blocker> {
    match state.job(job(number)).and_then(|record| record.state.pace()) {
        Some(Pace::Queued(blocker)) => Some(blocker.clone()),
        _ => None,
    }
}

/// A job in every state, each by the way that leads there.
fn ways() -> Vec<Vec<Command>> {
    let run_from = |more: Vec<Command>| {
        let start = vec![report(1, planned()), act(1, 51, JobAct::Approve)];
        start.into_iter().chain(more).collect()
    };
    let failure = JobFailure { kind: FailureKind::Guard, message: "too much".into(), hint: None };
    vec![
        vec![],
        vec![report(1, waiting())],
        vec![act(1, 51, JobAct::Pause { until_ms: None })],
        vec![report(1, planned())],
        run_from(vec![]),
        run_from(vec![report(1, waiting())]),
        run_from(vec![act(1, 52, JobAct::Pause { until_ms: Some(99) })]),
        run_from(vec![report(1, ended(Ending::Done))]),
        run_from(vec![report(1, ended(Ending::Partial))]),
        run_from(vec![report(1, ended(Ending::Failed(failure)))]),
        vec![act(1, 51, JobAct::Cancel)],
    ]
}

#[test]
fn the_transitions_are_these() {
    use std::fmt::Write as _;
    let acts: Vec<(&str, Command)> = vec![
        ("approve", act(1, 60, JobAct::Approve)),
        ("pause", act(1, 60, JobAct::Pause { until_ms: None })),
        ("resume", act(1, 60, JobAct::Resume)),
        ("cancel", act(1, 60, JobAct::Cancel)),
        ("retry", act(1, 60, JobAct::Retry)),
        ("remove", act(1, 60, JobAct::Remove)),
        ("planned", report(1, planned())),
        ("waiting", report(1, waiting())),
        ("going", report(1, JobReport::Going)),
        ("done", report(1, ended(Ending::Done))),
    ];
    let mut page = String::new();
    for way in ways() {
        let mut before = grid();
        submit(&mut before, 1, "/backup", JobMode::Ask);
        for command in &way {
            run(&mut before, command).expect("leads there");
        }
        let from = state_of(&before, 1);
        let phase = match before.job(job(1)).map(|record| &record.state) {
            Some(JobState::Planning(_)) => "plan",
            Some(JobState::Running(_)) => "run",
            _ => "",
        };
        let _ = write!(page, "{:<14}", format!("{from} {phase}"));
        for (name, command) in &acts {
            let mut after = before.clone();
            let told = match run(&mut after, command) {
                Ok(0) => "·",
                Ok(_) => state_of(&after, 1),
                Err(_) => "no",
            };
            let _ = write!(page, " {name}→{told:<9}");
        }
        page.truncate(page.trim_end().len());
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}

#[test]
fn a_job_is_submitted_once() {
    let mut state = grid();
    submit(&mut state, 1, "/backup", JobMode::Ask);
    let again = act(1, 9, JobAct::Submit(Box::new(wish("/elsewhere", JobMode::Run))));
    assert_eq!(run(&mut state, &again), Ok(0), "the first counts");
    assert_eq!(state.find_job("0101").map(|record| record.id), Ok(job(1)));
    assert!(matches!(state.find_job("01"), Err(Refusal::UnknownJob { .. })), "too short");
    assert!(matches!(state.find_job("0202"), Err(Refusal::UnknownJob { .. })));
}

#[test]
fn what_cannot_be_is_refused_at_once() {
    let mut state = grid();
    let mut refuse = |change: fn(&mut JobWish), refused: fn(&Refusal) -> bool| {
        let mut wish = wish("/backup", JobMode::Ask);
        change(&mut wish);
        let outcome = run(&mut state, &act(1, 1, JobAct::Submit(Box::new(wish))));
        assert!(outcome.as_ref().is_err_and(refused), "{outcome:?}");
    };
    let is_out = |refusal: &Refusal| matches!(refusal, Refusal::OutOfRange { .. });
    refuse(|wish| wish.source.path = JobPath::new("data"), is_out);
    refuse(|wish| wish.destination.path = JobPath::new("/a/../b"), is_out);
    refuse(|wish| wish.options.ignore_texts = vec!["x".repeat(70_000)], is_out);
    refuse(|wish| wish.options.max_delete_percent = 101, is_out);
    refuse(|wish| wish.source.node = id(9), |refusal| matches!(refusal, Refusal::UnknownNode { .. }));
    run(&mut state, &Command::Drain { node: id(3), is_draining: true }).expect("drains");
    let wish = Box::new(wish("/backup", JobMode::Ask));
    let outcome = run(&mut state, &act(1, 1, JobAct::Submit(wish)));
    assert_eq!(outcome, Err(Refusal::Draining { name: "nas3".into() }));
}

#[test]
fn one_job_at_a_time_writes_to_a_tree() {
    let mut state = grid();
    for (number, to) in [(1, "/backup"), (2, "/backup/photos"), (3, "/other"), (4, "/backup/photos/2024")] {
        submit(&mut state, number, to, JobMode::Run);
        run(&mut state, &report(number, planned())).expect("is planned");
    }
    assert_eq!(
        [1, 2, 3, 4].map(|number| state_of(&state, number)),
        ["running", "queued", "running", "queued"]
    );
    assert_eq!(blocker_of(&state, 2), Some(Blocker::Tree { job: job(1) }));
    // A paused job keeps its tree: what it staged lies there.
    run(&mut state, &act(1, 60, JobAct::Pause { until_ms: None })).expect("is paused");
    assert_eq!(state_of(&state, 2), "queued");
    run(&mut state, &act(1, 61, JobAct::Cancel)).expect("is cancelled");
    assert_eq!([2, 4].map(|number| state_of(&state, number)), ["running", "queued"]);
    assert_eq!(blocker_of(&state, 4), Some(Blocker::Tree { job: job(2) }));
    run(&mut state, &report(2, ended(Ending::Partial))).expect("ends");
    assert_eq!(state_of(&state, 4), "running");
}

#[test]
fn a_star_is_not_overrun() {
    let mut state = grid();
    for number in 1..=6 {
        submit(&mut state, number, &format!("/to/{number}"), JobMode::Run);
    }
    let states = |state: &GridState| (1..=6).map(|number| state_of(state, number)).collect::<Vec<_>>();
    assert_eq!(states(&state), ["planning", "planning", "planning", "planning", "queued", "queued"]);
    assert_eq!(blocker_of(&state, 6), Some(Blocker::Star { node: id(3), limit: 4 }));
    run(&mut state, &act(2, 70, JobAct::Pause { until_ms: None })).expect("is paused");
    assert_eq!(state_of(&state, 5), "planning", "a paused job does nothing");
    run(&mut state, &act(2, 71, JobAct::Resume)).expect("is resumed");
    assert_eq!(state_of(&state, 2), "queued", "it goes behind the others");
    run(&mut state, &act(1, 72, JobAct::Cancel)).expect("is cancelled");
    assert_eq!([2, 6].map(|number| state_of(&state, number)), ["queued", "planning"]);
}

#[test]
fn a_star_is_told_what_is_wanted() {
    let mut state = grid();
    let wanted = |state: &GridState| state.job(job(1)).expect("is there").wanted();
    submit(&mut state, 1, "/backup", JobMode::Ask);
    assert_eq!(wanted(&state), Some(Wanted::Plan));
    run(&mut state, &report(1, planned())).expect("is planned");
    assert_eq!(wanted(&state), Some(Wanted::Hold));
    run(&mut state, &act(1, 60, JobAct::Resume)).expect("is agreed to");
    assert_eq!(wanted(&state), Some(Wanted::Run));
    run(&mut state, &report(1, waiting())).expect("waits");
    assert_eq!(wanted(&state), Some(Wanted::Run), "it tries again by itself");
    run(&mut state, &act(1, 61, JobAct::Cancel)).expect("is cancelled");
    assert_eq!(wanted(&state), None);
}

#[test]
fn reports_of_an_attempt_that_is_over_count_for_nothing() {
    let mut state = grid();
    submit(&mut state, 1, "/backup", JobMode::Run);
    run(&mut state, &report(1, planned())).expect("is planned");
    assert_eq!(run(&mut state, &report(1, planned())), Ok(0), "said again");
    run(&mut state, &report(1, ended(Ending::Partial))).expect("ends");
    run(&mut state, &act(1, 60, JobAct::Retry)).expect("begins anew");
    let record = state.job(job(1)).expect("is there");
    assert_eq!((record.attempt, record.totals, record.summary), (2, None, None));
    assert_eq!(run(&mut state, &report(1, ended(Ending::Done))), Ok(0), "of the first attempt");
    assert_eq!(state_of(&state, 1), "planning");
}

#[test]
fn a_dry_run_ends_with_its_plan() {
    let mut state = grid();
    submit(&mut state, 1, "/backup", JobMode::Dry);
    run(&mut state, &report(1, planned())).expect("is planned");
    assert_eq!(state_of(&state, 1), "done");
}

#[test]
fn a_scheduled_job_begins_anew_and_never_twice_at_once() {
    let mut state = grid();
    submit(&mut state, 1, "/backup", JobMode::Ask);
    let schedule = JobSchedule { cron: "0 3 * * *".into(), zone: "UTC".into(), next_ms: 100, skipped: 0 };
    run(&mut state, &act(1, 60, JobAct::Schedule(Some(schedule)))).expect("is scheduled");
    let due = |was_ms, next_ms| act(1, was_ms, JobAct::Due { was_ms, next_ms });
    run(&mut state, &due(100, Some(200))).expect("is due");
    let schedule = |state: &GridState| state.job(job(1)).expect("is there").schedule.clone();
    assert_eq!(schedule(&state).map(|schedule| (schedule.next_ms, schedule.skipped)), Some((200, 1)));
    run(&mut state, &act(1, 110, JobAct::Cancel)).expect("is cancelled");
    run(&mut state, &due(200, Some(300))).expect("is due");
    assert_eq!(run(&mut state, &due(200, Some(300))), Ok(0), "said again");
    assert_eq!(state_of(&state, 1), "planning");
    run(&mut state, &act(1, 210, JobAct::Report { attempt: 2, report: Box::new(planned()) }))
        .expect("is planned");
    assert_eq!(state_of(&state, 1), "running", "nobody is asked at night");
    run(&mut state, &act(1, 220, JobAct::Cancel)).expect("is cancelled");
    run(&mut state, &Command::Tidy { now_ms: 200 * bounds::DAY_MS, retired: Vec::new() }).expect("is tidied");
    assert_eq!(state_of(&state, 1), "cancelled", "it is kept for its next time");
    run(&mut state, &due(300, None)).expect("is due");
    assert_eq!(schedule(&state), None, "that was the last time");
}

#[test]
fn jobs_end_with_their_nodes() {
    let mut state = grid();
    submit(&mut state, 1, "/backup", JobMode::Run);
    run(&mut state, &Command::Remove { node: id(2), now_ms: 80 }).expect("is removed");
    let record = state.job(job(1)).expect("is there");
    assert!(matches!(&record.state, JobState::Ended(Ending::Failed(failure))
        if failure.message == "nas2 was removed from the grid"));
}

#[test]
fn what_a_star_says_is_bounded() {
    let state = grid();
    let mut with_job = state;
    submit(&mut with_job, 1, "/backup", JobMode::Run);
    let mut many = vec![JobStep::pending(StepKind::Compare); 8];
    many[0].state = StepState::Done;
    let reports = [
        JobReport::Waiting(JobTrouble { message: "x".repeat(5000) }),
        JobReport::Planned { totals: Totals::default(), route: None, steps: many },
    ];
    for report in reports {
        let command = act(1, 50, JobAct::Report { attempt: 1, report: Box::new(report) });
        assert!(matches!(with_job.decide(&command), Err(Refusal::OutOfRange { .. })));
    }
}

#[test]
fn ended_jobs_are_kept_for_a_while() {
    let mut state = grid();
    let numbers = 1..=JOBS_ENDED_KEPT as u16 + 5;
    let id_of = |number: u16| JobId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 2]));
    for number in numbers {
        let command = |act| Command::Job(JobCommand { job: id_of(number), now_ms: number.into(), act });
        let wish = Box::new(wish("/backup", JobMode::Ask));
        run(&mut state, &command(JobAct::Submit(wish))).expect("is submitted");
        run(&mut state, &command(JobAct::Cancel)).expect("is cancelled");
    }
    assert_eq!(state.jobs().count(), JOBS_ENDED_KEPT + 1);
    assert!(state.job(id_of(1)).is_none(), "the oldest went first");
    run(&mut state, &Command::Tidy { now_ms: 200 * bounds::DAY_MS, retired: Vec::new() }).expect("is tidied");
    assert_eq!(state.jobs().count(), 0);
}

/// What must hold whatever was done.
pub(in crate::grid::state) fn check_jobs(state: &GridState) {
    let going: Vec<&JobRecord> = state.jobs().filter(|record| record.state.is_active()).collect();
    let writing: Vec<&JobRecord> = state.jobs().filter(|record| record.holds_tree()).collect();
    for (at, record) in writing.iter().enumerate() {
        for other in &writing[at + 1..] {
            let apart = record.destination.node != other.destination.node
                || !record.destination.path.overlaps(&other.destination.path);
            assert!(apart, "{} and {} write to one tree", record.destination, other.destination);
        }
    }
    for record in &going {
        let count =
            |is_same: &dyn Fn(&JobRecord) -> bool| going.iter().filter(|other| is_same(other)).count();
        assert!(count(&|other| other.destination.node == record.destination.node) <= JOBS_TO_STAR_MAX);
        assert!(count(&|other| other.source.node == record.source.node) <= JOBS_FROM_STAR_MAX);
        assert!(state.node(record.source.node).is_some() && state.node(record.destination.node).is_some());
    }
    for record in state.jobs() {
        if let Some(Pace::Queued(Blocker::Tree { job })) = record.state.pace() {
            let blocker = state.job(*job).expect("what blocks a job is there");
            assert!(!blocker.state.is_ended(), "{} blocks nobody any more", blocker.id);
        }
    }
    let queue = state.jobs().filter(|record| is_queued(record)).count();
    assert!(queue == 0 || !going.is_empty() || !writing.is_empty(), "somebody goes if anybody wants to");
}
