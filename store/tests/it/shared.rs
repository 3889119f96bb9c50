//! Of all that a universe remembers, the grid hears of what it had hashed.

use crate::sample::{NOW, at, manifest};
use orbit_core::{Chunk, ContentHash, FileIdentity};
use orbit_store::{CachedManifest, SharedParams, Universe};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

const PARAMS: SharedParams = SharedParams { lists: 7, tags: u32::MAX - 1 };

fn tag(of: &CachedManifest) -> CachedManifest {
    CachedManifest { params_id: PARAMS.tags, chunks: None, ..of.clone() }
}

/// Everything shared, in pages of this size.
fn all(universe: &Universe, limit: usize) -> Vec<ContentHash> {
    let (mut after, mut roots) = (Vec::new(), Vec::new());
    loop {
        let page = universe.shared(PARAMS, &after, limit).expect("listed");
        assert!(page.contents.len() <= limit);
        roots.extend(page.contents.iter().map(|content| content.root));
        if page.next.is_empty() {
            roots.sort_unstable();
            return roots;
        }
        after = page.next;
    }
}

fn lists(universe: &Universe, wanted: &[ContentHash]) -> BTreeMap<ContentHash, Vec<Chunk>> {
    let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let wanted: HashSet<_> = wanted.iter().copied().collect();
    let each = |root, chunks: &[Chunk]| {
        lists.entry(root).or_default().extend_from_slice(chunks);
        ControlFlow::Continue(())
    };
    universe.shared_lists(PARAMS, wanted, each).expect("read");
    lists
}

#[test]
fn what_is_tagged_is_shared_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let universe = Universe::open(&directory.path().join("universe_v3.db")).expect("created");
    let manifests: Vec<_> = (0..40).map(|ino| manifest(ino, 5 + ino * 400)).collect();
    let plain = |of: &CachedManifest| CachedManifest { params_id: u32::MAX, chunks: None, ..of.clone() };
    let rootless = manifest(90, 1);
    let mut rows = manifests.clone();
    rows.extend(manifests.iter().step_by(2).map(tag));
    rows.extend(manifests.iter().step_by(3).map(plain));
    // A tag without a list, and one of a version of its file that is not there any more.
    rows.push(CachedManifest { chunks: None, ..rootless.clone() });
    rows.push(tag(&rootless));
    let old = &manifests[1];
    rows.push(tag(&CachedManifest {
        identity: FileIdentity { mtime: at(-6), ..old.identity },
        ..old.clone()
    }));
    rows.push(tag(&manifest(91, 1)));
    universe.put_batch(&rows, NOW).expect("stored");

    let mut expected: Vec<_> = manifests.iter().step_by(2).map(|manifest| manifest.root).collect();
    expected.sort_unstable();
    for limit in [1, 3, 1000] {
        assert_eq!(all(&universe, limit), expected, "pages of {limit}");
    }
    let page = universe.shared(PARAMS, &[], 1).expect("listed");
    let first =
        manifests.iter().find(|manifest| manifest.root == page.contents[0].root).expect("one of them");
    assert_eq!(page.contents[0].bytes, first.identity.size);
    assert_eq!(page.contents[0].chunks as usize, first.chunks.as_ref().map_or(0, Vec::len));

    let wanted: Vec<_> = manifests.iter().map(|manifest| manifest.root).take(38).collect();
    let lists = lists(&universe, &wanted);
    assert_eq!(lists.len(), 19, "of those that are wanted the shared ones");
    for manifest in manifests.iter().step_by(2).take(19) {
        assert_eq!(lists.get(&manifest.root), manifest.chunks.as_ref());
    }
    let mut calls = 0;
    let stop = |_, _: &[Chunk]| {
        calls += 1;
        ControlFlow::Break(())
    };
    universe.shared_lists(PARAMS, wanted.into_iter().collect(), stop).expect("read");
    assert_eq!(calls, 1, "whoever has enough is not bothered further");
}
