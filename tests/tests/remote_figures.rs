//! What it costs to ask a star instead of the own disk: time and bytes on the wire.
//!
//! `cargo test --release -p orbit-tests --test remote_figures` prints the figures; without `--release` they are of a small tree
//! and mean little. `ORBIT_FIGURES_FILES` sets another number of files.
#![cfg(target_os = "linux")]

use orbit_core::filter::KeepAll;
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions};
use orbit_core::{ByteRange, RelPath};
use orbit_node::local::jail::Jail;
use orbit_node::local::system::LocalSystem;
use orbit_tests::random::Random;
use orbit_tests::report::say;
use orbit_tests::star::Star;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const IS_FAST: bool = !cfg!(debug_assertions);

/// Directories of 100 files of a few bytes, with names as people and programs give them, touched over some years.
fn plant(root: &Path, files: usize) {
    const STEMS: [&str; 8] = ["IMG_", "report-", "index", "lib", "data.", "backup-2026-", "mod_", "Notes "];
    const ENDS: [&str; 6] = [".jpg", ".txt", ".rs", ".o", ".json", ""];
    let mut random = Random::new(7);
    let threads = 2;
    let parts: Vec<Random> = (0..threads).map(|_| Random::new(random.next_u64())).collect();
    std::thread::scope(|scope| {
        for (part, mut random) in parts.into_iter().enumerate() {
            scope.spawn(move || {
                for directory in (part..files.div_ceil(100)).step_by(threads) {
                    let above = root.join(format!("area-{}/project {}", directory % 17, directory / 100));
                    let directory = above.join(format!("{directory:03x}"));
                    std::fs::create_dir_all(&directory).expect("makes a directory");
                    for number in 0..100 {
                        let (stem, end) = (random.pick(&STEMS), random.pick(&ENDS));
                        let name = format!("{stem}{:05}{end}", number * 37 + random.below(30));
                        let file = File::create(directory.join(name)).expect("makes a file");
                        let bits = random.between(1, 10);
                        let len = random.below(1 << bits);
                        file.set_len(len).expect("sets its length");
                        let time =
                            Duration::from_nanos(random.between(1_500_000_000 << 30, 1_760_000_000 << 30));
                        file.set_modified(std::time::UNIX_EPOCH + time).expect("sets a time");
                    }
                }
            });
        }
    });
}

fn local(root: &Path) -> LocalSystem {
    LocalSystem::new(Arc::new(Jail::open(root).expect("opens")))
}

/// What a walk took.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Took {
    /// On the clock.
    wall: f64,
    /// Of all processors, in this process: both ends, if there are two. Others' work does not count.
    cpu: f64,
}

fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(of: &mut [Took], by: impl Fn(&Took) -> f64) -> f64 {
    of.sort_by(|a, b| by(a).total_cmp(&by(b)));
    by(&of[of.len() / 2])
}

fn walk(system: &dyn OrbitSystem) -> (usize, Took) {
    let options =
        ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: true, threads: 2 };
    let (begun, cpu_before) = (Instant::now(), cpu());
    let mut scan = system.scan(&options).expect("starts");
    let mut entries = 0;
    while let Some(next) = scan.next() {
        entries += next.expect("reads").len();
    }
    (entries, Took { wall: begun.elapsed().as_secs_f64(), cpu: cpu() - cpu_before })
}

#[test]
fn a_remote_scan_against_a_local_one() {
    let files = std::env::var("ORBIT_FIGURES_FILES").ok().and_then(|files| files.parse().ok());
    let files = files.unwrap_or(if IS_FAST { 1_000_000 } else { 20_000 });
    let root = tempfile::Builder::new().prefix("orbit-figures-").tempdir().expect("makes a directory");
    plant(root.path(), files);
    let star = Star::allowing(&[root.path()]);
    let (remote, _) = star.open(root.path()).expect("opens");
    let local = local(root.path());
    let (mut here, mut there) = (Vec::new(), Vec::new());
    walk(&local);
    let rounds = if IS_FAST { 5 } else { 1 };
    let mut bytes = 0;
    for _ in 0..rounds {
        let before = star.traffic.received() + star.traffic.sent();
        let (entries, took) = walk(&remote);
        bytes = star.traffic.received() + star.traffic.sent() - before;
        there.push(took);
        let (same, took) = walk(&local);
        here.push(took);
        assert_eq!(entries, same);
        assert!(entries >= files);
    }
    let (entries, _) = walk(&local);
    let [wall_here, wall_there] = [&mut here, &mut there].map(|all| median(all, |took| took.wall));
    let [cpu_here, cpu_there] = [&mut here, &mut there].map(|all| median(all, |took| took.cpu));
    let ratio = wall_there / wall_here;
    let each = bytes as f64 / entries as f64;
    say(&format!(
        "figures: scan of {entries} entries: local {wall_here:.2} s (processor {cpu_here:.2}), remote {wall_there:.2} s \
         (processor {cpu_there:.2}, both ends), ratio {ratio:.2} (bar 1.3), of processor time {:.2}; {each:.1} bytes an \
         entry on the wire (bar 20)",
        cpu_there / cpu_here
    ));
    assert!(each < 20.0, "{each:.1} bytes an entry");
    assert!(!IS_FAST || ratio < 1.3, "{ratio:.2} times as long");
}

#[test]
fn a_remote_hash_sends_next_to_nothing() {
    let root = tempfile::Builder::new().prefix("orbit-figures-").tempdir().expect("makes a directory");
    let len: u64 = if IS_FAST { 4 << 30 } else { 64 << 20 };
    let file = File::create(root.path().join("image")).expect("makes a file");
    let mut block = Random::new(9).bytes(8 << 20);
    for number in 0..len / block.len() as u64 {
        block.iter_mut().step_by(4099).for_each(|byte| *byte = byte.wrapping_add(number as u8 | 1));
        file.write_all_at(&block, number * block.len() as u64).expect("writes");
    }
    let star = Star::allowing(&[root.path()]);
    let (remote, _) = star.open(root.path()).expect("opens");
    let path = RelPath::new("image").expect("a path");
    let traffic = || star.traffic.received() + star.traffic.sent();
    let measure = |what: &str, hash: &mut dyn FnMut() -> String| {
        let (before, begun) = (traffic(), Instant::now());
        let hash = hash();
        let (bytes, took) = (traffic() - before, begun.elapsed());
        say(&format!(
            "figures: {what} of {} MB: {took:.2?}, {bytes} bytes on the wire ({})",
            len >> 20,
            &hash[..8]
        ));
        bytes
    };
    let all = measure("chunks", &mut || {
        let mut sum = 0;
        let root = remote.chunk(&path, ChunkDetail::Chunks, &mut |chunk| sum += u64::from(chunk.len));
        assert_eq!(sum, len);
        root.expect("hashes").to_string()
    });
    let root_only = measure("root only", &mut || {
        remote.chunk(&path, ChunkDetail::RootOnly, &mut |_| ()).expect("hashes").to_string()
    });
    let range = measure("whole range", &mut || {
        remote.hash_range(&path, ByteRange::first(len)).expect("hashes").to_string()
    });
    assert!(all < len / 100 && root_only < 1000 && range < 1000);
}
