//! What a star tells voters of the contents it holds: those it hashed for the grid, and nothing of what else lies on it.
#![cfg(target_os = "linux")]

use orbit_core::grid::{Content, Refusal};
use orbit_core::system::{ChunkDetail, OrbitSystem};
use orbit_core::wire::system::{Call, ContentsPage, Reply};
use orbit_core::{Chunk, ContentHash, RelPath};
use orbit_store::Universe;
use orbit_tests::random::Random;
use orbit_tests::star::Star;
use orbit_tests::star::raw::Asker;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A star and its allowed directory, in which files lie that were written long ago.
struct Scene {
    _base: tempfile::TempDir,
    allowed: PathBuf,
    star: Star,
}

impl Scene {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("makes a directory");
        let allowed = base.path().join("allowed");
        std::fs::create_dir(&allowed).expect("makes a directory");
        for (name, seed, len) in
            [("large", 1, 3 << 20), ("small", 2, 1000), ("empty", 3, 0), ("other", 4, 200_000)]
        {
            let file = allowed.join(name);
            std::fs::write(&file, bytes(seed, len)).expect("writes");
        }
        std::fs::write(allowed.join("twin"), bytes(1, 3 << 20)).expect("writes");
        let star = Star::allowing(&[&allowed]);
        Self { _base: base, allowed, star }
    }

    /// Hashes a file through the star. What was written less than two seconds ago is not cached.
    fn hash(&self, name: &str, detail: ChunkDetail) -> (ContentHash, Vec<Chunk>) {
        let (system, _) = self.star.open(&self.allowed).expect("opens");
        let mut chunks = Vec::new();
        let path = RelPath::new(name).expect("a path");
        (system.chunk(&path, detail, &mut |chunk| chunks.push(chunk)).expect("hashes"), chunks)
    }

    fn voter(&self) -> Asker {
        Asker::inside(&self.star.voters_link(), b"")
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

fn page(voter: &mut Asker, unless: Option<u64>) -> ContentsPage {
    match voter.ask(&Call::Contents { unless, after: Vec::new() }).expect("is answered").pop() {
        Some(Reply::Contents(page)) => page,
        reply => panic!("no contents: {reply:?}"),
    }
}

fn content(root: ContentHash, chunks: &[Chunk]) -> Content {
    Content {
        root,
        bytes: chunks.iter().map(|chunk| u64::from(chunk.len)).sum(),
        chunks: chunks.len() as u32,
    }
}

/// Files are cached once their last change is two seconds back.
fn wait_until_settled(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::metadata(path)
        .and_then(|found| found.modified())
        .expect("looks")
        .elapsed()
        .is_ok_and(|ago| ago < Duration::from_millis(2100))
    {
        assert!(Instant::now() < deadline, "the clock stands");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn voters_hear_of_what_was_hashed_for_the_grid() {
    let scene = Scene::new();
    let mut voter = scene.voter();
    let nothing = page(&mut voter, None);
    assert_eq!((nothing.contents.as_slice(), nothing.next.as_slice()), ([].as_slice(), [].as_slice()));
    assert!(!scene.star.data_dir().join("universe_v3.db").exists(), "nothing is made only to be looked into");

    wait_until_settled(&scene.allowed.join("twin"));
    let (root, chunks) = scene.hash("large", ChunkDetail::Chunks);
    assert_eq!(scene.hash("twin", ChunkDetail::RootOnly).0, root, "the same bytes");
    let (other, none) = scene.hash("other", ChunkDetail::RootOnly);
    assert!(none.is_empty());
    let told = page(&mut voter, Some(nothing.state));
    assert_ne!(told.state, nothing.state);
    let mut found: Vec<ContentHash> = told.contents.iter().map(|content| content.root).collect();
    found.sort_unstable();
    let mut expected = vec![root, root, other];
    expected.sort_unstable();
    assert_eq!(found, expected, "each of the equal files, also those of which the root alone was asked for");
    assert!(told.contents.contains(&content(root, &chunks)));
    let again = page(&mut voter, None);
    assert_eq!(again.contents.len(), 3);

    let unknown = ContentHash::from_bytes([7; 32]);
    let roots = [root, unknown, other].map(|root| *root.as_bytes()).to_vec();
    let replies = voter.ask(&Call::Manifests { roots }).expect("is answered");
    let mut manifests: Vec<(ContentHash, Vec<Chunk>)> = Vec::new();
    for reply in replies {
        match reply {
            Reply::Manifest(root) => manifests.push((root, Vec::new())),
            Reply::Chunks(some) => manifests.last_mut().expect("of a manifest").1.extend(some),
            Reply::Done => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(manifests.len(), 2, "each once");
    assert!(manifests.contains(&(root, chunks)));
    let (_, others) = manifests.into_iter().find(|(of, _)| *of == other).expect("the other one");
    assert_eq!(content(other, &others).bytes, 200_000);

    // The cache is closed when nobody used it for a while; what is in it is the same.
    let deadline = Instant::now() + Duration::from_secs(20);
    let state = loop {
        let first = page(&mut voter, None).state;
        std::thread::park_timeout(Duration::from_millis(2500));
        if page(&mut voter, None).state == first {
            break first;
        }
        assert!(Instant::now() < deadline, "the state never settles");
    };
    assert_eq!(page(&mut voter, Some(state)).contents, [], "nothing is new");
    scene.hash("large", ChunkDetail::Chunks);
    assert_eq!(page(&mut voter, Some(state)).contents, [], "it was told already");
    scene.hash("small", ChunkDetail::RootOnly);
    assert_eq!(page(&mut voter, Some(state)).contents.len(), 4);
}

#[test]
fn what_a_person_hashed_for_himself_is_not_told() {
    let scene = Scene::new();
    wait_until_settled(&scene.allowed.join("twin"));
    let (root, chunks) = scene.hash("large", ChunkDetail::Chunks);
    let database = scene.star.data_dir().join("universe_v3.db");
    let deadline = Instant::now() + Duration::from_secs(20);
    let universe = loop {
        match Universe::open(&database) {
            Ok(universe) => break universe,
            Err(error) => assert!(Instant::now() < deadline, "the star keeps its cache open: {error}"),
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    // As `orbit hash` on this machine does, of a file anywhere.
    let then = orbit_core::Timestamp { seconds: 1_000_000_000, nanos: 0 };
    let private = orbit_core::FileIdentity { dev: 7, ino: 77, size: 3 << 20, mtime: then, ctime: then };
    let private = orbit_store::CachedManifest {
        identity: private,
        params_id: 1,
        root: ContentHash::from_bytes([7; 32]),
        chunks: Some(chunks),
    };
    let now = orbit_core::Timestamp { seconds: 2_000_000_000, nanos: 0 };
    assert!(universe.put(&private, now).expect("stores"));

    let mut voter = scene.voter();
    let replies = voter.ask(&Call::Contents { unless: None, after: Vec::new() }).expect("is answered");
    assert!(
        matches!(&replies[..], [Reply::Refused(Refusal::Failed { message, .. })] if message.contains("in use")),
        "a command has the cache: {replies:?}"
    );
    universe.close().expect("closes");
    let told = page(&mut voter, None);
    assert_eq!(told.contents.iter().map(|content| content.root).collect::<Vec<_>>(), [root]);
    let replies = voter.ask(&Call::Manifests { roots: vec![[7; 32]] }).expect("is answered");
    assert_eq!(replies, [Reply::Done]);
}

#[test]
fn a_voter_is_told_nothing_else() {
    let scene = Scene::new();
    let (_, refused) = Asker::open(&scene.star.voters_link(), scene.allowed.as_os_str().as_bytes(), false);
    assert!(matches!(refused, Reply::Refused(Refusal::NotNucleus { .. })), "{refused:?}");
    let path = || b"small".to_vec();
    for call in [
        Call::List { path: Vec::new() },
        Call::ReadHeader { path: path(), len: 10 },
        Call::Chunk { path: path(), with_chunks: true },
        Call::Open { path: path() },
    ] {
        for link in [scene.star.voters_link(), scene.star.link()] {
            let mut asker = Asker::inside(&link, b"");
            let answer = asker.ask(&call);
            assert!(answer.is_err(), "{call:?} was answered with {answer:?}");
        }
    }
    // And whoever may see files is not told what else was hashed.
    let manifests = || Call::Manifests { roots: vec![[7; 32]] };
    for call in [Call::Contents { unless: None, after: Vec::new() }, manifests()] {
        let mut asker = Asker::inside(&scene.star.link(), scene.allowed.as_os_str().as_bytes());
        assert!(asker.ask(&call).is_err(), "{call:?} was answered");
    }
}

#[test]
fn any_cursor_is_answered() {
    let scene = Scene::new();
    wait_until_settled(&scene.allowed.join("twin"));
    scene.hash("large", ChunkDetail::Chunks);
    let mut voter = scene.voter();
    for len in [0, 1, 19, 20, 21, 4096] {
        let call = Call::Contents { unless: None, after: vec![0xff; len] };
        let replies = voter.ask(&call).expect("is answered");
        assert!(matches!(&replies[..], [Reply::Contents(_)]), "{replies:?}");
    }
}
