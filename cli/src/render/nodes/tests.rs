use super::*;
use orbit_node::api::types::{CertificateView, LinkView, MeteringView};

const NOW_MS: i64 = 1_714_566_896_789;

fn disk(path: &str, total: u64, free: u64) -> DiskView {
    DiskView { path: path.into(), total, free }
}

fn nucleus() -> NodeView {
    NodeView {
        id: "018f2a3c-0000-4000-8000-000000000001".into(),
        name: "nas1".into(),
        role: "nucleus".into(),
        is_nucleus: true,
        part: Part::Nucleus,
        voting: "auto".into(),
        vote_note: None,
        state: NodeState::Ready,
        since_ms: NOW_MS - 7_300_000,
        is_draining: false,
        last_seen_ms: Some(NOW_MS),
        joined_ms: NOW_MS - 86_400_000 * 3,
        version: "0.1.0".into(),
        platform: "linux x86_64".into(),
        peer: "12D3KooWExample1".into(),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".into(), "/ip6/2001:db8::1/tcp/4001".into()],
        link: None,
        load: None,
        allowed_paths: Vec::new(),
        jobs: 0,
        constellations: Vec::new(),
        certificate: CertificateView {
            serial: "0102030405060708090a0b0c0d0e0f10".into(),
            issued_ms: NOW_MS - 86_400_000,
            expires_ms: NOW_MS + 86_400_000 * 89,
        },
        metering: MeteringView::default(),
        clock_ahead_ms: None,
    }
}

fn star() -> NodeView {
    NodeView {
        name: "cellar-nas".into(),
        role: "star".into(),
        is_nucleus: false,
        part: Part::None,
        last_seen_ms: Some(NOW_MS - 3_100),
        link: Some(LinkView {
            kind: "tcp4".into(),
            address: "/ip4/192.0.2.7/tcp/51234".into(),
            direction: "in".into(),
            rtt_us: Some(412),
        }),
        load: Some(LoadView {
            cpu_percent: 12.4,
            cores: 4,
            memory_total: 16_000_000_000,
            memory_available: 9_900_000_000,
            memory_own: 24_000_000,
            disks: vec![
                disk("/mnt/data", 4_000_000_000_000, 1_200_000_000_000),
                disk("/mnt/data/photos", 4_000_000_000_000, 1_200_000_000_000),
                disk("/srv", 500_000_000_000, 100_000_000_000),
            ],
            calls_running: 2,
        }),
        allowed_paths: vec!["/mnt/data".into(), "/mnt/data/photos".into(), "/srv".into()],
        jobs: 2,
        constellations: vec!["cellar".into(), "backup".into()],
        metering: MeteringView {
            calls: 1234,
            refused: 5,
            entries_scanned: 1_000_000,
            bytes_hashed: 45_000_000_000,
            bytes_sent: 80_000_000,
            bytes_received: 900_000,
        },
        clock_ahead_ms: Some(-720_000),
        ..nucleus()
    }
}

fn lost() -> NodeView {
    NodeView {
        name: "nas3".into(),
        state: NodeState::Lost,
        is_draining: true,
        since_ms: NOW_MS - 300_000,
        last_seen_ms: None,
        link: None,
        load: None,
        jobs: 0,
        clock_ahead_ms: Some(300),
        ..star()
    }
}

fn voter() -> NodeView {
    NodeView {
        name: "nas4".into(),
        role: "nucleus".into(),
        part: Part::Voter,
        voting: "wanted".into(),
        ..lost()
    }
}

fn witness(part: Part) -> NodeView {
    let note = (part == Part::Learner).then(|| "it is being sent the Nucleus's records".to_owned());
    NodeView { name: "pi".into(), role: "witness".into(), part, vote_note: note, ..lost() }
}

fn unknown() -> NodeView {
    NodeView { name: "nas5".into(), state: NodeState::Unknown, is_draining: false, ..voter() }
}

#[test]
fn a_table_of_nodes() {
    let nodes = [
        nucleus(),
        star(),
        lost(),
        voter(),
        witness(Part::Voter),
        witness(Part::Learner),
        witness(Part::None),
        unknown(),
    ];
    insta::assert_snapshot!(table(&nodes, NOW_MS));
}

#[test]
fn a_page_of_each() {
    let pages = [nucleus(), star(), lost(), voter(), witness(Part::Learner), unknown()]
        .map(|node| page_text(&node, NOW_MS));
    insta::assert_snapshot!(pages.join("\n\n"));
}
