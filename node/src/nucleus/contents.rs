//! Which contents lie on which star: asked of the stars by the Nucleus, kept by the group, and indexed chunk by chunk on
//! every node that has a seat in it.
//!
//! ```text
//!  star: cache of hashes ──contents──▶ Nucleus ──RecordContents──▶ Group ──▶ jobs.db and universe of each seat
//!             │                                                                      │ wanted
//!             └──────────────────manifests──────────────────▶ each seat ──load──▶ chunk records
//! ```
//!
//! The log carries roots only. Their manifests each seat fetches by itself from a star that holds them ([`fill`]); a star
//! tells them to whoever may become the Nucleus, and takes nothing else from those who are not.
//!
//! What is recorded is what a star said last. A star that has forgotten some keeps them recorded until they are an eighth of
//! what it holds; where that is little, until they are noticed. Whoever uses a place asks the star anyway.

pub(crate) mod fill;
mod talk;

use super::Nucleus;
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::standalone::error::chain;
use futures::stream::{self, StreamExt};
use orbit_core::grid::{Command, Content, NodeRecord};
use orbit_core::ids::NodeId;
use orbit_core::wire::system::ContentsPage;
use orbit_store::{Held, NucleusUniverseStats, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talk::{Talk, TalkError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often stars are asked whether they hold something new.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// After a session that may have hashed something: how long others may follow before the stars are asked.
const AFTER_SESSION: Duration = Duration::from_secs(3);
/// After a star was asked, it is left alone for so many times as long as that took.
const REST: u32 = 20;
/// Even if a star says that nothing is new, it is asked for everything so often.
const ASK_ALL_EVERY: Duration = Duration::from_hours(6);
/// Stars asked at a time.
const ASKED_AT_ONCE: usize = 4;
/// Contents in one command.
const RECORDED_AT_ONCE: usize = 10_000;
/// Pages of one star at most: 40 million contents.
const PAGES_MAX: usize = 2_000;
/// Where no more are recorded of a star, one that it does not hold any more has all recorded anew.
const FEW: u64 = 10_000;

/// What the Nucleus knows of the stars' contents, and when to ask.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    recorded: Mutex<HashMap<NodeId, Recorded>>,
    /// Stars that were asked to do something and may have hashed.
    touched: Mutex<BTreeSet<NodeId>>,
    soon: Notify,
}

/// What is recorded of a star.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    /// The state of the star that is.
    state: u64,
    /// When all was asked for.
    since: Instant,
    /// When it may be asked again.
    rested: Instant,
}

impl Asking {
    /// A session with a star begins: something may be hashed in it.
    pub(crate) fn touch(&self, star: NodeId) {
        lock(&self.touched).insert(star);
    }

    /// A session has ended.
    pub(crate) fn soon(&self) {
        self.soon.notify_one();
    }

    fn take_rested(&self) -> BTreeSet<NodeId> {
        let now = Instant::now();
        let recorded = lock(&self.recorded);
        let mut touched = lock(&self.touched);
        let is_rested = |star: &NodeId| recorded.get(star).is_none_or(|recorded| recorded.rested <= now);
        let (rested, others) = std::mem::take(&mut *touched).into_iter().partition(is_rested);
        *touched = others;
        rested
    }
}

/// How much the universe of this node's seat knows; none without a seat.
pub(crate) fn counters(node: &Node) -> Option<NucleusUniverseStats> {
    let universe = node.group()?.universe()?;
    universe
        .stats()
        .inspect_err(|error| tracing::warn!(error = chain(error), "cannot measure the universe"))
        .ok()
}

/// While chunks of contents are on their way: of how many contents they are known, and of how many there are.
pub(crate) fn rebuilding(node: &Node) -> Option<(u64, u64)> {
    let stats = counters(node)?;
    (stats.wanted > 0).then_some((stats.contents.saturating_sub(stats.wanted), stats.contents))
}

/// Why what a star holds was not recorded.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the star was not asked")]
    Talk(#[from] TalkError),
    #[error("the node's seat has ended")]
    Ended,
    #[error("the universe cannot be read")]
    Store(#[from] StoreError),
    #[error("the contents were not recorded")]
    Commit(#[from] DaemonError),
}

/// Asks the stars until the office ends.
pub(super) async fn keep(node: Arc<Node>, nucleus: Arc<Nucleus>) {
    let mut everybody = Instant::now() + AFTER_SESSION;
    let mut touched: Option<Instant> = None;
    loop {
        let next = touched.map_or(everybody, |touched| touched.min(everybody));
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
            () = nucleus.asking.soon.notified() => {
                touched.get_or_insert_with(|| Instant::now() + AFTER_SESSION);
                continue;
            }
        }
        touched = None;
        let is_for_all = everybody <= Instant::now();
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            () = ask_some(&node, &nucleus, is_for_all) => {}
        }
        if is_for_all {
            everybody = Instant::now() + ASK_EVERY;
        }
    }
}

/// Asks the stars that may have hashed something, or all that are connected.
async fn ask_some(node: &Arc<Node>, nucleus: &Nucleus, is_for_all: bool) {
    let mut chosen = nucleus.asking.take_rested();
    if is_for_all {
        forget_strangers(nucleus).await;
        chosen.extend(node.mesh.peers().iter().map(|link| link.node));
        chosen.insert(nucleus.own);
    }
    let stars: Vec<NodeRecord> =
        nucleus.with(|state| chosen.iter().filter_map(|id| state.node(*id).cloned()).collect());
    let asked = stream::iter(stars).map(|star| async move {
        if let Err(error) = ask(node, nucleus, &star).await {
            tracing::debug!(star = star.name, error = chain(&error), "its contents are not known");
        }
    });
    asked.buffer_unordered(ASKED_AT_ONCE).for_each(|()| async {}).await;
}

/// Forgets what nodes hold that are no members any more, should that have been missed when they were removed.
async fn forget_strangers(nucleus: &Nucleus) {
    let Some(universe) = nucleus.seat.universe() else { return };
    let Ok(Ok(holders)) = tokio::task::spawn_blocking(move || universe.holders()).await else { return };
    let strangers: Vec<NodeId> =
        nucleus.with(|state| holders.into_iter().filter(|holder| state.node(*holder).is_none()).collect());
    for holder in strangers {
        if let Err(error) = nucleus.commit(None, Command::ForgetContents { holder }).await {
            tracing::warn!(error = chain(&error), "cannot forget what a removed node held");
        }
    }
}

/// Asks a star, and records what it holds.
async fn ask(node: &Arc<Node>, nucleus: &Nucleus, star: &NodeRecord) -> Result<(), AskError> {
    let known = lock(&nucleus.asking.recorded).get(&star.id).copied();
    let begun = Instant::now();
    let (unless, since) = match known {
        Some(Recorded { rested, .. }) if rested > begun => return Ok(()),
        Some(Recorded { state, since, .. }) if since.elapsed() < ASK_ALL_EVERY => (Some(state), since),
        _ => (None, begun),
    };
    let mut talk = Talk::open(node, star, nucleus.fence).await?;
    let first = talk.contents(unless, Vec::new()).await?;
    let state = first.state;
    if unless != Some(state) {
        let held = record(nucleus, star.id, &mut talk, first).await?;
        let (recorded, missing) = (held.recorded(), held.missing());
        drop(held);
        if missing > 0 && (recorded <= FEW || missing >= recorded / 8) {
            tracing::info!(star = star.name, missing, recorded, "what the star holds is recorded anew");
            let again = talk.contents(None, Vec::new()).await?;
            nucleus.commit(None, Command::ForgetContents { holder: star.id }).await?;
            record(nucleus, star.id, &mut talk, again).await?;
        }
    }
    let rested = Instant::now() + begun.elapsed() * REST;
    lock(&nucleus.asking.recorded).insert(star.id, Recorded { state, since, rested });
    Ok(())
}

/// Records all that the star says and is not recorded yet, from this page on.
async fn record(
    nucleus: &Nucleus,
    holder: NodeId,
    talk: &mut Talk,
    first: ContentsPage,
) -> Result<Held, AskError> {
    let universe = nucleus.seat.universe().ok_or(AskError::Ended)?;
    let mut held = blocking(move || universe.held(holder)).await?;
    let mut new: Vec<Content> = Vec::new();
    let mut page = first;
    for _ in 0..PAGES_MAX {
        let said = std::mem::take(&mut page.contents);
        let (unrecorded, given_back) = blocking(move || Ok((held.unrecorded(said)?, held))).await?;
        held = given_back;
        new.extend(unrecorded);
        let is_last = page.next.is_empty();
        while new.len() >= RECORDED_AT_ONCE || (is_last && !new.is_empty()) {
            let rest = new.split_off(new.len().min(RECORDED_AT_ONCE));
            let contents = std::mem::replace(&mut new, rest);
            nucleus.commit(None, Command::RecordContents { holder, contents }).await?;
        }
        if is_last {
            break;
        }
        page = talk.contents(None, std::mem::take(&mut page.next)).await?;
    }
    Ok(held)
}

/// Reads the universe on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, AskError> {
    let ended = DaemonError::Ended { what: "a thread that reads the universe" };
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| ended)??)
}
