//! Measures how quickly manifests enter the universe of a Nucleus, and what it takes to hold and ask it:
//! `cargo run --release -p orbit-store --example universe -- [files] [directory]`. `benches/nucleus/universe` runs it.
#![expect(clippy::print_stdout, reason = "a program for people")]

use orbit_core::grid::{Change, Content};
use orbit_core::ids::NodeId;
use orbit_core::{Chunk, ContentHash};
use orbit_store::{LogPosition, Mark, NucleusUniverse, StoreError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Chunks of a file: 4 MiB at 64 KiB each.
const CHUNKS: u64 = 64;
/// Contents of one command of the log.
const COMMITTED_AT_ONCE: u64 = 10_000;
/// Chunks asked for at once.
const ASKED_AT_ONCE: u64 = 100_000;

fn main() -> Result<(), StoreError> {
    let mut words = std::env::args_os().skip(1);
    let files = words.next().and_then(|word| word.to_str()?.parse().ok()).unwrap_or(62_500);
    let place = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = place.join(format!("orbit-universe-{}", std::process::id()));
    let result = std::fs::create_dir_all(&directory).map_or(Ok(()), |()| measure(files, &directory));
    drop(std::fs::remove_dir_all(&directory));
    result
}

fn measure(files: u64, directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("universe_v3.db");
    let universe = NucleusUniverse::open_or_rebuild(&path)?;
    let chunks = files * CHUNKS;
    println!("{files} files of {CHUNKS} chunks; resident {} MB before", memory("VmRSS"));

    let begun = Instant::now();
    let log = Clock::start();
    let holder = NodeId::from_bytes([1; 16]);
    for (index, first) in (0..files).step_by(COMMITTED_AT_ONCE as usize).enumerate() {
        let contents = (first..files.min(first + COMMITTED_AT_ONCE)).map(content).collect();
        let position = Some(LogPosition { term: 1, index: index as u64 });
        universe.commit(&[Change::Contents { holder, contents }], &Mark { position, membership: vec![] })?;
    }
    universe.flush()?;
    log.report("contents from the log", files);

    let load = Clock::start();
    let manifest = |n: u64| (root(n), (0..CHUNKS).map(move |at| chunk(n * CHUNKS + at)));
    let outcome = universe.fill_many((0..files).map(manifest))?;
    assert_eq!((outcome.contents, outcome.chunks), (files, chunks), "all of them were wanted");
    load.report("chunk records loaded", chunks);
    let rate = chunks as f64 / begun.elapsed().as_secs_f64();
    let stats = universe.stats()?;
    println!("records/s entering, the log's part included: {rate:.0}");
    println!("resident: {} MB at most, {} MB now; {stats:?}", memory("VmHWM"), memory("VmRSS"));

    let step = (chunks / ASKED_AT_ONCE).max(1);
    let asked: Vec<_> = (0..chunks.min(ASKED_AT_ONCE)).map(|n| chunk(n * step).hash).collect();
    let look = Clock::start();
    let found = universe.find_many(&asked, 1)?;
    look.report("chunks looked up at once", asked.len() as u64);
    assert!(found.iter().all(|places| places.len() == 1), "all of them are there");
    let asked = &asked[..asked.len() / 10];
    let look = Clock::start();
    asked.iter().try_for_each(|chunk| universe.find(chunk, 1).map(drop))?;
    look.report("chunks looked up one by one", asked.len() as u64);

    let stream = directory.join("stream");
    let create =
        |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let export = Clock::start();
    universe.pin()?.export(&mut create(&stream))?;
    export.report("records exported", chunks);
    drop(universe);
    let mut input = File::open(&stream).unwrap_or_else(|error| panic!("{}: {error}", stream.display()));
    let import = Clock::start();
    NucleusUniverse::import(&directory.join("copy.db"), &mut input)?;
    import.report("records imported", chunks);
    let open = Clock::start();
    let universe = NucleusUniverse::open_or_rebuild(&path)?;
    open.report("universe opened again", 1);
    println!("resident: {} MB at most, {} MB now; {:?}", memory("VmHWM"), memory("VmRSS"), universe.stats()?);
    Ok(())
}

/// Any numbers, evenly spread (splitmix64).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn hash(n: u64) -> ContentHash {
    let mut bytes = [0; 32];
    for (part, at) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *part = mixed(n.wrapping_mul(4).wrapping_add(at)).to_le_bytes();
    }
    bytes.into()
}

fn chunk(n: u64) -> Chunk {
    Chunk { hash: hash(n), len: 65_536 }
}

fn root(n: u64) -> ContentHash {
    hash(n | 1 << 60)
}

fn content(n: u64) -> Content {
    Content { root: root(n), bytes: CHUNKS * 65_536, chunks: CHUNKS as u32 }
}

/// Time on the wall and of the processor.
struct Clock {
    begun: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_seconds() }
    }

    fn report(&self, what: &str, count: u64) {
        let (wall, cpu) = (self.begun.elapsed().as_secs_f64(), cpu_seconds() - self.cpu);
        println!(
            "{what:<28} {count:>9} in {wall:>7.2} s, {cpu:>7.2} s of processor  {:>10.0}/s",
            count as f64 / wall
        );
    }
}

/// User and system time so far, in hundredths of a second as the kernel counts them.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}

/// A line of `/proc/self/status`, in MB.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1000
}
