//! What the API shows of the grid, made from the ledger, the registry and the mesh.

use super::Nucleus;
use super::registry::Sight;
use crate::api::types::{
    AuthorityView, CertificateView, ConstellationView, DiskView, GridView, LinkView, LoadView, MeteringView,
    NodeCounts, NodeState, NodeView, Problem, StatusView, TokenView,
};
use crate::daemon::Node;
use crate::standalone::state::now_ms;
use orbit_core::grid::refusal::span;
use orbit_core::grid::{Anchor, Constellation, GridState, Liveness, NodeRecord, TokenRecord};
use orbit_core::ids::{NodeId, PeerKey};
use orbit_core::wire::pulse::{Load, Metering};
use orbit_mesh::net::{Direction, PeerLink};
use orbit_mesh::pki::AuthorityCertificate;
use std::collections::HashMap;

/// Clocks that differ by more than this are a problem, milliseconds.
const CLOCK_PROBLEM_MS: i64 = 5_000;
/// Certificates that end sooner than this were not renewed as they should, milliseconds.
const EXPIRY_PROBLEM_MS: i64 = 14 * 86_400_000;
/// A disk with less free than this share of it is a problem, per cent.
const DISK_PROBLEM_PERCENT: u64 = 5;

/// Connections by the node at their other end.
pub(crate) type Links = HashMap<NodeId, PeerLink>;

/// The connections of now.
pub(crate) fn links(node: &Node) -> Links {
    node.mesh.peers().into_iter().map(|link| (link.node, link)).collect()
}

/// One node as the API shows it.
pub(crate) fn node_view(
    node: &Node,
    nucleus: &Nucleus,
    state: &GridState,
    links: &Links,
    record: &NodeRecord,
) -> NodeView {
    let sight = nucleus.registry.sight(record.id);
    let (node_state, since_ms) = shown(&sight);
    // One that was never heard is silent since it joined, not since before.
    let since_ms = since_ms.max(record.joined_ms);
    let link = links.get(&record.id);
    let certificate = &record.certificate;
    NodeView {
        id: record.id.to_string(),
        name: record.name.clone(),
        role: record.role.name().to_owned(),
        is_nucleus: record.key == node.mesh.key(),
        state: node_state,
        since_ms,
        is_draining: record.is_draining,
        last_seen_ms: sight.last_seen_ms,
        joined_ms: record.joined_ms,
        version: shown_text(&record.profile.version),
        platform: shown_text(&record.profile.platform),
        peer: orbit_mesh::key::peer_id_of(&record.key).map_or_else(String::new, |peer| peer.to_string()),
        addresses: record.profile.addresses.iter().map(|text| shown_text(text)).collect(),
        link: link.map(|link| link_view(link, &sight)),
        load: sight.load.as_ref().map(load_view),
        allowed_paths: record.profile.allowed_paths.iter().map(|text| shown_text(text)).collect(),
        jobs: sight.load.as_ref().map_or(0, |load| load.jobs_running),
        constellations: state
            .constellations()
            .filter(|found| found.nodes.contains(&record.id))
            .map(|found| found.name.clone())
            .collect(),
        certificate: CertificateView {
            serial: certificate.serial.to_string(),
            issued_ms: certificate.not_before_ms + orbit_mesh::pki::BACKDATE_MS,
            expires_ms: certificate.not_after_ms,
        },
        metering: metering_view(&sight.metering),
        clock_ahead_ms: sight.clock_ahead_ms,
    }
}

fn shown(sight: &Sight) -> (NodeState, i64) {
    match sight.liveness {
        Liveness::Ready { since_ms } => (NodeState::Ready, since_ms),
        Liveness::Suspect { since_ms } => (NodeState::Suspect, since_ms),
        Liveness::Lost { since_ms } => (NodeState::Lost, since_ms),
    }
}

fn link_view(link: &PeerLink, sight: &Sight) -> LinkView {
    LinkView {
        kind: link.kind.to_string(),
        address: link.address.to_string(),
        direction: match link.direction {
            Direction::Outbound => "out",
            Direction::Inbound => "in",
        }
        .to_owned(),
        rtt_us: sight.rtt_us,
    }
}

fn load_view(load: &Load) -> LoadView {
    LoadView {
        cpu_percent: f32::from(load.cpu_permille) / 10.0,
        cores: load.cores,
        memory_total: load.memory_total,
        memory_available: load.memory_available,
        memory_own: load.memory_own,
        disks: load
            .disks
            .iter()
            .map(|disk| DiskView { path: shown_text(&disk.path), total: disk.total, free: disk.free })
            .collect(),
        calls_running: load.calls_running,
    }
}

/// What a star says of itself, for people: nothing in it drives a terminal.
fn shown_text(text: &str) -> String {
    orbit_core::rel_path::display_name(text.as_bytes()).into_owned()
}

fn metering_view(metering: &Metering) -> MeteringView {
    MeteringView {
        calls: metering.calls,
        refused: metering.refused,
        entries_scanned: metering.entries_scanned,
        bytes_hashed: metering.bytes_hashed,
        bytes_sent: metering.bytes_sent,
        bytes_received: metering.bytes_received,
    }
}

/// All nodes, the Nucleus first, then by name.
pub(crate) fn node_views(node: &Node, nucleus: &Nucleus) -> Vec<NodeView> {
    let links = links(node);
    let mut views: Vec<NodeView> = nucleus
        .ledger
        .with(|state| state.nodes().map(|record| node_view(node, nucleus, state, &links, record)).collect());
    views.sort_by(|a, b| b.is_nucleus.cmp(&a.is_nucleus).then_with(|| a.name.cmp(&b.name)));
    views
}

/// How the grid is.
pub(crate) fn status(node: &Node, nucleus: &Nucleus) -> StatusView {
    let views = node_views(node, nucleus);
    let mut nodes = NodeCounts { total: views.len() as u32, ..NodeCounts::default() };
    let mut problems = Vec::new();
    for view in &views {
        match view.state {
            NodeState::Ready => nodes.ready += 1,
            NodeState::Suspect => nodes.suspect += 1,
            NodeState::Lost => nodes.lost += 1,
        }
        nodes.draining += u32::from(view.is_draining);
        problems.extend(problems_of(view));
    }
    let (grid, name) = nucleus.ledger.with(|state| {
        let header = state.header();
        let grid = header.map(|header| GridView { id: header.id.to_string(), name: header.name.clone() });
        (grid, state.node(nucleus.own).map(|record| record.name.clone()))
    });
    let grid = grid.unwrap_or_else(|| GridView { id: String::new(), name: String::new() });
    // One Nucleus alone: the arithmetic of a group of one voter.
    let tolerates_failures = u32::from(orbit_consensus::tolerates(1));
    StatusView {
        sentence: sentence(&grid.name, &nodes, tolerates_failures, &problems),
        is_healthy: problems.is_empty(),
        tolerates_failures,
        nucleus: name.unwrap_or_default(),
        epoch: nucleus.fence.epoch,
        term: nucleus.fence.term,
        grid,
        nodes,
        problems,
    }
}

fn sentence(grid: &str, nodes: &NodeCounts, tolerates: u32, problems: &[Problem]) -> String {
    let health = match problems.len() {
        0 => "healthy".to_owned(),
        1 => "not healthy: one problem".to_owned(),
        count => format!("not healthy: {count} problems"),
    };
    let survives = match tolerates {
        0 => "no failure of the Nucleus".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    };
    format!(
        "grid {grid} is {health}; {} of {} nodes ready; it tolerates {survives}",
        nodes.ready, nodes.total
    )
}

fn problems_of(view: &NodeView) -> Vec<Problem> {
    let name = &view.name;
    let mut problems = Vec::new();
    let mut tell = |message: String, hint: String| problems.push(Problem { message, hint });
    let silent = span(now_ms() - view.since_ms);
    match view.state {
        NodeState::Ready => {}
        NodeState::Suspect => tell(
            format!("{name} is suspect: its heartbeats are missing"),
            format!("wait half a minute; then look whether `orbit node run` runs on {name}"),
        ),
        NodeState::Lost => tell(
            format!("{name} is lost, for {silent}"),
            format!("start `orbit node run` on {name}, or remove it: orbit node rm {name}"),
        ),
    }
    if let Some(ahead) = view.clock_ahead_ms.filter(|ahead| ahead.abs() > CLOCK_PROBLEM_MS) {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        tell(
            format!("the clock of {name} is {} {side} the Nucleus's", span(ahead.abs())),
            format!("set it on {name}, for example: timedatectl set-ntp true"),
        );
    }
    let left = view.certificate.expires_ms - now_ms();
    // A short-lived certificate is not late before a third of its life is left.
    let late = EXPIRY_PROBLEM_MS.min((view.certificate.expires_ms - view.certificate.issued_ms) / 6);
    if left < late {
        tell(
            format!("the certificate of {name} ends in {}", span(left)),
            format!("it renews by itself when {name} is connected: start `orbit node run` there"),
        );
    }
    for disk in view.load.iter().flat_map(|load| &load.disks) {
        if disk.total > 0 && disk.free < disk.total / 100 * DISK_PROBLEM_PERCENT {
            tell(
                format!("{name}:{} is nearly full", disk.path),
                format!("free some space; `orbit dedup {name}:{}` shows what is stored twice", disk.path),
            );
        }
    }
    problems
}

/// One token as the API shows it.
pub(crate) fn token_view(state: &GridState, token: &TokenRecord) -> TokenView {
    let now = now_ms();
    let shown = match () {
        () if token.expires_ms <= now => "expired",
        () if token.uses_left() == 0 => "used",
        () => "usable",
    };
    TokenView {
        id: token.id.to_string(),
        role: token.role.name().to_owned(),
        uses: token.uses,
        uses_left: token.uses_left(),
        state: shown.to_owned(),
        created_ms: token.created_ms,
        expires_ms: token.expires_ms,
        created_on: state
            .node(token.created_on)
            .map_or_else(|| token.created_on.to_string(), |node| node.name.clone()),
    }
}

/// One constellation as the API shows it.
pub(crate) fn constellation_view(state: &GridState, constellation: &Constellation) -> ConstellationView {
    let members = constellation.nodes.iter().filter_map(|id| state.node(*id));
    let mut nodes: Vec<String> = members.map(|record| record.name.clone()).collect();
    nodes.sort();
    ConstellationView { name: constellation.name.clone(), nodes }
}

/// The authorities, oldest first.
pub(crate) fn authority_views(state: &GridState) -> Vec<AuthorityView> {
    let view = |anchor: &Anchor| {
        let certificate = AuthorityCertificate::parse(&anchor.der).ok()?;
        let pin = certificate.pin();
        let members = state.nodes().filter(|record| record.certificate.authority == pin).count();
        Some(AuthorityView {
            pin: PeerKey::from_bytes(pin).to_string(),
            created_ms: anchor.created_ms,
            expires_ms: certificate.not_after_ms(),
            is_current: anchor.is_current,
            members: members as u32,
        })
    };
    state.anchors().iter().filter_map(view).collect()
}
