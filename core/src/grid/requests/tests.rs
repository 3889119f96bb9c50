use super::*;
use crate::grid::Refusal;
use crate::grid::record::{Anchor, Metered};
use crate::ids::NodeId;
use crate::wire::pulse::Metering;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn request(number: u32) -> RequestId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    RequestId::from_bytes(bytes)
}

fn gone(number: u8) -> Change {
    Change::NodeRemoved(NodeId::from_bytes([number; 16]))
}

#[test]
fn the_oldest_are_forgotten() {
    let mut recent = RecentRequests::default();
    for number in 0..REQUESTS_MAX as u32 {
        assert_eq!(recent.insert(u64::from(number / 2), request(number), Ok(vec![gone(1)])), []);
    }
    let (newest, at) = (request(u32::MAX), REQUESTS_MAX as u64);
    assert_eq!(recent.insert(at, newest, Err(Refusal::NotFounded)), [request(0)]);
    assert_eq!(recent.get(&request(0)), None);
    assert_eq!(recent.get(&newest), Some(&Err(Refusal::NotFounded)));
    assert_eq!(recent.insert(at + 1, request(5), Ok(Vec::new())), [], "it is known");
    assert_eq!(recent.get(&request(5)), Some(&Ok(vec![gone(1)])), "and keeps its first answer");
    assert_eq!(recent.len(), REQUESTS_MAX);
}

#[test]
fn large_outcomes_make_room_for_themselves() {
    let anchors = || {
        let anchor =
            Anchor { der: vec![0; 1 << 20], cross_signed: Vec::new(), created_ms: 0, is_current: true };
        Ok(vec![Change::Anchors(vec![anchor])])
    };
    let mut recent = RecentRequests::default();
    for number in 0..7 {
        assert_eq!(recent.insert(u64::from(number), request(number), anchors()), []);
    }
    assert_eq!(recent.insert(7, request(7), anchors()), [request(0)]);
    let everything = Ok(vec![Change::Anchors(vec![
        Anchor {
            der: vec![0; 9 << 20],
            cross_signed: Vec::new(),
            created_ms: 0,
            is_current: true
        };
        1
    ])]);
    recent.insert(8, request(8), everything);
    assert_eq!(recent.len(), 1, "the newest stays");
}

#[test]
fn tables_that_nobody_asks_for_twice_are_left_out() {
    let node = NodeId::from_bytes([1; 16]);
    let row = Metered { node, total: Metering::default(), counted: Metering::default() };
    let mut recent = RecentRequests::default();
    let contents = Change::Contents { holder: node, contents: Vec::new() };
    recent.insert(1, request(1), Ok(vec![Change::Metered(row), gone(2), contents]));
    assert_eq!(recent.get(&request(1)), Some(&Ok(vec![gone(2)])));
}

proptest! {
    /// One that was restarted anywhere on the way remembers what one remembers that never was.
    #[test]
    fn a_restart_changes_nothing(
        inserted in prop::collection::vec((0..4_u64, any::<u16>()), 1..1500),
        restart_at in any::<prop::sample::Index>(),
    ) {
        let (mut steady, mut restarted) = (RecentRequests::default(), RecentRequests::default());
        let mut stored = BTreeSet::new();
        let mut index = 0;
        let restart_at = restart_at.index(inserted.len());
        for (at, (step, number)) in inserted.into_iter().enumerate() {
            index += step;
            let id = request(u32::from(number));
            let forgotten = steady.insert(index, id, Ok(vec![gone(step as u8)]));
            prop_assert_eq!(&restarted.insert(index, id, Ok(vec![gone(step as u8)])), &forgotten);
            if steady.get(&id).is_some() {
                stored.insert(id);
            }
            for id in &forgotten {
                stored.remove(id);
            }
            if at == restart_at {
                let rows: Vec<_> = restarted.iter().map(|(index, id, outcome)| (index, id, outcome.clone())).collect();
                restarted = rows.into_iter().rev().collect();
            }
        }
        prop_assert_eq!(&steady, &restarted);
        prop_assert!(steady.len() <= REQUESTS_MAX);
        prop_assert_eq!(steady.iter().map(|(_, id, _)| id).collect::<BTreeSet<_>>(), stored);
    }
}
