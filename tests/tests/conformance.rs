//! The implementations of the ports, held to their suites.
#![cfg(target_os = "linux")]

use orbit_core::system::{ChunkDetail, OrbitSystem, Scan, ScanOptions, SourceFile, SystemError, Xattr};
use orbit_core::writer::OrbitWriter;
use orbit_core::{ByteRange, Chunk, ContentHash, Metadata, RelPath};
use orbit_node::local::jail::Jail;
use orbit_node::local::system::LocalSystem;
use orbit_node::local::writer::{LocalWriter, TrashPlace, WriterOptions};
use orbit_node::remote::RemoteSystem;
use orbit_tests::conformance::{self, reading, writing};
use orbit_tests::star::Star;
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

/// The remote one keeps its star as long as it lives.
struct OfStar {
    system: RemoteSystem,
    _star: Star,
}

impl OrbitSystem for OfStar {
    fn scan(&self, options: &ScanOptions) -> Result<Box<dyn Scan>, SystemError> {
        self.system.scan(options)
    }

    fn metadata(&self, path: &RelPath) -> Result<Metadata, SystemError> {
        self.system.metadata(path)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, SystemError> {
        self.system.read_link(path)
    }

    fn xattrs(&self, path: &RelPath) -> Result<Vec<Xattr>, SystemError> {
        self.system.xattrs(path)
    }

    fn read_header(&self, path: &RelPath, len: usize) -> Result<Vec<u8>, SystemError> {
        self.system.read_header(path, len)
    }

    fn hash_range(&self, path: &RelPath, range: ByteRange) -> Result<ContentHash, SystemError> {
        self.system.hash_range(path, range)
    }

    fn chunk(
        &self,
        path: &RelPath,
        detail: ChunkDetail,
        sink: &mut dyn FnMut(Chunk),
    ) -> Result<ContentHash, SystemError> {
        self.system.chunk(path, detail, sink)
    }

    fn open(&self, path: &RelPath) -> Result<Box<dyn SourceFile>, SystemError> {
        self.system.open(path)
    }
}

#[test]
fn the_remote_system_reads_as_the_contract_says() {
    let open = |root: &Path| -> Box<dyn OrbitSystem> {
        let star = Star::allowing(&[root]);
        let (system, start) = star.open(root).expect("opens");
        assert!(start.is_root());
        Box::new(OfStar { system, _star: star })
    };
    conformance::run(reading::SUITE, &open as &reading::Open);
}

#[test]
fn the_remote_system_below_an_allowed_path_does_too() {
    let open = |root: &Path| -> Box<dyn OrbitSystem> {
        let above = root.parent().expect("it lies in a directory");
        let star = Star::allowing(&[Path::new("/nonexistent"), above]);
        let (system, start) = star.open(root).expect("opens");
        assert!(start.is_root());
        Box::new(OfStar { system, _star: star })
    };
    conformance::run(reading::SUITE, &open as &reading::Open);
}

#[test]
fn the_local_writer_writes_as_the_contract_says() {
    conformance::run(writing::SUITE, &local_both as &writing::Open);
}
