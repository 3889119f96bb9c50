//! The universe against a model of it, and one by one what the model does not reach.

mod damage;
mod model;
mod scene;

use super::*;
use crate::LogPosition;
use orbit_core::ContentHash;
use orbit_core::grid::Change;
use scene::{Scene, chunk_name, contents, load_all, manifest, mark, node, root};

#[test]
fn chunks_are_found_where_their_contents_are_held() {
    let scene = Scene::new();
    let universe = scene.open();
    universe
        .commit(&[contents(1, 0..20), contents(2, 10..30), Change::ContentsForgotten(node(9))], &mark(7))
        .expect("committed");
    assert_eq!(universe.mark().expect("read"), Some(mark(7)));
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted, stats.chunks), (30, 30, 0));
    assert!(universe.find(&chunk_name(0), 100).expect("asked").is_empty(), "nothing is loaded yet");

    load_all(&universe);
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted), (30, 0));
    assert_eq!(stats.bytes, (0..30).map(|n| manifest(n).0.bytes).sum::<u64>());
    let chunk = manifest(15).1[3];
    let places = universe.find(&chunk.hash, 100).expect("asked");
    let place = places.iter().find(|place| place.root == root(15)).expect("content 15 has it");
    assert_eq!((place.holders.as_slice(), place.len), ([node(1), node(2)].as_slice(), chunk.len));
    assert_eq!(universe.find(&chunk.hash, 1).expect("asked").len(), 1, "as many as are wanted");
}

#[test]
fn a_forgotten_holder_stops_counting_at_once_and_is_swept() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..20), contents(2, 10..30)], &mark(1)).expect("committed");
    load_all(&universe);
    universe.commit(&[Change::ContentsForgotten(node(1))], &mark(2)).expect("committed");
    for n in 0..30 {
        let chunk = manifest(n).1[0];
        let places = universe.find(&chunk.hash, 1000).expect("asked");
        assert_eq!(places.iter().any(|place| place.root == root(n)), n >= 10, "content {n}");
        assert!(places.iter().all(|place| place.holders == [node(2)]));
    }
    while universe.tidy().expect("tidied") {}
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted), (20, 0));
    assert_eq!(stats.bytes, (10..30).map(|n| manifest(n).0.bytes).sum::<u64>());

    // Once more than half means nothing, runs are rewritten.
    universe.commit(&[Change::ContentsForgotten(node(2))], &mark(3)).expect("committed");
    while universe.tidy().expect("tidied") {}
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.bytes, stats.chunks, stats.runs), (0, 0, 0, 0));
    assert_eq!(std::fs::read_dir(runs_directory(universe.path())).expect("listed").count(), 0);
}

#[test]
fn a_holder_that_reports_again_before_the_sweep_needs_no_loading() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..20)], &mark(1)).expect("committed");
    load_all(&universe);
    universe.commit(&[Change::ContentsForgotten(node(1)), contents(1, 5..25)], &mark(2)).expect("committed");
    assert_eq!(universe.stats().expect("measured").wanted, 5);
    while universe.tidy().expect("tidied") {}
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted), (20, 5));
    let chunk = manifest(12).1[0];
    let places = universe.find(&chunk.hash, 1000).expect("asked");
    assert!(places.iter().any(|place| place.root == root(12) && place.holders == [node(1)]));
}

#[test]
fn a_content_forgotten_while_its_chunks_come_is_not_found() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 7..8)], &mark(1)).expect("committed");
    let chunks = manifest(7).1;
    let mut load = universe.load();
    assert!(load.begin(&root(7)).expect("begun"));
    chunks.iter().try_for_each(|chunk| load.push(chunk)).expect("pushed");
    universe.commit(&[Change::ContentsForgotten(node(1))], &mark(2)).expect("committed");
    while universe
        .0
        .write("sweep", 0, |transaction| commit::Contents::change(transaction, |tables| tables.sweep(10)))
        .expect("swept")
        > 0
    {}
    universe.commit(&[contents(2, 7..8)], &mark(3)).expect("committed");
    assert!(load.end().expect("ended"));
    load.finish().expect("finished");
    // What came belongs to a number that is gone; the content under its new one is wanted still.
    assert_eq!(universe.stats().expect("measured").wanted, 1);
    assert!(universe.find(&chunks[0].hash, 10).expect("asked").is_empty());
    load_all(&universe);
    assert_eq!(universe.find(&chunks[0].hash, 10).expect("asked")[0].holders, [node(2)]);
}

#[test]
fn a_manifest_that_is_not_what_was_recorded_leaves_nothing_behind() {
    let scene = Scene::new();
    let universe = scene.open();
    // More chunks than a batch: a part is in a run when it turns out to be wrong.
    let long = (0..1000).find(|&n| manifest(n).1.len() > 150).expect("some are long");
    universe.commit(&[contents(1, [long])], &mark(1)).expect("committed");
    let other = manifest(long + 1).1;
    let wrong = manifest(long).1.into_iter().take(140).chain(other.into_iter().take(3));
    assert!(!universe.fill(&root(long), wrong).expect("loaded"));
    let stats = universe.stats().expect("measured");
    assert!(stats.wanted == 1 && stats.chunks > 0);
    assert!(universe.find(&manifest(long).1[0].hash, 10).expect("asked").is_empty());

    let right = manifest(long).1;
    let shifted = right.iter().rev().copied();
    assert!(universe.fill(&root(long), shifted).expect("loaded"), "as long and as many as recorded");
    let place = |chunk: &ContentHash| universe.find(chunk, 10).expect("asked")[0].offset;
    assert_eq!(place(&right.last().expect("many").hash), 0, "not where the first attempt had it");
    assert!(!universe.fill(&root(long), right).expect("loaded"), "it is not wanted any more");
    assert!(!universe.fill(&root(long + 1), []).expect("loaded"), "nobody holds it");
}

#[test]
fn pages_of_wanted_contents_go_on_where_the_last_ended() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..10), contents(2, 10..25)], &mark(1)).expect("committed");
    universe.commit(&[Change::ContentsForgotten(node(1))], &mark(2)).expect("committed");
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = universe.wanted(after, 4).expect("listed");
        assert!(page.contents.len() <= 4);
        seen.extend(page.contents.into_iter().map(|wanted| (wanted.content.root, wanted.holders)));
        let Some(next) = page.next else { break };
        after = next;
    }
    seen.sort_unstable();
    let mut expected: Vec<_> = (10..25).map(|n| (root(n), vec![node(2)])).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn what_a_holder_says_is_compared_with_what_is_recorded() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..10), contents(2, 5..20)], &mark(1)).expect("committed");
    let said = |which: std::ops::Range<u64>| which.map(|n| manifest(n).0).collect::<Vec<_>>();
    let mut held = universe.held(node(1)).expect("asked");
    assert_eq!((held.recorded(), held.missing()), (10, 10));
    let twice = [said(3..12), said(3..12)].concat();
    let mut expected = said(10..12);
    expected.sort_unstable();
    assert_eq!(held.unrecorded(twice).expect("compared"), expected, "2 holds them, 1 does not yet");
    assert_eq!(held.unrecorded(said(3..10)).expect("compared"), []);
    assert_eq!(held.missing(), 3);
    let mut nobody = universe.held(node(3)).expect("asked");
    assert_eq!(nobody.unrecorded(said(0..1)).expect("compared"), said(0..1));
    assert_eq!((nobody.recorded(), nobody.missing()), (0, 0));
}

#[test]
fn a_reset_begins_anew() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..40)], &mark(1)).expect("committed");
    load_all(&universe);
    let held = [(node(1), 5), (node(2), 5), (node(2), 6), (node(1), 7)];
    let rows = held.into_iter().map(|(node, n)| Ok((node, manifest(n).0)));
    universe.reset(rows, &mark(3)).expect("reset");
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted, stats.chunks, stats.runs), (3, 3, 0, 0));
    assert_eq!(universe.mark().expect("read"), Some(mark(3)));
    load_all(&universe);
    let places = universe.find(&manifest(5).1[0].hash, 100).expect("asked");
    assert!(places.iter().any(|place| place.root == root(5) && place.holders == [node(1), node(2)]));
}

#[test]
fn a_pin_shows_its_moment_while_runs_are_merged_away() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..40)], &mark(1)).expect("committed");
    load_all(&universe);
    let pin = universe.pin().expect("pinned");
    let mut before = Vec::new();
    pin.export(&mut before).expect("exported");
    universe
        .commit(&[Change::ContentsForgotten(node(1)), contents(2, 100..140)], &mark(2))
        .expect("committed");
    load_all(&universe);
    while universe.tidy().expect("tidied") {}
    let mut after = Vec::new();
    pin.export(&mut after).expect("exported");
    assert!(before == after, "the pin changed");
    assert_eq!(pin.mark().expect("read"), Some(mark(1)));
    let copy = scene.path("copy.db");
    NucleusUniverse::import(&copy, &mut before.as_slice()).expect("imported");
    let copy = NucleusUniverse::open_or_rebuild(&copy).expect("opened");
    assert!(!copy.was_rebuilt());
    assert_eq!(copy.mark().expect("read"), Some(mark(1)));
    let stats = copy.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted, stats.runs), (40, 0, 1));
    assert!(!copy.find(&manifest(3).1[0].hash, 1).expect("asked").is_empty());
}

#[test]
fn what_was_not_flushed_may_be_lost_but_not_its_parts() {
    let scene = Scene::new();
    let universe = scene.open();
    universe.commit(&[contents(1, 0..10)], &mark(1)).expect("committed");
    universe.flush().expect("flushed");
    universe.commit(&[contents(2, 10..20)], &mark(2)).expect("committed");
    let killed = scene.killed(&universe);
    let at =
        killed.mark().expect("read").and_then(|mark| mark.position).map(|LogPosition { index, .. }| index);
    let contents = killed.stats().expect("measured").contents;
    assert!(matches!((at, contents), (Some(1), 10) | (Some(2), 20)), "{at:?}: {contents}");
}
