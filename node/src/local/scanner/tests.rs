use super::queue::AHEAD_MAX;
use super::*;
use orbit_core::EntryKind;
use orbit_core::filter::{KeepAll, PathFilter};
use proptest::prelude::*;
use rustix::fs::{FileType, Mode, OFlags, mknodat};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

fn path(text: impl Into<Vec<u8>>) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

fn options(threads: usize) -> ScanOptions {
    ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads }
}

fn scan(root: &Path, options: &ScanOptions) -> LocalScan {
    LocalScan::start(Arc::new(Jail::open(root).expect("the root opens")), options).expect("starts")
}

/// Every listing as text: the directory, and its entries with kind and size.
fn rows(scan: &mut LocalScan) -> Vec<String> {
    let mut rows = Vec::new();
    while let Some(next) = scan.next() {
        match next {
            Ok(listing) => {
                let boundary = if listing.is_boundary { " (boundary)" } else { "" };
                rows.push(format!("{}:{boundary}", listing.path));
                rows.extend(listing.iter().map(|(name, found)| {
                    let size = if found.kind == EntryKind::Directory { 0 } else { found.size };
                    format!("  {:?} {:?} {size}", OsStr::from_bytes(name), found.kind)
                }));
            }
            Err(fault) => rows.push(format!("{}! {}", fault.path, fault.error)),
        }
    }
    rows
}

/// The same by the standard library, one directory after the other.
fn naive(root: &Path, directory: &RelPath, rows: &mut Vec<String>) {
    let here = root.join(OsStr::from_bytes(directory.as_bytes()));
    let mut entries: Vec<_> = fs::read_dir(&here)
        .expect("readable")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| (fs::symlink_metadata(here.join(&name)).expect("there"), name))
        .collect();
    entries.sort_by(|a, b| a.1.cmp(&b.1));
    rows.push(format!("{directory}:"));
    for (found, name) in &entries {
        let kind = match found.mode() & 0o170_000 {
            0o100_000 => EntryKind::File,
            0o040_000 => EntryKind::Directory,
            0o120_000 => EntryKind::Symlink,
            0o010_000 => EntryKind::Fifo,
            0o140_000 => EntryKind::Socket,
            0o020_000 => EntryKind::CharDevice,
            _ => EntryKind::BlockDevice,
        };
        let size = if kind == EntryKind::Directory { 0 } else { found.size() };
        rows.push(format!("  {name:?} {kind:?} {size}"));
    }
    for (_, name) in entries.iter().filter(|(found, _)| found.is_dir()) {
        naive(root, &directory.join(name.as_bytes()).expect("a name"), rows);
    }
}

fn naive_rows(root: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    naive(root, &RelPath::root(), &mut rows);
    rows
}

#[test]
fn reports_every_kind_and_every_name() {
    let root = tempfile::tempdir().expect("a directory");
    let handle = File::open(root.path()).expect("opens");
    for name in [&b"plain"[..], b"new\nline", b"\xff\xfe not UTF-8", &[b'n'; 255], b" ", b"a.b", b"a-b"] {
        fs::write(root.path().join(OsStr::from_bytes(name)), name).expect("written");
    }
    fs::create_dir_all(root.path().join("a/b")).expect("made");
    fs::create_dir(root.path().join("empty")).expect("made");
    symlink("a", root.path().join("link to directory")).expect("linked");
    symlink("loop", root.path().join("loop")).expect("linked");
    symlink("..", root.path().join("a/b/up")).expect("linked");
    mknodat(&handle, "fifo", FileType::Fifo, Mode::RUSR, 0).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).expect("bound");
    if mknodat(&handle, "null", FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3)).is_err() {
        tracing::warn!("no privilege to make a device node: that kind is not tested");
    }
    let wanted = naive_rows(root.path());
    for threads in [0, 1, 2, 8] {
        assert_eq!(rows(&mut scan(root.path(), &options(threads))), wanted, "{threads} threads");
    }
}

/// A small tree: directories by path, files in them.
fn make_tree(root: &Path, files: &[String]) {
    for file in files {
        let file = root.join(file);
        // A name may already be taken by the other kind: then the tree just lacks this file.
        if fs::create_dir_all(file.parent().expect("below the root")).is_ok() {
            let _taken = fs::write(file, "x");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_tree_comes_as_a_sorted_walk(
        files in proptest::collection::vec("[a-c.-]x?(/[a-c.-]x){0,5}", 0..60),
        threads in 0_usize..4,
    ) {
        let root = tempfile::tempdir().expect("a directory");
        make_tree(root.path(), &files);
        let mut scan = scan(root.path(), &options(threads));
        let mut paths = Vec::new();
        let mut found = Vec::new();
        while let Some(next) = scan.next() {
            let listing = next.expect("no fault");
            found.push(format!("{}:", listing.path));
            found.extend(listing.iter().map(|(name, m)| {
                let size = if m.kind == EntryKind::Directory { 0 } else { m.size };
                format!("  {:?} {:?} {size}", OsStr::from_bytes(name), m.kind)
            }));
            paths.push(listing.path);
        }
        prop_assert!(paths.is_sorted());
        prop_assert_eq!(found, naive_rows(root.path()));
    }

    #[test]
    fn pruning_leaves_out_exactly_what_is_below(
        files in proptest::collection::vec("[a-c](/[a-c]){0,4}/f", 0..60),
        threads in 0_usize..4,
        choice: u64,
    ) {
        let root = tempfile::tempdir().expect("a directory");
        make_tree(root.path(), &files);
        let prunes = |path: &RelPath| {
            let sum: u64 = path.as_bytes().iter().map(|&byte| u64::from(byte)).sum();
            (choice >> (sum % 64)) & 1 == 1
        };
        let mut wanted = Vec::new();
        let mut whole = scan(root.path(), &options(threads));
        while let Some(Ok(listing)) = whole.next() {
            let mut above = Some(listing.path.clone());
            let mut kept = true;
            while let Some(path) = above {
                kept &= path.is_root() || !prunes(&path);
                above = path.parent();
            }
            if kept {
                wanted.push(listing.path);
            }
        }
        let mut pruning = scan(root.path(), &options(threads));
        let mut found = Vec::new();
        while let Some(Ok(listing)) = pruning.next() {
            for (name, _) in listing.iter().filter(|(_, m)| m.kind == EntryKind::Directory) {
                let below = listing.path.join(name).expect("a name");
                if prunes(&below) {
                    pruning.prune(&below);
                }
            }
            found.push(listing.path);
        }
        prop_assert_eq!(found, wanted);
    }
}

/// A prune may come late, as from far away: into what the walk is in the middle of, behind it, or to nowhere.
#[test]
fn a_late_prune_leaves_what_is_left_of_a_directory() {
    let root = tempfile::tempdir().expect("a directory");
    let files: Vec<String> = (0..4 * 4 * 4)
        .map(|n| format!("{}/{}/{}/file", n / 16, n / 4 % 4, n % 4))
        .chain([String::from("last/file")])
        .collect();
    make_tree(root.path(), &files);
    let mut whole = scan(root.path(), &options(0));
    let all: Vec<RelPath> =
        std::iter::from_fn(|| whole.next()).map(|next| next.expect("no fault").path).collect();
    for threads in [0, 1, 4] {
        for after in 0..all.len() {
            let mut walk = scan(root.path(), &options(threads));
            let mut found = Vec::new();
            let late = all[after].parent().unwrap_or_else(|| path("2"));
            while let Some(next) = walk.next() {
                found.push(next.expect("no fault").path);
                if found.len() == after + 1 {
                    for bogus in ["nowhere", "0/nowhere", "3/3/3/file/x", "last/x"] {
                        walk.prune(&path(bogus));
                    }
                    walk.prune(&late);
                    walk.prune(&all[0].parent().unwrap_or_else(|| path("00")));
                }
            }
            let wanted: Vec<RelPath> = all
                .iter()
                .enumerate()
                .filter(|(at, path)| *at <= after || !path.starts_with(&late))
                .map(|(_, path)| path.clone())
                .collect();
            assert_eq!(found, wanted, "{threads} threads, {late} left after {}", all[after]);
        }
    }
}

#[test]
fn starts_below_the_root_and_refuses_what_is_no_directory() {
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &["a/b/c/f".to_owned(), "z/f".to_owned()]);
    symlink("a", root.path().join("link")).expect("linked");
    let jail = Arc::new(Jail::open(root.path()).expect("the root opens"));
    let from =
        |start: &str| LocalScan::start(Arc::clone(&jail), &ScanOptions { start: path(start), ..options(2) });
    let found = rows(&mut from("a/b").expect("starts"));
    assert_eq!(found, ["a/b:", "  \"c\" Directory 0", "a/b/c:", "  \"f\" File 1"]);
    assert!(from("missing").is_err_and(|error| error.is_not_found()));
    assert!(matches!(from("link"), Err(SystemError::Escapes { .. })));
    assert!(from("z/f").is_err());
}

#[test]
fn orbits_own_names_are_never_reported() {
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &[".orbit-stage/x".to_owned(), "a/.orbit-trash/x".to_owned()]);
    assert_eq!(rows(&mut scan(root.path(), &options(1))), [".:", "  \"a\" Directory 0", "a:"]);
}

#[test]
fn trees_deeper_than_path_max_are_walked() {
    let root = tempfile::tempdir().expect("a directory");
    let mut directory = rustix::fd::OwnedFd::from(File::open(root.path()).expect("opens"));
    for _ in 0..1_600 {
        rustix::fs::mkdirat(&directory, "deep", Mode::RWXU).expect("made");
        directory = rustix::fs::openat(&directory, "deep", OFlags::DIRECTORY, Mode::empty()).expect("opens");
    }
    let mut scan = scan(root.path(), &options(2));
    let depths: Vec<_> =
        std::iter::from_fn(|| scan.next()).map(|next| next.expect("no fault").path.depth()).collect();
    assert_eq!(depths, (0..=1_600).collect::<Vec<_>>());
}

#[test]
fn a_vanished_directory_is_a_fault_in_its_place() {
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &["a/f".to_owned(), "b/f".to_owned(), "c/f".to_owned()]);
    let mut scan = scan(root.path(), &options(0));
    assert_eq!(scan.next().expect("a listing").expect("no fault").len(), 3);
    fs::remove_dir_all(root.path().join("b")).expect("removed");
    let found = rows(&mut scan);
    assert_eq!(found, ["a:", "  \"f\" File 1", "b! cannot open directory b", "c:", "  \"f\" File 1"]);
}

#[test]
fn a_directory_swapped_for_a_link_is_a_fault() {
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &["a/f".to_owned()]);
    let mut scan = scan(root.path(), &options(0));
    scan.next().expect("a listing").expect("no fault");
    fs::rename(root.path().join("a"), root.path().join("b")).expect("renamed");
    symlink("/", root.path().join("a")).expect("linked");
    let fault = scan.next().expect("a place").expect_err("a fault");
    assert!(matches!(fault.error, SystemError::Escapes { .. }), "{fault:?}");
    assert!(scan.next().is_none());
}

/// What cannot be looked at must not read as gone, so its directory is a fault; the walk goes on.
#[cfg(target_os = "linux")]
#[test]
fn what_permission_is_lacking_for_is_a_fault() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &["closed/f", "listable/f", "open/f"].map(str::to_owned));
    let set_mode = |name: &str, mode| {
        fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(mode)).expect("set");
    };
    set_mode("closed", 0o000);
    set_mode("listable", 0o400);
    let root_path = root.path().to_owned();
    // Capabilities are a thread's own: this one gives up what makes root see everything.
    let found = thread::spawn(move || {
        let mut own = capabilities(None).expect("known");
        own.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        set_capabilities(None, own).expect("given up");
        rows(&mut scan(&root_path, &options(0)))
    });
    let found = found.join().expect("the walk ends");
    let faults = ["closed! cannot open directory closed", "listable! cannot look at listable/f"];
    assert_eq!(&found[4..], [&faults[..], &["open:", "  \"f\" File 1"]].concat());
    set_mode("closed", 0o700);
    set_mode("listable", 0o700);
}

/// Another file system below is reported, its start too, and nothing in it.
#[test]
fn stays_on_one_file_system() {
    let Some(inner) = mount_below(Path::new("/dev")) else {
        tracing::warn!("no mount below /dev: the boundary is not tested");
        return;
    };
    let mut scan = scan(Path::new("/dev"), &ScanOptions { one_file_system: true, ..options(2) });
    let mut boundary = None;
    while let Some(next) = scan.next() {
        let Ok(listing) = next else { continue };
        if listing.path == inner {
            assert!(listing.is_boundary && listing.is_empty());
            boundary = Some(listing.path);
        } else {
            assert!(!listing.path.starts_with(&inner), "{} was read", listing.path);
        }
    }
    assert_eq!(boundary, Some(inner));
}

fn mount_below(root: &Path) -> Option<RelPath> {
    let device = fs::metadata(root).ok()?.dev();
    let entries = fs::read_dir(root).ok()?.filter_map(Result::ok);
    let inner = entries.filter(|entry| entry.metadata().is_ok_and(|m| m.is_dir() && m.dev() != device));
    inner.map(|entry| path(entry.file_name().as_bytes())).min()
}

/// Leaves out names, and reads rule files that say which.
#[derive(Default)]
struct Learning(Mutex<Vec<RelPath>>);

impl PathFilter for Learning {
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool {
        let left_out = self.0.lock().expect("not poisoned").contains(path);
        assert!(!left_out || is_directory == (path.name() == Some(b"dir")));
        left_out
    }

    fn rule_file(&self) -> Option<&[u8]> {
        Some(b".rules")
    }

    fn learn(&self, directory: &RelPath, rules: &[u8]) {
        let paths = rules.split(|&b| b == b'\n').filter_map(|name| directory.join(name).ok());
        self.0.lock().expect("not poisoned").extend(paths);
    }
}

#[test]
fn rule_files_count_for_their_own_directory() {
    let root = tempfile::tempdir().expect("a directory");
    make_tree(root.path(), &["a/dir/f".to_owned(), "a/f".to_owned(), "a/g".to_owned(), "b/f".to_owned()]);
    fs::write(root.path().join("a/.rules"), "dir\nf").expect("written");
    let options = ScanOptions { filter: Arc::new(Learning::default()), ..options(2) };
    let found = rows(&mut scan(root.path(), &options));
    let dirs = ["  \"a\" Directory 0", "  \"b\" Directory 0"];
    assert_eq!(
        found,
        [&[".:"], &dirs[..], &["a:", "  \".rules\" File 5", "  \"g\" File 1", "b:", "  \"f\" File 1"]]
            .concat()
    );
}

#[test]
fn a_rule_file_that_cannot_be_trusted_is_a_fault() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["dir", "fifo", "link", "long"] {
        fs::create_dir(root.path().join(name)).expect("made");
    }
    fs::create_dir(root.path().join("dir/.rules")).expect("made");
    let fifo = File::open(root.path().join("fifo")).expect("opens");
    mknodat(&fifo, ".rules", FileType::Fifo, Mode::RUSR, 0).expect("made");
    symlink("/etc/passwd", root.path().join("link/.rules")).expect("linked");
    fs::write(root.path().join("long/.rules"), vec![b'#'; (1 << 20) + 1]).expect("written");
    let options = ScanOptions { filter: Arc::new(Learning::default()), ..options(2) };
    let mut scan = scan(root.path(), &options);
    scan.next().expect("a listing").expect("no fault");
    for name in ["dir", "fifo", "link", "long"] {
        let fault = scan.next().expect("a place").expect_err(name);
        assert_eq!(fault.path, path(name));
        assert!(matches!(fault.error, SystemError::WrongKind { .. }), "{fault:?}");
    }
}

#[test]
fn a_huge_directory_is_split_and_comes_whole() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("huge")).expect("made");
    for n in 0..20_000 {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join(format!("huge/{n}")),
            FileType::RegularFile,
            Mode::RUSR,
            0,
        )
        .expect("made");
    }
    let wanted = naive_rows(root.path());
    for threads in [0, 1, 3] {
        assert_eq!(rows(&mut scan(root.path(), &options(threads))), wanted, "{threads} threads");
    }
}

/// However long the consumer takes, readers stop at the bound (and finish what they are at).
#[test]
fn reading_ahead_is_bounded() {
    const PER_DIRECTORY: usize = 2_000;
    const THREADS: usize = 3;
    let root = tempfile::tempdir().expect("a directory");
    let first = root.path().join("000");
    fs::create_dir(&first).expect("made");
    for n in 0..PER_DIRECTORY {
        fs::write(first.join(n.to_string()), "").expect("written");
    }
    for n in 1..60 {
        let directory = root.path().join(format!("{n:03}"));
        fs::create_dir(&directory).expect("made");
        for n in 0..PER_DIRECTORY {
            fs::hard_link(first.join(n.to_string()), directory.join(n.to_string())).expect("linked");
        }
    }
    let mut scan = scan(root.path(), &options(THREADS));
    scan.next().expect("a listing").expect("no fault");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while scan.ahead_entries_max() < AHEAD_MAX {
        assert!(std::time::Instant::now() < deadline, "readers did not read ahead");
        thread::yield_now();
    }
    let mut total = 0;
    while let Some(next) = scan.next() {
        total += next.expect("no fault").len();
    }
    assert_eq!(total, 60 * PER_DIRECTORY);
    assert!(
        scan.ahead_entries_max() <= AHEAD_MAX + THREADS * (PER_DIRECTORY + 1),
        "{}",
        scan.ahead_entries_max()
    );
}

#[test]
fn dropping_stops_the_readers() {
    for pulled in [0, 1, 5] {
        let mut scan = scan(Path::new("/usr"), &options(4));
        for _ in 0..pulled {
            let _listing = scan.next();
        }
        let (done, dropped) = mpsc::channel();
        thread::spawn(move || {
            drop(scan);
            done.send(()).expect("the test waits");
        });
        dropped.recv_timeout(Duration::from_secs(10)).expect("dropping a scan joins its readers soon");
    }
}
