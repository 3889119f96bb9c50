//! Snapshots of the replicated databases: written, received, installed, damaged, cut off.

use crate::nucleus_sample::{contents, everything, id, key, mark, metered, node, outcome, request};
use orbit_core::grid::{Change, Content, NodeRecord};
use orbit_core::{Chunk, ContentHash};
use orbit_store::{
    Damage, JobsBatch, LoadedGrid, Mark, NucleusStore, PART_BYTES, PinnedStore, SNAPSHOT_BYTES_MAX,
    SnapshotFile, SnapshotManifest, StoreError,
};
use std::fs;
use std::path::Path;

/// A store with some of everything, as of `mark(20)`: 3 MB.
fn filled(directory: &Path) -> NucleusStore {
    let mut store = NucleusStore::seed(directory, &everything(), &[], &mark(10)).expect("seeded");
    let mut changes = vec![contents(1, 0..20_000), key(3), Change::Metered(metered(1, 4))];
    changes.extend(
        (3..200).map(|number| Change::Node(NodeRecord { name: format!("star{number}"), ..node(number) })),
    );
    let requests: Vec<_> = (0..9).map(|number| (20, request(number), outcome(number))).collect();
    commit(&mut store, &JobsBatch { changes: &changes, requests: &requests, forgotten: &[] }, &mark(20));
    store
}

fn commit(store: &mut NucleusStore, batch: &JobsBatch<'_>, mark: &Mark) {
    store.commit_jobs(batch, mark).expect("committed");
    store.commit_universe(batch.changes, mark).expect("committed");
}

fn rename(store: &mut NucleusStore, name: &str, index: u64) {
    let changes = [Change::Node(NodeRecord { name: name.to_owned(), ..node(1) })];
    commit(store, &JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(index));
}

fn same(one: &LoadedGrid, other: &LoadedGrid) -> bool {
    one.state == other.state && one.requests == other.requests && one.metering == other.metering
}

fn learner(directory: &Path) -> NucleusStore {
    NucleusStore::seed(directory, &[], &[], &Mark::default()).expect("seeded")
}

/// All parts of `file` over to `store`.
fn send(file: &SnapshotFile, store: &NucleusStore) -> SnapshotFile {
    let mut receiver = store.receive(file.manifest()).expect("begun");
    for number in receiver.have()..file.manifest().parts.len() as u32 {
        receiver.put(number, &file.read_part(number).expect("read")).expect("taken");
    }
    receiver.finish().expect("finished")
}

#[test]
fn a_learner_gets_what_was_there_when_it_was_pinned() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(&directory.path().join("a"));
    let universe = store.universe().get();
    let before = (store.load().expect("loaded"), universe.stats().expect("measured"));
    let pinned = store.pin().expect("pinned");
    assert_eq!(pinned.mark(), &mark(20));
    for index in 21..40 {
        rename(&mut store, &format!("later{index}"), index);
    }
    store.flush().expect("a view holds up nobody");
    let snapshot = std::thread::spawn(|| pinned.write_snapshot()).join().expect("no panic").expect("written");
    let manifest = snapshot.manifest();
    assert_eq!(manifest.mark, mark(20));
    assert!(manifest.is_possible() && manifest.parts.len() > 1, "{} bytes", manifest.bytes);
    assert_eq!(store.newest_snapshot().expect("looked").expect("there").manifest(), manifest);
    assert_ne!(store.load().expect("loaded").state, before.0.state);

    let mut learner = learner(&directory.path().join("b"));
    let handle = learner.universe();
    assert!(learner.snapshot(manifest).expect("looked").is_none());
    send(&snapshot, &learner);
    let received = learner.snapshot(manifest).expect("looked").expect("there");
    learner.install(&received).expect("installed");
    assert!(same(&learner.load().expect("loaded"), &before.0));
    assert_eq!((learner.jobs_mark(), learner.universe_mark()), (&mark(20), &mark(20)));
    let stats = handle.get().stats().expect("the universe in use");
    assert_eq!((stats.contents, stats.wanted), (before.1.contents, before.1.wanted));
    rename(&mut learner, "goes on", 21);
    drop(learner);
    drop(handle);
    let learner = NucleusStore::open(&directory.path().join("b")).expect("opened").expect("there");
    assert_eq!(learner.jobs_mark(), &mark(21));
    assert!(learner.load().expect("loaded").state.nodes().any(|node| node.name == "goes on"));
    assert!(!directory.path().join("b/gen-1").exists() && directory.path().join("b/gen-2").exists());
    assert!(fs::read_dir(directory.path().join("b/incoming")).expect("listed").next().is_none());
}

#[test]
fn chunks_travel_with_a_snapshot() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(&directory.path().join("a"));
    let chunk = Chunk { hash: ContentHash::from_bytes([0x11; 32]), len: 700 };
    let content = Content { root: ContentHash::from_bytes([0x12; 32]), bytes: 700, chunks: 1 };
    let changes = [Change::Contents { holder: id(1), contents: vec![content] }];
    commit(&mut store, &JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(21));
    let universe = store.universe().get();
    assert!(universe.fill(&content.root, [chunk]).expect("loaded"));
    let found = universe.find(&chunk.hash, 10).expect("found");
    assert_eq!(found.len(), 1);
    let snapshot = store.pin().and_then(PinnedStore::write_snapshot).expect("written");
    let mut learner = learner(&directory.path().join("b"));
    let received = send(&snapshot, &learner);
    learner.install(&received).expect("installed");
    assert_eq!(learner.universe().get().find(&chunk.hash, 10).expect("found"), found);
}

#[test]
fn a_transfer_goes_on_where_it_was_cut_off() {
    let directory = tempfile::tempdir().expect("a directory");
    let snapshot =
        filled(&directory.path().join("a")).pin().and_then(PinnedStore::write_snapshot).expect("written");
    let (manifest, place) = (snapshot.manifest(), directory.path().join("b"));
    let last = manifest.parts.len() as u32 - 1;
    assert!(last >= 2, "{last}");
    let part = |number| snapshot.read_part(number).expect("read");
    let store = learner(&place);
    let mut receiver = store.receive(manifest).expect("begun");
    assert_eq!(receiver.have(), 0);
    receiver.put(0, &part(0)).expect("taken");
    for (number, bytes) in
        [(2, part(2)), (1, part(0)), (1, part(1)[1..].to_vec()), (1, Vec::new()), (9999, part(1))]
    {
        let error = receiver.put(number, &bytes).expect_err("wrong");
        assert!(matches!(error, StoreError::SnapshotRefused { .. }), "{error:?}");
    }
    receiver.put(0, b"again, whatever it is").expect("it is there already");
    receiver.put(1, &part(1)).expect("taken");
    let error = receiver.finish().expect_err("the last is missing");
    assert!(matches!(error, StoreError::SnapshotRefused { what: "parts are missing" }), "{error:?}");
    drop(store);

    // The process starts again, and meanwhile a part was damaged.
    let store = NucleusStore::open(&place).expect("opened").expect("there");
    assert_eq!(store.receive(manifest).expect("goes on").have(), 2);
    let incoming =
        fs::read_dir(place.join("incoming")).expect("listed").next().expect("one").expect("one").path();
    let mut parts = fs::read(incoming.join("parts")).expect("read");
    parts[PART_BYTES as usize + 5] ^= 1;
    fs::write(incoming.join("parts"), parts).expect("written");
    let mut receiver = store.receive(manifest).expect("goes on");
    assert_eq!(receiver.have(), 1);
    for number in 1..=last {
        receiver.put(number, &part(number)).expect("taken");
    }
    let received = receiver.finish().expect("finished");
    received.verify().expect("sound");
    assert_eq!(received.manifest(), manifest);
    let whole = store.receive(manifest).expect("it is here");
    assert_eq!(whole.have(), last + 1);
    assert_eq!(whole.finish().expect("at once").path(), received.path());
}

#[test]
fn impossible_and_older_snapshots_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(&directory.path().join("a"));
    let manifest =
        |index, bytes, parts| SnapshotManifest { mark: mark(index), bytes, parts: vec![[1; 32]; parts] };
    for impossible in [
        manifest(30, 5, 0),
        manifest(30, 0, 1),
        manifest(30, u64::from(PART_BYTES) + 1, 1),
        manifest(30, u64::MAX, 3),
        manifest(30, SNAPSHOT_BYTES_MAX + 1, 65_537),
        manifest(20, 5, 1),
        manifest(3, 5, 1),
    ] {
        let error = store.receive(&impossible).expect_err("refused");
        assert!(matches!(error, StoreError::SnapshotRefused { .. }), "{impossible:?}: {error:?}");
    }
    let error = store.receive(&manifest(30, SNAPSHOT_BYTES_MAX, 65_536)).expect_err("no room");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    let old = store.pin().and_then(PinnedStore::write_snapshot).expect("written");
    rename(&mut store, "newer", 21);
    let error = store.install(&old).expect_err("older");
    assert!(matches!(error, StoreError::SnapshotRefused { .. }), "{error:?}");
    assert_eq!(store.jobs_mark(), &mark(21));
}

#[test]
fn a_newer_offer_takes_the_place_of_an_older_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(&directory.path().join("a"));
    let older = store.pin().and_then(PinnedStore::write_snapshot).expect("written");
    rename(&mut store, "newer", 21);
    let newer = store.pin().and_then(PinnedStore::write_snapshot).expect("written");
    let place = directory.path().join("b");
    let learner = learner(&place);
    let incoming = || fs::read_dir(place.join("incoming")).expect("listed").count();
    learner
        .receive(older.manifest())
        .and_then(|mut receiver| receiver.put(0, &older.read_part(0)?))
        .expect("begun");
    learner
        .receive(newer.manifest())
        .and_then(|mut receiver| receiver.put(0, &newer.read_part(0)?))
        .expect("begun");
    assert_eq!(incoming(), 1);
    let mut learner = learner;
    let received = send(&newer, &learner);
    learner.install(&received).expect("installed");
    // What was begun before and is older now goes at the next start.
    fs::create_dir_all(place.join("incoming/half")).expect("made");
    drop(learner);
    drop(NucleusStore::open(&place).expect("opened"));
    assert_eq!(incoming(), 0);
}

#[test]
fn what_was_received_and_not_installed_is_pending() {
    let directory = tempfile::tempdir().expect("a directory");
    let snapshot =
        filled(&directory.path().join("a")).pin().and_then(PinnedStore::write_snapshot).expect("written");
    let place = directory.path().join("b");
    let mut own = learner(&place);
    rename(&mut own, "own", 5);
    own.pin().and_then(PinnedStore::write_snapshot).expect("written");
    send(&snapshot, &own);
    drop(own);
    let mut store = NucleusStore::open(&place).expect("opened").expect("there");
    let newest =
        |store: &NucleusStore| store.newest_snapshot().expect("looked").expect("one").manifest().mark.clone();
    assert_eq!(newest(&store), mark(5), "what is not applied is not ours to give away");
    let pending = store.pending_snapshot().expect("looked").expect("one");
    assert_eq!(pending.manifest(), snapshot.manifest());
    store.install(&pending).expect("installed");
    assert!(store.pending_snapshot().expect("looked").is_none());
    assert_eq!(newest(&store), mark(20));
}

#[test]
fn the_newest_two_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(directory.path());
    let mut open = Vec::new();
    for index in [21, 22, 23, 124] {
        rename(&mut store, &format!("name{index}"), index);
        open.push(store.pin().and_then(PinnedStore::write_snapshot).expect("written"));
    }
    let names = || fs::read_dir(directory.path().join("snapshots")).expect("listed").count();
    assert_eq!(names(), 2);
    assert_eq!(store.newest_snapshot().expect("looked").expect("there").manifest().mark, mark(124));
    open[0].verify().expect("whoever reads a removed one reads on");
    // A damaged one is passed over, a draft swept.
    let newest = open[3].path();
    fs::write(newest, b"short").expect("damaged");
    fs::write(directory.path().join("snapshots/7.draft"), b"half").expect("written");
    assert_eq!(store.newest_snapshot().expect("looked").expect("there").manifest().mark, mark(23));
    drop(store);
    drop(NucleusStore::open(directory.path()).expect("opened"));
    assert_eq!(names(), 2, "no draft");
}

#[test]
fn a_changed_byte_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let store =
        NucleusStore::seed(&directory.path().join("a"), &everything(), &[], &mark(10)).expect("seeded");
    let path = directory.path().join("backup.snap");
    store.pin().and_then(|pinned| pinned.write_to(&path)).expect("written").verify().expect("sound");
    let sound = fs::read(&path).expect("read");
    let refuses = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let result = SnapshotFile::open(&path).and_then(|file| file.verify());
        match result {
            Ok(()) => false,
            Err(StoreError::Corrupt { damage: Damage::Snapshot { .. }, .. }) => true,
            Err(error) => panic!("{error:?}"),
        }
    };
    let end = sound.len().saturating_sub(400)..sound.len();
    for at in (0..sound.len()).step_by(997).chain(end) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(refuses(&bytes), "byte {at} of {}", sound.len());
    }
    for len in (0..sound.len()).step_by(1009).chain([sound.len() - 1]) {
        assert!(refuses(&sound[..len]), "cut to {len} of {}", sound.len());
    }
    fs::write(&path, [&sound[..], b"x"].concat()).expect("written");
    assert!(SnapshotFile::open(&path).is_err());
    fs::write(&path, &sound).expect("written");
    SnapshotFile::open(&path).and_then(|file| file.verify()).expect("sound again");
}

#[test]
fn a_snapshot_that_holds_nonsense_is_not_installed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = filled(&directory.path().join("a"));
    let before = store.load().expect("loaded");
    // Parts that are what the manifest says, but no databases.
    let magic = b"ORBSNAP\x01";
    let cases: [&[u8]; 6] = [
        b"",
        b"ORBSNAP\x02",
        magic,
        b"ORBSNAP\x01\x01\x04\0\0\0nope\0\0\0\0\x02\0\0\0\0\0",
        b"ORBSNAP\x01\x01\xff\xff\xff\xff",
        b"ORBSNAP\x01\x02\0\0\0\0",
    ];
    for data in cases {
        let parts = if data.is_empty() { vec![] } else { vec![*blake3::hash(data).as_bytes()] };
        let manifest = SnapshotManifest { mark: mark(99), bytes: data.len() as u64, parts };
        let mut receiver = store.receive(&manifest).expect("possible");
        if !data.is_empty() {
            receiver.put(0, data).expect("what the manifest says");
        }
        let file = receiver.finish().expect("whole");
        assert!(store.install(&file).is_err(), "{data:?}");
        assert!(same(&store.load().expect("loaded"), &before), "the old ones stay");
    }
    // Databases that are not as far as the manifest says.
    let honest =
        store.pin().and_then(|pinned| pinned.write_to(&directory.path().join("backup"))).expect("written");
    let lie = SnapshotManifest { mark: mark(99), ..honest.manifest().clone() };
    let mut receiver = store.receive(&lie).expect("possible");
    for number in 0..lie.parts.len() as u32 {
        receiver.put(number, &honest.read_part(number).expect("read")).expect("taken");
    }
    let file = receiver.finish().expect("whole");
    let error = store.install(&file).expect_err("a lie");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Snapshot { .. }, .. }), "{error:?}");
    drop(store);
    let store = NucleusStore::open(&directory.path().join("a")).expect("opened").expect("there");
    assert!(same(&store.load().expect("loaded"), &before));
    assert!(!directory.path().join("a/gen-2").exists(), "what was half built is swept");
}

#[test]
fn a_backup_makes_a_grid_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = filled(&directory.path().join("a"));
    let backup =
        store.pin().and_then(|pinned| pinned.write_to(&directory.path().join("backup"))).expect("written");
    assert!(store.newest_snapshot().expect("looked").is_none(), "a backup is not the store's");
    for (place, founded) in [("later", mark(500)), ("anew", mark(1))] {
        let place = directory.path().join(place);
        let file = SnapshotFile::open(backup.path()).expect("opened");
        drop(NucleusStore::seed_from_snapshot(&place, &file, &founded).expect("restored"));
        let restored = NucleusStore::open(&place).expect("opened").expect("there");
        assert_eq!((restored.jobs_mark(), restored.universe_mark()), (&founded, &founded));
        assert!(same(&restored.load().expect("loaded"), &store.load().expect("loaded")));
        assert_eq!(restored.universe().get().stats().expect("measured").contents, 20_000);
        let error = NucleusStore::seed_from_snapshot(&place, &file, &founded).expect_err("there is one");
        assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
    }
    assert_eq!(store.load().expect("loaded").state.node(id(1)).map(|node| node.name.as_str()), Some("node1"));
}

#[test]
fn a_cut_off_installation_leaves_old_or_new() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("a");
    let mut store = filled(&place);
    rename(&mut store, "last", 21);
    let before = store.load().expect("loaded");
    drop(store);
    // Before the pointer: a generation half built.
    fs::create_dir_all(place.join("gen-2/universe_v3.db.runs")).expect("made");
    fs::write(place.join("gen-2/jobs.db"), b"half").expect("written");
    fs::write(place.join("CURRENT.draft"), b"gen").expect("written");
    let store = NucleusStore::open(&place).expect("opened").expect("there");
    assert!(same(&store.load().expect("loaded"), &before) && !place.join("gen-2").exists());
    drop(store);
    // Behind it: the old one is still there.
    fs::create_dir(place.join("gen-0")).expect("made");
    fs::write(place.join("gen-0/jobs.db"), b"old").expect("written");
    drop(NucleusStore::open(&place).expect("opened").expect("there"));
    assert!(!place.join("gen-0").exists());
}
