//! The power fails: what a run reported as done is on the disk, and every file is old or new.
#![cfg(target_os = "linux")]

use orbit_tests::between::{Between, STAGE};
use orbit_tests::mount::Mount;
use orbit_tests::orbit::Exit;
use orbit_tests::random::Random;
use orbit_tests::report::say;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_none};
use orbit_tests::tree::{Tree, copy};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const FLAGS: [&str; 3] = ["--mirror", "--max-delete", "100"];

/// A disk that may lose its power.
struct Disk {
    // Unmounted in this order.
    inner: Mount,
    _outer: Mount,
    options_after: &'static str,
}

impl Disk {
    /// One whose file system does as little as it may by itself.
    fn new(mkfs: &[&str], megabytes: u64, options: &str, options_after: &'static str) -> Option<Self> {
        let outer = Mount::image(&["mkfs.xfs", "-q"], 2_000)?;
        let inner = Mount::image_in(outer.path(), mkfs, megabytes, options)?;
        Some(Self { inner, _outer: outer, options_after })
    }

    fn ext4() -> Option<Self> {
        Self::new(&["mkfs.ext4", "-q"], 200, "loop,noauto_da_alloc,commit=600", "loop")
    }

    fn xfs() -> Option<Self> {
        Self::new(&["mkfs.xfs", "-q"], 320, "loop", "loop,nouuid")
    }

    /// A picture of a directory as it is after a power cut now.
    fn after_cut(&self, name: &str) -> Option<Snapshot> {
        let after = self.inner.after_power_cut(self.options_after)?;
        Some(Snapshot::take(&after.path().join(name)))
    }
}

#[test]
fn what_is_reported_is_on_an_ext4_disk() {
    what_is_reported_is_on_the_disk(Disk::ext4());
}

#[test]
fn what_is_reported_is_on_an_xfs_disk() {
    what_is_reported_is_on_the_disk(Disk::xfs());
}

fn what_is_reported_is_on_the_disk(disk: Option<Disk>) {
    let Some(disk) = disk else { return };
    let scene = Scene::new();
    let mut tree = scene.mixed_source(71, 60);
    tree.file("large", 12 << 20);
    // The method sees what is missing: a copy that nobody flushed is not all there.
    copy(&scene.source, &disk.inner.path().join("by cp"));
    let Some(by_cp) = disk.after_cut("by cp") else { return };
    assert!(!scene.source_now().differences(&by_cp).is_empty(), "a cut loses nothing, so it shows nothing");
    let destination = disk.inner.path().join("copy");
    for _ in 0..4 {
        scene.orbit.sync(&scene.source, &destination, &FLAGS).expect(Exit::Done);
        let Some(after) = disk.after_cut("copy") else { return };
        // Orbit's own directory is gone, but that need not be flushed: the next run sweeps an empty one.
        let after = after.without(STAGE);
        assert_none(
            &scene.source_now().as_copied().differences(&after),
            "reported as done, but not on the disk",
        );
        tree.evolve();
        tree.file("large", 12 << 20);
    }
}

#[test]
fn a_cut_during_a_run_on_ext4_leaves_old_or_new() {
    cuts_during_runs(Disk::ext4(), "ext4");
}

#[test]
fn a_cut_during_a_run_on_xfs_leaves_old_or_new() {
    cuts_during_runs(Disk::xfs(), "xfs");
}

fn cuts_during_runs(disk: Option<Disk>, name: &str) {
    let Some(disk) = disk else { return };
    let mut random = Random::new(Random::seed_or(72));
    let scene = Scene::new();
    let mut tree: Tree = scene.mixed_source(72, 80);
    let destination = disk.inner.path().join("copy");
    let (mut cuts, mut under_way) = (0, 0);
    let begun = Instant::now();
    scene.orbit.sync(&scene.source, &destination, &FLAGS).expect(Exit::Done);
    let mut whole = begun.elapsed();
    for version in 0..14 {
        let old = Snapshot::take(&destination);
        tree.evolve();
        tree.file("large", 9 << 20);
        let between = Between { old, new: scene.source_now().as_copied() };
        let mut run = scene.orbit.start_sync(&scene.source, &destination, &FLAGS);
        let begun = Instant::now();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // The kernel may write anything out at any time: so half of the versions see it do that all the time.
            scope.spawn(|| flush_until(&stop, disk.inner.path(), version % 2 == 0));
            for _ in 0..4 {
                // Not to wait for anything: the moment varies.
                thread::sleep(Duration::from_micros(random.below(whole.as_micros() as u64 / 2)));
                let running = run.is_running();
                let Some(now) = disk.after_cut("copy") else { break };
                let wrong = between.violations(&now);
                stop.store(!wrong.is_empty(), Ordering::Relaxed);
                assert_none(&wrong, &format!("torn by a power cut on {name}"));
                cuts += 1;
                under_way += u64::from(running && between.is_under_way(&now.without(STAGE)));
            }
            stop.store(true, Ordering::Relaxed);
        });
        run.finish().expect(Exit::Done);
        whole = begun.elapsed().min(whole);
    }
    say(&format!(
        "power cuts on {name}: {cuts}, {under_way} of them met a destination that was neither old nor new"
    ));
}

fn flush_until(stop: &AtomicBool, at: &Path, really: bool) {
    let directory = fs::File::open(at).expect("opens");
    while really && !stop.load(Ordering::Relaxed) {
        rustix::fs::syncfs(&directory).expect("flushes");
    }
}
