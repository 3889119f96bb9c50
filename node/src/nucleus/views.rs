//! What the API shows of the grid, made from its records, the registry, the group and the mesh.

use super::registry::{Registry, Sight};
use super::{Nucleus, voters};
use crate::api::types::{
    AuthorityView, CertificateView, ConstellationView, DiskView, LinkView, LoadView, MeteringView, NodeState,
    NodeView, Part, Problem, TokenView,
};
use crate::daemon::Node;
use crate::standalone::state::now_ms;
use orbit_consensus::steward::{self, Observed, WhyNot};
use orbit_consensus::{Group, Progress, Standing};
use orbit_core::grid::refusal::span;
use orbit_core::grid::{Anchor, Constellation, GridState, Liveness, NodeRecord, TokenRecord, Voting};
use orbit_core::ids::{NodeId, PeerKey};
use orbit_core::wire::pulse::{Load, Metering};
use orbit_mesh::net::{Direction, PeerLink};
use orbit_mesh::pki::AuthorityCertificate;
use std::collections::HashMap;
use std::sync::Arc;

/// Clocks that differ by more than this are a problem, milliseconds.
const CLOCK_PROBLEM_MS: i64 = 5_000;
/// Certificates that end sooner than this were not renewed as they should, milliseconds.
const EXPIRY_PROBLEM_MS: i64 = 14 * 86_400_000;
/// A disk with less free than this share of it is a problem, per cent.
const DISK_PROBLEM_PERCENT: u64 = 5;

/// Connections by the node at their other end.
type Links = HashMap<NodeId, PeerLink>;

/// Whose look at the grid it is: the Nucleus's, which hears everybody, or that of another member of the group, which
/// knows the records and little else.
pub(crate) struct Eyes {
    pub(crate) group: Group,
    pub(crate) standing: Standing,
    pub(crate) progress: Progress,
    pub(crate) nucleus: Option<Arc<Nucleus>>,
    links: Links,
    observed: Option<Observed>,
}

impl Eyes {
    /// The Nucleus's.
    pub(crate) fn of_nucleus(node: &Node, nucleus: &Arc<Nucleus>) -> Self {
        let observed = Some(nucleus.observed(node));
        Self { nucleus: Some(Arc::clone(nucleus)), observed, ..Self::of_member(node, nucleus.group()) }
    }

    /// Those of a member of the group that is not known to be the Nucleus.
    pub(crate) fn of_member(node: &Node, group: &Group) -> Self {
        Self {
            group: group.clone(),
            standing: group.standing().borrow().clone(),
            progress: group.progress(),
            nucleus: None,
            links: node.mesh.peers().into_iter().map(|link| (link.node, link)).collect(),
            observed: None,
        }
    }

    /// Looks at the grid's records.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&GridState) -> T) -> T {
        self.group.with(look)
    }

    fn registry(&self) -> Option<&Registry> {
        self.nucleus.as_ref().map(|nucleus| &nucleus.registry)
    }

    /// The node that acts as the Nucleus.
    pub(crate) fn acting(&self) -> Option<NodeId> {
        self.nucleus.as_ref().map(|nucleus| nucleus.own)
    }

    /// What a node does in the group.
    pub(crate) fn part(&self, id: NodeId) -> Part {
        match () {
            () if self.acting() == Some(id) => Part::Nucleus,
            () if self.standing.voters.contains(&id) => Part::Voter,
            () if self.standing.learners.contains(&id) => Part::Learner,
            () => Part::None,
        }
    }

    /// Why a node does not vote as one might expect. That as many vote as are wanted needs no explanation, unless somebody
    /// asked for its vote.
    pub(crate) fn vote_note(&self, record: &NodeRecord) -> Option<String> {
        let why = steward::why_not(self.observed.as_ref()?, record.id)?;
        let is_expected = matches!(why, WhyNot::Enough { .. } | WhyNot::Silent | WhyNot::JustHeard);
        let is_asked = record.voting != Voting::Auto;
        (is_asked || !is_expected).then(|| why.to_string())
    }
}

/// Whether a member of the group answered its leader lately.
pub(crate) fn answers(progress: &Progress, id: NodeId) -> bool {
    progress.answered.get(&id).is_some_and(|ago| *ago < voters::SILENT_AFTER)
}

/// One node as the API shows it.
pub(crate) fn node_view(eyes: &Eyes, state: &GridState, record: &NodeRecord) -> NodeView {
    let sight = eyes.registry().map(|registry| registry.sight(record.id));
    let (node_state, since_ms) = sight.as_ref().map_or((NodeState::Unknown, 0), shown);
    // One that was never heard is silent since it joined, not since before.
    let since_ms = since_ms.max(record.joined_ms);
    let link = eyes.links.get(&record.id);
    let certificate = &record.certificate;
    let sight = sight.as_ref();
    let load = sight.and_then(|sight| sight.load.as_ref());
    NodeView {
        id: record.id.to_string(),
        name: record.name.clone(),
        role: record.role.name().to_owned(),
        is_nucleus: eyes.acting() == Some(record.id),
        part: eyes.part(record.id),
        voting: record.voting.name().to_owned(),
        vote_note: eyes.vote_note(record),
        state: node_state,
        since_ms,
        is_draining: record.is_draining,
        last_seen_ms: sight.and_then(|sight| sight.last_seen_ms),
        joined_ms: record.joined_ms,
        version: shown_text(&record.profile.version),
        platform: shown_text(&record.profile.platform),
        peer: orbit_mesh::key::peer_id_of(&record.key).map_or_else(String::new, |peer| peer.to_string()),
        addresses: record.profile.addresses.iter().map(|text| shown_text(text)).collect(),
        link: link.map(|link| link_view(link, sight.and_then(|sight| sight.rtt_us))),
        load: load.map(load_view),
        allowed_paths: record.profile.allowed_paths.iter().map(|text| shown_text(text)).collect(),
        jobs: load.map_or(0, |load| load.jobs_running),
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
        metering: sight.map(|sight| metering_view(&sight.metering)).unwrap_or_default(),
        clock_ahead_ms: sight.and_then(|sight| sight.clock_ahead_ms),
    }
}

fn shown(sight: &Sight) -> (NodeState, i64) {
    match sight.liveness {
        Liveness::Ready { since_ms } => (NodeState::Ready, since_ms),
        Liveness::Suspect { since_ms } => (NodeState::Suspect, since_ms),
        Liveness::Lost { since_ms } => (NodeState::Lost, since_ms),
    }
}

fn link_view(link: &PeerLink, rtt_us: Option<u32>) -> LinkView {
    LinkView {
        kind: link.kind.to_string(),
        address: link.address.to_string(),
        direction: match link.direction {
            Direction::Outbound => "out",
            Direction::Inbound => "in",
        }
        .to_owned(),
        rtt_us,
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
pub(crate) fn node_views(eyes: &Eyes) -> Vec<NodeView> {
    let mut views: Vec<NodeView> =
        eyes.with(|state| state.nodes().map(|record| node_view(eyes, state, record)).collect());
    views.sort_by(|a, b| b.is_nucleus.cmp(&a.is_nucleus).then_with(|| a.name.cmp(&b.name)));
    views
}

/// What needs attention about one node.
pub(crate) fn problems_of(view: &NodeView) -> Vec<Problem> {
    let name = &view.name;
    let mut problems = Vec::new();
    let mut tell = |message: String, hint: String| problems.push(Problem { message, hint });
    let silent = span(now_ms() - view.since_ms);
    match view.state {
        NodeState::Ready | NodeState::Unknown => {}
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
