//! Constellations, and certificate authorities.

use super::format::harmless;
use super::json::write_line;
use super::screen::Screen;
use super::table::Rows;
use super::time::{ahead, date};
use orbit_node::api::types::{AuthorityView, ConstellationView};
use orbit_node::standalone::state::now_ms;
use serde_json::json;
use std::io;

/// The constellations.
pub fn constellations(screen: &Screen, found: &[ConstellationView]) -> io::Result<()> {
    if screen.json {
        return found.iter().try_for_each(|one| screen.out(|out| write_line(out, one)));
    }
    if found.is_empty() {
        return if screen.quiet { Ok(()) } else { screen.line("no constellations") };
    }
    screen.line(&constellation_table(found))
}

/// A constellation was made or changed.
pub fn constellation(screen: &Screen, changed: &ConstellationView) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, changed));
    }
    if screen.quiet { Ok(()) } else { screen.line(&harmless(&constellation_text(changed))) }
}

/// A constellation was removed.
pub fn removed(screen: &Screen, name: &str) -> io::Result<()> {
    if screen.json {
        return screen.out(|out| write_line(out, &json!({"event": "removed", "constellation": name})));
    }
    if screen.quiet {
        return Ok(());
    }
    screen.line(&format!("constellation {name} is removed; its nodes stay in the grid"))
}

/// The authorities.
pub fn authorities(screen: &Screen, found: &[AuthorityView]) -> io::Result<()> {
    if screen.json {
        return found.iter().try_for_each(|one| screen.out(|out| write_line(out, one)));
    }
    screen.line(&authority_table(found, now_ms()))
}

fn constellation_table(found: &[ConstellationView]) -> String {
    let mut rows = Rows::new(&["name", "nodes"]);
    for one in found {
        rows.push([
            one.name.clone(),
            if one.nodes.is_empty() { "–".to_owned() } else { one.nodes.join(" ") },
        ]);
    }
    rows.text()
}

fn constellation_text(one: &ConstellationView) -> String {
    if one.nodes.is_empty() {
        format!("constellation {} has no nodes", one.name)
    } else {
        format!("constellation {}: {}", one.name, one.nodes.join(" "))
    }
}

fn authority_table(found: &[AuthorityView], now_ms: i64) -> String {
    let mut rows = Rows::new(&["pin", "state", ">members", "made", "ends"]);
    for one in found {
        rows.push([
            // Enough to tell them apart; --json has all of it.
            one.pin.get(..16).unwrap_or(&one.pin).to_owned(),
            if one.is_current { "issues" } else { "trusted" }.to_owned(),
            one.members.to_string(),
            date(one.created_ms),
            ahead(one.expires_ms, now_ms),
        ]);
    }
    rows.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        const NOW_MS: i64 = 1_714_566_896_789;
        let group = |name: &str, nodes: &[&str]| ConstellationView {
            name: name.into(),
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        };
        let groups = [group("cellar", &["nas1", "nas2"]), group("empty", &[])];
        let authority = |pin: char, is_current, members| AuthorityView {
            pin: pin.to_string().repeat(64),
            created_ms: NOW_MS - 86_400_000,
            expires_ms: NOW_MS + 3650 * 86_400_000,
            is_current,
            members,
        };
        let authorities = [authority('a', false, 12), authority('b', true, 3)];
        let shown = [
            constellation_table(&groups),
            constellation_text(&groups[0]),
            constellation_text(&groups[1]),
            authority_table(&authorities, NOW_MS),
        ];
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
