//! What the Nucleus answers.

use super::error::ApiFailure;
use super::records::{Records, WithoutNucleus};
use super::request::RequestKey;
use super::server::{Handled, HandledResponse, caller};
use super::types::{
    ApiError, AuthorityView, BackupRequest, ConstellationView, ErrorCode, GroupView, NodeChanged, NodeList,
    NodePatch, NodeView, ReachView, StatusView, TokenCreated, TokenRequest, TokenView,
};
use super::{records, status, voting};
use crate::daemon::reach::dial_back;
use crate::daemon::{DaemonError, Node};
use crate::nucleus::views::Eyes;
use crate::nucleus::{Nucleus, relay, views};
use crate::standalone::state::now_ms;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::TokioIo;
use orbit_core::grid::{Change, Command, JoinToken, NodeRecord, Refusal, Role, TokenRecord};
use orbit_core::ids::{NodeId, PeerKey, TokenId};
use orbit_mesh::key::{peer_id_of, random, sha256};
use std::sync::Arc;
use std::time::Duration;

/// Largest body of a request, bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest life of a token, seconds.
const TOKEN_TTL_S_MAX: u64 = 30 * 86_400;
/// Nodes one token may admit at most.
const TOKEN_USES_MAX: u32 = 10_000;
/// How long a node that leaves may still read its answer.
const FAREWELL: Duration = Duration::from_millis(500);
/// Where it is told how the grid is.
pub(super) const STATUS: &str = "/v1/status";
/// Where it is told who elects the Nucleus.
pub(super) const GROUP: &str = "/v1/group";
/// The name of the protocol that `GET /v1/nodes/{node}/system` upgrades to.
pub(crate) const SYSTEM_PROTOCOL: &str = "orbit-system/1";

pub(crate) fn router(node: &Arc<Node>) -> Router {
    Router::new()
        .route(STATUS, get(status))
        .route(GROUP, get(group))
        .route("/v1/nodes", get(list_nodes))
        .route("/v1/nodes/{node}", get(show_node).patch(patch_node).delete(remove_node))
        .route("/v1/nodes/{node}/reach", post(reach))
        .route("/v1/nodes/{node}/system", get(system))
        .route("/v1/tokens", get(list_tokens).post(create_token))
        .route("/v1/tokens/{id}", delete(remove_token))
        .route("/v1/constellations", get(list_constellations).post(create_constellation))
        .route("/v1/constellations/{name}", delete(remove_constellation))
        .route("/v1/constellations/{name}/nodes", post(add_nodes).delete(remove_nodes))
        .route("/v1/authorities", get(list_authorities).post(rotate_authority))
        .route("/v1/backup", post(make_backup))
        .merge(super::jobs::router())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(node))
}

type Shared = State<Arc<Node>>;

/// The Nucleus's part of a node, or the refusal of one that is not the Nucleus.
pub(super) fn nucleus(node: &Node) -> Handled<Arc<Nucleus>> {
    node.acting_nucleus().ok_or_else(|| Refusal::NotNucleus { node: node.standing().name }.into())
}

pub(super) fn found(nucleus: &Nucleus, written: &str) -> Handled<NodeRecord> {
    Ok(nucleus.with(|state| state.find_node(written).cloned())?)
}

fn view(eyes: &Eyes, id: NodeId) -> Handled<NodeView> {
    let shown = eyes.with(|state| state.node(id).map(|record| views::node_view(eyes, state, record)));
    shown.ok_or_else(|| Refusal::UnknownNode { name: id.to_string(), nearest: None }.into())
}

/// Every node answers this, with a Nucleus or without.
async fn status(
    State(node): Shared,
    without: Option<Extension<WithoutNucleus>>,
) -> Handled<Json<StatusView>> {
    let told = match (without, records::seat(&node)) {
        (None, _) => status::of_nucleus(&node, &nucleus(&node)?),
        (Some(_), Some(seat)) => status::of_member(&node, &seat).await,
        (Some(_), None) => status::of_star(&node),
    };
    Ok(Json(told))
}

async fn group(State(node): Shared) -> Handled<Json<GroupView>> {
    Ok(Json(status::group_of_nucleus(&Eyes::of_nucleus(&node, &nucleus(&node)?))))
}

async fn list_nodes(State(node): Shared, records: Records) -> Handled<Json<Vec<NodeView>>> {
    Ok(Json(views::node_views(&records.eyes(&node))))
}

async fn show_node(
    State(node): Shared,
    Path(name): Path<String>,
    records: Records,
) -> Handled<Json<NodeView>> {
    view(&records.eyes(&node), records.find(&name)?.id).map(Json)
}

async fn patch_node(
    State(node): Shared,
    Path(name): Path<String>,
    request: RequestKey,
    Json(patch): Json<NodePatch>,
) -> Handled<Json<NodeChanged>> {
    let nucleus = nucleus(&node)?;
    let record = found(&nucleus, &name)?;
    let wish = patch.voting.as_deref().map(voting::parse).transpose()?;
    let mut told = Vec::new();
    if let Some(name) = patch.name {
        nucleus.execute(&node, request.step(0), Command::Rename { node: record.id, name }).await?;
    }
    if let Some(is_draining) = patch.is_draining {
        told.extend(voting::drain(&node, &nucleus, request.step(1), &record, is_draining).await?);
    }
    if let Some(wish) = wish {
        told.extend(voting::want(&node, &nucleus, request.step(2), &record, wish).await?);
    }
    let node = view(&Eyes::of_nucleus(&node, &nucleus), record.id)?;
    Ok(Json(NodeChanged { node, told }))
}

async fn remove_node(
    State(node): Shared,
    Path(name): Path<String>,
    request: RequestKey,
    extensions: Extensions,
) -> Handled<()> {
    let nucleus = nucleus(&node)?;
    let record = match found(&nucleus, &name) {
        Ok(record) => record,
        Err(unknown) => return removed_before(&nucleus, &name, request).await.ok_or(unknown),
    };
    nucleus.remove(&node, request.step(0), &record).await?;
    if caller(&extensions) == Some(record.id) {
        // It leaves by itself, and its answer travels on the connection that is to be cut.
        let task = node.tasks.clone();
        task.spawn(async move {
            tokio::time::sleep(FAREWELL).await;
            cut_off(&node, record.key).await;
        });
    } else {
        cut_off(&node, record.key).await;
    }
    Ok(())
}

/// Whether this very request has removed the node, whose answer was lost then.
async fn removed_before(nucleus: &Nucleus, name: &str, request: RequestKey) -> Option<()> {
    let id: NodeId = name.parse().ok()?;
    let request = Some(request.step(0)?);
    nucleus.commit(request, Command::Remove { node: id, now_ms: now_ms() }).await.ok().map(|_| ())
}

/// Tells everybody who is revoked, and closes what a removed member still has open here.
async fn cut_off(node: &Node, key: PeerKey) {
    if let Some(nucleus) = node.nucleus() {
        nucleus.announce(node).await;
    }
    if let Some(peer) = peer_id_of(&key) {
        node.mesh.disconnect(peer).await;
    }
}

async fn reach(State(node): Shared, Path(name): Path<String>) -> Handled<Json<ReachView>> {
    let record = found(nucleus(&node)?.as_ref(), &name)?;
    let tried = record.profile.addresses.clone();
    let reached = match peer_id_of(&record.key) {
        Some(peer) => dial_back(peer, &tried).await,
        None => Vec::new(),
    };
    Ok(Json(ReachView { tried, reached }))
}

/// Becomes a session with a star.
async fn system(State(node): Shared, Path(name): Path<String>, mut request: Request) -> HandledResponse {
    let nucleus = nucleus(&node)?;
    let record = found(&nucleus, &name)?;
    let asked = request.headers().get(header::UPGRADE).is_some_and(|value| value == SYSTEM_PROTOCOL);
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>().filter(|_| asked);
    let upgrade =
        upgrade.ok_or_else(|| ApiFailure::usage(format!("this path wants `Upgrade: {SYSTEM_PROTOCOL}`")))?;
    let way = relay::open(&node, &nucleus, &record).await?;
    let task = node.tasks.clone();
    task.spawn(async move {
        let Ok(asker) = upgrade.await else { return };
        relay::carry(&node, &nucleus, TokioIo::new(asker), way).await;
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, SYSTEM_PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

async fn list_tokens(records: Records) -> Handled<Json<Vec<TokenView>>> {
    let views = records.with(|state| {
        let mut tokens: Vec<&TokenRecord> = state.tokens().collect();
        tokens.sort_by_key(|token| token.created_ms);
        tokens.into_iter().map(|token| views::token_view(state, token)).collect()
    });
    Ok(Json(views))
}

async fn create_token(
    State(node): Shared,
    request: RequestKey,
    extensions: Extensions,
    Json(wish): Json<TokenRequest>,
) -> Handled<Json<TokenCreated>> {
    let nucleus = nucleus(&node)?;
    let out_of_range = |what: &str, allowed: String| Refusal::OutOfRange { what: what.to_owned(), allowed };
    if !(1..=TOKEN_TTL_S_MAX).contains(&wish.ttl_s) {
        return Err(out_of_range("the token's life", "1 s to 30 d".to_owned()).into());
    }
    if !(1..=TOKEN_USES_MAX).contains(&wish.uses) {
        return Err(out_of_range("the number of uses", format!("1 to {TOKEN_USES_MAX}")).into());
    }
    let role = match wish.role.as_str() {
        "star" => Role::Star,
        "witness" => Role::Witness,
        _ => return Err(out_of_range("the role", "star or witness".to_owned()).into()),
    };
    let grid = nucleus.with(|state| state.header().map(|header| header.id));
    let now = now_ms();
    // The same request again, at whichever Nucleus, must be answered with the same token.
    let request = request.step(0);
    let (id, secret) = request.map_or_else(|| (random(), random()), |request| nucleus.drawn_for(request));
    let token = JoinToken {
        grid: grid.ok_or(Refusal::OtherGrid)?,
        pin: nucleus.authority().certificate().pin(),
        id: TokenId::from_bytes(id),
        secret,
    };
    let record = TokenRecord {
        id: token.id,
        secret_hash: sha256(&token.secret),
        authority: token.pin,
        role,
        uses: wish.uses,
        used_by: Vec::new(),
        created_ms: now,
        expires_ms: now + wish.ttl_s as i64 * 1000,
        created_on: caller(&extensions).unwrap_or(nucleus.own),
    };
    let changes = nucleus.commit(request, Command::CreateToken { token: record.clone() }).await?;
    // What was made first counts, and the authority may have changed since.
    let made = changes.into_iter().find_map(|change| match change {
        Change::Token(made) => Some(made),
        _ => None,
    });
    let record = made.unwrap_or(record);
    let token = JoinToken { pin: record.authority, ..token };
    let text = token.to_text();
    let files = if role == Role::Witness { "--no-files" } else { "--allow /PATH" };
    Ok(Json(TokenCreated {
        join_command: format!("orbit node join {text} {files} --run"),
        token: text,
        listed: nucleus.with(|state| views::token_view(state, &record)),
    }))
}

async fn remove_token(State(node): Shared, Path(id): Path<String>, request: RequestKey) -> Handled<()> {
    let token: TokenId =
        id.parse().map_err(|error: orbit_core::ids::BadId| ApiFailure::usage(error.to_string()))?;
    match nucleus(&node)?.commit(request.step(0), Command::RemoveToken { token }).await {
        Err(DaemonError::Refused(refusal @ Refusal::TokenUnknown { .. })) => {
            Err(ApiFailure::of(ApiError::new(
                ErrorCode::NotFound,
                refusal.to_string(),
                Some("`orbit token ls` lists them".to_owned()),
            )))
        }
        done => Ok(done.map(|_| ())?),
    }
}

async fn list_constellations(records: Records) -> Handled<Json<Vec<ConstellationView>>> {
    let views = records
        .with(|state| state.constellations().map(|found| views::constellation_view(state, found)).collect());
    Ok(Json(views))
}

fn constellation(nucleus: &Nucleus, name: &str) -> Handled<Json<ConstellationView>> {
    let view = nucleus.with(|state| {
        let found = state.constellations().find(|found| found.name == name)?;
        Some(views::constellation_view(state, found))
    });
    view.map(Json)
        .ok_or_else(|| Refusal::UnknownConstellation { name: name.to_owned(), nearest: None }.into())
}

async fn create_constellation(
    State(node): Shared,
    request: RequestKey,
    Json(wish): Json<ConstellationView>,
) -> Handled<Json<ConstellationView>> {
    let nucleus = nucleus(&node)?;
    let nodes = if wish.nodes.is_empty() { Vec::new() } else { ids(&nucleus, &wish.nodes)? };
    nucleus.commit(request.step(0), Command::CreateConstellation { name: wish.name.clone() }).await?;
    if !nodes.is_empty() {
        let command = Command::AddToConstellation { name: wish.name.clone(), nodes };
        nucleus.commit(request.step(1), command).await?;
    }
    constellation(&nucleus, &wish.name)
}

async fn remove_constellation(
    State(node): Shared,
    Path(name): Path<String>,
    request: RequestKey,
) -> Handled<()> {
    let command = Command::RemoveFromConstellation { name, nodes: Vec::new() };
    nucleus(&node)?.commit(request.step(0), command).await?;
    Ok(())
}

fn ids(nucleus: &Nucleus, names: &[String]) -> Handled<Vec<NodeId>> {
    if names.is_empty() {
        return Err(ApiFailure::usage("no node is named"));
    }
    names.iter().map(|name| found(nucleus, name).map(|record| record.id)).collect()
}

async fn add_nodes(
    State(node): Shared,
    Path(name): Path<String>,
    request: RequestKey,
    Json(list): Json<NodeList>,
) -> Handled<Json<ConstellationView>> {
    let nucleus = nucleus(&node)?;
    let nodes = ids(&nucleus, &list.nodes)?;
    nucleus.commit(request.step(0), Command::AddToConstellation { name: name.clone(), nodes }).await?;
    constellation(&nucleus, &name)
}

async fn remove_nodes(
    State(node): Shared,
    Path(name): Path<String>,
    request: RequestKey,
    Json(list): Json<NodeList>,
) -> Handled<Json<ConstellationView>> {
    let nucleus = nucleus(&node)?;
    let nodes = ids(&nucleus, &list.nodes)?;
    nucleus.commit(request.step(0), Command::RemoveFromConstellation { name: name.clone(), nodes }).await?;
    constellation(&nucleus, &name)
}

async fn list_authorities(records: Records) -> Handled<Json<Vec<AuthorityView>>> {
    Ok(Json(records.with(views::authority_views)))
}

async fn rotate_authority(State(node): Shared) -> Handled<Json<Vec<AuthorityView>>> {
    let nucleus = nucleus(&node)?;
    nucleus.rotate_authority(&node).await?;
    Ok(Json(nucleus.with(views::authority_views)))
}

/// The grid's keys are in a backup: it goes only to a member that may have them anyway.
async fn make_backup(
    State(node): Shared,
    extensions: Extensions,
    Json(wish): Json<BackupRequest>,
) -> HandledResponse {
    let nucleus = nucleus(&node)?;
    if let Some(caller) = caller(&extensions) {
        let role = nucleus.with(|state| state.node(caller).map(|record| record.role));
        if !role.is_some_and(Role::may_lead) {
            let name = nucleus.with(|state| state.node(caller).map(|record| record.name.clone()));
            let name = name.unwrap_or_else(|| caller.to_string());
            return Err(ApiFailure::of(ApiError::new(
                ErrorCode::Refused,
                format!(
                    "{name} is a star: a backup has the grid's keys in it, and goes to nodes that may vote only"
                ),
                Some("run it on a node that votes: `orbit status` names them".to_owned()),
            )));
        }
    }
    nucleus.group().confirm().await.map_err(|_| nucleus.no_quorum())?;
    let seat = node.group().ok_or_else(|| node.no_nucleus())?;
    super::backup::stream(&node, &seat, &wish).await
}
