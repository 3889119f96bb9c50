//! [`Image`]: both databases as they are, one of them maybe ahead; [`Vault`], where snapshots of all nodes lie; and their parts on the way.
//!
//! What travels of a snapshot is its name, cut into parts: whoever has all of them, in order and unharmed, finds the
//! image in the vault. That the real ones hold what they should is shown by the store's own tests.

use super::table::{Jobs, Universe};
use crate::group::trace::Fold;
use crate::random::Random;
use orbit_consensus::databases::Snapshot;
use orbit_store::{Mark, SnapshotManifest, StoreError};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most parts of a snapshot.
const PARTS_MAX: usize = 6;
/// Bytes of a part.
const PART_BYTES: usize = 48;

/// Both databases.
#[derive(Clone, Debug)]
pub struct Image {
    /// `jobs.db`.
    pub jobs: Jobs,
    /// The universe.
    pub universe: Universe,
}

impl Image {
    /// The mark that both have reached.
    pub fn mark(&self) -> &Mark {
        let is_behind = self.universe.position() < self.jobs.position();
        if is_behind { &self.universe.mark } else { &self.jobs.mark }
    }
}

/// Images of all snapshots of a world, by number.
#[derive(Debug, Default)]
pub struct Vault(Mutex<Vec<Arc<Image>>>);

impl Vault {
    /// Keeps an image as a snapshot.
    pub fn keep(&self, image: Image, random: &Random) -> Kept {
        let mark = image.mark().clone();
        let number = {
            let mut images = self.images();
            images.push(Arc::new(image));
            images.len() - 1
        };
        let parts = 1 + random.below(PARTS_MAX);
        let hashes = (0..parts).map(|at| hash(&part(number, at, parts))).collect();
        let bytes = (parts * PART_BYTES) as u64;
        Kept { manifest: SnapshotManifest { mark, bytes, parts: hashes }, image: number }
    }

    /// The image of this number.
    pub fn image(&self, number: usize) -> Arc<Image> {
        self.images().get(number).cloned().expect("only numbers that were given are asked for")
    }

    fn images(&self) -> MutexGuard<'_, Vec<Arc<Image>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part(image: usize, at: usize, of: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PART_BYTES);
    for word in [image, at, of] {
        bytes.extend_from_slice(&(word as u64).to_le_bytes());
    }
    bytes.resize(PART_BYTES, 7);
    bytes
}

/// A hash as long as a manifest wants it.
fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let word = Fold::of(bytes).to_le_bytes();
    hash.iter_mut().zip(word.iter().cycle()).for_each(|(to, from)| *to = *from);
    hash
}

/// A complete snapshot.
#[derive(Debug)]
pub struct Kept {
    /// What it says of itself.
    pub manifest: SnapshotManifest,
    /// Its number in the vault.
    pub image: usize,
}

impl Snapshot for Kept {
    fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        let parts = self.manifest.parts.len();
        if number as usize >= parts {
            let source = io::ErrorKind::NotFound.into();
            return Err(StoreError::Io {
                operation: "read a part of",
                path: PathBuf::from("a snapshot"),
                source,
            });
        }
        Ok(part(self.image, number as usize, parts))
    }
}

/// A snapshot that is being received.
#[derive(Debug)]
pub struct Receiver {
    /// What it says of itself.
    pub manifest: SnapshotManifest,
    parts: Vec<Vec<u8>>,
}

impl Receiver {
    /// Nothing of it is there.
    pub fn new(manifest: &SnapshotManifest) -> Self {
        Self { manifest: manifest.clone(), parts: Vec::new() }
    }

    /// Parts that are there.
    pub fn have(&self) -> u32 {
        self.parts.len() as u32
    }

    /// Takes the next part.
    pub fn put(&mut self, number: u32, part: &[u8]) -> Result<(), io::ErrorKind> {
        let expected = self.manifest.parts.get(number as usize);
        if number != self.have() || expected != Some(&hash(part)) {
            return Err(io::ErrorKind::InvalidData);
        }
        self.parts.push(part.to_vec());
        Ok(())
    }

    /// A crash keeps some of the first parts.
    pub fn cut(&mut self, random: &Random) {
        self.parts.truncate(random.below(self.parts.len() + 1));
    }

    /// The snapshot, if all of it is there.
    pub fn finish(self, vault: &Vault) -> Option<Kept> {
        if self.parts.len() != self.manifest.parts.len() {
            return None;
        }
        let number = u64::from_le_bytes(self.parts.first()?.get(..8)?.try_into().ok()?);
        let image = usize::try_from(number).ok()?;
        let is_it = *vault.image(image).mark() == self.manifest.mark;
        is_it.then_some(Kept { manifest: self.manifest, image })
    }
}
