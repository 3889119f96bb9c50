//! The group of voters.

use crate::print;
use orbit_simulations::group::{Keep, Options, Plant, Report, Tally, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a long run says how far it is.
const SAYS_EVERY: Duration = Duration::from_secs(10);
/// Lines of a log that are printed when a seed of many fails.
const LINES_MAX: usize = 400;

/// Which seeds.
pub struct Request {
    from: u64,
    count: u64,
    jobs: usize,
    is_single: bool,
    goes_on: bool,
    options: Options,
}

impl Request {
    /// What was typed; none if it is not understood.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut request = Self {
            from: 0,
            count: 300,
            jobs: 1,
            is_single: false,
            goes_on: false,
            options: Options::default(),
        };
        while let Some(name) = arguments.next() {
            if name == "--keep-going" {
                request.goes_on = true;
                continue;
            }
            let value = arguments.next()?;
            let number = || value.parse::<u64>().ok();
            match name.as_str() {
                "--seed" => {
                    (request.from, request.count, request.is_single) = (number()?, 1, true);
                    request.options.keep = Keep::Lines;
                }
                "--seeds" => request.count = number()?,
                "--from" => request.from = number()?,
                "--jobs" => request.jobs = usize::try_from(number()?).ok().filter(|jobs| *jobs > 0)?,
                "--voters" => {
                    let voters = u8::try_from(number()?).ok().filter(|voters| [1, 3, 5].contains(voters))?;
                    request.options.voters = Some(voters);
                }
                "--plant" => {
                    request.options.plant = Some(Plant::ALL.into_iter().find(|plant| plant.name() == value)?);
                }
                _ => return None,
            }
        }
        Some(request)
    }
}

struct Progress {
    tally: Tally,
    failed: Vec<u64>,
    said: Instant,
}

/// Plays them, up to the first that breaks a rule, or all.
pub fn play(request: &Request) -> ExitCode {
    let begun = Instant::now();
    if request.is_single {
        let report = run(request.from, &request.options);
        print(&report.log);
        print(&report.violations);
        print(&[summary(&report.tally, begun), format!("trace {:016x}", report.hash)]);
        return if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let next = AtomicU64::new(request.from);
    let end = request.from.saturating_add(request.count);
    let progress = Mutex::new(Progress { tally: Tally::default(), failed: Vec::new(), said: begun });
    std::thread::scope(|scope| {
        for _ in 0..request.jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(seed, &request.options);
                    let mut progress = progress.lock().expect("printing does not panic");
                    note(&mut progress, request, &report, begun);
                    if !progress.failed.is_empty() && !request.goes_on {
                        next.store(end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut progress = progress.into_inner().expect("printing does not panic");
    progress.failed.sort_unstable();
    print(&[summary(&progress.tally, begun)]);
    let Some(first) = progress.failed.first().copied() else {
        print(&[format!("seeds from {} on: no rule broken", request.from)]);
        return ExitCode::SUCCESS;
    };
    let report = run(first, &Options { keep: Keep::Lines, ..request.options });
    let skipped = report.log.len().saturating_sub(LINES_MAX);
    print(&report.log[skipped..]);
    print(&report.violations);
    let voters = request.options.voters.map_or_else(String::new, |voters| format!(" --voters {voters}"));
    let plant = request.options.plant.map_or_else(String::new, |plant| format!(" --plant {}", plant.name()));
    print(&[
        format!("seeds that broke a rule: {:?}", progress.failed),
        format!("the first is played again with: orbit-sim group --seed {first}{voters}{plant}"),
    ]);
    ExitCode::FAILURE
}

fn note(progress: &mut Progress, request: &Request, report: &Report, begun: Instant) {
    progress.tally.add(&report.tally);
    if let Some(violation) = report.violations.first() {
        progress.failed.push(report.seed);
        print(&[format!("seed {}: {violation}", report.seed)]);
    }
    if progress.said.elapsed() > SAYS_EVERY {
        progress.said = Instant::now();
        let rate = progress.tally.seeds as f64 / begun.elapsed().as_secs_f64();
        let (done, all) = (progress.tally.seeds, request.count);
        print(&[format!("{done} of {all} seeds, {rate:.1} seeds/s, {} failed", progress.failed.len())]);
    }
}

fn summary(tally: &Tally, begun: Instant) -> String {
    let took = begun.elapsed().as_secs_f64();
    let Tally { seeds, events, virtual_ms, messages, restarts, acknowledged, operations, .. } = tally;
    format!(
        "{seeds} seeds in {took:.1} s ({:.1} seeds/s, {:.0} × real time): {events} events, {messages} messages, \
         {restarts} restarts, {} terms led, {} changes of voters, {acknowledged} writes acknowledged, \
         {operations} operations ordered ({} registers undecided), {} states compared, {} tokens used, \
         {} commands obeyed",
        *seeds as f64 / took,
        *virtual_ms as f64 / 1000.0 / took,
        tally.terms,
        tally.changes,
        tally.undecided,
        tally.compared,
        tally.admitted,
        tally.obeyed,
    )
}
