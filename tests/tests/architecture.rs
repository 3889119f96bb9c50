//! The arrows between the crates, and one owner for each heavy dependency.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What each crate may name; `tests` and `simulations` may name anything.
const ARROWS: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("cdc", &["core"]),
    ("store", &["core"]),
    ("mesh", &["core"]),
    ("consensus", &["core", "store"]),
    ("node", &["core", "cdc", "store", "mesh", "consensus"]),
    ("cli", &["node", "core"]),
];

/// Heavy dependencies, each behind the interface of one crate, or of two that hash for themselves.
const OWNERS: [(&str, &[&str]); 15] = [
    ("rusqlite", &["store"]),
    ("redb", &["store"]),
    ("blake3", &["cdc", "store"]),
    ("fastcdc", &["cdc"]),
    ("gix-glob", &["node"]),
    ("ignore", &["node"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("indicatif", &["cli"]),
    ("libp2p", &["mesh"]),
    ("rcgen", &["mesh"]),
    ("x509-parser", &["mesh"]),
    ("axum", &["node"]),
    ("zstd", &["node"]),
    ("openraft", &["consensus"]),
];

/// Names of the direct dependencies of each crate of the workspace, without `orbit-`.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(workspace);
    let output = cargo.output().expect("cargo starts");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages are a list");
    let name_of = |value: &Value| {
        let name = value["name"].as_str().expect("a name is text");
        name.strip_prefix("orbit-").unwrap_or(name).to_owned()
    };
    let direct = |package: &Value| {
        let list = package["dependencies"].as_array().expect("dependencies are a list");
        list.iter().map(name_of).collect()
    };
    packages.iter().map(|package| (name_of(package), direct(package))).collect()
}

#[test]
fn arrows_point_downwards() {
    let dependencies = dependencies();
    for (from, allowed) in ARROWS {
        let named = dependencies.get(from).unwrap_or_else(|| panic!("there is no crate orbit-{from}"));
        let ours: BTreeSet<&str> =
            named.iter().map(String::as_str).filter(|name| dependencies.contains_key(*name)).collect();
        let forbidden: Vec<_> = ours.iter().filter(|to| **to != from && !allowed.contains(to)).collect();
        assert!(forbidden.is_empty(), "orbit-{from} must not depend on {forbidden:?}");
    }
    let known: BTreeSet<&str> =
        ARROWS.iter().map(|(name, _)| *name).chain(["tests", "simulations"]).collect();
    let unknown: Vec<_> = dependencies.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} have no place in the house yet");
}

/// What decides, stores or cuts needs no asynchronous runtime, and neither do arguments and output.
#[test]
fn the_runtime_stays_where_the_network_is() {
    for (name, direct) in dependencies() {
        let may = ["consensus", "mesh", "node", "tests", "simulations"].contains(&name.as_str());
        assert!(may || !direct.contains("tokio"), "orbit-{name} must not depend on tokio");
    }
}

#[test]
fn heavy_dependencies_have_one_owner() {
    for (dependency, owners) in OWNERS {
        let others: Vec<String> = dependencies()
            .into_iter()
            .filter(|(name, direct)| !owners.contains(&name.as_str()) && direct.contains(dependency))
            .map(|(name, _)| name)
            .collect();
        assert!(others.is_empty(), "{dependency} belongs to {owners:?}, but {others:?} name it");
    }
}
