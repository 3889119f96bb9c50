//! Stars that lie: what they say is checked, and costs an error, never a panic, never memory without bound.
#![cfg(target_os = "linux")]

use orbit_core::filter::KeepAll;
use orbit_core::grid::Refusal;
use orbit_core::system::{ChunkDetail, OrbitSystem, Scan, ScanOptions, SystemError};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::decode;
use orbit_core::wire::listing::ListingPacker;
use orbit_core::wire::system::{Call, Opened, Reply, WireFault, WireSystemError};
use orbit_core::{
    Attributes, ByteRange, Chunk, ContentHash, EntryKind, Listing, Metadata, RelPath, Timestamp,
};
use orbit_node::remote::pack::Packer;
use orbit_node::remote::{Browsed, Duplex, ProtocolFault, RemoteError, RemoteSystem, StarLink, browse};
use orbit_tests::random::Random;
use orbit_tests::report::say;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What a lying star does with a call: bytes to send, and whether it goes on after them.
type Script = dyn Fn(Call) -> (Vec<u8>, bool) + Send + Sync;

/// A star that follows a script.
struct Liar {
    opened: Vec<u8>,
    script: Arc<Script>,
    sessions: AtomicUsize,
}

impl Liar {
    fn new(script: impl Fn(Call) -> (Vec<u8>, bool) + Send + Sync + 'static) -> Arc<Self> {
        Self::opening(frame(&Reply::Opened(opened(b""))), script)
    }

    fn opening(
        opened: Vec<u8>,
        script: impl Fn(Call) -> (Vec<u8>, bool) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { opened, script: Arc::new(script), sessions: AtomicUsize::new(0) })
    }

    /// Says the same to every call.
    fn saying(replies: &[Reply]) -> Arc<Self> {
        let bytes: Vec<u8> = replies.iter().flat_map(frame).collect();
        Self::new(move |_| (bytes.clone(), true))
    }
}

impl StarLink for Liar {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let (near, mut far) = UnixStream::pair()?;
        let (opened, script) = (self.opened.clone(), Arc::clone(&self.script));
        thread::spawn(move || {
            let _opening = hear(&mut far)?;
            far.write_all(&opened).ok()?;
            // Who says nothing hangs up.
            while !opened.is_empty() {
                let call = decode(&hear(&mut far)?).ok()?;
                if matches!(call, Call::Prune { .. } | Call::Stop) {
                    continue;
                }
                let (bytes, goes_on) = script(call);
                far.write_all(&bytes).ok()?;
                if !goes_on {
                    break;
                }
            }
            Some(())
        });
        Ok(Box::new(near))
    }
}

fn hear(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let mut body = vec![0; u32::from_le_bytes(len) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn frame(reply: &Reply) -> Vec<u8> {
    orbit_core::wire::codec::encode_frame(reply)
}

fn opened(start: &[u8]) -> Opened {
    Opened { start: start.to_vec(), node: "liar".to_owned(), ways: Vec::new() }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

fn metadata(kind: EntryKind) -> Metadata {
    Metadata {
        kind,
        size: 0,
        allocated: 0,
        attributes: Attributes::default(),
        ctime: Timestamp::default(),
        dev: 1,
        ino: 1,
        links: 1,
        rdev: 0,
    }
}

/// A directory with these subdirectories.
fn listing(directory: &str, below: &[&str]) -> Listing {
    let mut listing = Listing::new(path(directory));
    for name in below {
        listing.push(name.as_bytes(), metadata(EntryKind::Directory));
    }
    listing
}

fn listings(listings: &[Listing]) -> Reply {
    let mut packer = ListingPacker::new();
    for listing in listings {
        assert!(packer.push(listing, 0).is_none());
    }
    packed(&packer.finish())
}

fn packed(pack: &[u8]) -> Reply {
    Reply::Listings(Packer::new().and_then(|mut packer| packer.compress(pack)).expect("compresses"))
}

fn open(liar: &Arc<Liar>) -> RemoteSystem {
    RemoteSystem::open(Arc::clone(liar) as Arc<dyn StarLink>, b"/data".to_vec()).expect("opens").0
}

fn options() -> ScanOptions {
    ScanOptions { start: RelPath::root(), filter: Arc::new(KeepAll), one_file_system: false, threads: 1 }
}

/// Paths that were listed, and paths with faults; the walk must end.
fn walk(scan: &mut dyn Scan) -> (Vec<String>, Vec<String>) {
    let (mut listed, mut faults) = (Vec::new(), Vec::new());
    while let Some(next) = scan.next() {
        match next {
            Ok(listing) => listed.push(listing.path.to_string()),
            Err(fault) => faults.push(fault.path.to_string()),
        }
        assert!(listed.len() + faults.len() < 100, "it does not end");
    }
    assert!(scan.next().is_none(), "the end is the end");
    (listed, faults)
}

fn fault_of(error: &SystemError) -> &ProtocolFault {
    let SystemError::Io { source, .. } = error else { panic!("{error:?}") };
    match source.get_ref().and_then(|error| error.downcast_ref()) {
        Some(RemoteError::Protocol(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

/// What it does, what it says, what is listed and what is reported as missing.
type Case = (&'static str, Vec<Reply>, &'static [&'static str], &'static [&'static str]);

#[test]
fn a_scan_that_lies_is_an_error_and_what_is_missing_is_named() {
    let root = || listing("", &["a", "b", "c"]);
    let deep = Reply::ScanFault {
        directory: b"b".to_vec(),
        error: WireSystemError { path: b"b/x".to_vec(), fault: WireFault::Changed },
    };
    let cases: Vec<Case> = vec![
        ("ends early", vec![listings(&[root(), listing("a", &[])]), Reply::Done], &[".", "a"], &["b", "c"]),
        ("leaves one out", vec![listings(&[root(), listing("b", &[])])], &["."], &["a", "b", "c"]),
        ("twice", vec![listings(&[root(), listing("a", &[]), listing("a", &[])])], &[".", "a"], &["b", "c"]),
        (
            "backwards",
            vec![listings(&[root(), listing("a", &[]), listing("", &[])])],
            &[".", "a"],
            &["b", "c"],
        ),
        (
            "invented",
            vec![listings(&[root(), listing("a", &[]), listing("aa", &[])])],
            &[".", "a"],
            &["b", "c"],
        ),
        ("below a file", vec![listings(&[root(), listing("a/x", &[])])], &["."], &["a", "b", "c"]),
        ("another start", vec![listings(&[listing("a", &[])])], &[], &["."]),
        ("a fault out of turn", vec![listings(&[root()]), deep], &["."], &["a", "b", "c"]),
        (
            "no pack",
            vec![listings(&[root()]), Reply::Listings(b"\x10\0\0\0nonsense".to_vec())],
            &["."],
            &["a", "b", "c"],
        ),
        ("an empty pack", vec![listings(&[root()]), packed(b"")], &["."], &["a", "b", "c"]),
        ("a bomb", vec![listings(&[root()]), packed(&vec![0; 64 << 20])], &["."], &["a", "b", "c"]),
        (
            "another answer",
            vec![listings(&[root()]), Reply::Hash(ContentHash::from_bytes([0; 32]))],
            &["."],
            &["a", "b", "c"],
        ),
        (
            "refuses half-way",
            vec![listings(&[root()]), Reply::Refused(Refusal::OtherGrid)],
            &["."],
            &["a", "b", "c"],
        ),
        (
            "a fault of no path",
            vec![
                listings(&[root()]),
                Reply::ScanFault {
                    directory: b"../up".to_vec(),
                    error: WireSystemError { path: b"x".to_vec(), fault: WireFault::Changed },
                },
            ],
            &["."],
            &["a", "b", "c"],
        ),
    ];
    let count = cases.len();
    for (what, replies, wanted, missing) in cases {
        let liar = Liar::saying(&replies);
        let system = open(&liar);
        match system.scan(&options()) {
            Ok(mut scan) => {
                let (listed, faults) = walk(&mut *scan);
                assert_eq!(listed, wanted, "{what}");
                assert_eq!(faults, missing, "{what}");
            }
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
    say(&format!("liar: {count} lying scans: each told what it listed truly, and what is missing"));
}

#[test]
fn a_scan_that_breaks_off_reports_all_that_had_to_come() {
    let whole: Vec<u8> = [
        listings(&[listing("", &["a", "b"]), listing("a", &["x", "y"])]),
        listings(&[listing("a/x", &[]), listing("a/y", &[]), listing("b", &[])]),
        Reply::Done,
    ]
    .iter()
    .flat_map(frame)
    .collect();
    for cut in 0..whole.len() {
        let part = whole[..cut].to_vec();
        let system = open(&Liar::new(move |_| (part.clone(), false)));
        let Ok(mut scan) = system.scan(&options()) else { continue };
        let (mut listed, faults) = walk(&mut *scan);
        listed.extend(faults);
        listed.sort();
        // Nothing is ever silently left out. What was not heard of cannot be missed: it lies below what is reported.
        let all = [".", "a", "a/x", "a/y", "b"];
        assert_eq!(listed, all, "cut after {cut} of {} bytes", whole.len());
    }
}

#[test]
fn pieces_of_a_directory_fit_together_or_are_refused() {
    let big = |from: usize, to: usize| {
        let mut listing = Listing::new(path(""));
        for number in from..to {
            listing.push(format!("{number:07}").as_bytes(), metadata(EntryKind::File));
        }
        listing
    };
    let pieces = |listing: &Listing| {
        let (mut packs, mut packer, mut from) = (Vec::new(), ListingPacker::new(), 0);
        while let Some(next) = packer.push(listing, from) {
            packs.push(packed(&packer.finish()));
            from = next;
        }
        packs.push(packed(&packer.finish()));
        packs
    };
    let good = pieces(&big(0, 100_000));
    assert!(good.len() >= 3);
    let walk_of = |mut replies: Vec<Reply>| {
        replies.push(Reply::Done);
        let system = open(&Liar::saying(&replies));
        let mut scan = system.scan(&options()).expect("starts");
        match scan.next() {
            Some(Ok(listing)) => Ok(listing.len()),
            Some(Err(fault)) => Err(fault.error),
            None => panic!("it ends at once"),
        }
    };
    let again = |indices: &[usize]| -> Vec<Reply> {
        let packs = pieces(&big(0, 100_000));
        let bytes: Vec<Vec<u8>> = packs
            .iter()
            .map(|pack| match pack {
                Reply::Listings(bytes) => bytes.clone(),
                reply => panic!("{reply:?}"),
            })
            .collect();
        indices.iter().map(|at| Reply::Listings(bytes[*at].clone())).collect()
    };
    assert_eq!(walk_of(good).expect("fits"), 100_000);
    let last = pieces(&big(0, 100_000)).len() - 1;
    let error = walk_of(again(&[0, 0, last])).expect_err("a piece twice");
    assert!(matches!(fault_of(&error), ProtocolFault::Names { .. }), "{error:?}");
    let error = walk_of(again(&[1, 0, last])).expect_err("the wrong way round");
    assert!(matches!(fault_of(&error), ProtocolFault::Names { .. }), "{error:?}");
    let error = walk_of(again(&[0])).expect_err("no end");
    assert!(matches!(fault_of(&error), ProtocolFault::Incomplete { .. }), "{error:?}");
    let mut torn = again(&[0]);
    torn.push(listings(&[listing("x", &[])]));
    let error = walk_of(torn).expect_err("another between");
    assert!(matches!(fault_of(&error), ProtocolFault::Order { .. }), "{error:?}");
}

#[test]
fn answers_of_another_kind_or_size_are_refused() {
    let hash = ContentHash::from_bytes([7; 32]);
    let chunk = |len| Chunk { hash, len };
    let mut refused = 0;
    for reply in [
        vec![Reply::Done],
        vec![Reply::Metadata(metadata(EntryKind::Fifo))],
        vec![Reply::Bytes(vec![0; 2 << 20])],
        vec![Reply::Hash(hash)],
        vec![Reply::Xattrs(vec![(Octets(b"user.x".to_vec()), Octets(Vec::new()))])],
        vec![Reply::Range(None)],
        vec![Reply::Opened(opened(b""))],
        vec![Reply::Refused(Refusal::OtherGrid)],
        vec![Reply::Chunks(vec![chunk(0)]), Reply::Hash(hash)],
        vec![Reply::Chunks(vec![chunk(u32::MAX)]), Reply::Hash(hash)],
        vec![Reply::Chunks(vec![chunk(70_000)]), Reply::Hash(hash)],
        vec![Reply::Failed(WireSystemError { path: b"/etc".to_vec(), fault: WireFault::Escapes })],
        vec![Reply::Failed(WireSystemError { path: b"x".to_vec(), fault: WireFault::Escapes })],
    ] {
        let kind = format!("{:?}", reply[0]).chars().take(12).collect::<String>();
        let liar = Liar::saying(&reply);
        let system = open(&liar);
        let at = path("x");
        let results = [
            ("Metadata", system.metadata(&at).is_err()),
            ("Bytes", system.read_link(&at).is_err()),
            ("Xattrs", system.xattrs(&at).is_err()),
            ("-", system.read_header(&at, 100).is_err()),
            ("Hash", system.hash_range(&at, ByteRange::first(1)).is_err()),
            ("-", system.chunk(&at, ChunkDetail::Chunks, &mut |_| ()).is_err()),
            ("-", system.scan(&options()).is_err()),
            ("Metadata", system.open(&at).is_err()),
        ];
        for (right, is_refused) in results {
            // Who begins with the right kind of answer cannot be told from an honest star.
            assert!(
                is_refused || kind.starts_with(right) || (right == "-" && kind.starts_with("Done")),
                "{kind}: {right}"
            );
            refused += u32::from(is_refused);
        }
    }
    say(&format!("liar: {refused} wrong answers refused"));
}

#[test]
fn an_open_file_gives_no_more_than_was_asked_for() {
    let liar = Liar::new(|call| {
        let reply = match call {
            Call::Open { .. } => Reply::Metadata(metadata(EntryKind::File)),
            Call::Read { len, .. } => Reply::Bytes(vec![0; len as usize + 1]),
            Call::NextData { .. } => Reply::Range(ByteRange::new(3, 4).ok()),
            _ => Reply::Done,
        };
        (frame(&reply), true)
    });
    let system = open(&liar);
    let file = system.open(&path("x")).expect("opens");
    assert_eq!(file.read_at(&mut [0; 10], 0).expect_err("too much").kind(), io::ErrorKind::InvalidData);
    assert_eq!(file.next_data(4).expect_err("backwards").kind(), io::ErrorKind::InvalidData);
    assert!(file.next_data(3).is_ok());
    assert!(file.metadata().is_err() && file.xattrs().is_err());
}

#[test]
fn noise_is_never_believed() {
    let seed = Random::seed_or(21);
    let mut failed = 0;
    for round in 0..400 {
        let liar = Liar::new(move |call| {
            let mut random = Random::new(seed + round);
            let len = random.below(3_000) as usize;
            let mut bytes = random.bytes(len);
            match round % 4 {
                0 => {}
                1 => bytes.splice(..0, (len as u32).to_le_bytes()).for_each(drop),
                2 => bytes = frame(&Reply::Listings(bytes)),
                _ => {
                    bytes = match call {
                        Call::Scan { .. } => {
                            frame(&listings(&[listing("", &["a", "b"]), listing("a", &["c"])]))
                        }
                        _ => frame(&Reply::Metadata(metadata(EntryKind::File))),
                    };
                    for _ in 0..2 {
                        let at = 4 + random.below(bytes.len() as u64 - 4) as usize;
                        bytes[at] = random.next_u64() as u8;
                    }
                }
            }
            (bytes, false)
        });
        let system = open(&liar);
        failed += u32::from(system.metadata(&path("x")).is_err());
        match system.scan(&options()) {
            Ok(mut scan) => failed += u32::from(!walk(&mut *scan).1.is_empty()),
            Err(_) => failed += 1,
        }
    }
    say(&format!("liar: {failed} of 800 noisy answers failed, none did harm"));
    assert!(failed > 500);
}

#[test]
fn frames_that_are_too_long_or_never_end() {
    for bytes in [&u32::MAX.to_le_bytes()[..], &((4 << 20) + 1_u32).to_le_bytes(), b"\x10\0\0\0half", b"\x10"]
    {
        let bytes = bytes.to_vec();
        let system = open(&Liar::new(move |_| (bytes.clone(), false)));
        assert!(system.metadata(&path("x")).is_err());
        assert!(system.scan(&options()).is_err());
    }
}

#[test]
fn openings_that_lie() {
    let open = |bytes: Vec<u8>| {
        let liar = Liar::opening(bytes, |_| (Vec::new(), false));
        RemoteSystem::open(liar as Arc<dyn StarLink>, b"/data".to_vec()).map(|_| ())
    };
    for start in [&b"/etc"[..], b"..", b"a/../b", b"\0"] {
        assert!(matches!(open(frame(&Reply::Opened(opened(start)))), Err(RemoteError::Protocol(_))));
    }
    assert!(matches!(open(frame(&Reply::Done)), Err(RemoteError::Protocol(_))));
    assert!(matches!(open(Vec::new()), Err(RemoteError::Link(_))));
    assert!(matches!(open(b"\x01\0\0\0\xff".to_vec()), Err(RemoteError::Protocol(_))));
    let refusal = Refusal::Busy { name: "liar".to_owned(), limit: 32 };
    assert!(matches!(open(frame(&Reply::Refused(refusal))), Err(RemoteError::Refused(Refusal::Busy { .. }))));
    for way in [&b"a/b"[..], b"..", b""] {
        let ways = Opened { ways: vec![Octets(way.to_vec())], ..opened(b"") };
        let liar = Liar::opening(frame(&Reply::Opened(ways)), |_| (Vec::new(), false));
        assert!(matches!(browse(&*liar, b"/".to_vec()), Err(RemoteError::Protocol(_))), "{way:?}");
    }
    let liar = Liar::saying(&[listings(&[listing("", &["a"]), listing("a", &[])]), Reply::Done]);
    assert!(browse(&*liar, b"/data".to_vec()).is_err(), "more than one directory");
    let liar = Liar::saying(&[listings(&[listing("", &["a"])]), Reply::Done]);
    assert!(matches!(browse(&*liar, b"/data".to_vec()), Ok(Browsed::Directory(found)) if found.len() == 1));
}

#[test]
fn a_session_that_ended_meanwhile_is_replaced_once() {
    // Every session answers one call and ends.
    let liar = Liar::new(|_| (frame(&Reply::Metadata(metadata(EntryKind::File))), false));
    let system = open(&liar);
    for _ in 0..5 {
        system.metadata(&path("x")).expect("a fresh session answers");
    }
    assert_eq!(liar.sessions.load(Ordering::Relaxed), 5);
    // Every session ends without an answer: twice is enough.
    let liar = Liar::new(|_| (Vec::new(), false));
    let system = open(&liar);
    let error = system.metadata(&path("x")).expect_err("nobody answers");
    let SystemError::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(liar.sessions.load(Ordering::Relaxed), 2);
}
