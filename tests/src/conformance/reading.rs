//! What every [`OrbitSystem`] does.

use super::{Check, rel};
use crate::tree::Tree;
use orbit_core::filter::{KeepAll, PathFilter};
use orbit_core::system::{ChunkDetail, OrbitSystem, ScanOptions, SystemError};
use orbit_core::{ByteRange, ContentHash, EntryKind, Listing, RelPath};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Opens an implementation on a directory.
pub type Open = dyn Fn(&Path) -> Box<dyn OrbitSystem>;

/// The suite.
pub const SUITE: &[Check<Open>] = &[
    ("a scan gives everything once, in order, with its metadata", scans_in_order),
    ("a scan starts where it is told and stops where it is told", scans_parts),
    ("a scan leaves out what is filtered and what is Orbit's own", scans_filtered),
    ("one path's metadata, link text and attributes", describes_one_path),
    ("headers are as long as asked for, or as there is", reads_headers),
    ("hashes are BLAKE3 of the bytes asked for", hashes_ranges),
    ("chunks cover a file and identify it", chunks_files),
    ("an open file reads anywhere and knows its holes", reads_files),
    ("only regular files are opened, and nothing blocks", refuses_other_kinds),
    ("a symbolic link on the way leads nowhere", follows_no_links),
    ("what is missing is not found", finds_nothing_missing),
    ("a directory of many names comes whole and in order", lists_many_names),
    ("a prune of what is not to come changes nothing", prunes_only_what_comes),
    ("rule files are learned before anything is judged by them", learns_rules),
    ("a scan can be dropped half-way, and calls go on beside it", drops_scans),
    ("several threads ask at once", serves_threads),
    ("large files come whole, in pieces", reads_large_files),
];

const BLAKE3_OF_ABC: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
const BLAKE3_OF_YY: &str = "1d3665edb47f75a2d5d956ee1331e464c38c5108852b182d0259a7e3f20374ae";
const BLAKE3_OF_NOTHING: &str = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

fn everything() -> ScanOptions {
    ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads: 2 }
}

fn listings(system: &dyn OrbitSystem, options: &ScanOptions) -> Vec<Listing> {
    let mut scan = system.scan(options).expect("starts to scan");
    let mut listings = Vec::new();
    while let Some(next) = scan.next() {
        listings.push(next.expect("reads a directory"));
    }
    listings
}

fn paths(listings: &[Listing]) -> Vec<String> {
    let of = |listing: &Listing| -> Vec<String> {
        let names = listing.iter().map(|(name, _)| listing.path.join(name).expect("a plain name"));
        names.map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned()).collect()
    };
    listings.iter().flat_map(of).collect()
}

fn scans_in_order(root: &Path, open: &Open) {
    Tree::mixed(root, 41, 80);
    let system = open(root);
    let listings = listings(&*system, &everything());
    assert!(listings.windows(2).all(|pair| pair[0].path < pair[1].path), "directories are out of order");
    let mut seen = BTreeMap::new();
    for listing in &listings {
        let names: Vec<&[u8]> = listing.iter().map(|(name, _)| name).collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "names are out of order in {}", listing.path);
        for (name, metadata) in listing.iter() {
            let path = listing.path.join(name).expect("a plain name");
            assert!(seen.insert(path.as_bytes().to_vec(), *metadata).is_none(), "{path} comes twice");
        }
    }
    let mut expected = crate::snapshot::Snapshot::take(root).entries;
    expected.remove(&Vec::new());
    assert_eq!(seen.len(), expected.len());
    for (path, picture) in expected {
        let metadata = seen.get(&path).expect("every entry comes");
        let attributes = metadata.attributes;
        assert_eq!(
            (attributes.mode, attributes.uid, attributes.gid),
            (picture.mode, picture.uid, picture.gid)
        );
        assert_eq!((attributes.mtime.seconds, i64::from(attributes.mtime.nanos)), picture.mtime);
        assert_eq!((metadata.dev, metadata.ino), picture.inode);
        assert_eq!(metadata.is_directory(), picture.is_directory());
        assert_eq!(*metadata, system.metadata(&rel(path)).expect("is there"));
    }
}

fn scans_parts(root: &Path, open: &Open) {
    let tree = Tree::at(root, 42);
    for path in ["a/1", "a/b/2", "a/b/c/3", "d/4", "d/e/5"] {
        tree.write(path, path);
    }
    let system = open(root);
    let below_a = listings(&*system, &ScanOptions { start: rel("a"), ..everything() });
    assert_eq!(paths(&below_a), ["a/1", "a/b", "a/b/2", "a/b/c", "a/b/c/3"]);
    let mut scan = system.scan(&everything()).expect("starts to scan");
    let mut seen = Vec::new();
    while let Some(next) = scan.next() {
        let listing = next.expect("reads a directory");
        if listing.path == rel("a") {
            scan.prune(&rel("a/b"));
        }
        seen.push(listing);
    }
    assert_eq!(paths(&seen), ["a", "d", "a/1", "a/b", "d/4", "d/e", "d/e/5"]);
    assert!(system.scan(&ScanOptions { start: rel("a/1"), ..everything() }).is_err(), "a file is no start");
}

/// Leaves out `target` directories and `*.tmp`.
struct Leaving;

impl PathFilter for Leaving {
    fn excludes(&self, path: &RelPath, is_directory: bool) -> bool {
        let name = path.name().unwrap_or_default();
        (is_directory && name == b"target") || name.ends_with(b".tmp")
    }
}

fn scans_filtered(root: &Path, open: &Open) {
    let tree = Tree::at(root, 43);
    for path in ["kept", "a.tmp", "target/x", "deep/target/y", "deep/b.tmp", "deep/target.txt"] {
        tree.write(path, path);
    }
    for path in [".orbit-stage/w0/0", ".orbit-trash/run/file", "deep/.orbit-stage/lock"] {
        tree.write(path, path);
    }
    let options = ScanOptions { filter: Arc::new(Leaving), ..everything() };
    assert_eq!(paths(&listings(&*open(root), &options)), ["deep", "kept", "deep/target.txt"]);
}

fn describes_one_path(root: &Path, open: &Open) {
    let tree = Tree::at(root, 44);
    tree.write("dir/file", "12345");
    tree.symlink("link", "any text, \u{fc}");
    tree.fifo("pipe");
    let system = open(root);
    let file = system.metadata(&rel("dir/file")).expect("is there");
    assert_eq!((file.kind, file.size), (EntryKind::File, 5));
    assert_eq!(system.metadata(&rel("dir")).expect("is there").kind, EntryKind::Directory);
    assert_eq!(system.metadata(&RelPath::root()).expect("is there").kind, EntryKind::Directory);
    assert_eq!(system.metadata(&rel("link")).expect("is there").kind, EntryKind::Symlink);
    assert_eq!(system.metadata(&rel("pipe")).expect("is there").kind, EntryKind::Fifo);
    assert_eq!(system.read_link(&rel("link")).expect("reads"), "any text, \u{fc}".as_bytes());
    assert!(system.read_link(&rel("dir/file")).is_err());
    assert_eq!(system.xattrs(&rel("dir/file")).expect("reads"), []);
    if tree.xattr("dir/file", "user.b", b"2") && tree.xattr("dir/file", "user.a", b"") {
        let mut xattrs = system.xattrs(&rel("dir/file")).expect("reads");
        xattrs.sort();
        let pairs: Vec<_> = xattrs.iter().map(|x| (x.name.as_slice(), x.value.as_slice())).collect();
        assert_eq!(pairs, [(&b"user.a"[..], &b""[..]), (b"user.b", b"2")]);
    }
}

fn reads_headers(root: &Path, open: &Open) {
    let tree = Tree::at(root, 45);
    tree.write("file", "0123456789");
    tree.write("empty", "");
    let system = open(root);
    let header = |path: &str, len| system.read_header(&rel(path), len).expect("reads");
    assert_eq!(header("file", 4), b"0123");
    assert_eq!(header("file", 0), b"");
    assert_eq!(header("file", 100), b"0123456789");
    assert_eq!(header("empty", 100), b"");
    assert!(system.read_header(&RelPath::root(), 1).is_err());
}

fn hashes_ranges(root: &Path, open: &Open) {
    let mut tree = Tree::at(root, 46);
    tree.write("abc", "xxabcyy");
    tree.file("large", 3_000_000);
    let content = std::fs::read(tree.path("large")).expect("reads");
    tree.write("part", &content[1_000_001..2_500_002]);
    let system = open(root);
    let hash = |path: &str, offset, len| {
        system.hash_range(&rel(path), ByteRange::new(offset, len).expect("a range")).expect("hashes")
    };
    let text = |hash: ContentHash| hash.to_string();
    assert_eq!(text(hash("abc", 2, 3)), BLAKE3_OF_ABC);
    assert_eq!(text(hash("abc", 7, 0)), BLAKE3_OF_NOTHING);
    assert_eq!(hash("large", 1_000_001, 1_500_001), hash("part", 0, 1_500_001));
    assert_ne!(hash("large", 1_000_002, 1_500_001), hash("part", 0, 1_500_001));
    let beyond = ByteRange::new(5, 100).expect("a range");
    let whole_rest = ByteRange::new(5, 2).expect("a range");
    // It is a range of another version of the file.
    let refused = system.hash_range(&rel("abc"), beyond);
    assert!(matches!(refused, Err(SystemError::Changed { .. })), "{refused:?}");
    assert_eq!(text(system.hash_range(&rel("abc"), whole_rest).expect("hashes")), BLAKE3_OF_YY);
}

fn chunks_files(root: &Path, open: &Open) {
    let mut tree = Tree::at(root, 47);
    tree.file("file", 2_000_000);
    let mut content = std::fs::read(tree.path("file")).expect("reads");
    tree.write("twin", &content);
    content[1_234_567] ^= 1;
    tree.write("other", &content);
    tree.write("empty", "");
    tree.sparse("sparse", 5 << 20, &[1 << 20]);
    let system = open(root);
    let chunks = |path: &str| {
        let mut chunks = Vec::new();
        let detail = ChunkDetail::Chunks;
        let identity = system.chunk(&rel(path), detail, &mut |chunk| chunks.push(chunk)).expect("chunks");
        (identity, chunks)
    };
    for (path, len) in [("file", 2_000_000), ("empty", 0), ("sparse", 5 << 20)] {
        let (identity, chunks) = chunks(path);
        let mut offset = 0;
        for chunk in &chunks {
            let range = ByteRange::new(offset, chunk.len.into()).expect("a range");
            assert_eq!(
                system.hash_range(&rel(path), range).expect("hashes"),
                chunk.hash,
                "{path} at {offset}"
            );
            offset += u64::from(chunk.len);
        }
        assert_eq!(offset, len, "chunks of {path} do not cover it");
        let mut none = |_| panic!("chunks nobody asked for");
        let root_only = system.chunk(&rel(path), ChunkDetail::RootOnly, &mut none).expect("chunks");
        assert_eq!(identity, root_only);
    }
    assert_eq!(chunks("file").0, chunks("twin").0);
    assert_ne!(chunks("file").0, chunks("other").0);
    let shared = chunks("other").1.iter().filter(|chunk| chunks("file").1.contains(chunk)).count();
    assert!(shared > 0, "one changed bit changes every chunk");
}

fn reads_files(root: &Path, open: &Open) {
    let mut tree = Tree::at(root, 48);
    tree.write("file", "0123456789");
    tree.sparse("sparse", 4 << 20, &[2 << 20]);
    let system = open(root);
    let file = system.open(&rel("file")).expect("opens");
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 3).expect("reads"), 4);
    assert_eq!(&buffer, b"3456");
    assert_eq!(file.read_at(&mut buffer, 8).expect("reads"), 2);
    assert_eq!(file.read_at(&mut buffer, 10).expect("reads"), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).expect("reads"), 0);
    assert_eq!(file.metadata().expect("is open"), system.metadata(&rel("file")).expect("is there"));
    let sparse = system.open(&rel("sparse")).expect("opens");
    let on_disk = std::fs::metadata(tree.path("sparse")).expect("is there");
    if on_disk.blocks() * 512 < on_disk.len() / 2 {
        let data = sparse.next_data(0).expect("asks").expect("there are some");
        assert!(data.offset() <= 2 << 20 && data.end() >= (2 << 20) + 3000, "{data:?}");
        assert!(data.offset() > 0 && data.end() < 4 << 20, "holes are data: {data:?}");
        assert_eq!(sparse.next_data(data.end()).expect("asks"), None);
    }
    assert_eq!(file.next_data(10).expect("asks"), None);
    // What is open stays what it was.
    tree.remove("file");
    assert_eq!(file.read_at(&mut buffer, 0).expect("reads"), 4);
}

fn refuses_other_kinds(root: &Path, open: &Open) {
    let tree = Tree::at(root, 49);
    tree.write("file", "1");
    tree.fifo("pipe");
    tree.directory("dir");
    tree.symlink("link", "file");
    let system = open(root);
    for path in ["pipe", "dir", "link"] {
        let refused = system.open(&rel(path));
        assert!(
            matches!(refused, Err(SystemError::WrongKind { .. } | SystemError::Escapes { .. })),
            "{path} was opened"
        );
        assert!(system.read_header(&rel(path), 10).is_err(), "{path} was read");
        assert!(system.hash_range(&rel(path), ByteRange::first(1)).is_err(), "{path} was hashed");
        assert!(system.chunk(&rel(path), ChunkDetail::RootOnly, &mut |_| ()).is_err(), "{path} was chunked");
    }
}

fn follows_no_links(root: &Path, open: &Open) {
    let tree = Tree::at(root, 50);
    tree.write("outside/secret", "from outside");
    tree.directory("inside");
    tree.symlink("inside/link", "../outside");
    tree.symlink("inside/absolute", tree.path("outside"));
    let system = open(&tree.path("inside"));
    for path in ["link/secret", "absolute/secret"] {
        let path = rel(path);
        let escapes = |error: Option<SystemError>| matches!(error, Some(SystemError::Escapes { path: at }) if at == path);
        assert!(escapes(system.open(&path).err()), "{path} was opened");
        assert!(escapes(system.metadata(&path).err()), "{path} was looked at");
        assert!(escapes(system.read_header(&path, 4).err()), "{path} was read");
        assert!(escapes(system.read_link(&path).err()), "{path} was read");
        assert!(escapes(system.xattrs(&path).err()), "attributes of {path} were read");
        assert!(escapes(system.hash_range(&path, ByteRange::first(1)).err()), "{path} was hashed");
        assert!(escapes(system.chunk(&path, ChunkDetail::Chunks, &mut |_| ()).err()), "{path} was chunked");
    }
    assert_eq!(paths(&listings(&*system, &everything())), ["absolute", "link"]);
    assert!(system.scan(&ScanOptions { start: rel("link"), ..everything() }).is_err());
}

fn finds_nothing_missing(root: &Path, open: &Open) {
    Tree::at(root, 51).write("file", "1");
    let system = open(root);
    for path in ["missing", "missing/deep", "dir/missing"] {
        let path = rel(path);
        assert!(system.metadata(&path).expect_err("is missing").is_not_found());
        assert!(system.open(&path).err().expect("is missing").is_not_found());
        assert!(system.read_link(&path).expect_err("is missing").is_not_found());
    }
    // A file is no directory.
    assert!(system.metadata(&rel("file/below")).is_err());
}

fn lists_many_names(root: &Path, open: &Open) {
    let tree = Tree::at(root, 52);
    tree.directory("many/zz last");
    tree.write("many/0", "the one inode of them all");
    for number in 1..20_000 {
        // More than goes into one piece of a listing.
        tree.hard_link("many/0", format!("many/a rather long name that takes some room {number:05}"));
    }
    let system = open(root);
    let listings = listings(&*system, &everything());
    let sizes: Vec<_> = listings.iter().map(|listing| (listing.path.clone(), listing.len())).collect();
    assert_eq!(sizes, [(RelPath::root(), 1), (rel("many"), 20_001), (rel("many/zz last"), 0)]);
    let names: Vec<&[u8]> = listings[1].iter().map(|(name, _)| name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "names are out of order");
}

fn prunes_only_what_comes(root: &Path, open: &Open) {
    let tree = Tree::at(root, 53);
    for path in ["a/b/c/1", "a/d/2", "e/f/3"] {
        tree.write(path, path);
    }
    let system = open(root);
    let mut scan = system.scan(&everything()).expect("starts to scan");
    let mut seen = Vec::new();
    while let Some(next) = scan.next() {
        seen.push(next.expect("reads a directory").path);
        for nothing in ["nowhere", "a/nowhere", "a/d/2", "zz/deep/er"] {
            scan.prune(&rel(nothing));
        }
        if let Some(passed) = seen.len().checked_sub(2).map(|at| seen[at].clone())
            && !seen[seen.len() - 1].starts_with(&passed)
        {
            scan.prune(&passed);
        }
    }
    assert_eq!(seen, ["", "a", "a/b", "a/b/c", "a/d", "e", "e/f"].map(rel));
}

/// Leaves out, in a directory, what its rule file names, line by line.
#[derive(Default)]
struct ByRules(Mutex<BTreeMap<RelPath, Vec<u8>>>);

impl PathFilter for ByRules {
    fn excludes(&self, path: &RelPath, _: bool) -> bool {
        let (Some(above), Some(name)) = (path.parent(), path.name()) else { return false };
        let learned = self.0.lock().expect("no test panics in here");
        learned.get(&above).is_some_and(|rules| rules.split(|&byte| byte == b'\n').any(|line| line == name))
    }

    fn rule_file(&self) -> Option<&[u8]> {
        Some(b".rules")
    }

    fn learn(&self, directory: &RelPath, rules: &[u8]) {
        self.0.lock().expect("no test panics in here").insert(directory.clone(), rules.to_vec());
    }
}

fn learns_rules(root: &Path, open: &Open) {
    let tree = Tree::at(root, 54);
    for path in ["out/x", "kept/out/y", "kept/z", "kept/deep/out"] {
        tree.write(path, path);
    }
    tree.write(".rules", "out\nother");
    tree.write("kept/deep/.rules", "out");
    // It is no regular file, so what is below cannot be judged.
    tree.write("odd/below/file", "1");
    tree.fifo("odd/.rules");
    tree.write("huge/below/file", "1");
    tree.write("huge/.rules", vec![b'x'; (1 << 20) + 1]);
    let options = ScanOptions { filter: Arc::new(ByRules::default()), ..everything() };
    let system = open(root);
    let mut scan = system.scan(&options).expect("starts to scan");
    let (mut seen, mut faults) = (Vec::new(), Vec::new());
    while let Some(next) = scan.next() {
        match next {
            Ok(listing) => seen.push(listing),
            Err(fault) => faults.push((fault.path, fault.error.path().clone())),
        }
    }
    let wanted = [
        ".rules",
        "huge",
        "kept",
        "odd",
        "kept/deep",
        "kept/out",
        "kept/z",
        "kept/deep/.rules",
        "kept/out/y",
    ];
    assert_eq!(paths(&seen), wanted);
    assert_eq!(faults, [(rel("huge"), rel("huge/.rules")), (rel("odd"), rel("odd/.rules"))]);
}

fn drops_scans(root: &Path, open: &Open) {
    Tree::mixed(root, 55, 120);
    let system = open(root);
    let all = listings(&*system, &everything()).len();
    for taken in [0, 1, all / 2, all - 1] {
        let mut scan = system.scan(&everything()).expect("starts to scan");
        for _ in 0..taken {
            let listing = scan.next().expect("there is more").expect("reads a directory");
            assert!(system.metadata(&listing.path).expect("is there").is_directory());
        }
        drop(scan);
        assert_eq!(listings(&*system, &everything()).len(), all);
    }
}

fn serves_threads(root: &Path, open: &Open) {
    let mut tree = Tree::at(root, 56);
    for number in 0..12 {
        tree.file(format!("dir/{number}"), 40_000 + number);
    }
    let system = open(root);
    std::thread::scope(|scope| {
        for number in 0..12_usize {
            let system = &*system;
            scope.spawn(move || {
                let path = rel(format!("dir/{number}"));
                for _ in 0..20 {
                    assert_eq!(system.metadata(&path).expect("is there").size, 40_000 + number as u64);
                    let file = system.open(&path).expect("opens");
                    let mut buffer = [0; 64];
                    assert_eq!(file.read_at(&mut buffer, 40_000).expect("reads"), number);
                    assert_eq!(listings(system, &everything()).len(), 2);
                }
            });
        }
    });
}

fn reads_large_files(root: &Path, open: &Open) {
    let mut tree = Tree::at(root, 57);
    tree.file("large", (3 << 20) + 5);
    let content = std::fs::read(tree.path("large")).expect("reads");
    let system = open(root);
    let file = system.open(&rel("large")).expect("opens");
    let mut got = vec![0; content.len() + 100];
    let mut len = 0;
    loop {
        match file.read_at(&mut got[len..], len as u64).expect("reads") {
            0 => break,
            read => len += read,
        }
    }
    assert_eq!(len, content.len());
    assert!(got[..len] == content);
    assert_eq!(file.read_at(&mut [], 0).expect("reads"), 0);
    assert_eq!(system.read_header(&rel("large"), 5 << 20).expect("reads"), content[..1 << 20]);
    if tree.xattr("large", "user.note", b"kept") {
        let xattrs = file.xattrs().expect("reads");
        assert_eq!(xattrs, system.xattrs(&rel("large")).expect("reads"));
        assert_eq!((&*xattrs[0].name, &*xattrs[0].value), (&b"user.note"[..], &b"kept"[..]));
    }
}
