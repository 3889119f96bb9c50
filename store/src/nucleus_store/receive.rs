//! [`SnapshotReceiver`]: a snapshot on its way in, part by part, each checked before it is kept.
//!
//! Its directory is named by the manifest's hash, so a connection or a process that breaks off costs nothing: whoever
//! offers the same snapshot again is told how many parts are there.

use super::manifest::{PART_BYTES, SnapshotManifest};
use super::shelf::{MANIFEST, PARTS, Shelf};
use super::snapshot::{SnapshotFile, write_end};
use crate::error::StoreError;
use crate::private_file;
use orbit_core::wire::encode;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A snapshot while it is received.
#[derive(Debug)]
pub struct SnapshotReceiver {
    shelf: Shelf,
    manifest: SnapshotManifest,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It was here already.
    Whole(SnapshotFile),
    Coming {
        directory: PathBuf,
        parts: File,
        have: u32,
    },
}

impl SnapshotReceiver {
    pub(super) fn open(shelf: Shelf, manifest: &SnapshotManifest) -> Result<Self, StoreError> {
        if !manifest.is_possible() {
            return Err(refused("its manifest is impossible"));
        }
        let manifest = manifest.clone();
        if let Some(file) = shelf.find(&manifest)? {
            return Ok(Self { shelf, manifest, state: State::Whole(file) });
        }
        let hash = manifest.hash();
        shelf
            .remove_incoming(|other| other.hash() != hash && other.mark.position <= manifest.mark.position)?;
        let directory = shelf.incoming(&manifest)?;
        private_file::replace(&directory.join(MANIFEST), &encode(&manifest))?;
        let path = directory.join(PARTS);
        private_file::create(&path)?;
        let parts = File::options().read(true).write(true).open(&path);
        let parts = parts.map_err(|error| StoreError::io("open", &path, error))?;
        let have = kept(&parts, &manifest);
        parts
            .set_len(u64::from(have) * u64::from(PART_BYTES))
            .map_err(|error| StoreError::io("truncate", &path, error))?;
        // Room for what is missing, and for the databases that are made of it.
        let missing = manifest.bytes.saturating_sub(u64::from(have) * u64::from(PART_BYTES));
        check_room(&directory, missing.saturating_add(manifest.bytes))?;
        Ok(Self { shelf, manifest, state: State::Coming { directory, parts, have } })
    }

    /// How many parts are there, from the first on.
    pub fn have(&self) -> u32 {
        match &self.state {
            State::Whole(_) => self.manifest.parts.len() as u32,
            State::Coming { have, .. } => *have,
        }
    }

    /// Takes the next part. One that is there already changes nothing.
    ///
    /// Error: [`SnapshotRefused`](StoreError::SnapshotRefused) if it is not the next one, or not what the manifest says.
    pub fn put(&mut self, number: u32, part: &[u8]) -> Result<(), StoreError> {
        let State::Coming { directory, parts, have } = &mut self.state else { return Ok(()) };
        if number < *have {
            return Ok(());
        }
        if number > *have {
            return Err(refused("its parts come out of order"));
        }
        if !self.manifest.is_part(number, part) {
            return Err(refused("a part is not what its manifest says"));
        }
        let at = u64::from(number) * u64::from(PART_BYTES);
        parts
            .write_all_at(part, at)
            .map_err(|error| StoreError::io("write", &directory.join(PARTS), error))?;
        *have += 1;
        Ok(())
    }

    /// Completes it, durably.
    ///
    /// Error: [`SnapshotRefused`](StoreError::SnapshotRefused) if parts are missing.
    pub fn finish(self) -> Result<SnapshotFile, StoreError> {
        let (directory, mut parts) = match self.state {
            State::Whole(file) => return Ok(file),
            State::Coming { have, .. } if (have as usize) < self.manifest.parts.len() => {
                return Err(refused("parts are missing"));
            }
            State::Coming { directory, parts, .. } => (directory, parts),
        };
        let path = directory.join(PARTS);
        parts
            .seek(SeekFrom::Start(self.manifest.bytes))
            .and_then(|_| write_end(&mut parts, &self.manifest))
            .and_then(|()| parts.sync_all())
            .map_err(|error| StoreError::io("write", &path, error))?;
        let file = self.shelf.take_in(&path, &self.manifest)?;
        super::generation::remove(&directory)?;
        Ok(file)
    }
}

/// How many parts of an earlier attempt are what the manifest says, from the first on.
fn kept(parts: &File, manifest: &SnapshotManifest) -> u32 {
    let mut have = 0;
    while let Some(len) = manifest.part_len(have) {
        let mut part = vec![0; len];
        let at = u64::from(have) * u64::from(PART_BYTES);
        // What cannot be read is received again.
        if parts.read_exact_at(&mut part, at).is_err() || !manifest.is_part(have, &part) {
            break;
        }
        have += 1;
    }
    have
}

fn check_room(directory: &Path, bytes: u64) -> Result<(), StoreError> {
    let status = rustix::fs::statvfs(directory)
        .map_err(|error| StoreError::io("measure the room in", directory, io::Error::from(error)))?;
    if status.f_bavail.saturating_mul(status.f_frsize) < bytes {
        return Err(StoreError::Full { path: directory.to_owned() });
    }
    Ok(())
}

fn refused(what: &'static str) -> StoreError {
    StoreError::SnapshotRefused { what }
}
