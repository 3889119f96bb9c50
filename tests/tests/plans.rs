//! Stored plans: made, shown, run, and refused once the disk moved on.
#![cfg(target_os = "linux")]

use orbit_tests::between::Between;
use orbit_tests::orbit::{Exit, Run};
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{assert_none, assert_same_tree, assert_untouched};
use std::fs;

/// Makes a plan and gives its id.
fn plan(scene: &Scene, flags: &[&str]) -> String {
    let mut arguments = vec!["plan".into(), scene.source.clone().into_os_string()];
    arguments.push(scene.destination.clone().into());
    arguments.push("--json".into());
    arguments.extend(flags.iter().map(Into::into));
    let run = scene.orbit.run(arguments).expect(Exit::Done);
    let with_id = run.events().into_iter().find_map(|event| {
        let id = event.get("id").or_else(|| event.get("plan")).cloned()?;
        id.as_str().map(str::to_owned).or_else(|| Some(id["id"].as_str()?.to_owned()))
    });
    with_id.unwrap_or_else(|| panic!("no id of a plan\n{run}"))
}

fn run_plan(scene: &Scene, id: &str) -> Run {
    scene.orbit.run(["plan", "run", id, "--json"])
}

#[test]
fn a_plan_changes_nothing_and_running_it_does_what_it_says() {
    let scene = Scene::new();
    scene.mixed_source(11, 60);
    scene.destination_tree().write("surplus", "to go");
    let before = scene.destination_now();
    let id = plan(&scene, &["--mirror", "--max-delete", "100"]);
    assert_untouched(&before, &scene.destination);
    let shown = scene.orbit.run(["plan", "show", &id]).expect(Exit::Done);
    assert!(shown.says("surplus") && shown.says("holes"), "{shown}");
    assert_untouched(&before, &scene.destination);
    run_plan(&scene, &id).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
}

#[test]
fn a_plan_can_be_named_by_its_beginning() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let id = plan(&scene, &[]);
    scene.orbit.run(["plan", "show", &id[..id.len() - 4]]).expect(Exit::Done).expect_says("file");
    scene.orbit.run(["plan", "show", "00000000-0000-0000-0000-000000000000"]).expect(Exit::Missing);
    scene.orbit.run(["plan", "run", "no-such-plan"]).expect(Exit::Missing);
}

#[test]
fn a_plan_does_not_outlive_a_change_of_the_source() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for number in 0..20 {
        source.write(format!("file {number:02}"), format!("content {number}"));
    }
    scene.sync_whole(&[]);
    let old = scene.destination_now();
    source.write("file 03", "planned");
    source.write("file 04", "planned too");
    let id = plan(&scene, &[]);
    source.write("file 03", "changed after the plan was made");
    run_plan(&scene, &id).expect(Exit::Stale);
    let between = Between { old, new: scene.source_now() };
    assert_none(&between.violations(&scene.destination_now()), "torn by a stale plan");
    scene.sync_whole(&[]);
}

#[test]
fn a_plan_does_not_outlive_a_change_of_the_destination() {
    let scene = Scene::new();
    let source = scene.source_tree();
    source.write("file", "from the source");
    source.write("other", "from the source");
    let destination = scene.destination_tree();
    destination.write("file", "old");
    destination.write("surplus", "planned to be deleted");
    let id = plan(&scene, &["--mirror", "--max-delete", "100"]);
    destination.write("file", "precious work since the plan");
    destination.write("surplus", "precious work since the plan");
    run_plan(&scene, &id).expect(Exit::Stale);
    for name in ["file", "surplus"] {
        assert_eq!(fs::read(destination.path(name)).expect("is kept"), b"precious work since the plan");
    }
}

#[test]
fn a_plan_does_not_overwrite_what_appeared_since() {
    let scene = Scene::new();
    scene.source_tree().write("dir/file", "from the source");
    let id = plan(&scene, &[]);
    scene.destination_tree().write("dir/file", "appeared");
    run_plan(&scene, &id).expect(Exit::Stale);
    assert_eq!(fs::read(scene.destination.join("dir/file")).expect("is kept"), b"appeared");
}

#[test]
fn a_plan_whose_source_is_gone_deletes_nothing() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.destination_tree().write("precious", "1");
    let id = plan(&scene, &["--mirror", "--max-delete", "100"]);
    fs::rename(&scene.source, scene.path("unmounted")).expect("renames");
    let before = scene.destination_now();
    let run = run_plan(&scene, &id);
    assert!(matches!(run.code(), Some(4 | 7 | 8)), "{run}");
    assert_untouched(&before, &scene.destination);
}

#[test]
fn a_plan_that_was_run_can_be_run_again_without_harm() {
    let scene = Scene::new();
    scene.mixed_source(12, 30);
    let id = plan(&scene, &[]);
    run_plan(&scene, &id).expect(Exit::Done);
    let before = scene.destination_now();
    let run = run_plan(&scene, &id);
    assert!(matches!(run.code(), Some(0 | 4 | 7)), "{run}");
    assert_none(&before.differences(&scene.destination_now()), "changed by the second time");
}

#[test]
fn an_empty_plan_is_a_plan() {
    let scene = Scene::new();
    scene.mixed_source(13, 10);
    scene.sync_whole(&[]);
    let before = scene.destination_now();
    let id = plan(&scene, &["--mirror"]);
    run_plan(&scene, &id).expect(Exit::Done);
    assert_none(&before.differences(&scene.destination_now()), "changed by nothing to do");
}

#[test]
fn the_gate_stands_before_a_plan_too() {
    let scene = Scene::new();
    scene.source_tree().write("kept", "1");
    for number in 0..10 {
        scene.destination_tree().write(format!("precious {number}"), "x");
    }
    let before = scene.destination_now();
    let arguments =
        ["plan".as_ref(), scene.source.as_os_str(), scene.destination.as_os_str(), "--mirror".as_ref()];
    let run = scene.orbit.run(arguments);
    if run.code() == Some(0) {
        let id = plan(&scene, &["--mirror"]);
        run_plan(&scene, &id).expect(Exit::Guarded);
    } else {
        run.expect(Exit::Guarded);
    }
    assert_untouched(&before, &scene.destination);
}
