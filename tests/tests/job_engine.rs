//! The engine of a grid's jobs: plans and runs with a source at a star, below the allowed paths of another.
#![cfg(target_os = "linux")]

use orbit_core::RelPath;
use orbit_core::system::{OrbitSystem, ScanOptions};
use orbit_node::remote::{Duplex, RemoteSystem, StarLink};
use orbit_node::standalone::observer::{Observer, RunEvent};
use orbit_node::standalone::request::{SyncRequest, Trash};
use orbit_node::standalone::{
    Context, JobSource, RunError, RunReport, forget_plan, plan_from, run_from, tell_plan,
};
use orbit_store::PlanId;
use orbit_tests::snapshot::assert_same_tree;
use orbit_tests::star::{DirectLink, Star};
use orbit_tests::tree::Tree;
use orbit_tests::wait::until;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// What an observer heard that is no mere progress.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &RunEvent<'_>) {
        let line = match event {
            RunEvent::Fault { path, message } => format!("{path}: {message}"),
            RunEvent::Notice(notice) => (*notice).to_owned(),
            RunEvent::Change { verb, path, .. } => format!("{verb:?} {path}"),
            RunEvent::Planned(_) => return,
        };
        self.0.lock().expect("no panic").push(line);
    }
}

/// A source star, a destination star, and their trees.
struct Stage {
    _directory: tempfile::TempDir,
    from: PathBuf,
    to: PathBuf,
    source: Star,
    destination: Star,
    state: PathBuf,
    heard: Arc<Heard>,
    stop: Arc<AtomicBool>,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (from, allowed) = (directory.path().join("from"), directory.path().join("allowed"));
        let state = directory.path().join("state");
        for path in [&from, &allowed, &state] {
            fs::create_dir(path).expect("made");
        }
        let (source, destination) = (Star::allowing(&[&from]), Star::allowing(&[&allowed]));
        let (to, heard, stop) = (allowed.join("to"), Arc::default(), Arc::default());
        Self { _directory: directory, from, to, source, destination, state, heard, stop }
    }

    fn context(&self) -> Context {
        Context {
            state_dir: self.state.clone(),
            observer: self.heard.clone(),
            progress: Arc::default(),
            stop: self.stop.clone(),
        }
    }

    fn request(&self) -> SyncRequest {
        request(&self.to)
    }

    fn by(link: Arc<dyn StarLink>, path: &Path) -> Result<JobSource, RunError> {
        JobSource::of_star(link, path.as_os_str().as_bytes().to_vec(), format!("nas1:{}", path.display()))
    }

    fn reach(&self) -> JobSource {
        Self::by(self.source.direct(&self.from), &self.from).expect("opens")
    }

    fn plan(&self, request: &SyncRequest, source: &JobSource) -> Result<PlanId, RunError> {
        plan_from(&self.context(), request, source, &self.destination.service.jails()).map(|plan| plan.0)
    }

    fn run(&self, request: &SyncRequest, plan: PlanId, source: &JobSource) -> Result<RunReport, RunError> {
        run_from(&self.context(), request, plan, source, &self.destination.service.jails())
    }

    fn sync(&self, request: &SyncRequest) -> RunReport {
        let source = self.reach();
        let plan = self.plan(request, &source).expect("plans");
        let report = self.run(request, plan, &source).expect("runs");
        forget_plan(&self.context(), plan).expect("forgets");
        report
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.0.lock().expect("no panic"))
    }
}

fn request(to: &Path) -> SyncRequest {
    SyncRequest {
        source: "nas1:/from".into(),
        destination: to.to_owned(),
        mirror: false,
        max_delete_percent: 100,
        trash: Trash::Off,
        checksum: false,
        verify: false,
        rules: Vec::new(),
        ignore_files: Vec::new(),
        ignore_texts: Vec::new(),
        bandwidth: None,
        jobs: 0,
        one_file_system: false,
        owner: true,
        permissions: true,
        xattrs: true,
        source_marker: None,
    }
}

/// A way that breaks off once so many bytes came over it, until it is mended.
struct Brittle {
    link: Arc<DirectLink>,
    left: Arc<AtomicI64>,
}

struct BrittleStream {
    stream: Box<dyn Duplex>,
    left: Arc<AtomicI64>,
}

impl StarLink for Brittle {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        if self.left.load(Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Box::new(BrittleStream { stream: self.link.open()?, left: Arc::clone(&self.left) }))
    }
}

impl Read for BrittleStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        if self.left.fetch_sub(read as i64, Ordering::Relaxed) <= read as i64 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(read)
    }
}

impl Write for BrittleStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left.load(Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[test]
fn a_tree_comes_over_and_what_changed_follows() {
    let stage = Stage::new();
    let mut tree = Tree::mixed(&stage.from, 1, 300);
    let report = stage.sync(&stage.request());
    assert_eq!((report.faults, report.interrupted), (0, false), "{:?}", stage.heard());
    assert!(report.summary.bytes_wire > report.summary.bytes_written / 2);
    assert_same_tree(&stage.from, &stage.to);
    let again = stage.sync(&stage.request());
    assert_eq!((again.totals.steps, again.summary.files_new), (0, 0), "{:?}", stage.heard());
    tree.evolve();
    let request = SyncRequest { mirror: true, verify: true, ..stage.request() };
    let report = stage.sync(&request);
    assert_eq!(report.faults, 0, "{:?}", stage.heard());
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn a_tree_comes_over_the_mesh_as_well() {
    let stage = Stage::new();
    let mut tree = Tree::mixed(&stage.from, 9, 200);
    tree.file("large", 20 << 20);
    tree.sparse("with holes", 64 << 20, &[5, 40 << 20]);
    let source = Stage::by(stage.source.link(), &stage.from).expect("opens");
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    let report = stage.run(&stage.request(), plan, &source).expect("runs");
    assert_eq!(report.faults, 0, "{:?}", stage.heard());
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn a_link_serves_what_its_ticket_names_and_nothing_else() {
    let stage = Stage::new();
    let tree = Tree::at(&stage.from, 10);
    tree.write("a/file", "content");
    tree.write("a/other", "secret");
    let refused =
        Stage::by(stage.source.direct(&stage.from.join("a")), &stage.from).expect_err("it is outside");
    assert!(matches!(refused, RunError::Refused(_)), "{refused:?}");
    let outside = stage.state.clone();
    assert!(matches!(Stage::by(stage.source.direct(&outside), &outside), Err(RunError::Refused(_))));
    let file = stage.from.join("a/file");
    let path = file.as_os_str().as_bytes().to_vec();
    let (system, start) = RemoteSystem::open(stage.source.direct(&file), path).expect("opens");
    assert_eq!(system.read_header(&start, 100).expect("reads"), b"content");
    let other = RelPath::new("other").expect("a path");
    assert!(system.metadata(&other).is_err());
    assert!(system.open(&other).is_err());
    assert!(system.fetch([other.clone()].into(), true).take(&other).is_err());
    let options = ScanOptions {
        start: RelPath::root(),
        filter: Arc::new(orbit_core::filter::KeepAll),
        one_file_system: false,
        threads: 1,
    };
    assert!(system.scan(&options).is_err());
}

#[test]
fn contents_are_compared_where_they_lie() {
    let stage = Stage::new();
    let tree = Tree::at(&stage.from, 2);
    tree.write("a/same", "the same");
    tree.write("a/other", "one way");
    stage.sync(&stage.request());
    let found = fs::metadata(stage.from.join("a/other")).expect("there").modified().expect("a time");
    let file = fs::File::options().write(true).open(stage.to.join("a/other")).expect("opens");
    (&file).write_all(b"another").expect("written");
    file.set_modified(found).expect("set");
    assert_eq!(stage.sync(&stage.request()).totals.steps, 0);
    let request = SyncRequest { checksum: true, ..stage.request() };
    assert_eq!(stage.sync(&request).summary.files_changed, 1);
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn a_single_file_goes_where_it_is_sent() {
    let stage = Stage::new();
    Tree::at(&stage.from, 3).write("file", "content");
    let file = stage.from.join("file");
    let source = Stage::by(stage.source.direct(&file), &file).expect("opens");
    let run = |to: &Path| {
        let request = request(to);
        let plan = stage.plan(&request, &source)?;
        stage.run(&request, plan, &source)
    };
    let read = |path: &str| fs::read(stage.to.parent().expect("it has one").join(path)).ok();
    run(&stage.to).expect("under another name");
    assert_eq!(read("to").as_deref(), Some(&b"content"[..]));
    run(stage.to.parent().expect("it has one")).expect("into a directory");
    assert_eq!(read("file").as_deref(), Some(&b"content"[..]));
    let mut made = stage.to.with_file_name("made").into_os_string();
    made.push("/");
    run(Path::new(&made)).expect("into a directory that is made");
    assert_eq!(read("made/file").as_deref(), Some(&b"content"[..]));
    assert!(matches!(run(&stage.to.join("below/it")), Err(RunError::NoParent { .. } | RunError::System(_))));
}

#[test]
fn a_source_on_the_same_star_is_read_below_what_it_allows() {
    let stage = Stage::new();
    let jails = stage.destination.service.jails();
    let here = stage.to.with_file_name("here");
    Tree::at(&here, 4).write("a/file", "content");
    let open = |path: &Path| JobSource::of_this(&jails, path.as_os_str().as_bytes(), "nas2:here".to_owned());
    let source = open(&here).expect("opens");
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    let report = stage.run(&stage.request(), plan, &source).expect("runs");
    assert_eq!((report.summary.files_new, report.summary.bytes_wire), (1, 0));
    assert_same_tree(&here, &stage.to);
    assert!(matches!(open(&stage.from), Err(RunError::Refused(_))), "it is not this star's");
    for inside in [here.join("a"), here.clone()] {
        assert!(matches!(stage.plan(&request(&inside), &source), Err(RunError::Guard(_))), "{inside:?}");
    }
}

#[test]
fn nothing_is_written_outside_the_allowed_paths() {
    let stage = Stage::new();
    Tree::at(&stage.from, 5).write("file", "content");
    let source = stage.reach();
    let outside = stage.from.with_file_name("outside");
    fs::create_dir(&outside).expect("made");
    let allowed = stage.to.parent().expect("it has one");
    for path in [&outside, &outside.join("new"), &allowed.join("../outside"), &stage.state] {
        assert!(matches!(stage.plan(&request(path), &source), Err(RunError::Refused(_))), "{path:?}");
    }
    // A link in the place of the destination, before and after the plan.
    std::os::unix::fs::symlink(&outside, &stage.to).expect("linked");
    assert!(stage.plan(&stage.request(), &source).is_err());
    fs::remove_file(&stage.to).expect("removed");
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    std::os::unix::fs::symlink(&outside, &stage.to).expect("linked");
    assert!(stage.run(&stage.request(), plan, &source).is_err());
    let trash = SyncRequest { trash: Trash::Directory(outside.clone()), ..stage.request() };
    fs::remove_file(&stage.to).expect("removed");
    assert!(matches!(stage.plan(&trash, &source), Err(RunError::Refused(_))));
    let rules = SyncRequest { ignore_files: vec![outside.join("rules")], ..stage.request() };
    assert!(matches!(stage.plan(&rules, &source), Err(RunError::WrongKind { .. })));
    assert_eq!(fs::read_dir(&outside).expect("there").count(), 0);
}

#[test]
fn texts_of_ignore_files_hold() {
    let stage = Stage::new();
    let tree = Tree::at(&stage.from, 6);
    tree.write("keep", "1");
    tree.write("leave.tmp", "2");
    let request = SyncRequest { ignore_texts: vec!["*.tmp\n".to_owned()], ..stage.request() };
    assert_eq!(stage.sync(&request).summary.files_new, 1);
    assert!(!stage.to.join("leave.tmp").exists());
}

#[test]
fn a_source_that_is_lost_is_gone_on_with() {
    let stage = Stage::new();
    let mut tree = Tree::mixed(&stage.from, 7, 400);
    tree.file("large", 40 << 20);
    tree.age();
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let way = || -> Arc<dyn StarLink> {
        Arc::new(Brittle { link: stage.source.direct(&stage.from), left: Arc::clone(&left) })
    };
    let source = Stage::by(way(), &stage.from).expect("opens");
    left.store(200, Ordering::Relaxed);
    let lost = stage.plan(&stage.request(), &source).expect_err("it broke off");
    assert!(lost.is_source_lost(), "{lost:?}");
    left.store(i64::MAX, Ordering::Relaxed);
    let source = Stage::by(way(), &stage.from).expect("opens");
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    tell_plan(&stage.context(), plan).expect("tells");
    let changes = stage.heard().len();
    assert!(changes > 100, "{changes}");
    let mut losses = 0;
    let report = loop {
        left.store(20 << 20, Ordering::Relaxed);
        let Ok(source) = Stage::by(way(), &stage.from) else { continue };
        match stage.run(&stage.request(), plan, &source) {
            Ok(report) => break report,
            Err(lost) => assert!(lost.is_source_lost(), "{lost:?}"),
        }
        losses += 1;
        assert!(losses < 100, "it never ends");
    };
    assert!(losses > 0, "{losses}");
    assert_eq!((report.faults, stage.heard()), (0, Vec::new()));
    assert_eq!(report.summary.files_new, report.totals.files_new);
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn a_run_that_was_stopped_goes_on() {
    let stage = Stage::new();
    let mut tree = Tree::mixed(&stage.from, 8, 200);
    tree.age();
    let source = stage.reach();
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    stage.stop.store(true, Ordering::Relaxed);
    let report = stage.run(&stage.request(), plan, &source).expect("stops");
    assert!(report.interrupted);
    stage.stop.store(false, Ordering::Relaxed);
    let report = stage.run(&stage.request(), plan, &source).expect("runs");
    assert_eq!((report.interrupted, report.faults), (false, 0), "{:?}", stage.heard());
    assert_same_tree(&stage.from, &stage.to);
    let again = stage.run(&stage.request(), plan, &source).expect("there is nothing left");
    assert_eq!(again.summary.files_new, report.summary.files_new);
}

/// Waits until a file's last change is long enough ago to be trusted without a second look.
fn settle(path: &Path) {
    let changed = fs::metadata(path).expect("there").ctime();
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    until("the file is settled", || now() as i64 - changed > 3);
}

#[test]
fn of_a_large_file_only_what_changed_is_sent() {
    let stage = Stage::new();
    let mut tree = Tree::at(&stage.from, 11);
    let path = tree.file("image", 64 << 20);
    settle(&path);
    let whole = stage.sync(&stage.request()).summary.bytes_wire;
    assert!(whole > 64 << 20, "{whole}");
    let change = |what: &str, wire_max: u64, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(&path).expect("reads");
        edit(&mut bytes);
        fs::write(&path, &bytes).expect("writes");
        settle(&path);
        let report = stage.sync(&stage.request());
        assert_eq!((report.faults, report.summary.files_changed), (0, 1), "{what}: {:?}", stage.heard());
        assert!(report.summary.bytes_wire < wire_max, "{what}: {} bytes", report.summary.bytes_wire);
        assert_same_tree(&stage.from, &stage.to);
    };
    change("scattered", 1 << 20, &|bytes| {
        for cell in (0..16_384).step_by(101) {
            bytes[cell * 4096 + 77..][..100].fill(7);
        }
    });
    change("inserted at the front", 100 << 10, &|bytes| bytes.insert(0, 1));
    change("inserted in the middle", 200 << 10, &|bytes| {
        bytes.splice(30 << 20..30 << 20, [5; 1000]);
    });
    change("cut off and moved", 100 << 10, &|bytes| {
        bytes.truncate(40 << 20);
        bytes.rotate_left(7 << 20);
    });
    change("something else", 45 << 20, &|bytes| {
        for byte in bytes.iter_mut() {
            *byte = byte.wrapping_mul(3) ^ 0x5a;
        }
    });
}

#[test]
fn a_delta_that_is_cut_short_is_gone_on_with() {
    let stage = Stage::new();
    let mut tree = Tree::at(&stage.from, 12);
    let path = tree.file("image", 48 << 20);
    stage.sync(&stage.request());
    let mut bytes = fs::read(&path).expect("reads");
    for cell in (0..12_288).step_by(3) {
        bytes[cell * 4096] ^= 1;
    }
    fs::write(&path, &bytes).expect("writes");
    settle(&path);
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let way = || -> Arc<dyn StarLink> {
        Arc::new(Brittle { link: stage.source.direct(&stage.from), left: Arc::clone(&left) })
    };
    let source = Stage::by(way(), &stage.from).expect("opens");
    let plan = stage.plan(&stage.request(), &source).expect("plans");
    left.store(8 << 20, Ordering::Relaxed);
    let lost = stage.run(&stage.request(), plan, &source).expect_err("it breaks off");
    assert!(lost.is_source_lost(), "{lost:?}");
    left.store(i64::MAX, Ordering::Relaxed);
    let source = Stage::by(way(), &stage.from).expect("opens");
    let report = stage.run(&stage.request(), plan, &source).expect("runs");
    assert_eq!((report.faults, report.summary.files_changed), (0, 1), "{:?}", stage.heard());
    assert!(report.summary.bytes_reused > 10 << 20, "what was sent before is not sent again");
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn a_delta_against_what_is_no_old_version_is_right_too() {
    let stage = Stage::new();
    let mut tree = Tree::at(&stage.from, 13);
    tree.file("grown", 9 << 20);
    tree.file("other", 12 << 20);
    fs::create_dir(&stage.to).expect("made");
    fs::write(stage.to.join("grown"), &fs::read(stage.from.join("grown")).expect("reads")[..5 << 20])
        .expect("made");
    fs::write(stage.to.join("other"), vec![0; 3 << 20]).expect("made");
    let report = stage.sync(&stage.request());
    assert_eq!(report.faults, 0, "{:?}", stage.heard());
    assert_same_tree(&stage.from, &stage.to);
}

#[test]
fn what_both_sides_hold_is_not_listed_over_the_wire() {
    let stage = Stage::new();
    let tree = Tree::at(&stage.from, 14);
    for number in 0..6_000 {
        tree.write(format!("d{}/file-{number}-with-some-name", number / 50), "x");
    }
    tree.write("linked/one", "both");
    tree.hard_link("linked/one", "linked/two");
    stage.sync(&stage.request());
    assert_same_tree(&stage.from, &stage.to);
    let again = stage.sync(&stage.request());
    assert_eq!(again.totals.steps, 0, "{:?}", stage.heard());
    assert_eq!(again.totals.files_unchanged, again.totals.files_total);
    // Names, times and numbers of so many files take a hundred kilobytes if they are sent.
    assert!(again.summary.bytes_wire < 20_000, "{}", again.summary.bytes_wire);
    tree.write("d7/file-360-with-some-name", "another");
    tree.xattr("d9/file-460-with-some-name", "user.only", b"this");
    tree.write("d11/new", "1");
    tree.remove("d13/file-660-with-some-name");
    tree.remove("d15");
    let request = SyncRequest { mirror: true, ..stage.request() };
    let report = stage.sync(&request);
    assert_eq!((report.faults, report.summary.files_new), (0, 1), "{:?}", stage.heard());
    assert_same_tree(&stage.from, &stage.to);
    assert!(report.summary.bytes_wire < 100_000, "{}", report.summary.bytes_wire);
}
