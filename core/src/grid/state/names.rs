//! Names of nodes: making a wished one valid and free, and guessing which one was meant.

use super::GridState;
use crate::endpoint::{NODE_NAME_LEN_MAX, is_in_node_name, is_node_name};
use crate::ids::NodeId;
use crate::rel_path::display_name;

/// Farthest a name may be from what was written to be suggested.
const DISTANCE_MAX: usize = 2;
/// Characters of a wrong name that a refusal repeats.
const SHOWN_MAX: usize = 80;

/// How the text of every Ed25519 peer id of libp2p begins, and how long it is.
const PEER_ID_START: &str = "12D3KooW";
const PEER_ID_LEN: usize = 52;

/// Whether a node may be given this name: one that reads as an id or a key would name two nodes.
pub(super) fn is_valid(name: &str) -> bool {
    let is_key = name.len() == PEER_ID_LEN && name.starts_with(PEER_ID_START);
    is_node_name(name.as_bytes()) && name.parse::<NodeId>().is_err() && !is_key
}

/// Whether a name means another node than `id` already: as its name, or as the beginning of its id.
pub(super) fn is_taken(state: &GridState, name: &str, id: NodeId) -> bool {
    let by_name = state.by_name.get(&name.to_ascii_lowercase()).copied();
    by_name.or_else(|| state.id_that_begins(name)).is_some_and(|meant| meant != id)
}

/// The name most like the wished one that a node may have; `node-` and eight digits of its id if nothing is left of it.
fn made_valid(wished: &str, id: NodeId) -> String {
    let start = wished.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let mut name: String = start
        .chars()
        .take(NODE_NAME_LEN_MAX)
        .map(|c| if c.is_ascii() && is_in_node_name(c as u8) { c } else { '-' })
        .collect();
    name.truncate(name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
    if is_valid(&name) { name } else { format!("node-{}", &id.to_string()[..8]) }
}

/// A name for a new node that nobody has: the wished one, made valid, with a number if it is taken.
pub(super) fn free_name(state: &GridState, wished: &str, id: NodeId) -> String {
    let name = if is_valid(wished) { wished.to_owned() } else { made_valid(wished, id) };
    let numbered = (2_u32..).map(|number| {
        let number = format!("-{number}");
        let kept = name.len().min(NODE_NAME_LEN_MAX - number.len());
        format!("{}{number}", &name[..kept])
    });
    let is_free = |name: &String| is_valid(name) && !is_taken(state, name, id);
    std::iter::once(name.clone()).chain(numbered).find(is_free).expect("there are more numbers than nodes")
}

/// What somebody wrote, for people: not too long, and nothing that drives a terminal.
pub(super) fn shown(written: &str) -> String {
    let short: String = written.chars().take(SHOWN_MAX).collect();
    display_name(short.as_bytes()).into_owned()
}

/// The name that was probably meant: one that differs little, else one that begins like it.
pub(super) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let written = written.to_ascii_lowercase();
    if !(2..=NODE_NAME_LEN_MAX).contains(&written.len()) {
        return None;
    }
    let far = DISTANCE_MAX.min(written.len() / 2);
    let rank = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let begins = lower.starts_with(&written) || (lower.len() >= 2 && written.starts_with(&lower));
        distance(written.as_bytes(), lower.as_bytes(), far).or(begins.then_some(DISTANCE_MAX + 1))
    };
    names.filter_map(|name| Some((rank(name)?, name))).min().map(|(_, name)| name.to_owned())
}

/// Edits that turn one into the other, if they are at most `max`. (Levenshtein 1966; rows of the usual table.)
fn distance(a: &[u8], b: &[u8], max: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > max {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
        if row.iter().all(|&edits| edits > max) {
            return None;
        }
    }
    row.last().copied().filter(|&edits| edits <= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: NodeId = NodeId::from_bytes([0xab; 16]);

    #[test]
    fn wished_names_become_valid() {
        for (wished, made) in [
            ("nas2", "nas2"),
            ("nas2.fritz.box", "nas2.fritz.box"),
            ("Familie Müller", "Familie-M-ller"),
            ("-nas-", "nas"),
            ("a", "node-abababab"),
            ("", "node-abababab"),
            ("日本", "node-abababab"),
            ("0123456789abcdef0123456789abcdef", "node-abababab"),
        ] {
            assert_eq!(free_name(&GridState::default(), wished, ID), made, "{wished}");
        }
        assert_eq!(free_name(&GridState::default(), &"n".repeat(80), ID), "n".repeat(63));
    }

    #[test]
    fn the_name_that_was_meant() {
        let names = ["nas2", "nas20", "backup", "laptop", "Pi"];
        let meant = |written| nearest(written, names.into_iter());
        for (written, name) in [
            ("nas3", "nas2"),
            ("nsa2", "nas2"),
            ("NAS21", "nas2"),
            ("back", "backup"),
            ("laptop-of-anna", "laptop"),
            ("pj", "Pi"),
        ] {
            assert_eq!(meant(written).as_deref(), Some(name), "{written}");
        }
        for written in ["", "x", "zz", "quite-another", &"n".repeat(100)] {
            assert_eq!(meant(written), None, "{written}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(distance(b"kitten", b"sitting", 2), None);
        assert_eq!(distance(b"", b"ab", 2), Some(2));
    }

    proptest! {
        #[test]
        fn any_wish_becomes_a_name(wished in "\\PC{0,90}") {
            prop_assert!(is_valid(&free_name(&GridState::default(), &wished, ID)));
            prop_assert!(!shown(&wished).chars().any(char::is_control));
            let _ = nearest(&wished, ["nas2"].into_iter());
        }
    }
}
