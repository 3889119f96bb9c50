//! The universe answers for exactly the version it was told of, or not at all.

use crate::sample::{NOW, at, chunk, identity, manifest};
use orbit_core::{FileIdentity, Timestamp};
use orbit_store::{BatchOutcome, CachedManifest, Damage, StoreError, Universe};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::path::PathBuf;

const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
const FILES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("files");
const CHUNKS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("chunks");
const VERSION_KEY: &[u8] = b"version";

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("universe_v3.db");
    (directory, path)
}

#[test]
fn only_the_same_version_is_answered() {
    let (_directory, path) = place();
    let universe = Universe::open(&path).expect("created");
    let known = manifest(5, 3);
    assert!(universe.put(&known, NOW).expect("stored"));
    let id = known.identity;
    assert_eq!(universe.root(&id, 7).expect("read"), Some(known.root));
    assert_eq!(universe.chunks(&id, 7).expect("read"), known.chunks);
    assert_eq!(universe.root(&id, 8).expect("read"), None, "other parameters");
    let later = Timestamp { nanos: 1, ..id.ctime };
    let others = [
        FileIdentity { dev: 1, ..id },
        FileIdentity { ino: 6, ..id },
        FileIdentity { size: id.size + 1, ..id },
        FileIdentity { mtime: later, ..id },
        FileIdentity { ctime: later, ..id },
    ];
    for other in others {
        assert_eq!(universe.root(&other, 7).expect("read"), None, "{other:?}");
        assert_eq!(universe.chunks(&other, 7).expect("read"), None, "{other:?}");
    }
    assert_eq!(universe.roots(&[others[0], id], 7).expect("read"), [None, Some(known.root)]);
}

#[test]
fn racy_files_are_refused() {
    let (_directory, path) = place();
    let universe = Universe::open(&path).expect("created");
    let settled = manifest(1, 1);
    let changed =
        |ino, ctime| CachedManifest { identity: FileIdentity { ctime, ..identity(ino) }, ..manifest(ino, 1) };
    let racy = [changed(2, NOW), changed(3, at(NOW.seconds - 2)), changed(4, at(NOW.seconds + 100))];
    let batch: Vec<_> = racy.iter().cloned().chain([settled.clone()]).collect();
    assert_eq!(universe.put_batch(&batch, NOW).expect("stored"), BatchOutcome { stored: 1, racy: 3 });
    assert_eq!(universe.root(&settled.identity, 7).expect("read"), Some(settled.root));
    for manifest in racy {
        assert_eq!(universe.root(&manifest.identity, 7).expect("read"), None);
    }
    let far = Timestamp { seconds: i64::MAX, nanos: 0 };
    assert!(!universe.put(&settled, far).expect("a clock out of range stores nothing"));
}

#[test]
fn lists_are_replaced_whole_and_survive_closing() {
    let (_directory, path) = place();
    let universe = Universe::open(&path).expect("created");
    let large = manifest(1, 20_000);
    let empty = manifest(2, 0);
    universe.put_batch(&[large.clone(), empty.clone()], NOW).expect("stored");
    assert_eq!(universe.stats().expect("read").chunk_parts, 3);
    assert_eq!(universe.chunks(&large.identity, 7).expect("read"), large.chunks);
    universe.close().expect("closed");

    let universe = Universe::open(&path).expect("opened");
    assert_eq!(universe.chunks(&large.identity, 7).expect("read"), large.chunks);
    assert_eq!(universe.chunks(&empty.identity, 7).expect("read"), Some(Vec::new()));
    let small = CachedManifest { chunks: Some(vec![chunk(9)]), root: chunk(9).hash, ..large.clone() };
    universe.put(&small, NOW).expect("stored");
    assert_eq!(universe.stats().expect("read").chunk_parts, 1);
    assert_eq!(universe.chunks(&large.identity, 7).expect("read"), small.chunks);
    let rootless = CachedManifest { chunks: None, ..small };
    universe.put(&rootless, NOW).expect("stored");
    assert_eq!(universe.chunks(&large.identity, 7).expect("read"), None);
    assert_eq!(universe.root(&large.identity, 7).expect("read"), Some(rootless.root));
    let stats = universe.stats().expect("read");
    assert_eq!((stats.entries, stats.chunk_parts), (2, 0));
}

#[test]
fn of_two_versions_in_one_batch_the_later_wins() {
    let (_directory, path) = place();
    let universe = Universe::open(&path).expect("created");
    let (old, mut new) = (manifest(1, 9000), manifest(1, 1));
    new.identity.size += 1;
    universe.put_batch(&[old.clone(), new.clone()], NOW).expect("stored");
    assert_eq!(universe.chunks(&new.identity, 7).expect("read"), new.chunks);
    assert_eq!(universe.root(&old.identity, 7).expect("read"), None);
    assert_eq!(universe.stats().expect("read").chunk_parts, 1);
}

#[test]
fn the_longest_unseen_are_evicted() {
    let (_directory, path) = place();
    let mut universe = Universe::open(&path).expect("created");
    for ino in 0..50 {
        // Later inodes were observed earlier.
        universe.put(&manifest(ino, 2), at(NOW.seconds - ino as i64)).expect("stored");
    }
    assert_eq!(universe.evict_to(60).expect("nothing to do"), 0);
    assert_eq!(universe.evict_to(20).expect("evicted"), 30);
    let stats = universe.stats().expect("read");
    assert_eq!((stats.entries, stats.chunk_parts), (20, 20));
    for ino in 0..50 {
        assert_eq!(universe.root(&identity(ino), 7).expect("read").is_some(), ino < 20, "{ino}");
    }
    universe.remove_all().expect("emptied");
    universe.compact().expect("compacted");
    assert_eq!(universe.stats().expect("read").entries, 0);
    assert_eq!(universe.root(&identity(1), 7).expect("read"), None);
    universe.close().expect("closed");
}

#[test]
fn damaged_records_are_misses_and_dropped() {
    let (_directory, path) = place();
    let manifests: Vec<_> = (0..3).map(|ino| manifest(ino, 2)).collect();
    let universe = Universe::open(&path).expect("created");
    universe.put_batch(&manifests, NOW).expect("stored");
    universe.close().expect("closed");
    {
        let database = Database::open(&path).expect("opened");
        let transaction = database.begin_write().expect("begun");
        let mut files = transaction.open_table(FILES).expect("there");
        let (key, mut record) = {
            let (key, record) = redb::ReadableTable::first(&files).expect("read").expect("three records");
            (key.value().to_vec(), record.value().to_vec())
        };
        record[40] ^= 1;
        files.insert(key.as_slice(), record.as_slice()).expect("stored");
        drop(files);
        let mut chunks = transaction.open_table(CHUNKS).expect("there");
        let (key, mut part) = {
            let (key, part) = redb::ReadableTable::last(&chunks).expect("read").expect("three parts");
            (key.value().to_vec(), part.value().to_vec())
        };
        part[10] ^= 0x80;
        chunks.insert(key.as_slice(), part.as_slice()).expect("stored");
        drop(chunks);
        transaction.commit().expect("stored");
    }
    let universe = Universe::open(&path).expect("opened");
    assert_eq!(universe.root(&identity(0), 7).expect("read"), None);
    assert_eq!(universe.chunks(&identity(1), 7).expect("read"), manifests[1].chunks);
    assert_eq!(universe.chunks(&identity(2), 7).expect("read"), None);
    universe.flush().expect("flushed");
    let stats = universe.stats().expect("read");
    assert_eq!((stats.entries, stats.chunk_parts), (1, 1), "damaged entries go, with their lists");
}

#[test]
fn older_versions_are_forgotten_newer_and_foreign_ones_refused() {
    let (_directory, path) = place();
    let write = |version: u64| {
        drop(std::fs::remove_file(&path));
        let database = Database::create(&path).expect("created");
        let transaction = database.begin_write().expect("begun");
        transaction
            .open_table(META)
            .expect("new")
            .insert(VERSION_KEY, &version.to_le_bytes()[..])
            .expect("stored");
        let other: TableDefinition<u64, &str> = TableDefinition::new("files");
        transaction.open_table(other).expect("new").insert(1, "another layout").expect("stored");
        transaction.commit().expect("stored");
    };
    // Up to version 3 each table had types of its own.
    let write_before_4 = |version: u64| {
        drop(std::fs::remove_file(&path));
        let database = Database::create(&path).expect("created");
        let transaction = database.begin_write().expect("begun");
        let meta: TableDefinition<&str, u64> = TableDefinition::new("meta");
        transaction.open_table(meta).expect("new").insert("version", version).expect("stored");
        let files: TableDefinition<[u8; 20], [u8; 88]> = TableDefinition::new("files");
        transaction.open_table(files).expect("new").insert([1; 20], [2; 88]).expect("stored");
        transaction.commit().expect("stored");
    };
    for version in [1, 2, 3] {
        write_before_4(version);
        let universe = Universe::open(&path).expect("migrated");
        assert_eq!(universe.stats().expect("read").entries, 0);
        assert!(universe.put(&manifest(1, 1), NOW).expect("stored"));
        universe.close().expect("closed");
        let database = Database::open(&path).expect("opened");
        let meta = database.begin_read().expect("begun").open_table(META).expect("there");
        assert_eq!(meta.get(VERSION_KEY).expect("read").expect("there").value(), 4_u64.to_le_bytes());
    }
    write(5);
    let error = Universe::open(&path).expect_err("newer");
    assert!(matches!(error, StoreError::NewerVersion { found: 5, known: 4, .. }), "{error:?}");
    let is_refused = |what: &str| {
        let error = Universe::open(&path).and_then(|universe| universe.stats()).expect_err("foreign");
        assert!(matches!(error, StoreError::Corrupt { damage: Damage::Foreign, .. }), "{what}: {error:?}");
    };
    write(0);
    is_refused("no version of ours");
    write(4);
    is_refused("tables of other types");
    for version in [0, 4] {
        write_before_4(version);
        is_refused("a version that never had such tables");
    }
}

#[test]
fn only_one_may_have_it_open() {
    let (_directory, path) = place();
    let universe = Universe::open(&path).expect("created");
    let error = Universe::open(&path).expect_err("open elsewhere");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    universe.close().expect("closed");
    Universe::open(&path).expect("free again");
}

#[test]
fn what_is_no_database_is_refused_and_only_damage_is_replaced() {
    let (_directory, path) = place();
    std::fs::write(&path, "notes ".repeat(9000)).expect("written");
    let error = Universe::open_or_replace(&path).expect_err("not ours to replace");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::NotADatabase, .. }), "{error:?}");
    std::fs::remove_file(&path).expect("removed");

    let universe = Universe::open(&path).expect("created");
    universe.put_batch(&(0..2000).map(|ino| manifest(ino, 1)).collect::<Vec<_>>(), NOW).expect("stored");
    universe.close().expect("closed");
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
    file.set_len(40_000).expect("truncated");
    drop(file);
    let universe = Universe::open_or_replace(&path).expect("replaced");
    assert_eq!(universe.stats().expect("read").entries, 0);
    assert!(path.with_file_name("universe_v3.db.damaged").exists());
}

#[test]
fn a_large_universe_is_checked_after_a_process_died_with_it() {
    let (_directory, path) = place();
    let mark = path.with_file_name("universe_v3.db.open");
    let universe = Universe::open(&path).expect("created");
    assert!(mark.exists());
    let error = Universe::open(&path).expect_err("open elsewhere");
    assert!(matches!(error, StoreError::Locked { .. }) && mark.exists(), "{error:?}");
    universe.put(&manifest(1, 500_000), NOW).expect("stored");
    universe.close().expect("closed");
    assert!(!mark.exists());

    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    let record = bytes[middle..].iter().position(|&byte| byte == 0x5a).expect("chunk records");
    bytes[middle + record] ^= 4;
    std::fs::write(&path, bytes).expect("written");
    let universe = Universe::open(&path).expect("closed cleanly, so trusted");
    assert_eq!(universe.chunks(&identity(1), 7).expect("read"), None, "but every answer is checked");
    drop(universe);
    assert!(!mark.exists());
    std::fs::write(&mark, "").expect("written");
    let error = Universe::open(&path).expect_err("checked");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Structure, .. }), "{error:?}");
    Universe::open_or_replace(&path).expect("replaced");
}
