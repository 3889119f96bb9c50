use super::*;
use crate::exit::CliError;
use orbit_core::RelPath;
use orbit_core::endpoint::Endpoint;
use orbit_core::system::SystemError;
use orbit_node::local::writer::{BeginError, Busy};
use orbit_node::standalone::{Guard, RunError, RunReport};

fn shown(error: impl Into<anyhow::Error>) -> String {
    let error = error.into();
    let text = text(Style::default(), &message(&error), hint::hint(&error).as_deref());
    format!("{text}exit {}\n\n", Exit::of_error(&error).code())
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

#[test]
fn what_people_read() {
    let system = |source| SystemError::Io { operation: "flush".into(), path: RelPath::root(), source };
    let report = Box::new(RunReport::default());
    let errors = [
        shown(CliError::NotInGrid {
            endpoint: Endpoint::Remote { node: "nas2".into(), path: b"/srv".to_vec() },
        }),
        shown(CliError::NoDataDir),
        shown(CliError::File { path: "/man/orbit.1".into(), source: denied() }),
        shown(RunError::NotFound { path: "/srv/phtos".into() }),
        shown(RunError::NoParent { path: "/mnt/the disk/backup".into() }),
        shown(RunError::Path { operation: "open", path: "/root/x".into(), source: denied() }),
        shown(RunError::WrongKind { path: "/run/socket".into(), wanted: "a directory or a file" }),
        shown(RunError::Guard(Guard::DeleteGate { deletions: 399, entries: 1000, limit: 25 })),
        shown(RunError::Guard(Guard::FreeSpace { needed: 5_000_000_000, available: 1_000_000 })),
        shown(RunError::Guard(Guard::MarkerMissing { path: "/srv/.here".into() })),
        shown(RunError::Guard(Guard::EmptySource { path: "/srv".into() })),
        shown(RunError::Guard(Guard::Same { source_path: "/srv".into(), destination: "/srv/.".into() })),
        shown(RunError::Begin { path: "/mnt/b".into(), source: BeginError::Busy(Busy { pid: Some(4711) }) }),
        shown(RunError::System(SystemError::Escapes { path: RelPath::new("a/b").expect("a path") })),
        shown(RunError::Stale { path: RelPath::new("a/b").expect("a path"), changes: 3 }),
        shown(RunError::NoSpace { path: "/mnt/b".into(), report: report.clone() }),
        shown(RunError::NotDurable {
            path: "/mnt/b".into(),
            source: system(io::ErrorKind::Other.into()),
            report,
        }),
        shown(RunError::Interrupted),
    ];
    insta::assert_snapshot!(errors.concat());
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let closed = anyhow::Error::from(CliError::Output(io::ErrorKind::BrokenPipe.into()));
    assert_eq!(Exit::of_error(&closed), Exit::Done);
    let full = anyhow::Error::from(CliError::Output(io::ErrorKind::StorageFull.into()));
    assert_eq!(Exit::of_error(&full), Exit::Unexpected);
}

#[test]
fn usage_errors_as_json() {
    let error = crate::args::parse_from(["orbit", "snyc", "--json"]).expect_err("no such command");
    let (message, hint) = split_usage(&error.render().to_string());
    assert_eq!(message, "unrecognized subcommand 'snyc'");
    assert_eq!(hint.as_deref(), Some("a similar subcommand exists: 'sync'"));
}

#[test]
fn an_unknown_command_that_resembles_none() {
    let hint_for = |word| {
        let error = crate::args::parse_from(["orbit", word]).expect_err("no such command");
        unknown_command_hint(&error)
    };
    let hint = hint_for("node").expect("a hint");
    assert!(hint.starts_with("the commands are sync, plan, scan, "), "{hint}");
    assert_eq!(hint_for("snyc"), None, "clap suggests one by itself");
}
