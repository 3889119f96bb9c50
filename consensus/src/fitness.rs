//! [`disk_fitness`]: whether a disk is quick enough to hold a voter's log.
//!
//! A voter answers only after its log entry is durable, so the time of a small append with `fdatasync` is a floor under
//! every change of the grid's state, and a stall longer than an election's patience costs a leader.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Appends that are measured, unless [`TIME_MAX`] ends it earlier.
pub const SAMPLES: usize = 32;

/// The measurement ends after the append that passes this.
pub const TIME_MAX: Duration = Duration::from_secs(3);

/// Bytes of one append: about one small log entry.
const APPEND_LEN: usize = 512;

/// A median up to this suits a voter: solid-state disks and disks with a safe write cache stay well below.
pub const P50_GOOD: Duration = Duration::from_millis(10);

/// A 99th percentile up to this leaves room within a heartbeat interval of 100 to 150 ms.
pub const P99_GOOD: Duration = Duration::from_millis(50);

/// Above this a stalled append alone can outlast an election timeout of 500 ms with its heartbeats.
pub const P99_BAD: Duration = Duration::from_millis(250);

/// Whether the disk suits a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within [`P50_GOOD`] and [`P99_GOOD`].
    Good,
    /// Usable, but changes of the grid's state will be slow.
    Slow,
    /// Beyond [`P99_BAD`]: this node should stay a star.
    Unfit,
}

/// Times of small durable appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fitness {
    /// Median.
    pub p50: Duration,
    /// 99th percentile: with few samples, the slowest.
    pub p99: Duration,
    /// Appends that were measured.
    pub samples: usize,
}

/// Why a disk could not be measured.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct FitnessError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Fitness {
    /// Judges by the thresholds above.
    pub fn verdict(&self) -> Verdict {
        if self.p99 > P99_BAD {
            Verdict::Unfit
        } else if self.p50 <= P50_GOOD && self.p99 <= P99_GOOD {
            Verdict::Good
        } else {
            Verdict::Slow
        }
    }

    /// Percentiles by nearest rank of at least one sample.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Self { p50: rank(50), p99: rank(99), samples: times.len() }
    }
}

/// Measures up to [`SAMPLES`] appends with `fdatasync` in a new file in `directory`, which is removed again.
pub fn disk_fitness(directory: &Path) -> Result<Fitness, FitnessError> {
    let path = directory.join(format!(".orbit-fitness-{}", std::process::id()));
    let failed = |operation| {
        let path = path.clone();
        move |source| FitnessError { operation, path, source }
    };
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(failed("create"))?;
    // Unlinked at once where the system allows it, so that not even a kill leaves it behind.
    let unlinked = cfg!(unix) && fs::remove_file(&path).is_ok();
    let times = append_times(&mut file).map_err(failed("append to"));
    drop(file);
    if !unlinked {
        fs::remove_file(&path).map_err(failed("remove"))?;
    }
    times.map(Fitness::of)
}

fn append_times(file: &mut File) -> io::Result<Vec<Duration>> {
    // The first append also allocates the file's first extent; a log in use has that behind it.
    append(file)?;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(SAMPLES);
    while times.len() < SAMPLES && (times.is_empty() || begun.elapsed() < TIME_MAX) {
        times.push(append(file)?);
    }
    Ok(times)
}

fn append(file: &mut File) -> io::Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[0; APPEND_LEN])?;
    file.sync_data()?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let fitness = disk_fitness(directory.path()).expect("a writable disk");
        assert!(fitness.samples >= 1 && fitness.p50 <= fitness.p99);
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = disk_fitness(Path::new("/nowhere/at/all")).expect_err("missing");
        assert!(error.to_string().starts_with("cannot create /nowhere/at/all/"), "{error}");
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times = |n: u64| (1..=n).rev().map(Duration::from_millis).collect::<Vec<_>>();
        let hundred = Fitness::of(times(100));
        assert_eq!((hundred.p50.as_millis(), hundred.p99.as_millis()), (50, 99));
        let one = Fitness::of(times(1));
        assert_eq!((one.p50, one.p99), (Duration::from_millis(1), Duration::from_millis(1)));
        assert_eq!(Fitness::of(times(32)).p99, Duration::from_millis(32));
    }

    #[test]
    fn verdicts_at_the_thresholds() {
        let verdict = |p50, p99| Fitness { p50, p99, samples: SAMPLES }.verdict();
        let more = Duration::from_nanos(1);
        assert_eq!(verdict(P50_GOOD, P99_GOOD), Verdict::Good);
        assert_eq!(verdict(P50_GOOD + more, P99_GOOD), Verdict::Slow);
        assert_eq!(verdict(P50_GOOD, P99_BAD), Verdict::Slow);
        assert_eq!(verdict(P50_GOOD, P99_BAD + more), Verdict::Unfit);
    }
}
