//! A lease ends before anybody may turn to another.

use super::{HEARTBEAT_MAX, HEARTBEAT_MIN, Pace};
use crate::types::Voter;
use orbit_core::ids::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, advance};

fn voter(number: u8) -> Voter {
    Voter(NodeId::from_bytes([number; 16]))
}

fn three() -> Vec<BTreeSet<Voter>> {
    vec![(1..=3).map(voter).collect()]
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_before_the_silence_does() {
    for told in [HEARTBEAT_MIN, Duration::from_millis(170), HEARTBEAT_MAX] {
        let (leader, follower) = (Pace::new(), Pace::new());
        let sent = Instant::now();
        // The message takes a while, and is heard after it was sent.
        advance(told / 4).await;
        drop(follower.hear(told));
        leader.note_answer(voter(2), 1, sent, told, true);
        assert!(leader.holds_lease(voter(1), 1, &three()));
        // The leader slows down at once: what it told before is what counts.
        leader.note_answer(voter(3), 1, sent - Duration::from_mins(1), HEARTBEAT_MAX, true);
        while !follower.is_silent() {
            advance(Duration::from_millis(1)).await;
        }
        assert!(!leader.holds_lease(voter(1), 1, &three()), "told {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_another_term_are_no_answers() {
    let pace = Pace::new();
    pace.note_answer(voter(2), 4, Instant::now(), HEARTBEAT_MIN, true);
    assert!(pace.holds_lease(voter(1), 4, &three()));
    assert!(!pace.holds_lease(voter(1), 5, &three()));
    pace.note_answer(voter(2), 5, Instant::now(), HEARTBEAT_MIN, true);
    pace.note_answer(voter(3), 4, Instant::now(), HEARTBEAT_MIN, true);
    assert_eq!(pace.answered().len(), 1, "a late answer of an older term");
}

#[tokio::test(start_paused = true)]
async fn both_sets_of_a_change_must_answer() {
    let pace = Pace::new();
    let change = vec![[1, 2, 3].map(voter).into(), [1, 4, 5].map(voter).into()];
    pace.note_answer(voter(2), 1, Instant::now(), HEARTBEAT_MIN, true);
    assert!(!pace.holds_lease(voter(1), 1, &change));
    pace.note_answer(voter(5), 1, Instant::now(), HEARTBEAT_MIN, true);
    assert!(pace.holds_lease(voter(1), 1, &change));
    assert!(pace.holds_lease(voter(1), 1, &[[1].map(voter).into()]), "alone it always answers");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_away_is_gone_for_the_term() {
    let pace = Pace::new();
    pace.note_answer(voter(2), 1, Instant::now(), HEARTBEAT_MIN, true);
    pace.give_away(1);
    pace.note_answer(voter(2), 1, Instant::now(), HEARTBEAT_MIN, true);
    assert!(!pace.holds_lease(voter(1), 1, &three()));
    pace.note_answer(voter(2), 2, Instant::now(), HEARTBEAT_MIN, true);
    assert!(pace.holds_lease(voter(1), 2, &three()));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_just_started_is_bound_by_what_it_may_have_answered_before() {
    let pace = Pace::new();
    advance(HEARTBEAT_MAX * 2).await;
    assert!(pace.is_silent());
    let pace = Pace::new();
    advance(HEARTBEAT_MAX).await;
    assert!(!pace.is_silent(), "a leader that it answered before it was started may rely on it still");
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_not_silent_while_its_message_is_worked_on() {
    let pace = Pace::new();
    let hearing = pace.hear(HEARTBEAT_MIN);
    advance(Duration::from_mins(1)).await;
    assert!(!pace.is_silent());
    drop(hearing);
    assert!(!pace.is_silent());
    advance(HEARTBEAT_MIN * 3).await;
    assert!(pace.is_silent());
}

#[tokio::test(start_paused = true)]
async fn heartbeats_follow_the_slowest_round_trip() {
    let pace = Pace::new();
    assert_eq!(pace.choose_heartbeat(), HEARTBEAT_MIN);
    let sent = Instant::now();
    advance(Duration::from_millis(80)).await;
    pace.note_answer(voter(2), 1, sent, HEARTBEAT_MIN, true);
    assert_eq!(pace.choose_heartbeat(), Duration::from_millis(240));
    advance(Duration::from_secs(11)).await;
    pace.note_answer(voter(2), 1, Instant::now(), HEARTBEAT_MIN, true);
    assert_eq!(pace.choose_heartbeat(), HEARTBEAT_MIN);
}
