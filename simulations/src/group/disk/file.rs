//! [`File`]: bytes as they are, and as a power cut would leave them.

use crate::random::Random;

/// A disk writes this much at once; a torn write is a choice of such pieces.
const SECTOR: usize = 64;

/// A file of the log.
#[derive(Debug, Default)]
pub struct File {
    /// What a reader sees.
    pub now: Vec<u8>,
    /// What is certainly on the disk; `None` if the file itself may vanish.
    durable: Option<Vec<u8>>,
    /// Writes since the last sync, in order.
    pending: Vec<Write>,
}

#[derive(Debug)]
enum Write {
    /// Bytes at an offset.
    At(usize, Vec<u8>),
    /// Another file in its place.
    Whole(Vec<u8>),
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::At(offset, bytes) => put(to, *offset, bytes),
            Self::Whole(bytes) => to.clone_from(bytes),
        }
    }

    /// A part of it. A file that replaces another does so as a whole.
    fn apply_torn(&self, to: &mut Vec<u8>, random: &Random) {
        let Self::At(offset, bytes) = self else { return };
        match random.below(3) {
            // The file became longer, the bytes did not come.
            0 => put(to, *offset, &vec![0; random.below(bytes.len() + 1)]),
            // It ends in the middle.
            1 => put(to, *offset, bytes.get(..random.below(bytes.len() + 1)).unwrap_or_default()),
            _ => {
                for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                    if random.one_in(2) {
                        put(to, offset + at * SECTOR, sector);
                    }
                }
            }
        }
    }
}

fn put(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(place) = to.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl File {
    /// Writes, and puts zeros behind the end so that the length is a multiple of `prepared`.
    pub fn write(&mut self, offset: usize, bytes: &[u8], prepared: usize) {
        let mut padded = bytes.to_vec();
        let end = offset + bytes.len();
        if end > self.now.len() {
            padded.resize(end.next_multiple_of(prepared) - offset, 0);
        }
        put(&mut self.now, offset, &padded);
        self.pending.push(Write::At(offset, padded));
    }

    /// Puts other bytes in its place, which a power cut may take back.
    pub fn replace_unsynced(&mut self, bytes: &[u8]) {
        self.now = bytes.to_vec();
        self.pending.push(Write::Whole(bytes.to_vec()));
    }

    /// Puts other bytes in its place, durably.
    pub fn replace(&mut self, bytes: &[u8]) {
        self.replace_unsynced(bytes);
        self.sync();
    }

    /// Cuts it to a length, durably.
    pub fn truncate(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.sync();
        if let Some(durable) = &mut self.durable {
            durable.resize(len, 0);
        }
    }

    /// Everything since the last sync is on the disk.
    pub fn sync(&mut self) {
        let durable = self.durable.get_or_insert_default();
        for write in self.pending.drain(..) {
            write.apply(durable);
        }
    }

    /// A sync that failed: some of it is on the disk, and what is not will not be, whatever is synced later.
    pub fn sync_half(&mut self, random: &Random) {
        if let Some(durable) = after_cut(self.durable.clone(), &self.pending, random) {
            self.durable = Some(durable);
        }
        self.pending.clear();
    }

    /// The power fails. Returns whether the file is still there.
    pub fn cut(&mut self, random: &Random) -> bool {
        let left = after_cut(self.durable.take(), &self.pending, random);
        self.pending.clear();
        self.now = left.clone().unwrap_or_default();
        self.durable = left;
        self.durable.is_some()
    }
}

fn after_cut(durable: Option<Vec<u8>>, pending: &[Write], random: &Random) -> Option<Vec<u8>> {
    if pending.is_empty() || (durable.is_none() && random.one_in(3)) {
        return durable;
    }
    let whole = random.below(pending.len() + 1);
    if durable.is_none() && whole == 0 && matches!(pending.first(), Some(Write::Whole(_))) {
        return None;
    }
    let mut bytes = durable.unwrap_or_default();
    for (at, write) in pending.iter().enumerate().take(whole + 1) {
        if at < whole {
            write.apply(&mut bytes);
        } else {
            write.apply_torn(&mut bytes, random);
        }
    }
    Some(bytes)
}
