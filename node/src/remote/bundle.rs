//! [`Bundler`]: cuts a walk into bundles where its names say, so that two machines that hold the same cut it alike and need
//! to tell each other hashes only.

use orbit_cdc::hash_bytes;
use orbit_core::wire::listing::Piece;
use orbit_core::{EntryKind, Listing, Metadata, RelPath, Timestamp};
use std::collections::VecDeque;

/// One item in so many begins a bundle.
const ITEMS_MEAN: u64 = 1024;
/// No bundle has more items, whatever their names are.
pub(super) const ITEMS_MAX: usize = 8192;
/// Bytes of a bundle's hash.
pub const HASH_LEN: usize = 16;
/// Stands for a bundle that is always told whole.
const NO_HASH: [u8; HASH_LEN] = [0; HASH_LEN];

/// A part of a walk: the ends of two directories may belong to it, and whole ones between.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The directory and name of its first item; an empty name stands for the directory itself.
    pub first: (RelPath, Vec<u8>),
    /// What it holds, in order.
    pub pieces: Vec<Piece>,
    /// Of everything that a comparison of two trees looks at.
    pub hash: [u8; HASH_LEN],
    /// The latest and the earliest change time.
    pub changed: (Timestamp, Timestamp),
}

impl Bundle {
    /// Whether this one, of the destination, can stand for one of the source: what is compared is the same, and, as what was
    /// changed since it was copied shows by its time, so is what is not.
    pub fn stands_for(&self, hash: &[u8], latest: Timestamp) -> bool {
        hash != NO_HASH && self.hash == *hash && latest <= self.changed.1
    }

    /// Whether more of its last directory follows.
    pub fn set_open(&mut self, is_open: bool) {
        if let Some(last) = self.pieces.last_mut() {
            last.continues = is_open;
        }
    }

    /// Whether more of its last directory follows.
    pub fn is_open(&self) -> bool {
        self.pieces.last().is_some_and(|last| last.continues)
    }
}

/// Cuts listings, which come in the order of a walk.
#[derive(Debug, Default)]
pub struct Bundler {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    first: (RelPath, Vec<u8>),
    pieces: Vec<Piece>,
    items: usize,
    /// What is hashed.
    text: Vec<u8>,
    latest: Timestamp,
    earliest: Timestamp,
    has_links: bool,
}

impl Open {
    fn new(first: (RelPath, Vec<u8>)) -> Self {
        let latest = Timestamp { seconds: i64::MIN, nanos: 0 };
        let earliest = Timestamp { seconds: i64::MAX, nanos: 0 };
        Self { first, pieces: Vec::new(), items: 0, text: Vec::new(), latest, earliest, has_links: false }
    }

    fn begin(&mut self, path: &RelPath, is_boundary: bool) {
        self.items += 1;
        self.text.push(u8::from(is_boundary));
        self.bytes(path.as_bytes());
        let mut listing = Listing::new(path.clone());
        listing.is_boundary = is_boundary;
        self.pieces.push(Piece { listing, continues: false });
    }

    fn add(&mut self, name: &[u8], metadata: &Metadata) {
        self.items += 1;
        self.latest = self.latest.max(metadata.ctime);
        self.earliest = self.earliest.min(metadata.ctime);
        let is_directory = metadata.kind == EntryKind::Directory;
        // Which names belong together, only numbers of the source's own tell.
        self.has_links |= !is_directory && metadata.links > 1;
        self.text.push(2 + u8::from(metadata.kind));
        self.bytes(name);
        let a = &metadata.attributes;
        // How large a directory is, is its file system's business.
        let size = if is_directory { 0 } else { metadata.size };
        for number in [size, metadata.rdev, a.mtime.seconds as u64] {
            self.text.extend_from_slice(&number.to_le_bytes());
        }
        for number in [a.mtime.nanos, a.mode, a.uid, a.gid] {
            self.text.extend_from_slice(&number.to_le_bytes());
        }
        let last = self.pieces.last_mut().expect("a directory was begun");
        last.listing.push(name, *metadata);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.text.extend_from_slice(bytes);
    }

    fn close(self) -> Bundle {
        let mut hash = NO_HASH;
        if !self.has_links {
            hash.copy_from_slice(&hash_bytes(&self.text).as_bytes()[..HASH_LEN]);
        }
        let changed = (self.latest, self.earliest);
        Bundle { first: self.first, pieces: self.pieces, hash, changed }
    }
}

impl Bundler {
    /// Takes the next listing, and gives bundles that are complete.
    pub fn push(&mut self, listing: &Listing, complete: &mut VecDeque<Bundle>) {
        let seed = mix(0xcbf2_9ce4_8422_2325, listing.path.as_bytes());
        if self.is_due(seed) {
            complete.extend(self.finish());
        }
        let path = &listing.path;
        let open = self.open.get_or_insert_with(|| Open::new((path.clone(), Vec::new())));
        open.begin(path, listing.is_boundary);
        for (name, metadata) in listing.iter() {
            if self.is_due(mix(seed, name)) {
                let mut bundle = self.finish();
                if let Some(bundle) = &mut bundle {
                    bundle.set_open(true);
                }
                complete.extend(bundle);
                let mut next = Open::new((path.clone(), name.to_vec()));
                next.begin(path, listing.is_boundary);
                self.open = Some(next);
            }
            self.open.as_mut().expect("one was begun").add(name, metadata);
        }
    }

    /// Gives what is open still.
    pub fn finish(&mut self) -> Option<Bundle> {
        self.open.take().map(Open::close)
    }

    fn is_due(&self, hash: u64) -> bool {
        let items = self.open.as_ref().map_or(0, |open| open.items);
        items > 0 && (hash.is_multiple_of(ITEMS_MEAN) || items >= ITEMS_MAX)
    }
}

/// FNV-1a, and a last turn so that the low digits depend on all: names decide where is cut, and nothing more.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    hash ^ (hash >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::Attributes;

    fn file(size: u64) -> Metadata {
        Metadata {
            kind: EntryKind::File,
            size,
            allocated: size,
            attributes: Attributes::default(),
            ctime: Timestamp { seconds: 5, nanos: 0 },
            dev: 1,
            ino: 1,
            links: 1,
            rdev: 0,
        }
    }

    fn bundles(names: &[String]) -> Vec<Bundle> {
        let (mut bundler, mut out) = (Bundler::default(), VecDeque::new());
        for directory in names.chunks(700) {
            let mut listing = Listing::new(RelPath::new(format!("d{}", directory[0])).expect("a path"));
            for name in directory {
                listing.push(name.as_bytes(), file(name.len() as u64));
            }
            listing.sort();
            bundler.push(&listing, &mut out);
        }
        out.extend(bundler.finish());
        out.into()
    }

    #[test]
    fn what_is_added_changes_one_bundle() {
        let mut names: Vec<String> = (0..50_000).map(|number| format!("{number:06}-name")).collect();
        let before = bundles(&names);
        assert!(before.len() > 20 && before.len() < 200, "{}", before.len());
        let items: usize =
            before.iter().flat_map(|bundle| &bundle.pieces).map(|piece| piece.listing.len()).sum();
        assert_eq!(items, names.len());
        names[20_000] = "020000-other".to_owned();
        let after = bundles(&names);
        let is_known = |bundle: &&Bundle| {
            before.iter().any(|b| b.first == bundle.first && b.stands_for(&bundle.hash, bundle.changed.0))
        };
        let news = after.iter().filter(|bundle| !is_known(bundle)).count();
        assert!((1..=2).contains(&news), "{news}");
    }

    #[test]
    fn what_changed_after_it_was_copied_is_not_stood_for() {
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let bundle = &bundles(&names)[0];
        assert!(bundle.stands_for(&bundle.hash, Timestamp { seconds: 5, nanos: 0 }));
        assert!(!bundle.stands_for(&bundle.hash, Timestamp { seconds: 5, nanos: 1 }));
        assert!(!bundle.stands_for(&NO_HASH, Timestamp::default()));
    }
}
