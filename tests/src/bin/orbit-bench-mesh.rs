//! How long a star takes to answer something small, from this machine's daemon and back: the first bytes of a file,
//! asked again and again on an open session.
//!
//! ```text
//! orbit-bench-mesh DATA_DIR NODE:PATH [COUNT]
//! ```
//!
//! Prints one JSON object: percentiles in microseconds of `read_header`, and of opening a session for each question.
#![cfg(target_os = "linux")]

use orbit_core::system::OrbitSystem;
use orbit_node::api::client::ApiClient;
use orbit_node::remote::RemoteSystem;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error>;

/// Bytes asked for.
const HEADER_BYTES: usize = 64;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, endpoint, rest @ ..] = words.as_slice() else {
        return Err("orbit-bench-mesh DATA_DIR NODE:PATH [COUNT]".into());
    };
    let (node, path) = endpoint.split_once(':').ok_or("NODE:PATH has a colon")?;
    let count: usize = rest.first().map_or(Ok(5000), |count| count.parse())?;
    let client = ApiClient::connect(Path::new(data_dir))?;
    let open = || RemoteSystem::open(client.star_link(node), path.as_bytes().to_vec());
    let (system, start) = open()?;
    let header = || system.read_header(&start, HEADER_BYTES);
    for _ in 0..count / 10 {
        header()?;
    }
    let dispatch = timed(count, || header().map(drop))?;
    let session = timed(count / 10, || {
        let (system, start) = open()?;
        system.read_header(&start, HEADER_BYTES)?;
        Ok::<_, Failure>(())
    })?;
    let line = serde_json::json!({ "read_header": percentiles(dispatch), "open_and_read_header": percentiles(session) });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn timed<E: Into<Failure>>(count: usize, work: impl Fn() -> Result<(), E>) -> Result<Vec<Duration>, Failure> {
    let one = |_| {
        let begun = Instant::now();
        work().map(|()| begun.elapsed())
    };
    (0..count).map(one).collect::<Result<_, E>>().map_err(Into::into)
}

fn percentiles(mut times: Vec<Duration>) -> serde_json::Value {
    times.sort_unstable();
    let at = |per_mille: usize| times.get(times.len() * per_mille / 1000).map(|time| time.as_micros() as u64);
    serde_json::json!({
        "count": times.len(), "p50_us": at(500), "p90_us": at(900), "p99_us": at(990), "p999_us": at(999),
        "max_us": times.last().map(|time| time.as_micros() as u64),
    })
}
