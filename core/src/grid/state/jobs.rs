//! What may be done to jobs: [`JobCommand`]s, and who goes before whom.

use super::GridState;
use super::bounds::{self, is_over};
use super::decide::Decided;
use crate::grid::job::{
    Blocker, Ending, FailureKind, JobAct, JobCommand, JobFailure, JobMode, JobRecord, JobReport, JobState,
    JobStep, JobWish, Pace,
};
use crate::grid::record::Change;
use crate::grid::refusal::Refusal;
use crate::ids::{JobId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Jobs that write to one star at a time; more wait.
pub const JOBS_TO_STAR_MAX: usize = 4;
/// Jobs that read from one star at a time; more wait.
pub const JOBS_FROM_STAR_MAX: usize = 8;
/// Ended jobs that are kept.
pub const JOBS_ENDED_KEPT: usize = 200;
/// How long an ended job is kept, milliseconds: 90 days.
const ENDED_KEPT_MS: i64 = 90 * bounds::DAY_MS;
/// Digits of an id that are enough to name a job.
const ID_DIGITS_MIN: usize = 4;

impl GridState {
    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.values()
    }

    /// A job by id.
    pub fn job(&self, id: JobId) -> Option<&JobRecord> {
        self.jobs.get(&id)
    }

    /// A job by what a person wrote: its id, or at least four digits that no other job's id begins with.
    pub fn find_job(&self, written: &str) -> Result<&JobRecord, Refusal> {
        let unknown = || Refusal::UnknownJob { job: super::names::shown(written) };
        let digits: String = written.chars().filter(|&c| c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if !(ID_DIGITS_MIN..=JobId::LEN * 2).contains(&digits.len()) {
            return Err(unknown());
        }
        let first: JobId = format!("{digits:0<32}").parse().map_err(|_| unknown())?;
        let last: JobId = format!("{digits:f<32}").parse().map_err(|_| unknown())?;
        let mut found = self.jobs.range((Bound::Included(first), Bound::Included(last)));
        match (found.next(), found.next()) {
            (Some((_, record)), None) => Ok(record),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousJob { job: digits }),
            (None, _) => Err(unknown()),
        }
    }

    pub(super) fn decide_job(&self, command: &JobCommand) -> Decided {
        let JobCommand { job, now_ms, act } = command;
        if let JobAct::Submit(wish) = act {
            return self.submit(*job, wish, *now_ms);
        }
        let known = self.jobs.get(job).ok_or_else(|| Refusal::UnknownJob { job: short(*job) })?;
        let mut record = known.clone();
        match act {
            JobAct::Submit(_) => {}
            JobAct::Approve => approve(&mut record, *now_ms)?,
            JobAct::Pause { until_ms } => pause(&mut record, *until_ms, *now_ms)?,
            JobAct::Resume => resume(&mut record, *now_ms)?,
            JobAct::Cancel => cancel(&mut record, *now_ms)?,
            JobAct::Retry => {
                self.retriable(known)?;
                retry(&mut record, *now_ms);
            }
            JobAct::Remove => {
                if !known.state.is_ended() {
                    return Err(wrong_state(known, "removed"));
                }
                return Ok(vec![Change::JobRemoved(*job)]);
            }
            JobAct::Limit(bandwidth) => {
                record.options.bandwidth.clone_from(bandwidth);
                bounds::job_options(&record.options)?;
            }
            JobAct::Schedule(schedule) => {
                bounds::job_schedule(schedule.as_ref())?;
                record.schedule.clone_from(schedule);
            }
            JobAct::Due { was_ms, next_ms } => self.begin_if_due(&mut record, *was_ms, *next_ms, *now_ms),
            JobAct::Report { attempt, report } => {
                if *attempt != known.attempt {
                    return Ok(Vec::new());
                }
                bounds::job_report(report)?;
                take_in(&mut record, report, *now_ms);
            }
        }
        if record == *known { Ok(Vec::new()) } else { Ok(self.settled(vec![record], Vec::new(), *now_ms)) }
    }

    fn submit(&self, id: JobId, wish: &JobWish, now_ms: i64) -> Decided {
        if self.jobs.contains_key(&id) {
            return Ok(Vec::new());
        }
        bounds::job_options(&wish.options)?;
        for end in [&wish.source, &wish.destination] {
            bounds::job_path(&end.path)?;
            bounds::job_name(&end.name)?;
            self.takes_work(end.node)?;
        }
        bounds::room_for_job(self)?;
        let record = JobRecord {
            id,
            source: wish.source.clone(),
            destination: wish.destination.clone(),
            options: wish.options.clone(),
            created_ms: now_ms,
            created_on: wish.created_on,
            mode: wish.mode,
            schedule: None,
            state: JobState::Planning(queued(wish.destination.node)),
            since_ms: now_ms,
            attempt: 1,
            totals: None,
            route: None,
            summary: None,
            steps: JobStep::all_pending(),
            fault_count: 0,
            faults: Vec::new(),
        };
        Ok(self.settled(vec![record], self.outdated(now_ms), now_ms))
    }

    fn takes_work(&self, node: NodeId) -> Result<(), Refusal> {
        let member = self.member(node)?;
        if member.is_draining {
            return Err(Refusal::Draining { name: member.name.clone() });
        }
        Ok(())
    }

    fn retriable(&self, record: &JobRecord) -> Result<(), Refusal> {
        if !record.state.is_ended() {
            return Err(wrong_state(record, "begun anew"));
        }
        self.takes_work(record.source.node)?;
        self.takes_work(record.destination.node)?;
        bounds::room_for_job(self)
    }

    /// Lets a job begin anew whose time has come, or passes it over: if it is not over yet, or its nodes take no work.
    fn begin_if_due(&self, record: &mut JobRecord, was_ms: i64, next_ms: Option<i64>, now_ms: i64) {
        let may_begin = self.retriable(record).is_ok();
        let Some(schedule) = record.schedule.as_mut().filter(|schedule| schedule.next_ms == was_ms) else {
            return;
        };
        match next_ms {
            Some(next_ms) => schedule.next_ms = next_ms,
            None => record.schedule = None,
        }
        if may_begin {
            if record.mode == JobMode::Ask {
                record.mode = JobMode::Run;
            }
            retry(record, now_ms);
        } else if let Some(schedule) = &mut record.schedule {
            schedule.skipped = schedule.skipped.saturating_add(1);
        }
    }

    /// The jobs that end because a member is gone.
    pub(super) fn end_jobs_of(&self, node: NodeId, now_ms: i64) -> Vec<Change> {
        let ended = self.jobs.values().filter(|record| record.involves(node) && !record.state.is_ended());
        let gone = |record: &JobRecord| {
            let side = if record.source.node == node { &record.source } else { &record.destination };
            let failure = JobFailure {
                kind: FailureKind::NotFound,
                message: format!("{} was removed from the grid", side.name),
                hint: None,
            };
            let mut record = record.clone();
            enter(&mut record, JobState::Ended(Ending::Failed(failure)), now_ms);
            record
        };
        let ended: Vec<JobRecord> = ended.map(gone).collect();
        if ended.is_empty() { Vec::new() } else { self.settled(ended, Vec::new(), now_ms) }
    }

    /// Ended jobs that are not kept any longer.
    pub(super) fn outdated(&self, now_ms: i64) -> Vec<JobId> {
        let mut ended: Vec<(i64, JobId)> = self
            .jobs
            .values()
            .filter(|record| record.state.is_ended() && record.schedule.is_none())
            .map(|record| (record.since_ms, record.id))
            .collect();
        ended.sort_unstable_by(|a, b| b.cmp(a));
        let is_old = |(at, (since_ms, _)): &(usize, (i64, JobId))| {
            *at >= JOBS_ENDED_KEPT || is_over(since_ms.saturating_add(ENDED_KEPT_MS), now_ms)
        };
        ended.into_iter().enumerate().filter(is_old).map(|(_, (_, id))| id).collect()
    }

    /// These records and removals as changes, together with the queued jobs that may go now.
    fn settled(&self, changed: Vec<JobRecord>, removed: Vec<JobId>, now_ms: i64) -> Vec<Change> {
        let mut changed: BTreeMap<JobId, JobRecord> =
            changed.into_iter().map(|record| (record.id, record)).collect();
        let gone: BTreeSet<JobId> = removed.iter().copied().collect();
        let others = self.jobs.values().filter(|record| {
            !record.state.is_ended() && !changed.contains_key(&record.id) && !gone.contains(&record.id)
        });
        let all: Vec<&JobRecord> = others.chain(changed.values()).collect();
        let moved = moved_up(&all, now_ms);
        changed.extend(moved.into_iter().map(|record| (record.id, record)));
        let removed = removed.into_iter().map(Change::JobRemoved);
        removed.chain(changed.into_values().map(|record| Change::Job(Box::new(record)))).collect()
    }
}

/// The queued jobs that may go now, or wait for something else than before. The oldest go first.
fn moved_up(all: &[&JobRecord], now_ms: i64) -> Vec<JobRecord> {
    let mut queue: Vec<&JobRecord> = all.iter().copied().filter(|record| is_queued(record)).collect();
    queue.sort_by_key(|record| (record.since_ms, record.id));
    let mut ahead: Vec<JobRecord> = Vec::new();
    let mut moved = Vec::new();
    for record in queue {
        let before = all.iter().copied().filter(|other| !is_queued(other)).chain(&ahead);
        let pace = match blocker(record, before) {
            Some(blocker) => Pace::Queued(blocker),
            None => Pace::Going,
        };
        let mut record = record.clone();
        if record.state.pace() != Some(&pace) {
            if pace == Pace::Going {
                record.since_ms = now_ms;
            }
            record.state = record.state.at(pace);
            moved.push(record.clone());
        }
        ahead.push(record);
    }
    moved
}

const fn is_queued(record: &JobRecord) -> bool {
    matches!(record.state.pace(), Some(Pace::Queued(_)))
}

/// What keeps a job from going, given those that go before it, queued ones among them.
fn blocker<'a>(record: &JobRecord, before: impl Iterator<Item = &'a JobRecord>) -> Option<Blocker> {
    let (mut to_star, mut from_star) = (0, 0);
    for other in before {
        let is_same_star = other.destination.node == record.destination.node;
        // Queued ones ahead have it first.
        let both = record.wants_tree() && other.wants_tree();
        if both && is_same_star && other.destination.path.overlaps(&record.destination.path) {
            return Some(Blocker::Tree { job: other.id });
        }
        if other.state.is_active() {
            to_star += usize::from(is_same_star);
            from_star += usize::from(other.source.node == record.source.node);
        }
    }
    let busy = |node, limit| Some(Blocker::Star { node, limit: u32::try_from(limit).unwrap_or(u32::MAX) });
    match () {
        () if to_star >= JOBS_TO_STAR_MAX => busy(record.destination.node, JOBS_TO_STAR_MAX),
        () if from_star >= JOBS_FROM_STAR_MAX => busy(record.source.node, JOBS_FROM_STAR_MAX),
        () => None,
    }
}

/// At the end of the queue; who may go is decided for all jobs together.
fn queued(node: NodeId) -> Pace {
    Pace::Queued(Blocker::Star { node, limit: u32::try_from(JOBS_TO_STAR_MAX).unwrap_or(u32::MAX) })
}

fn enter(record: &mut JobRecord, state: JobState, now_ms: i64) {
    record.state = state;
    record.since_ms = now_ms;
}

fn approve(record: &mut JobRecord, now_ms: i64) -> Result<(), Refusal> {
    match record.state {
        JobState::Planned => {
            let pace = queued(record.destination.node);
            enter(record, JobState::Running(pace), now_ms);
            Ok(())
        }
        JobState::Running(_) => Ok(()),
        _ => Err(wrong_state(record, "approved")),
    }
}

fn pause(record: &mut JobRecord, until_ms: Option<i64>, now_ms: i64) -> Result<(), Refusal> {
    match record.state {
        JobState::Planning(_) | JobState::Running(_) => {
            let paused = record.state.at(Pace::Paused { until_ms });
            if record.state != paused {
                enter(record, paused, now_ms);
            }
            Ok(())
        }
        JobState::Planned | JobState::Ended(_) => Err(wrong_state(record, "paused")),
    }
}

fn resume(record: &mut JobRecord, now_ms: i64) -> Result<(), Refusal> {
    match record.state.pace() {
        Some(Pace::Paused { .. }) => {
            let going = record.state.at(queued(record.destination.node));
            enter(record, going, now_ms);
            Ok(())
        }
        Some(_) => Ok(()),
        None if record.state == JobState::Planned => approve(record, now_ms),
        None => Err(wrong_state(record, "resumed")),
    }
}

fn cancel(record: &mut JobRecord, now_ms: i64) -> Result<(), Refusal> {
    match record.state {
        JobState::Ended(Ending::Cancelled) => Ok(()),
        JobState::Ended(_) => Err(wrong_state(record, "cancelled")),
        _ => {
            enter(record, JobState::Ended(Ending::Cancelled), now_ms);
            Ok(())
        }
    }
}

/// The next attempt. Who retries a job has seen its plan, or wants it again as it was.
fn retry(record: &mut JobRecord, now_ms: i64) {
    record.attempt = record.attempt.saturating_add(1);
    // What was asked about and agreed to once is not asked about again; a plan that nobody saw is.
    if record.mode == JobMode::Ask && record.summary.is_some() && record.totals.is_some() {
        record.mode = JobMode::Run;
    }
    (record.totals, record.route, record.summary) = (None, None, None);
    record.steps = JobStep::all_pending();
    (record.fault_count, record.faults) = (0, Vec::new());
    let pace = queued(record.destination.node);
    enter(record, JobState::Planning(pace), now_ms);
}

/// Takes in what the star says. What it cannot know yet (that the job was paused or cancelled meanwhile) is as it is.
fn take_in(record: &mut JobRecord, report: &JobReport, now_ms: i64) {
    match (report, &record.state) {
        (JobReport::Planned { totals, route, steps }, JobState::Planning(pace)) if pace.is_active() => {
            (record.totals, record.route) = (Some(*totals), route.clone());
            record.steps.clone_from(steps);
            record.fault_count = totals.faults;
            let next = match record.mode {
                JobMode::Ask => JobState::Planned,
                // It has the tree, and its place at the star.
                JobMode::Run => JobState::Running(Pace::Going),
                JobMode::Dry if totals.faults > 0 => JobState::Ended(Ending::Partial),
                JobMode::Dry => JobState::Ended(Ending::Done),
            };
            enter(record, next, now_ms);
        }
        (JobReport::Going, JobState::Planning(Pace::Waiting(_)) | JobState::Running(Pace::Waiting(_))) => {
            let going = record.state.at(Pace::Going);
            enter(record, going, now_ms);
        }
        (JobReport::Waiting(trouble), JobState::Planning(pace) | JobState::Running(pace))
            if pace.is_active() =>
        {
            let was_going = *pace == Pace::Going;
            record.state = record.state.at(Pace::Waiting(trouble.clone()));
            if was_going {
                record.since_ms = now_ms;
            }
        }
        (
            JobReport::Ended { ending, summary, steps, fault_count, faults },
            JobState::Planning(_) | JobState::Running(_),
        ) => {
            record.summary = Some(*summary);
            record.steps.clone_from(steps);
            (record.fault_count, record.faults) = (*fault_count, faults.clone());
            enter(record, JobState::Ended(ending.clone()), now_ms);
        }
        _ => {}
    }
}

fn wrong_state(record: &JobRecord, deed: &str) -> Refusal {
    Refusal::JobState { job: short(record.id), state: record.state.name().to_owned(), deed: deed.to_owned() }
}

/// Enough of an id for people.
pub(super) fn short(id: JobId) -> String {
    id.to_string()[..8].to_owned()
}

#[cfg(test)]
pub(super) mod tests;
