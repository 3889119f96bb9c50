//! The log in a real directory.

use super::{State, at, entry, vote};
use crate::error::StoreError;
use crate::raft_log::{DirectoryDisk, LogDisk, RaftLog};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn open(path: &Path) -> RaftLog {
    RaftLog::open(Arc::new(DirectoryDisk::open(path).expect("a directory"))).expect("opened")
}

#[test]
fn a_log_in_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("nucleus/raft");
    let log = open(&path);
    log.save_vote(&vote(2)).expect("stored");
    log.append(&(0..50).map(|index| entry(1, index, 5000)).collect::<Vec<_>>()).expect("appended");
    // Past the 8 MiB of a segment, in batches of 1 MB.
    for batch in 0..12 {
        let first = 50 + batch * 100;
        log.append(&(first..first + 100).map(|index| entry(2, index, 10_000)).collect::<Vec<_>>())
            .expect("appended");
    }
    log.truncate_from(1200).expect("truncated");
    log.append(&[entry(3, 1200, 10)]).expect("appended");
    log.purge_to(at(1, 20)).expect("purged");
    let state = State::of(&log).expect("read");
    assert_eq!((state.entries.len(), state.last()), (1180, Some(at(3, 1200))));
    assert_eq!(log.read(30..40, usize::MAX).expect("from the disk").len(), 10);
    drop(log);

    fs::write(path.join("vote.draft"), "half").expect("a draft that a crash left");
    let log = open(&path);
    assert_eq!(State::of(&log).expect("read"), state);
    assert!(!path.join("vote.draft").exists());
    log.append(&[entry(3, 1201, 10)]).expect("goes on");
    let segments = fs::read_dir(&path).expect("listed").filter_map(Result::ok);
    let segments = segments.filter(|entry| entry.file_name().to_string_lossy().ends_with(".log")).count();
    assert_eq!(segments, 2);
    log.purge_to(at(3, 1201)).expect("purged");
    assert_eq!(State::of(&log).expect("read").entries, []);
    drop(log);
    assert_eq!(open(&path).last(), Some(at(3, 1201)));
}

#[test]
fn one_log_uses_a_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let held = DirectoryDisk::open(directory.path()).expect("opened");
    let error = DirectoryDisk::open(directory.path()).expect_err("in use");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(held);
    DirectoryDisk::open(directory.path()).expect("free again");
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("raft");
    let log = open(&path);
    log.save_vote(&vote(1)).expect("stored");
    log.append(&[entry(1, 0, 3)]).expect("appended");
    let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).expect("listed") {
        assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
    }
}

#[test]
fn prepared_zeros_are_no_entries() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = DirectoryDisk::open(directory.path()).expect("opened");
    disk.append("a", b"one").expect("written");
    disk.append("a", b"two").expect("written");
    disk.sync("a").expect("synced");
    let bytes = disk.read("a").expect("read");
    assert!(
        bytes.len() >= 1 << 20 && bytes.starts_with(b"onetwo") && bytes[6..].iter().all(|&byte| byte == 0)
    );
    assert_eq!(disk.read_range("a", 3, 5).expect("read"), b"two\0\0");
    disk.truncate("a", 4).expect("cut");
    assert_eq!(disk.read("a").expect("read"), b"onet");
    disk.append("a", b"x").expect("written");
    assert!(disk.read("a").expect("read").starts_with(b"onetx\0\0"), "what was cut is not there any more");
    disk.replace("a", b"new").expect("replaced");
    disk.append("a", b"er").expect("written");
    assert!(disk.read("a").expect("read").starts_with(b"newer\0"));
    disk.remove("a").expect("removed");
    disk.remove("a").expect("not there: no error");
    assert_eq!(disk.list().expect("listed"), Vec::<String>::new());
}
