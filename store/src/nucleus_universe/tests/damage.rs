//! Foreign and flipped bytes: an error, a miss, or everything anew, but no panic and no wrong answer.

use super::scene::{CHUNKS, Scene, chunk_name, contents, load_all, manifest, mark, root};
use crate::nucleus_universe::schema;
use crate::table::Definition;
use crate::{Damage, NucleusUniverse, StoreError};
use orbit_core::grid::Change;
use std::fs;
use std::path::PathBuf;

fn loaded(scene: &Scene) -> NucleusUniverse {
    let universe = scene.open();
    universe.commit(&[contents(1, 0..40)], &mark(1)).expect("committed");
    load_all(&universe);
    universe
}

fn a_run(universe: &NucleusUniverse) -> PathBuf {
    let directory = super::runs_directory(universe.path());
    fs::read_dir(directory).expect("listed").next().expect("a run").expect("listed").path()
}

#[test]
fn a_damaged_universe_is_begun_anew() {
    let scene = Scene::new();
    let universe = loaded(&scene);
    let path = universe.path().to_owned();
    drop(universe);
    fs::write(path.with_extension("db.open"), "").expect("marked, as if the process had died");
    let mut bytes = fs::read(&path).expect("read");
    bytes[4096..].iter_mut().step_by(64).for_each(|byte| *byte ^= 0x55);
    fs::write(&path, bytes).expect("damaged");
    let universe = NucleusUniverse::open_or_rebuild(&path).expect("opened");
    assert!(universe.was_rebuilt());
    assert_eq!(universe.mark().expect("read"), None);
    assert_eq!(universe.stats().expect("measured").runs, 0);
    assert!(path.with_extension("db.damaged").exists());
    universe.reset((0..40).map(|n| Ok((super::node(1), manifest(n).0))), &mark(1)).expect("reset");
    load_all(&universe);
    drop(universe);
    assert!(!NucleusUniverse::open_or_rebuild(&path).expect("opened").was_rebuilt());
}

/// What an operation on a universe comes to, with one row too many in a table.
type Used = fn(&NucleusUniverse) -> Result<(), StoreError>;

#[test]
fn a_row_of_a_wrong_length_is_damage() {
    let find: Used = |universe| universe.find(&manifest(3).1[0].hash, 10).map(drop);
    let list: Used = |universe| universe.holders().map(drop);
    let held: Used = |universe| universe.held(super::node(1)).map(drop);
    let export: Used = |universe| universe.pin()?.export(&mut Vec::new());
    let sweep: Used = |universe| universe.tidy().map(drop);
    let forget: Used = |universe| universe.commit(&[Change::ContentsForgotten(super::node(1))], &mark(2));
    let wanted: Used = |universe| universe.wanted(0, 10).map(drop);
    let root = schema::root_key(&root(3));
    let compare: Used = |universe| universe.held(super::node(1))?.unrecorded(vec![manifest(3).0]).map(drop);
    let table: &[(_, &[u8], &[u8], Used)] = &[
        (schema::ROOTS, &root, &[0; 7], compare),
        (schema::CONTENTS, &[0; 9], &[], export),
        (schema::WANTED, &[1; 3], &[], wanted),
        (schema::HOLDERS, &[0; 4], &[1; 15], find),
        (schema::HOLDERS, &[0; 4], &[1; 17], list),
        (schema::HOLDER_NUMBERS, &[1; 16], &[0; 5], held),
        (schema::HOLDER_NUMBERS, &[1; 16], &[0; 3], forget),
        (schema::GONE, &[0; 2], &[], sweep),
        (schema::META, b"next_content", &[0; 4], forget),
        (schema::META, b"dead_records", &[], sweep),
    ];
    for (number, &(table, key, value, used)) in table.iter().enumerate() {
        let scene = Scene::new();
        put_row(loaded(&scene), table, key, value);
        let universe = scene.open();
        assert!(!universe.was_rebuilt());
        let Err(error) = used(&universe) else { panic!("row {number} passed") };
        let is_structure = matches!(error, StoreError::Corrupt { damage: Damage::Structure, .. });
        assert!(is_structure, "row {number}: {error:?}");
    }
    for (key, value) in [(&[0; 8][..], &[0; 13][..]), (&[0; 8], &[0; 7]), (&[9], &[0; 12])] {
        let scene = Scene::new();
        put_row(loaded(&scene), schema::RUNS, key, value);
        assert!(scene.open().was_rebuilt(), "which runs there are is asked at once");
    }
}

/// Puts a row into a universe that is sound, and closes it.
fn put_row(universe: NucleusUniverse, table: Definition, key: &[u8], value: &[u8]) {
    let path = universe.path().to_owned();
    drop(universe);
    let database = redb::Database::open(path).expect("opened");
    let transaction = database.begin_write().expect("begun");
    transaction.open_table(table).expect("ours").insert(key, value).expect("put");
    transaction.commit().expect("committed");
}

#[test]
fn another_programs_database_is_left_alone() {
    let scene = Scene::new();
    let path = scene.path("universe_v3.db");
    crate::Universe::open(&path).and_then(crate::Universe::close).expect("made");
    let error = NucleusUniverse::open_or_rebuild(&path).expect_err("it is the cache of a star");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Foreign, .. }), "{error:?}");
    fs::write(&path, "something else entirely, and long enough to be looked at").expect("written");
    let error = NucleusUniverse::open_or_rebuild(&path).expect_err("no database");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::NotADatabase, .. }), "{error:?}");
}

#[test]
fn a_missing_or_short_run_has_everything_loaded_again() {
    for is_missing in [true, false] {
        let scene = Scene::new();
        let universe = loaded(&scene);
        let (path, run) = (universe.path().to_owned(), a_run(&universe));
        drop(universe);
        if is_missing {
            fs::remove_file(&run).expect("removed");
        } else {
            let length = fs::metadata(&run).expect("measured").len();
            fs::OpenOptions::new()
                .write(true)
                .open(&run)
                .and_then(|file| file.set_len(length - 8))
                .expect("cut");
        }
        let universe = NucleusUniverse::open_or_rebuild(&path).expect("opened");
        let stats = universe.stats().expect("measured");
        assert_eq!((stats.contents, stats.wanted, stats.runs), (40, 40, 0));
        assert_eq!(universe.mark().expect("read"), Some(mark(1)), "what the log said is all there");
        load_all(&universe);
        assert!(!universe.find(&manifest(3).1[0].hash, 1).expect("asked").is_empty());
    }
}

#[test]
fn flipped_bits_in_runs_are_misses_and_then_mended() {
    let scene = Scene::new();
    let universe = loaded(&scene);
    let run = a_run(&universe);
    let sound = fs::read(&run).expect("read");
    let blocks = sound.len() / super::run::BLOCK_LEN;
    let asked: Vec<_> = (0..CHUNKS).map(chunk_name).collect();
    let right = universe.find_many(&asked, usize::MAX).expect("asked");
    for bit in (0..blocks * super::run::BLOCK_LEN * 8).step_by(40_009) {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&run, bytes).expect("damaged");
        // A chunk that a content has twice may be answered for by another run then, with its other place.
        let at = |place: &crate::ChunkPlace| (place.root, place.len);
        for (found, right) in universe.find_many(&asked, usize::MAX).expect("asked").iter().zip(&right) {
            assert!(found.iter().all(|place| right.iter().any(|right| at(right) == at(place))), "bit {bit}");
        }
    }
    universe.tidy().expect("tidied");
    let stats = universe.stats().expect("measured");
    assert_eq!((stats.contents, stats.wanted, stats.runs), (40, 40, 0));
    load_all(&universe);
    let names = |places: Vec<Vec<crate::ChunkPlace>>| -> Vec<Vec<_>> {
        let sorted = |places: Vec<crate::ChunkPlace>| {
            let mut roots: Vec<_> = places.into_iter().map(|place| place.root).collect();
            roots.sort_unstable();
            roots
        };
        places.into_iter().map(sorted).collect()
    };
    assert_eq!(names(universe.find_many(&asked, usize::MAX).expect("asked")), names(right));
}

#[test]
fn orphans_are_swept() {
    let scene = Scene::new();
    let universe = loaded(&scene);
    let (path, directory) = (universe.path().to_owned(), super::runs_directory(universe.path()));
    let runs = universe.stats().expect("measured").runs;
    drop(universe);
    fs::write(directory.join("00000000000000ff"), "cut short").expect("written");
    let universe = NucleusUniverse::open_or_rebuild(&path).expect("opened");
    assert_eq!(fs::read_dir(directory).expect("listed").count() as u64, runs);
    assert!(!universe.find(&manifest(3).1[0].hash, 1).expect("asked").is_empty());
}

#[test]
fn streams_that_are_cut_or_changed_are_refused() {
    let scene = Scene::new();
    let mut stream = Vec::new();
    loaded(&scene).pin().and_then(|pin| pin.export(&mut stream)).expect("exported");
    let copy = scene.path("copy.db");
    let refused = |bytes: &[u8], what: String| {
        let error = NucleusUniverse::import(&copy, &mut { bytes }).expect_err(&what);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{what}: {error:?}");
    };
    for length in (0..stream.len()).step_by(stream.len() / 25) {
        refused(&stream[..length], format!("cut at {length}"));
    }
    for at in (0..stream.len()).step_by(stream.len() / 40) {
        let mut bytes = stream.clone();
        bytes[at] ^= 0x10;
        refused(&bytes, format!("byte {at} changed"));
    }
    NucleusUniverse::import(&copy, &mut stream.as_slice()).expect("the whole one");
    let universe = NucleusUniverse::open_or_rebuild(&copy).expect("opened");
    assert!(
        universe.find(&manifest(3).1[0].hash, 100).expect("asked").iter().any(|place| place.root == root(3))
    );
}
