//! What a member of the group keeps in `nucleus/`: seeded when a grid begins, opened when a member starts.
//!
//! | what | |
//! |---|---|
//! | `raft/` | the log |
//! | `CURRENT`, `gen-N/` | the replicated databases |
//! | `snapshots/`, `incoming/` | snapshots of them |
//! | `epoch` | the grid's epoch in which this node became a member of the group, as text: files of an older one than the grid's
//! are never used again |
//! | `seal.key` | the key under which the authority's key is sealed in the databases; mode 0600 |
//!
//! All of it blocks.

use crate::daemon::DaemonError;
use crate::daemon::data_dir::{DataDir, write_whole};
use crate::daemon::seal::{AUTHORITY, SealKey};
use crate::standalone::state::now_ms;
use orbit_consensus::{Databases, seed};
use orbit_core::grid::{Change, GridState, Metered};
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_mesh::key::file;
use orbit_mesh::pki::AuthorityCertificate;
use orbit_store::{
    CurrentUniverse, DirectoryDisk, LogPosition, NucleusStore, RaftLog, forget_taken_over, take_over_grid,
};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a member starts with.
pub(crate) struct Opened {
    pub(crate) log: RaftLog,
    pub(crate) databases: Box<dyn Databases>,
    pub(crate) universe: CurrentUniverse,
    pub(crate) seal: SealKey,
    /// The epoch that the files are of; none is known of a learner that has nothing.
    pub(crate) epoch: Option<u32>,
}

/// Where the seal key lies.
pub(crate) fn seal_key(home: &DataDir) -> PathBuf {
    home.nucleus().join("seal.key")
}

fn raft(home: &DataDir) -> PathBuf {
    home.nucleus().join("raft")
}

/// Whether this node was a member of the group when its files were last used.
pub(crate) fn are_there(home: &DataDir) -> bool {
    seal_key(home).exists() && raft(home).exists()
}

/// Does file work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DaemonError> + Send + 'static,
) -> Result<T, DaemonError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(DaemonError::Ended { what: "a thread that works on the group's files" }))
}

/// Opens what is there; a learner begins with nothing.
pub(crate) fn open(home: &DataDir) -> Result<Opened, DaemonError> {
    let seal = SealKey::load(&seal_key(home))?;
    let log = open_log(home)?;
    let store = match NucleusStore::open(&home.nucleus())? {
        Some(store) => store,
        None if log.last().is_none() && log.purged().is_none() => {
            NucleusStore::seed(&home.nucleus(), &[], &[], &orbit_store::Mark::default())?
        }
        // With a log but without what was applied of it, it would vote and never follow.
        None => return Err(DaemonError::NoRecords { path: home.nucleus() }),
    };
    let by_records = store.load()?.state.header().map(|header| header.epoch);
    let universe = store.universe();
    Ok(Opened { log, databases: Box::new(store), universe, seal, epoch: kept_epoch(home).max(by_records) })
}

fn epoch_file(home: &DataDir) -> PathBuf {
    home.nucleus().join("epoch")
}

/// The epoch in which this node became a member of the group, if it is kept. What cannot be read counts as none.
fn kept_epoch(home: &DataDir) -> Option<u32> {
    std::fs::read_to_string(epoch_file(home)).ok()?.trim().parse().ok()
}

/// Keeps the epoch that the files are of, durably.
pub(crate) fn keep_epoch(home: &DataDir, epoch: u32) -> Result<(), DaemonError> {
    if kept_epoch(home) == Some(epoch) {
        return Ok(());
    }
    let path = epoch_file(home);
    write_whole(&path, format!("{epoch}\n").as_bytes()).map_err(DaemonError::file("write", path))
}

/// The log, of a member that does not run.
pub(crate) fn open_log(home: &DataDir) -> Result<RaftLog, DaemonError> {
    let disk = DirectoryDisk::open(&raft(home))?;
    Ok(RaftLog::open(Arc::new(disk))?)
}

/// Begins a log behind `position`, with `own` as the only voter.
pub(crate) fn begin_log(home: &DataDir, own: NodeId, position: LogPosition) -> Result<(), DaemonError> {
    create(&raft(home))?;
    Ok(seed::log(&open_log(home)?, own, position)?)
}

/// Makes room for a learner, and keeps the seal key it was given. What a former membership left is used again, unless it is
/// of another epoch.
pub(super) fn prepare_learner(home: &DataDir, key: &SealKey, epoch: u32) -> Result<(), DaemonError> {
    if are_there(home) {
        let by_records = || peek(home).ok().flatten()?.header().map(|header| header.epoch);
        if kept_epoch(home).max(by_records()) != Some(epoch) {
            put_aside(home)?;
        }
    }
    create(&home.nucleus())?;
    keep_epoch(home, epoch)?;
    keep_key(home, key)?;
    create(&raft(home))
}

fn create(directory: &Path) -> Result<(), DaemonError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(DaemonError::file("create directory", directory))
}

fn keep_key(home: &DataDir, key: &SealKey) -> Result<(), DaemonError> {
    let path = seal_key(home);
    if SealKey::load(&path).is_ok_and(|kept| kept.as_bytes() == key.as_bytes()) {
        return Ok(());
    }
    remove(&path)?;
    Ok(key.create(&path)?)
}

fn remove(path: &Path) -> Result<(), DaemonError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DaemonError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The grid's state as this node's files have it, without starting anything; none if there is none.
pub(crate) fn peek(home: &DataDir) -> Result<Option<GridState>, DaemonError> {
    if !are_there(home) {
        return Ok(None);
    }
    let Some(store) = NucleusStore::open(&home.nucleus())? else { return Ok(None) };
    let state = store.load()?.state;
    Ok(state.header().is_some().then_some(state))
}

/// Begins a group of which `own` is the only voter, with these records. The seal key is there already. What a cut-off
/// attempt left is thrown away.
pub(crate) fn found(home: &DataDir, own: NodeId, records: &[Change]) -> Result<(), DaemonError> {
    let log = raft(home);
    // The databases last: without them the next attempt begins anew.
    match std::fs::remove_dir_all(&log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(DaemonError::file("remove", log)(error));
        }
        _ => {}
    }
    create(&log)?;
    seed::log(&open_log(home)?, own, seed::FOUNDED)?;
    NucleusStore::seed(&home.nucleus(), records, &[], &seed::sole_voter(own, seed::FOUNDED))?;
    Ok(())
}

/// The stars' counters in the databases, which may be in use.
pub(super) fn metering(directory: &Path) -> Result<Vec<Metered>, DaemonError> {
    Ok(NucleusStore::metering_of(directory)?)
}

/// A new seal key, kept; or the one of a cut-off attempt.
pub(crate) fn new_seal_key(home: &DataDir) -> Result<SealKey, DaemonError> {
    create(&home.nucleus())?;
    let path = seal_key(home);
    if path.exists() {
        return Ok(SealKey::load(&path)?);
    }
    let key = SealKey::generate();
    key.create(&path)?;
    Ok(key)
}

/// The change that keeps an authority's key among the records, sealed.
pub(crate) fn sealed_authority(seal: &SealKey, pin: [u8; 32], pem: &str) -> Change {
    Change::AuthorityKey { pin, sealed: Octets(seal.seal(AUTHORITY, pem.as_bytes())) }
}

/// Takes over a grid that was founded by an orbit without a group: its records lie in the local `jobs.db`, its
/// authorities' keys beside. Whether there was one. What a cut-off attempt did is done again.
pub(crate) fn take_over(home: &DataDir, own: NodeId) -> Result<bool, DaemonError> {
    if !home.jobs_db().exists() {
        return Ok(false);
    }
    let Some((mut records, counters)) = take_over_grid(&home.jobs_db())? else { return Ok(false) };
    let mut state = GridState::default();
    records.iter().cloned().for_each(|change| state.absorb(change));
    if state.node(own).is_none() {
        return Ok(false);
    }
    if !are_there(home) || NucleusStore::open(&home.nucleus())?.is_none() {
        let seal = new_seal_key(home)?;
        for anchor in state.anchors() {
            let pin = AuthorityCertificate::parse(&anchor.der)?.pin();
            match file::read(&old_key(home, &pin)) {
                Ok(pem) => records.push(sealed_authority(&seal, pin, &pem)),
                Err(error) if anchor.is_current => return Err(error.into()),
                // It issues nothing any more.
                Err(_) => {}
            }
        }
        records.extend(counters.into_iter().map(Change::Metered));
        found(home, own, &records)?;
    }
    for anchor in state.anchors() {
        remove(&old_key(home, &AuthorityCertificate::parse(&anchor.der)?.pin()))?;
    }
    forget_taken_over(&home.jobs_db())?;
    Ok(true)
}

/// Where an orbit without a group kept an authority's key.
fn old_key(home: &DataDir, pin: &[u8; 32]) -> PathBuf {
    let pin = orbit_core::ids::PeerKey::from_bytes(*pin).to_string();
    home.nucleus().join(format!("authority-{}.key", &pin[..16]))
}

/// Puts the files of a group that was given up aside, under a name that is free.
pub(crate) fn put_aside(home: &DataDir) -> Result<(), DaemonError> {
    let aside = home.aside("given-up", now_ms());
    std::fs::rename(home.nucleus(), &aside).map_err(DaemonError::file("rename", home.nucleus()))?;
    home.flush()
}
