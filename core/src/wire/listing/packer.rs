//! [`ListingPacker`]: the writing side.

use super::column::ColumnWriter;
use super::varint::{self, fold};
use super::{CONTINUES, IS_BOUNDARY, PACK_ENTRIES_MAX, PACK_TEXT_MAX, VERSION, allocation};
use crate::entry::{Listing, Metadata, Timestamp};

/// Entries after which a pack is full. Twice as many saved one byte in a hundred and cost both sides twice the memory.
const FULL_ENTRIES: usize = PACK_ENTRIES_MAX / 2;
/// Bytes, before compression, after which a pack is full.
const FULL_BYTES: usize = 1 << 20;
/// Bytes an entry takes before compression beside its name, about.
const ENTRY_BYTES: usize = 20;

/// Packs listings, with memory that is used again from pack to pack.
#[derive(Debug, Default)]
pub struct ListingPacker {
    directories: Directories,
    names: Names,
    rows: Vec<Metadata>,
    writer: ColumnWriter,
    /// One column, while it is written.
    values: Vec<u64>,
}

#[derive(Debug, Default)]
struct Directories {
    flags: Vec<u64>,
    counts: Vec<u64>,
    paths: Shared,
}

#[derive(Debug, Default)]
struct Names {
    ends: Vec<u64>,
    middles: Shared,
}

/// Texts without what they share with the one before.
#[derive(Debug, Default)]
struct Shared {
    beginnings: Vec<u64>,
    lens: Vec<u64>,
    bytes: Vec<u8>,
    before: Vec<u8>,
    /// Bytes of all texts, written out.
    whole_len: usize,
}

impl ListingPacker {
    /// An empty pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a listing's entries from number `from` on (0 to begin with), which must be sorted by name. `Some` says
    /// that the pack is full and where to go on after [`finish`](Self::finish); `None` that all are in.
    pub fn push(&mut self, listing: &Listing, from: usize) -> Option<usize> {
        let text_len = self.directories.paths.whole_len + listing.path.as_bytes().len();
        if self.is_full() || (text_len > PACK_TEXT_MAX && !self.is_empty()) {
            return Some(from);
        }
        let rest = listing.entries().get(from..).unwrap_or_default();
        let mut taken = 0;
        for entry in rest {
            if self.is_full() {
                break;
            }
            self.names.push(listing.name(entry));
            self.rows.push(entry.metadata);
            taken += 1;
        }
        let continues = taken < rest.len();
        let flags = [(listing.is_boundary, IS_BOUNDARY), (continues, CONTINUES)];
        self.directories.flags.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        self.directories.counts.push(taken as u64);
        self.directories.paths.push(listing.path.as_bytes(), 0);
        continues.then_some(from + taken)
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.directories.flags.is_empty()
    }

    /// Entries so far.
    pub fn entries(&self) -> usize {
        self.rows.len()
    }

    /// Bytes so far, before compression, about.
    pub fn len_bytes(&self) -> usize {
        self.names.middles.bytes.len()
            + self.directories.paths.bytes.len()
            + self.rows.len() * ENTRY_BYTES
            + self.directories.flags.len() * 4
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= FULL_ENTRIES
            || self.directories.flags.len() >= FULL_ENTRIES
            || self.len_bytes() >= FULL_BYTES
            // One more name must fit.
            || self.names.middles.whole_len + usize::from(u16::MAX) > PACK_TEXT_MAX
    }

    /// The pack, and an empty one to go on with.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len_bytes() + 64);
        out.push(VERSION);
        varint::put(&mut out, self.directories.flags.len() as u64);
        varint::put(&mut out, self.rows.len() as u64);
        let writer = &mut self.writer;
        writer.put(&mut out, &self.directories.flags);
        writer.put(&mut out, &self.directories.counts);
        self.directories.paths.put(writer, &mut out, &[]);
        self.names.middles.put(writer, &mut out, &self.names.ends);
        self.put_rows(&mut out);
        self.rows.clear();
        self.names.ends.clear();
        self.names.middles.clear();
        self.directories.flags.clear();
        self.directories.counts.clear();
        self.directories.paths.clear();
        out
    }

    fn put_rows(&mut self, out: &mut Vec<u8>) {
        let columns: [fn(&Metadata) -> u64; 12] = [
            |row| u64::from(u8::from(row.kind)),
            |row| row.attributes.mode.into(),
            |row| row.attributes.uid.into(),
            |row| row.attributes.gid.into(),
            |row| row.links.into(),
            |row| row.dev,
            |row| row.rdev,
            |row| row.size,
            |row| allocation(row.size, row.allocated),
            |row| row.ino,
            |row| fold(row.attributes.mtime.seconds),
            |row| row.attributes.mtime.nanos.into(),
        ];
        for column in columns {
            self.fill(column);
            self.writer.put(out, &self.values);
        }
        // A file is rarely touched between its two times, unless it was copied with its modification time: then the
        // change times follow each other.
        let cost = |this: &mut Self, seconds: fn(&Metadata) -> u64, nanos: fn(&Metadata) -> u64| {
            this.fill(seconds);
            let cost = this.writer.cost(&this.values);
            this.fill(nanos);
            cost + this.writer.cost(&this.values)
        };
        let is_relative = cost(self, |row| since(row).0, |row| since(row).1)
            < cost(self, |row| fold(row.ctime.seconds), |row| row.ctime.nanos.into());
        out.push(u8::from(is_relative));
        let columns: [fn(&Metadata) -> u64; 2] = if is_relative {
            [|row| since(row).0, |row| since(row).1]
        } else {
            [|row| fold(row.ctime.seconds), |row| row.ctime.nanos.into()]
        };
        for column in columns {
            self.fill(column);
            self.writer.put(out, &self.values);
        }
    }

    fn fill(&mut self, column: impl Fn(&Metadata) -> u64) {
        self.values.clear();
        self.values.extend(self.rows.iter().map(column));
    }
}

/// How much later than the modification time the change time is: seconds and nanoseconds.
fn since(row: &Metadata) -> (u64, u64) {
    let (Timestamp { seconds, nanos }, mtime) = (row.ctime, row.attributes.mtime);
    (fold(seconds.wrapping_sub(mtime.seconds)), fold(i64::from(nanos) - i64::from(mtime.nanos)))
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        let shared = common(name.iter(), self.middles.before.iter());
        let most = name.len().min(self.middles.before.len()) - shared;
        let end = common(name.iter().rev(), self.middles.before.iter().rev()).min(most);
        self.ends.push(end as u64);
        self.middles.push(name, end);
    }
}

impl Shared {
    /// Takes a text whose last `end` bytes are said elsewhere.
    fn push(&mut self, text: &[u8], end: usize) {
        let until = text.len() - end;
        let shared = common(text[..until].iter(), self.before.iter());
        self.beginnings.push(shared as u64);
        self.lens.push((until - shared) as u64);
        self.bytes.extend_from_slice(&text[shared..until]);
        self.before.truncate(shared);
        self.before.extend_from_slice(&text[shared..]);
        self.whole_len += text.len();
    }

    fn put(&self, writer: &mut ColumnWriter, out: &mut Vec<u8>, ends: &[u64]) {
        writer.put(out, &self.beginnings);
        writer.put(out, ends);
        writer.put(out, &self.lens);
        out.extend_from_slice(&self.bytes);
    }

    fn clear(&mut self) {
        self.beginnings.clear();
        self.lens.clear();
        self.bytes.clear();
        self.before.clear();
        self.whole_len = 0;
    }
}

fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}
