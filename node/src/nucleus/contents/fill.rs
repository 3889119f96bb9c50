//! Fetching the manifests of wanted contents from the stars that hold them, on every node with a seat in the group.

use super::talk::{Talk, TalkError};
use crate::daemon::Node;
use crate::standalone::error::chain;
use orbit_cdc::{ManifestBuilder, ORBIT_64K};
use orbit_core::grid::NodeRecord;
use orbit_core::ids::NodeId;
use orbit_core::wire::system::{MANIFESTS_MAX, Reply};
use orbit_core::{Chunk, ContentHash};
use orbit_store::{ContentsLoad, LoadOutcome, NucleusUniverse, StoreError, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// How often a node looks whether something is wanted.
const LOOK: Duration = Duration::from_secs(5);
/// Pause while what is wanted cannot be had.
const RETRY: Duration = Duration::from_secs(30);
/// Parts of manifests that were heard but not taken in: 150 KB each.
const PARTS_WAITING: usize = 8;
/// Tidying done at a time: a part each is a transaction of 10 000 rows.
const TIDIED_AT_ONCE: usize = 100;

/// Why manifests did not come in.
#[derive(Debug, thiserror::Error)]
enum FillError {
    #[error("the star did not tell them")]
    Talk(#[from] TalkError),
    #[error("the universe does not take them")]
    Store(#[from] StoreError),
    #[error("the thread that takes them in ended")]
    Ended,
}

/// A part of what a star says.
enum Part {
    Manifest(ContentHash),
    Chunks(Vec<Chunk>),
    /// It has said all.
    Done,
}

/// Keeps the universe filled while there is a seat, until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut wait = LOOK;
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let Some(seat) = node.group() else {
            wait = LOOK;
            continue;
        };
        let Some(universe) = seat.universe() else { continue };
        tokio::select! {
            () = node.stop.cancelled() => return,
            // Its files may be opened anew then.
            () = seat.ended.cancelled() => {}
            filled = round(&node, &universe) => wait = match filled {
                Ok(true) => LOOK,
                Ok(false) => RETRY,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the universe is not filled");
                    RETRY
                }
            },
        }
    }
}

/// Fetches all that is wanted and can be had. Whether nothing is left that could not be.
async fn round(node: &Arc<Node>, universe: &NucleusUniverse) -> Result<bool, FillError> {
    for _ in 0..TIDIED_AT_ONCE {
        let tidied = universe.clone();
        if !blocking(move || tidied.tidy()).await? {
            break;
        }
    }
    let mut silent = BTreeSet::new();
    let mut after = Some(0);
    let mut is_all = true;
    while let Some(begin) = after {
        let asked = universe.clone();
        let page = blocking(move || asked.wanted(begin, MANIFESTS_MAX)).await?;
        after = page.next;
        for (holder, roots) in by_holder(node, &page.contents, &silent) {
            let count = roots.len() as u64;
            match fetch(node, universe, holder, roots).await {
                Ok(outcome) => is_all &= outcome.contents >= count,
                Err(FillError::Talk(error)) => {
                    tracing::debug!(%holder, error = chain(&error), "manifests are not to be had");
                    silent.insert(holder);
                    is_all = false;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(is_all)
}

/// Whom to ask for what: this node itself, else who is connected, else anybody; not those who did not answer just now.
fn by_holder(node: &Node, wanted: &[Wanted], silent: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Vec<[u8; 32]>> {
    let own = node.membership().node;
    let connected: BTreeSet<NodeId> = node.mesh.peers().iter().map(|link| link.node).collect();
    let mut asked: BTreeMap<NodeId, Vec<[u8; 32]>> = BTreeMap::new();
    for Wanted { content, holders } in wanted {
        let holders = holders.iter().filter(|holder| !silent.contains(holder));
        let best = holders.min_by_key(|holder| (**holder != own, !connected.contains(holder)));
        if let Some(holder) = best {
            asked.entry(*holder).or_default().push(*content.root.as_bytes());
        }
    }
    asked
}

/// Fetches manifests from one star.
async fn fetch(
    node: &Arc<Node>,
    universe: &NucleusUniverse,
    holder: NodeId,
    roots: Vec<[u8; 32]>,
) -> Result<LoadOutcome, FillError> {
    let record: Option<NodeRecord> =
        node.group().and_then(|seat| seat.group.with(|state| state.node(holder).cloned()));
    let record = record.ok_or(TalkError::NotConnected)?;
    let mut talk = Talk::dial(node, &record, node.fence()).await?;
    talk.ask_manifests(roots).await?;
    let (parts, heard) = mpsc::channel(PARTS_WAITING);
    let universe = universe.clone();
    let taken = spawn_blocking(move || take_in(&universe, heard));
    let told = tell(&mut talk, parts).await;
    let outcome = taken.await.map_err(|_| FillError::Ended)??;
    told?;
    if outcome.refused > 0 {
        tracing::warn!(star = record.name, refused = outcome.refused, "manifests are not what was recorded");
    }
    Ok(outcome)
}

/// Hands on what the star says. Whoever takes it in may have ended before, and says why.
async fn tell(talk: &mut Talk, parts: mpsc::Sender<Part>) -> Result<(), TalkError> {
    loop {
        let (part, is_last) = match talk.hear().await? {
            Reply::Manifest(root) => (Part::Manifest(root), false),
            Reply::Chunks(chunks) => (Part::Chunks(chunks), false),
            Reply::Done => (Part::Done, true),
            _ => return Err(TalkError::Unexpected),
        };
        if parts.send(part).await.is_err() || is_last {
            return Ok(());
        }
    }
}

/// Takes manifests in, each if its chunks are those that its root names. What is complete counts even if the star breaks off.
fn take_in(universe: &NucleusUniverse, mut parts: mpsc::Receiver<Part>) -> Result<LoadOutcome, StoreError> {
    let mut load = universe.load();
    let mut current: Option<(ContentHash, ManifestBuilder<()>)> = None;
    while let Some(part) = parts.blocking_recv() {
        match part {
            Part::Manifest(root) => {
                end(&mut load, current.take())?;
                current = load.begin(&root)?.then(|| (root, ManifestBuilder::new(&ORBIT_64K, ())));
            }
            Part::Chunks(chunks) => {
                let Some((_, builder)) = &mut current else { continue };
                for chunk in &chunks {
                    let Ok(()) = builder.push(*chunk);
                    load.push(chunk)?;
                }
            }
            Part::Done => end(&mut load, current.take())?,
        }
    }
    load.finish()
}

fn end(
    load: &mut ContentsLoad<'_>,
    manifest: Option<(ContentHash, ManifestBuilder<()>)>,
) -> Result<(), StoreError> {
    let Some((root, builder)) = manifest else { return Ok(()) };
    let Ok((found, ())) = builder.finish();
    if found.identity() == root {
        load.end()?;
    } else {
        load.abandon();
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, FillError> {
    Ok(spawn_blocking(work).await.map_err(|_| FillError::Ended)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_cdc::identity;
    use orbit_core::grid::{Change, Content};
    use orbit_store::{LogPosition, Mark};

    /// Chunks of content `n`, as many as fill several parts.
    fn chunks(n: u64) -> Vec<Chunk> {
        let hash = |at: u64| orbit_cdc::hash_bytes(&[n.to_le_bytes(), at.to_le_bytes()].concat());
        (0..9000).map(|at| Chunk { hash: hash(at), len: 60_000 }).collect()
    }

    fn content(n: u64) -> Content {
        let chunks = chunks(n);
        let bytes = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        Content { root: identity(&ORBIT_64K, chunks.iter().copied()), bytes, chunks: chunks.len() as u32 }
    }

    fn universe(directory: &std::path::Path, contents: Vec<Content>) -> NucleusUniverse {
        let universe = NucleusUniverse::open_or_rebuild(&directory.join("universe_v3.db")).expect("opens");
        let mark = Mark { position: Some(LogPosition { term: 1, index: 1 }), membership: vec![] };
        let holder = NodeId::from_bytes([1; 16]);
        universe.commit(&[Change::Contents { holder, contents }], &mark).expect("commits");
        universe
    }

    fn said(of: ContentHash, chunks: &[Chunk]) -> Vec<Part> {
        let parts = chunks.chunks(4096).map(|part| Part::Chunks(part.to_vec()));
        std::iter::once(Part::Manifest(of)).chain(parts).collect()
    }

    fn taken(universe: &NucleusUniverse, said: Vec<Part>) -> LoadOutcome {
        let (parts, heard) = mpsc::channel(said.len());
        for part in said {
            parts.try_send(part).unwrap_or_else(|_| unreachable!("there is room"));
        }
        drop(parts);
        take_in(universe, heard).expect("takes in")
    }

    #[test]
    fn manifests_are_believed_if_their_roots_name_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let all: Vec<Content> = (0..3).map(content).collect();
        let universe = universe(directory.path(), all.clone());
        let mut wrong = chunks(1);
        wrong.swap(5, 6);
        let stranger = content(9);
        let mut parts = said(all[0].root, &chunks(0));
        parts.extend(said(all[1].root, &wrong));
        parts.extend(said(stranger.root, &chunks(9)));
        parts.extend(said(all[2].root, &chunks(2)));
        parts.push(Part::Done);
        let outcome = taken(&universe, parts);
        assert_eq!((outcome.contents, outcome.refused), (2, 1));
        let found = |n: u64| universe.find(&chunks(n)[8000].hash, 9).expect("asks");
        assert_eq!((found(0)[0].root, found(0)[0].offset), (all[0].root, 8000 * 60_000));
        assert_eq!(found(2)[0].root, all[2].root);
        assert!(found(1).is_empty() && found(9).is_empty());
        assert_eq!(universe.stats().expect("measures").wanted, 1);
    }

    #[test]
    fn a_star_that_breaks_off_has_told_what_was_complete() {
        let directory = tempfile::tempdir().expect("a directory");
        let all: Vec<Content> = (0..2).map(content).collect();
        let universe = universe(directory.path(), all.clone());
        let mut parts = said(all[0].root, &chunks(0));
        parts.extend(said(all[1].root, &chunks(1)[..8999]));
        let outcome = taken(&universe, parts);
        assert_eq!(outcome.contents, 1);
        assert_eq!(universe.wanted(0, 9).expect("lists").contents[0].content.root, all[1].root);
    }
}
