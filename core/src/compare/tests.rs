use super::*;
use crate::entry::Attributes;

const OPTIONS: CompareOptions =
    CompareOptions { permissions: true, owner: true, checksum: false, granularity_ns: 1 };

fn metadata(kind: EntryKind) -> Metadata {
    let mtime = Timestamp { seconds: 100, nanos: 5 };
    let attributes = Attributes { mode: 0o644, uid: 1, gid: 1, mtime };
    Metadata { kind, size: 3, allocated: 3, attributes, ctime: mtime, dev: 1, ino: 1, links: 1, rdev: 7 }
}

type Edit = fn(&mut Metadata);

#[test]
fn verdicts() {
    use EntryKind::{BlockDevice, CharDevice, Fifo, File, Symlink};
    use Verdict::{Attributes, Content, Same};
    let checksum = CompareOptions { checksum: true, ..OPTIONS };
    let without = CompareOptions { permissions: false, owner: false, ..OPTIONS };
    let coarse = CompareOptions { granularity_ns: 2_000_000_000, ..OPTIONS };
    let newer: Edit = |m| m.attributes.mtime.seconds += 1;
    let older: Edit = |m| m.attributes.mtime.seconds -= 1;
    let much_older: Edit = |m| m.attributes.mtime.seconds -= 2;
    let longer: Edit = |m| m.size += 1;
    let mode: Edit = |m| m.attributes.mode = 0o600;
    let owner: Edit = |m| m.attributes.gid = 2;
    let device: Edit = |m| m.rdev = 8;
    // What says nothing of content or attributes.
    let elsewhere: Edit =
        |m| (m.dev, m.ino, m.links, m.allocated, m.ctime) = (2, 9, 4, 0, Timestamp::default());
    let table: &[(EntryKind, &CompareOptions, Edit, Verdict)] = &[
        (File, &OPTIONS, elsewhere, Same),
        (File, &OPTIONS, newer, Content),
        // Difference counts, not order: an older source is a restored one.
        (File, &OPTIONS, older, Content),
        (File, &OPTIONS, longer, Content),
        (File, &OPTIONS, mode, Attributes),
        (File, &OPTIONS, owner, Attributes),
        (File, &without, mode, Same),
        (File, &without, owner, Same),
        (File, &coarse, older, Same),
        (File, &coarse, much_older, Content),
        (File, &checksum, elsewhere, Verdict::Ask),
        (File, &checksum, newer, Verdict::Ask),
        (File, &checksum, longer, Content),
        (Symlink, &OPTIONS, mode, Same),
        (Symlink, &OPTIONS, owner, Attributes),
        (Symlink, &OPTIONS, newer, Content),
        (Symlink, &OPTIONS, longer, Content),
        (Symlink, &checksum, newer, Content),
        (Fifo, &OPTIONS, newer, Attributes),
        (Fifo, &OPTIONS, mode, Attributes),
        (Fifo, &checksum, elsewhere, Same),
        (CharDevice, &OPTIONS, device, Content),
        (BlockDevice, &OPTIONS, device, Content),
        (CharDevice, &OPTIONS, elsewhere, Same),
        (CharDevice, &OPTIONS, mode, Attributes),
    ];
    for (row, (kind, options, edit, expected)) in table.iter().enumerate() {
        let source = metadata(*kind);
        let mut destination = source;
        edit(&mut destination);
        assert_eq!(compare(&source, &destination, options), *expected, "row {row}");
        assert_eq!(compare(&destination, &source, options), *expected, "row {row}, the other way round");
    }
}

#[test]
fn another_kind_is_other_content() {
    let kinds = [0, 2, 3, 4, 5, 6].map(|number| EntryKind::try_from(number).expect("a kind"));
    for (a, b) in kinds.iter().flat_map(|a| kinds.map(|b| (*a, b))) {
        let verdict = compare(&metadata(a), &metadata(b), &OPTIONS);
        assert_eq!(verdict == Verdict::Content, a != b, "{a:?} and {b:?}");
    }
}

#[test]
fn times_far_apart_do_not_overflow() {
    let (first, last) =
        (Timestamp { seconds: i64::MIN, nanos: 0 }, Timestamp { seconds: i64::MAX, nanos: 0 });
    assert!(!same_time(first, last, u64::MAX));
}
