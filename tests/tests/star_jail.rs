//! A star keeps to its allowed paths, whatever it is asked and whatever happens on its disk meanwhile.
//!
//! What lies outside is recognised by its content, by its name and by its inode; none of the three may ever be seen.
//!
//! Two things are no escapes, and said so here: a hard link is a name of the file that lies in the allowed directory
//! itself (whoever could make it could read the file), and a bind mount is put there by an administrator.
#![cfg(target_os = "linux")]

use orbit_core::filter::KeepAll;
use orbit_core::grid::Refusal;
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions, SystemError};
use orbit_core::wire::system::{Call, Reply};
use orbit_core::{ByteRange, ContentHash, Listing, Metadata, RelPath};
use orbit_node::remote::pack::Unpacker;
use orbit_node::remote::{Browsed, RemoteError, browse};
use orbit_tests::report::{is_root_or_skips, say};
use orbit_tests::star::raw::Asker;
use orbit_tests::star::{Link, Star};
use orbit_tests::tree::Tree;
use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, makedev, mkdirat, openat, renameat_with};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What lies outside is full of it, and nothing inside is.
const SECRET: &[u8] = b"canary: this must not be read";

/// Every name outside begins so.
const CANARY: &[u8] = b"canary";

/// No single call takes longer, on a busy machine.
const CALL_MAX: Duration = Duration::from_secs(15);

/// An allowed directory, with what lies beside it.
struct Prison {
    _base: tempfile::TempDir,
    allowed: PathBuf,
    outside: PathBuf,
    star: Star,
    guard: Guard,
}

/// Knows what may not be seen.
struct Guard {
    inodes: BTreeSet<(u64, u64)>,
    hashes: BTreeSet<ContentHash>,
    /// Whether names outside are different from those inside.
    names_tell: bool,
    /// How many answers were looked at.
    seen: AtomicU64,
}

impl Guard {
    fn of(outside: &Path, local: &dyn OrbitSystem) -> Self {
        let inodes = walk(outside).into_iter().map(|path| std::fs::symlink_metadata(path).expect("is there"));
        let hash = |len| local.hash_range(&path("canary-file"), ByteRange::first(len)).expect("hashes");
        let mut hashes: BTreeSet<ContentHash> = [1, 10, SECRET.len() as u64].map(hash).into();
        let root = local.chunk(&path("canary-file"), ChunkDetail::RootOnly, &mut |_| ()).expect("hashes");
        hashes.insert(root);
        Self {
            inodes: inodes.map(|m| (m.dev(), m.ino())).collect(),
            hashes,
            names_tell: true,
            seen: AtomicU64::new(0),
        }
    }

    fn metadata(&self, metadata: &Metadata, how: &dyn std::fmt::Debug) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        assert!(!self.inodes.contains(&(metadata.dev, metadata.ino)), "an inode from outside: {how:?}");
    }

    fn bytes(&self, bytes: &[u8], how: &dyn std::fmt::Debug) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let is_secret = bytes.windows(CANARY.len()).any(|window| window == CANARY);
        assert!(!is_secret, "bytes from outside: {how:?}");
    }

    fn hash(&self, hash: &ContentHash, how: &dyn std::fmt::Debug) {
        self.seen.fetch_add(1, Ordering::Relaxed);
        assert!(!self.hashes.contains(hash), "a hash from outside: {how:?}");
    }

    fn listing(&self, listing: &Listing, how: &dyn std::fmt::Debug) {
        for (name, metadata) in listing.iter() {
            assert!(!self.names_tell || !name.starts_with(CANARY), "a name from outside: {how:?}");
            self.metadata(metadata, how);
        }
    }

    fn reply(&self, reply: &Reply, how: &dyn std::fmt::Debug) {
        match reply {
            Reply::Listings(pack) => {
                let mut unpacker = Unpacker::new().expect("memory");
                let pieces = unpacker.unpack(pack).expect("a pack");
                for piece in &pieces {
                    self.listing(&piece.listing, how);
                }
            }
            Reply::Metadata(metadata) => self.metadata(metadata, how),
            // The text of a link is the link's own, wherever it leads.
            Reply::Bytes(bytes) if !bytes.starts_with(b"/") && !bytes.starts_with(b"..") => {
                self.bytes(bytes, how);
            }
            Reply::Hash(hash) => self.hash(hash, how),
            Reply::Chunks(chunks) => chunks.iter().for_each(|chunk| self.hash(&chunk.hash, how)),
            Reply::Xattrs(pairs) => pairs.iter().for_each(|(_, value)| self.bytes(&value.0, how)),
            _ => {}
        }
    }
}

fn path(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).expect("a plain path")
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    let mut at = 0;
    while at < all.len() {
        if all[at].is_dir() && !all[at].is_symlink() {
            all.extend(std::fs::read_dir(&all[at]).expect("reads").map(|entry| entry.expect("reads").path()));
        }
        at += 1;
    }
    all
}

/// The links that try to lead out, and where to.
const LINKS: [(&str, &str); 14] = [
    ("up", ".."),
    ("relative", "../outside"),
    ("chain", "chain2"),
    ("chain2", "real/../relative"),
    ("root", "/"),
    ("magic-root", "/proc/self/root"),
    ("magic-cwd", "/proc/self/cwd"),
    ("magic-fd", "/proc/self/fd"),
    ("magic-thread", "/proc/thread-self/root"),
    ("loop", "loop"),
    ("dangling", "nowhere/at/all"),
    ("self", "."),
    ("inside", "real"),
    ("many-ups", "../../../../../../../../../../../../../../../../../.."),
];

impl Prison {
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("orbit-jail-").tempdir().expect("makes a directory");
        let (allowed, outside) = (base.path().join("allowed"), base.path().join("outside"));
        let out = Tree::at(&outside, 1);
        out.write("canary-file", SECRET);
        out.write("canary-dir/canary-file", SECRET);
        out.xattr("canary-file", "user.canary", SECRET);
        let tree = Tree::at(&allowed, 2);
        tree.write("real/file", "harmless");
        tree.write("real/deep/deeper/file", "harmless");
        tree.write("file", "harmless");
        for (name, text) in LINKS {
            tree.symlink(name, text);
        }
        tree.symlink("absolute", &outside);
        tree.symlink("to-file", outside.join("canary-file"));
        tree.symlink("real/back", "../../outside");
        tree.fifo("fifo");
        tree.write(Path::new(std::ffi::OsStr::from_bytes(b"not utf-8 \xff\xfe")), "harmless");
        let local = local(&outside);
        let star = Star::allowing(&[&allowed]);
        Self { guard: Guard::of(&outside, &local), _base: base, allowed, outside, star }
    }

    fn bytes(&self, below: impl AsRef<[u8]>) -> Vec<u8> {
        [self.allowed.as_os_str().as_bytes(), below.as_ref()].concat()
    }
}

fn local(root: &Path) -> orbit_node::local::system::LocalSystem {
    let jail = orbit_node::local::jail::Jail::open(root).expect("opens");
    orbit_node::local::system::LocalSystem::new(Arc::new(jail))
}

/// Paths below a root that try to get out, or to trip whoever resolves them.
fn hostile_paths(prison: &Prison) -> Vec<Vec<u8>> {
    let outside = prison.outside.as_os_str().as_bytes().to_vec();
    let mut paths: Vec<Vec<u8>> = [
        "..",
        "../",
        "../..",
        "../../",
        "../outside",
        "../outside/canary-file",
        "./../outside",
        "././..",
        ".",
        "./",
        "./.",
        "real/..",
        "real/../..",
        "real/../../outside",
        "real/../../outside/canary-file",
        "real/deep/../../..",
        "real/deep/../../../outside/canary-dir/canary-file",
        "real/./file",
        "real//file",
        "//",
        "///",
        "/",
        "//etc/passwd",
        "/etc/passwd",
        "/..",
        "/../etc/passwd",
        "real/",
        "real//",
        "file/",
        "file/.",
        "file/..",
        "file/../real/file",
        "/proc/self/root",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd",
        "/proc/self/fd/0",
        "/dev/zero",
        "/dev/mem",
        "proc/self/root",
        "...",
        ".../...",
        "..real",
        "real..",
        "~",
        "~root/.ssh",
        "$HOME",
        "`id`",
        "*",
        "%2e%2e/outside",
        "..%2foutside",
        "..\\outside",
        "\\..\\..",
        "C:\\",
        "real/deep/deeper/file/more",
        "fifo",
        "fifo/",
        "fifo/x",
        "\u{2025}/outside",
        "\u{ff0e}\u{ff0e}/outside",
        "..\u{200b}/outside",
        "-rf",
        "\n",
        "\r\n../outside",
        " ",
        " ..",
        ".. ",
        ".orbit-stage",
        ".orbit-trash",
        ".orbit-stage/../..",
    ]
    .iter()
    .map(|path| path.as_bytes().to_vec())
    .collect();
    for link in LINKS.iter().map(|(name, _)| *name).chain(["absolute", "to-file", "real/back"]) {
        for rest in [
            "",
            "/",
            "/.",
            "/..",
            "/canary-file",
            "/canary-dir",
            "/canary-dir/canary-file",
            "/outside/canary-file",
            "//x",
        ] {
            paths.push(format!("{link}{rest}").into_bytes());
        }
    }
    for magic in ["magic-root", "magic-thread", "root", "many-ups"] {
        paths.push([magic.as_bytes(), &outside, b"/canary-file"].concat());
    }
    paths.extend([
        outside.clone(),
        [&outside[..], b"/canary-file"].concat(),
        b"\0".to_vec(),
        b"file\0".to_vec(),
        b"file\0/../../outside/canary-file".to_vec(),
        b"\0../outside".to_vec(),
        b"\xff\xfe/../..".to_vec(),
        b"not utf-8 \xff\xfe".to_vec(),
        b"\xc0\xae\xc0\xae/outside".to_vec(),
        vec![b'x'; 255],
        vec![b'x'; 256],
        vec![b'x'; 5_000],
        vec![b'x'; 300_000],
        b"d/".repeat(4_000),
        [b"d/".repeat(4_000), b"x".to_vec()].concat(),
        [b"../".repeat(4_000), b"outside/canary-file".to_vec()].concat(),
        [b"real/../".repeat(500), b"../outside/canary-file".to_vec()].concat(),
        b"/".repeat(10_000),
        [b"real/".to_vec(), vec![b'.'; 4_000]].concat(),
    ]);
    paths
}

/// Every operation on a path.
fn calls(path: &[u8]) -> Vec<Call> {
    let path = path.to_vec();
    vec![
        Call::Scan { start: path.clone(), one_file_system: false, threads: 2 },
        Call::Scan { start: path.clone(), one_file_system: true, threads: u16::MAX },
        Call::List { path: path.clone() },
        Call::Metadata { path: path.clone() },
        Call::ReadLink { path: path.clone() },
        Call::Xattrs { path: path.clone() },
        Call::ReadHeader { path: path.clone(), len: u32::MAX },
        Call::HashRange { path: path.clone(), range: ByteRange::first(1) },
        Call::HashRange { path: path.clone(), range: ByteRange::first(SECRET.len() as u64) },
        Call::Chunk { path: path.clone(), with_chunks: true },
        Call::Chunk { path: path.clone(), with_chunks: false },
        Call::Open { path },
        Call::FileMetadata,
        Call::Read { offset: 0, len: u32::MAX },
        Call::NextData { offset: 0 },
        Call::FileXattrs,
    ]
}

/// What came of many attempts.
#[derive(Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn add(&mut self, reply: &Reply) {
        let kind = match reply {
            Reply::Refused(_) => "refused",
            Reply::Failed(_) => "failed",
            Reply::ScanFault { .. } => "scan faults",
            _ => "answered",
        };
        *self.0.entry(kind).or_default() += 1;
    }
}

#[test]
fn hostile_paths_in_calls_lead_nowhere() {
    let prison = Prison::new();
    deep(&prison.allowed, 4_000);
    let link = prison.star.link();
    let paths = hostile_paths(&prison);
    assert!(paths.len() >= 100, "{}", paths.len());
    let mut counts = Counts::default();
    let mut asker = Asker::inside(&link, &prison.bytes(""));
    let mut made = 0;
    for path in &paths {
        for call in calls(path) {
            let begun = Instant::now();
            let replies =
                asker.ask(&call).unwrap_or_else(|error| panic!("{call:?} ended the session: {error}"));
            assert!(begun.elapsed() < CALL_MAX, "{call:?} took {:?}", begun.elapsed());
            for reply in &replies {
                prison.guard.reply(reply, &(&call, reply));
                counts.add(reply);
            }
            made += 1;
        }
    }
    say(&format!(
        "jail: {} hostile paths, {made} calls, {} answers looked at, outcomes {:?}: nothing from outside",
        paths.len(),
        prison.guard.seen.load(Ordering::Relaxed),
        counts.0
    ));
    assert!(prison.star.service.metering().refused > 500, "{:?}", prison.star.service.metering());
}

/// The control: were anything from outside ever seen, the guard would say so.
#[test]
fn the_guard_sees_what_comes_from_outside() {
    let prison = Prison::new();
    let star = Star::allowing(&[&prison.outside]);
    let mut asker = Asker::inside(&star.link(), prison.outside.as_os_str().as_bytes());
    let (mut seen, mut calls_made) = (0, 0);
    for call in calls(b"canary-file").into_iter().chain([Call::List { path: Vec::new() }]) {
        for reply in asker.ask(&call).expect("answers") {
            let guarded = std::panic::AssertUnwindSafe(|| prison.guard.reply(&reply, &"the control"));
            seen += u32::from(std::panic::catch_unwind(guarded).is_err());
        }
        calls_made += 1;
    }
    say(&format!("jail: control: of {calls_made} calls on what lies outside the guard notices {seen}"));
    assert!(seen >= 11, "{seen}");
}

#[test]
fn hostile_paths_in_openings_lead_nowhere() {
    let prison = Prison::new();
    let link = prison.star.link();
    let mut paths = Vec::new();
    for path in hostile_paths(&prison) {
        paths.push(prison.bytes([b"/", &path[..]].concat()));
        paths.push(prison.bytes(&path));
        paths.push([b"/", &path[..]].concat());
        paths.push(path);
    }
    let (mut refused, mut failed, mut opened, mut closed) = (0, 0, 0, 0);
    for path in &paths {
        for browsing in [false, true] {
            let mut asker = Asker::connect(&link);
            if path.len() > 256 << 10 {
                // Longer than an opening may be: the star hangs up, perhaps before it was heard out.
                let opening = orbit_core::wire::system::Opening {
                    fence: orbit_core::grid::Fence::default(),
                    path: path.clone(),
                    browse: browsing,
                };
                let _cut = asker.say(&orbit_core::wire::encode(&opening));
                assert!(asker.closed().expect("it ends").is_empty());
                closed += 1;
                continue;
            }
            match asker.begin(path, browsing) {
                Reply::Refused(Refusal::OutsideJail { node, allowed, .. }) => {
                    assert_eq!((node.as_str(), allowed.len()), ("nas2", 1));
                    refused += 1;
                }
                Reply::Failed(_) => failed += 1,
                Reply::Opened(found) if !found.ways.is_empty() => {
                    assert!(browsing, "{}", String::from_utf8_lossy(path));
                    refused += 1;
                }
                Reply::Opened(found) => {
                    opened += 1;
                    for start in [&found.start[..], b"", b"canary-file", b"canary-dir"] {
                        for call in calls(start) {
                            for reply in asker.ask(&call).expect("answers") {
                                prison.guard.reply(&reply, &(String::from_utf8_lossy(path), &call, &reply));
                            }
                        }
                    }
                }
                reply => panic!("{}: {reply:?}", String::from_utf8_lossy(path)),
            }
        }
    }
    say(&format!(
        "jail: {} hostile openings: {refused} refused, {failed} failed, {closed} hung up on, {opened} led to something \
         inside; {} answers looked at: nothing from outside",
        paths.len() * 2,
        prison.guard.seen.load(Ordering::Relaxed)
    ));
    assert!(refused > 300 && opened > 10);
}

/// Directories within each other, deeper than a path is long.
fn deep(root: &Path, levels: usize) {
    let open = |from: &rustix::fd::OwnedFd, name: &str| {
        openat(from, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("opens")
    };
    let mut at = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("opens");
    for _ in 0..levels {
        mkdirat(&at, "d", Mode::RWXU).expect("makes a directory");
        at = open(&at, "d");
    }
}

/// Swaps two names as fast as it can, at least `wanted` times, and as long as `body` has not run once more since.
fn while_swapping(a: &Path, b: &Path, wanted: u64, mut body: impl FnMut()) -> u64 {
    let stop = AtomicBool::new(false);
    let swaps = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) || !swaps.load(Ordering::Relaxed).is_multiple_of(2) {
                renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).expect("swaps");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        while swaps.load(Ordering::Relaxed) < wanted {
            body();
        }
        stop.store(true, Ordering::Relaxed);
    });
    swaps.load(Ordering::Relaxed)
}

/// Everything that can be asked of a tree in which `child` is swapped.
fn ask_everything(prison: &Prison, system: &dyn OrbitSystem, link: &Link, child: &str, did: &mut [u64; 2]) {
    let guard = &prison.guard;
    let mut note = |worked: bool| did[usize::from(worked)] += 1;
    let options =
        ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads: 2 };
    let mut scan = system.scan(&options).expect("the root is a directory");
    while let Some(next) = scan.next() {
        note(next.is_ok());
        if let Ok(listing) = next {
            guard.listing(&listing, &"scan");
        }
    }
    for name in ["", "/canary-file", "/canary-dir", "/canary-dir/canary-file"] {
        let at = path(format!("{child}{name}"));
        let how = |operation: &'static str| (operation, at.clone());
        if let Ok(bytes) = system.read_header(&at, 4096) {
            guard.bytes(&bytes, &how("header"));
        }
        if let Ok(hash) = system.hash_range(&at, ByteRange::first(SECRET.len() as u64)) {
            guard.hash(&hash, &how("hash"));
        }
        if let Ok(root) =
            system.chunk(&at, ChunkDetail::Chunks, &mut |chunk| guard.hash(&chunk.hash, &how("chunk")))
        {
            guard.hash(&root, &how("chunk"));
        }
        if let Ok(xattrs) = system.xattrs(&at) {
            for xattr in &xattrs {
                guard.bytes(&xattr.value, &how("xattrs"));
            }
        }
        if let Ok(metadata) = system.metadata(&at) {
            guard.metadata(&metadata, &how("metadata"));
        }
        let opened = system.open(&at);
        note(opened.is_ok());
        if let Ok(file) = opened {
            let mut buffer = [0; 64];
            let read = file.read_at(&mut buffer, 0).expect("an open file is read");
            guard.bytes(&buffer[..read], &how("read"));
            guard.metadata(&file.metadata().expect("it is open"), &how("open"));
        }
        match browse(link, prison.bytes(format!("/{child}{name}"))) {
            Ok(Browsed::Directory(listing)) => guard.listing(&listing, &how("browse")),
            Ok(Browsed::Entry(_, metadata)) => guard.metadata(&metadata, &how("browse")),
            Ok(Browsed::Ways(ways)) => panic!("{ways:?}"),
            Err(RemoteError::Failed { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_link_swapped_in_during_a_call_gains_nothing() {
    let mut prison = Prison::new();
    // In the place where the link leads out, the same names lie inside, so that what is read is found on both sides.
    let tree = Tree::at(&prison.allowed, 3);
    tree.write("child/canary-dir/canary-file", "harmless, and of the same length!");
    tree.write("child/canary-file", "harmless");
    tree.symlink("trap", &prison.outside);
    prison.guard.names_tell = false;
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    let link = prison.star.link();
    let (mut did, mut rounds) = ([0; 2], 0);
    let swaps = while_swapping(&tree.path("child"), &tree.path("trap"), 25_000, || {
        ask_everything(&prison, &system, &link, "child", &mut did);
        rounds += 1;
    });
    say(&format!(
        "jail: {swaps} swaps of a directory for a link to the outside while {rounds} rounds of every operation ran; {} \
         worked, {} did not; {} answers looked at: nothing from outside",
        did[1],
        did[0],
        prison.guard.seen.load(Ordering::Relaxed)
    ));
    assert!(did[0] > 0 && did[1] > 0, "the race was not run: {did:?}");
}

#[test]
fn a_file_swapped_for_a_link_or_a_pipe_during_a_call_gains_nothing_and_hangs_nobody() {
    let prison = Prison::new();
    let tree = Tree::at(&prison.allowed, 4);
    tree.write("child", "harmless");
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    let link = prison.star.link();
    for (trap, what) in [("to-file", "a link to a file outside"), ("fifo", "a pipe")] {
        let (mut did, mut rounds) = ([0; 2], 0);
        let swaps = while_swapping(&tree.path("child"), &tree.path(trap), 20_000, || {
            let begun = Instant::now();
            ask_everything(&prison, &system, &link, "child", &mut did);
            assert!(begun.elapsed() < CALL_MAX, "it hung");
            rounds += 1;
        });
        say(&format!(
            "jail: {swaps} swaps of a file for {what} while {rounds} rounds ran; {} worked, {} did not",
            did[1], did[0]
        ));
        assert!(did[0] > 0 && did[1] > 0, "the race was not run: {did:?}");
    }
}

#[test]
fn a_session_stays_in_the_directory_it_was_opened_on() {
    let prison = Prison::new();
    let tree = Tree::at(&prison.allowed, 5);
    let (system, start) = prison.star.open(&tree.path("real")).expect("opens");
    assert!(start.is_root());
    tree.rename("real", "moved");
    tree.symlink("real", &prison.outside);
    // The session that was opened first goes on where it was; a new one finds a link and stops there.
    assert_eq!(system.read_header(&path("file"), 100).expect("reads"), b"harmless");
    let (_, start) = prison.star.open(&tree.path("real")).expect("a link can be looked at");
    assert_eq!(start, path("real"));
    // Nor does anything change for it if a link takes the place of the allowed directory itself; a new one is refused.
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    let aside = prison.allowed.with_extension("aside");
    std::fs::rename(&prison.allowed, &aside).expect("renames");
    std::os::unix::fs::symlink(&prison.outside, &prison.allowed).expect("links");
    assert_eq!(system.read_header(&path("file"), 100).expect("reads"), b"harmless");
    assert!(system.metadata(&path("canary-file")).expect_err("not there").is_not_found());
    let refused = prison.star.open(&prison.allowed).map(|_| ()).expect_err("a link is not followed");
    assert!(refused.to_string().contains("a link was put in its place"), "{refused}");
}

#[test]
fn pipes_sockets_and_devices_are_described_and_never_opened() {
    let prison = Prison::new();
    let tree = Tree::at(&prison.allowed, 6);
    let _listener = UnixListener::bind(tree.path("socket")).expect("binds");
    let mut odd = vec!["fifo", "socket"];
    if is_root_or_skips("device nodes in an allowed directory") {
        for (name, kind, device) in [
            ("zero", FileType::CharacterDevice, makedev(1, 5)),
            ("null", FileType::CharacterDevice, makedev(1, 3)),
            ("tty", FileType::CharacterDevice, makedev(5, 0)),
            ("nothing", FileType::CharacterDevice, makedev(511, 7)),
            ("disk", FileType::BlockDevice, makedev(7, 0)),
        ] {
            tree.node(name, kind, device);
            odd.push(name);
        }
    }
    let link = prison.star.link();
    let (mut asked, begun) = (0, Instant::now());
    for name in odd {
        let mut asker = Asker::inside(&link, &prison.bytes(""));
        for call in calls(name.as_bytes()) {
            let reads = matches!(
                call,
                Call::ReadHeader { .. }
                    | Call::HashRange { .. }
                    | Call::Chunk { .. }
                    | Call::Open { .. }
                    | Call::Read { .. }
            );
            let replies = asker.ask(&call).expect("answers");
            let is_refused = matches!(&replies[..], [Reply::Failed(_)]);
            assert!(is_refused || !reads, "{name}: {call:?}: {replies:?}");
            asked += 1;
        }
    }
    say(&format!(
        "jail: {asked} calls on pipes, sockets and devices in {:?}: none opened, none hung",
        begun.elapsed()
    ));
}

#[test]
fn a_hard_link_is_a_file_of_the_directory_it_lies_in() {
    let prison = Prison::new();
    std::fs::hard_link(prison.outside.join("canary-file"), prison.allowed.join("hard")).expect("links");
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    assert_eq!(system.read_header(&path("hard"), 100).expect("it is inside"), SECRET);
    say("jail: a hard link to a file outside is served: it is a name of that file in the allowed directory");
}

#[test]
fn a_bind_mount_is_followed_like_any_mount() {
    let prison = Prison::new();
    if !is_root_or_skips("a bind mount in an allowed directory") {
        return;
    }
    let at = prison.allowed.join("mounted");
    std::fs::create_dir(&at).expect("makes a directory");
    let bound = Command::new("mount").arg("--bind").arg(&prison.outside).arg(&at).status();
    if !bound.is_ok_and(|status| status.success()) {
        orbit_tests::report::skipped("a bind mount in an allowed directory", "it cannot be made here");
        return;
    }
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    let read = system.read_header(&path("mounted/canary-file"), 100);
    let unmounted = Command::new("umount").arg(&at).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(read.expect("an administrator put it there"), SECRET);
    say("jail: a bind mount below an allowed path is served: only an administrator can make one");
}

#[test]
fn a_tree_four_thousand_deep_is_walked_and_reached() {
    let prison = Prison::new();
    deep(&prison.allowed, 4_000);
    let (system, _) = prison.star.open(&prison.allowed).expect("opens");
    let options =
        ScanOptions { start: path("d"), filter: Arc::new(KeepAll), one_file_system: false, threads: 2 };
    let mut scan = system.scan(&options).expect("starts");
    let listed = std::iter::from_fn(|| scan.next()).flatten().count();
    assert_eq!(listed, 4_000);
    let last = path(vec![&b"d"[..]; 4_000].join(&b'/'));
    assert!(system.metadata(&last).expect("is there").is_directory());
    let below = prison.star.open(&prison.allowed.join(std::ffi::OsStr::from_bytes(last.as_bytes())));
    assert!(below.expect("opens").1.is_root());
    let error = system.metadata(&last.join(b"d").expect("a path")).expect_err("is missing");
    assert!(matches!(error, SystemError::Io { .. }) && error.is_not_found());
}
