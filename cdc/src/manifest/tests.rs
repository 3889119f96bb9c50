//! Manifests: codecs, the shape of the tree, and comparing.

use super::diff::diff_within;
use super::node::{MAX_CHILDREN, MAX_HEIGHT, MIN_CHILDREN};
use super::*;
use crate::hash_bytes;
use crate::params::{ORBIT_64K, ParamsId, TINY};
use crate::test_data::{any_data, chunks_of, noise};
use proptest::prelude::*;
use std::cell::Cell;

/// A chunk that depends on its number alone.
fn numbered(number: u64) -> Chunk {
    Chunk { hash: hash_bytes(&number.to_le_bytes()), len: TINY.min_len() as u32 + (number % 500) as u32 }
}

fn manifest(numbers: impl IntoIterator<Item = u64>) -> Manifest {
    Manifest::from_chunks(&TINY, numbers.into_iter().map(numbered))
}

fn difference(old: &Manifest, new: &Manifest) -> Difference {
    diff(old.root(), old, new.root(), new).expect("both are whole")
}

/// Counts the nodes that were asked for.
struct Counted<'a>(&'a Manifest, &'a Cell<usize>);

impl NodeSource for Counted<'_> {
    type Error = NoSuchNode;

    fn read_nodes(&mut self, hashes: &[ContentHash]) -> Result<Vec<Node>, NoSuchNode> {
        self.1.set(self.1.get() + hashes.len());
        { self.0 }.read_nodes(hashes)
    }
}

/// Nodes asked of the old and of the new manifest.
fn visits(old: &Manifest, new: &Manifest) -> (usize, usize) {
    let (old_visits, new_visits) = (Cell::new(0), Cell::new(0));
    diff(old.root(), Counted(old, &old_visits), new.root(), Counted(new, &new_visits))
        .expect("both are whole");
    (old_visits.get(), new_visits.get())
}

fn any_hash() -> impl Strategy<Value = ContentHash> {
    any::<[u8; 32]>().prop_map(ContentHash::from_bytes)
}

fn any_node() -> impl Strategy<Value = Node> {
    let children = proptest::collection::vec((any_hash(), 1..=u32::MAX), 1..=MAX_CHILDREN);
    (0..=MAX_HEIGHT, children).prop_map(|(height, children)| {
        let children = children.into_iter().map(|(hash, len)| Child { hash, len: len.into() });
        Node::new(height, children.collect())
    })
}

fn any_root() -> impl Strategy<Value = Root> {
    let top = prop_oneof![
        Just((0, Top::Empty)),
        (1..=u64::from(u32::MAX), any_hash()).prop_map(|(len, hash)| (len, Top::Chunk(hash))),
        (1..=u64::MAX, 0..=MAX_HEIGHT, any_hash())
            .prop_map(|(len, height, hash)| (len, Top::Tree { height, hash })),
    ];
    (any::<u16>(), top).prop_map(|(id, (len, top))| Root { params: ParamsId::from_number(id), len, top })
}

proptest! {
    #[test]
    fn nodes_round_trip(node in any_node()) {
        let bytes = node.encode();
        prop_assert_eq!(Node::decode(&bytes), Ok(node.clone()));
        prop_assert_eq!(Node::decode_verified(node.hash(), &bytes), Ok(node));
    }

    #[test]
    fn roots_round_trip(root in any_root()) {
        prop_assert_eq!(Root::decode(&root.encode()), Ok(root));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), near: bool) {
        if near && bytes.len() >= 4 {
            // Close to a node, so that the later checks are reached.
            (bytes[0], bytes[1], bytes[3]) = (1, bytes[1] % 3, 0);
            bytes[2] = (bytes.len() / 38) as u8;
        }
        if let Ok(node) = Node::decode(&bytes) {
            prop_assert_eq!(node.encode(), &bytes[..]);
        }
        if let Ok(root) = Root::decode(&bytes) {
            prop_assert_eq!(root.encode(), &bytes[..]);
        }
    }

    #[test]
    fn a_damaged_root_decodes_to_another_or_is_refused(root in any_root(), at in 0..Root::LEN, flip in 1_u8..) {
        let mut bytes = root.encode();
        bytes[at] ^= flip;
        if let Ok(other) = Root::decode(&bytes) {
            prop_assert_ne!(other.identity(), root.identity());
            prop_assert_eq!(other.encode(), bytes);
        }
    }

    #[test]
    fn a_damaged_node_is_refused(node in any_node(), at: prop::sample::Index, flip in 1_u8..) {
        let mut bytes = node.encode();
        *at.get_mut(&mut bytes) ^= flip;
        prop_assert!(Node::decode_verified(node.hash(), &bytes).is_err());
    }

    #[test]
    fn a_walk_gives_the_chunks_back(count in 0_u64..3_000) {
        let manifest = manifest(0..count);
        let walked: Vec<Chunk> =
            ChunkWalk::new(manifest.root(), &manifest).map(|placed| placed.expect("whole").chunk).collect();
        prop_assert_eq!(walked, (0..count).map(numbered).collect::<Vec<_>>());
        prop_assert_eq!(identity(&TINY, (0..count).map(numbered)), manifest.root().identity());
    }

    #[test]
    fn copies_and_missing_chunks_make_the_new_version(
        old in any_data(60_000),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..300, any_data(900)), 0..6),
    ) {
        let mut new = old.clone();
        for (at, removed, added) in edits {
            let at = at.index(new.len() + 1);
            let end = new.len().min(at + removed);
            new.splice(at..end, added);
        }
        let before = Manifest::from_chunks(&TINY, chunks_of(&TINY, &old));
        let after = Manifest::from_chunks(&TINY, chunks_of(&TINY, &new));
        let difference = difference(&before, &after);
        let mut made = vec![None; new.len()];
        for copy in &difference.copied {
            for at in 0..copy.new.len() as usize {
                let byte = made[copy.new.offset() as usize + at].replace(old[copy.old_offset as usize + at]);
                prop_assert_eq!(byte, None);
            }
        }
        for placed in &difference.missing {
            let start = placed.offset as usize;
            let end = start + placed.chunk.len as usize;
            prop_assert_eq!(hash_bytes(&new[start..end]), placed.chunk.hash);
            for at in start..end {
                prop_assert_eq!(made[at].replace(new[at]), None);
            }
        }
        prop_assert_eq!(made.into_iter().collect::<Option<Vec<u8>>>(), Some(new));
        let missing: u64 = difference.missing.iter().map(|placed| u64::from(placed.chunk.len)).sum();
        let ranges = difference.missing_ranges();
        prop_assert_eq!(ranges.iter().map(|range| range.len()).sum::<u64>(), missing);
        prop_assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].offset()));
    }
}

#[test]
fn identities_are_frozen() {
    let chunks: Vec<Chunk> = (0..5_000).map(numbered).collect();
    let shown = [0, 1, 5_000].map(|count| identity(&ORBIT_64K, chunks[..count].iter().copied()).to_string());
    let frozen = [
        "7c7ec966c793026ac5e24190b1758152e0fed48a751718365c7e01881381856e",
        "733a8cb7a01fcfef2c4f42074916216213b3e3aa21082e4bc22914ada00f774d",
        "cbdb925b604f6e6a631d4eaf668ae436d377991b33d2cad99b3d046fcad7b5de",
    ];
    assert_eq!(shown, frozen);
}

#[test]
fn small_files_have_no_nodes() {
    let empty = manifest([]);
    assert_eq!((empty.root().top, empty.nodes().len()), (Top::Empty, 0));
    let single = manifest([7]);
    assert_eq!((single.root().top, single.nodes().len()), (Top::Chunk(numbered(7).hash), 0));
}

#[test]
fn length_and_parameters_take_part_in_the_identity() {
    let root = *manifest(0..9).root();
    assert_ne!(Root { len: root.len + 1, ..root }.identity(), root.identity());
    assert_ne!(Root { params: ORBIT_64K.id(), ..root }.identity(), root.identity());
}

#[test]
fn nodes_keep_to_their_bounds_and_average() {
    let manifest = manifest(0..200_000);
    let leaves: Vec<usize> = manifest
        .nodes()
        .values()
        .filter(|node| node.height() == 0)
        .map(|node| node.children().len())
        .collect();
    assert!(leaves.iter().filter(|count| **count < MIN_CHILDREN).count() <= 1);
    assert!(leaves.iter().all(|count| *count <= MAX_CHILDREN));
    let average = 200_000 / leaves.len();
    assert!((32..=64).contains(&average), "{average} children in a node");
}

#[test]
fn equal_chunks_still_make_a_bounded_tree() {
    let chunk = numbered(1);
    let manifest = Manifest::from_chunks(&TINY, std::iter::repeat_n(chunk, 100_000));
    assert!(manifest.nodes().len() < 20, "equal nodes are kept once");
    assert_eq!(ChunkWalk::new(manifest.root(), &manifest).count(), 100_000);
}

#[test]
fn equal_files_are_compared_without_a_visit() {
    let manifest = manifest(0..100_000);
    assert_eq!(visits(&manifest, &manifest), (0, 0));
}

#[test]
fn an_edit_visits_only_the_way_to_it() {
    let old = manifest(0..100_000);
    let new = manifest((0..100_000).map(|number| if number == 60_000 { 1_000_000 } else { number }));
    let (old_visits, new_visits) = visits(&old, &new);
    assert!(old_visits + new_visits < 24, "{old_visits} + {new_visits} of {} nodes", new.nodes().len());
    let difference = difference(&old, &new);
    assert_eq!(
        difference.missing.iter().map(|placed| placed.chunk).collect::<Vec<_>>(),
        [numbered(1_000_000)]
    );
}

#[test]
fn an_insertion_visits_only_the_way_to_it() {
    let old = manifest(0..100_000);
    let new = manifest((0..300).chain([1_000_000]).chain(300..100_000));
    let (old_visits, new_visits) = visits(&old, &new);
    assert!(old_visits + new_visits < 24, "{old_visits} + {new_visits} of {} nodes", new.nodes().len());
    let difference = difference(&old, &new);
    assert_eq!(difference.missing.len(), 1);
    assert_eq!(difference.copied.len(), 2);
}

#[test]
fn trees_of_different_height_compare() {
    let (low, high) = (manifest(0..40), manifest(0..100_000));
    assert!(difference(&low, &high).missing.len() <= 100_000 - 16);
    assert_eq!(difference(&high, &low).missing, []);
    assert_eq!(difference(&manifest([]), &low).missing.len(), 40);
    assert_eq!(difference(&low, &manifest([])), Difference::default());
    assert_eq!(difference(&low, &manifest([3])).missing, []);
}

/// Sixteen levels of the same child over and over would stand for more chunks than any memory holds.
#[test]
fn a_manifest_that_repeats_itself_beyond_bounds_is_refused() {
    let mut nodes = HashMap::new();
    let mut child = Child { hash: numbered(0).hash, len: 1 };
    for height in 0..8 {
        let node = Node::new(height, vec![child; MAX_CHILDREN]);
        child = Child { hash: node.hash(), len: node.len() };
        nodes.insert(child.hash, node);
    }
    let top = Top::Tree { height: 7, hash: child.hash };
    let bomb = Manifest { root: Root { params: TINY.id(), len: child.len, top }, nodes };
    let old = manifest(0..10);
    let error = diff_within(50_000, old.root(), &old, bomb.root(), &bomb).expect_err("it is too much");
    assert!(matches!(error, DiffError::TooDifferent), "{error:?}");
}

#[test]
fn a_missing_node_is_an_error() {
    let (old, mut new) = (manifest(0..10), manifest(0..1_000));
    new.nodes.clear();
    assert!(matches!(diff(old.root(), &old, new.root(), &new), Err(DiffError::New(WalkError::Read(_)))));
    assert!(ChunkWalk::new(new.root(), &new).any(|placed| placed.is_err()));
}

#[test]
fn a_real_file_with_an_insert_shares_almost_all() {
    let old = noise(8, 600_000);
    let new = [&old[..300_000], b"inserted", &old[300_000..]].concat();
    let before = Manifest::from_chunks(&TINY, chunks_of(&TINY, &old));
    let after = Manifest::from_chunks(&TINY, chunks_of(&TINY, &new));
    let missing: u64 = difference(&before, &after).missing_ranges().iter().map(|range| range.len()).sum();
    assert!(missing < 3 * TINY.max_len() as u64, "{missing} bytes for 8");
}
