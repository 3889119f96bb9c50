//! [`SizeSketch`] and [`Candidates`]: the files whose size another file has, in little memory.

use super::forest::{DeviceId, Found};
use orbit_core::RelPath;

/// Slots of the sketch: two bits each.
const SLOTS: usize = 1 << 24;
/// Files that are looked into together; more only if they all have one size.
const BATCH_FILES: usize = 4096;
/// Bytes that are looked into together, so that the first sets of large files show soon.
const BATCH_BYTES: u64 = 1 << 30;

/// Which sizes occur more than once: two bits for each of 2^24 slots, whatever the number of files. Sizes that meet in
/// a slot are taken to repeat, which costs a candidate and no more.
pub(super) struct SizeSketch {
    once: Vec<u64>,
    again: Vec<u64>,
}

impl SizeSketch {
    pub fn new() -> Self {
        Self { once: vec![0; SLOTS / 64], again: vec![0; SLOTS / 64] }
    }

    pub fn add(&mut self, size: u64) {
        let (word, bit) = Self::slot(size);
        self.again[word] |= self.once[word] & bit;
        self.once[word] |= bit;
    }

    pub fn repeats(&self, size: u64) -> bool {
        let (word, bit) = Self::slot(size);
        self.again[word] & bit != 0
    }

    /// Fibonacci hashing: neighbouring sizes are spread.
    fn slot(size: u64) -> (usize, u64) {
        let slot = (size.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize;
        (slot / 64, 1 << (slot % 64))
    }
}

/// A file whose size may repeat: 32 bytes, and its name in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub size: u64,
    pub ino: u64,
    /// Where the name lies in the arena; grows in walk order, so it orders files too.
    name_start: u64,
    directory: u32,
    name_len: u16,
    /// Position among the devices seen.
    device: u16,
}

/// A directory with candidates; its path lies in the arena.
struct Directory {
    path_start: u64,
    path_len: u32,
    tree: u32,
}

/// The files whose size may repeat. Names and paths share one buffer.
#[derive(Default)]
pub(super) struct Candidates {
    arena: Vec<u8>,
    directories: Vec<Directory>,
    devices: Vec<DeviceId>,
    files: Vec<Candidate>,
}

impl Candidate {
    /// Comes earlier in the walk if it is less.
    pub const fn walk_position(&self) -> u64 {
        self.name_start
    }

    /// The order in which the disk is read with the fewest detours.
    pub const fn disk_position(&self) -> (u16, u64) {
        (self.device, self.ino)
    }
}

impl Candidates {
    pub fn push(&mut self, found: &Found<'_>) {
        // More devices or directories than this do not fit a machine; the files would merely not be looked into.
        let (Some(device), Some(directory)) =
            (self.device((found.machine, found.metadata.dev)), self.directory(found))
        else {
            return;
        };
        let (name_start, name_len) = (self.arena.len() as u64, found.name.len() as u16);
        self.arena.extend_from_slice(found.name);
        let (size, ino) = (found.metadata.size, found.metadata.ino);
        self.files.push(Candidate { size, ino, name_start, directory, name_len, device });
    }

    /// Puts the files in order, largest first, and drops those whose size does not repeat after all.
    pub fn settle(&mut self) {
        let inode = |file: &Candidate| (std::cmp::Reverse(file.size), file.device, file.ino);
        self.files.sort_unstable_by_key(|file| (inode(file), file.name_start));
        // A bind mount shows the same inode with one name in two places.
        self.files.dedup_by_key(|file| inode(file));
        let mut kept = 0;
        let mut start = 0;
        while start < self.files.len() {
            let size = self.files[start].size;
            let len = self.files[start..].iter().take_while(|file| file.size == size).count();
            if len > 1 {
                self.files.copy_within(start..start + len, kept);
                kept += len;
            }
            start += len;
        }
        self.files.truncate(kept);
        self.files.shrink_to_fit();
    }

    /// How many files there are, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.files.len() as u64, self.files.iter().map(|file| file.size).sum())
    }

    /// Runs of whole size groups, to be looked into one after the other.
    pub fn batches(&self) -> impl Iterator<Item = &[Candidate]> {
        let mut rest = &self.files[..];
        std::iter::from_fn(move || {
            let (mut len, mut bytes) = (0, 0);
            while len < rest.len() && (len == 0 || (len < BATCH_FILES && bytes < BATCH_BYTES)) {
                let size = rest[len].size;
                let group = rest[len..].iter().take_while(|file| file.size == size).count();
                len += group;
                bytes += size.saturating_mul(group as u64);
            }
            let (batch, later) = rest.split_at(len);
            rest = later;
            (!batch.is_empty()).then_some(batch)
        })
    }

    pub fn tree(&self, file: &Candidate) -> usize {
        self.directories[file.directory as usize].tree as usize
    }

    /// The device that holds a file.
    pub fn dev(&self, file: &Candidate) -> DeviceId {
        self.devices[usize::from(file.device)]
    }

    /// Its path below the root of its tree.
    pub fn path(&self, file: &Candidate) -> RelPath {
        let directory = &self.directories[file.directory as usize];
        let name = &self.arena[file.name_start as usize..][..usize::from(file.name_len)];
        RelPath::new(self.directory_path(directory).to_vec())
            .and_then(|directory| directory.join(name))
            .expect("a path from a listing is a path")
    }

    fn directory_path(&self, directory: &Directory) -> &[u8] {
        &self.arena[directory.path_start as usize..][..directory.path_len as usize]
    }

    fn device(&mut self, dev: DeviceId) -> Option<u16> {
        let known = self.devices.iter().rposition(|known| *known == dev);
        let position = known.unwrap_or_else(|| {
            self.devices.push(dev);
            self.devices.len() - 1
        });
        u16::try_from(position).ok()
    }

    fn directory(&mut self, found: &Found<'_>) -> Option<u32> {
        let path = found.directory.as_bytes();
        let is_last = self
            .directories
            .last()
            .is_some_and(|last| last.tree as usize == found.tree && self.directory_path(last) == path);
        if !is_last {
            let path_start = self.arena.len() as u64;
            self.arena.extend_from_slice(path);
            let path_len = u32::try_from(path.len()).ok()?;
            self.directories.push(Directory { path_start, path_len, tree: found.tree as u32 });
        }
        u32::try_from(self.directories.len() - 1).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_repeated_size_is_overlooked(sizes: Vec<u16>) {
            let mut sketch = SizeSketch::new();
            for size in &sizes {
                sketch.add(u64::from(*size));
            }
            for size in &sizes {
                let count = sizes.iter().filter(|other| *other == size).count();
                // So few sizes do not meet in a slot.
                prop_assert_eq!(sketch.repeats(u64::from(*size)), count > 1);
            }
        }
    }
}
