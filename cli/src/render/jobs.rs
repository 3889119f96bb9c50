//! Jobs of the grid: a table of all, a page of one, and how one goes.

use super::format::{bytes, count, counted, harmless};
use super::json::{JsonPath, Line, write_line};
use super::progress::Display;
use super::screen::Screen;
use super::summary::{self, Deed};
use super::table::{Page, Rows};
use super::time::{ago, ahead, date};
use crate::exit::{CliError, Exit};
use crate::session::Session;
use orbit_core::grid::job::{JobFault, JobMode, StepKind, StepState};
use orbit_core::{Summary, Totals};
use orbit_node::api::client::ClientError;
use orbit_node::api::job_types::{JobStepView, JobView};
use orbit_node::api::types::ErrorCode;
use orbit_node::standalone::RunReport;
use orbit_node::standalone::progress::{Progress, RunPhase};
use orbit_node::standalone::state::now_ms;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Digits of an id that people read.
const SHORT_LEN: usize = 8;
/// For how long a watched job may be out of sight: a grid that elects a Nucleus takes a few seconds.
const OUT_OF_SIGHT: Duration = Duration::from_mins(2);

/// How a job's id is written for people.
pub fn short(id: &str) -> &str {
    id.get(..SHORT_LEN).unwrap_or(id)
}

/// A job was submitted.
pub fn submitted(screen: &Screen, job: &JobView) -> io::Result<()> {
    if screen.json {
        let line = json!({
            "event": "job", "id": job.id,
            "source": job.source.to_string(), "destination": job.destination.to_string(),
        });
        return screen.out(|out| {
            write_line(out, &line)?;
            out.flush()
        });
    }
    if !screen.quiet {
        screen.err(&format!(
            "job {}: {} to {}\n",
            short(&job.id),
            shown(&job.source),
            shown(&job.destination)
        ));
    }
    Ok(())
}

/// The plan of a job that waits for approval.
pub fn plan(screen: &Screen, job: &JobView) -> io::Result<()> {
    if screen.json {
        return Ok(());
    }
    screen.line(&plan_text(job))?;
    screen.flush()
}

fn plan_text(job: &JobView) -> String {
    let totals = job.totals.unwrap_or_default();
    let mut text = summary::planned(&totals);
    if totals.files_new + totals.files_changed > 0 {
        let way = job.route.as_ref().map_or_else(
            || format!("on {} itself", job.destination.node),
            |route| format!("from {} to {}, {route}", job.source.node, job.destination.node),
        );
        text = format!("{text}\nthe data goes {way}");
    }
    harmless_lines(&text)
}

/// Whoever watched a job has seen enough of it.
pub fn detached(screen: &Screen, id: &str) -> io::Result<()> {
    let message = format!("job {0} goes on by itself; orbit job watch {0} follows it", short(id));
    if screen.json {
        screen.out(|out| write_line(out, &Line::Notice { message: &message }))?;
        return screen.flush();
    }
    screen.err(&format!("{message}\n"));
    Ok(())
}

/// How a job ended.
pub fn ended(screen: &Screen, job: &JobView, mode: JobMode) -> anyhow::Result<Exit> {
    for fault in &job.faults {
        tell_fault(screen, fault).map_err(CliError::Output)?;
    }
    let untold = job.fault_count.saturating_sub(job.faults.len() as u64);
    if untold > 0 && !screen.json {
        screen.err(&format!("… and {untold} more\n"));
    }
    let id = short(&job.id).to_owned();
    if let Some(failure) = job.failure.clone() {
        let error = CliError::Job { failure, id, is_planned: job.is_planned };
        let done =
            job.summary.filter(|summary| screen.json && job.is_planned && *summary != Summary::default());
        let Some(done) = done else { return Err(error.into()) };
        // A job that did something ends with its figures, even so.
        let exit = super::error::report(screen, &error.into());
        summary::write_summary(screen, &done, exit).map_err(CliError::Output)?;
        return Ok(exit);
    }
    if job.state == "cancelled" {
        return Err(CliError::JobCancelled { id }.into());
    }
    let totals = job.totals.unwrap_or_default();
    let deed = if mode == JobMode::Dry { Deed::WouldSync } else { Deed::Synced };
    let figures = job.summary.unwrap_or_else(|| planned_summary(&totals));
    // How many there were is only in the star's memory; that there were some is in how the job ended.
    let faults = if job.state == "partial" { job.fault_count.max(1) } else { 0 };
    let report = RunReport { summary: figures, totals, interrupted: false, faults };
    Ok(summary::report(screen, deed, &report).map_err(CliError::Output)?)
}

/// What a plan would come to.
fn planned_summary(totals: &Totals) -> Summary {
    Summary {
        files_total: totals.files_total,
        files_new: totals.files_new,
        files_changed: totals.files_changed + totals.files_attributes,
        files_unchanged: totals.files_unchanged,
        files_deleted: totals.files_deleted,
        files_failed: totals.faults,
        bytes_total: totals.bytes_total,
        ..Summary::default()
    }
}

fn tell_fault(screen: &Screen, fault: &JobFault) -> io::Result<()> {
    if screen.json {
        let path = JsonPath::new(fault.path.as_bytes());
        return screen.out(|out| write_line(out, &Line::Fault { path, message: &fault.message }));
    }
    screen.err(&format!("{} {}\n", screen.err_style.bad("!"), harmless(&fault_text(fault))));
    Ok(())
}

fn fault_text(fault: &JobFault) -> String {
    let path = fault.path.to_string();
    let names_it = path.is_empty() || fault.message.contains(&path);
    if names_it { fault.message.clone() } else { format!("{path}: {}", fault.message) }
}

/// Shows a job as it goes.
pub struct Follower {
    screen: Arc<Screen>,
    progress: Arc<Progress>,
    _display: Display,
    told: Option<String>,
    is_plan_told: bool,
    seen: Instant,
}

impl Follower {
    /// Shows progress where a sync of this machine would.
    pub fn new(session: &Session, wants_progress: bool) -> Self {
        let progress = Arc::new(Progress::default());
        Self {
            screen: Arc::clone(&session.screen),
            _display: Display::start(&session.screen, Arc::clone(&progress), wants_progress),
            progress,
            told: None,
            is_plan_told: false,
            seen: Instant::now(),
        }
    }

    /// Takes in how the job is now.
    pub fn show(&mut self, job: &JobView) -> io::Result<()> {
        self.seen = Instant::now();
        self.tell_plan(job)?;
        self.tell_reason(job)?;
        let Some(now) = &job.progress else { return Ok(()) };
        let progress = &self.progress;
        progress.scanned.store(now.scanned, Relaxed);
        progress.files_planned.store(now.files_planned, Relaxed);
        progress.bytes_planned.store(now.bytes_planned, Relaxed);
        progress.files_done.store(now.files_done, Relaxed);
        progress.bytes_done.store(now.bytes_done, Relaxed);
        progress.set_phase(phase(&job.steps));
        progress.set_current(|| now.current.clone());
        Ok(())
    }

    /// The plan as a JSON line, once.
    fn tell_plan(&mut self, job: &JobView) -> io::Result<()> {
        let Some(totals) = job.totals.filter(|_| self.screen.json && !self.is_plan_told) else {
            return Ok(());
        };
        self.is_plan_told = true;
        self.screen.out(|out| {
            write_line(out, &Line::Planned(totals))?;
            out.flush()
        })
    }

    /// Why the job does not go on, whenever that changes.
    fn tell_reason(&mut self, job: &JobView) -> io::Result<()> {
        let held_up = match (&*job.state, &job.reason) {
            ("paused", _) => Some(format!("the job is paused{}", until(job, now_ms()))),
            (state, Some(reason)) if !job.is_ended => {
                let state = if matches!(state, "queued" | "waiting") { state } else { "waiting" };
                Some(format!("{state}: {reason}"))
            }
            _ => None,
        };
        if held_up == self.told {
            return Ok(());
        }
        let message = held_up.clone().unwrap_or_else(|| "the job goes on".to_owned());
        self.told = held_up;
        if self.screen.json {
            return self.screen.out(|out| {
                write_line(out, &Line::Notice { message: &message })?;
                out.flush()
            });
        }
        if !self.screen.quiet && !job.is_ended {
            self.screen.err(&format!("{} {}\n", self.screen.err_style.doubtful("note:"), harmless(&message)));
        }
        Ok(())
    }

    /// Whether it is worth asking again after such an error.
    pub fn is_patient(&self, error: &ClientError) -> bool {
        let is_passing = error.code() == ErrorCode::Unreachable;
        if is_passing && self.seen.elapsed() < OUT_OF_SIGHT {
            std::thread::sleep(Duration::from_millis(200));
            return true;
        }
        false
    }
}

fn phase(steps: &[JobStepView]) -> RunPhase {
    let state =
        |kind| steps.iter().find(|step| step.kind == kind).map_or(StepState::Pending, |step| step.state);
    match () {
        () if state(StepKind::Compare) != StepState::Done => RunPhase::Planning,
        () if state(StepKind::Transfer) == StepState::Running => RunPhase::Copying,
        () if state(StepKind::Delete) == StepState::Running => RunPhase::Finishing,
        () if state(StepKind::Commit) == StepState::Running => RunPhase::Flushing,
        () => RunPhase::Copying,
    }
}

/// All jobs.
pub fn list(screen: &Screen, jobs: &[JobView]) -> io::Result<()> {
    if screen.json {
        return jobs.iter().try_for_each(|job| screen.out(|out| write_line(out, job)));
    }
    if jobs.is_empty() {
        return if screen.quiet { Ok(()) } else { screen.line("no jobs") };
    }
    screen.line(&table(jobs, now_ms()))
}

/// One job.
pub fn page(screen: &Screen, job: &JobView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, job));
    }
    screen.line(&page_text(job, now_ms()))
}

/// A job is another one than before.
pub fn changed(screen: &Screen, job: &JobView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, job));
    }
    if screen.quiet {
        return Ok(());
    }
    let reason = job.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let next = job.schedule.as_ref().map(|schedule| format!("; its next time is {}", date(schedule.next_ms)));
    let next = next.unwrap_or_default();
    let line = format!("job {} is {}{}{reason}{next}", short(&job.id), job.state, until(job, now_ms()));
    screen.line(&harmless(&line))
}

/// A job was removed.
pub fn removed(screen: &Screen, job: &JobView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &json!({"event": "removed", "job": job.id})));
    }
    if screen.quiet { Ok(()) } else { screen.line(&format!("job {} is forgotten", short(&job.id))) }
}

fn until(job: &JobView, now_ms: i64) -> String {
    job.until_ms.map(|until| format!(" until {} ({})", date(until), ahead(until, now_ms))).unwrap_or_default()
}

fn shown(end: &orbit_node::api::job_types::JobEndView) -> String {
    harmless(&end.to_string()).into_owned()
}

fn table(jobs: &[JobView], now_ms: i64) -> String {
    let mut rows = Rows::new(&["id", "state", ">done", "source", "destination", ">files", ">bytes", "since"]);
    for job in jobs {
        let totals = job.totals;
        let changed = totals.map(|totals| totals.files_new + totals.files_changed + totals.files_attributes);
        rows.push([
            short(&job.id).to_owned(),
            job.state.clone(),
            done(job),
            job.source.to_string(),
            job.destination.to_string(),
            changed.map_or_else(|| "–".to_owned(), count),
            totals.map_or_else(|| "–".to_owned(), |totals| bytes(totals.bytes_planned)),
            ago(job.since_ms, now_ms),
        ]);
    }
    rows.text()
}

/// How much of a job is done, for people.
fn done(job: &JobView) -> String {
    let percent = |part: u64, whole: u64| format!("{} %", part.min(whole) * 100 / whole.max(1));
    match (&job.progress, &*job.state) {
        (_, "done") => "100 %".to_owned(),
        (Some(now), _) if now.bytes_planned > 0 => percent(now.bytes_done, now.bytes_planned),
        (Some(now), _) if now.files_planned > 0 => percent(now.files_done, now.files_planned),
        _ => "–".to_owned(),
    }
}

fn page_text(job: &JobView, now_ms: i64) -> String {
    let mut page = Page::default();
    page.push("job", job.id.clone());
    page.push("source", job.source.to_string());
    page.push("destination", job.destination.to_string());
    page.push(
        "state",
        format!("{}, since {} ({})", job.state, date(job.since_ms), ago(job.since_ms, now_ms)),
    );
    page.push("because", job.reason.clone().unwrap_or_default());
    if let Some(failure) = &job.failure {
        page.push("because", failure.message.clone());
        page.push("hint", failure.hint.clone().unwrap_or_default());
    }
    page.push("goes on", job.until_ms.map(|until| ahead(until, now_ms)).unwrap_or_default());
    page.push("attempt", job.attempt.to_string());
    page.push("submitted", format!("{} on {}", date(job.created_ms), job.created_on));
    if let Some(schedule) = &job.schedule {
        let skipped = match schedule.skipped {
            0 => String::new(),
            times => format!(", passed over {}", counted(times.into(), "time", "times")),
        };
        let next = date(schedule.next_ms);
        page.push("begins anew", format!("{} in {}: next {next}{skipped}", schedule.cron, schedule.zone));
    }
    page.push("options", options(job).join(", "));
    page.push("plan", job.totals.map(|totals| summary::planned(&totals)).unwrap_or_default());
    page.push("way", job.route.clone().unwrap_or_default());
    if let Some(now) = &job.progress {
        page.push(
            "progress",
            format!(
                "{}, {} copied, {} over the network",
                done(job),
                bytes(now.bytes_done),
                bytes(now.bytes_wire)
            ),
        );
        page.push("in hand", now.current.clone());
        page.push("limited by", now.limit.clone().unwrap_or_default());
    }
    if let Some(done) = &job.summary {
        page.push("result", summary::figures(done));
    }
    page.push("steps", steps(&job.steps));
    let told = job.faults.iter().map(fault_text);
    let more = job.fault_count.saturating_sub(job.faults.len() as u64);
    let more = (more > 0).then(|| format!("… and {} more", count(more)));
    page.push("faults", told.chain(more).collect::<Vec<_>>().join("\n"));
    page.text()
}

/// The options that are not as they are without any.
fn options(job: &JobView) -> Vec<String> {
    let options = &job.options;
    let mut told = Vec::new();
    let mut tell = |is_set: bool, text: String| {
        if is_set {
            told.push(text);
        }
    };
    tell(options.mirror, format!("mirror (at most {} % deleted)", options.max_delete_percent));
    tell(options.checksum, "checksum".to_owned());
    tell(options.verify, "verify".to_owned());
    tell(options.one_file_system, "one file system".to_owned());
    tell(!options.owner, "no owner".to_owned());
    tell(!options.permissions, "no permissions".to_owned());
    tell(!options.xattrs, "no xattrs".to_owned());
    let patterns = options.rules.len() + options.ignore_texts.len();
    tell(patterns > 0, counted(patterns as u64, "filter", "filters"));
    if let Some(limit) = &options.bandwidth {
        told.push(format!("at most {limit}/s"));
    }
    told
}

/// The parts of a job as the graph they are.
fn steps(steps: &[JobStepView]) -> String {
    let mut rows = Rows::new(&["", "step", "state", ">tried", ">items", ">bytes", ">faults"]);
    for step in steps {
        let mark = match step.kind {
            StepKind::ScanSource => "┬",
            StepKind::ScanDestination => "┤",
            StepKind::Delete => "╰",
            _ => "├",
        };
        rows.push([
            mark.to_owned(),
            step.kind.name().to_owned(),
            step_state(step.state).to_owned(),
            step.attempts.to_string(),
            count(step.items),
            if step.bytes == 0 { "–".to_owned() } else { bytes(step.bytes) },
            count(step.faults),
        ]);
    }
    rows.text()
}

const fn step_state(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
    }
}

/// Several lines, none of which drives a terminal.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}
