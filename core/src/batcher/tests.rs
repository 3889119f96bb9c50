use super::*;
use crate::entry::{Attributes, EntryKind, Metadata, Timestamp};
use proptest::prelude::*;

#[derive(Default)]
struct Steps(Vec<Step>);

impl StepSink for Steps {
    fn step(&mut self, id: StepId, step: Step) -> Result<(), SinkError> {
        assert_eq!(id.0, self.0.len() as u64, "numbered as they come");
        self.0.push(step);
        Ok(())
    }
}

fn put(number: usize, size: u64) -> Item {
    let source = Metadata {
        kind: EntryKind::File,
        size,
        allocated: size,
        attributes: Attributes::default(),
        ctime: Timestamp::default(),
        dev: 1,
        ino: number as u64,
        links: 1,
        rdev: 0,
    };
    Item { name: number.to_string().into_bytes(), change: Change::Put { source, existing: None } }
}

fn class(number: usize) -> Class {
    [Class::Critical, Class::Ordinary, Class::Bulk][number % 3]
}

fn directory(number: usize) -> RelPath {
    RelPath::new(format!("d{number}")).expect("a plain name")
}

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    let size = prop_oneof![
        6 => 0..5000_u64,
        2 => 0..LARGE_FILE_BYTES,
        1 => LARGE_FILE_BYTES..LARGE_FILE_BYTES * 4,
    ];
    prop::collection::vec(size, 0..3000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn steps_keep_their_limits_and_lose_nothing(sizes in sizes(), width in 1..700_usize) {
        let mut steps = Steps::default();
        let mut batcher = Batcher::new(&mut steps);
        for (number, &size) in sizes.iter().enumerate() {
            let (class, directory) = (class(number), directory(number / width));
            batcher.add(Phase::Files, class, &directory, put(number, size)).expect("memory");
            prop_assert!(batcher.open.len() <= 3, "one open step a class");
        }
        let count = batcher.finish().expect("memory");
        prop_assert_eq!(count, steps.0.len() as u64);
        for step in &steps.0 {
            let items = step.items().count();
            prop_assert!(items <= STEP_ITEMS && items > 0);
            prop_assert!(items == 1 || step.bytes() < STEP_BYTES + LARGE_FILE_BYTES);
            prop_assert!(items == 1 || step.items().all(|item| item.change.bytes() < LARGE_FILE_BYTES));
        }
        let mut names: Vec<usize> = steps.0.iter().flat_map(Step::items).map(number_of).collect();
        names.sort_unstable();
        prop_assert_eq!(names, (0..sizes.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_directory_travels_whole_up_to_its_limits(sizes in sizes()) {
        let mut steps = Steps::default();
        let mut batcher = Batcher::new(&mut steps);
        let items: Vec<_> =
            sizes.iter().enumerate().map(|(number, &size)| (class(number), put(number, size))).collect();
        let path = directory(0);
        batcher
            .add_new_directory(Phase::Files, Phase::Late, &path, DirectoryState::Exists, items)
            .expect("memory");
        batcher.finish().expect("memory");
        let (first, rest): (Vec<_>, Vec<_>) = steps.0.iter().partition(|step| step.phase == Phase::Files);
        prop_assert_eq!(first.len(), 1, "one step makes the directory");
        let with_it: Vec<_> = first[0].items().map(|item| item.change.bytes()).collect();
        prop_assert!(with_it.len() <= NEW_DIRECTORY_ITEMS);
        prop_assert!(with_it.iter().sum::<u64>() <= NEW_DIRECTORY_BYTES);
        prop_assert!(with_it.iter().all(|&bytes| bytes < LARGE_FILE_BYTES));
        prop_assert!(rest.iter().all(|step| step.phase == Phase::Late));
        let total: usize = steps.0.iter().map(|step| step.items().count()).sum();
        prop_assert_eq!(total, sizes.len());
    }
}

fn number_of(item: &Item) -> usize {
    std::str::from_utf8(&item.name).expect("digits").parse().expect("digits")
}

#[test]
fn an_empty_directory_is_a_step_too() {
    let mut steps = Steps::default();
    let mut batcher = Batcher::new(&mut steps);
    let state = DirectoryState::Exists;
    batcher.add_new_directory(Phase::Files, Phase::Files, &directory(1), state, Vec::new()).expect("memory");
    assert!(!batcher.is_empty());
    assert_eq!(batcher.finish().expect("memory"), 1);
}

#[test]
fn a_sink_that_fails_ends_it() {
    struct Full;
    impl StepSink for Full {
        fn step(&mut self, _: StepId, _: Step) -> Result<(), SinkError> {
            Err(SinkError("full".into()))
        }
    }
    let mut full = Full;
    let mut batcher = Batcher::new(&mut full);
    let path = directory(1);
    batcher.add(Phase::Files, Class::default(), &path, put(1, 1)).expect("still open");
    assert!(batcher.add(Phase::Files, Class::default(), &path, put(2, LARGE_FILE_BYTES)).is_err());
}
