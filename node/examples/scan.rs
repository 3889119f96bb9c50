//! Measures walks: `scan TREE [THREADS] [ROUNDS]` walks one tree; with `--double`, two walks of it side by side, merged
//! as a sync without changes would.

use orbit_core::filter::KeepAll;
use orbit_core::system::{Scan, ScanOptions};
use orbit_core::{Listing, RelPath};
use orbit_node::local::jail::Jail;
use orbit_node::local::scanner::LocalScan;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let double = arguments.iter().position(|a| a == "--double").map(|at| arguments.remove(at)).is_some();
    let tree = arguments.first().expect("usage: scan TREE [THREADS] [ROUNDS] [--double]");
    let number = |at: usize| arguments.get(at).map(|text| text.parse().expect("a number"));
    let (threads, rounds) = (number(1).unwrap_or(2), number(2).unwrap_or(5));
    for _ in 0..rounds {
        let begin = Instant::now();
        let mut scans: Vec<_> = (0..=usize::from(double)).map(|_| start(Path::new(tree), threads)).collect();
        let (mut entries, mut differences) = (0, 0);
        while let Some(first) = next(&mut scans[0]) {
            entries += first.len();
            if double {
                let second = next(&mut scans[1]).expect("the same tree twice");
                let same = first.iter().zip(second.iter()).filter(|(a, b)| a == b).count();
                differences += first.len() - same;
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        let ahead = scans.iter().map(LocalScan::ahead_entries_max).max().unwrap_or_default();
        let resident = peak_resident_kib();
        writeln!(
            std::io::stdout(),
            "{entries} entries, {differences} differ, {seconds:.3} s, {:.2} M entries/s, {ahead} ahead, {resident} KiB resident at most",
            entries as f64 / seconds / 1e6
        )
        .expect("standard output takes it");
    }
}

fn start(tree: &Path, threads: usize) -> LocalScan {
    let options =
        ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads };
    LocalScan::start(Arc::new(Jail::open(tree).expect("the tree opens")), &options).expect("the walk starts")
}

fn next(scan: &mut LocalScan) -> Option<Listing> {
    scan.next().map(|result| result.expect("no fault"))
}

fn peak_resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
