//! Any sequence of commits, loads, sweeps, kills and snapshots, against maps in memory.

use super::scene::{CHUNKS, Scene, chunk_name, contents, manifest, mark, node, root};
use crate::NucleusUniverse;
use orbit_core::ContentHash;
use orbit_core::grid::Change;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CONTENTS: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Add(u8, Vec<u64>),
    Forget(u8),
    Load(Vec<(u64, How)>),
    Tidy,
    Flush,
    Kill,
    Reopen,
    Copy,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Right,
    Short,
    Wrong,
    GivenUp,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::collection::vec(0..CONTENTS, 1..8);
    let how = prop_oneof![4 => Just(How::Right), 1 => Just(How::Short), 1 => Just(How::Wrong), 1 => Just(How::GivenUp)];
    prop_oneof![
        4 => (0..4_u8, some()).prop_map(|(holder, some)| Step::Add(holder, some)),
        1 => (0..4_u8).prop_map(Step::Forget),
        6 => proptest::collection::vec((0..CONTENTS, how), 1..6).prop_map(Step::Load),
        2 => Just(Step::Tidy),
        1 => Just(Step::Flush),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
        1 => Just(Step::Copy),
    ]
}

/// Who holds what.
type Held = BTreeMap<u64, BTreeSet<u8>>;

struct Model {
    /// After each commit, by the index of its mark.
    history: Vec<Held>,
    /// Contents whose chunks were ever loaded whole. After a kill or a sweep they may be wanted again.
    loaded: BTreeSet<u64>,
}

impl Model {
    fn now(&self) -> &Held {
        &self.history[self.history.len() - 1]
    }
}

/// What the universe says must be so, and be all.
fn check(universe: &NucleusUniverse, model: &Model) {
    let page = universe.wanted(0, usize::MAX).expect("listed");
    let mut wanted = BTreeSet::new();
    for found in page.contents {
        let n = (0..CONTENTS).find(|&n| root(n) == found.content.root).expect("one of ours");
        let holders: BTreeSet<_> = found.holders.iter().map(|holder| holder.as_bytes()[0]).collect();
        assert_eq!(found.content, manifest(n).0);
        assert_eq!(Some(&holders), model.now().get(&n), "holders of wanted content {n}");
        assert!(wanted.insert(n));
    }
    let whole: BTreeSet<u64> = model.now().keys().filter(|n| !wanted.contains(n)).copied().collect();
    assert!(whole.is_subset(&model.loaded), "{whole:?} of {:?}", model.loaded);

    let mut names: Vec<ContentHash> = (0..CHUNKS).map(chunk_name).collect();
    names.sort_unstable();
    let answers = universe.find_many(&names, usize::MAX).expect("asked");
    for (name, places) in names.iter().zip(answers) {
        assert_eq!(universe.find(name, usize::MAX).expect("asked"), places, "one and many answer alike");
        let mut of = BTreeSet::new();
        for place in places {
            let n = (0..CONTENTS).find(|&n| root(n) == place.root).expect("one of ours");
            let holders: BTreeSet<_> = place.holders.iter().map(|holder| holder.as_bytes()[0]).collect();
            assert_eq!(Some(&holders), model.now().get(&n), "holders of content {n}");
            let mut offset = 0;
            let is_there = manifest(n).1.iter().any(|chunk| {
                let here = offset;
                offset += u64::from(chunk.len);
                (chunk.hash, here, chunk.len) == (*name, place.offset, place.len)
            });
            assert!(is_there, "content {n} has no such chunk at {}", place.offset);
            assert!(of.insert(n), "content {n} twice");
        }
        let expected: BTreeSet<u64> = whole
            .iter()
            .filter(|&&n| manifest(n).1.iter().any(|chunk| chunk.hash == *name))
            .copied()
            .collect();
        assert_eq!(of, expected, "contents with chunk {name}");
    }
}

fn load(universe: &NucleusUniverse, which: &[(u64, How)], model: &mut Model) {
    let mut load = universe.load();
    let mut loaded = Vec::new();
    for &(n, how) in which {
        if !load.begin(&root(n)).expect("begun") {
            continue;
        }
        let mut chunks = manifest(n).1;
        match how {
            How::Right | How::GivenUp => {}
            How::Short => drop(chunks.pop()),
            How::Wrong => {
                chunks.rotate_left(1);
                let last = chunks.len() - 1;
                chunks[last].len += 1;
            }
        }
        chunks.iter().try_for_each(|chunk| load.push(chunk)).expect("pushed");
        if matches!(how, How::GivenUp) {
            load.abandon();
        } else {
            assert_eq!(load.end().expect("ended"), matches!(how, How::Right));
            loaded.extend(matches!(how, How::Right).then_some(n));
        }
    }
    load.finish().expect("finished");
    for n in &loaded {
        let page = universe.wanted(0, usize::MAX).expect("listed");
        assert!(page.contents.iter().all(|wanted| wanted.content.root != root(*n)), "{n} is wanted still");
    }
    model.loaded.extend(loaded);
}

fn commit(universe: &NucleusUniverse, change: Change, model: &mut Model, held: Held) {
    universe.commit(&[change], &mark(model.history.len() as u64)).expect("committed");
    model.history.push(held);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_is_what_the_model_is(steps in proptest::collection::vec(step(), 1..40)) {
        let scene = Scene::new();
        let mut universe = scene.open();
        let mut model = Model { history: vec![Held::new()], loaded: BTreeSet::new() };
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add(holder, which) => {
                    let mut held = model.now().clone();
                    for n in &which {
                        held.entry(*n).or_default().insert(holder);
                    }
                    commit(&universe, contents(holder, which), &mut model, held);
                }
                Step::Forget(holder) => {
                    let mut held = model.now().clone();
                    for holders in held.values_mut() {
                        holders.remove(&holder);
                    }
                    held.retain(|_, holders| !holders.is_empty());
                    commit(&universe, Change::ContentsForgotten(node(holder)), &mut model, held);
                }
                Step::Load(which) => load(&universe, &which, &mut model),
                Step::Tidy => while universe.tidy().expect("tidied") {},
                Step::Flush => universe.flush().expect("flushed"),
                Step::Kill => {
                    universe = scene.killed(&universe);
                    let mark = universe.mark().expect("read");
                    let index = mark.and_then(|mark| mark.position).map_or(0, |position| position.index);
                    model.history.truncate(index as usize + 1);
                    prop_assert_eq!(model.history.len() as u64, index + 1);
                }
                Step::Reopen => {
                    let path = universe.path().to_owned();
                    drop(universe);
                    universe = NucleusUniverse::open_or_rebuild(&path).expect("opened");
                    let last = model.history.len() as u64 - 1;
                    prop_assert_eq!(universe.mark().expect("read"), (last > 0).then(|| mark(last)));
                }
                Step::Copy => {
                    let mut stream = Vec::new();
                    universe.pin().and_then(|pin| pin.export(&mut stream)).expect("exported");
                    let copy = scene.path(&format!("copy-{at}.db"));
                    NucleusUniverse::import(&copy, &mut stream.as_slice()).expect("imported");
                    universe = NucleusUniverse::open_or_rebuild(&copy).expect("opened");
                }
            }
            check(&universe, &model);
        }
    }
}
