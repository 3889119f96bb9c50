use super::*;
use orbit_node::api::types::GridView;

fn this_node(is_nucleus: bool) -> ThisNode {
    ThisNode {
        id: "018f".into(),
        name: "nas1".into(),
        grid: GridView { id: "018e".into(), name: "home".into() },
        is_nucleus,
        nucleus: None,
        trouble: None,
        peer: "12D3KooWExample1".into(),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".into(), "/ip6/2001:db8::1/tcp/4001".into()],
        version: "0.1.0".into(),
        allowed_paths: vec!["/mnt/data".into()],
        certificate_expires_ms: 0,
        clock_ahead_ms: None,
        dropped: Vec::new(),
        heartbeat_rtt: None,
        memory_own: 0,
        bytes_sent: 0,
        bytes_received: 0,
    }
}

#[test]
fn from_founding_to_leaving() {
    let founded = Founded {
        grid: "home".into(),
        grid_id: "018e".into(),
        name: "nas1".into(),
        id: "018f".into(),
        peer: "12D3KooWExample1".into(),
        allowed_paths: vec!["/mnt/data".into(), "/srv".into()],
        listen: vec!["/ip4/0.0.0.0/tcp/4001".into(), "/ip6/::/tcp/4001".into()],
        data_dir: "/var/lib/orbit".into(),
    };
    let joined = Joined {
        grid: "home".into(),
        grid_id: "018e".into(),
        name: "nas2".into(),
        id: "018f".into(),
        peer: "12D3KooWExample2".into(),
        allowed_paths: Vec::new(),
        via: "/ip4/192.0.2.1/tcp/4001".into(),
        data_dir: "/var/lib/orbit".into(),
    };
    let shown = [
        founded_text(&founded, false),
        founded_text(&founded, true),
        joined_text(&joined, Some("nas2")),
        joined_text(&Joined { name: "nas2-2".into(), ..joined.clone() }, Some("nas2")),
        ready_text(&this_node(true)),
        ready_text(&ThisNode { addresses: Vec::new(), ..this_node(false) }),
        left_text(&this_node(false), false),
        left_text(&this_node(true), true),
    ];
    insta::assert_snapshot!(shown.join("\n\n"));
}
