use super::*;
use crate::exit::CliError;
use orbit_core::RelPath;
use orbit_core::endpoint::Endpoint;
use orbit_core::grid::refusal::RefusalKind;
use orbit_core::grid::{Refusal, TokenError};
use orbit_core::system::SystemError;
use orbit_node::api::client::ClientError;
use orbit_node::api::types::{ApiError, ErrorCode};
use orbit_node::daemon::DaemonError;
use orbit_node::local::writer::{BeginError, Busy};
use orbit_node::remote::RemoteError;
use orbit_node::standalone::{Guard, RunError, RunReport};

fn shown(error: impl Into<anyhow::Error>) -> String {
    let error = error.into();
    let text = text(Style::default(), &message(&error), hint::hint(&error).as_deref());
    format!("{text}exit {}\n\n", Exit::of_error(&error).code())
}

fn remote() -> Endpoint {
    Endpoint::Remote { node: "nas2".into(), path: b"/srv".to_vec() }
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

#[test]
fn what_people_read() {
    let system = |source| SystemError::Io { operation: "flush".into(), path: RelPath::root(), source };
    let report = Box::new(RunReport::default());
    let errors = [
        shown(CliError::Elsewhere { endpoint: remote() }),
        shown(CliError::ApplyElsewhere { endpoint: remote() }),
        shown(CliError::NobodyToAsk { deed: "removing nas3 from the grid".into() }),
        shown(CliError::Declined),
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

fn api(refusal: &Refusal) -> ClientError {
    let code = match refusal.kind() {
        RefusalKind::Usage => ErrorCode::Usage,
        RefusalKind::NotFound => ErrorCode::NotFound,
        RefusalKind::Unreachable => ErrorCode::Unreachable,
        RefusalKind::Refused => ErrorCode::Refused,
        RefusalKind::Failed => ErrorCode::Failed,
    };
    ClientError::Api(ApiError::new(code, refusal.to_string(), refusal.hint()))
}

/// The mistakes of a grid, as they reach the command line: from this machine's daemon, from a star, and before there is
/// a daemon.
#[test]
fn what_people_read_of_a_grid() {
    let token = orbit_core::ids::TokenId::from_bytes([0xa1; 6]);
    let data_dir = std::path::PathBuf::from("/var/lib/orbit");
    let unknown = Refusal::UnknownNode { name: "nas22".into(), nearest: Some("nas2".into()) };
    let away = Refusal::NodeUnreachable { name: "nas3".into(), last_seen_ago_ms: 42_000 };
    let jail =
        Refusal::OutsideJail { node: "nas2".into(), path: "/etc".into(), allowed: vec!["/srv".into()] };
    let broken = RemoteError::Link(io::ErrorKind::ConnectionReset.into());
    let no_grid = DaemonError::NoGridFound {
        reason: "nobody answered on eth0 in 10 s; multicast does not cross routers, VLANs or a container's bridge network"
            .into(),
        fix: "name a node of the grid: --via HOST".into(),
    };
    let errors = [
        shown(DaemonError::from(Refusal::TokenExpired { token, ago_ms: 300_000 })),
        shown(DaemonError::from(Refusal::TokenUsed { token, uses: 1 })),
        shown(DaemonError::from(TokenError::CutOff { have: 120, want: 146 })),
        shown(no_grid),
        shown(DaemonError::Clock { ahead_ms: -93_600_000 }),
        shown(DaemonError::NoPaths),
        shown(DaemonError::AlreadyInGrid {
            grid: "home".into(),
            name: "nas1".into(),
            data_dir: data_dir.clone(),
        }),
        shown(DaemonError::Removed { name: "nas2".into(), grid: "home".into() }),
        shown(DaemonError::NotInGrid { data_dir: data_dir.clone() }),
        shown(ClientError::NotInGrid { data_dir: data_dir.clone() }),
        shown(ClientError::NotRunning { data_dir }),
        shown(ClientError::Timeout { patience: std::time::Duration::from_secs(30) }),
        shown(ClientError::Socket { socket: "/var/lib/orbit/orbit.sock".into(), source: denied() }),
        shown(api(&unknown)),
        shown(api(&Refusal::NoNucleus { node: "nas2".into() })),
        shown(api(&Refusal::IsNucleus { name: "nas1".into() })),
        shown(RunError::Grid(api(&unknown))),
        shown(RunError::of_star("nas3:/srv".into(), RemoteError::Link(api(&away).into_io()))),
        shown(RunError::of_star("nas2:/etc".into(), RemoteError::Refused(jail))),
        shown(RunError::of_star("nas2:/srv".into(), broken)),
        shown(RunError::of_star("nas2:/srv".into(), RemoteError::Link(io::ErrorKind::TimedOut.into()))),
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
    let hint = hint_for("frobnicate").expect("a hint");
    assert!(hint.starts_with("the commands are sync, plan, scan, "), "{hint}");
    assert_eq!(hint_for("snyc"), None, "clap suggests one by itself");
}
