//! Askers that want to do harm: a star bounds, counts and survives them.
#![cfg(target_os = "linux")]

use orbit_core::ByteRange;
use orbit_core::grid::{Fence, Refusal};
use orbit_core::system::OrbitSystem;
use orbit_core::wire::encode;
use orbit_core::wire::system::{Call, Opening, Reply};
use orbit_node::star::StarLimits;
use orbit_tests::random::Random;
use orbit_tests::report::say;
use orbit_tests::star::Star;
use orbit_tests::star::raw::Asker;
use orbit_tests::tree::Tree;
use orbit_tests::wait::until;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Bounds that a test can wait for.
fn quick() -> StarLimits {
    StarLimits {
        opening: Duration::from_millis(300),
        idle: Duration::from_millis(500),
        stall: Duration::from_millis(500),
        ..StarLimits::default()
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A star with a small tree.
fn star(limits: StarLimits) -> (tempfile::TempDir, Star) {
    let root = tempfile::tempdir().expect("makes a directory");
    let tree = Tree::at(root.path(), 1);
    for number in 0..50 {
        tree.write(format!("dir {number}/file"), "content");
    }
    let star = Star::with_limits(&[root.path()], limits);
    (root, star)
}

/// The star still answers an honest asker.
fn assert_alive(star: &Star, root: &Path) {
    let (system, _) = star.open(root).expect("opens");
    assert!(system.metadata(&orbit_core::RelPath::root()).expect("answers").is_directory());
}

/// Tests of memory look at the whole process, so no other test runs beside them.
static MEMORY: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    MEMORY.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MEMORY.write().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("reads");
    let pages: u64 = statm.split(' ').nth(1).expect("has a second number").parse().expect("is a number");
    pages * rustix::param::page_size() as u64
}

#[test]
fn random_bytes_end_the_session_and_are_counted() {
    let _turn = beside_others();
    let (root, star) = star(quick());
    let link = star.link();
    let mut random = Random::new(Random::seed_or(11));
    for round in 0..300_u64 {
        let mut asker = Asker::connect(&link);
        let len = random.below(4_000) as usize;
        let mut body = random.bytes(len);
        match round % 3 {
            // Bytes alone: most begin with a length that is far too large.
            0 => drop(asker.write(&body)),
            // A frame full of them.
            1 => drop(asker.say(&body)),
            // A call that was turned over.
            _ => {
                assert!(matches!(asker.begin(bytes(root.path()), false), Reply::Opened(_)));
                body = encode(&Call::HashRange { path: body, range: ByteRange::first(7) });
                for _ in 0..3 {
                    let at = random.below(body.len() as u64) as usize;
                    body[at] = random.next_u64() as u8;
                }
                drop(asker.say(&body));
            }
        }
        drop(asker);
    }
    until("all sessions have ended", || star.service.ends().total() == 300);
    let ends = star.service.ends();
    say(&format!("hostile: 300 sessions of random bytes: {ends:?}"));
    assert!(ends.wrong > 100 && ends.panicked == 0);
    assert_alive(&star, root.path());
}

#[test]
fn a_length_is_only_a_claim() {
    let _turn = alone();
    let (root, star) = star(quick());
    let link = star.link();
    let before = resident();
    for len in [u32::MAX, 1 << 31, (4 << 20) + 1, (256 << 10) + 1] {
        let mut asker = Asker::connect(&link);
        drop(asker.write(&len.to_le_bytes()));
        assert!(asker.closed().expect("it ends").is_empty());
    }
    // As long as an opening may be, and as a call may be, but nothing follows.
    let mut held = Vec::new();
    for _ in 0..30 {
        let mut asker = Asker::inside(&link, bytes(root.path()));
        asker.write(&(1_u32 << 20).to_le_bytes()).expect("writes");
        asker.write(b"half").expect("writes");
        held.push(asker);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for claims");
    for asker in &mut held {
        asker.closed().expect("it ends");
    }
    until("all are counted", || star.service.ends().total() == 34);
    let ends = star.service.ends();
    say(&format!("hostile: lengths claimed and half frames: {ends:?}, {} KiB more memory", grown >> 10));
    assert_eq!((ends.wrong, ends.silent), (4, 30));
    assert_alive(&star, root.path());
}

#[test]
fn silence_ends_a_session() {
    let _turn = beside_others();
    let (root, star) = star(quick());
    let link = star.link();
    let begun = Instant::now();
    let mut nothing = Asker::connect(&link);
    let mut half = Asker::connect(&link);
    half.write(b"\x40\0\0\0\xa3").expect("writes");
    let mut opened = Asker::inside(&link, bytes(root.path()));
    for asker in [&mut nothing, &mut half, &mut opened] {
        assert!(asker.closed().expect("it ends").is_empty());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("all are counted", || star.service.ends().silent == 3);
}

#[test]
fn what_is_nested_or_of_another_shape_is_no_message() {
    let _turn = beside_others();
    let (root, star) = star(StarLimits::default());
    let link = star.link();
    let opening = Opening { fence: Fence::default(), path: bytes(root.path()).to_vec(), browse: false };
    let good = encode(&opening);
    let trailing = [&good[..], b"\0"].concat();
    let first: [&[u8]; 9] = [
        &[0x81; 16_000],
        &[0x9f; 16_000],
        &vec![0xa1; 200_000],
        &[0xbf, 0x61, b'x'],
        &[0xd8; 1000],
        b"",
        b"\xff",
        b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        &trailing,
    ];
    for body in first {
        let mut asker = Asker::connect(&link);
        drop(asker.say(body));
        assert!(asker.closed().expect("it ends").is_empty(), "{:?}", &body[..body.len().min(8)]);
    }
    for body in first.into_iter().chain([&good[..]]) {
        let mut asker = Asker::inside(&link, bytes(root.path()));
        drop(asker.say(body));
        assert!(asker.closed().expect("it ends").is_empty(), "{:?}", &body[..body.len().min(8)]);
    }
    // A call where the opening is due.
    let mut asker = Asker::connect(&link);
    drop(asker.say(&encode(&Call::Metadata { path: Vec::new() })));
    assert!(asker.closed().expect("it ends").is_empty());
    until("all are counted", || star.service.ends().wrong == 20);
    assert_alive(&star, root.path());
}

#[test]
fn a_call_before_the_last_one_is_answered_ends_the_session() {
    let _turn = beside_others();
    let (root, star) = star(StarLimits::default());
    let large = std::fs::File::create(root.path().join("large")).expect("makes a file");
    large.set_len(200 << 20).expect("sets its length");
    let mut asker = Asker::inside(&star.link(), bytes(root.path()));
    let call = encode(&Call::HashRange { path: b"large".to_vec(), range: ByteRange::first(200 << 20) });
    asker.say(&call).expect("it is heard");
    drop(asker.say(&call));
    assert!(asker.closed().expect("it ends").is_empty());
    until("it is counted", || star.service.ends().wrong == 1);
    until("the call is given up", || star.service.calls_running() == 0);
    assert_alive(&star, root.path());
}

#[test]
fn prunes_without_end_cost_no_memory_and_delay_nobody() {
    let _turn = alone();
    let (root, star) = star(StarLimits::default());
    let tree = Tree::at(root.path(), 2);
    for number in 0..2_000 {
        tree.directory(format!("many/{number}/below"));
    }
    let link = star.link();
    let mut asker = Asker::inside(&link, bytes(root.path()));
    let before = resident();
    let scan = Call::Scan { start: Vec::new(), one_file_system: false, threads: 2 };
    let (mut sent, mut listed) = (0_u64, 0);
    let mut random = Random::new(12);
    for _ in 0..20 {
        asker.say(&encode(&scan)).expect("it is heard");
        for number in 0..20_000 {
            let directory = match number % 3 {
                0 => format!("many/{}", random.below(2_000)),
                1 => format!("many/nowhere{}/{}", random.next_u64(), "x/".repeat(200))
                    .trim_end_matches('/')
                    .to_owned(),
                _ => "many".to_owned(),
            };
            asker.say(&encode(&Call::Prune { directory: directory.into_bytes() })).expect("it is heard");
            sent += 1;
        }
        loop {
            match asker.hear().expect("the scan goes on") {
                Reply::Listings(_) => listed += 1,
                Reply::Done => break,
                reply => panic!("{reply:?}"),
            }
        }
    }
    let grown = resident().saturating_sub(before);
    say(&format!(
        "hostile: {sent} prunes, {listed} packs came all the same, {} KiB more memory",
        grown >> 10
    ));
    assert!(grown < 32 << 20, "{grown} bytes");
    assert_alive(&star, root.path());
}

#[test]
fn a_stop_ends_a_scan_and_a_hash_at_once() {
    let _turn = beside_others();
    let (root, star) = star(StarLimits::default());
    let large = std::fs::File::create(root.path().join("large")).expect("makes a file");
    large.set_len(1 << 40).expect("sets its length");
    let mut asker = Asker::inside(&star.link(), bytes(root.path()));
    for call in [
        Call::HashRange { path: b"large".to_vec(), range: ByteRange::first(1 << 40) },
        Call::Scan { start: Vec::new(), one_file_system: false, threads: 1 },
    ] {
        let begun = Instant::now();
        asker.say(&encode(&call)).expect("it is heard");
        asker.say(&encode(&Call::Stop)).expect("it is heard");
        while !asker.hear().expect("it is answered").ends() {}
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    // Late ones mean nothing, and the session goes on.
    asker.say(&encode(&Call::Stop)).expect("it is heard");
    asker.say(&encode(&Call::Prune { directory: b"dir 1".to_vec() })).expect("it is heard");
    let replies = asker.ask(&Call::Metadata { path: Vec::new() }).expect("it is answered");
    assert!(matches!(replies[..], [Reply::Metadata(_)]));
    // Hanging up does the same.
    let call = Call::HashRange { path: b"large".to_vec(), range: ByteRange::first(1 << 40) };
    asker.say(&encode(&call)).expect("it is heard");
    until("it runs", || star.service.calls_running() == 1);
    drop(asker);
    until("it is given up", || star.service.calls_running() == 0);
}

#[test]
fn who_does_not_read_is_cut_off() {
    let _turn = beside_others();
    let (root, star) = star(quick());
    let tree = Tree::at(root.path(), 3);
    tree.write("file", vec![7; 8 << 20]);
    let mut asker = Asker::inside(&star.link(), bytes(root.path()));
    asker.ask(&Call::Open { path: b"file".to_vec() }).expect("opens");
    // Replies that nobody takes pile up in the kernel until nothing more goes in.
    let call = encode(&Call::Read { offset: 0, len: 1 << 20 });
    let begun = Instant::now();
    asker.say(&call).expect("it is heard");
    until("the star gives up", || star.service.ends().stalled == 1);
    assert!(begun.elapsed() < Duration::from_secs(10));
    until("its session is free again", || star.service.sessions_open() == 0);
    assert_alive(&star, root.path());
}

#[test]
fn a_thousand_sessions_are_bounded() {
    let _turn = alone();
    let (root, star) =
        star(StarLimits { opening: Duration::from_secs(2), idle: Duration::from_secs(2), ..quick() });
    let link = star.link();
    let before = resident();
    let (mut silent, mut opened, mut busy) = (Vec::new(), Vec::new(), 0);
    for number in 0..1_000 {
        if number % 2 == 0 {
            silent.push(Asker::connect(&link));
            continue;
        }
        let mut asker = Asker::connect(&link);
        let opening = Opening { fence: Fence::default(), path: bytes(root.path()).to_vec(), browse: false };
        drop(asker.say(&encode(&opening)));
        match asker.hear() {
            Ok(Reply::Opened(_)) => opened.push(asker),
            Ok(Reply::Refused(Refusal::Busy { limit: 32, .. })) => busy += 1,
            // Too many say nothing: it was not even heard.
            Err(_) => {}
            Ok(reply) => panic!("{reply:?}"),
        }
        assert!(star.service.sessions_open() <= 32);
    }
    let grown = resident().saturating_sub(before);
    say(&format!(
        "hostile: 1000 sessions: {} opened, {busy} told that it is busy, the rest silent or unheard; {:?}; {} KiB more memory",
        opened.len(),
        star.service.ends(),
        grown >> 10
    ));
    assert!(opened.len() >= 32 && busy > 0);
    assert!(grown < 64 << 20, "{grown} bytes");
    drop((silent, opened));
    until("all have ended", || star.service.ends().total() == 1_000);
    assert_alive(&star, root.path());
}

#[test]
fn an_old_nucleus_is_refused() {
    let _turn = beside_others();
    let (root, star) = star(StarLimits::default());
    star.service.raise_fence(Fence { epoch: 2, term: 7 });
    let ask = |epoch, term| {
        let mut asker = Asker::connect(&star.link());
        let fence = Fence { epoch, term };
        asker
            .say(&encode(&Opening { fence, path: bytes(root.path()).to_vec(), browse: false }))
            .expect("it is heard");
        asker.hear().expect("it is answered")
    };
    for (epoch, term) in [(2, 6), (1, 100), (0, 0)] {
        let reply = ask(epoch, term);
        let is_old =
            matches!(&reply, Reply::Refused(Refusal::OldTerm { theirs, ours: 7, .. }) if *theirs == term);
        assert!(is_old, "{reply:?}");
    }
    assert!(matches!(ask(2, 7), Reply::Opened(_)));
    assert!(matches!(ask(2, 9), Reply::Opened(_)));
    assert_eq!(star.service.fence(), Fence { epoch: 2, term: 9 });
    assert!(matches!(ask(2, 8), Reply::Refused(Refusal::OldTerm { ours: 9, .. })));
    assert_eq!(star.service.metering().refused, 4);
}
