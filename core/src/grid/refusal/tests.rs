use super::*;
use crate::grid::Fence;
use crate::wire::{decode, encode};
use proptest::prelude::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn lost(voters: u32, others_heard: u32, silent: &[&str]) -> Refusal {
    let name = "nas2".to_owned();
    Refusal::WouldLoseQuorum { name, voters, needed: voters / 2 + 1, others_heard, silent: names(silent) }
}

fn no_quorum(voters: u32, heard: u32, silent: &[&str]) -> Refusal {
    Refusal::NoQuorum { voters, needed: voters / 2 + 1, heard, silent: names(silent) }
}

fn every_refusal() -> Vec<Refusal> {
    let token = TokenId::from_bytes([7; 6]);
    let (node, name) = ("nas2".to_owned(), "nas2".to_owned());
    let nearest = Some("nas1".to_owned());
    let certificate = |reason| Refusal::Certificate { reason };
    let ticket = |reason| Refusal::Ticket { node: "nas2".to_owned(), reason };
    vec![
        Refusal::TokenUnknown { token },
        Refusal::TokenExpired { token, ago_ms: 150_000 },
        Refusal::TokenUsed { token, uses: 1 },
        Refusal::TokenWrong { token },
        certificate(CertificateFault::Unreadable),
        certificate(CertificateFault::Untrusted),
        certificate(CertificateFault::OtherKey),
        certificate(CertificateFault::Expired { ago_ms: 86_400_000 }),
        certificate(CertificateFault::NotYet { in_ms: 7_200_000 }),
        certificate(CertificateFault::Revoked),
        Refusal::OtherGrid,
        Refusal::Protocol { theirs: 1, ours: 2 },
        Refusal::UnknownNode { name: name.clone(), nearest: nearest.clone() },
        Refusal::BadName { name: "-".to_owned() },
        Refusal::NameTaken { name: name.clone() },
        Refusal::IsNucleus { name: name.clone() },
        Refusal::MayVote { name: name.clone() },
        Refusal::FixedRole { name: name.clone(), role: Role::Witness, wanted: Role::Nucleus },
        Refusal::FixedRole { name: name.clone(), role: Role::Star, wanted: Role::Witness },
        lost(3, 1, &["nas3"]),
        lost(1, 0, &[]),
        no_quorum(3, 1, &["nas2", "nas3"]),
        no_quorum(1, 0, &[]),
        Refusal::NotVoter { node: node.clone() },
        Refusal::OtherEpoch { theirs: 1, ours: 2 },
        Refusal::OtherEpoch { theirs: 2, ours: 1 },
        Refusal::Draining { name: name.clone() },
        Refusal::NodeUnreachable { name: name.clone(), last_seen_ago_ms: -1 },
        Refusal::Busy { name: name.clone(), limit: 32 },
        Refusal::UnknownConstellation { name: name.clone(), nearest },
        Refusal::ConstellationExists { name },
        Refusal::UnknownJob { job: "1a2b3c4d".to_owned() },
        Refusal::AmbiguousJob { job: "1a2b".to_owned() },
        Refusal::JobState {
            job: "1a2b3c4d".to_owned(),
            state: "running".to_owned(),
            deed: "removed".to_owned(),
        },
        Refusal::OutsideJail {
            node: node.clone(),
            path: "/etc".to_owned(),
            allowed: vec!["/srv".to_owned()],
        },
        Refusal::OldTerm { node: node.clone(), theirs: 3, ours: 4 },
        ticket(TicketFault::Unreadable),
        ticket(TicketFault::Signer(CertificateFault::Revoked)),
        ticket(TicketFault::NotNucleus),
        ticket(TicketFault::Forged),
        ticket(TicketFault::OtherGrid),
        ticket(TicketFault::OtherSource),
        ticket(TicketFault::OtherDestination),
        ticket(TicketFault::OldTerm {
            theirs: Fence { epoch: 1, term: 3 },
            ours: Fence { epoch: 1, term: 4 },
        }),
        ticket(TicketFault::Expired { ago_ms: 42_000 }),
        ticket(TicketFault::NotYet { in_ms: 150_000 }),
        ticket(TicketFault::TooLong),
        ticket(TicketFault::Path),
        ticket(TicketFault::Used),
        ticket(TicketFault::Over),
        Refusal::NotNucleus { node: node.clone() },
        Refusal::TooMany { retry_after_s: 5 },
        Refusal::NoNucleus { node: node.clone() },
        Refusal::NotFounded,
        Refusal::AlreadyFounded,
        Refusal::OutOfRange { what: "the name".to_owned(), allowed: "1 to 63 bytes".to_owned() },
        Refusal::Failed { node, message: "disk full".to_owned() },
    ]
}

#[test]
fn each_says_what_and_what_to_do() {
    use std::fmt::Write as _;
    let mut page = String::new();
    for refusal in every_refusal() {
        let hint = refusal.hint().unwrap_or_else(|| "-".to_owned());
        let _ = writeln!(page, "{:?}: {refusal}\n  hint: {hint}", refusal.kind());
    }
    insta::assert_snapshot!(page);
}

#[test]
fn each_travels() {
    for refusal in every_refusal() {
        assert_eq!(decode::<Refusal>(&encode(&refusal)).expect("it was encoded"), refusal);
    }
}

#[test]
fn a_star_without_files_says_so() {
    let refusal =
        Refusal::OutsideJail { node: "w1".to_owned(), path: "/srv".to_owned(), allowed: Vec::new() };
    assert!(refusal.to_string().ends_with("(none: it holds no files for the grid)"), "{refusal}");
    assert_eq!(refusal.hint().as_deref(), Some("add it to allowed_paths in the star.toml of w1"));
}

proptest! {
    #[test]
    fn any_number_can_be_told(ms: i64) {
        prop_assert!(!span(ms).is_empty());
        let refusal = Refusal::NodeUnreachable { name: "nas2".to_owned(), last_seen_ago_ms: ms };
        prop_assert!(!refusal.to_string().is_empty());
    }
}
