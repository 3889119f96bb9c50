//! The implementations of the ports, held to their suites.
#![cfg(target_os = "linux")]

use orbit_core::system::OrbitSystem;
use orbit_core::writer::OrbitWriter;
use orbit_node::local::jail::Jail;
use orbit_node::local::system::LocalSystem;
use orbit_node::local::writer::{LocalWriter, TrashPlace, WriterOptions};
use orbit_tests::conformance::{self, reading, writing};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn jail(root: &Path) -> Arc<Jail> {
    Arc::new(Jail::open(root).expect("opens"))
}

fn local_system(root: &Path) -> Box<dyn OrbitSystem> {
    Box::new(LocalSystem::new(jail(root)))
}

fn local_both(root: &Path) -> (Box<dyn OrbitSystem>, Box<dyn OrbitWriter>) {
    let options = WriterOptions {
        run_id: b"2026-11-24T06-50-58Z".to_vec(),
        trash: TrashPlace::InDestination,
        keep_staged: BTreeSet::new(),
    };
    (local_system(root), Box::new(LocalWriter::begin(jail(root), options).expect("begins")))
}

#[test]
fn the_local_system_reads_as_the_contract_says() {
    conformance::run(reading::SUITE, &local_system as &reading::Open);
}

#[test]
fn the_local_system_with_several_threads_does_too() {
    let open =
        |root: &Path| -> Box<dyn OrbitSystem> { Box::new(LocalSystem::new(jail(root)).with_threads(4)) };
    conformance::run(reading::SUITE, &open as &reading::Open);
}

#[test]
fn the_local_writer_writes_as_the_contract_says() {
    conformance::run(writing::SUITE, &local_both as &writing::Open);
}
