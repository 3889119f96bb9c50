use super::super::observer::{Observer, RunEvent};
use super::super::progress::Progress;
use super::*;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

mod applying;

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &RunEvent<'_>) {
        let text = match event {
            RunEvent::Fault { path, message } => format!("fault {path}: {message}"),
            RunEvent::Notice(text) => format!("notice {text}"),
            _ => return,
        };
        self.0.lock().expect("not poisoned").push(text);
    }
}

/// A state directory, and what was heard.
struct Scene {
    state: tempfile::TempDir,
    heard: Arc<Heard>,
    context: Context,
}

impl Scene {
    fn new() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let heard = Arc::new(Heard::default());
        let context = Context {
            state_dir: state.path().to_owned(),
            observer: heard.clone(),
            progress: Arc::new(Progress::default()),
            stop: Arc::new(AtomicBool::new(false)),
        };
        Self { state, heard, context }
    }

    fn run(&self, endpoints: &[PathBuf], options: &DedupOptions) -> (DedupReport, Vec<DuplicateSet>) {
        let mut sets = Vec::new();
        let report = dedup(&self.context, &places(endpoints), options, &mut |set| sets.push(set.clone()))
            .expect("runs");
        (report, sets)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.0.lock().expect("not poisoned").clone()
    }
}

/// Bytes that no other seed gives.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, content).expect("written");
}

fn places(paths: &[PathBuf]) -> Vec<Place> {
    paths.iter().cloned().map(Place::from).collect()
}

/// Sets as their files' names.
fn names(sets: &[DuplicateSet]) -> Vec<Vec<String>> {
    let name = |file: &DuplicateFile| format!("{}:{}", file.endpoint, file.path);
    sets.iter().map(|set| set.files.iter().map(name).collect()).collect()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

#[test]
fn finds_duplicates_across_endpoints_the_largest_first() {
    let (a, b, scene) = (directory(), directory(), Scene::new());
    write(a.path(), "small", &bytes(1, 3000));
    write(a.path(), "deep/er/large", &bytes(2, 300_000));
    write(a.path(), "single", &bytes(3, 3000));
    write(a.path(), "empty-1", b"");
    write(a.path(), "empty-2", b"");
    write(b.path(), "same as small", &bytes(1, 3000));
    write(b.path(), "again", &bytes(1, 3000));
    write(b.path(), "copy", &bytes(2, 300_000));
    let endpoints = [a.path().to_owned(), b.path().to_owned()];
    let (report, sets) = scene.run(&endpoints, &DedupOptions::default());
    assert_eq!(
        names(&sets),
        [vec!["0:deep/er/large", "1:copy"], vec!["0:small", "1:again", "1:same as small"]]
    );
    assert_eq!((report.files_scanned, report.bytes_scanned), (8, 4 * 3000 + 2 * 300_000));
    assert_eq!((report.sets, report.duplicate_files, report.bytes_duplicate), (2, 3, 306_000));
    assert_eq!((report.faults, report.interrupted, report.chunks), (0, false, None));
    let stored = |name: &str| fs::metadata(b.path().join(name)).expect("there").blocks() * 512;
    assert_eq!(sets[0].bytes_shareable, stored("copy"));
    assert_eq!(report.bytes_shareable, stored("copy") + stored("again") * 2);

    let (report, sets) = scene.run(&endpoints, &DedupOptions { min_bytes: 3001, ..DedupOptions::default() });
    assert_eq!((names(&sets).len(), report.files_scanned), (1, 8));
    assert_eq!(scene.heard(), [""; 0]);
}

#[test]
fn files_of_one_size_and_beginning_may_differ_later() {
    let (a, scene) = (directory(), Scene::new());
    for (name, at) in [("one", 5000), ("two", 250_000), ("three", 299_999), ("head", 0)] {
        let mut content = bytes(1, 300_000);
        content[at] ^= 1;
        write(a.path(), name, &content);
    }
    let endpoints = [a.path().to_owned()];
    let (report, sets) = scene.run(&endpoints, &DedupOptions::default());
    assert_eq!((report.sets, sets.len(), report.faults), (0, 0, 0));
}

#[test]
fn hard_links_are_one_file() {
    let (a, scene) = (directory(), Scene::new());
    write(a.path(), "file", &bytes(1, 5000));
    fs::hard_link(a.path().join("file"), a.path().join("link")).expect("linked");
    let endpoints = [a.path().to_owned()];
    let (report, sets) = scene.run(&endpoints, &DedupOptions::default());
    assert_eq!((report.files_scanned, report.bytes_scanned, sets.len()), (1, 5000, 0));

    write(a.path(), "copy", &bytes(1, 5000));
    let (report, sets) = scene.run(&endpoints, &DedupOptions::default());
    assert_eq!(names(&sets), [["0:copy", "0:file"]]);
    assert_eq!((report.files_scanned, report.duplicate_files), (2, 1));
}

#[test]
fn endpoints_within_each_other_count_once() {
    let (a, scene) = (directory(), Scene::new());
    write(a.path(), "x/inner/one", &bytes(1, 5000));
    write(a.path(), "x/two", &bytes(2, 6000));
    write(a.path(), "three", &bytes(3, 7000));
    write(a.path(), "y/copy of three", &bytes(3, 7000));
    let here = a.path().to_owned();
    let endpoints =
        [here.clone(), here.join("x/inner"), here.join("three"), here.join("x/.."), here.join("x")];
    let (report, sets) = scene.run(&endpoints, &DedupOptions::default());
    assert_eq!((report.files_scanned, report.bytes_scanned), (4, 5000 + 6000 + 14_000));
    assert_eq!(names(&sets), [["0:y/copy of three", "2:."]]);
}

#[test]
fn only_directories_and_regular_files_are_endpoints() {
    let (a, scene) = (directory(), Scene::new());
    std::os::unix::fs::symlink("nowhere", a.path().join("link")).expect("linked");
    let fails = |path: PathBuf| {
        dedup(&scene.context, &[path.into()], &DedupOptions::default(), &mut |_| {}).expect_err("refused")
    };
    assert!(matches!(fails(a.path().join("link")), RunError::WrongKind { .. }));
    assert!(matches!(fails(a.path().join("missing")), RunError::NotFound { .. }));
}

#[test]
fn chunks_tell_what_repeats_below_whole_files() {
    let (a, scene) = (directory(), Scene::new());
    let (shared, own) = (bytes(1, 4 << 20), bytes(2, 1 << 20));
    write(a.path(), "one", &shared);
    write(a.path(), "two", &[&own[..], &shared].concat());
    write(a.path(), "small", b"three");
    fs::hard_link(a.path().join("one"), a.path().join("link")).expect("linked");
    let endpoints = [a.path().to_owned(), a.path().join("two")];
    let options = DedupOptions { chunks: true, ..DedupOptions::default() };
    for _ in 0..2 {
        // The second time the chunks come from the cache.
        let (report, sets) = scene.run(&endpoints, &options);
        let chunks = report.chunks.expect("asked for");
        assert_eq!((chunks.bytes, sets.len()), (9 * (1 << 20) + 5, 0));
        let repeated = chunks.duplicate_bytes();
        assert!((3 << 20..=4 << 20).contains(&repeated), "{repeated} bytes repeat");
        assert!(chunks.unique_chunks < chunks.chunks && chunks.unique_chunks > 40, "{chunks:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_reported_once() {
    let (a, scene) = (directory(), Scene::new());
    for name in ["one", "two"] {
        write(a.path(), name, &bytes(1, 5000));
    }
    // A name that leads elsewhere by the time it is read: the walk saw a file.
    let endpoints = [a.path().to_owned().into()];
    let walk = WalkRules::default();
    let forest = Forest::open(&scene.context, &endpoints, &walk, None).expect("opens");
    let mut candidates = Candidates::default();
    forest.each_file(&scene.context, |found| candidates.push(&found)).expect("walks");
    candidates.settle();
    fs::remove_file(a.path().join("two")).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", a.path().join("two")).expect("linked");
    let mut faults = Faults::default();
    for batch in candidates.batches().chain(candidates.batches()) {
        let found = sets::find(&scene.context, &forest, &candidates, batch, &mut faults);
        assert!(found.is_empty());
    }
    assert_eq!(faults.count(), 1);
    assert_eq!(scene.heard(), ["fault two: two is not a regular file"]);
}

#[test]
fn stopped_it_stops() {
    let (a, scene) = (directory(), Scene::new());
    write(a.path(), "one", b"content");
    scene.context.stop.store(true, Ordering::Relaxed);
    let result = dedup(&scene.context, &[a.path().to_owned().into()], &DedupOptions::default(), &mut |_| {});
    assert!(matches!(result, Err(RunError::Interrupted)));
}

#[test]
fn stopped_between_sets_it_says_so() {
    let (a, scene) = (directory(), Scene::new());
    for name in ["one", "two"] {
        write(a.path(), &format!("large-{name}"), &bytes(1, 6000));
        write(a.path(), &format!("small-{name}"), &bytes(2, 5000));
    }
    let mut sets = 0;
    let stop = scene.context.stop.clone();
    let mut sink = |_: &DuplicateSet| {
        sets += 1;
        stop.store(true, Ordering::Relaxed);
    };
    let report = dedup(&scene.context, &[a.path().to_owned().into()], &DedupOptions::default(), &mut sink);
    let report = report.expect("a report");
    assert_eq!((sets, report.sets, report.interrupted), (1, 1, true));
}

#[test]
fn without_a_state_directory_it_works_too() {
    let (a, mut scene) = (directory(), Scene::new());
    write(scene.state.path(), "a file", b"");
    scene.context.state_dir = scene.state.path().join("a file");
    for name in ["one", "two"] {
        write(a.path(), name, &bytes(1, 5000));
    }
    let options = DedupOptions { chunks: true, ..DedupOptions::default() };
    let (report, sets) = scene.run(&[a.path().to_owned()], &options);
    assert_eq!((sets.len(), report.faults), (1, 0));
    assert_eq!(scene.heard().len(), 1, "one notice: {:?}", scene.heard());
}
