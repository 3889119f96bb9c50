//! Any sequence of commands keeps what must always hold.

use super::*;
use crate::grid::job::{
    Ending, JobAct, JobCommand, JobEnd, JobFault, JobMode, JobOptions, JobPath, JobReport, JobSchedule,
    JobStep, JobTrouble, JobWish,
};
use crate::grid::{Content, Envelope};
use crate::ids::RequestId;
use crate::summary::{Summary, Totals};
use crate::wire::bytes::Octets;
use proptest::prelude::*;

/// Few of everything, so that commands meet.
fn few() -> std::ops::Range<u8> {
    1..7
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("nas".to_owned()),
        Just("NAS".to_owned()),
        Just("backup".to_owned()),
        Just("n".repeat(63)),
        "\\PC{0,5}",
    ]
}

/// A command; its serial number is filled in later, since each is drawn once.
fn commands() -> impl Strategy<Value = Command> {
    let nodes = || few().prop_map(id);
    let roles = prop_oneof![Just(Role::Star), Just(Role::Witness), Just(Role::Nucleus)];
    let found = (few(), names()).prop_map(|(byte, name)| Command::Found {
        header: GridHeader {
            id: GridId::from_bytes([1; 16]),
            name: "home".to_owned(),
            epoch: 1,
            created_ms: 0,
        },
        anchor: anchor(1),
        node: node(byte, &name, Role::Nucleus),
    });
    let admitted = (few(), few(), few(), names(), few(), 0..100_i64, prop::bool::weighted(0.9));
    let enrol = admitted.prop_map(|(token, byte, key, name, request, now_ms, right)| {
        let mut node = node(byte, &name, Role::Witness);
        node.key = PeerKey::from_bytes([key; 32]);
        node.certificate.request_hash = [request; 32];
        let secret_hash = if right { SECRET } else { [1; 32] };
        Command::Enrol { token: token_id(token), secret_hash, node, now_ms }
    });
    let create = (few(), 0..4_u32, roles, 0..100_i64).prop_map(|(byte, uses, role, expires_ms)| {
        Command::CreateToken { token: TokenRecord { role, uses, expires_ms, ..token(byte, 1) } }
    });
    let renew = (nodes(), 0..200_i64)
        .prop_map(|(node, day)| Command::Renew { node, certificate: certificate(0, day * DAY) });
    let group = || prop::sample::select(vec!["backup", "media", "bakcup"]).prop_map(str::to_owned);
    let several = || prop::collection::vec(nodes(), 0..3);
    prop_oneof![
        2 => found,
        8 => enrol,
        4 => create,
        4 => renew,
        1 => few().prop_map(|byte| Command::RemoveToken { token: token_id(byte) }),
        3 => (nodes(), 0..100_i64).prop_map(|(node, now_ms)| Command::Remove { node, now_ms }),
        3 => (nodes(), names()).prop_map(|(node, name)| Command::Rename { node, name }),
        1 => (nodes(), any::<bool>()).prop_map(|(node, is_draining)| Command::Drain { node, is_draining }),
        2 => group().prop_map(|name| Command::CreateConstellation { name }),
        3 => (group(), several()).prop_map(|(name, nodes)| Command::AddToConstellation { name, nodes }),
        2 => (group(), several()).prop_map(|(name, nodes)| Command::RemoveFromConstellation { name, nodes }),
        1 => few().prop_map(|byte| Command::RotateAuthority { anchor: anchor(byte) }),
        1 => (0..200_i64, few()).prop_map(|(day, byte)| {
            Command::Tidy { now_ms: day * DAY, retired: vec![anchor(byte)] }
        }),
        4 => of_voters(),
        8 => of_jobs(),
    ]
}

/// What is done to jobs: few trees of few stars, so that jobs meet.
fn of_jobs() -> impl Strategy<Value = Command> {
    let jobs = || (1..9_u8).prop_map(|byte| JobId::from_bytes([byte; 16]));
    let end = || {
        let paths = prop::sample::select(vec!["/a", "/a/b", "/a/c", "/d", "/"]);
        (few(), paths).prop_map(|(byte, path)| JobEnd {
            node: id(byte),
            name: "nas".to_owned(),
            path: JobPath::new(path),
        })
    };
    let modes = prop_oneof![Just(JobMode::Ask), Just(JobMode::Run), Just(JobMode::Dry)];
    let submit = (end(), end(), modes).prop_map(|(source, destination, mode)| {
        let options = JobOptions::default();
        JobAct::Submit(Box::new(JobWish { source, destination, options, created_on: id(1), mode }))
    });
    let planned = JobReport::Planned {
        totals: Totals { files_new: 1, steps: 1, ..Totals::default() },
        route: None,
        steps: JobStep::all_pending(),
    };
    let ended = |ending| JobReport::Ended {
        ending,
        summary: Summary::default(),
        steps: Vec::new(),
        fault_count: 1,
        faults: vec![JobFault::new(b"x", "it is a socket")],
    };
    let reports = prop_oneof![
        3 => Just(planned),
        1 => Just(JobReport::Going),
        1 => Just(JobReport::Waiting(JobTrouble::new("no way"))),
        1 => Just(ended(Ending::Done)),
        1 => Just(ended(Ending::Partial)),
    ];
    let report = (1..3_u32, reports)
        .prop_map(|(attempt, report)| JobAct::Report { attempt, report: Box::new(report) });
    let acts = prop_oneof![
        6 => submit,
        6 => report,
        2 => Just(JobAct::Approve),
        1 => prop::option::of(0..100_i64).prop_map(|until_ms| JobAct::Pause { until_ms }),
        1 => Just(JobAct::Resume),
        1 => Just(JobAct::Cancel),
        1 => Just(JobAct::Retry),
        1 => Just(JobAct::Remove),
        1 => (0..100_i64).prop_map(|next_ms| {
            let (cron, zone) = ("0 3 * * *".to_owned(), "UTC".to_owned());
            JobAct::Schedule(Some(JobSchedule { cron, zone, next_ms, skipped: 0 }))
        }),
        2 => (0..100_i64, prop::option::of(0..100_i64))
            .prop_map(|(was_ms, next_ms)| JobAct::Due { was_ms, next_ms }),
        1 => Just(JobAct::Limit("10M".parse().ok())),
    ];
    (jobs(), 0..100_i64, acts).prop_map(|(job, now_ms, act)| Command::Job(JobCommand { job, now_ms, act }))
}

/// What only voters do and keep.
fn of_voters() -> impl Strategy<Value = Command> {
    let nodes = || few().prop_map(id);
    let roles = prop_oneof![Just(Role::Star), Just(Role::Witness), Just(Role::Nucleus)];
    let votings = prop_oneof![Just(Voting::Auto), Just(Voting::Wanted), Just(Voting::Unwanted)];
    let keys = (few(), 0..3_usize).prop_map(|(byte, len)| Command::KeepAuthorityKey {
        pin: [byte; 32],
        sealed: Octets(vec![byte; len]),
    });
    let contents = (nodes(), prop::collection::vec(any::<([u8; 32], u64, u32)>(), 0..3)).prop_map(
        |(holder, contents)| Command::RecordContents {
            holder,
            contents: contents
                .into_iter()
                .map(|(root, bytes, chunks)| Content { root: root.into(), bytes, chunks })
                .collect(),
        },
    );
    let meter = prop::collection::vec((nodes(), any::<u64>()), 0..3).prop_map(|rows| Command::Meter {
        rows: rows.into_iter().map(|(node, calls)| voters::metered(node, calls)).collect(),
    });
    prop_oneof![
        (nodes(), votings).prop_map(|(node, voting)| Command::SetVoting { node, voting }),
        (nodes(), roles).prop_map(|(node, role)| Command::SetRole { node, role }),
        keys,
        few().prop_map(|byte| Command::ForgetAuthorityKey { pin: [byte; 32] }),
        contents,
        nodes().prop_map(|holder| Command::ForgetContents { holder }),
        meter,
        (0..4_u32).prop_map(|epoch| Command::BeginEpoch { epoch, now_ms: 0 }),
    ]
}

fn with_serial(command: &mut Command, at: usize) {
    let serial = Serial::from_bytes(std::array::from_fn(|byte| (at >> (8 * (byte % 4))) as u8));
    match command {
        Command::Found { node, .. } | Command::Enrol { node, .. } => node.certificate.serial = serial,
        Command::Renew { certificate, .. } => certificate.serial = serial,
        _ => {}
    }
}

fn check_invariants(state: &GridState) {
    let names: Vec<_> = state.nodes().map(|node| node.name.to_ascii_lowercase()).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "names are unique: {names:?}");
    for node in state.nodes() {
        assert!(names::is_valid(&node.name), "{}", node.name);
        assert_eq!(state.find_node(&node.name).map(|found| found.id), Ok(node.id));
        assert_eq!(state.find_node(&node.id.to_string()).map(|found| found.id), Ok(node.id));
        assert_eq!(state.node_by_key(node.key).map(|found| found.id), Some(node.id), "keys are unique");
        assert!(!state.revoked.contains_key(&node.certificate.serial), "a member's certificate is good");
    }
    assert_eq!((state.by_key.len(), state.by_name.len()), (names.len(), names.len()));
    for token in state.tokens() {
        assert!(token.used_by.len() <= token.uses as usize, "a token admits no more than it says");
    }
    for constellation in state.constellations() {
        assert!(constellation.nodes.iter().all(|id| state.node(*id).is_some()), "only members");
    }
    for ended in state.superseded.values() {
        assert!(state.node_by_key(ended.key).is_some(), "whoever left has nothing that is valid");
    }
    assert!(state.authority_pins().count() <= bounds::AUTHORITY_KEYS_MAX);
    let current = state.anchors().iter().filter(|anchor| anchor.is_current).count();
    assert_eq!(current, usize::from(state.header.is_some()), "one authority issues");
}

/// No certificate may stay valid when its member is gone.
fn check_certificates(before: &GridState, after: &GridState) {
    let gone = before.nodes().filter(|node| after.node(node.id).is_none());
    for node in gone {
        let older = before.superseded_of(node.key).map(|(serial, _)| serial);
        for serial in older.chain([node.certificate.serial]) {
            assert!(after.revoked.contains_key(&serial), "{serial} of a removed node is revoked");
        }
    }
}

/// A store that keeps one row a record, as the database does.
fn store(rows: &mut BTreeMap<String, Change>, change: &Change) {
    let key = |kind: &str, of: &dyn std::fmt::Debug| format!("{kind} {of:?}");
    match change {
        Change::Header(_) => rows.insert("header".to_owned(), change.clone()),
        Change::Anchors(_) => rows.insert("anchors".to_owned(), change.clone()),
        Change::Node(record) => rows.insert(key("node", &record.id), change.clone()),
        Change::NodeRemoved(id) => rows.remove(&key("node", id)),
        Change::Token(record) => rows.insert(key("token", &record.id), change.clone()),
        Change::TokenRemoved(id) => rows.remove(&key("token", id)),
        Change::Constellation(record) => rows.insert(key("group", &record.name), change.clone()),
        Change::ConstellationRemoved(name) => rows.remove(&key("group", name)),
        Change::Revoked { serial, .. } => rows.insert(key("revoked", serial), change.clone()),
        Change::RevocationForgotten(serial) => rows.remove(&key("revoked", serial)),
        Change::Superseded { serial, .. } => rows.insert(key("superseded", serial), change.clone()),
        Change::SupersededForgotten(serial) => rows.remove(&key("superseded", serial)),
        Change::AuthorityKey { pin, .. } => rows.insert(key("authority key", pin), change.clone()),
        Change::AuthorityKeyForgotten(pin) => rows.remove(&key("authority key", pin)),
        Change::Job(record) => rows.insert(key("job", &record.id), change.clone()),
        Change::JobRemoved(id) => rows.remove(&key("job", id)),
        // Tables of their own.
        Change::Contents { .. } | Change::ContentsForgotten(_) | Change::Metered(_) => None,
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_commands_keep_the_grid_sound(commands in prop::collection::vec(commands(), 1..60)) {
        let mut state = GridState::default();
        let mut rows = BTreeMap::new();
        for (at, mut command) in commands.into_iter().enumerate() {
            with_serial(&mut command, at + 1);
            let before = state.clone();
            let envelope = Envelope::new(Some(RequestId::from_bytes([at as u8; 16])), command);
            prop_assert_eq!(&Envelope::decode(&envelope.encode()).expect("an envelope"), &envelope);
            let command = envelope.command;
            let decided = state.decide(&command);
            prop_assert_eq!(&before.decide(&command), &decided, "the same everywhere");
            if state.header().is_some() {
                let contents = |change: &&Change| matches!(change, Change::Contents { .. } | Change::ContentsForgotten(_));
                let of_contents = decided.iter().flatten().find(contents).cloned();
                prop_assert_eq!(of_contents, command.contents_change(), "contents follow from the command");
            }
            let Ok(changes) = decided else { continue };
            prop_assert_eq!(&state, &before, "deciding changes nothing");
            for change in changes {
                let travelled: Change = crate::wire::decode(&crate::wire::encode(&change)).expect("a change");
                prop_assert_eq!(&travelled, &change);
                store(&mut rows, &change);
                state.absorb(change);
            }
            check_invariants(&state);
            crate::grid::state::jobs::tests::check_jobs(&state);
            check_certificates(&before, &state);
            let has_nucleus = |state: &GridState| state.nodes().any(|node| node.role == Role::Nucleus);
            let is_kept = !has_nucleus(&before) || has_nucleus(&state) || state.nodes().count() == 0;
            prop_assert!(is_kept, "somebody stays the Nucleus");
            let mut rebuilt = GridState::default();
            rows.values().cloned().for_each(|change| rebuilt.absorb(change));
            prop_assert_eq!(&rebuilt, &state, "the stored records make the state again");
            prop_assert_eq!(rows.len(), state.records().len());
        }
    }
}
