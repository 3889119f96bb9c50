use super::*;
use orbit_core::{Attributes, EntryKind, Metadata, Timestamp};

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

/// A directory with these subdirectories.
fn listing(directory: &str, below: &[&str]) -> Listing {
    let metadata = Metadata {
        kind: EntryKind::Directory,
        size: 0,
        allocated: 0,
        attributes: Attributes::default(),
        ctime: Timestamp::default(),
        dev: 1,
        ino: 1,
        links: 2,
        rdev: 0,
    };
    let mut listing = Listing::new(path(directory));
    for name in below {
        listing.push(name.as_bytes(), metadata);
    }
    listing
}

/// `a` with `x` and `y`, `a.b`, `b` with `z`.
fn begun() -> Order {
    let mut order = Order::new(RelPath::root());
    assert_eq!(order.arrive(&path("")).expect("due"), Arrival::Due);
    order.descend(&listing("", &["a", "a.b", "b"]));
    order
}

fn arrive(order: &mut Order, text: &str, below: &[&str]) -> Arrival {
    let arrival = order.arrive(&path(text)).expect("in order");
    if arrival == Arrival::Due {
        order.descend(&listing(text, below));
    }
    arrival
}

#[test]
fn a_whole_walk_is_in_order() {
    let mut order = begun();
    for (directory, below) in
        [("a", &["x", "y"][..]), ("a/x", &[]), ("a/y", &[]), ("a.b", &[]), ("b", &["z"]), ("b/z", &[])]
    {
        assert_eq!(arrive(&mut order, directory, below), Arrival::Due, "{directory}");
    }
    assert_eq!(order.due(), None);
}

#[test]
fn what_is_left_out_repeated_or_invented_is_noticed() {
    for wrong in ["", "a.b", "b", "a/x", "nowhere", "z"] {
        let mut order = begun();
        let fault = order.arrive(&path(wrong)).expect_err("out of order");
        assert!(
            matches!(fault, ProtocolFault::Order { expected: Some(due), .. } if due == path("a")),
            "{wrong}"
        );
        assert_eq!(order.take_due(), Some(path("a")));
        assert_eq!(order.take_due(), Some(path("a.b")));
        assert_eq!(order.take_due(), Some(path("b")));
        assert_eq!(order.take_due(), None);
    }
    let mut order = begun();
    arrive(&mut order, "a", &["x"]);
    assert!(order.arrive(&path("a")).is_err(), "twice");
    let mut order = begun();
    for directory in ["a", "a.b", "b"] {
        arrive(&mut order, directory, &[]);
    }
    assert!(order.arrive(&path("c")).is_err(), "after the end");
}

#[test]
fn what_is_pruned_may_come_or_not() {
    for comes in [&[][..], &["a"], &["a", "a/x"], &["a/x/deep", "a/y"]] {
        let mut order = begun();
        assert!(order.prune(&path("a")));
        assert!(!order.prune(&path("nowhere")) && !order.prune(&path("a/x")));
        for directory in comes {
            assert_eq!(arrive(&mut order, directory, &["more"]), Arrival::Unwanted, "{directory}");
        }
        assert_eq!(arrive(&mut order, "a.b", &[]), Arrival::Due);
        assert!(order.prune(&path("b")));
        assert_eq!(order.due(), None);
    }
}

#[test]
fn a_directory_can_be_left_half_way() {
    for comes in [&[][..], &["a/y"], &["a/y", "a/z/deep"]] {
        let mut order = begun();
        arrive(&mut order, "a", &["w", "x", "y", "z"]);
        assert!(order.prune(&path("a/w")));
        arrive(&mut order, "a/x", &["deep"]);
        assert!(order.prune(&path("a")), "it is in the middle of it");
        for directory in comes {
            assert_eq!(arrive(&mut order, directory, &["more"]), Arrival::Unwanted, "{directory}");
        }
        assert_eq!(order.due(), Some(&path("a.b")));
        assert!(order.prune(&path("a.b")), "due, and not wanted after all");
        assert_eq!(order.take_due(), Some(path("b")));
    }
}

#[test]
fn what_a_filter_leaves_out_is_never_due() {
    let mut order = Order::new(path("s"));
    assert_eq!(arrive(&mut order, "s", &["kept"]), Arrival::Due);
    order.leave(&path("s/gone"));
    order.leave(&path("s/zone"));
    assert_eq!(arrive(&mut order, "s/gone", &[]), Arrival::Unwanted);
    assert_eq!(arrive(&mut order, "s/gone/deep", &[]), Arrival::Unwanted);
    assert_eq!(arrive(&mut order, "s/kept", &[]), Arrival::Due);
    assert!(order.arrive(&path("s/gone")).is_err(), "backwards");
    assert_eq!(order.due(), None);
}
