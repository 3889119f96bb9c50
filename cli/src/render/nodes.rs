//! Nodes: a table of all, and a page of one.

use super::format::{bytes, count, harmless};
use super::json::write_line;
use super::screen::Screen;
use super::table::{Page, Rows};
use super::time::{ago, ahead, date, round_trip};
use orbit_core::grid::refusal::span;
use orbit_node::api::types::{DiskView, LoadView, NodeChanged, NodeState, NodeView, Part};
use orbit_node::standalone::state::now_ms;
use serde_json::json;
use std::io;

/// Clocks that differ by less than this agree.
const CLOCK_TOLERANCE_MS: i64 = 2_000;
/// What is not known.
const UNKNOWN: &str = "–";

/// All nodes.
pub fn list(screen: &Screen, nodes: &[NodeView]) -> io::Result<()> {
    if screen.json {
        return nodes.iter().try_for_each(|node| screen.out(|out| write_line(out, node)));
    }
    screen.line(&table(nodes, now_ms()))
}

/// One node.
pub fn page(screen: &Screen, node: &NodeView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, node));
    }
    screen.line(&page_text(node, now_ms()))
}

/// A node is another one than before, in a way that `told` tells.
pub fn changed(screen: &Screen, changed: &NodeChanged, told: &[String]) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, changed));
    }
    if screen.quiet {
        return Ok(());
    }
    told.iter().try_for_each(|line| screen.line(&harmless(line)))
}

/// A node was removed.
pub fn removed(screen: &Screen, node: &NodeView) -> io::Result<()> {
    if screen.json {
        let line = json!({"event": "removed", "node": node.name, "id": node.id});
        return screen.out(|out| write_line(out, &line));
    }
    if screen.quiet {
        return Ok(());
    }
    screen.line(&format!("{} is removed from the grid; what lies on its disks stays", node.name))
}

fn table(nodes: &[NodeView], now_ms: i64) -> String {
    let headings = [
        "name", "state", "role", "link", ">rtt", ">cpu", ">mem", ">disk", ">free", ">jobs", "version", "seen",
    ];
    let mut rows = Rows::new(&headings);
    for node in nodes {
        let load = node.load.as_ref();
        let disks = load.map(|load| distinct(&load.disks)).unwrap_or_default();
        let sum = |size: fn(&DiskView) -> u64| match disks.len() {
            0 => UNKNOWN.to_owned(),
            _ => bytes(disks.iter().map(|disk| size(disk)).sum()),
        };
        rows.push([
            node.name.clone(),
            state(node),
            role(node),
            node.link.as_ref().map_or_else(|| UNKNOWN.to_owned(), |link| link.kind.clone()),
            node.link.as_ref().and_then(|link| link.rtt_us).map_or_else(|| UNKNOWN.to_owned(), round_trip),
            load.map_or_else(|| UNKNOWN.to_owned(), |load| format!("{:.0} %", load.cpu_percent)),
            load.map_or_else(|| UNKNOWN.to_owned(), |load| format!("{} %", memory_percent(load))),
            sum(|disk| disk.total),
            sum(|disk| disk.free),
            node.jobs.to_string(),
            node.version.clone(),
            seen(node, now_ms),
        ]);
    }
    rows.text()
}

/// Allowed paths on one disk show it several times.
fn distinct(disks: &[DiskView]) -> Vec<&DiskView> {
    let mut found: Vec<&DiskView> = Vec::new();
    for disk in disks {
        if !found.iter().any(|other| (other.total, other.free) == (disk.total, disk.free)) {
            found.push(disk);
        }
    }
    found
}

const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Suspect => "suspect",
        NodeState::Lost => "lost",
        NodeState::Unknown => "unknown",
    }
}

fn state(node: &NodeView) -> String {
    let state = state_name(node.state);
    if node.is_draining { format!("{state}, draining") } else { state.to_owned() }
}

/// What it does in electing the Nucleus; of those that have no part in it, what they are for.
fn role(node: &NodeView) -> String {
    let is_witness = node.role == "witness";
    let part = match node.part {
        Part::Nucleus => "NUCLEUS",
        Part::Voter => "voter",
        Part::Learner => "learner",
        // Whoever may lead and has no part in it works as a star.
        Part::None if is_witness => return "witness".to_owned(),
        Part::None => return "star".to_owned(),
    };
    if is_witness { format!("{part}, witness") } else { part.to_owned() }
}

/// The same at more length.
fn role_text(node: &NodeView) -> String {
    let mut text = match node.part {
        Part::Nucleus => "the Nucleus".to_owned(),
        Part::Voter => "votes in electing the Nucleus".to_owned(),
        Part::Learner => "holds the Nucleus's data, and does not vote".to_owned(),
        Part::None if node.role == "witness" => "witness".to_owned(),
        Part::None => "star".to_owned(),
    };
    if node.part != Part::None && node.role == "witness" {
        text.push_str("; a witness: holds no files");
    }
    text
}

/// What was asked of its vote, and why it is not, or not yet, as one might expect.
fn vote(node: &NodeView) -> String {
    let asked = match node.voting.as_str() {
        "wanted" => Some("promoted"),
        "unwanted" => Some("demoted"),
        _ => None,
    };
    let parts = asked.map(str::to_owned).into_iter().chain(node.vote_note.clone());
    parts.collect::<Vec<_>>().join("; ")
}

fn seen(node: &NodeView, now_ms: i64) -> String {
    if node.state == NodeState::Unknown {
        return UNKNOWN.to_owned();
    }
    node.last_seen_ms.map_or_else(|| "not yet".to_owned(), |seen| ago(seen, now_ms))
}

fn memory_used(load: &LoadView) -> u64 {
    load.memory_total.saturating_sub(load.memory_available)
}

fn memory_percent(load: &LoadView) -> u64 {
    memory_used(load).saturating_mul(100).checked_div(load.memory_total).unwrap_or(0)
}

fn page_text(node: &NodeView, now_ms: i64) -> String {
    let mut page = Page::default();
    page.push("node", &*node.name);
    page.push("role", role_text(node));
    page.push("vote", vote(node));
    let since = span(now_ms.saturating_sub(node.since_ms));
    let draining = if node.is_draining { "; draining: it gets no new work" } else { "" };
    let state = match node.state {
        NodeState::Unknown => "unknown: there is no Nucleus to tell".to_owned(),
        state => format!("{} for {since}", state_name(state)),
    };
    page.push("state", state + draining);
    page.push(
        "seen",
        node.last_seen_ms
            .map_or_else(|| "not since the Nucleus started".to_owned(), |seen| ago(seen, now_ms)),
    );
    page.push("id", &*node.id);
    page.push("key", &*node.peer);
    page.push("version", [&*node.version, &node.platform].join(" on "));
    page.push("joined", format!("{} ({})", date(node.joined_ms), ago(node.joined_ms, now_ms)));
    page.push("link", link(node));
    page.push("addresses", node.addresses.join("\n"));
    page.push("allowed", allowed(node));
    if let Some(load) = &node.load {
        page.push("load", load_text(load));
    }
    page.push("jobs", count(node.jobs.into()));
    page.push("constellations", node.constellations.join(" "));
    let certificate = &node.certificate;
    let (until, left) = (date(certificate.expires_ms), ahead(certificate.expires_ms, now_ms));
    page.push("certificate", format!("ends {until} ({left}), serial {}", certificate.serial));
    page.push("clock", clock(node.clock_ahead_ms));
    page.push("done so far", metering(node));
    page.text()
}

fn link(node: &NodeView) -> String {
    let Some(link) = &node.link else {
        return if node.is_nucleus {
            String::new()
        } else {
            "none: it is not connected to the Nucleus".to_owned()
        };
    };
    let side = if link.direction == "out" { "dialled by the Nucleus" } else { "dialled by the node" };
    let trip = link.rtt_us.map_or_else(String::new, |micros| format!(", round trip {}", round_trip(micros)));
    format!("{} at {}, {side}{trip}", link.kind, link.address)
}

fn allowed(node: &NodeView) -> String {
    if node.allowed_paths.is_empty() {
        return "nothing: it holds no files for the grid".to_owned();
    }
    let disks = node.load.as_ref().map_or(&[][..], |load| &load.disks);
    let shown = |path: &String| match disks.iter().find(|disk| disk.path == *path) {
        Some(disk) => format!("{path}  ({} of {} free)", bytes(disk.free), bytes(disk.total)),
        None => path.clone(),
    };
    node.allowed_paths.iter().map(shown).collect::<Vec<_>>().join("\n")
}

fn load_text(load: &LoadView) -> String {
    format!(
        "processor {:.0} % of {} cores; memory {} of {} used, {} of it by the node; answers {} calls",
        load.cpu_percent,
        load.cores,
        bytes(memory_used(load)),
        bytes(load.memory_total),
        bytes(load.memory_own),
        count(load.calls_running.into())
    )
}

fn clock(ahead_ms: Option<i64>) -> String {
    match ahead_ms {
        None => String::new(),
        Some(ahead) if ahead.abs() < CLOCK_TOLERANCE_MS => "agrees with the Nucleus's".to_owned(),
        Some(ahead) if ahead > 0 => format!("{} ahead of the Nucleus's", span(ahead)),
        Some(ahead) => format!("{} behind the Nucleus's", span(ahead.saturating_abs())),
    }
}

fn metering(node: &NodeView) -> String {
    let done = &node.metering;
    format!(
        "{} calls, {} refused; {} entries listed, {} hashed; {} sent, {} received",
        count(done.calls),
        count(done.refused),
        count(done.entries_scanned),
        bytes(done.bytes_hashed),
        bytes(done.bytes_sent),
        bytes(done.bytes_received)
    )
}

#[cfg(test)]
mod tests;
