//! The way the data of a job takes, past firewalls and cuts, and what is told of it. Needs root.
#![cfg(target_os = "linux")]

use orbit_tests::grid::Grid;
use orbit_tests::grid::network::Addresses;
use orbit_tests::orbit::Exit;
use orbit_tests::snapshot::assert_same_tree;
use orbit_tests::tree::Tree;

/// Syncs a tree from the second node to the third, with the first, the Nucleus, looking on; the way that the data took.
fn way_of_a_sync(grid: &Grid, name: &str) -> String {
    let (nucleus, source, destination) = (grid.node(0), grid.node(1), grid.node(2));
    Tree::mixed(&source.allowed().join(name), 5, 40);
    let (from, to) = (source.endpoint(name), destination.endpoint(name));
    nucleus.run(["sync", &from, &to, "-y"]).expect(Exit::Done);
    assert_same_tree(&source.allowed().join(name), &destination.allowed().join(name));
    let jobs = nucleus.json_list(["job", "ls"]);
    let is_it = |job: &&serde_json::Value| {
        job["destination"]["path"].as_str().is_some_and(|path| path.ends_with(&format!("/{name}")))
    };
    let job = jobs.iter().find(is_it);
    let id = job.and_then(|job| job["id"].as_str()).expect("the job is listed").to_owned();
    let shown = nucleus.json(["job", "show", &id]);
    shown["route"].as_str().unwrap_or_else(|| panic!("it says which way: {shown:#}")).to_owned()
}

#[test]
fn data_finds_a_way_and_the_way_is_told() {
    let Some(grid) = Grid::namespaces(3) else { return };
    grid.assemble();
    let (network, source, destination) = (grid.network(), 1, 2);
    let way = way_of_a_sync(&grid, "open");
    assert!(way.starts_with(&format!("direct, tcp4 {}:", network.ip4(source))), "{way}");

    // A firewall before the source lets in the mesh alone.
    if !network.close_but(source, 4001) {
        return;
    }
    let way = way_of_a_sync(&grid, "source-closed");
    assert!(way.starts_with("direct, dialled by the source, tcp4 "), "{way}");

    // So does one before the destination.
    network.close_but(destination, 4001);
    let way = way_of_a_sync(&grid, "both-closed");
    assert!(way.starts_with("over the mesh connection"), "{way}");

    // They do not reach each other at all, and both reach the Nucleus.
    network.unite();
    network.deafen(source, destination);
    network.deafen(destination, source);
    let way = way_of_a_sync(&grid, "apart");
    assert!(way.starts_with("relayed through the Nucleus"), "{way}");

    network.unite();
    let way = way_of_a_sync(&grid, "open-again");
    assert!(way.starts_with(&format!("direct, tcp4 {}:", network.ip4(source))), "{way}");
}

#[test]
fn data_goes_over_ipv6_where_there_is_nothing_else() {
    let Some(grid) = Grid::namespaces_with(3, Addresses::Six) else { return };
    grid.assemble();
    let way = way_of_a_sync(&grid, "six");
    assert!(way.starts_with(&format!("direct, tcp6 [{}]:", grid.network().ip6(1))), "{way}");
}
