use super::*;
use crate::entry::{Attributes, EntryKind, Timestamp};
use proptest::prelude::*;

fn metadata() -> impl Strategy<Value = Metadata> {
    let times = (any::<i64>(), 0..1_000_000_000_u32, any::<i64>());
    (0..7_u8, any::<[u64; 5]>(), any::<[u32; 4]>(), times).prop_map(|(kind, wide, narrow, times)| {
        let [size, allocated, dev, ino, rdev] = wide;
        let [mode, uid, gid, links] = narrow;
        let mtime = Timestamp { seconds: times.0, nanos: times.1 };
        Metadata {
            kind: EntryKind::try_from(kind).expect("a kind"),
            size,
            allocated,
            attributes: Attributes { mode, uid, gid, mtime },
            ctime: Timestamp { seconds: times.2, nanos: times.1 },
            dev,
            ino,
            links,
            rdev,
        }
    })
}

fn paths() -> impl Strategy<Value = RelPath> {
    let name = prop::collection::vec(prop_oneof![1..=46_u8, 48..=255_u8], 1..6);
    prop::collection::vec(name, 0..4)
        .prop_filter_map("`.` and `..` are no names", |names| RelPath::new(names.join(&b'/')).ok())
}

fn changes() -> impl Strategy<Value = Change> {
    let existing = || prop::option::of(metadata());
    prop_oneof![
        (metadata(), existing()).prop_map(|(source, existing)| Change::Put { source, existing }),
        (metadata(), metadata()).prop_map(|(source, existing)| Change::Attributes { source, existing }),
        (paths(), metadata(), existing()).prop_map(|(to, source, existing)| Change::Link {
            to,
            source,
            existing
        }),
        metadata().prop_map(|existing| Change::Delete { existing }),
        metadata().prop_map(|source| Change::Finish { source }),
    ]
}

fn groups() -> impl Strategy<Value = Group> {
    let state = prop_oneof![
        Just(DirectoryState::Exists),
        (metadata(), prop::option::of(metadata()))
            .prop_map(|(source, existing)| DirectoryState::New { source, existing }),
    ];
    let name = prop::collection::vec(any::<u8>(), 0..9);
    let items =
        prop::collection::vec((name, changes()).prop_map(|(name, change)| Item { name, change }), 0..5);
    (paths(), state, items).prop_map(|(directory, state, items)| Group { directory, state, items })
}

fn classes() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![Class::Critical, Class::Document, Class::Ordinary, Class::Media, Class::Bulk])
}

fn steps() -> impl Strategy<Value = Step> {
    let phase = prop::sample::select(Phase::ALL.to_vec());
    (phase, classes(), prop::collection::vec(groups(), 0..4)).prop_map(|(phase, class, groups)| Step {
        phase,
        class,
        groups,
    })
}

/// A step of one file.
fn one_file(phase: Phase, class: Class, size: u64) -> Step {
    let source = Metadata {
        kind: EntryKind::File,
        size,
        allocated: size,
        attributes: Attributes::default(),
        ctime: Timestamp::default(),
        dev: 1,
        ino: 1,
        links: 1,
        rdev: 0,
    };
    let item = Item { name: b"f".to_vec(), change: Change::Put { source, existing: None } };
    let group = Group { directory: RelPath::root(), state: DirectoryState::Exists, items: vec![item] };
    Step { phase, class, groups: vec![group] }
}

proptest! {
    #[test]
    fn stored_form_round_trips(step in steps()) {
        let bytes = step.encode();
        prop_assert_eq!(Step::decode(&bytes).expect("just encoded"), step);
    }

    #[test]
    fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(Step::decode(&bytes));
    }

    #[test]
    fn a_damaged_step_does_not_panic(step in steps(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = step.encode();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
            prop_assert!(Step::decode(&bytes).is_err(), "half a step is none");
        } else {
            bytes[at] = byte;
            drop(Step::decode(&bytes));
        }
    }

    #[test]
    fn phase_then_class_then_size(a in steps(), b in steps(), ids: [u32; 2]) {
        let [a_id, b_id] = ids.map(|id| StepId(u64::from(id)));
        let is_ordered = a.phase == b.phase && matches!(a.phase, Phase::Deletions | Phase::Directories);
        let expected = if is_ordered {
            // The plan numbers parents first, and children go first.
            b_id.cmp(&a_id)
        } else {
            let largest = |step: &Step| step.items().map(|item| item.change.bytes()).max().unwrap_or(0);
            let magnitude = |step: &Step| u64::BITS - (largest(step) >> 20).leading_zeros();
            (a.phase, a.class, magnitude(&a)).cmp(&(b.phase, b.class, magnitude(&b)))
        };
        prop_assert_eq!(a.rank(a_id).cmp(&b.rank(b_id)), expected);
    }
}

#[test]
fn what_matters_comes_first() {
    let order = [
        one_file(Phase::Files, Class::Critical, 10),
        one_file(Phase::Files, Class::Critical, 3 << 20),
        one_file(Phase::Files, Class::Document, 10),
        one_file(Phase::Files, Class::Bulk, 1 << 40),
        one_file(Phase::Links, Class::Critical, 0),
        one_file(Phase::Deletions, Class::Critical, 0),
        one_file(Phase::Late, Class::Critical, 0),
        one_file(Phase::LateLinks, Class::Critical, 0),
        one_file(Phase::Directories, Class::Critical, 0),
    ];
    // Whatever their numbers.
    let ranks: Vec<_> = order.iter().zip((0..9).rev()).map(|(step, id)| step.rank(StepId(id))).collect();
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
}

#[test]
fn phases_follow_each_other() {
    let mut phase = Phase::ALL[0];
    for next in &Phase::ALL[1..] {
        assert_eq!(phase.next(), Some(*next));
        assert!(phase < *next);
        phase = *next;
    }
    assert_eq!(phase.next(), None);
}
