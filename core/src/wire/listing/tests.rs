use super::*;
use crate::entry::{Attributes, EntryKind, Metadata, Timestamp};
use crate::rel_path::RelPath;
use proptest::prelude::*;

type Row = (Vec<u8>, Metadata);

/// A listing as a value that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    path: RelPath,
    is_boundary: bool,
    rows: Vec<Row>,
}

impl Directory {
    fn of(listing: &Listing) -> Self {
        let rows = listing.iter().map(|(name, metadata)| (name.to_vec(), *metadata)).collect();
        Self { path: listing.path.clone(), is_boundary: listing.is_boundary, rows }
    }

    fn listing(&self) -> Listing {
        let mut listing = Listing::new(self.path.clone());
        listing.is_boundary = self.is_boundary;
        self.rows.iter().for_each(|(name, metadata)| listing.push(name, *metadata));
        listing.sort();
        listing
    }
}

fn packs(directories: &[Directory], packer: &mut ListingPacker) -> Vec<Vec<u8>> {
    let mut packs = Vec::new();
    for directory in directories {
        let listing = directory.listing();
        let mut next = packer.push(&listing, 0);
        while let Some(from) = next {
            packs.push(packer.finish());
            next = packer.push(&listing, from);
        }
    }
    packs.push(packer.finish());
    packs
}

/// Directories again, put together from their pieces.
fn read(packs: &[Vec<u8>]) -> Result<Vec<Directory>, ListingError> {
    let mut directories: Vec<Directory> = Vec::new();
    let mut is_open = false;
    for pack in packs {
        for piece in unpack(pack)? {
            let mut part = Directory::of(&piece.listing);
            match directories.last_mut().filter(|_| is_open) {
                None => directories.push(part),
                Some(whole) => {
                    assert_eq!(whole.path, part.path, "the piece that continues comes next");
                    whole.rows.append(&mut part.rows);
                }
            }
            is_open = piece.continues;
        }
    }
    assert!(!is_open, "the last piece is the last");
    Ok(directories)
}

fn file(at: u64) -> Metadata {
    Metadata {
        kind: EntryKind::File,
        size: at * 977 % 8192,
        allocated: (at * 977 % 8192).next_multiple_of(4096),
        attributes: Attributes {
            mode: 0o644,
            uid: 1000,
            gid: 100,
            mtime: Timestamp {
                seconds: 1_700_000_000 + at as i64,
                nanos: (at * 7_919_317 % 1_000_000_000) as u32,
            },
        },
        ctime: Timestamp {
            seconds: 1_700_000_000 + at as i64,
            nanos: (at * 7_919_317 % 1_000_000_000) as u32,
        },
        dev: 0x801,
        ino: 1_000_000 + at,
        links: 1,
        rdev: 0,
    }
}

fn directory(path: &str, rows: u64) -> Directory {
    let rows = (0..rows).map(|at| (format!("file_{at:06}.txt").into_bytes(), file(at))).collect();
    Directory { path: RelPath::new(path).expect("a path"), is_boundary: false, rows }
}

#[test]
fn a_large_directory_spans_packs() {
    let directories =
        [directory("", 3), directory("many", 200_000), directory("none", 0), directory("one", 1)];
    let packs = packs(&directories, &mut ListingPacker::new());
    assert!(packs.len() > 3 && packs.iter().all(|pack| pack.len() <= 1 << 20), "{} packs", packs.len());
    assert_eq!(read(&packs).expect("just packed"), directories);
}

#[test]
fn the_usual_costs_what_cannot_be_foreseen() {
    let packs = packs(&[directory("d", 10_000)], &mut ListingPacker::new());
    let bytes: usize = packs.iter().map(Vec::len).sum();
    // Nanoseconds 4, size 2, allocated 1; a name's digits 3 with where they are; inode and second 1 each.
    assert!(bytes < 10_000 * 13, "{bytes}");
}

#[test]
fn a_pack_can_be_empty() {
    let empty = ListingPacker::new().finish();
    assert_eq!(empty, [VERSION, 0, 0, 0]);
    assert!(unpack(&empty).expect("a pack").is_empty());
}

#[test]
fn long_names_fill_a_pack_by_their_bytes() {
    let long = |at: u32| [&vec![b'n'; 60_000][..], &at.to_be_bytes().map(|byte| byte | 0x80)].concat();
    let mut many = directory("d", 0);
    many.rows = (0..1000).filter(|at| at & 0x80 == 0).map(|at| (long(at), file(u64::from(at)))).collect();
    let packs = packs(std::slice::from_ref(&many), &mut ListingPacker::new());
    assert_eq!(read(&packs).expect("just packed"), [many]);
    assert!(packs.len() > 1 && packs.iter().all(|pack| pack.len() < 100_000), "the names hardly differ");
}

/// A pack of one directory, with columns as given.
fn crafted(directories: u64, entries: u64, columns: &[&[u64]], middles: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION];
    varint::put(&mut out, directories);
    varint::put(&mut out, entries);
    let mut writer = column::ColumnWriter::default();
    let (head, rest) = columns.split_at(7);
    let mut put = |out: &mut Vec<u8>, columns: &[&[u64]]| {
        for values in columns {
            writer.put(out, values);
        }
    };
    put(&mut out, head);
    out.extend_from_slice(middles);
    let (rest, times) = rest.split_at(rest.len() - 2);
    put(&mut out, rest);
    out.push(0);
    put(&mut out, times);
    out
}

/// The root with entries of these names, written out one by one.
fn named(names: &[&str]) -> Vec<u8> {
    let count = names.len();
    let zeros = vec![0; count];
    let lens: Vec<u64> = names.iter().map(|name| name.len() as u64).collect();
    let mut columns: Vec<&[u64]> = vec![&[0], &[], &[0], &[0], &zeros, &zeros, &lens];
    let counts = [count as u64];
    columns[1] = &counts;
    columns.extend(std::iter::repeat_n(&zeros[..], 14));
    crafted(1, count as u64, &columns, names.concat().as_bytes())
}

#[test]
fn names_are_judged() {
    assert_eq!(unpack(&named(&["a", "a.b", "b"])).expect("sorted").len(), 1);
    let directory = RelPath::root();
    for names in [&["b", "a"][..], &["a", "a"], &["ab", "a"]] {
        let refused = unpack(&named(names)).expect_err("not in order");
        assert_eq!(refused, ListingError::Order { directory: directory.clone() }, "{names:?}");
    }
    for names in [&[""][..], &["."], &[".."], &["a/b"], &["/"], &["a\0"], &["a", "b", "c/../../x"]] {
        let refused = unpack(&named(names)).expect_err("no name");
        assert_eq!(refused, ListingError::Name { directory: directory.clone() }, "{names:?}");
    }
}

#[test]
fn claims_are_checked_before_memory_is_spent() {
    let claims = |directories: u64, entries: u64| {
        let mut out = vec![VERSION];
        varint::put(&mut out, directories);
        varint::put(&mut out, entries);
        unpack(&out).expect_err("it holds nothing")
    };
    let max = PACK_ENTRIES_MAX;
    assert_eq!(claims(1 << 60, 1), ListingError::TooMany { what: "directories", max });
    assert_eq!(claims(1, 1 << 60), ListingError::TooMany { what: "entries", max });
    assert_eq!(claims(1, 1), ListingError::Column { column: "flags" });
    assert_eq!(unpack(&[9]).expect_err("a version to come"), ListingError::Version { version: 9 });
    assert!(matches!(unpack(&[]), Err(ListingError::Column { .. })));
    assert!(matches!(unpack(&vec![1; PACK_BYTES_MAX + 1]), Err(ListingError::TooMany { what: "bytes", .. })));
    let mut longer = named(&["a"]);
    longer.push(0);
    assert_eq!(unpack(&longer).expect_err("a byte too many"), ListingError::Trailing { count: 1 });
}

#[test]
fn few_bytes_do_not_become_gigabytes_of_names() {
    // 60 000 names, each the one before and a byte more.
    let count = 60_000_u64;
    let constant = |value: u64| vec![value; count as usize];
    let beginnings: Vec<u64> = (0..count).map(|at| if at == 0 { 0 } else { 59_999 + at }).collect();
    let mut lens = constant(1);
    lens[0] = 60_000;
    let zeros = constant(0);
    let counts = [count];
    let mut columns: Vec<&[u64]> = vec![&[0], &counts, &[0], &[0], &beginnings, &zeros, &lens];
    columns.extend(std::iter::repeat_n(&zeros[..], 14));
    let bomb = crafted(1, count, &columns, &vec![b'x'; 119_999]);
    assert!(bomb.len() < 200_000);
    assert_eq!(
        unpack(&bomb).expect_err("too much"),
        ListingError::TooMany { what: "names", max: PACK_TEXT_MAX }
    );
}

#[test]
fn what_is_allocated_comes_back() {
    let edges = [0, 1, 4095, 4096, 4097, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX - 4096, u64::MAX];
    for size in edges {
        for bytes in edges {
            assert_eq!(allocated(size, allocation(size, bytes)), bytes, "{bytes} of {size}");
        }
    }
    assert_eq!([allocation(5000, 8192), allocation(5000, 0), allocation(0, 0)], [0, 1, 0]);
}

fn times() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![any::<i64>(), -9..9_i64, Just(1_700_000_000)];
    let nanos = prop_oneof![0..1_000_000_000_u32, Just(0), Just(500), any::<u32>()];
    (seconds, nanos).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..20_000_u64, Just(0), Just(u64::MAX)]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let kinds = (0..7_u8).prop_map(|kind| EntryKind::try_from(kind).expect("a kind"));
    let owners = (any::<u32>(), prop_oneof![Just(0_u32), any::<u32>()], 0..3_u32, 1..3_u32);
    let ids = (numbers(), numbers(), numbers(), numbers(), numbers());
    (kinds, owners, times(), times(), any::<bool>(), ids).prop_map(
        |(kind, owner, mtime, ctime, same, ids)| {
            let (mode, uid, gid, links) = owner;
            let (size, allocated, dev, ino, rdev) = ids;
            let ctime = if same { mtime } else { ctime };
            let attributes = Attributes { mode, uid, gid, mtime };
            Metadata { kind, size, allocated, attributes, ctime, dev, ino, links, rdev }
        },
    )
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(1_u8.., 1..20).prop_map(|name| {
        name.into_iter().map(|byte| if byte == b'/' { b'.' } else { byte }).collect::<Vec<u8>>()
    });
    let usual = "[a-c]{0,3}_[0-9]{2}\\.(txt|tx|t)".prop_map(String::into_bytes);
    prop_oneof![bytes, usual].prop_filter("a name", |name| !matches!(&name[..], b"." | b".."))
}

fn directories() -> impl Strategy<Value = Vec<Directory>> {
    let paths = prop::collection::vec(names(), 0..4)
        .prop_map(|parts| RelPath::new(parts.join(&b'/')).expect("names make a path"));
    let rows = prop::collection::btree_map(names(), metadata(), 0..30);
    let directory = (paths, prop::bool::weighted(0.1), rows).prop_map(|(path, is_boundary, rows)| {
        let rows = if is_boundary { Vec::new() } else { rows.into_iter().collect() };
        Directory { path, is_boundary, rows }
    });
    prop::collection::vec(directory, 0..8)
}

proptest! {
    #[test]
    fn any_listings_come_back(directories in directories()) {
        let mut packer = ListingPacker::new();
        for _ in 0..2 {
            let packs = packs(&directories, &mut packer);
            prop_assert_eq!(&read(&packs).expect("just packed"), &directories);
        }
        let [pack] = &packs(&directories, &mut packer)[..] else { panic!("so few fit in one") };
        for cut in (0..pack.len()).step_by(1 + pack.len() / 64) {
            prop_assert!(unpack(&pack[..cut]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>) {
        let _ = unpack(&bytes);
        bytes.insert(0, VERSION);
        let _ = unpack(&bytes);
    }

    #[test]
    fn a_damaged_pack_is_read_or_refused(
        directories in directories(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut pack = packs(&directories, &mut ListingPacker::new()).remove(0);
        for (at, byte) in damage {
            let at = at.index(pack.len());
            pack[at] = byte;
        }
        for piece in unpack(&pack).unwrap_or_default() {
            let directory = Directory::of(&piece.listing);
            prop_assert!(directory.rows.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(directory.rows.iter().all(|(name, _)| directory.path.join(name).is_ok()));
        }
    }
}
