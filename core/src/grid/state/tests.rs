mod random;
mod voters;

use super::bounds::{CONSTELLATIONS_MAX, SUPERSEDED_MAX, TOKENS_MAX};
use super::*;
use crate::grid::record::{CertificateRecord, Profile, Role, Voting};
use crate::grid::{Command, Refusal};
use crate::ids::GridId;

const DAY: i64 = 86_400_000;
const SECRET: [u8; 32] = [9; 32];

pub(super) fn id(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 16])
}

fn token_id(byte: u8) -> TokenId {
    TokenId::from_bytes([byte; 6])
}

fn certificate(serial: u8, now_ms: i64) -> CertificateRecord {
    CertificateRecord {
        serial: Serial::from_bytes([serial; 16]),
        request_hash: [serial; 32],
        authority: [1; 32],
        der: vec![serial; 8],
        not_before_ms: now_ms,
        not_after_ms: now_ms + 90 * DAY,
    }
}

/// A node whose id, key, serial number and request all come from one byte.
pub(super) fn node(byte: u8, name: &str, role: Role) -> NodeRecord {
    NodeRecord {
        id: id(byte),
        name: name.to_owned(),
        key: PeerKey::from_bytes([byte; 32]),
        role,
        joined_ms: 0,
        is_draining: false,
        voting: Voting::Auto,
        certificate: certificate(byte, 0),
        profile: Profile::default(),
    }
}

fn token(byte: u8, uses: u32) -> TokenRecord {
    TokenRecord {
        id: token_id(byte),
        secret_hash: SECRET,
        authority: [1; 32],
        role: Role::Star,
        uses,
        used_by: Vec::new(),
        created_ms: 0,
        expires_ms: 3_600_000,
        created_on: id(1),
    }
}

fn anchor(byte: u8) -> Anchor {
    Anchor { der: vec![byte; 4], cross_signed: vec![byte; 5], created_ms: i64::from(byte), is_current: true }
}

pub(super) fn run(state: &mut GridState, command: &Command) -> Result<usize, Refusal> {
    let changes = state.decide(command)?;
    let count = changes.len();
    for change in changes {
        state.absorb(change);
    }
    Ok(count)
}

/// A grid with the Nucleus `n1` and a token that admits three.
pub(super) fn founded() -> GridState {
    let mut state = GridState::default();
    let header =
        GridHeader { id: GridId::from_bytes([1; 16]), name: "home".to_owned(), epoch: 1, created_ms: 0 };
    let found = Command::Found { header, anchor: anchor(1), node: node(1, "n1", Role::Nucleus) };
    run(&mut state, &found).expect("the first time");
    run(&mut state, &Command::CreateToken { token: token(1, 3) }).expect("a token");
    state
}

pub(super) fn enrol(node: NodeRecord, now_ms: i64) -> Command {
    Command::Enrol { token: token_id(1), secret_hash: SECRET, node, now_ms }
}

fn uses_left(state: &GridState) -> u32 {
    state.token(token_id(1)).expect("the token").uses_left()
}

#[test]
fn a_grid_is_founded_once() {
    let state = founded();
    let header = state.header().expect("founded").clone();
    let again = Command::Found { header, anchor: anchor(1), node: node(2, "n2", Role::Nucleus) };
    assert_eq!(state.decide(&again), Err(Refusal::AlreadyFounded));
    let early = Command::CreateToken { token: token(1, 1) };
    assert_eq!(GridState::default().decide(&early), Err(Refusal::NotFounded));
}

#[test]
fn a_token_admits_as_many_as_it_says() {
    let mut state = founded();
    for byte in 2..=4 {
        run(&mut state, &enrol(node(byte, "star", Role::Nucleus), 10)).expect("a use is left");
    }
    let names: Vec<_> = state.nodes().map(|node| (node.name.as_str(), node.role, node.joined_ms)).collect();
    let star = |name| (name, Role::Star, 10);
    assert_eq!(
        names[1..],
        [star("star"), star("star-2"), star("star-3")],
        "the token's role, and free names"
    );
    let fourth = state.decide(&enrol(node(5, "star", Role::Star), 10));
    assert_eq!(fourth, Err(Refusal::TokenUsed { token: token_id(1), uses: 3 }));
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut state = founded();
    let ask = |now_ms| enrol(node(2, "nas2", Role::Star), now_ms);
    assert_eq!(run(&mut state, &ask(10)), Ok(2));
    assert_eq!(run(&mut state, &ask(10 + DAY)), Ok(0), "even when the token has ended");
    assert_eq!(uses_left(&state), 2);
    assert_eq!(state.node_by_key(PeerKey::from_bytes([2; 32])).map(|node| node.id), Some(id(2)));
    // When its certificate has ended too, the answer would be of no use.
    assert!(matches!(state.decide(&ask(91 * DAY)), Err(Refusal::TokenExpired { .. })));
}

#[test]
fn a_wrong_secret_learns_nothing() {
    let mut state = founded();
    for byte in 2..=4 {
        run(&mut state, &enrol(node(byte, "star", Role::Star), 10)).expect("a use is left");
    }
    // Used up, expired, or asked before: without the secret all are alike.
    for (byte, now_ms) in [(5, 10), (5, DAY), (2, 10)] {
        let node = node(byte, "star", Role::Star);
        let wrong = Command::Enrol { token: token_id(1), secret_hash: [8; 32], node, now_ms };
        assert_eq!(state.decide(&wrong), Err(Refusal::TokenWrong { token: token_id(1) }));
    }
    let unknown = enrol(node(5, "star", Role::Star), 10);
    let Command::Enrol { secret_hash, node, now_ms, .. } = unknown else { unreachable!("just made") };
    let unknown = Command::Enrol { token: token_id(7), secret_hash, node, now_ms };
    assert_eq!(state.decide(&unknown), Err(Refusal::TokenUnknown { token: token_id(7) }));
}

#[test]
fn an_expired_token_says_since_when() {
    let state = founded();
    let late = state.decide(&enrol(node(2, "nas2", Role::Star), 3_600_000 + 90_000));
    assert_eq!(late, Err(Refusal::TokenExpired { token: token_id(1), ago_ms: 90_000 }));
    assert!(state.decide(&enrol(node(2, "nas2", Role::Star), 3_599_999)).is_ok());
}

#[test]
fn a_member_that_joins_again_stays_itself() {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "nas2", Role::Star), 10)).expect("admitted");
    run(&mut state, &Command::Renew { node: id(2), certificate: certificate(20, 20) }).expect("renewed");
    let mut again = node(2, "other", Role::Star);
    again.certificate = certificate(22, 30);
    run(&mut state, &enrol(again.clone(), 30)).expect("with a valid token");
    let record = state.node(id(2)).expect("the same node");
    assert_eq!((record.name.as_str(), record.joined_ms), ("nas2", 10));
    assert_eq!(record.certificate, certificate(22, 30));
    let revoked: Vec<_> = state.revoked().collect();
    assert_eq!(revoked, [2, 20].map(|byte| Serial::from_bytes([byte; 16])), "all that it had");
    assert_eq!(uses_left(&state), 1);
    // A certificate that names another id is not kept for this key.
    again.id = id(3);
    again.certificate = certificate(23, 30);
    assert_eq!(state.decide(&enrol(again, 30)), Err(Refusal::TooMany { retry_after_s: 1 }));
    let mut nucleus = node(1, "n1", Role::Star);
    nucleus.certificate = certificate(24, 30);
    assert_eq!(state.decide(&enrol(nucleus, 30)), Err(Refusal::MayVote { name: "n1".to_owned() }));
}

#[test]
fn removing_revokes_all_it_has() {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "nas2", Role::Star), 10)).expect("admitted");
    run(&mut state, &Command::Renew { node: id(2), certificate: certificate(20, 20) }).expect("renewed");
    run(&mut state, &Command::CreateConstellation { name: "backup".to_owned() }).expect("new");
    let add = Command::AddToConstellation { name: "backup".to_owned(), nodes: vec![id(1), id(2)] };
    run(&mut state, &add).expect("both are members");
    assert_eq!(run(&mut state, &add), Ok(0), "they are in it already");
    assert_eq!(state.revoked().count(), 0);
    run(&mut state, &Command::Remove { node: id(2), now_ms: 30 }).expect("a star");
    assert_eq!(state.revoked().collect::<Vec<_>>(), [2, 20].map(|byte| Serial::from_bytes([byte; 16])));
    assert!(state.superseded.is_empty());
    let backup = state.find_constellation("backup").expect("it stays");
    assert_eq!(backup.nodes.iter().copied().collect::<Vec<_>>(), [id(1)]);
    // The same request again is a new node, and costs a use.
    let mut again = node(3, "nas2", Role::Star);
    again.certificate.request_hash = [2; 32];
    again.key = PeerKey::from_bytes([2; 32]);
    run(&mut state, &enrol(again, 40)).expect("a use is left");
    assert_eq!(uses_left(&state), 1);
}

#[test]
fn the_nucleus_goes_last() {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "nas2", Role::Star), 10)).expect("admitted");
    let remove = |byte| Command::Remove { node: id(byte), now_ms: 30 };
    assert_eq!(state.decide(&remove(1)), Err(Refusal::IsNucleus { name: "n1".to_owned() }));
    let role = |byte, role| Command::SetRole { node: id(byte), role };
    assert_eq!(state.decide(&role(1, Role::Star)), Err(Refusal::IsNucleus { name: "n1".to_owned() }));
    run(&mut state, &role(2, Role::Nucleus)).expect("a star");
    run(&mut state, &remove(1)).expect("there is another one");
    run(&mut state, &remove(2)).expect("nobody is left");
    assert_eq!(state.nodes().count(), 0);
}

#[test]
fn names_are_unique_whatever_their_case() {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "NAS2", Role::Star), 10)).expect("admitted");
    run(&mut state, &enrol(node(3, "nas2", Role::Star), 10)).expect("admitted");
    let rename = |byte, name: &str| Command::Rename { node: id(byte), name: name.to_owned() };
    assert_eq!(state.node(id(3)).expect("admitted").name, "nas2-2");
    assert_eq!(state.decide(&rename(3, "Nas2")), Err(Refusal::NameTaken { name: "Nas2".to_owned() }));
    for bad in ["", "a", "-a", "a b", "näs", &id(1).to_string(), &"n".repeat(64)] {
        assert_eq!(state.decide(&rename(3, bad)), Err(Refusal::BadName { name: bad.to_owned() }));
    }
    let of_another = rename(2, "01010101");
    assert!(matches!(state.decide(&of_another), Err(Refusal::NameTaken { .. })), "n1's id begins so");
    assert_eq!(run(&mut state, &rename(2, "nas2")), Ok(1), "only the case changes");
    assert_eq!(run(&mut state, &rename(2, "nas2")), Ok(0));
    run(&mut state, &rename(2, "attic")).expect("a new name");
    run(&mut state, &rename(3, "nas2")).expect("it is free again");
}

#[test]
fn nodes_are_found_by_what_people_write() {
    let mut state = founded();
    let mut other = node(2, "nas2", Role::Star);
    let mut bytes = [0xab; 16];
    bytes[0] = 0x1c;
    other.id = NodeId::from_bytes(bytes);
    run(&mut state, &enrol(other, 10)).expect("admitted");
    for written in
        ["nas2", "NAS2", "1cababab", "1CABABAB", "1cababab-abab", &NodeId::from_bytes(bytes).to_string()]
    {
        assert_eq!(state.find_node(written).map(|node| node.name.as_str()), Ok("nas2"), "{written}");
    }
    let unknown = |name: &str, nearest: Option<&str>| {
        let nearest = nearest.map(str::to_owned);
        Err(Refusal::UnknownNode { name: name.to_owned(), nearest })
    };
    assert_eq!(state.find_node("nas3").cloned(), unknown("nas3", Some("nas2")));
    assert_eq!(state.find_node("1cababa").cloned(), unknown("1cababa", None), "seven digits are too few");
    assert_eq!(state.find_node("a\u{1b}[2J").cloned(), unknown("a\\x1b[2J", None));
}

#[test]
fn authorities_follow_each_other() {
    let mut state = founded();
    let rotate = |byte| Command::RotateAuthority { anchor: anchor(byte) };
    for byte in 2..=4 {
        run(&mut state, &rotate(byte)).expect("a new one");
    }
    assert_eq!(run(&mut state, &rotate(4)), Ok(0), "it is the current one");
    assert!(matches!(state.decide(&rotate(3)), Err(Refusal::OutOfRange { .. })));
    assert!(matches!(state.decide(&rotate(5)), Err(Refusal::OutOfRange { .. })), "four are enough");
    let current: Vec<_> = state.anchors().iter().map(|anchor| anchor.is_current).collect();
    assert_eq!(current, [false, false, false, true]);
    let tidy = |retired| Command::Tidy { now_ms: 0, retired };
    assert!(matches!(state.decide(&tidy(vec![anchor(4)])), Err(Refusal::OutOfRange { .. })));
    assert_eq!(run(&mut state, &tidy(vec![anchor(1), anchor(3), anchor(9)])), Ok(1));
    assert_eq!(state.anchors().iter().map(|anchor| anchor.der[0]).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn tidying_forgets_what_has_ended() {
    let mut state = founded();
    run(&mut state, &enrol(node(2, "nas2", Role::Star), 10)).expect("admitted");
    run(&mut state, &enrol(node(3, "nas3", Role::Star), 10)).expect("admitted");
    run(&mut state, &Command::Renew { node: id(3), certificate: certificate(30, DAY) }).expect("renewed");
    run(&mut state, &Command::Remove { node: id(2), now_ms: 30 }).expect("a star");
    let mut tidy = |now_ms| run(&mut state, &Command::Tidy { now_ms, retired: Vec::new() });
    assert_eq!(tidy(3_600_000 + DAY - 1), Ok(0));
    assert_eq!(tidy(3_600_000 + DAY), Ok(1), "the token");
    assert_eq!(tidy(91 * DAY - 1), Ok(0));
    assert_eq!(tidy(91 * DAY), Ok(2), "the revocation and the certificate that was replaced");
}

#[test]
fn everything_is_bounded() {
    let mut state = founded();
    for at in 1..TOKENS_MAX as u64 {
        let mut token = token(1, 1);
        let mut bytes = [0; 6];
        bytes[..4].copy_from_slice(&(at as u32).to_le_bytes());
        token.id = TokenId::from_bytes(bytes);
        run(&mut state, &Command::CreateToken { token }).expect("there is room");
    }
    let refused = |state: &GridState, command: &Command| {
        assert!(matches!(state.decide(command), Err(Refusal::OutOfRange { .. })), "{command:?}");
    };
    refused(&state, &Command::CreateToken { token: token(9, 1) });
    let mut late = token(9, 1);
    (late.created_ms, late.expires_ms) = (3_600_000, 3_600_001);
    assert!(state.decide(&Command::CreateToken { token: late }).is_ok(), "the others have expired by then");
    for at in 0..CONSTELLATIONS_MAX {
        run(&mut state, &Command::CreateConstellation { name: format!("c{at}") }).expect("there is room");
    }
    refused(&state, &Command::CreateConstellation { name: "more".to_owned() });
    for (uses, role, expires_ms) in [
        (0, Role::Star, 5),
        (10_001, Role::Star, 5),
        (1, Role::Nucleus, 5),
        (1, Role::Star, 0),
        (1, Role::Star, i64::MAX),
    ] {
        refused(
            &state,
            &Command::CreateToken { token: TokenRecord { role, uses, expires_ms, ..token(9, 1) } },
        );
    }
    let text = |len| "x".repeat(len);
    for profile in [
        Profile { version: text(129), ..Profile::default() },
        Profile { platform: "\n".to_owned(), ..Profile::default() },
        Profile { allowed_paths: vec![text(1); 65], ..Profile::default() },
        Profile { allowed_paths: vec![text(4097)], ..Profile::default() },
        Profile { addresses: vec![text(1); 17], ..Profile::default() },
        Profile { addresses: vec![text(257)], ..Profile::default() },
    ] {
        refused(&state, &Command::Describe { node: id(1), profile });
    }
}

#[test]
fn a_member_that_renews_in_a_loop_is_slowed_down() {
    let mut state = founded();
    let mut renew = |serial: usize, now_ms| {
        let certificate = certificate(serial as u8, now_ms);
        run(&mut state, &Command::Renew { node: id(1), certificate })
    };
    for serial in 0..SUPERSEDED_MAX {
        renew(100 + serial, 5).expect("the first few");
    }
    assert_eq!(renew(200, 5), Err(Refusal::TooMany { retry_after_s: 86_400 }));
    assert!(matches!(renew(100, 90 * DAY), Err(Refusal::OutOfRange { .. })), "a serial number is used once");
    renew(201, 92 * DAY).expect("the old ones have ended");
    assert_eq!(state.superseded.len(), 0);
}
