use super::node::NodeCommand;
use super::*;
use orbit_node::standalone::request::{FilterRule, SyncRequest, Trash};

fn sync_request(line: &str) -> SyncRequest {
    let words = std::iter::once("orbit").chain(line.split_whitespace());
    match parse_from(words).expect("a valid line").command {
        Command::Sync(arguments) => arguments.request.into_request().expect("local endpoints"),
        other => panic!("not a sync: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    let words = std::iter::once("orbit").chain(line.split_whitespace());
    parse_from(words).expect_err("an invalid line").render().to_string()
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

#[test]
fn help_pages() {
    let mut pages = String::new();
    let mut root = command().term_width(100);
    root.build();
    collect(&mut root, &mut pages);
    insta::assert_snapshot!(pages);
}

fn collect(command: &mut clap::Command, pages: &mut String) {
    let help = command.render_help();
    pages.extend(["════ ", command.get_display_name().unwrap_or("orbit"), "\n", &help.to_string(), "\n"]);
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        collect(inner, pages);
    }
}

#[test]
fn defaults_of_a_sync() {
    let request = sync_request("sync a b");
    assert_eq!((request.source, request.destination), ("a".into(), "b".into()));
    assert_eq!((request.max_delete_percent, request.trash, request.jobs), (25, Trash::Off, 0));
    assert!(request.owner && request.permissions && request.xattrs);
    assert!(!request.mirror && !request.checksum && !request.verify && !request.one_file_system);
}

#[test]
fn filter_rules_keep_their_order() {
    let request =
        sync_request("sync --exclude *.o --include keep.o --exclude=tmp a b --include x --ignore-file f");
    let exclude = |glob: &str| FilterRule::Exclude(glob.to_owned());
    let include = |glob: &str| FilterRule::Include(glob.to_owned());
    assert_eq!(request.rules, [exclude("*.o"), include("keep.o"), exclude("tmp"), include("x")]);
    assert_eq!(request.ignore_files, [PathBuf::from("f")]);
}

#[test]
fn every_option_of_a_sync_arrives() {
    let request = sync_request(
        "sync a b --mirror --max-delete 60% --trash=old -c --verify --bwlimit 08:00,1M -j 4 --one-file-system \
         --no-owner --no-perms --no-xattrs --source-marker .here",
    );
    assert!(request.mirror && request.checksum && request.verify && request.one_file_system);
    assert!(!request.owner && !request.permissions && !request.xattrs);
    assert_eq!((request.max_delete_percent, request.jobs), (60, 4));
    assert_eq!(request.trash, Trash::Directory("old".into()));
    assert_eq!(request.source_marker, Some(".here".into()));
    assert_eq!(request.bandwidth, "08:00,1M".parse().ok());
    assert_eq!(sync_request("sync a b --trash").trash, Trash::Default);
}

#[test]
fn what_is_wrong_is_said() {
    let lines = [
        "snyc a b",
        "frobnicate",
        "node",
        "node int",
        "node join",
        "node join TOKEN --token TOKEN",
        "node join TOKEN --allow /srv --no-files",
        "node drain",
        "token create --ttl soon",
        "token create --role nucleus",
        "constellation add cellar",
        "ls nas2:",
        "sync a",
        "sync a b c",
        "sync s3://bucket b",
        "sync a :b",
        "sync a b --bwlimit 10Q",
        "sync a b --bwlimit 8:00",
        "sync a b --mirror --max-delete 101",
        "sync a b --max-delete 50",
        "sync a b -j 0",
        "sync a b --exlude x",
        "sync a b -q -v",
        "plan a",
        "plan show",
        "scan . -0 --json",
        "completions basic",
    ];
    let said = lines.map(|line| format!("$ orbit {line}\n{}\n", refused(line)));
    insta::assert_snapshot!(said.concat());
}

#[test]
fn a_remote_endpoint_is_understood_and_not_reachable() {
    let words = ["orbit", "sync", "nas2:/srv", "b"];
    let Command::Sync(arguments) = parse_from(words).expect("a valid line").command else {
        panic!("not a sync")
    };
    let error = arguments.request.into_request().expect_err("it is elsewhere");
    assert_eq!(
        error.to_string(),
        "cannot keep a plan with nas2:/srv: stored plans are of this machine alone"
    );
}

#[test]
fn a_token_is_given_in_either_way() {
    let join = |line: &str| match parse_from(line.split(' ')).expect("a valid line").command {
        Command::Node(NodeArgs { command: NodeCommand::Join(arguments) }) => arguments,
        other => panic!("not a join: {other:?}"),
    };
    let short = join("orbit node join orbit-join-a --via nas1 --allow /srv --allow /mnt --run");
    let long = join("orbit node join --token orbit-join-a --hub nas1 --no-files");
    assert_eq!([short.token(), long.token()], ["orbit-join-a"; 2]);
    assert_eq!([short.via, long.via], [Some("nas1".to_owned()), Some("nas1".to_owned())]);
    assert_eq!(short.allow, [PathBuf::from("/srv"), PathBuf::from("/mnt")]);
    assert!(short.own.run && long.no_files && !long.own.run);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_taken() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let odd = OsStr::from_bytes(b"/srv/\xff");
    let words = [OsStr::new("orbit"), OsStr::new("sync"), odd, OsStr::new("b")];
    let Command::Sync(arguments) = parse_from(words).expect("a valid line").command else {
        panic!("not a sync")
    };
    assert_eq!(arguments.request.into_request().expect("local").source, PathBuf::from(odd));
}

#[test]
fn plan_has_two_forms() {
    let plan = |line: &str| match parse_from(line.split(' ')).expect("a valid line").command {
        Command::Plan(arguments) => arguments,
        other => panic!("not a plan: {other:?}"),
    };
    assert!(matches!(plan("orbit plan show 0a").stored, Some(StoredPlanCommand::Show(_))));
    assert!(matches!(plan("orbit plan ls --json").stored, Some(StoredPlanCommand::Ls)));
    let made = plan("orbit plan ./show b --mirror");
    assert!(made.stored.is_none(), "{made:?}");
    assert!(made.make.0.is_some_and(|request| request.mirror));
}
