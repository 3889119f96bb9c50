//! Daemons in one process: what takes months with real certificates, and what a second process would only make slower.
#![cfg(target_os = "linux")]

mod fixture;

use fixture::{
    DAYS, Daemon, LOOPBACK, enter, founded, joined, node, refusal, status, token, wait, wait_ready,
};
use orbit_node::api::client::{ApiClient, ClientError};
use orbit_node::api::types::{
    AuthorityView, ErrorCode, NodePatch, NodeState, NodeView, ReachView, ThisNode, TokenView,
};
use orbit_node::daemon::{DaemonError, InitOptions, forget, init, run_with};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

#[test]
fn every_node_answers_for_the_grid() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    for asked in [&nucleus, &star] {
        let status = status(asked);
        assert!(status.is_healthy, "{status:?}");
        assert_eq!((status.nodes.total, status.nodes.ready, status.tolerates_failures), (2, 2, 0));
        assert_eq!(status.nucleus.as_deref(), Some("nas1"));
        let patch = NodePatch { is_draining: Some(true), ..NodePatch::default() };
        assert!(asked.client().patch::<NodeView>("/v1/nodes/nas2", &patch).expect("drains").is_draining);
        let patch = NodePatch { is_draining: Some(false), ..NodePatch::default() };
        assert!(!asked.client().patch::<NodeView>("/v1/nodes/nas2", &patch).expect("undoes it").is_draining);
        let (code, message) = refusal(asked.client().get::<NodeView>("/v1/nodes/nas3"));
        assert_eq!(code, ErrorCode::NotFound);
        assert!(message.contains("Did you mean"), "{message}");
        let reach: ReachView = asked.client().post("/v1/nodes/nas2/reach", &()).expect("dials back");
        assert_eq!((reach.reached.len(), reach.tried.len()), (1, 1), "{reach:?}");
    }
    let patch = NodePatch { name: Some("attic".into()), ..NodePatch::default() };
    star.client().patch::<NodeView>("/v1/nodes/nas2", &patch).expect("renames");
    wait("the star knowing its name", || {
        star.client().get::<ThisNode>("/v1/node").ok().filter(|this| this.name == "attic")
    });
}

#[test]
fn a_token_admits_as_often_as_it_says() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let once = token(&nucleus, 1);
    enter(place.path(), "nas2", &once, &nucleus.address()).expect("joins");
    let error = enter(place.path(), "nas3", &once, &nucleus.address()).expect_err("it is used");
    assert!(error.to_string().contains("already used"), "{error}");
    let error = enter(place.path(), "nas2", &once, &nucleus.address()).expect_err("it is a member");
    assert!(matches!(error, DaemonError::AlreadyInGrid { .. }), "{error}");
    let tokens: Vec<TokenView> = nucleus.client().get("/v1/tokens").expect("lists");
    assert_eq!((tokens[0].uses_left, tokens[0].state.as_str()), (0, "used"));
}

#[test]
fn a_star_shows_the_way_to_the_nucleus() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    enter(place.path(), "nas3", &token(&nucleus, 1), &star.address()).expect("joins by way of nas2");
    let mut third = Daemon::new(&place.path().join("nas3"), DAYS);
    third.start();
    wait_ready(&nucleus, "nas3");
}

#[test]
fn certificates_renew_by_themselves_and_an_expired_node_comes_back() {
    let place = tempfile::tempdir().expect("makes a directory");
    let short = Duration::from_secs(4);
    let nucleus = founded(place.path(), short);
    let mut star = joined(place.path(), "nas2", &nucleus, short);
    let first = wait_ready(&nucleus, "nas2").certificate;
    let began = Instant::now();
    let mut serials = std::collections::BTreeSet::from([first.serial]);
    // Three lifetimes, and never away.
    while began.elapsed() < short * 3 {
        let view = node(&nucleus, "nas2").expect("it stays a member");
        assert_eq!(view.state, NodeState::Ready, "after {:?}", began.elapsed());
        serials.insert(view.certificate.serial);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(serials.len() >= 3, "{} certificates in three lifetimes", serials.len());
    star.stop();
    let last = node(&nucleus, "nas2").expect("it is a member still").certificate;
    wait("the certificate's end", || {
        (orbit_node::standalone::state::now_ms() > last.expires_ms + 200).then_some(())
    });
    star.start();
    let back = wait("nas2 coming back", || {
        node(&nucleus, "nas2").filter(|node| node.certificate.serial != last.serial && node.link.is_some())
    });
    assert!(back.certificate.expires_ms > last.expires_ms);
}

#[test]
fn a_new_authority_takes_over_without_a_pause() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let old_token = token(&nucleus, 1);
    let star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    status(&star);
    let authorities: Vec<AuthorityView> = star.client().post("/v1/authorities", &()).expect("rotates");
    assert_eq!(authorities.iter().map(|authority| authority.is_current).collect::<Vec<_>>(), [false, true]);
    wait("both nodes having new certificates", || {
        let now: Vec<AuthorityView> = nucleus.client().get("/v1/authorities").ok()?;
        assert_eq!(node(&nucleus, "nas2").map(|node| node.state), Some(NodeState::Ready));
        (now.last()?.members == 2).then_some(())
    });
    // A token made before pins the old authority; the new one is certified by it.
    enter(place.path(), "nas3", &old_token, &nucleus.address()).expect("joins with the old token");
    let mut third = Daemon::new(&place.path().join("nas3"), DAYS);
    third.start();
    wait_ready(&nucleus, "nas3");
}

#[test]
fn a_removed_node_is_cut_off_at_once_and_stays_out() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let mut star = joined(place.path(), "nas2", &nucleus, DAYS);
    let other = joined(place.path(), "nas3", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    wait_ready(&nucleus, "nas3");
    status(&other);
    other.client().delete("/v1/nodes/nas2").expect("removes it");
    for _ in 0..2 {
        let ended = star.ended().expect_err("a removed node does not go on");
        assert!(matches!(ended, DaemonError::Removed { .. }), "{ended}");
        assert_eq!(ended.code(), ErrorCode::Refused);
        // Started again, it is told again.
        star.start();
    }
    star.ended().expect_err("a removed node does not go on");
    forget(&star.place).expect("forgets the grid");
    enter(place.path(), "nas2", &token(&nucleus, 1), &nucleus.address()).expect("joins again");
    nucleus.client().delete("/v1/nodes/nas2").expect("removes it again");
    let nodes: Vec<NodeView> = other.client().get("/v1/nodes").expect("lists");
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["nas1", "nas3"]);
}

#[test]
fn leaving_is_for_stars_and_for_the_last_one() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut nucleus = founded(place.path(), DAYS);
    let mut star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    status(&star);
    star.client().post::<()>("/v1/leave", &()).expect("leaves");
    star.stop();
    assert!(matches!(ApiClient::connect(&star.place), Err(ClientError::NotInGrid { .. })));
    assert!(node(&nucleus, "nas2").is_none());
    nucleus.client().post::<()>("/v1/leave", &()).expect("the last one may");
    nucleus.stop();
    init(&nucleus.place, &InitOptions { name: Some("nas1".into()), ..InitOptions::default() })
        .expect("founds another");
}

#[test]
fn the_nucleus_may_be_restarted() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut nucleus = founded(place.path(), DAYS);
    // The same port again, so that the star finds it there.
    let toml = nucleus.place.join("star.toml");
    let fixed = std::fs::read_to_string(&toml).expect("reads").replace(LOOPBACK, &nucleus.address());
    std::fs::write(&toml, fixed).expect("writes");
    let star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    nucleus.stop();
    let asked = star.client().get::<Vec<TokenView>>("/v1/tokens");
    let (code, message) = refusal(asked);
    assert_eq!(code, ErrorCode::Unreachable);
    assert!(message.contains("Nucleus"), "{message}");
    nucleus.start();
    wait_ready(&nucleus, "nas2");
    status(&star);
}

#[test]
fn a_star_that_lost_its_new_certificate_is_given_it_again() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let mut star = joined(place.path(), "nas2", &nucleus, DAYS);
    wait_ready(&nucleus, "nas2");
    status(&star);
    let kept = star.place.join("identity/membership.cbor");
    let old = std::fs::read(&kept).expect("reads");
    star.client().post::<Vec<AuthorityView>>("/v1/authorities", &()).expect("rotates");
    wait("the new certificate", || {
        let now: Vec<AuthorityView> = nucleus.client().get("/v1/authorities").ok()?;
        (now.last()?.members == 2 && has_certificate(&kept, &nucleus)).then_some(())
    });
    star.stop();
    std::fs::write(&kept, old).expect("writes");
    assert!(!has_certificate(&kept, &nucleus), "the old one was kept before");
    star.start();
    wait("the star having what the grid gave it", || has_certificate(&kept, &nucleus).then_some(()));
}

/// Whether the certificate that the grid last gave to nas2 is on its disk.
fn has_certificate(kept: &Path, nucleus: &Daemon) -> bool {
    let serial = node(nucleus, "nas2").expect("it is a member").certificate.serial;
    let kept = std::fs::read(kept).expect("reads");
    let serial: orbit_core::ids::Serial = serial.parse().expect("a serial number");
    // A certificate writes the number without zeros before it: one in 256 is shorter.
    let zeros = serial.as_bytes().iter().take_while(|&&byte| byte == 0).count();
    let written = &serial.as_bytes()[zeros..];
    kept.windows(written.len()).any(|bytes| bytes == written)
}

#[test]
fn the_nucleus_is_found_past_other_grids_and_by_way_of_members() {
    let place = tempfile::tempdir().expect("makes a directory");
    let mut nucleus = founded(&place.path().join("here"), DAYS);
    let other = founded(&place.path().join("there"), DAYS);
    let mut first = joined(place.path(), "nas2", &nucleus, DAYS);
    let mut second = joined(place.path(), "nas3", &nucleus, DAYS);
    for daemon in [&mut first, &mut second, &mut nucleus] {
        daemon.stop();
    }
    // Now it listens somewhere else, and what the stars know is worth nothing.
    nucleus.start();
    let via = |daemon: &Daemon, addresses: [String; 2]| {
        let toml = daemon.place.join("star.toml");
        let text = std::fs::read_to_string(&toml).expect("reads");
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("via =")).collect();
        let changed = rest.join("\n").replace("[mesh]", &format!("[mesh]\nvia = {addresses:?}"));
        std::fs::write(&toml, changed).expect("writes");
    };
    via(&first, [other.address(), nucleus.address()]);
    first.start();
    wait_ready(&nucleus, "nas2");
    via(&second, [other.address(), first.address()]);
    second.start();
    wait_ready(&nucleus, "nas3");
}

#[test]
fn one_daemon_for_a_directory() {
    let place = tempfile::tempdir().expect("makes a directory");
    let nucleus = founded(place.path(), DAYS);
    let stop = Arc::new(AtomicBool::new(false));
    let second = run_with(&nucleus.place, nucleus.options, &stop, &mut |_| panic!("it must not get ready"));
    assert!(matches!(second, Err(DaemonError::AlreadyRunning { .. })), "{second:?}");
    assert!(matches!(
        run_with(&place.path().join("nowhere"), nucleus.options, &stop, &mut |_| {}),
        Err(DaemonError::NotInGrid { .. })
    ));
}
