//! The contract of the command line: endpoints, exit codes, what is printed and where.
#![cfg(target_os = "linux")]

use orbit_tests::orbit::Exit;
use orbit_tests::scene::Scene;
use orbit_tests::snapshot::{Snapshot, assert_same_tree};
use std::fs;
use std::process::Stdio;

#[test]
fn urls_are_never_taken_for_local_paths() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let before = Snapshot::take(scene.orbit.home());
    for url in ["s3://bucket", "smb://host/share", "file:///tmp/x", "sftp://h/p"] {
        let sync = |a: &str, b: &str| scene.orbit.run(["sync", "--mirror", a, b]).expect(Exit::Usage);
        let source = scene.source.to_str().expect("is text");
        sync(source, url).expect_says(url.split(':').next().expect("has a scheme"));
        sync(url, source);
        scene.orbit.run(["scan", url]).expect(Exit::Usage);
    }
    let after = Snapshot::take(scene.orbit.home());
    let made: Vec<_> =
        after.entries.keys().filter(|p| p.starts_with(b"s3") || p.starts_with(b"smb")).collect();
    assert!(made.is_empty() && before.entries.len() <= after.entries.len(), "{made:?} was made");
    assert_eq!(fs::read(scene.source.join("file")).expect("is kept"), b"1");
}

#[test]
fn an_endpoint_on_a_node_is_unreachable_here() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let source = scene.source.to_str().expect("is text");
    scene.orbit.run(["sync", source, "nas2:/x"]).expect(Exit::Usage).expect_says("-y");
    scene.orbit.run(["sync", source, "nas2:/x", "-y"]).expect(Exit::Unreachable).expect_says("not in a grid");
    scene.orbit.run(["sync", "nas2:/x", source, "--mirror", "-y"]).expect(Exit::Unreachable);
    assert_eq!(fs::read(scene.source.join("file")).expect("is kept"), b"1");
}

#[test]
fn a_local_path_with_a_colon_is_local() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.orbit.run(["sync", scene.source.to_str().expect("is text"), "./a:b"]).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.orbit.home().join("a:b"));
}

#[test]
fn a_missing_source_is_named_and_nothing_is_made() {
    let scene = Scene::new();
    let run = scene.sync(&["--mirror"]).expect(Exit::Missing);
    assert!(run.says("source"), "{run}");
    assert!(!scene.destination.exists());
    scene.destination_tree().write("precious", "1");
    scene.sync(&["--mirror", "--max-delete", "100"]).expect(Exit::Missing);
    assert!(scene.destination.join("precious").exists());
}

#[test]
fn unknown_flags_are_refused() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.sync(&["--does-not-exist"]).expect(Exit::Usage);
    scene.sync(&["--max-delete", "many"]).expect(Exit::Usage);
    scene.orbit.run(["sync"]).expect(Exit::Usage);
    scene.orbit.run(["snyc", "a", "b"]).expect(Exit::Usage).expect_says("sync");
    assert!(!scene.destination.exists());
}

#[test]
fn the_summary_has_the_fields_of_the_contract() {
    let scene = Scene::new();
    let tree = scene.mixed_source(7, 20);
    tree.write("known length", "12345");
    let run = scene.sync_whole(&[]);
    let summary = run.summary();
    let mut fields: Vec<&str> =
        summary.as_object().expect("is an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut contract = [
        "event",
        "files_total",
        "files_new",
        "files_changed",
        "files_unchanged",
        "files_deleted",
        "files_failed",
        "bytes_total",
        "bytes_written",
        "bytes_reused",
        "bytes_wire",
        "elapsed_ms",
        "exit",
    ];
    contract.sort_unstable();
    assert_eq!(fields, contract, "{run}");
    let snapshot = scene.source_now();
    let files = snapshot.entries.values().filter(|seen| !seen.is_directory()).count() as u64;
    assert_eq!(run.count("files_total"), files, "{run}");
    assert_eq!(run.count("exit"), 0, "{run}");
    assert_eq!(run.count("bytes_wire"), 0, "{run}");
    assert!(run.count("bytes_total") >= 5, "{run}");
}

#[test]
fn nothing_is_drawn_on_a_pipe() {
    let scene = Scene::new();
    scene.mixed_source(8, 50).file("large", 8 << 20);
    let arguments = ["sync".as_ref(), scene.source.as_os_str(), scene.destination.as_os_str()];
    let run = scene.orbit.run(arguments).expect(Exit::Done);
    for text in ["\r", "\u{1b}["] {
        assert!(!run.stderr.contains(text) && !run.stdout.contains(text), "{text:?} on a pipe\n{run}");
    }
    assert!(!run.stdout.is_empty(), "a final line says what happened\n{run}");
}

#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    let scene = Scene::new();
    let source = scene.source_tree();
    for number in 0..5_000 {
        source.write(format!("some name that fills the pipe's buffer {number}"), "");
    }
    for command in ["scan", "scan --json", "hash", "sync -n DST"] {
        let command = command.split(' ').collect::<Vec<_>>();
        let mut shell = scene.orbit.environment("sh");
        let (verb, rest) = command.split_first().expect("has a verb");
        let rest = rest.join(" ").replace("DST", "\"$2\"");
        let line = format!("\"$0\" {verb} \"$1\" {rest} | head -n 1");
        shell.arg("-c").arg(line).arg(scene.orbit.binary()).arg(&scene.source).arg(&scene.destination);
        let output = shell.stdin(Stdio::null()).output().expect("a shell starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked") && !stderr.contains("Broken pipe"), "{verb}: {stderr}");
        assert!(!output.stdout.is_empty(), "{verb} prints something");
    }
}

#[test]
fn quiet_says_nothing_and_a_repeat_is_quiet_too() {
    let scene = Scene::new();
    scene.mixed_source(9, 10);
    let arguments = ["sync".as_ref(), scene.source.as_os_str(), scene.destination.as_os_str(), "-q".as_ref()];
    let run = scene.orbit.run(arguments).expect(Exit::Done);
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
}

#[test]
fn a_relative_path_and_a_trailing_slash_mean_the_same() {
    let scene = Scene::new();
    scene.source_tree().write("dir/file", "1");
    let inside = |from: &str, to: &str| {
        let mut command = scene.orbit.command(["sync", from, to]);
        command.current_dir(scene.source.parent().expect("lies in a directory"));
        orbit_tests::orbit::Running::start(command).finish().expect(Exit::Done);
    };
    inside("source/", "destination/");
    assert_same_tree(&scene.source, &scene.destination);
    inside("./source/.", "another");
    assert_same_tree(&scene.source, &scene.path("another"));
    inside("source/../source", "destination/../third");
    assert_same_tree(&scene.source, &scene.path("third"));
}

#[test]
fn a_destination_whose_directory_is_missing_may_be_an_unmounted_disk() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    let run = scene.orbit.sync(&scene.source, &scene.path("mnt/backup"), &[]);
    run.expect(Exit::Missing).expect_says("mnt");
    assert!(!scene.path("mnt").exists());
}

#[test]
fn a_link_to_the_source_or_destination_directory_is_followed() {
    let scene = Scene::new();
    scene.source_tree().write("file", "1");
    scene.destination_tree();
    let (from, to) = (scene.path("from"), scene.path("to"));
    std::os::unix::fs::symlink(&scene.source, &from).expect("links");
    std::os::unix::fs::symlink(&scene.destination, &to).expect("links");
    scene.orbit.sync(&from, &to, &[]).expect(Exit::Done);
    assert_same_tree(&scene.source, &scene.destination);
    assert!(to.is_symlink(), "the link itself is still one");
}
