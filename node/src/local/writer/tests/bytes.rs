//! Content: cached and direct writes, holes, copies made by the kernel, shared extents.

use super::fixture::{Mounted, Source, Tree, commit, outline, path};
use crate::local::writer::AlignedBuffer;
use orbit_core::ByteRange;
use orbit_core::system::SystemError;
use orbit_core::writer::{Disposal, Layout, OrbitWriter, Outline, Place, StagedFile, WriteMode};
use proptest::prelude::*;
use rustix::fs::CWD;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

fn pattern(len: usize, seed: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(len);
    for (at, byte) in buffer.iter_mut().enumerate() {
        *byte = (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(101)) as u8;
    }
    buffer
}

fn read_back(file: &dyn StagedFile) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
    loop {
        let len = file.read_at(&mut buffer, all.len() as u64).expect("read");
        if len == 0 {
            return all;
        }
        all.extend_from_slice(&buffer[..len]);
    }
}

/// One write: offset, length, and how far into an aligned buffer the bytes start.
fn writes() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    let offset = prop_oneof![(0..40_usize).prop_map(|page| page * 4096), 0..160_000_usize];
    let len = prop_oneof![(0..10_usize).prop_map(|pages| pages * 4096), 0..40_000_usize];
    let shift = prop_oneof![3 => Just(0_usize), 1 => 1..4096_usize];
    prop::collection::vec((offset, len, shift), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn direct_and_cached_writes_agree_with_memory(
        writes in writes(),
        layout in prop_oneof![Just(Layout::Dense), Just(Layout::Sparse)],
        size in prop_oneof![Just(0_u64), Just(2 << 20)],
        end in 0..200_000_usize,
    ) {
        let tree = Tree::new();
        let writer = tree.writer();
        let file = path("file");
        let outline = Outline { layout, ..outline(size, WriteMode::Direct) };
        let mut staged = writer.stage_file(Place::Alone(&file), outline).expect("staged");
        let mut expected = Vec::new();
        for (round, (offset, len, shift)) in writes.into_iter().enumerate() {
            let bytes = pattern(len + shift, round);
            staged.write_at(&bytes[shift..], offset as u64).expect("written");
            // An empty write does not make the file longer.
            if len > 0 {
                expected.resize(expected.len().max(offset + len), 0);
                expected[offset..offset + len].copy_from_slice(&bytes[shift..]);
            }
            prop_assert!(read_back(&*staged) == expected, "after write {round}");
        }
        staged.set_len(end as u64).expect("cut");
        expected.resize(end, 0);
        staged.sync().expect("synced");
        staged.forget_cache().expect("dropped");
        prop_assert!(read_back(&*staged) == expected);
        writer.commit(staged.name(), &file, None, Disposal::Discard).expect("committed");
        prop_assert!(fs::read(tree.at("file")).expect("read") == expected);
    }
}

#[test]
fn holes_stay_holes_and_reserved_room_is_given_back() {
    let tree = Tree::new();
    let writer = tree.writer();
    let name = path("file");
    let sparse = Outline { layout: Layout::Sparse, ..outline(64 << 20, WriteMode::Direct) };
    let mut staged = writer.stage_file(Place::Alone(&name), sparse).expect("staged");
    staged.write_at(&pattern(4096, 1), 32 << 20).expect("written");
    staged.set_len(64 << 20).expect("set");
    staged.sync().expect("synced");
    writer.commit(staged.name(), &name, None, Disposal::Discard).expect("committed");
    let found = fs::metadata(tree.at("file")).expect("found");
    assert!(found.len() == 64 << 20 && found.blocks() * 512 < 1 << 20, "{found:?}");

    let name = path("shorter");
    let dense = outline(16 << 20, WriteMode::Cached);
    let mut staged = writer.stage_file(Place::Alone(&name), dense).expect("staged");
    staged.write_at(&pattern(4096, 1), 0).expect("written");
    staged.set_len(4096).expect("set");
    staged.sync().expect("synced");
    writer.commit(staged.name(), &name, None, Disposal::Discard).expect("committed");
    let found = fs::metadata(tree.at("shorter")).expect("found");
    assert!(found.len() == 4096 && found.blocks() * 512 <= 64 << 10, "{found:?}");
}

#[test]
fn the_kernel_copies_ranges_and_says_where_it_cannot() {
    let tree = Tree::new();
    let content = pattern(3_000_000, 5);
    fs::write(tree.outside().join("source"), &content[..]).expect("written");
    let writer = tree.writer();
    let source = Source(File::open(tree.outside().join("source")).expect("opens"));
    let outline = outline(3_000_000, WriteMode::Cached);
    let mut staged = writer.stage_file(Place::Alone(&path("file")), outline).expect("staged");
    let range = |offset, len| ByteRange::new(offset, len).expect("fits");
    assert_eq!(staged.copy_from(&source, range(0, 1_000_001)).expect("copied"), 1_000_001);
    // A source that ends early is told by the count.
    assert_eq!(staged.copy_from(&source, range(1_000_001, 9_000_000)).expect("copied"), 1_999_999);
    assert!(read_back(&*staged) == content[..]);

    let device = Source(File::open("/proc/version").expect("opens"));
    let mut staged = writer.stage_file(Place::Alone(&path("file")), outline).expect("staged");
    assert_eq!(staged.copy_from(&device, range(0, 10)).expect("refused by a count"), 0);
    assert!(!staged.clone_from(&device).expect("asked"));
}

#[test]
fn extents_are_shared_where_the_file_system_can() {
    let tree = Tree::new();
    for mkfs in [&["mkfs.xfs", "-q"][..], &["mkfs.btrfs", "-q"]] {
        let image = tree.outside().join(mkfs[0]);
        let Some(_mounted) = Mounted::image(mkfs, &image, &tree.root()) else { continue };
        let content = pattern(8 << 20, 3);
        fs::write(tree.at("old"), &content[..]).expect("written");
        rustix::fs::syncfs(super::fixture::open(&tree.at("old"))).expect("flushed");
        let writer = tree.writer();
        let seen = tree.seen("old");
        let hint = outline(8 << 20, WriteMode::Direct);

        let mut patched = writer.stage_copy_of(&path("old"), &seen, hint).expect("asked").expect("shared");
        patched.write_at(&pattern(4096, 9), 1 << 20).expect("written");
        patched.sync().expect("synced");
        let mut expected = content.to_vec();
        expected[1 << 20..][..4096].copy_from_slice(&pattern(4096, 9));
        assert!(read_back(&*patched) == expected, "{mkfs:?}");
        assert!(fs::read(tree.at("old")).expect("read") == content[..], "the old file is not touched");
        writer.commit(patched.name(), &path("old"), Some(&seen), Disposal::Discard).expect("committed");

        let source = Source(File::open(tree.at("old")).expect("opens"));
        let mut whole = writer.stage_file(Place::Alone(&path("new")), hint).expect("staged");
        assert!(whole.clone_from(&source).expect("asked"), "{mkfs:?}");
        assert!(read_back(&*whole) == expected);

        let stale = writer.stage_copy_of(&path("old"), &seen, hint).map(|staged| staged.is_some());
        assert!(matches!(stale, Err(SystemError::Changed { .. })), "{stale:?}");
    }
}

#[test]
fn a_subvolume_is_a_volume_of_its_own() {
    let tree = Tree::new();
    let image = tree.outside().join("image");
    let Some(_mounted) = Mounted::image(&["mkfs.btrfs", "-q"], &image, &tree.root()) else { return };
    let made = std::process::Command::new("btrfs").args(["subvolume", "create"]).arg(tree.at("sub")).output();
    if !made.is_ok_and(|out| out.status.success()) {
        return super::fixture::skip("cannot make a subvolume");
    }
    let writer = tree.writer();
    commit(&writer, "sub/dir/file", "text", None, Disposal::Discard).expect("committed");
    assert_eq!(tree.read("sub/dir/file"), "text");
    writer.finish(&std::collections::BTreeSet::new()).expect("finished");
}

#[test]
fn a_copy_to_patch_is_refused_where_nothing_is_shared() {
    let tree = Tree::new();
    tree.put("old", "text");
    let writer = tree.writer();
    let hint = outline(4, WriteMode::Cached);
    if writer.stage_copy_of(&path("old"), &tree.seen("old"), hint).expect("asked").is_some() {
        return super::fixture::skip("the temporary directory's file system shares extents");
    }
    let staged = fs::read_dir(tree.at(".orbit-stage/w0")).expect("listed").count();
    assert_eq!(staged, 0, "what was begun for it is gone");
    assert!(
        rustix::fs::accessat(CWD, tree.at("old"), rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
            .is_ok()
    );
}
