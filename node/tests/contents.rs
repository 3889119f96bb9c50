//! The way of contents in a real grid: hashed on a star, recorded by the Nucleus, their chunks indexed on every seat.
#![cfg(target_os = "linux")]

mod fixture;

use fixture::{DAYS, Daemon, LOOPBACK, token, wait, wait_ready};
use orbit_core::system::{ChunkDetail, OrbitSystem};
use orbit_core::{Chunk, ContentHash, RelPath};
use orbit_node::daemon::{InitOptions, JoinOptions, init, join};
use orbit_node::remote::RemoteSystem;
use orbit_store::{NucleusStore, NucleusUniverse};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory with two files that were written long enough ago to be remembered.
fn files(place: &Path, name: &str, seed: u8) -> PathBuf {
    let directory = place.join(format!("{name}-files"));
    std::fs::create_dir(&directory).expect("makes a directory");
    let mut state = u64::from(seed);
    let mut bytes = |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    std::fs::write(directory.join("large"), bytes(2 << 20)).expect("writes");
    std::fs::write(directory.join("small"), bytes(5000)).expect("writes");
    directory
}

/// Hashes a file of `node`, asked through the daemon of `asked`.
fn hash(asked: &Daemon, node: &str, directory: &Path, name: &str) -> (ContentHash, Vec<Chunk>) {
    let link = asked.client().star_link(node);
    let (system, _) = RemoteSystem::open(link, directory.as_os_str().as_bytes().to_vec()).expect("opens");
    let mut chunks = Vec::new();
    let path = RelPath::new(name).expect("a path");
    let root = system.chunk(&path, ChunkDetail::Chunks, &mut |chunk| chunks.push(chunk)).expect("hashes");
    (root, chunks)
}

/// The universe of a node's seat, if there is one, and how many runs it has.
fn universe(daemon: &Daemon) -> Option<(PathBuf, usize)> {
    let generation = std::fs::read_dir(daemon.place.join("nucleus")).ok()?.find_map(|entry| {
        let path = entry.ok()?.path();
        path.join("universe_v3.db").exists().then_some(path)
    })?;
    let runs = std::fs::read_dir(generation.join("universe_v3.db.runs")).ok()?.count();
    Some((generation.join("universe_v3.db"), runs))
}

fn opened(daemon: &Daemon) -> NucleusUniverse {
    let (path, _) = universe(daemon).expect("it has a seat");
    NucleusUniverse::open_or_rebuild(&path).expect("opens")
}

#[test]
fn what_stars_hash_for_the_grid_is_found_on_every_seat() {
    let place = tempfile::tempdir().expect("a directory");
    let (here, there) = (files(place.path(), "nas1", 1), files(place.path(), "nas2", 2));
    let options = InitOptions {
        name: Some("nas1".into()),
        listen: vec![LOOPBACK.into()],
        allow: vec![here.clone()],
        no_mdns: true,
        ..InitOptions::default()
    };
    init(&place.path().join("nas1"), &options).expect("founds a grid");
    let mut nas1 = Daemon::new(&place.path().join("nas1"), DAYS);
    nas1.start();
    let options = JoinOptions {
        token: token(&nas1, 1),
        via: Some(nas1.address()),
        name: Some("nas2".into()),
        listen: vec![LOOPBACK.into()],
        allow: vec![there.clone()],
        no_mdns: true,
        ..JoinOptions::default()
    };
    join(&place.path().join("nas2"), &options).expect("joins");
    let mut nas2 = Daemon::new(&place.path().join("nas2"), DAYS);
    nas2.start();
    wait_ready(&nas1, "nas2");
    let settled =
        || there.join("small").metadata().and_then(|file| file.modified()).expect("looks").elapsed();
    wait("the files being old enough", || {
        settled().is_ok_and(|ago| ago > Duration::from_millis(2200)).then_some(())
    });

    let large = hash(&nas1, "nas1", &here, "large");
    let other = hash(&nas1, "nas2", &there, "large");
    let small = hash(&nas2, "nas2", &there, "small");
    assert_ne!(large.0, other.0);
    // The second node becomes a learner by itself, and indexes what the first one holds, too.
    for daemon in [&nas1, &nas2] {
        wait("chunks being indexed", || universe(daemon).filter(|(_, runs)| *runs > 0));
    }
    // Whatever is still on its way comes in these seconds.
    wait("nothing being wanted any more", || {
        let status = fixture::status(&nas1);
        status.rebuilding.is_none().then_some(())
    });
    let holders = |universe: &NucleusUniverse, of: &(ContentHash, Vec<Chunk>)| -> Option<usize> {
        let places = universe.find(&of.1[0].hash, 10).expect("asks");
        places.iter().find(|place| place.root == of.0).map(|place| place.holders.len())
    };
    for daemon in [&mut nas1, &mut nas2] {
        // A load that was cut off by the stop is done again after the next start.
        wait("all three contents on both", || {
            daemon.stop();
            let found = {
                let universe = opened(daemon);
                [&large, &other, &small].map(|content| holders(&universe, content))
            };
            daemon.start();
            (found == [Some(1); 3]).then_some(()).or_else(|| {
                std::thread::park_timeout(Duration::from_secs(6));
                None
            })
        });
    }
    // The cache is not what says it: the records do.
    nas1.stop();
    let store = NucleusStore::open(&nas1.place.join("nucleus")).expect("opens").expect("is there");
    assert_eq!(store.universe().get().stats().expect("measures").contents, 3);
}
