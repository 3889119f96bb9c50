//! [`PinnedStore`]: both databases as they were at one moment, to write a snapshot of while they go on.

use super::jobs::GroupJobs;
use super::manifest::{PART_BYTES, SnapshotManifest};
use super::shelf::{DRAFT, Shelf, with_suffix};
use super::snapshot::{FRAME_BYTES_MAX, MAGIC, Section, SnapshotFile, write_end};
use crate::error::StoreError;
use crate::nucleus_universe::UniversePin;
use crate::{Mark, private_file};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Views of both databases. What is applied meanwhile does not show.
#[derive(Debug)]
pub struct PinnedStore {
    jobs: GroupJobs,
    universe: UniversePin,
    mark: Mark,
    shelf: Shelf,
}

impl PinnedStore {
    pub(super) const fn new(jobs: GroupJobs, universe: UniversePin, mark: Mark, shelf: Shelf) -> Self {
        Self { jobs, universe, mark, shelf }
    }

    /// What both databases had applied. One may have been ahead, and is so in the snapshot: it passes over what it
    /// has.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes a snapshot among the store's own, of which the newest two are kept. Complete and durable when this returns.
    /// The databases themselves must have been flushed, if the log is to be purged up to it.
    pub fn write_snapshot(self) -> Result<SnapshotFile, StoreError> {
        let draft = self.shelf.new_draft()?;
        let written = self.write_to(&draft)?;
        self.shelf.take_in(&draft, written.manifest())
    }

    /// Writes a snapshot to `path`, in place of what is there: for a backup. Complete and durable when this returns.
    pub fn write_to(&self, path: &Path) -> Result<SnapshotFile, StoreError> {
        let draft = with_suffix(path, DRAFT);
        let copy = with_suffix(path, ".jobs.draft");
        let written = self.write(&draft, &copy);
        for leftover in [&copy, &draft] {
            if written.is_err() || leftover == &copy {
                // What cannot be removed is swept at the next start.
                drop(fs::remove_file(leftover));
            }
        }
        written?;
        fs::rename(&draft, path).map_err(|error| StoreError::io("rename", &draft, error))?;
        path.parent().map_or(Ok(()), private_file::sync_directory)?;
        SnapshotFile::open(path)
    }

    fn write(&self, draft: &Path, copy: &Path) -> Result<(), StoreError> {
        drop(fs::remove_file(copy));
        self.jobs.copy_to(copy)?;
        private_file::create(draft)?;
        let fault = |error| StoreError::io("write", draft, error);
        let file = File::options().write(true).truncate(true).open(draft).map_err(fault)?;
        let mut parts = PartWriter::new(file);
        parts.write_all(MAGIC).map_err(fault)?;
        let mut jobs = File::open(copy).map_err(|error| StoreError::io("open", copy, error))?;
        let mut section = FrameWriter::begin(&mut parts, Section::Jobs).map_err(fault)?;
        copy_all(&mut jobs, &mut section).and_then(|()| section.end()).map_err(fault)?;
        let mut section = FrameWriter::begin(&mut parts, Section::Universe).map_err(fault)?;
        self.universe.export(&mut section)?;
        section.end().map_err(fault)?;
        parts.write_all(&[Section::End as u8]).map_err(fault)?;
        let (mut file, bytes, hashes) = parts.end().map_err(fault)?;
        let manifest = SnapshotManifest { mark: self.mark.clone(), bytes, parts: hashes };
        if !manifest.is_possible() {
            return Err(StoreError::OutOfRange { what: "length of a snapshot", value: bytes });
        }
        write_end(&mut file, &manifest).and_then(|()| file.sync_all()).map_err(fault)
    }
}

fn copy_all(from: &mut File, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}

/// Writes bytes and hashes each part of them.
struct PartWriter {
    file: File,
    part: Vec<u8>,
    bytes: u64,
    hashes: Vec<[u8; 32]>,
}

impl PartWriter {
    fn new(file: File) -> Self {
        Self { file, part: Vec::with_capacity(PART_BYTES as usize), bytes: 0, hashes: Vec::new() }
    }

    fn end_part(&mut self) -> io::Result<()> {
        self.hashes.push(*blake3::hash(&self.part).as_bytes());
        self.file.write_all(&self.part)?;
        self.bytes += self.part.len() as u64;
        self.part.clear();
        Ok(())
    }

    fn end(mut self) -> io::Result<(File, u64, Vec<[u8; 32]>)> {
        if !self.part.is_empty() {
            self.end_part()?;
        }
        Ok((self.file, self.bytes, self.hashes))
    }
}

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES as usize - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART_BYTES as usize {
            self.end_part()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a section as frames.
struct FrameWriter<'a> {
    to: &'a mut PartWriter,
}

impl<'a> FrameWriter<'a> {
    fn begin(to: &'a mut PartWriter, section: Section) -> io::Result<Self> {
        to.write_all(&[section as u8])?;
        Ok(Self { to })
    }

    fn end(self) -> io::Result<()> {
        self.to.write_all(&[0; 4])
    }
}

impl Write for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frame = &bytes[..bytes.len().min(FRAME_BYTES_MAX)];
        if !frame.is_empty() {
            self.to.write_all(&(frame.len() as u32).to_le_bytes())?;
            self.to.write_all(frame)?;
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
