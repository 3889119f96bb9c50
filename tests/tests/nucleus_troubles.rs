//! Voters with a full disk, or a clock that is hours off.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::group::others;
use orbit_tests::mount::Mount;
use orbit_tests::orbit::{Exit, faketime};
use orbit_tests::report::say;
use orbit_tests::wait::until;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Room for a log, the databases and a snapshot of a small grid.
const DISK: &str = "size=96m,mode=700";

/// Fills a file system to the last byte. Removing the file frees it.
fn fill(directory: &Path) -> PathBuf {
    let path = directory.join("filler");
    let mut file = File::create(&path).expect("makes a file");
    for size in [1 << 20, 4096, 1] {
        let piece = vec![1; size];
        while file.write_all(&piece).is_ok() {}
    }
    path
}

#[test]
fn a_voter_with_a_full_disk_says_so_and_comes_back() {
    let grid = Grid::loopback(3);
    let mut disks = Vec::new();
    for node in grid.nodes() {
        fs::create_dir_all(node.data_dir()).expect("makes a directory");
        let Some(disk) = Mount::tmpfs_at(&node.data_dir(), DISK) else { return };
        disks.push(disk);
    }
    grid.assemble();
    grid.wait_until_voting(0, 3);
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let [full, other] = others(3, &[nucleus])[..] else { panic!("two others") };
    let mut number = 0;
    let mut write = || {
        number += 1;
        let name = format!("full-{number}");
        grid.node(other).run(["constellation", "create", &name]).expect(Exit::Done);
        name
    };

    // A follower's.
    let filler = fill(disks[full].path());
    let full_name = grid.node(full).name();
    until("it is told of", || {
        write();
        let run = grid.node(other).run(["status"]);
        run.stdout.contains(full_name) && run.says("disk")
    });
    let told = grid.node(other).run(["status"]);
    say(&format!("with the disk of {full_name} full: {}", told.stdout.trim()));
    let log = grid.node(full).log().to_lowercase();
    assert!(log.contains("no space left"), "{log}");
    assert_eq!(grid.nucleus_among(&[nucleus, other]), nucleus);
    fs::remove_file(filler).expect("removes");
    grid.wait_until_voting(nucleus, 3);
    assert!(grid.node(full).is_running());

    // The Nucleus's: another takes its place.
    let filler = fill(disks[nucleus].path());
    let begun = Instant::now();
    let last = write();
    until("another leads", || {
        write();
        grid.node(other).is_nucleus() || grid.node(full).is_nucleus()
    });
    say(&format!("another leads {} ms after the Nucleus's disk was full", begun.elapsed().as_millis()));
    assert!(grid.node(other).constellations().contains(&last));
    fs::remove_file(filler).expect("removes");
    grid.wait_until_voting(other, 3);
    let wanted = grid.node(other).constellations();
    assert_eq!(grid.node(nucleus).constellations(), wanted);
}

#[test]
fn a_clock_that_is_hours_off_disturbs_no_leader_and_no_token() {
    let Some(library) = faketime("a clock that is hours off on a voter") else { return };
    let grid = Grid::loopback(4);
    grid.assemble_first(3);
    grid.wait_until_voting(0, 3);
    let nucleus = grid.nucleus_among(&[0, 1, 2]);
    let moved = grid.node(others(3, &[nucleus])[0]);
    let term = grid.node(nucleus).status().expect("is the Nucleus")["term"].clone();
    let shift = |shift: &str| {
        assert!(moved.stop().success(), "{}", moved.log());
        moved.clear_variables();
        moved.set_variable("LD_PRELOAD", &library);
        moved.set_variable("FAKETIME", shift);
        moved.set_variable("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        moved.set_variable("DONT_FAKE_MONOTONIC", "1");
        moved.restart();
        moved.wait_until_ready();
    };
    let expect_undisturbed = || {
        let status = grid.node(nucleus).status().expect("is the Nucleus");
        assert_eq!((&status["nucleus"], &status["term"]), (&grid.node(nucleus).name().into(), &term));
    };
    for (by, ahead_ms) in [("+5h", 18_000_000), ("-30m", -1_800_000)] {
        let token = grid.node(nucleus).token(&["--ttl", "1h"]);
        shift(by);
        grid.wait_until_voting(nucleus, 3);
        until("the clock is noticed", || {
            let ahead_seen_ms = grid.node(nucleus).show(moved.name())["clock_ahead_ms"].as_i64();
            ahead_seen_ms.is_some_and(|seen_ms| (seen_ms - ahead_ms).abs() < 60_000)
        });
        grid.node(nucleus).run(["status"]).expect_says("clock").expect_says(moved.name());
        // A token of an hour works through it, and one that it creates works for an hour.
        let joiner = grid.node(3);
        for token in [token, moved.token(&["--ttl", "1h"])] {
            joiner.join(&token, &["--via".to_owned(), moved.address()]);
            joiner.wait_until_ready();
            joiner.run(["node", "leave", "-y"]).expect(Exit::Done);
            joiner.wait_for_end();
        }
        expect_undisturbed();
    }
    // So far behind that the others' certificates seem to begin in the future, it can take no part.
    shift("-5h");
    until("it knows of no Nucleus", || moved.status().is_some_and(|status| status["nucleus"].is_null()));
    moved.run(["doctor"]).expect_says("clock");
    grid.node(nucleus).run(["constellation", "create", "undisturbed"]).expect(Exit::Done);
    expect_undisturbed();
    assert!(moved.stop().success(), "{}", moved.log());
    moved.clear_variables();
    moved.restart();
    grid.wait_until_voting(nucleus, 3);
    expect_undisturbed();
}
