//! [`Tally`]: how many different chunks there are, exactly, in bounded memory.
//!
//! Chunks are kept as records of 20 bytes: 16 of the hash and the length. A million of them are sorted in memory; more
//! go to a nameless file as sorted runs, which are merged at the end. 16 bytes of BLAKE3 suffice: among 10^12 chunks two
//! different ones agree with a probability of 10^-15.

use orbit_core::Chunk;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a hash that are kept.
const HASH_LEN: usize = 16;
/// A chunk: hash, then length in little-endian order.
type Record = [u8; HASH_LEN + 4];
const RECORD_LEN: usize = size_of::<Record>();
/// Records in memory: 20 MB.
const RECORDS_MAX: usize = 1 << 20;

/// What the chunks of all files come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkTotals {
    /// Chunks of all files, with repetitions.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Different chunks.
    pub unique_chunks: u64,
    /// Their bytes: what a store that holds each chunk once would hold.
    pub unique_bytes: u64,
}

impl ChunkTotals {
    /// Bytes that repeat others.
    pub const fn duplicate_bytes(&self) -> u64 {
        self.bytes - self.unique_bytes
    }

    fn add(&mut self, record: &Record, is_new: bool) {
        let len = record.last_chunk::<4>().map_or(0, |len| u64::from(u32::from_le_bytes(*len)));
        self.chunks += 1;
        self.bytes += len;
        if is_new {
            self.unique_chunks += 1;
            self.unique_bytes += len;
        }
    }
}

/// Counts chunks.
#[derive(Debug)]
pub(super) struct Tally {
    records: Vec<Record>,
    records_max: usize,
    directory: PathBuf,
    spill: Option<Spill>,
    /// Why the runs could not be written; what came after was dropped.
    failed: Option<io::Error>,
}

/// Sorted runs, one behind the other.
#[derive(Debug)]
struct Spill {
    file: File,
    /// Where each run ends.
    ends: Vec<u64>,
}

impl Tally {
    /// A count whose runs go to `directory`, or to the system's place for temporary files if that cannot be written.
    pub fn new(directory: &Path) -> Self {
        Self::with_records_max(directory, RECORDS_MAX)
    }

    fn with_records_max(directory: &Path, records_max: usize) -> Self {
        Self { records: Vec::new(), records_max, directory: directory.to_owned(), spill: None, failed: None }
    }

    /// Counts one chunk. An error is kept for [`finish`](Self::finish).
    pub fn add(&mut self, chunk: &Chunk) {
        if self.failed.is_some() {
            return;
        }
        let mut record = [0; RECORD_LEN];
        record[..HASH_LEN].copy_from_slice(&chunk.hash.as_bytes()[..HASH_LEN]);
        record[HASH_LEN..].copy_from_slice(&chunk.len.to_le_bytes());
        self.records.push(record);
        if self.records.len() >= self.records_max {
            self.failed = self.write_run().err();
        }
    }

    /// The totals.
    pub fn finish(mut self) -> io::Result<ChunkTotals> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.spill.is_some() {
            self.write_run()?;
        }
        self.records.sort_unstable();
        match self.spill {
            None => Ok(count_sorted(self.records.iter().map(|record| Ok(*record)))?),
            Some(spill) => {
                drop(self.records);
                count_sorted(Merge::new(&spill, self.records_max)?)
            }
        }
    }

    fn write_run(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        self.records.sort_unstable();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: nameless_file(&self.directory)?, ends: Vec::new() }),
        };
        let start = spill.ends.last().copied().unwrap_or(0);
        let bytes = self.records.as_flattened();
        spill.file.write_all_at(bytes, start)?;
        spill.ends.push(start + bytes.len() as u64);
        self.records.clear();
        Ok(())
    }
}

fn count_sorted(records: impl Iterator<Item = io::Result<Record>>) -> io::Result<ChunkTotals> {
    let mut totals = ChunkTotals::default();
    let mut last = None;
    for record in records {
        let record = record?;
        totals.add(&record, last != Some(record));
        last = Some(record);
    }
    Ok(totals)
}

/// All records of all runs, in order.
struct Merge<'s> {
    runs: Vec<Run<'s>>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

/// What is left of a run.
struct Run<'s> {
    file: &'s File,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Of the buffer, consumed.
    used: usize,
    buffer_max: usize,
}

impl<'s> Merge<'s> {
    fn new(spill: &'s Spill, records_max: usize) -> io::Result<Self> {
        // The buffers of all runs together take what the records took before.
        let buffer_max = (records_max / spill.ends.len()).max(64) * RECORD_LEN;
        let starts = std::iter::once(0).chain(spill.ends.iter().copied());
        let mut runs: Vec<_> = starts
            .zip(&spill.ends)
            .map(|(at, &end)| Run { file: &spill.file, at, end, buffer: Vec::new(), used: 0, buffer_max })
            .collect();
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (index, run) in runs.iter_mut().enumerate() {
            if let Some(record) = run.next()? {
                heads.push(Reverse((record, index)));
            }
        }
        Ok(Self { runs, heads })
    }
}

impl Iterator for Merge<'_> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((record, index)) = *head;
        match self.runs[index].next() {
            Ok(Some(next)) => *head = Reverse((next, index)),
            Ok(None) => drop(std::collections::binary_heap::PeekMut::pop(head)),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(record))
    }
}

impl Run<'_> {
    fn next(&mut self) -> io::Result<Option<Record>> {
        if self.used == self.buffer.len() {
            let len = self.buffer_max.min((self.end - self.at) as usize);
            self.buffer.resize(len, 0);
            self.file.read_exact_at(&mut self.buffer, self.at)?;
            self.at += len as u64;
            self.used = 0;
        }
        let record = self.buffer[self.used..].first_chunk().copied();
        self.used += record.map_or(0, |_| RECORD_LEN);
        Ok(record)
    }
}

/// A file that is gone when it is closed, in whatever way.
fn nameless_file(directory: &Path) -> io::Result<File> {
    nameless_file_in(directory).or_else(|error| nameless_file_in(&std::env::temp_dir()).map_err(|_| error))
}

fn nameless_file_in(directory: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = open(directory, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(file.into());
        }
    }
    let path = directory.join(format!("chunks-{}.tmp", uuid::Uuid::new_v4()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::ContentHash;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn counts_like_a_hash_map(kinds in prop::collection::vec(0_u8..80, 0..400), records_max in 1_usize..500) {
            let directory = tempfile::tempdir().expect("a directory");
            let mut tally = Tally::with_records_max(directory.path(), records_max);
            let mut known: HashMap<u8, u64> = HashMap::new();
            for kind in &kinds {
                // Some differ in the last of the kept bytes only.
                let mut hash = [kind / 4; 32];
                hash[HASH_LEN - 1] = kind % 4;
                let len = 1000 + u32::from(*kind);
                tally.add(&Chunk { hash: ContentHash::from_bytes(hash), len });
                known.insert(*kind, u64::from(len));
            }
            let wanted = ChunkTotals {
                chunks: kinds.len() as u64,
                bytes: kinds.iter().map(|kind| 1000 + u64::from(*kind)).sum(),
                unique_chunks: known.len() as u64,
                unique_bytes: known.values().sum(),
            };
            prop_assert_eq!(tally.finish().expect("counts"), wanted);
            let left = std::fs::read_dir(directory.path()).expect("lists").count();
            prop_assert_eq!(left, 0, "nothing is left behind");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_made_up_for() {
        let mut tally = Tally::with_records_max(Path::new("/nonexistent/orbit"), 1);
        for len in [1, 2, 2] {
            tally.add(&Chunk { hash: ContentHash::from_bytes([7; 32]), len });
        }
        let totals = tally.finish().expect("counts in the temporary directory");
        assert_eq!((totals.chunks, totals.unique_chunks, totals.duplicate_bytes()), (3, 2, 2));
    }
}
