//! [`Meter`]: turns a run's counters into [`Figures`] with a smoothed rate and the time left.

use crate::render::format::{bytes, count, rate, remaining, shorten};
use orbit_node::standalone::progress::{Limit, Progress, RunPhase};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Over this time the rate follows a change by two thirds.
const SMOOTHING: Duration = Duration::from_secs(3);

/// What creating a file costs beside its bytes, in bytes that could have been copied meanwhile: it makes the time left
/// honest for trees of small files.
const FILE_COST: u64 = 64 * 1024;

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    phase: RunPhase,
    scanned: u64,
    files: (u64, u64),
    bytes: (u64, u64),
    rate: f64,
    left: Option<Duration>,
    limit: Option<Limit>,
    current: String,
}

/// Reads [`Progress`] again and again.
pub struct Meter {
    progress: Arc<Progress>,
    bytes: Smoothed,
    work: Smoothed,
    read_at: Instant,
}

impl Meter {
    /// Starts to measure.
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress, bytes: Smoothed::default(), work: Smoothed::default(), read_at: Instant::now() }
    }

    /// The figures now.
    pub fn read(&mut self) -> Figures {
        let now = Instant::now();
        let since = now - self.read_at;
        self.read_at = now;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let progress = &self.progress;
        let files = (load(&progress.files_done), load(&progress.files_planned));
        let bytes = (load(&progress.bytes_done), load(&progress.bytes_planned));
        let phase = progress.phase();
        let work = |files: u64, bytes: u64| bytes.saturating_add(files.saturating_mul(FILE_COST));
        let done = work(files.0, bytes.0);
        let rate = self.bytes.update(bytes.0, since);
        let speed = self.work.update(done, since);
        let left = work(files.1, bytes.1).saturating_sub(done) as f64 / speed;
        Figures {
            phase,
            scanned: load(&progress.scanned),
            files,
            bytes,
            rate,
            left: (phase == RunPhase::Copying).then(|| Duration::try_from_secs_f64(left).ok()).flatten(),
            limit: progress.limit(),
            current: progress.current(),
        }
    }
}

/// A rate that follows its counter smoothly (exponentially weighted by time).
#[derive(Clone, Copy, Debug, Default)]
struct Smoothed {
    last: u64,
    /// Units a second, from the first step on.
    rate: Option<f64>,
}

impl Smoothed {
    fn update(&mut self, counter: u64, since: Duration) -> f64 {
        let step = counter.saturating_sub(self.last) as f64;
        self.last = counter;
        if since.is_zero() {
            return self.rate.unwrap_or(0.0);
        }
        let now = step / since.as_secs_f64();
        let rate = match self.rate {
            None if step == 0.0 => return 0.0,
            None => now,
            Some(before) => {
                let weight = 1.0 - (-since.as_secs_f64() / SMOOTHING.as_secs_f64()).exp();
                before + (now - before) * weight
            }
        };
        self.rate = Some(rate);
        rate
    }
}

impl Figures {
    /// Two lines for a terminal so wide: the figures, and the file in hand. What does not fit is left out, the least
    /// important first.
    pub fn lines(&self, width: usize) -> String {
        let mut parts = self.parts();
        let joined = |parts: &[String]| parts.join(SEPARATOR);
        while parts.len() > 1 && console::measure_text_width(&joined(&parts)) > width {
            parts.pop();
        }
        let figures = joined(&parts);
        let figures = shorten(&figures, width);
        if self.phase != RunPhase::Copying || self.current.is_empty() {
            return figures.into_owned();
        }
        format!("{figures}\n{}", shorten(&format!("  {}", self.current), width))
    }

    /// The most important first.
    fn parts(&self) -> Vec<String> {
        match self.phase {
            RunPhase::Planning => return self.planning_parts(),
            RunPhase::Finishing => return vec!["finishing: deletions and directories".to_owned()],
            RunPhase::Flushing => return vec!["waiting until everything is safe on the disk".to_owned()],
            RunPhase::Copying => {}
        }
        let mut parts = vec![format!("{:>3} %", percent(self.bytes, self.files))];
        parts.extend(self.left.map(|left| format!("{} left", remaining(left))));
        parts.push(format!("{} of {} files", count(self.files.0), count(self.files.1)));
        parts.push(format!("{} of {}", bytes(self.bytes.0), bytes(self.bytes.1)));
        if self.rate >= 1.0 {
            parts.push(rate(self.rate));
        }
        parts.extend(self.limit.map(|limit| format!("limited by {}", limit_name(limit))));
        parts
    }

    fn planning_parts(&self) -> Vec<String> {
        let mut parts = vec![format!("looking: {} entries", count(self.scanned))];
        if self.bytes.0 > 0 {
            parts.push(format!("{} read", bytes(self.bytes.0)));
            parts.push(rate(self.rate));
        }
        parts
    }
}

const SEPARATOR: &str = "  ";

/// One line.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join(SEPARATOR))
    }
}

/// By bytes; by files where there are none to copy. 100 only when all is done.
fn percent(bytes: (u64, u64), files: (u64, u64)) -> u64 {
    let (done, planned) = if bytes.1 > 0 { bytes } else { files };
    match planned {
        0 => 0,
        _ => (u128::from(done.min(planned)) * 100 / u128::from(planned)) as u64,
    }
}

const fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::SourceRead => "reading the source",
        Limit::DestinationWrite => "writing the destination",
        Limit::Cpu => "the processor",
        Limit::Bandwidth => "--bwlimit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            phase: RunPhase::Copying,
            scanned: 50_000,
            files: (12_345, 50_000),
            bytes: (1_200_000_000, 4_500_000_000),
            rate: 210_000_000.0,
            left: Some(Duration::from_secs(16)),
            limit: Some(Limit::DestinationWrite),
            current: "photos/2024/summer/on the beach/IMG_20240715_0001.JPG".to_owned(),
        }
    }

    #[test]
    fn displays() {
        let phase = |phase| Figures { phase, ..figures() };
        let fresh = Figures { files: (0, 3), bytes: (0, 0), rate: 0.0, left: None, limit: None, ..figures() };
        let shown = [
            figures().lines(120),
            figures().lines(40),
            fresh.lines(120),
            phase(RunPhase::Planning).lines(80),
            phase(RunPhase::Finishing).lines(80),
            phase(RunPhase::Flushing).lines(80),
        ];
        insta::assert_snapshot!(shown.join("\n---\n"));
    }

    #[test]
    fn no_width_overflows() {
        for width in 0..130 {
            let widest = figures().lines(width).lines().map(console::measure_text_width).max();
            assert!(widest.unwrap_or(0) <= width);
        }
    }

    #[test]
    fn a_rate_settles_and_never_jumps() {
        let mut smoothed = Smoothed::default();
        let tick = Duration::from_millis(100);
        assert!(smoothed.update(0, tick).abs() < 1e-9, "nothing yet");
        let mut counter = 0;
        for _ in 0..10 {
            counter += 1000;
            assert!((smoothed.update(counter, tick) - 10_000.0).abs() < 1e-6);
        }
        let stalled = smoothed.update(counter, tick);
        assert!((9_000.0..10_000.0).contains(&stalled), "one silent tick is not a stop: {stalled}");
        let later = (0..100).fold(0.0, |_, _| smoothed.update(counter, tick));
        assert!(later < 1_000.0, "ten silent seconds are: {later}");
    }

    #[test]
    fn a_meter_reads_what_workers_write() {
        let progress = Arc::new(Progress::default());
        let mut meter = Meter::new(Arc::clone(&progress));
        assert_eq!(meter.read().to_string(), "looking: 0 entries");
        progress.set_phase(RunPhase::Copying);
        progress.files_planned.store(2, Ordering::Relaxed);
        progress.bytes_planned.store(2000, Ordering::Relaxed);
        progress.files_done.store(1, Ordering::Relaxed);
        progress.bytes_done.store(1000, Ordering::Relaxed);
        let figures = meter.read();
        assert_eq!((figures.files, figures.bytes), ((1, 2), (1000, 2000)));
        assert!(figures.rate > 0.0 && figures.left.is_some());
    }
}
