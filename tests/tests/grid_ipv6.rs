//! A grid over IPv6 alone, and every way to write an address.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::network::Addresses;
use orbit_tests::grid::node::PORT;
use orbit_tests::orbit::Exit;
use orbit_tests::wait::until;

#[test]
fn a_grid_without_any_ipv4() {
    let Some(grid) = Grid::namespaces_with(3, Addresses::Six) else { return };
    grid.node(0).init();
    let said = grid.node(0).said();
    assert!(said.contains(&grid.network().ip6(0)), "{said}");
    let token = grid.node(0).token(&["--uses", "2"]);
    grid.network().set_hosts(2, &format!("::1 localhost\n{} cellar\n", grid.network().ip6(0)));
    let ways = [(1, format!("[{}]:{PORT}", grid.network().ip6(0))), (2, "cellar".to_owned())];
    for (index, way) in ways {
        grid.node(index).join(&token, &["--via".to_owned(), way]);
    }
    grid.wait_until_ready(3);
    for name in ["nas2", "nas3"] {
        assert_eq!(grid.node(0).show(name)["link"]["kind"], "tcp6");
    }
    // The Nucleus hears from a star a moment before the star hears from it.
    until("nas2 answers for the grid", || {
        grid.node(1)
            .get("/v1/status")
            .is_ok_and(|status| status["nucleus"].is_string() && status["as_of_ms"].is_null())
    });
    grid.node(1).run(["scan", &grid.node(2).endpoint("")]).expect(Exit::Done);
    // The Nucleus's address is remembered: nobody has to be told again.
    grid.node(1).kill();
    grid.node(1).restart();
    grid.wait_until_ready(3);
}

#[test]
fn every_way_to_write_an_address() {
    let Some(grid) = Grid::namespaces_with(7, Addresses::Both) else { return };
    grid.node(0).init();
    let token = grid.node(0).token(&["--uses", "6"]);
    let (four, six) = (grid.network().ip4(0), grid.network().ip6(0));
    let ways = [
        four.clone(),
        format!("{four}:{PORT}"),
        format!("[{six}]:{PORT}"),
        six.clone(),
        format!("/ip4/{four}/tcp/{PORT}"),
        format!("cellar:{PORT}"),
    ];
    grid.network().set_hosts(6, &format!("127.0.0.1 localhost\n{four} cellar\n{six} cellar\n"));
    for (node, way) in grid.nodes()[1..].iter().zip(&ways) {
        node.join(&token, &["--via".to_owned(), way.clone()]);
    }
    grid.wait_until_ready(7);
    for (node, way) in grid.nodes()[1..].iter().zip(&ways) {
        // Later a star goes to the Nucleus by whatever address answers first.
        assert!(
            node.said().lines().any(|line| line.starts_with("through") && line.ends_with(way)),
            "{}",
            node.said()
        );
    }
}
