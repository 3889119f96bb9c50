//! The office: a node takes it when its member of the group leads, and lays it down when it does not any more, or when no
//! quorum answers.

use super::{Nucleus, keep_counters, keep_house, voters};
use crate::daemon::Node;
use crate::daemon::shared::LinkState;
use crate::group::Seat;
use crate::standalone::error::chain;
use futures::stream::{self, StreamExt};
use orbit_consensus::Office;
use orbit_core::grid::Refusal;
use orbit_mesh::Multiaddr;
use orbit_mesh::key::peer_id_of;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often a leader looks whether it may still rely on being it.
const LOOK: Duration = Duration::from_millis(20);
/// Without a lease for so long, the office is laid down. Until then nothing is done in its name either, but a moment's
/// hesitation of a busy machine does not cut off everybody.
const LEASE_PATIENCE: Duration = Duration::from_millis(400);
/// Stars that have not come to a new Nucleus by then are called: their link to the old one may be dead without a sign.
const CALL_AFTER: [Duration; 2] = [Duration::from_millis(700), Duration::from_secs(6)];
/// How long a call may take, and how many are made at a time.
const CALL_PATIENCE: Duration = Duration::from_secs(3);
const CALLS_AT_ONCE: usize = 16;
/// Pause after an office could not be taken.
const RETRY: Duration = Duration::from_millis(500);

/// Takes and lays down the office until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut seats = node.seat.subscribe();
    loop {
        let seat = seats.borrow_and_update().clone();
        let watched = async {
            match &seat {
                Some(seat) => watch(&node, seat).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watched => {}
            changed = seats.changed() => if changed.is_err() { return },
            () = node.stop.cancelled() => {}
        }
        lay_down(&node, "it does not lead any more").await;
        if node.stop.is_cancelled() {
            return;
        }
        if seat.is_some_and(|seat| seat.ended.is_cancelled()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Watches how the group stands; returns when the seat has ended.
async fn watch(node: &Arc<Node>, seat: &Arc<Seat>) {
    let mut standing = seat.group.standing();
    loop {
        let now = standing.borrow_and_update().clone();
        if now.office == Office::Leader && seat.group.holds_lease() {
            let served = tokio::select! {
                served = serve(node, seat, now.term) => served,
                () = seat.ended.cancelled() => return,
            };
            if !served {
                tokio::time::sleep(RETRY).await;
            }
            continue;
        }
        let look = if now.office == Office::Leader { LOOK } else { Duration::MAX };
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            () = seat.ended.cancelled() => return,
            () = tokio::time::sleep(look), if look < Duration::MAX => {}
        }
    }
}

/// Serves one term, to its end. Whether it could be served.
async fn serve(node: &Arc<Node>, seat: &Arc<Seat>, term: u64) -> bool {
    let nucleus = match take(node, seat, term).await {
        Ok(nucleus) => nucleus,
        Err(error) => {
            tracing::error!(error = chain(&error), "this node leads, but cannot act as the Nucleus");
            // Another may be able to.
            if let Err(error) = seat.group.transfer(None).await {
                tracing::warn!(error = chain(&error), "no other node takes over");
            }
            return false;
        }
    };
    node.tasks.spawn(keep_house(Arc::clone(node), Arc::clone(&nucleus)));
    node.tasks.spawn(voters::keep(Arc::clone(node), Arc::clone(&nucleus)));
    node.tasks.spawn(super::contents::keep(Arc::clone(node), Arc::clone(&nucleus)));
    node.tasks.spawn(super::jobs::keep(Arc::clone(node), Arc::clone(&nucleus)));
    node.tasks.spawn(call_members(Arc::clone(node), Arc::clone(&nucleus)));
    let why = serves_until(seat, term).await;
    lay_down(node, why).await;
    true
}

/// Builds what the Nucleus has and shows this node as it: to the mesh, and to those who ask here.
async fn take(
    node: &Arc<Node>,
    seat: &Arc<Seat>,
    term: u64,
) -> Result<Arc<Nucleus>, crate::daemon::DaemonError> {
    let nucleus = Arc::new(Nucleus::new(node, seat, term).await?);
    if nucleus.fence < node.fence() {
        // It has seen a newer Nucleus, so what it leads is not the grid's group any more.
        let (theirs, ours) = (nucleus.fence.term, node.fence().term);
        return Err(Refusal::OldTerm { node: node.standing().name, theirs, ours }.into());
    }
    node.show_office(Some(nucleus.fence)).await?;
    node.set_nucleus(Some(Arc::clone(&nucleus)));
    node.link.send_replace(LinkState::Own);
    tracing::info!(fence = %nucleus.fence, "this node is the Nucleus");
    Ok(nucleus)
}

/// Waits until the office is to be laid down, and says why.
async fn serves_until(seat: &Seat, term: u64) -> &'static str {
    let mut standing = seat.group.standing();
    let mut leased = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let now = standing.borrow_and_update().clone();
        if now.office != Office::Leader || now.term != term {
            return "another node takes over";
        }
        tokio::select! {
            _ = standing.changed() => {}
            _ = look.tick() => {
                if seat.group.holds_lease() {
                    leased = Instant::now();
                } else if leased.elapsed() > LEASE_PATIENCE {
                    return "no quorum of the voters answers it";
                }
            }
        }
    }
}

/// Ends everything that is done in the Nucleus's name, and shows this node as it no more.
async fn lay_down(node: &Node, why: &str) {
    if let Some(nucleus) = node.nucleus() {
        tracing::info!(fence = %nucleus.fence, why, "this node is not the Nucleus any more");
        nucleus.ended.cancel();
        node.set_nucleus(None);
        node.link.send_replace(LinkState::Searching(why.to_owned()));
    }
    // Also when the office was taken half-way.
    if let Err(error) = node.show_office(None).await {
        tracing::error!(error = chain(&error), "cannot show that the office was laid down");
    }
}

/// Calls members that have not come by themselves.
async fn call_members(node: Arc<Node>, nucleus: Arc<Nucleus>) {
    let began = Instant::now();
    for after in CALL_AFTER {
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            () = tokio::time::sleep_until(began + after) => {}
        }
        let here: BTreeSet<_> = node.mesh.peers().iter().map(|link| link.key).collect();
        let missing: Vec<_> = nucleus.with(|state| {
            let missing =
                state.nodes().filter(|record| record.id != nucleus.own && !here.contains(&record.key));
            missing.map(|record| (record.key, record.profile.addresses.clone())).collect()
        });
        let calls = stream::iter(missing).map(|(key, addresses)| {
            let mesh = node.mesh.clone();
            async move {
                let addresses: Vec<Multiaddr> =
                    addresses.iter().filter_map(|address| address.parse().ok()).collect();
                let Some(peer) = peer_id_of(&key).filter(|_| !addresses.is_empty()) else { return };
                let _ = timeout(CALL_PATIENCE, mesh.connect(Some(peer), addresses)).await;
            }
        });
        tokio::select! {
            () = nucleus.ended.cancelled() => return,
            () = calls.buffer_unordered(CALLS_AT_ONCE).for_each(|()| async {}) => {}
        }
    }
}

/// Hands the office over, if this node holds it and another voter can take it; its counters first.
pub(crate) async fn hand_over_at_the_end(node: &Node) {
    let Some(nucleus) = node.nucleus() else { return };
    keep_counters(&nucleus).await;
    if nucleus.group().standing().borrow().voters.len() < 2 {
        return;
    }
    match nucleus.group().transfer(None).await {
        Ok(heir) => tracing::info!(%heir, "handed over"),
        Err(error) => tracing::warn!(error = chain(&error), "nobody took over"),
    }
}
