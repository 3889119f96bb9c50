//! Members of the nucleus group killed in the middle: at any system call of an installation, and while they apply.

use crate::killed::{acknowledge, acknowledged, kill, start, wait_until};
use crate::nucleus_sample::{contents, everything, id, mark, metered, node, outcome, request};
use orbit_core::grid::{Change, NodeRecord};
use orbit_store::{
    DirectoryDisk, JobsBatch, LogEntry, LogPosition, Mark, NucleusStore, PinnedStore, RaftLog, SnapshotFile,
    StoreError, StoredVote,
};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The child: installs the snapshot beside the store.
pub fn install(directory: &Path) -> Result<(), StoreError> {
    let mut store = NucleusStore::open(&directory.join("store"))?.expect("there");
    let snapshot = SnapshotFile::open(&directory.join("snapshot"))?;
    let mut receiver = store.receive(snapshot.manifest())?;
    for number in receiver.have()..snapshot.manifest().parts.len() as u32 {
        receiver.put(number, &snapshot.read_part(number)?)?;
    }
    let file = receiver.finish()?;
    store.install(&file)
}

/// System calls that change files, and how often each is met at most.
const CALLS: [(&str, usize); 9] = [
    ("openat", 60),
    ("write", 30),
    ("pwrite64", 60),
    ("fsync", 30),
    ("fdatasync", 30),
    ("rename", 8),
    ("unlink", 8),
    ("ftruncate", 8),
    ("mkdir", 8),
];

#[test]
fn an_installation_killed_at_any_call_leaves_old_or_new() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        // .ci/run installs it.
        return;
    }
    // Every n-th call of each kind; all of them with ORBIT_STORE_KILL_EVERY=1.
    let every = std::env::var("ORBIT_STORE_KILL_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(9);
    let directory = tempfile::tempdir().expect("a directory");
    let template = directory.path().join("template");
    let old = NucleusStore::seed(&template.join("store"), &everything(), &[], &mark(10)).expect("seeded");
    let old_state = old.load().expect("loaded").state;
    let mut ahead =
        NucleusStore::seed(&directory.path().join("ahead"), &everything(), &[], &mark(10)).expect("seeded");
    let changes = [Change::Node(NodeRecord { name: "new".into(), ..node(2) }), contents(1, 0..3000)];
    ahead
        .commit_jobs(&JobsBatch { changes: &changes, ..JobsBatch::default() }, &mark(20))
        .expect("committed");
    ahead.commit_universe(&changes, &mark(20)).expect("committed");
    let new_state = ahead.load().expect("loaded").state;
    ahead.pin().and_then(|pinned| pinned.write_to(&template.join("snapshot"))).expect("written");
    drop(old);

    let place = directory.path().join("place");
    let (mut olds, mut news, mut killed) = (0, 0, 0);
    for (call, most) in CALLS {
        for when in (1..=most).step_by(every) {
            drop(fs::remove_dir_all(&place));
            copy(&template, &place);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={when}")]);
            let ended = crate::killed::as_child(strace, &place, "install").status().expect("started");
            killed += usize::from(!ended.success());
            let store = NucleusStore::open(&place.join("store"));
            let mut store = store.unwrap_or_else(|error| panic!("{call} {when}: {error:?}")).expect("there");
            let state = store.load().expect("loaded").state;
            let contents = store.universe().get().stats().expect("measured").contents;
            if store.jobs_mark() == &mark(10) {
                assert_eq!(
                    (&state, contents, store.universe_mark()),
                    (&old_state, 0, &mark(10)),
                    "{call} {when}"
                );
                olds += 1;
                let snapshot = SnapshotFile::open(&place.join("snapshot")).expect("opened");
                store.install(&snapshot).unwrap_or_else(|error| panic!("{call} {when}: {error:?}"));
            } else {
                news += 1;
            }
            assert_eq!((store.jobs_mark(), store.universe_mark()), (&mark(20), &mark(20)), "{call} {when}");
            assert_eq!(store.load().expect("loaded").state, new_state, "{call} {when}");
            assert_eq!(store.universe().get().stats().expect("measured").contents, 3000, "{call} {when}");
        }
    }
    assert!(olds > 5 && news > 0 && killed > 5, "{olds} old, {news} new, {killed} killed");
}

/// The child: appends to the log, applies, and now and then makes a snapshot and purges.
pub fn apply(directory: &Path) -> Result<(), StoreError> {
    let log = RaftLog::open(Arc::new(DirectoryDisk::open(&directory.join("raft"))?))?;
    let mut store = NucleusStore::open(&directory.join("store"))?.expect("there");
    let applied = |mark: &Mark| mark.position.map_or(0, |position| position.index);
    // What one database has not applied comes again.
    let from = applied(store.jobs_mark()).min(applied(store.universe_mark())) + 1;
    for entry in log.read(from..u64::MAX, usize::MAX)? {
        apply_one(&mut store, entry.position.index)?;
    }
    loop {
        let index = log.last().map_or(1, |last| last.index + 1);
        let position = LogPosition { term: 3, index };
        log.append(&[LogEntry { position, payload: index.to_le_bytes().to_vec() }])?;
        log.save_vote(&StoredVote { term: index, candidate: id(1), is_committed: true })?;
        acknowledge(directory, index);
        apply_one(&mut store, index)?;
        if index.is_multiple_of(8) {
            let pinned = store.pin()?;
            store.flush()?;
            let snapshot = pinned.write_snapshot()?;
            log.purge_to(snapshot.manifest().mark.position.unwrap_or(position))?;
        }
    }
}

/// What entry `index` says, wherever it is applied.
fn apply_one(store: &mut NucleusStore, index: u64) -> Result<(), StoreError> {
    let changes = [
        Change::Node(NodeRecord { name: format!("name{index}"), ..node(1) }),
        Change::Metered(metered(1, index)),
        contents(1, index..index + 2),
    ];
    let requests = [(index, request(index as u8), outcome(index as u8))];
    store.commit_jobs(&JobsBatch { changes: &changes, requests: &requests, forgotten: &[] }, &mark(index))?;
    store.commit_universe(&changes, &mark(index))
}

#[test]
fn what_was_acknowledged_is_applied_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(NucleusStore::seed(&directory.path().join("store"), &everything(), &[], &mark(1)).expect("seeded"));
    fs::create_dir(directory.path().join("raft")).expect("made");
    let open = || {
        let disk = DirectoryDisk::open(&directory.path().join("raft")).expect("a directory");
        RaftLog::open(Arc::new(disk)).expect("opens after a kill")
    };
    open().seed(LogPosition { term: 3, index: 1 }).expect("seeded");
    for round in 1..=8 {
        let goal = acknowledged(directory.path()) + round * 5;
        let child = start(directory.path(), "apply");
        wait_until("the child applies", || acknowledged(directory.path()) >= goal);
        kill(child);

        let done = acknowledged(directory.path());
        let log = open();
        let last = log.last().expect("entries").index;
        assert!(last >= done, "{last} of {done} acknowledged");
        assert!(log.vote().expect("a vote").term >= done);
        let store =
            NucleusStore::open(&directory.path().join("store")).expect("opens after a kill").expect("there");
        let (jobs, universe) =
            (store.jobs_mark().position.expect("some").index, store.universe_mark().position);
        let universe = universe.expect("some").index;
        let purged = log.purged().expect("some").index;
        assert!(
            purged <= jobs.min(universe) && jobs.max(universe) <= last,
            "{purged} {jobs} {universe} {last}"
        );
        assert_eq!(log.read(purged + 1..u64::MAX, usize::MAX).expect("read").len() as u64, last - purged);
        // What each holds is what its mark says.
        let loaded = store.load().expect("loaded");
        if jobs > 1 {
            assert_eq!(loaded.state.node(id(1)).map(|node| node.name.clone()), Some(format!("name{jobs}")));
            assert_eq!(loaded.metering, [metered(1, jobs)]);
            assert!(loaded.requests.iter().all(|&(index, ..)| index <= jobs));
        }
        let contents = store.universe().get().stats().expect("measured").contents;
        assert_eq!(contents, if universe > 1 { universe } else { 0 });
        if let Some(snapshot) = store.newest_snapshot().expect("looked") {
            snapshot.verify().expect("whole");
        }
        store.pin().and_then(PinnedStore::write_snapshot).expect("goes on");
    }
}
