use super::*;
use orbit_cdc::{ORBIT_64K, hash_bytes, identity};
use orbit_core::FileIdentity;
use orbit_core::filter::KeepAll;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

fn system(root: &std::path::Path) -> LocalSystem {
    LocalSystem::new(Arc::new(Jail::open(root).expect("the root opens")))
}

/// Bytes that look random and are the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

fn chunks(system: &LocalSystem, name: &str) -> (ContentHash, Vec<Chunk>) {
    let mut chunks = Vec::new();
    let root =
        system.chunk(&path(name), ChunkDetail::Chunks, &mut |chunk| chunks.push(chunk)).expect("chunked");
    (root, chunks)
}

#[test]
fn answers_about_every_kind() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("dir")).expect("made");
    fs::write(root.path().join("dir/file"), "content").expect("written");
    symlink("dir/file", root.path().join("link")).expect("linked");
    let system = system(root.path());
    assert_eq!(system.metadata(&RelPath::root()).expect("there").kind, EntryKind::Directory);
    assert_eq!(system.metadata(&path("dir/file")).expect("there").size, 7);
    assert_eq!(system.metadata(&path("link")).expect("there").kind, EntryKind::Symlink);
    assert!(system.metadata(&path("missing")).is_err_and(|error| error.is_not_found()));
    assert_eq!(system.read_link(&path("link")).expect("a link"), b"dir/file");
    assert!(matches!(system.read_link(&path("dir")), Err(SystemError::WrongKind { .. })));
    for name in ["", "dir", "dir/file", "link"] {
        assert_eq!(system.xattrs(&path(name)).expect("readable"), [], "{name}");
    }
    assert_eq!(system.read_header(&path("dir/file"), 4).expect("readable"), b"cont");
    assert_eq!(system.read_header(&path("dir/file"), usize::MAX).expect("readable"), b"content");
    let mut buffer = [0; 16];
    let file = system.open(&path("dir/file")).expect("opens");
    assert_eq!(file.read_at(&mut buffer, 0).expect("readable"), 7);
    for result in [system.open(&path("link")), system.open(&path("dir"))] {
        assert!(matches!(result.map(|_| ()), Err(SystemError::WrongKind { .. })));
    }
    let options =
        ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: true, threads: 1 };
    let mut scan = system.scan(&options).expect("starts");
    assert_eq!(std::iter::from_fn(|| scan.next()).count(), 2);
}

#[test]
fn hashes_ranges_and_refuses_those_that_are_not_there() {
    let root = tempfile::tempdir().expect("a directory");
    let bytes = noise(3 << 20);
    fs::write(root.path().join("file"), &bytes).expect("written");
    let system = system(root.path());
    let hash = |offset, len| system.hash_range(&path("file"), ByteRange::new(offset, len).expect("a range"));
    for (offset, len) in [(0, 3 << 20), (17, (2 << 20) + 1), (3 << 20, 0), (5, 1)] {
        let wanted = hash_bytes(&bytes[offset..offset + len]);
        assert_eq!(hash(offset as u64, len as u64).expect("hashed"), wanted);
    }
    assert!(matches!(hash(0, (3 << 20) + 1), Err(SystemError::Changed { .. })));
    assert!(matches!(hash(u64::MAX - 1, 1), Err(SystemError::Changed { .. })));
}

#[test]
fn holes_and_threads_do_not_change_the_chunks() {
    let root = tempfile::tempdir().expect("a directory");
    let data = noise(1 << 20);
    let sparse = File::create(root.path().join("sparse")).expect("created");
    sparse.set_len(160 << 20).expect("set");
    let mut dense = vec![0; 160 << 20];
    for offset in [0, 3 << 20, 70 << 20, 159 << 20] {
        sparse.write_all_at(&data, offset).expect("written");
        dense[offset as usize..][..data.len()].copy_from_slice(&data);
    }
    fs::write(root.path().join("dense"), dense).expect("written");
    let system = system(root.path());
    let (root, wanted) = chunks(&system, "dense");
    assert_eq!(identity(&ORBIT_64K, wanted.iter().copied()), root);
    assert_eq!(wanted.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>(), 160 << 20);
    for threads in [0, 1, 3] {
        let system = system.clone().with_threads(threads);
        assert_eq!(chunks(&system, "sparse"), (root, wanted.clone()), "{threads} threads");
        let only =
            system.chunk(&path("sparse"), ChunkDetail::RootOnly, &mut |_| panic!("no chunk was asked for"));
        assert_eq!(only.expect("hashed"), root);
    }
}

type Known = (ContentHash, Option<Vec<Chunk>>);

/// A cache in memory that counts what it is given.
#[derive(Default)]
struct Memory {
    known: Mutex<HashMap<FileIdentity, Known>>,
    stored: AtomicUsize,
}

impl ManifestCache for Memory {
    fn root(&self, identity: &FileIdentity) -> Option<ContentHash> {
        self.known.lock().expect("not poisoned").get(identity).map(|known| known.0)
    }

    fn chunks(&self, identity: &FileIdentity) -> Option<Vec<Chunk>> {
        self.known.lock().expect("not poisoned").get(identity)?.1.clone()
    }

    fn store(&self, identity: &FileIdentity, root: ContentHash, chunks: Option<Vec<Chunk>>) {
        self.stored.fetch_add(1, Ordering::Relaxed);
        self.known.lock().expect("not poisoned").insert(*identity, (root, chunks));
    }
}

#[test]
fn an_unchanged_file_is_read_once() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("file"), noise(1 << 20)).expect("written");
    let memory = Arc::new(Memory::default());
    let system = system(root.path()).with_cache(memory.clone());
    let only = |system: &LocalSystem| {
        system.chunk(&path("file"), ChunkDetail::RootOnly, &mut |_| {}).expect("hashed")
    };
    let first = only(&system);
    assert_eq!((only(&system), memory.stored.load(Ordering::Relaxed)), (first, 1));
    // Chunks were not asked for, so they are not known.
    let (whole, list) = chunks(&system, "file");
    assert_eq!((whole, memory.stored.load(Ordering::Relaxed)), (first, 2));
    assert_eq!((chunks(&system, "file"), memory.stored.load(Ordering::Relaxed)), ((first, list), 2));

    fs::write(root.path().join("file"), noise(1 << 19)).expect("written");
    assert_ne!(only(&system), first);
    assert_eq!(memory.stored.load(Ordering::Relaxed), 3);
}

#[test]
fn a_file_that_changes_while_it_is_read_has_no_hash() {
    let root = tempfile::tempdir().expect("a directory");
    let writer = File::create(root.path().join("file")).expect("created");
    writer.write_all_at(&noise(32 << 20), 0).expect("written");
    let memory = Arc::new(Memory::default());
    let system = system(root.path()).with_cache(memory.clone());
    let mut first = true;
    let chunked = system.chunk(&path("file"), ChunkDetail::Chunks, &mut |_| {
        if std::mem::take(&mut first) {
            writer.set_len(31 << 20).expect("set");
        }
    });
    assert!(matches!(chunked, Err(SystemError::Changed { .. })), "{chunked:?}");
    assert_eq!(memory.stored.load(Ordering::Relaxed), 0, "what is not true is not remembered");

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                writer.write_all_at(b"x", 7).expect("written");
            }
        });
        let hashed = system.hash_range(&path("file"), ByteRange::first(31 << 20));
        done.store(true, Ordering::Relaxed);
        assert!(matches!(hashed, Err(SystemError::Changed { .. })), "{hashed:?}");
    });
}

#[test]
fn hashing_that_nobody_waits_for_any_more_is_given_up() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("file"), noise(4 << 20)).expect("written");
    let stop = Arc::new(AtomicBool::new(true));
    let memory = Arc::new(Memory::default());
    let system = system(root.path()).with_cache(memory.clone()).with_stop(Arc::clone(&stop));
    let is_given_up = |result: Result<ContentHash, SystemError>| matches!(result, Err(SystemError::Io { source, .. }) if source.kind() == std::io::ErrorKind::Interrupted);
    assert!(is_given_up(system.hash_range(&path("file"), ByteRange::first(4 << 20))));
    assert!(is_given_up(system.chunk(&path("file"), ChunkDetail::RootOnly, &mut |_| {})));
    assert_eq!(memory.stored.load(Ordering::Relaxed), 0);
    stop.store(false, Ordering::Relaxed);
    assert!(system.hash_range(&path("file"), ByteRange::first(4 << 20)).is_ok());
}
