//! [`Kept`]: what this star keeps of a job on disk: `jobs/ID`, a version byte (1), then CBOR. Plans and checkpoints lie
//! beside it in `jobs/jobs.db`.

use crate::daemon::data_dir::write_whole;
use crate::standalone::error::chain;
use orbit_core::Totals;
use orbit_core::grid::job::JobReport;
use orbit_core::ids::JobId;
use orbit_core::wire::job::JobSpec;
use orbit_core::wire::{decode, encode};
use orbit_store::PlanId;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Version of the file.
const VERSION: u8 = 1;

/// What is kept of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// The attempt that the rest is of.
    pub(super) attempt: u32,
    /// What the job is.
    pub(super) spec: JobSpec,
    /// Its plan, once it was made.
    pub(super) plan: Option<KeptPlan>,
    /// The last report, once it is over.
    pub(super) ended: Option<JobReport>,
    /// What calls that did not reach the end did.
    pub(super) done_before: DoneBefore,
}

/// A plan that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptPlan {
    /// Its id in `jobs.db`.
    #[serde(with = "orbit_core::wire::bytes::fixed")]
    id: [u8; 16],
    /// What it says.
    pub(super) totals: Totals,
    /// The way the data takes.
    pub(super) route: Option<String>,
}

/// What an attempt did before it was interrupted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DoneBefore {
    pub(super) bytes_written: u64,
    pub(super) bytes_reused: u64,
    pub(super) bytes_wire: u64,
    pub(super) elapsed_ms: u64,
    /// How often it was begun.
    pub(super) runs: u32,
}

impl Kept {
    pub(super) fn new(attempt: u32, spec: JobSpec) -> Self {
        Self { attempt, spec, plan: None, ended: None, done_before: DoneBefore::default() }
    }
}

impl KeptPlan {
    pub(super) const fn new(id: PlanId, totals: Totals, route: Option<String>) -> Self {
        Self { id: *id.as_bytes(), totals, route }
    }

    pub(super) const fn id(&self) -> PlanId {
        PlanId::from_bytes(self.id)
    }
}

fn path(directory: &Path, job: JobId) -> PathBuf {
    directory.join(job.to_string())
}

/// Makes the directory, for its owner alone.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Keeps a job, durably.
pub(super) fn save(directory: &Path, job: JobId, kept: &Kept) -> io::Result<()> {
    create(directory)?;
    let mut bytes = vec![VERSION];
    bytes.extend(encode(kept));
    write_whole(&path(directory, job), &bytes)
}

/// Forgets a job.
pub(super) fn remove(directory: &Path, job: JobId) -> io::Result<()> {
    match std::fs::remove_file(path(directory, job)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All jobs that are kept. One that cannot be read is as good as none: the Nucleus will say again what it wants.
pub(super) fn load_all(directory: &Path) -> Vec<(JobId, Kept)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<JobId>().ok());
    let load = |id: JobId| match load(&path(directory, id)) {
        Ok(kept) => Some((id, kept)),
        Err(error) => {
            tracing::warn!(job = %id, error = chain(&error), "what is kept of a job cannot be read");
            None
        }
    };
    ids.filter_map(load).collect()
}

fn load(path: &Path) -> io::Result<Kept> {
    let invalid = |error: orbit_core::wire::WireError| io::Error::new(io::ErrorKind::InvalidData, error);
    match std::fs::read(path)?.split_first() {
        Some((&VERSION, body)) => decode(body).map_err(invalid),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orbit_core::grid::job::{JobEnd, JobOptions, JobPath};
    use orbit_core::ids::NodeId;

    #[test]
    fn a_job_is_kept_and_forgotten() {
        let place = tempfile::tempdir().expect("makes a directory");
        let directory = place.path().join("jobs");
        assert!(load_all(&directory).is_empty());
        let end = |byte: u8| JobEnd {
            node: NodeId::from_bytes([byte; 16]),
            name: format!("nas{byte}"),
            path: JobPath::new("/data"),
        };
        let options = JobOptions::default();
        let spec = JobSpec { source: end(1), destination: end(2), options, is_asked: false };
        let plan = KeptPlan::new(PlanId::from_bytes([9; 16]), Totals::default(), Some("direct".into()));
        let kept = Kept { plan: Some(plan), ..Kept::new(3, spec) };
        let id = JobId::from_bytes([5; 16]);
        save(&directory, id, &kept).expect("is kept");
        std::fs::write(directory.join(JobId::from_bytes([6; 16]).to_string()), b"\x01\xff").expect("writes");
        std::fs::write(directory.join("jobs.db"), b"x").expect("writes");
        assert_eq!(load_all(&directory), [(id, kept)]);
        remove(&directory, id).expect("is removed");
        remove(&directory, id).expect("is gone already");
        assert!(load_all(&directory).is_empty());
    }
}
