//! Fetching the manifests of wanted contents from the stars that hold them, on every node with a seat in the group.

use super::talk::{Talk, TalkError};
use super::universe_of;
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
        let Some(universe) = universe_of(&node) else {
            wait = LOOK;
            continue;
        };
        tokio::select! {
            () = node.stop.cancelled() => return,
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
    let tidied = universe.clone();
    blocking(move || {
        for _ in 0..TIDIED_AT_ONCE {
            if !tidied.tidy()? {
                break;
            }
        }
        Ok(())
    })
    .await?;
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
