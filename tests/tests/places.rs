//! `scan`, `hash`, `dedup` and `ls` say the same of a star as of this machine, and tell a lost star from a bad file.

use orbit_core::rel_path::display_name;
use orbit_core::system::ChunkDetail;
use orbit_node::remote::{Browsed, Duplex, StarLink};
use orbit_node::standalone::observer::{Observer, RunEvent};
use orbit_node::standalone::{
    self, Context, DedupOptions, DuplicateSet, Place, RunError, StarPlace, Storage, WalkRules,
};
use orbit_tests::star::Star;
use orbit_tests::tree::Tree;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &RunEvent<'_>) {
        if let RunEvent::Fault { path, message } = event {
            self.0.lock().expect("not poisoned").push(format!("{path}: {message}"));
        }
    }
}

/// What a command is given.
struct Asker {
    state: tempfile::TempDir,
    heard: Arc<Heard>,
}

impl Asker {
    fn new() -> Self {
        Self { state: tempfile::tempdir().expect("makes a directory"), heard: Arc::default() }
    }

    fn context(&self) -> Context {
        Context {
            state_dir: self.state.path().to_owned(),
            observer: self.heard.clone(),
            progress: Arc::default(),
            stop: Arc::default(),
        }
    }

    fn faults(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.0.lock().expect("not poisoned"))
    }

    fn scan(&self, place: &Place) -> (Vec<String>, u64, Vec<String>) {
        let mut rows = Vec::new();
        let faults = standalone::scan(&self.context(), place, &WalkRules::default(), &mut |row| {
            let name = display_name(row.name);
            rows.push(format!("{}/{name} {:?}", row.directory, row.metadata));
        });
        (rows, faults.expect("scans"), self.faults())
    }

    fn hash(&self, place: &Place, detail: ChunkDetail) -> (Vec<String>, u64, Vec<String>) {
        let mut rows = Vec::new();
        let faults = standalone::hash(&self.context(), place, &WalkRules::default(), detail, &mut |row| {
            rows.push(format!("{row:?}"));
        });
        (rows, faults.expect("hashes"), self.faults())
    }

    fn dedup(&self, places: &[Place]) -> (Vec<DuplicateSet>, standalone::DedupReport) {
        let mut sets = Vec::new();
        let options = DedupOptions { chunks: true, ..DedupOptions::default() };
        let report = standalone::dedup(&self.context(), places, &options, &mut |set| sets.push(set.clone()));
        (sets, report.expect("finds duplicates"))
    }
}

fn on(link: Arc<dyn StarLink>, machine: Option<&str>, path: &Path) -> Place {
    Place::Star(StarPlace {
        node: machine.unwrap_or("here").to_owned(),
        machine: machine.map(str::to_owned),
        path: path.as_os_str().as_encoded_bytes().to_vec(),
        link,
    })
}

fn here(path: &Path) -> Place {
    path.to_owned().into()
}

/// A tree of all kinds, with what is left out of it and what cannot be read.
fn tree(root: &Path, seed: u64) -> Tree {
    let mut tree = Tree::mixed(root, seed, 120);
    tree.file("large", 3 << 20);
    tree.file("no bytes", 0);
    tree.write("left out/.orbitignore", "*.o\n");
    tree.write("left out/a.o", "object");
    tree.write("left out/a.c", "source");
    tree
}

#[test]
fn rows_of_a_star_are_those_of_this_machine() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    let tree = tree(&place.path().join("tree"), 7);
    let star = Star::allowing(&[place.path()]);
    for path in [tree.root(), &tree.path("large"), &tree.path("left out")] {
        let (near, far) = (here(path), on(star.link(), Some("nas2"), path));
        assert_eq!(asker.scan(&far), asker.scan(&near), "scan of {}", path.display());
        for detail in [ChunkDetail::RootOnly, ChunkDetail::Chunks] {
            let (near, far) = (asker.hash(&near, detail), asker.hash(&far, detail));
            assert_eq!(far, near, "hash of {}", path.display());
            assert!(!far.0.is_empty());
        }
    }
}

#[test]
fn duplicates_on_two_machines_are_found() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    let roots = ["a", "b"].map(|name| place.path().join(name));
    for (seed, root) in (1..).zip(&roots) {
        let mut tree = tree(root, seed);
        tree.write("on both", "the same bytes on both machines");
        let large = std::fs::read(tree.file("own", 400_000)).expect("reads");
        tree.write("own again", &large);
    }
    std::fs::copy(roots[0].join("large"), roots[1].join("same as large")).expect("copies");
    let star = Star::allowing(&[place.path()]);
    let near = asker.dedup(&roots.each_ref().map(|root| here(root)));
    let far = [on(star.link(), Some("nas1"), &roots[0]), on(star.link(), Some("nas2"), &roots[1])];
    let far = asker.dedup(&far);
    let names = |sets: &[DuplicateSet]| -> Vec<_> {
        let name = |set: &DuplicateSet| {
            let files = set.files.iter().map(|file| (file.endpoint, file.path.clone(), file.allocated));
            (set.root, set.size, files.collect::<Vec<_>>())
        };
        sets.iter().map(name).collect()
    };
    assert!(near.0.len() > 3);
    assert_eq!(names(&far.0), names(&near.0));
    // Whose storage it is, a star is not asked: nothing is promised.
    assert!(far.0.iter().flat_map(|set| &set.files).all(|file| file.storage == Storage::Elsewhere));
    let seen = |report: &standalone::DedupReport| {
        (report.files_scanned, report.bytes_scanned, report.duplicate_files, report.chunks, report.faults)
    };
    assert_eq!(seen(&far.1), seen(&near.1));
    assert_eq!((far.1.bytes_shareable, near.1.bytes_shareable > 0), (0, true));
}

#[test]
fn a_file_is_one_file_however_its_machine_is_named() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    std::fs::write(place.path().join("one"), "content").expect("writes");
    let star = Star::allowing(&[place.path()]);
    let own = [
        here(place.path()),
        on(star.link(), None, place.path()),
        on(star.link(), None, &place.path().join("one")),
    ];
    let (sets, report) = asker.dedup(&own);
    assert_eq!((sets.len(), report.files_scanned), (0, 1));
    let named_twice =
        [on(star.link(), Some("nas2"), place.path()), on(star.link(), Some("nas2"), place.path())];
    assert_eq!(asker.dedup(&named_twice).0.len(), 0);
    let two = [here(place.path()), on(star.link(), Some("nas2"), place.path())];
    assert_eq!(asker.dedup(&two).0.len(), 1, "equal numbers on two machines are two files");
}

#[test]
fn nothing_is_shared_elsewhere() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    for name in ["one", "two"] {
        std::fs::write(place.path().join(name), "content").expect("writes");
    }
    let star = Star::allowing(&[place.path()]);
    let options = DedupOptions { apply: true, ..DedupOptions::default() };
    let far = [on(star.link(), Some("nas2"), place.path())];
    let report = standalone::dedup(&asker.context(), &far, &options, &mut |_| {}).expect("finds duplicates");
    assert_eq!((report.duplicate_files, report.files_shared, report.mounts_unsupported.len()), (1, 0, 0));
}

#[test]
fn browsing_leads_from_the_top_into_the_jail() {
    let place = tempfile::tempdir().expect("makes a directory");
    let tree = tree(&place.path().join("tree"), 3);
    let star = Star::allowing(&[tree.root()]);
    let far = |path: &Path| standalone::browse(&on(star.link(), Some("nas2"), path));
    let mut at = std::path::PathBuf::from("/");
    for part in tree.root().components().skip(1) {
        let Ok(Browsed::Ways(ways)) = far(&at) else { panic!("no way at {}", at.display()) };
        assert_eq!(ways, [part.as_os_str().as_encoded_bytes()]);
        at.push(part);
    }
    let shown = |found: Result<Browsed, RunError>| match found.expect("is there") {
        Browsed::Directory(listing) => {
            listing.iter().map(|(name, metadata)| format!("{} {metadata:?}", display_name(name))).collect()
        }
        Browsed::Entry(name, metadata) => vec![format!("{} {metadata:?}", display_name(&name))],
        Browsed::Ways(ways) => panic!("only ways: {ways:?}"),
    };
    for path in [tree.root(), &tree.path("large")] {
        let near: Vec<String> = shown(standalone::browse(&here(path)));
        assert_eq!(shown(far(path)), near);
        assert!(!near.is_empty());
    }
    assert!(matches!(far(&tree.path("none")), Err(RunError::NotFound { .. })));
    assert!(matches!(far(Path::new("/etc")), Err(RunError::Refused(_))));
}

/// A link whose streams break after so many.
struct Failing {
    link: Arc<dyn StarLink>,
    left: AtomicUsize,
}

impl StarLink for Failing {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.link.open()
    }
}

#[test]
fn a_lost_star_is_not_many_bad_files() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    let tree = tree(place.path(), 5);
    let star = Star::allowing(&[place.path()]);
    // Enough to open it, or to open and to walk it; the rest fails.
    for left in 0..3 {
        let failing = || {
            let failing = Failing { link: star.link(), left: AtomicUsize::new(left) };
            on(Arc::new(failing), Some("nas2"), tree.root())
        };
        let walk = WalkRules::default();
        let hashed =
            standalone::hash(&asker.context(), &failing(), &walk, ChunkDetail::RootOnly, &mut |_| {});
        assert!(matches!(hashed, Err(RunError::Gone { .. })), "{left}: {hashed:?}");
        assert_eq!(asker.faults(), [""; 0], "{left}");
        if left == 0 {
            let found =
                standalone::dedup(&asker.context(), &[failing()], &DedupOptions::default(), &mut |_| {});
            assert!(matches!(found, Err(RunError::Gone { .. })), "{found:?}");
        }
    }
}

#[test]
fn what_cannot_be_looked_at_says_why() {
    let (place, asker) = (tempfile::tempdir().expect("makes a directory"), Asker::new());
    let star = Star::allowing(&[place.path()]);
    let scan = |path: &Path| {
        let far = on(star.link(), Some("nas2"), path);
        let mut rows = 0;
        let error = standalone::scan(&asker.context(), &far, &WalkRules::default(), &mut |_| rows += 1);
        assert_eq!(rows, 0);
        standalone::error::chain(&error.expect_err("cannot be looked at"))
    };
    let missing = place.path().join("none");
    assert_eq!(scan(&missing), format!("nas2:{} does not exist", missing.display()));
    let outside = scan(Path::new("/etc/passwd"));
    assert!(outside.starts_with("nas2 refused /etc/passwd: "), "{outside}");
    assert_eq!(scan(Path::new("/etc/none")), outside.replace("passwd", "none"), "it tells what exists");
}
