//! [`SnapshotFile`]: the format of a snapshot, and reading one.
//!
//! | part | |
//! |---|---|
//! | data | `"ORBSNAP"`, version u8: 1; the sections: 1 u8 (`jobs.db`) or 2 u8 (the stream of a universe), then frames; 0 u8 |
//! | manifest | CBOR of [`SnapshotManifest`]: what was applied, length of the data, BLAKE3 of each MiB of it |
//! | foot | length of the manifest u64, BLAKE3 of the manifest, `"ORBSNAPM"`; 48 bytes |
//!
//! A frame is its length (u32, 1 to 256 Ki) and as many bytes; a length of 0 ends a section. Little-endian. A part is
//! checked whenever it is read, so nothing that is not what the manifest says leaves this module.

use super::generation::{JOBS, UNIVERSE};
use super::jobs::GroupJobs;
use super::manifest::SnapshotManifest;
use crate::error::{Damage, StoreError};
use crate::nucleus_universe::NucleusUniverse;
use crate::private_file;
use orbit_core::wire::{decode, encode};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const MAGIC: &[u8; 8] = b"ORBSNAP\x01";
const FOOT_MAGIC: &[u8; 8] = b"ORBSNAPM";
const FOOT_LEN: usize = 48;
/// A manifest of the largest snapshot has 2 MiB of hashes.
const MANIFEST_BYTES_MAX: u64 = 8 << 20;
pub(super) const FRAME_BYTES_MAX: usize = 256 << 10;

/// Sections, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Section {
    End = 0,
    Jobs = 1,
    Universe = 2,
}

/// A complete snapshot. Clones read the same file, also after it was removed.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    file: Arc<File>,
    path: PathBuf,
    manifest: Arc<SnapshotManifest>,
}

impl SnapshotFile {
    /// Opens a snapshot wherever it lies, and checks that it is whole; its parts are checked when they are read, or by
    /// [`verify`](Self::verify).
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::io("open", path, error))?;
        let damaged = |what| StoreError::damaged(path, Damage::Snapshot { what });
        let fault = |error| StoreError::io("read", path, error);
        let len = file.metadata().map_err(fault)?.len();
        let Some(foot_at) = len.checked_sub(FOOT_LEN as u64) else { return Err(damaged("it is too short")) };
        let mut foot = [0; FOOT_LEN];
        file.read_exact_at(&mut foot, foot_at).map_err(fault)?;
        let (manifest_len, rest) = foot.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let (hash, magic) = rest.split_at(32);
        let manifest_len = u64::from_le_bytes(*manifest_len);
        if magic != FOOT_MAGIC || manifest_len > MANIFEST_BYTES_MAX {
            return Err(damaged("it is no snapshot, or not a whole one"));
        }
        let Some(bytes) = foot_at.checked_sub(manifest_len) else { return Err(damaged("it is too short")) };
        let mut packed = vec![0; usize::try_from(manifest_len).unwrap_or(0)];
        file.read_exact_at(&mut packed, bytes).map_err(fault)?;
        if blake3::hash(&packed).as_bytes() != hash {
            return Err(damaged("its manifest is damaged"));
        }
        let manifest: SnapshotManifest = decode(&packed).map_err(|_| damaged("its manifest is damaged"))?;
        if manifest.bytes != bytes || !manifest.is_possible() {
            return Err(damaged("its length is not what its manifest says"));
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned(), manifest: Arc::new(manifest) })
    }

    /// What it holds.
    pub fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Where it lies, or lay when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One part of its data, checked.
    pub fn read_part(&self, number: u32) -> Result<Vec<u8>, StoreError> {
        let Some(len) = self.manifest.part_len(number) else {
            return Err(StoreError::OutOfRange { what: "number of a part", value: u64::from(number) });
        };
        let mut part = vec![0; len];
        let at = u64::from(number) * u64::from(super::PART_BYTES);
        self.file.read_exact_at(&mut part, at).map_err(|error| StoreError::io("read", &self.path, error))?;
        if self.manifest.is_part(number, &part) { Ok(part) } else { Err(self.damaged("a part is damaged")) }
    }

    /// Reads all of it, and checks that it is what its manifest says.
    pub fn verify(&self) -> Result<(), StoreError> {
        (0..self.parts()).try_for_each(|number| self.read_part(number).map(drop))
    }

    /// Makes databases of it in an empty directory, durably.
    pub(super) fn unpack(&self, directory: &Path) -> Result<(), StoreError> {
        let mut parts = Parts { snapshot: self, next: 0, part: io::Cursor::default() };
        let mut magic = [0; MAGIC.len()];
        self.fill(&mut parts, &mut magic)?;
        if magic != *MAGIC {
            return Err(self.damaged("it is of another version"));
        }
        self.begin(&mut parts, Section::Jobs)?;
        let jobs_path = directory.join(JOBS);
        private_file::create(&jobs_path)?;
        let fault = |error| StoreError::io("write", &jobs_path, error);
        let mut jobs = File::options().write(true).open(&jobs_path).map_err(fault)?;
        io::copy(&mut Frames::of(&mut parts), &mut jobs).map_err(fault)?;
        jobs.sync_all().map_err(fault)?;
        drop(jobs);
        self.begin(&mut parts, Section::Universe)?;
        NucleusUniverse::import(&directory.join(UNIVERSE), &mut Frames::of(&mut parts))?;
        self.begin(&mut parts, Section::End)?;
        let jobs = GroupJobs::open(&jobs_path)?;
        if self.manifest.mark.is_after(&jobs.mark()?) {
            return Err(self.damaged("it does not hold what its manifest says"));
        }
        jobs.close()
    }

    fn begin(&self, parts: &mut Parts<'_>, section: Section) -> Result<(), StoreError> {
        let mut found = [0];
        self.fill(parts, &mut found)?;
        if found == [section as u8] { Ok(()) } else { Err(self.damaged("a section is missing")) }
    }

    fn fill(&self, parts: &mut Parts<'_>, bytes: &mut [u8]) -> Result<(), StoreError> {
        parts.read_exact(bytes).map_err(|error| StoreError::io("read", &self.path, error))
    }

    fn parts(&self) -> u32 {
        self.manifest.parts.len() as u32
    }

    fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::damaged(&self.path, Damage::Snapshot { what })
    }
}

/// Appends manifest and foot to a file whose data are complete.
pub(super) fn write_end(file: &mut File, manifest: &SnapshotManifest) -> io::Result<()> {
    let mut end = encode(manifest);
    let hash = blake3::hash(&end);
    let len = end.len() as u64;
    end.extend_from_slice(&len.to_le_bytes());
    end.extend_from_slice(hash.as_bytes());
    end.extend_from_slice(FOOT_MAGIC);
    file.write_all(&end)
}

/// The data of a snapshot as a stream of checked bytes.
struct Parts<'a> {
    snapshot: &'a SnapshotFile,
    next: u32,
    part: io::Cursor<Vec<u8>>,
}

impl Read for Parts<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.part.read(into)?;
        if read > 0 || into.is_empty() || self.next == self.snapshot.parts() {
            return Ok(read);
        }
        self.part = io::Cursor::new(self.snapshot.read_part(self.next).map_err(io::Error::other)?);
        self.next += 1;
        self.part.read(into)
    }
}

/// The bytes of one section. To its end only: what reads ahead does not come into the next one.
struct Frames<'a, R> {
    from: &'a mut R,
    /// Bytes left of this frame; `None`: the section has ended.
    left: Option<usize>,
}

impl<'a, R: Read> Frames<'a, R> {
    fn of(from: &'a mut R) -> Self {
        Self { from, left: Some(0) }
    }
}

impl<R: Read> Read for Frames<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == Some(0) {
            let mut len = [0; 4];
            self.from.read_exact(&mut len)?;
            let len = u32::from_le_bytes(len) as usize;
            if len > FRAME_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.left = Some(len).filter(|&len| len > 0);
        }
        let Some(left) = self.left else { return Ok(0) };
        let len = into.len().min(left);
        let read = self.from.read(&mut into[..len])?;
        if read == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - read);
        Ok(read)
    }
}
