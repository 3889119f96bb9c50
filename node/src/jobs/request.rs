//! A job's options as the request that the engine takes.

use crate::standalone::request::{FilterRule, SyncRequest, Trash};
use orbit_core::grid::job::{JobPath, JobRule, JobTrash};
use orbit_core::wire::job::JobSpec;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the engine is asked for. The source is named for messages alone.
pub(super) fn of_spec(spec: &JobSpec) -> SyncRequest {
    let options = &spec.options;
    let rule = |rule: &JobRule| match rule {
        JobRule::Exclude(pattern) => FilterRule::Exclude(pattern.clone()),
        JobRule::Include(pattern) => FilterRule::Include(pattern.clone()),
    };
    SyncRequest {
        source: PathBuf::from(spec.source.to_string()),
        destination: path(&spec.destination.path),
        mirror: options.mirror,
        max_delete_percent: options.max_delete_percent,
        trash: match &options.trash {
            JobTrash::Off => Trash::Off,
            JobTrash::Default => Trash::Default,
            JobTrash::Directory(directory) => Trash::Directory(path(directory)),
        },
        checksum: options.checksum,
        verify: options.verify,
        rules: options.rules.iter().map(rule).collect(),
        ignore_files: Vec::new(),
        ignore_texts: options.ignore_texts.clone(),
        bandwidth: options.bandwidth.clone(),
        jobs: options.jobs.into(),
        one_file_system: options.one_file_system,
        owner: options.owner,
        permissions: options.permissions,
        xattrs: options.xattrs,
        source_marker: options.source_marker.as_ref().map(path),
    }
}

fn path(path: &JobPath) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.as_bytes()))
}
