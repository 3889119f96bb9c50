//! What a node answers about itself.

use super::forward;
use super::server::{Handled, HandledResponse};
use super::types::{BackupRequest, Counter, GridView, RecoverRequest, RecoveryView, ThisNode};
use crate::daemon::recover::{self, RecoverError, Recovered};
use crate::daemon::shared::LinkState;
use crate::daemon::{DaemonError, Node};
use crate::standalone::state::now_ms;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use orbit_core::grid::Command;
use std::sync::Arc;

pub(crate) fn router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/v1/node", get(show))
        .route("/v1/node/backup", post(make_backup))
        .route("/v1/node/recovery", get(recovery))
        .route("/v1/node/recover", post(recover_here))
        .route("/v1/leave", post(leave))
        .with_state(Arc::clone(node))
}

async fn show(State(node): State<Arc<Node>>) -> Handled<Json<ThisNode>> {
    Ok(Json(this_node(&node)?))
}

/// This node as it sees itself.
pub(crate) fn this_node(node: &Node) -> Result<ThisNode, DaemonError> {
    let membership = node.membership();
    let standing = node.standing();
    let counters = node.mesh.counters();
    let nucleus = match &*node.link.borrow() {
        LinkState::Own => Some(standing.name.clone()),
        LinkState::Connected(peer) => {
            node.mesh.peers().iter().find(|link| link.peer == *peer).map(|link| link.node.to_string())
        }
        LinkState::Searching(_) | LinkState::Refused(_) => None,
    };
    let trouble = match &*node.link.borrow() {
        LinkState::Searching(reason) => Some(reason.clone()),
        LinkState::Refused(refusal) => Some(refusal.to_string()),
        LinkState::Own | LinkState::Connected(_) => None,
    };
    let dropped =
        counters.dropped.iter().map(|(name, count)| Counter { name: (*name).to_owned(), count: *count });
    Ok(ThisNode {
        id: membership.node.to_string(),
        name: standing.name,
        grid: GridView { id: membership.grid.to_string(), name: membership.grid_name.clone() },
        is_nucleus: node.nucleus().is_some(),
        nucleus,
        trouble,
        peer: node.mesh.peer_id().to_string(),
        addresses: node.addresses(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        allowed_paths: node.profile().allowed_paths,
        certificate_expires_ms: node.certificate()?.not_after_ms,
        clock_ahead_ms: standing.clock_ahead_ms,
        dropped: dropped.collect(),
        heartbeat_rtt: node.round_trips(),
        memory_own: crate::daemon::load::own_memory(),
        bytes_sent: counters.bytes_out,
        bytes_received: counters.bytes_in,
    })
}

/// A backup of this node's own copy of the records, which may be behind.
async fn make_backup(State(node): State<Arc<Node>>, Json(wish): Json<BackupRequest>) -> HandledResponse {
    let no_records = || RecoverError::NoRecords { grid: node.membership().grid_name };
    let seat = super::records::seat(&node).ok_or_else(no_records).map_err(DaemonError::from)?;
    super::backup::stream(&node, &seat, &wish).await
}

/// How far this node and others are whose records could be gone on with.
async fn recovery(State(node): State<Arc<Node>>) -> Handled<Json<RecoveryView>> {
    Ok(Json(recover::survey_running(&node).await?))
}

/// Goes on alone.
async fn recover_here(
    State(node): State<Arc<Node>>,
    Json(wish): Json<RecoverRequest>,
) -> Handled<Json<Recovered>> {
    Ok(Json(recover::recover_running(&node, &wish.grid_name).await?))
}

/// Leaves the grid: the Nucleus revokes this node, then it forgets the grid, and the daemon ends. The grid ends with its
/// last node.
async fn leave(State(node): State<Arc<Node>>) -> Handled<()> {
    // The last node of its grid removes itself, and the grid with it. Otherwise another is the Nucleus, if need be after
    // this one has handed over.
    match node.nucleus() {
        Some(nucleus) if nucleus.is_alone() => {
            nucleus.commit(None, Command::Remove { node: nucleus.own, now_ms: now_ms() }).await?;
        }
        _ => forward::remove_this(&node).await?,
    }
    node.leave().await?;
    node.stop.cancel();
    Ok(())
}
