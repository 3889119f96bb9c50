//! `orbit sync` between nodes: a job of the grid, submitted, shown, agreed to and followed to its end.

use super::consent;
use crate::args::options::{EndpointArg, RequestArgs, SyncArgs};
use crate::exit::{CliError, Exit};
use crate::interrupt;
use crate::render::jobs::{self, Follower};
use crate::session::Session;
use orbit_core::endpoint::Endpoint;
use orbit_core::grid::job::{JobMode, JobOptions, JobPath, JobRule, JobTrash};
use orbit_node::api::client::{ApiClient, segment};
use orbit_node::api::job_types::{JobEndView, JobRequest, JobView};
use orbit_node::api::types::ThisNode;
use orbit_node::standalone::request::FilterRule;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long one question for news waits: Ctrl-C is looked at between them.
const NEWS_WAIT_MS: u64 = 500;

pub(super) fn run(session: &Session, arguments: SyncArgs) -> anyhow::Result<Exit> {
    let SyncArgs { request, dry_run, yes, progress } = arguments;
    if !(yes || dry_run || consent::can_ask()) {
        return Err(CliError::NobodyToAskForSync.into());
    }
    let client = session.client()?;
    let mode = match (dry_run, yes) {
        (true, _) => JobMode::Dry,
        (false, true) => JobMode::Run,
        (false, false) => JobMode::Ask,
    };
    let wish = wish(&client, request, mode)?;
    let stop = interrupt::stop_flag();
    let job: JobView = client.post("/v1/jobs", &wish)?;
    jobs::submitted(&session.screen, &job).map_err(CliError::Output)?;
    let follower = Follower::new(session, progress.progress);
    let id = job.id.clone();
    let Some(job) = follow(&client, job, &stop, follower, |job| job.is_ended || job.state == "planned")?
    else {
        jobs::detached(&session.screen, &id).map_err(CliError::Output)?;
        return Ok(Exit::Partial);
    };
    if job.is_ended {
        return finish(session, &client, &job, mode);
    }
    jobs::plan(&session.screen, &job).map_err(CliError::Output)?;
    let is_empty = job.totals.is_some_and(|totals| totals.is_nothing_to_do());
    if !is_empty && let Err(declined) = consent::go_on(session) {
        let _: JobView = client.post(&path(&job.id, "cancel"), &())?;
        client.delete(&path(&job.id, ""))?;
        return Err(declined.into());
    }
    let job: JobView = client.post(&path(&job.id, "approve"), &())?;
    watch(session, &client, job, &stop, progress.progress)
}

/// Follows a job to its end, and tells how it ended.
pub(super) fn watch(
    session: &Session,
    client: &ApiClient,
    job: JobView,
    stop: &Arc<AtomicBool>,
    wants_progress: bool,
) -> anyhow::Result<Exit> {
    let (id, mode) = (job.id.clone(), job.mode);
    let follower = Follower::new(session, wants_progress);
    if let Some(job) = follow(client, job, stop, follower, |job| job.is_ended)? {
        return finish(session, client, &job, mode);
    }
    jobs::detached(&session.screen, &id).map_err(CliError::Output)?;
    Ok(Exit::Partial)
}

/// The path of a job in the API.
pub(super) fn path(job: &str, deed: &str) -> String {
    let slash = if deed.is_empty() { "" } else { "/" };
    format!("/v1/jobs/{}{slash}{deed}", segment(job))
}

/// Follows a job until it is where it is wanted; none: the person has seen enough.
fn follow(
    client: &ApiClient,
    mut job: JobView,
    stop: &AtomicBool,
    mut follower: Follower,
    is_there: impl Fn(&JobView) -> bool,
) -> anyhow::Result<Option<JobView>> {
    loop {
        follower.show(&job).map_err(CliError::Output)?;
        if is_there(&job) {
            return Ok(Some(job));
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let query = format!("{}?after={}&wait_ms={NEWS_WAIT_MS}", path(&job.id, ""), job.version);
        match client.get(&query) {
            Ok(news) => job = news,
            // The job goes on without whoever watches it.
            Err(error) if follower.is_patient(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells how a job ended.
fn finish(session: &Session, client: &ApiClient, job: &JobView, mode: JobMode) -> anyhow::Result<Exit> {
    let exit = jobs::ended(&session.screen, job, mode)?;
    if mode == JobMode::Dry {
        // Its plan was all that was wanted.
        client.delete(&path(&job.id, ""))?;
    }
    Ok(exit)
}

/// What the arguments ask for.
fn wish(client: &ApiClient, arguments: RequestArgs, mode: JobMode) -> anyhow::Result<JobRequest> {
    let mut texts = Vec::new();
    for file in &arguments.filter.ignore_files {
        let bytes =
            std::fs::read(file).map_err(|source| CliError::ReadFile { path: file.clone(), source })?;
        texts.push(String::from_utf8(bytes).map_err(|_| CliError::IgnoreFile { path: file.clone() })?);
    }
    let rule = |rule| match rule {
        FilterRule::Exclude(pattern) => JobRule::Exclude(pattern),
        FilterRule::Include(pattern) => JobRule::Include(pattern),
    };
    let job_path = |path: PathBuf| JobPath::new(path.as_os_str().as_bytes());
    let options = JobOptions {
        mirror: arguments.mirror,
        max_delete_percent: arguments.max_delete,
        trash: match arguments.trash {
            None => JobTrash::Off,
            Some(None) => JobTrash::Default,
            Some(Some(directory)) => JobTrash::Directory(job_path(directory)),
        },
        checksum: arguments.checksum,
        verify: arguments.verify,
        rules: arguments.filter.rules.into_iter().map(rule).collect(),
        ignore_texts: texts,
        bandwidth: arguments.bwlimit,
        jobs: arguments.jobs.map_or(0, |jobs| u16::try_from(jobs).unwrap_or(u16::MAX)),
        one_file_system: arguments.one_file_system,
        owner: !arguments.no_owner,
        permissions: !arguments.no_perms,
        xattrs: !arguments.no_xattrs,
        source_marker: arguments.source_marker.map(job_path),
    };
    Ok(JobRequest {
        source: end(client, arguments.source)?,
        destination: end(client, arguments.destination)?,
        options,
        mode,
    })
}

/// An endpoint as the grid knows it: a path of this machine is this node's.
fn end(client: &ApiClient, endpoint: EndpointArg) -> anyhow::Result<JobEndView> {
    match endpoint.0 {
        Endpoint::Remote { node, path } => Ok(JobEndView { node, path: JobPath::new(path) }),
        Endpoint::Local(path) => {
            let this: ThisNode = client.get("/v1/node")?;
            Ok(JobEndView { node: this.id, path: JobPath::new(absolute(&path)?) })
        }
    }
}

/// A path of this machine without `.` and `..`, a slash at its end kept: it says something.
fn absolute(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |source| CliError::ReadFile { path: path.to_owned(), source };
    let mut whole = std::path::absolute(path).map_err(unreadable)?;
    if whole.components().any(|component| component == Component::ParentDir) {
        // Where it leads is known to the file system alone: a link may lie before the dots.
        whole = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(name)) => std::fs::canonicalize(parent).map_err(unreadable)?.join(name),
            _ => std::fs::canonicalize(&whole).map_err(unreadable)?,
        };
    }
    let mut bytes = whole.as_os_str().as_bytes().to_vec();
    if path.as_os_str().as_bytes().ends_with(b"/") && bytes.last() != Some(&b'/') {
        bytes.push(b'/');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn made(path: &Path) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&absolute(path).expect("a path")))
    }

    #[test]
    fn paths_of_this_machine_are_made_plain() {
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(made(Path::new("./x/./y")), here.join("x/y"));
        assert_eq!(made(Path::new("/srv/a/")).as_os_str(), "/srv/a/");
        let place = tempfile::tempdir().expect("makes a directory");
        std::fs::create_dir(place.path().join("a")).expect("makes a directory");
        let real = std::fs::canonicalize(place.path()).expect("is there");
        assert_eq!(made(&place.path().join("a/../b")), real.join("b"));
        assert!(absolute(&place.path().join("missing/../b")).is_err());
    }
}
