//! One byte changed, cut short, a file missing: nothing acknowledged is forgotten in silence, and nothing panics.

use super::{FakeDisk, State, entry, filled, open};
use crate::error::{Damage, StoreError};
use crate::raft_log::record::{segment_first, segment_name};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries of the last batch of [`filled`]: a damaged last batch cannot be told from one that was not written whole.
const LAST_BATCH: usize = 3;

/// Opens; what is opened must be all, or lack at most the last entries. Whether it was refused.
fn opens_or_refuses(files: BTreeMap<String, Vec<u8>>, whole: &State, may_lack: usize, what: &str) -> bool {
    let disk = Arc::new(FakeDisk::with(files));
    match open(&disk).and_then(|log| State::of(&log)) {
        Ok(found) => {
            assert_eq!((found.purged, found.vote), (whole.purged, whole.vote), "{what}");
            let lacking = whole.entries.len() - found.entries.len();
            assert!(lacking <= may_lack, "{what}: {lacking} entries are gone");
            assert_eq!(found.entries, whole.entries[..found.entries.len()], "{what}");
            false
        }
        Err(StoreError::Corrupt { damage: Damage::Log { .. }, .. } | StoreError::NewerVersion { .. }) => true,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

#[test]
fn every_byte_changed() {
    let (disk, whole) = filled();
    let files = disk.dump();
    let mut refused = 0;
    let mut total = 0;
    for (name, bytes) in &files {
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut files = files.clone();
                files.entry(name.clone()).and_modify(|bytes| bytes[at] ^= mask);
                refused += usize::from(opens_or_refuses(
                    files,
                    &whole,
                    LAST_BATCH,
                    &format!("{name} at {at} ^ {mask}"),
                ));
                total += 1;
            }
        }
    }
    // Padding and the last batch are what may pass.
    assert!(refused * 2 > total, "{refused} of {total}");
}

#[test]
fn every_file_cut_short_or_missing() {
    let (disk, whole) = filled();
    let files = disk.dump();
    for (name, bytes) in &files {
        // A file system does not shorten what was synced, so nothing tells how much the last segment held.
        let is_last = files.keys().rfind(|name| segment_first(name).is_some()) == Some(name);
        let may_lack = if is_last { whole.entries.len() } else { 0 };
        for len in 0..bytes.len() {
            let mut files = files.clone();
            files.insert(name.clone(), bytes[..len].to_vec());
            opens_or_refuses(files, &whole, may_lack, &format!("{name} cut to {len}"));
        }
    }
    let segments: Vec<_> = files.keys().filter(|name| segment_first(name).is_some()).collect();
    assert!(segments.len() > 1, "{segments:?}");
    for name in &segments[..segments.len() - 1] {
        let mut files = files.clone();
        files.remove(*name);
        assert!(opens_or_refuses(files, &whole, LAST_BATCH, &format!("without {name}")), "without {name}");
    }
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let (disk, whole) = filled();
    let files = disk.dump();
    let segments: Vec<_> = files.keys().filter(|name| segment_first(name).is_some()).cloned().collect();
    for from in &segments {
        for to in &segments {
            if from != to && *to != segments[segments.len() - 1] {
                let mut files = files.clone();
                files.insert(to.clone(), files[from].clone());
                assert!(opens_or_refuses(files, &whole, LAST_BATCH, "copied"), "{from} as {to}");
            }
        }
    }
}

#[test]
fn entries_behind_a_truncation_that_the_disk_lost_do_not_revive() {
    let disk = Arc::new(FakeDisk::default());
    let log = open(&disk).expect("opened");
    for index in 0..5 {
        log.append(&[entry(1, index, 30)]).expect("appended");
    }
    let name = segment_name(0);
    let stale = disk.dump()[&name].clone();
    log.truncate_from(2).expect("truncated");
    // As long as the one that was there, so that the old ones lie where its successors would.
    log.append(&[entry(2, 2, 30)]).expect("appended");
    let mut files = disk.dump();
    files.entry(name).and_modify(|bytes| {
        let len = bytes.len();
        bytes.extend_from_slice(&stale[len..]);
    });
    let error = open(&Arc::new(FakeDisk::with(files))).expect_err("they are not what was appended behind it");
    assert!(matches!(error, StoreError::Corrupt { damage: Damage::Log { .. }, .. }), "{error:?}");
}

#[test]
fn foreign_files_are_left_alone() {
    let (disk, whole) = filled();
    let mut files = disk.dump();
    for name in ["notes.txt", "1.log", "vote.old", "000000000000000000zz.log"] {
        files.insert(name.to_owned(), b"not ours".to_vec());
    }
    assert!(!opens_or_refuses(files.clone(), &whole, 0, "with notes"));
    let disk = Arc::new(FakeDisk::with(files.clone()));
    drop(open(&disk).expect("opened"));
    assert_eq!(disk.dump(), files, "nothing was changed");
}

#[test]
fn the_text_says_what_to_do() {
    let (disk, _) = filled();
    let mut files = disk.dump();
    let name = files.keys().find(|name| segment_first(name).is_some()).expect("a segment").clone();
    files.entry(name.clone()).and_modify(|bytes| bytes[70] ^= 1);
    let error = open(&Arc::new(FakeDisk::with(files))).expect_err("damaged");
    let text = error.to_string();
    assert!(text.contains(&name) && text.contains("remove it from the grid and let it join again"), "{text}");
}

proptest! {
    #[test]
    fn any_bytes_open_or_are_refused(
        first in 0_u64..3, bytes in proptest::collection::vec(any::<u8>(), 0..400), keep in 0_usize..400,
    ) {
        let (disk, _) = filled();
        let mut files = disk.dump();
        let name = segment_name(first);
        // Noise behind a sound beginning.
        let mut noisy = files.values().next().cloned().unwrap_or_default();
        noisy.truncate(keep);
        noisy.extend_from_slice(&bytes);
        files.retain(|name, _| segment_first(name).is_none());
        files.remove("purged");
        files.insert(name, noisy);
        let _ = open(&Arc::new(FakeDisk::with(files)));
    }
}
