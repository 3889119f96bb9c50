//! Prints how fast this machine scans, in GB/s.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use orbit_cdc::{ORBIT_64K, Scanner, hash_bytes};
use std::hint::black_box;
use std::time::Instant;

const LEN: usize = 64 << 20;

fn main() {
    let data = noise(LEN);
    for scanner in Scanner::available() {
        let mut count = 0;
        rate(&format!("scan, {}", scanner.name()), || {
            count = 0;
            let mut rest = data.as_slice();
            while !rest.is_empty() {
                rest = &rest[scanner.cut(&ORBIT_64K, rest)..];
                count += 1;
            }
        });
        println!("   average {}", LEN / count);
    }
    rate("BLAKE3 64k", || {
        for c in data.chunks(65536) {
            black_box(hash_bytes(c));
        }
    });
    // in cache
    let small = &data[..256 * 1024];
    for scanner in Scanner::available() {
        rate(&format!("scan cached, {}", scanner.name()), || {
            for _ in 0..LEN / small.len() {
                let mut rest = small;
                while !rest.is_empty() {
                    rest = &rest[scanner.cut(&ORBIT_64K, rest)..];
                }
            }
        });
    }
}

fn rate(name: &str, mut run: impl FnMut()) {
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:30} {:6.2} GB/s", LEN as f64 / best.as_secs_f64() / 1e9);
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..len / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect()
}
