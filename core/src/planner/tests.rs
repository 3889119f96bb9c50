mod carry_out;
mod expected;
mod tree;

use super::*;
use crate::filter::KeepAll;
use crate::plan::{Change, DirectoryState, Step, StepId};
use carry_out::{Bench, Refusal};
use expected::{Rules, expected, facts};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use tree::{MemoryScan, Planting, SkipFilter, Times, Tree, path, plantings};

/// Answers from the two trees, and counts faults.
struct World<'a> {
    source: &'a Tree,
    destination: &'a Tree,
}

impl PlanWorld for World<'_> {
    fn same_content(&self, pairs: &[ContentPair]) -> Vec<Result<bool, SystemError>> {
        let content = |tree: &Tree, path| tree.objects[path].content;
        pairs
            .iter()
            .map(|pair| Ok(content(self.source, &pair.path) == content(self.destination, &pair.path)))
            .collect()
    }

    fn class_of(&self, _: &RelPath) -> Class {
        Class::Media
    }

    fn fault(&self, _: &RelPath, _: &PlanFault) {}

    fn notice(&self, _: &RelPath, _: &str) {}

    fn progress(&self, _: u64) -> bool {
        true
    }
}

#[derive(Default)]
struct Steps(Vec<(StepId, Step)>);

impl StepSink for Steps {
    fn step(&mut self, id: StepId, step: Step) -> Result<(), SinkError> {
        assert_eq!(id.0, self.0.len() as u64, "steps are numbered as they come");
        self.0.push((id, step));
        Ok(())
    }
}

/// A pair of trees and how they are synced.
#[derive(Clone, Debug)]
struct Case {
    source: Tree,
    destination: Tree,
    mirror: bool,
    checksum: bool,
    filtered: bool,
    source_failing: BTreeSet<RelPath>,
    destination_failing: BTreeSet<RelPath>,
}

impl Case {
    fn new(source: Tree, destination: Tree) -> Self {
        Self {
            source,
            destination,
            mirror: true,
            checksum: false,
            filtered: false,
            source_failing: BTreeSet::new(),
            destination_failing: BTreeSet::new(),
        }
    }

    fn filter(&self) -> &'static dyn PathFilter {
        if self.filtered { &SkipFilter } else { &KeepAll }
    }

    fn options(&self) -> PlanOptions {
        let checksum = self.checksum;
        let compare = CompareOptions { permissions: true, owner: false, checksum, granularity_ns: 1 };
        PlanOptions { compare, mirror: self.mirror, devices: true }
    }

    fn plan(&self) -> (Totals, Vec<(StepId, Step)>) {
        let world = World { source: &self.source, destination: &self.destination };
        let mut from = self.source.scan(self.filter(), &self.source_failing);
        let mut to = self.destination.scan(&KeepAll, &self.destination_failing);
        let root = |tree: &Tree| tree.objects[&RelPath::root()].metadata;
        let roots = (root(&self.source), Some(root(&self.destination)));
        let mut steps = Steps::default();
        let to: &mut (dyn Scan + 'static) = &mut to;
        let planned = plan((&mut from, Some(to)), roots, self.options(), self.filter(), &world, &mut steps);
        (planned.expect("memory takes every step"), steps.0)
    }

    fn carry_out(&self, turn: u64) -> Bench<'_> {
        let (totals, steps) = self.plan();
        let mut bench = Bench::new(&self.source, &self.destination);
        bench.run(&steps, totals.faults, turn);
        bench
    }

    fn expected(&self) -> BTreeMap<RelPath, expected::Facts> {
        let failing = !self.source_failing.is_empty() || !self.destination_failing.is_empty();
        expected(&Rules {
            source: &self.source,
            destination: &self.destination,
            filter: self.filter(),
            deletes: self.mirror && !(failing && self.plan().0.faults > 0),
            source_failing: &self.source_failing,
            destination_failing: &self.destination_failing,
        })
    }
}

fn build(plantings: [&[Planting]; 3], checksum: bool) -> Case {
    let [both, source, destination] = plantings;
    let times = if checksum { Times::Independent } else { Times::FollowContent };
    let source = Tree::build(1, &[both, source], times);
    Case { checksum, ..Case::new(source, Tree::build(2, &[both, destination], times)) }
}

fn cases() -> impl Strategy<Value = Case> {
    let parts = (plantings(12), plantings(10), plantings(10), any::<[bool; 3]>());
    parts.prop_map(|(both, source, destination, [mirror, checksum, filtered])| Case {
        mirror,
        filtered,
        ..build([&both, &source, &destination], checksum)
    })
}

/// Some directories of either side cannot be read.
fn failing_cases() -> impl Strategy<Value = Case> {
    let some = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    (cases(), some(), some()).prop_map(|(mut case, source, destination)| {
        let pick = |tree: &Tree, at: Vec<prop::sample::Index>| {
            let all: Vec<_> = tree.objects.keys().filter(|path| tree.is_directory(path)).cloned().collect();
            at.iter().map(|index| index.get(&all).clone()).collect()
        };
        case.source_failing = pick(&case.source, source);
        case.destination_failing = pick(&case.destination, destination);
        case
    })
}

/// Holds what a plan left against what it should have left.
fn check_result(case: &Case, bench: &Bench<'_>) -> Result<(), TestCaseError> {
    let mut expected = case.expected();
    for (path, refusal) in &bench.refused {
        let is_directory = case.destination.is_directory(path);
        // The only refusals: a directory that holds what may not be deleted, and further names of a file in its place.
        prop_assert!(
            *refusal == Refusal::Occupied && is_directory || *refusal == Refusal::Changed,
            "{path}: {refusal:?}"
        );
    }
    let refused_names: BTreeSet<_> = bench.refused.iter().map(|(path, _)| path).collect();
    for (path, refusal) in &bench.refused {
        if *refusal == Refusal::Changed {
            let inode = case.source.objects[path].metadata.ino;
            let first_is_occupied = bench.refused.iter().any(|(other, why)| {
                *why == Refusal::Occupied
                    && case.source.objects.get(other).map(|o| o.metadata.ino) == Some(inode)
            });
            prop_assert!(first_is_occupied, "{} was refused", path);
            if case.destination.objects.contains_key(path) {
                expected.insert(path.clone(), facts(&case.destination, path));
            } else {
                expected.remove(path);
            }
        }
    }
    for (path, wanted) in &expected {
        prop_assert!(bench.tree.objects.contains_key(path), "{} is missing", path);
        let mut found = facts(&bench.tree, path);
        if wanted.3.is_none() || refused_names.contains(path) {
            found.3 = wanted.3;
        }
        prop_assert_eq!(found, *wanted, "{}", path);
    }
    for path in bench.tree.objects.keys() {
        prop_assert!(expected.contains_key(path), "{} should be gone", path);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn carrying_out_a_plan_gives_the_source(case in cases(), turn: u64) {
        let bench = case.carry_out(turn);
        check_result(&case, &bench)?;
        prop_assert!(bench.shared_writes.is_empty(), "{:?}", bench.shared_writes);
    }

    #[test]
    fn what_cannot_be_read_is_not_touched_and_nothing_is_deleted(case in failing_cases(), turn: u64) {
        check_result(&case, &case.carry_out(turn))?;
    }

    #[test]
    fn further_names_stay_further_names(case in cases(), turn: u64) {
        let bench = case.carry_out(turn);
        if !bench.refused.is_empty() {
            return Ok(());
        }
        let mut inodes = BTreeMap::new();
        for (path, object) in &case.source.objects {
            let is_there = bench.tree.objects.get(path).is_some_and(|found| found.metadata.is_file());
            let excluded = path.components().any(|name| name == b"skip" || (case.filtered && name == b"b"));
            if object.metadata.is_file() && is_there && !(case.filtered && excluded) {
                let inode = bench.tree.objects[path].metadata.ino;
                prop_assert_eq!(*inodes.entry(object.metadata.ino).or_insert(inode), inode, "{}", path);
            }
        }
    }

    #[test]
    fn a_second_plan_has_nothing_to_do(case in cases(), turn: u64) {
        let bench = case.carry_out(turn);
        if !bench.refused.is_empty() {
            return Ok(());
        }
        let mut destination = bench.tree.clone();
        destination.recount_links();
        let again = Case { destination, ..case.clone() };
        let (totals, steps) = again.plan();
        prop_assert!(totals.is_nothing_to_do(), "{steps:?}");
    }

    #[test]
    fn each_path_is_planned_once(case in failing_cases()) {
        let (_, steps) = case.plan();
        let (mut paths, mut finished) = (BTreeSet::new(), BTreeSet::new());
        for group in steps.iter().flat_map(|(_, step)| &step.groups) {
            if matches!(group.state, DirectoryState::New { .. }) {
                prop_assert!(paths.insert(group.directory.clone()), "{} twice", group.directory);
            }
            for item in &group.items {
                if matches!(item.change, Change::Finish { .. }) {
                    prop_assert!(finished.insert(group.directory.clone()), "{} twice", group.directory);
                } else {
                    let path = group.directory.join(&item.name).expect("a plain name");
                    prop_assert!(paths.insert(path.clone()), "{path} twice");
                }
            }
        }
    }

    #[test]
    fn excluded_paths_are_in_no_plan(case in failing_cases()) {
        let case = Case { filtered: true, ..case };
        for item_path in planned_paths(&case.plan().1) {
            prop_assert!(!item_path.components().any(|name| name == b"skip"), "{item_path}");
        }
    }

    #[test]
    fn totals_agree_with_the_steps(case in cases()) {
        let (totals, steps) = case.plan();
        prop_assert_eq!(totals.steps, steps.len() as u64);
        prop_assert_eq!(totals.bytes_planned, steps.iter().map(|(_, step)| step.bytes()).sum::<u64>());
        let count = |pick: fn(&Change) -> bool| {
            steps.iter().flat_map(|(_, step)| step.items()).filter(|item| pick(&item.change)).count() as u64
        };
        let puts = count(|change| matches!(change, Change::Put { .. } | Change::Link { .. }));
        prop_assert_eq!(totals.files_new + totals.files_changed, puts);
        prop_assert_eq!(totals.files_attributes, count(|change| matches!(change, Change::Attributes { .. })));
        prop_assert_eq!(totals.files_deleted, count(|change| matches!(change, Change::Delete { .. })));
        let groups = steps.iter().flat_map(|(_, step)| &step.groups);
        let new = groups.filter(|group| matches!(group.state, DirectoryState::New { .. })).count() as u64;
        prop_assert_eq!(totals.directories_new, new);
        let judged = totals.files_new + totals.files_changed + totals.files_attributes + totals.files_unchanged;
        prop_assert_eq!(totals.files_total, judged);
        if case.mirror && !case.filtered && !case.source.has_sockets() {
            prop_assert_eq!(totals.destination_entries, case.destination.objects.len() as u64 - 1);
        }
    }

    #[test]
    fn directories_to_come_are_forgotten(case in failing_cases()) {
        pending_max(&case, usize::MAX)?;
    }
}

/// Every path that a plan names.
fn planned_paths(steps: &[(StepId, Step)]) -> Vec<RelPath> {
    let groups = steps.iter().flat_map(|(_, step)| &step.groups);
    groups
        .flat_map(|group| {
            let items = group.items.iter().filter(|item| !item.name.is_empty());
            let items = items.map(|item| group.directory.join(&item.name).expect("a plain name"));
            items.chain([group.directory.clone()]).collect::<Vec<_>>()
        })
        .collect()
}

/// Joins directory by directory and looks at what is remembered meanwhile; at the end it must be nothing.
fn pending_max(case: &Case, limit: usize) -> Result<(), TestCaseError> {
    let world = World { source: &case.source, destination: &case.destination };
    let mut steps = Steps::default();
    let root = |tree: &Tree| tree.objects[&RelPath::root()].metadata;
    let root = Pending {
        source: root(&case.source),
        destination: Some(root(&case.destination)),
        phase: Phase::Files,
    };
    let mut planner = Planner {
        options: case.options(),
        filter: case.filter(),
        world: &world,
        batcher: Batcher::new(&mut steps),
        totals: Totals::default(),
        links: Links::default(),
        pending: HashMap::from([(RelPath::root(), root)]),
        phase: Phase::Files,
        root,
        root_finished: false,
        scanned: 0,
    };
    let mut from = case.source.scan(case.filter(), &case.source_failing);
    let mut to = case.destination.scan(&KeepAll, &case.destination_failing);
    let mut next = (from.next(), to.next());
    while let Some(path) = next.0.iter().chain(&next.1).map(path_of).min().cloned() {
        let take = |found: &mut Option<_>, scan: &mut MemoryScan| {
            let due = found.as_ref().is_some_and(|found| *path_of(found) == path);
            if due { std::mem::replace(found, scan.next()) } else { None }
        };
        // Without pruning, which only saves work: what is not announced is passed over.
        let (source, destination) = (take(&mut next.0, &mut from), take(&mut next.1, &mut to));
        planner.directory(source, destination, &mut Vec::new(), &mut Vec::new()).expect("memory");
        prop_assert!(planner.pending.len() <= limit, "{} pending", planner.pending.len());
    }
    prop_assert!(planner.pending.is_empty(), "{:?}", planner.pending.keys());
    Ok(())
}

#[test]
fn what_is_remembered_is_bounded_by_the_path_in_hand() {
    let mut source = Tree::new(1);
    // 8 + 8² + 8³ directories, of which at most the siblings on the way down may be waiting.
    for deep in 0..512 {
        let (a, b, c) = (deep / 64, deep / 8 % 8, deep % 8);
        for text in [format!("d{a}"), format!("d{a}/d{b}"), format!("d{a}/d{b}/d{c}")] {
            let directory = source.make_directory(0o755);
            source.objects.entry(path(&text)).or_insert(directory);
        }
    }
    pending_max(&Case::new(source, Tree::new(2)), 3 * 8).expect("few are waiting");
}

/// A scripted pair of trees, and the plan as reviewed.
#[test]
fn a_plan_as_reviewed() {
    let source = Tree::scripted(
        1,
        "notes.txt 1\nkeys/id.pem 1\nkeys/list 2\nimage.iso 3\nwas-dir 1\nwas-file/new 1\nwas-file/deep/x 2\nsame 1\nmode 1 600\n",
    );
    let destination = Tree::scripted(
        2,
        "notes.txt 2\nimage.iso 2\nwas-dir/old 1\nwas-file 1\nsame 1\nmode 1\ngone/a 1\ngone/b/c 2\n",
    );
    let (totals, steps) = Case::new(source, destination).plan();
    let mut in_order: Vec<_> = steps.iter().collect();
    in_order.sort_by_key(|(id, step)| (step.rank(*id), *id));
    let mut out = String::new();
    for (id, step) in in_order {
        writeln!(out, "step {}: {:?}, {:?}, {} bytes", id.0, step.phase, step.class, step.bytes())
            .expect("a string");
        for group in &step.groups {
            let state = if group.state == DirectoryState::Exists { "" } else { " (new)" };
            writeln!(out, "  {}{state}", group.directory).expect("a string");
            for item in &group.items {
                let name = String::from_utf8_lossy(&item.name);
                let change = format!("{:?}", item.change);
                let verb = change.split(' ').next().expect("it has a name");
                writeln!(out, "    {verb} {name}").expect("a string");
            }
        }
    }
    writeln!(out, "{totals:#?}").expect("a string");
    insta::assert_snapshot!(out);
}

#[test]
fn a_mount_that_the_walk_keeps_out_of_is_not_an_empty_directory() {
    let case = Case::new(Tree::scripted(1, "a/x 1\na/y 2\nb 1\n"), Tree::scripted(2, "a/x 2\na/z 1\n"));
    let world = World { source: &case.source, destination: &case.destination };
    let mount = path("a");
    for on_source in [false, true] {
        let mut from = case.source.scan(&KeepAll, &BTreeSet::new());
        let mut to = case.destination.scan(&KeepAll, &BTreeSet::new());
        if on_source {
            from.stop_at(&mount);
        } else {
            to.stop_at(&mount);
        }
        let root = |tree: &Tree| tree.objects[&RelPath::root()].metadata;
        let roots = (root(&case.source), Some(root(&case.destination)));
        let mut steps = Steps::default();
        let to: &mut (dyn Scan + 'static) = &mut to;
        let totals = plan((&mut from, Some(to)), roots, case.options(), &KeepAll, &world, &mut steps);
        assert_eq!(totals.expect("memory takes every step").faults, u64::from(!on_source));
        let below: Vec<_> = planned_paths(&steps.0)
            .into_iter()
            .filter(|path| path.starts_with(&mount) && *path != mount)
            .collect();
        assert!(below.is_empty(), "{below:?}");
    }
}
