//! What a person does in the first ten minutes, on three machines on one switch, without typing an address.
#![cfg(target_os = "linux")]

use orbit_tests::grid::node::Node;
use orbit_tests::grid::{Grid, PATIENCE};
use orbit_tests::orbit::{Exit, Run};
use orbit_tests::report::say;
use orbit_tests::tree::Tree;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Instant;

/// From `join` to `ready`; what is aimed at is measured with a release build, a busy machine is allowed more.
const READY_WITHIN_MS: u128 = 15_000;

#[test]
fn a_grid_is_founded_and_joined_without_an_address() {
    let Some(grid) = Grid::namespaces(3) else { return };
    found(&grid);
    join(&grid);
    any_node_answers(&grid);
}

#[test]
fn what_a_star_says_is_what_the_same_command_says_there() {
    let Some(grid) = assembled() else { return };
    remote_and_local_say_the_same(&grid);
}

#[test]
fn a_grid_is_kept_in_order_from_any_node() {
    let Some(grid) = assembled() else { return };
    nodes_are_named_and_drained_from_anywhere(&grid);
    constellations_are_made_from_anywhere(&grid);
    tokens_are_listed_and_removed(&grid);
}

#[test]
fn nodes_are_removed_and_leave() {
    let Some(grid) = assembled() else { return };
    Tree::at(&grid.node(1).allowed().join("tree"), 1).write("file", "1");
    nodes_go(&grid);
}

/// Three nodes on one switch.
fn assembled() -> Option<Grid> {
    let grid = Grid::namespaces(3)?;
    grid.assemble();
    Some(grid)
}

fn found(grid: &Grid) {
    let founder = grid.node(0);
    founder.init();
    let said = founder.said();
    let allowed = founder.allowed().to_str().expect("is text");
    for text in ["nas1", allowed, &grid.network().ip4(0), "orbit token create"] {
        assert!(said.contains(text), "`node init` should say {text}:\n{said}");
    }
    let status = founder.run(["status"]).expect(Exit::Done);
    let first = status.stdout.lines().next().unwrap_or_default().to_lowercase();
    assert!(first.contains("healthy"), "{status}");
}

/// The line that `token create` prints is what is typed on the other two, at the same time.
fn join(grid: &Grid) {
    let run = grid.node(0).run(["token", "create", "--uses", "2"]).expect(Exit::Done);
    let line = run.stdout.lines().find_map(|line| line.find("orbit node join").map(|at| &line[at..]));
    let line = line.unwrap_or_else(|| panic!("no line to type\n{run}"));
    // The directory in it stands for one that the person knows.
    let typed: Vec<&str> = line.split_whitespace().skip(1).take_while(|word| *word != "--allow").collect();
    let begun = Instant::now();
    for node in &grid.nodes()[1..] {
        let allowed = node.allowed().to_str().expect("is text");
        let more = ["--name", node.name(), "--allow", allowed, "--run"];
        node.start_daemon(typed.iter().copied().chain(more));
    }
    let mut seen = BTreeSet::new();
    while seen.len() < grid.nodes().len() {
        assert!(begun.elapsed() < PATIENCE, "only {seen:?} are ready");
        for node in grid.node(0).try_list().unwrap_or_default() {
            let name = node["name"].as_str().expect("has a name").to_owned();
            // With its first heartbeat comes its load.
            if node["state"] == "ready"
                && !node["load"].is_null()
                && seen.insert(name.clone())
                && name != "nas1"
            {
                let took = begun.elapsed().as_millis();
                say(&format!("{name}: ready {took} ms after `join` was typed"));
                assert!(took < READY_WITHIN_MS, "{name} took {took} ms");
            }
        }
    }
}

fn any_node_answers(grid: &Grid) {
    let listed = |node: &Node| {
        let nodes = node.json_list(["node", "ls"]);
        let row = |node: &Value| {
            (node["name"].clone().to_string(), node["id"].to_string(), node["is_nucleus"].clone())
        };
        nodes
            .iter()
            .map(row)
            .map(|(name, id, nucleus)| format!("{name} {id} {nucleus}"))
            .collect::<BTreeSet<_>>()
    };
    let first = listed(grid.node(0));
    assert_eq!(first.len(), 3);
    for node in grid.nodes() {
        assert_eq!(listed(node), first, "as {} lists them", node.name());
        let table = node.run(["node", "ls"]).expect(Exit::Done);
        for other in grid.nodes() {
            table.clone().expect_says(other.name());
        }
        let status = node.json(["status"]);
        assert_eq!(status["nodes"]["ready"], 3, "{status}");
        assert_eq!(status["nucleus"], "nas1", "{status}");
        assert!(!status["sentence"].as_str().unwrap_or_default().is_empty(), "{status}");
    }
    let shown = grid.node(2).show("nas2");
    assert_eq!(shown["allowed_paths"][0], grid.node(1).allowed().to_str().expect("is text"), "{shown}");
    assert_eq!(shown["link"]["kind"], "tcp4", "{shown}");
    for field in ["version", "platform", "peer", "last_seen_ms", "joined_ms"] {
        assert!(!shown[field].is_null(), "{field} in {shown}");
    }
    // The load comes with a heartbeat; the round trip with the one after it.
    grid.wait_until("nas2 tells its load and round trip", |nodes| {
        let node = nodes.iter().find(|node| node["name"] == "nas2");
        node.is_some_and(|node| {
            node["load"]["memory_total"].as_u64() > Some(0)
                && !node["load"]["disks"].as_array().is_none_or(Vec::is_empty)
                && node["link"]["rtt_us"].as_u64().is_some()
        })
    });
}

fn remote_and_local_say_the_same(grid: &Grid) {
    let asker = grid.node(2);
    let stars = [grid.node(1), grid.node(0)];
    for (seed, star) in (40..).zip(stars) {
        let mut tree = Tree::mixed(&star.allowed().join("tree"), seed, 80);
        tree.file("large", 3 << 20);
        tree.write("on both", "the same bytes on both machines");
    }
    for star in stars {
        let (remote, local) = (star.endpoint("tree"), star.allowed().join("tree"));
        let local = local.to_str().expect("is text");
        for command in
            [&["scan"][..], &["scan", "--json"], &["hash", "--json"], &["hash", "--chunks", "--json"]]
        {
            let run =
                |endpoint: &str| asker.run(command.iter().copied().chain([endpoint])).expect(Exit::Done);
            assert_same_lines(&run(&remote), &run(local));
        }
        let (remote, local) = (star.endpoint("tree/large"), format!("{local}/large"));
        assert_same_lines(
            &asker.run(["hash", &remote, "--json"]).expect(Exit::Done),
            &asker.run(["hash", &local, "--json"]).expect(Exit::Done),
        );
    }
    browsing(grid);
    let endpoint = |star: &Node| star.endpoint("tree");
    let path = |star: &Node| star.allowed().join("tree").to_str().expect("is text").to_owned();
    let remote = asker.run(["dedup", &endpoint(stars[0]), &endpoint(stars[1]), "--json"]).expect(Exit::Done);
    let local = asker.run(["dedup", &path(stars[0]), &path(stars[1]), "--json"]).expect(Exit::Done);
    let (remote, local) = (duplicates(&remote), duplicates(&local));
    assert!(!local.is_empty());
    assert_eq!(remote, local);
}

/// From the top of a star down to its jail, and into it.
fn browsing(grid: &Grid) {
    let star = grid.node(1);
    let mut at = String::from("/");
    for part in star.allowed().iter().skip(1) {
        let part = part.to_str().expect("is text");
        grid.node(2).run(["ls", &format!("{}:{at}", star.name())]).expect(Exit::Done).expect_says(part);
        at.push_str(part);
        at.push('/');
    }
    let inside = grid.node(2).run(["ls", &star.endpoint("tree")]).expect(Exit::Done);
    inside.expect_says("large").expect_says("on both");
}

#[track_caller]
fn assert_same_lines(remote: &Run, local: &Run) {
    let lines = |run: &Run| run.stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(!local.stdout.is_empty(), "{local}");
    assert!(lines(remote) == lines(local), "the star says something else\n{remote}\n{local}");
}

/// Each set of duplicates: its content and its paths without the names of nodes.
fn duplicates(run: &Run) -> BTreeSet<(String, u64, BTreeSet<String>)> {
    let of_set = |set: &Value| {
        let path = |file: &Value| {
            let path = file["path"].as_str().expect("has a path");
            path.find('/').map_or(path, |at| &path[at..]).to_owned()
        };
        let files = set["files"].as_array().expect("has files").iter().map(path).collect();
        (set["root"].to_string(), set["size"].as_u64().expect("has a size"), files)
    };
    run.events().iter().filter(|event| event["event"] == "duplicates").map(of_set).collect()
}

fn nodes_are_named_and_drained_from_anywhere(grid: &Grid) {
    let [first, second, third] = [grid.node(0), grid.node(1), grid.node(2)];
    let id = first.show("nas2")["id"].clone();
    third.run(["node", "rename", "nas2", "cellar"]).expect(Exit::Done);
    assert_eq!(first.show("cellar")["id"], id);
    first.run(["node", "show", "nas2"]).expect(Exit::Missing);
    // It knows its own name.
    orbit_tests::wait::until("the node knows its new name", || second.run(["node", "ls"]).says("cellar"));
    third.run(["node", "rename", "cellar", "nas1"]).expect(Exit::Refused).expect_says("nas1");
    third.run(["node", "rename", "cellar", "nas2"]).expect(Exit::Done);

    second.run(["node", "drain", "nas3"]).expect(Exit::Done);
    assert_eq!(first.show("nas3")["is_draining"], true);
    assert_eq!(third.json(["status"])["nodes"]["draining"], 1);
    first.run(["node", "drain", "nas3", "--undo"]).expect(Exit::Done);
    assert_eq!(second.show("nas3")["is_draining"], false);
}

fn constellations_are_made_from_anywhere(grid: &Grid) {
    let [first, second, third] = [grid.node(0), grid.node(1), grid.node(2)];
    second.run(["constellation", "create", "cellar"]).expect(Exit::Done);
    third.run(["constellation", "add", "cellar", "nas1", "nas2"]).expect(Exit::Done);
    third.run(["constellation", "create", "cellar"]).expect(Exit::Refused).expect_says("cellar");
    third.run(["constellation", "add", "celler", "nas1"]).expect(Exit::Missing).expect_says("mean cellar");
    let of = |node: &Node| {
        let list = node.json_list(["constellation", "ls"]);
        list.iter().map(|c| (c["name"].clone(), c["nodes"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(of(first), [(Value::from("cellar"), serde_json::json!(["nas1", "nas2"]))]);
    assert_eq!(first.show("nas2")["constellations"], serde_json::json!(["cellar"]));
    first.run(["constellation", "rm", "cellar", "nas2"]).expect(Exit::Done);
    assert_eq!(of(third), [(Value::from("cellar"), serde_json::json!(["nas1"]))]);
    second.run(["constellation", "rm", "cellar"]).expect(Exit::Done);
    assert!(of(first).is_empty());
}

fn tokens_are_listed_and_removed(grid: &Grid) {
    let [first, second, third] = [grid.node(0), grid.node(1), grid.node(2)];
    let token = second.token(&["--ttl", "2h", "--uses", "7"]);
    let listed = first.json_list(["token", "ls"]);
    let fresh = listed.iter().find(|token| token["uses"] == 7).expect("is listed");
    assert_eq!((&fresh["state"], &fresh["created_on"]), (&"usable".into(), &"nas2".into()), "{fresh}");
    assert!(listed.iter().any(|token| token["state"] == "used"), "{listed:?}");
    let shown = third.run(["token", "ls"]).expect(Exit::Done);
    assert!(!shown.says(&token), "a listing shows no secret\n{shown}");
    let id = fresh["id"].as_str().expect("has an id");
    third.run(["token", "rm", id]).expect(Exit::Done);
    first.run(["token", "rm", id]).expect(Exit::Missing);
    let left = first.json_list(["token", "ls"]);
    assert!(!left.iter().any(|token| token["id"] == id), "{left:?}");
}

fn nodes_go(grid: &Grid) {
    let [first, second, third] = [grid.node(0), grid.node(1), grid.node(2)];
    second.run(["node", "rm", "nas1"]).expect(Exit::Usage).expect_says("-y");
    // What is removed reaches nothing from that moment on.
    second.run(["node", "rm", "nas3", "-y"]).expect(Exit::Done);
    let refused = third.run(["scan", &second.endpoint("tree")]);
    assert!(matches!(refused.code(), Some(5 | 6)), "{refused}");
    let refused = third.run(["node", "ls"]);
    assert!(matches!(refused.code(), Some(5 | 6)), "{refused}");
    second.run(["scan", &third.endpoint("")]).expect(Exit::Missing).expect_says("nas3");

    second.run(["node", "leave", "-y"]).expect(Exit::Done);
    let status = second.wait_for_end();
    assert_eq!(status.code(), Some(0), "{}", second.log());
    second.run(["node", "ls"]).expect(Exit::Unreachable).expect_says("not in a grid");
    let left = first.json_list(["node", "ls"]);
    assert_eq!(left.len(), 1, "{left:?}");
}
