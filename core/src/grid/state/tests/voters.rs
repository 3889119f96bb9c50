//! Votes, roles, sealed keys, contents, counters and epochs.

use super::super::bounds::{AUTHORITY_KEYS_MAX, CONTENTS_MAX, METERED_MAX, SEALED_LEN_MAX};
use super::*;
use crate::grid::{Content, Envelope, Metered};
use crate::wire::bytes::Octets;
use crate::wire::pulse::Metering;

pub(super) fn metered(node: NodeId, calls: u64) -> Metered {
    let total = Metering { calls, ..Metering::default() };
    Metered { node, total, counted: total }
}

/// The Nucleus `n1`, the star `s2` and the witness `w3`.
fn three() -> GridState {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "s2", Role::Star), 10)).expect("admitted");
    let witnesses = TokenRecord { role: Role::Witness, ..token(2, 1) };
    run(&mut state, &Command::CreateToken { token: witnesses }).expect("a token");
    let witness = node(3, "w3", Role::Star);
    let enrol = Command::Enrol { token: token_id(2), secret_hash: SECRET, node: witness, now_ms: 10 };
    run(&mut state, &enrol).expect("admitted");
    state
}

#[test]
fn a_person_says_who_should_vote() {
    let mut state = three();
    let vote = |byte, voting| Command::SetVoting { node: id(byte), voting };
    assert_eq!(run(&mut state, &vote(2, Voting::Auto)), Ok(0));
    assert_eq!(run(&mut state, &vote(2, Voting::Wanted)), Ok(1));
    assert_eq!(run(&mut state, &vote(3, Voting::Unwanted)), Ok(1));
    assert_eq!(state.node(id(2)).map(|node| node.voting), Some(Voting::Wanted));
    run(&mut state, &Command::Drain { node: id(3), is_draining: true }).expect("a member");
    assert_eq!(state.decide(&vote(3, Voting::Wanted)), Err(Refusal::Draining { name: "w3".to_owned() }));
    assert_eq!(run(&mut state, &vote(3, Voting::Auto)), Ok(1));
    let unknown = state.decide(&vote(9, Voting::Wanted));
    assert!(matches!(unknown, Err(Refusal::UnknownNode { .. })), "{unknown:?}");
}

#[test]
fn a_star_becomes_a_nucleus_and_a_witness_stays_one() {
    let mut state = three();
    let give = |byte, role| Command::SetRole { node: id(byte), role };
    assert_eq!(run(&mut state, &give(2, Role::Star)), Ok(0));
    assert_eq!(run(&mut state, &give(2, Role::Nucleus)), Ok(1));
    assert_eq!(run(&mut state, &give(1, Role::Star)), Ok(1), "there is another one");
    assert_eq!(state.decide(&give(2, Role::Star)), Err(Refusal::IsNucleus { name: "s2".to_owned() }));
    for (byte, wanted) in [(1, Role::Witness), (3, Role::Star), (3, Role::Nucleus)] {
        let refused = state.decide(&give(byte, wanted));
        assert!(matches!(refused, Err(Refusal::FixedRole { .. })), "{refused:?}");
    }
    assert!(matches!(state.decide(&give(9, Role::Nucleus)), Err(Refusal::UnknownNode { .. })));
}

#[test]
fn whoever_may_have_voted_does_not_join_anew_as_itself() {
    let mut state = three();
    let again = |byte| {
        let mut node = node(byte, "again", Role::Star);
        node.certificate = certificate(byte + 100, 20);
        enrol(node, 20)
    };
    assert_eq!(state.decide(&again(3)), Err(Refusal::MayVote { name: "w3".to_owned() }));
    assert!(state.decide(&again(2)).is_ok());
    run(&mut state, &Command::SetRole { node: id(2), role: Role::Nucleus }).expect("a star");
    assert_eq!(state.decide(&again(2)), Err(Refusal::MayVote { name: "s2".to_owned() }));
}

#[test]
fn sealed_keys_are_kept_by_their_pin() {
    let mut state = three();
    let keep = |pin, byte, len| Command::KeepAuthorityKey { pin: [pin; 32], sealed: Octets(vec![byte; len]) };
    assert_eq!(run(&mut state, &keep(1, 7, 60)), Ok(1));
    assert_eq!(run(&mut state, &keep(1, 7, 60)), Ok(0));
    assert_eq!(run(&mut state, &keep(1, 8, 60)), Ok(1), "sealed anew");
    assert_eq!(state.authority_key(&[1; 32]), Some([8; 60].as_slice()));
    for pin in 2..=AUTHORITY_KEYS_MAX as u8 {
        run(&mut state, &keep(pin, 7, SEALED_LEN_MAX)).expect("there is room");
    }
    for refused in [keep(99, 7, 60), keep(1, 7, 0), keep(1, 7, SEALED_LEN_MAX + 1)] {
        assert!(matches!(state.decide(&refused), Err(Refusal::OutOfRange { .. })), "{refused:?}");
    }
    assert_eq!(run(&mut state, &Command::ForgetAuthorityKey { pin: [1; 32] }), Ok(1));
    assert_eq!(run(&mut state, &Command::ForgetAuthorityKey { pin: [1; 32] }), Ok(0));
    assert_eq!(state.authority_key(&[1; 32]), None);
    assert_eq!(state.authority_pins().count(), AUTHORITY_KEYS_MAX - 1);
}

#[test]
fn counters_of_members_only_are_kept() {
    let state = three();
    let rows = vec![metered(id(2), 5), metered(id(9), 6)];
    assert_eq!(state.decide(&Command::Meter { rows }), Ok(vec![Change::Metered(metered(id(2), 5))]));
    let many = Command::Meter { rows: vec![metered(id(2), 5); METERED_MAX + 1] };
    assert!(matches!(state.decide(&many), Err(Refusal::OutOfRange { .. })));
}

#[test]
fn a_removed_node_stays_with_what_it_held_until_that_is_forgotten() {
    let mut state = three();
    let contents = vec![Content { root: [1; 32].into(), bytes: 5, chunks: 1 }];
    let record = Command::RecordContents { holder: id(2), contents: contents.clone() };
    assert_eq!(state.decide(&record), Ok(vec![Change::Contents { holder: id(2), contents }]));
    run(&mut state, &Command::Remove { node: id(2), now_ms: 20 }).expect("a star");
    let forgotten = state.decide(&Command::ForgetContents { holder: id(2) });
    assert_eq!(forgotten, Ok(vec![Change::ContentsForgotten(id(2))]));
    let many = vec![Content { root: [1; 32].into(), bytes: 5, chunks: 1 }; CONTENTS_MAX + 1];
    let many = Command::RecordContents { holder: id(1), contents: many };
    assert!(matches!(state.decide(&many), Err(Refusal::OutOfRange { .. })));
    assert_eq!(many.contents_change(), None);
}

#[test]
fn an_epoch_only_grows() {
    let mut state = three();
    let begin = |epoch| Command::BeginEpoch { epoch, now_ms: 20 };
    assert_eq!(run(&mut state, &begin(1)), Ok(0), "it is the first one's");
    assert_eq!(run(&mut state, &begin(733)), Ok(1));
    assert_eq!(state.header().map(|header| (header.epoch, header.created_ms)), Some((733, 0)));
    assert!(matches!(state.decide(&begin(732)), Err(Refusal::OutOfRange { .. })));
    assert_eq!(GridState::default().decide(&begin(2)), Err(Refusal::NotFounded));
}

#[test]
fn the_largest_commands_fit_an_envelope() {
    let most = |byte: u8| Content { root: [byte; 32].into(), bytes: u64::MAX, chunks: u32::MAX };
    let path = "p".repeat(bounds::PATH_LEN_MAX);
    let profile = Profile {
        allowed_paths: vec![path; bounds::ALLOWED_PATHS_MAX],
        addresses: vec!["a".repeat(bounds::ADDRESS_LEN_MAX); bounds::ADDRESSES_MAX],
        ..Profile::default()
    };
    let huge = Metering {
        since_ms: i64::MAX,
        calls: u64::MAX,
        refused: u64::MAX,
        entries_scanned: u64::MAX,
        bytes_hashed: u64::MAX,
        bytes_sent: u64::MAX,
        bytes_received: u64::MAX,
    };
    for command in [
        Command::RecordContents { holder: id(1), contents: vec![most(255); CONTENTS_MAX] },
        Command::Meter { rows: vec![Metered { node: id(1), total: huge, counted: huge }; METERED_MAX] },
        Command::AddToConstellation { name: "n".repeat(63), nodes: vec![id(1); bounds::NODES_MAX] },
        Command::Describe { node: id(1), profile },
        Command::CreateToken {
            token: TokenRecord { used_by: vec![[255; 32]; bounds::TOKEN_USES_MAX as usize], ..token(1, 1) },
        },
    ] {
        let envelope = Envelope::new(None, command);
        let bytes = envelope.encode();
        assert!(Envelope::decode(&bytes).is_ok_and(|read| read == envelope), "{} bytes", bytes.len());
    }
}
