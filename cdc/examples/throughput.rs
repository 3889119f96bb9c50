//! Prints how fast this machine chunks, in GB/s: each part alone, then whole files.
//!
//! `cargo run --release -p orbit-cdc --example throughput [FILE]` (the best of seven runs each). Without a file it
//! makes 64 MiB of noise in memory; with one, it also chunks the file, from the page cache if it fits there.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use orbit_cdc::{ChunkError, Chunker, ORBIT_64K, Scanner, Source, chunk_source, hash_bytes};
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

const NOISE_LEN: usize = 64 << 20;

/// Fits in a core's own cache.
const CACHED_LEN: usize = 256 << 10;

fn main() -> Result<(), ChunkError> {
    let noise = noise(NOISE_LEN);
    println!("from memory, {} MiB", NOISE_LEN >> 20);
    for scanner in Scanner::available() {
        rate(&format!("scan, {}", scanner.name()), NOISE_LEN, || scan(scanner, &noise));
        rate(&format!("scan in cache, {}", scanner.name()), NOISE_LEN, || {
            (0..NOISE_LEN / CACHED_LEN).for_each(|_| scan(scanner, black_box(&noise[..CACHED_LEN])));
        });
    }
    rate("BLAKE3 of 64 KiB", NOISE_LEN, || {
        noise.chunks(64 << 10).for_each(|chunk| {
            black_box(hash_bytes(chunk));
        });
    });
    rate("chunker on a reader", NOISE_LEN, || {
        black_box(Chunker::from_reader(&ORBIT_64K, noise.as_slice()).count());
    });
    std::env::args_os().nth(1).map_or(Ok(()), |path| {
        let failed = |source| ChunkError::Read { offset: 0, source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        measure_file(&file, len)
    })
}

fn measure_file(file: &File, len: u64) -> Result<(), ChunkError> {
    let source = Source::new(len, |buffer: &mut [u8], offset| read_at(file, buffer, offset));
    println!("from a file, {} MiB", len >> 20);
    for threads in [1, 2, 4] {
        let threads = NonZeroUsize::MIN.saturating_add(threads - 1);
        let mut result = Ok(());
        rate(&format!("chunks on {threads} threads"), len as usize, || {
            let flow = chunk_source(&ORBIT_64K, &source, threads, |chunk| {
                black_box(chunk);
                ControlFlow::<()>::Continue(())
            });
            result = flow.map(drop);
        });
        result?;
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

fn scan(scanner: Scanner, mut data: &[u8]) {
    while !data.is_empty() {
        data = &data[scanner.cut(&ORBIT_64K, data)..];
    }
}

fn rate(name: &str, len: usize, mut run: impl FnMut()) {
    let best = (0..7).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    println!("  {name:30} {:6.2}", len as f64 / best.fold(f64::INFINITY, f64::min) / 1e9);
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let words = (0..len / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
