//! Universes on disks that go away, and manifests that follow from a number.

use crate::{LogPosition, Mark, NucleusUniverse};
use orbit_core::grid::{Change, Content};
use orbit_core::ids::NodeId;
use orbit_core::{Chunk, ContentHash};
use std::cell::Cell;
use std::path::PathBuf;

/// Chunks that contents are made of: few, so that each is in many.
pub const CHUNKS: u64 = 97;

pub struct Scene {
    directory: tempfile::TempDir,
    copies: Cell<u32>,
}

impl Scene {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), copies: Cell::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn open(&self) -> NucleusUniverse {
        NucleusUniverse::open_or_rebuild(&self.path("universe_v3.db")).expect("opened")
    }

    /// What another process finds after this one was killed now.
    pub fn killed(&self, universe: &NucleusUniverse) -> NucleusUniverse {
        self.copies.set(self.copies.get() + 1);
        let name = format!("killed-{}.db", self.copies.get());
        let (from, to) = (universe.path().display().to_string(), self.path(&name).display().to_string());
        std::fs::copy(&from, &to).expect("copied");
        std::fs::write(format!("{to}.open"), "").expect("marked");
        std::fs::create_dir(format!("{to}.runs")).expect("made");
        for run in std::fs::read_dir(format!("{from}.runs")).expect("listed") {
            let run = run.expect("listed");
            let name = run.file_name().into_string().expect("digits");
            std::fs::copy(run.path(), format!("{to}.runs/{name}")).expect("copied");
        }
        NucleusUniverse::open_or_rebuild(&self.path(&name)).expect("opened")
    }
}

pub fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 16])
}

pub fn mark(index: u64) -> Mark {
    Mark { position: Some(LogPosition { term: 1, index }), membership: index.to_le_bytes().to_vec() }
}

/// The name of content `n`.
pub fn root(n: u64) -> ContentHash {
    let mut bytes = [0xcc; 32];
    bytes[..8].copy_from_slice(&mixed(n).to_be_bytes());
    bytes.into()
}

/// The name of a chunk. Some share their first eight bytes.
pub fn chunk_name(n: u64) -> ContentHash {
    let mut bytes = [0xdd; 32];
    bytes[..8].copy_from_slice(&mixed(n / 3 + 1000).to_be_bytes());
    bytes[31] = n as u8;
    bytes.into()
}

/// Content `n` and its chunks.
pub fn manifest(n: u64) -> (Content, Vec<Chunk>) {
    let count = if n % 7 == 3 { mixed(n) % 180 + 120 } else { mixed(n) % 12 + 4 };
    let chunk = |at| {
        let which = mixed(n * 1000 + at) % CHUNKS;
        Chunk { hash: chunk_name(which), len: which as u32 + 1 }
    };
    let chunks: Vec<_> = (0..count).map(chunk).collect();
    let bytes = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    (Content { root: root(n), bytes, chunks: chunks.len() as u32 }, chunks)
}

/// That a node holds these contents.
pub fn contents(holder: u8, which: impl IntoIterator<Item = u64>) -> Change {
    Change::Contents { holder: node(holder), contents: which.into_iter().map(|n| manifest(n).0).collect() }
}

/// Loads all that is wanted, of contents below 1000.
pub fn load_all(universe: &NucleusUniverse) {
    let page = universe.wanted(0, usize::MAX).expect("listed");
    let wanted: std::collections::HashSet<_> =
        page.contents.iter().map(|wanted| wanted.content.root).collect();
    let found = (0..1000).filter(|&n| wanted.contains(&root(n))).map(|n| (root(n), manifest(n).1));
    let outcome = universe.fill_many(found).expect("loaded");
    assert_eq!((outcome.contents, outcome.refused), (wanted.len() as u64, 0));
}

/// Spreads numbers evenly (splitmix64).
pub fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
