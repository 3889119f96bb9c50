//! [`recover`]: from a lost quorum. A survivor goes on alone with all that it has, in a new epoch.
//!
//! ```text
//!   survey: how far is this log, how far are those of others that answer ─▶ a person decides where
//!   recover: a copy of nucleus/ in recovering/ ─▶ one more entry in its log: this node is the only voter
//!            ─▶ it elects itself, applies every entry it has, begins a new epoch
//!            ─▶ the copy takes the place of nucleus/, which is put aside
//! ```
//!
//! Until the last step nucleus/ is as it was: what fails or is cut off leaves this node a member of the old group, and
//! never alone in the old epoch.
//!
//! Entries that this node did not know to be committed are applied too: some may have been promised to whoever asked. What
//! only others have is lost. Stars follow the higher epoch; a voter of the old one that meets it puts its records aside
//! and goes on as a star.

use super::data_dir::{DataDir, Membership};
use super::{DaemonError, Node, epoch};
use crate::api::types::{ErrorCode, GridView, RecoveryView, SurvivorView};
use crate::group::{self, Seat, files};
use crate::standalone::state::now_ms;
use futures::future::{BoxFuture, join_all};
use orbit_consensus::{Group, GroupConfig, Office, Standing, Transport, Unreachable, seed};
use orbit_core::grid::{Command, GridState};
use orbit_core::ids::NodeId;
use orbit_mesh::key::random;
use orbit_mesh::pki::MemberCertificate;
use orbit_store::{LogPosition, StoreError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long another survivor may take to say how far it is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);
/// A leader that was heard so lately acts.
const LEADER_SILENT: Duration = Duration::from_secs(3);
/// How long whoever uses the files of a seat that was given up may take to let go.
const LET_GO_PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked.
const LET_GO_POLL: Duration = Duration::from_millis(50);
/// How long a survivor may take to apply what its log holds.
const REPLAY_PATIENCE: Duration = Duration::from_mins(10);

/// Why a grid is not recovered here.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It is a star: it has no records.
    #[error("this node holds no copy of the records of grid {grid}: it does not vote, and was not about to")]
    NoRecords {
        /// Name of the grid.
        grid: String,
    },
    /// Enough voters agree.
    #[error("the grid {grid} has a Nucleus: there is nothing to recover")]
    HasQuorum {
        /// Name of the grid.
        grid: String,
    },
    /// Another name was given than the grid's.
    #[error("this node's grid is named {grid}, not {given}")]
    OtherName {
        /// What was given.
        given: String,
        /// Its name.
        grid: String,
    },
    /// The lone voter did not become the Nucleus.
    #[error("this node did not become the Nucleus of its own records: {reason}")]
    NotElected {
        /// Why.
        reason: String,
    },
}

impl RecoverError {
    /// What kind of failure; decides the exit code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoRecords { .. } | Self::HasQuorum { .. } => ErrorCode::Refused,
            Self::OtherName { .. } => ErrorCode::Usage,
            Self::NotElected { .. } => ErrorCode::Failed,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRecords { .. } => {
                "run it on a voter (`orbit status` names them); if none is left, `orbit restore FILE` \
                                       begins the grid anew from a backup"
                    .to_owned()
            }
            Self::HasQuorum { .. } => "`orbit status` tells how the grid is".to_owned(),
            Self::OtherName { grid, .. } => format!("if it is meant: orbit recover --yes-lose-quorum {grid}"),
            Self::NotElected { .. } => {
                "the records are as they were; `orbit restore` begins the grid anew from a backup".to_owned()
            }
        }
    }
}

/// A grid that was recovered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recovered {
    /// Name of the grid.
    pub grid: String,
    /// Name of this node.
    pub name: String,
    /// The new epoch.
    pub epoch: u32,
    /// Index of the last change that is kept.
    pub index: u64,
    /// Names of members whose votes are gone.
    pub votes_gone: Vec<String>,
    /// Where a copy of the records lies as they were before.
    pub aside: PathBuf,
}

/// How far this node is, whose daemon does not run: nobody else can be asked.
pub fn survey(data_dir: &Path) -> Result<RecoveryView, DaemonError> {
    let home = DataDir::new(data_dir);
    let membership = home.membership()?;
    let _lock = home.lock()?;
    let last = {
        let log = open(&home, &membership)?.log;
        log.last().or(log.purged())
    };
    let state = peek(&home, &membership)?;
    let changed_ms = changed_ms(&home);
    let survivor = |id: NodeId, name: String| {
        let is_this = id == membership.node;
        SurvivorView {
            id: id.to_string(),
            name,
            is_this,
            answered: is_this,
            trouble: (!is_this).then(|| "not asked: the node of this machine does not run".to_owned()),
            term: last.filter(|_| is_this).map(|last| last.term),
            index: last.filter(|_| is_this).map(|last| last.index),
            changed_ms: changed_ms.filter(|_| is_this),
        }
    };
    let able = state.nodes().filter(|record| record.role.may_lead() || record.id == membership.node);
    Ok(RecoveryView {
        grid: grid_view(&membership),
        node: name_of(&state, membership.node),
        has_quorum: false,
        others_were_asked: false,
        survivors: in_order(able.map(|record| survivor(record.id, record.name.clone())).collect()),
        members: u32::try_from(state.nodes().count()).unwrap_or(u32::MAX),
    })
}

/// How far this node is, and every other that has records and answers.
pub(crate) async fn survey_running(node: &Node) -> Result<RecoveryView, DaemonError> {
    let membership = node.membership();
    let no_records = || RecoverError::NoRecords { grid: membership.grid_name.clone() };
    let seat = node.group().filter(|_| may_lead(&membership)).ok_or_else(no_records)?;
    let standing = seat.group.standing().borrow().clone();
    let own = membership.node;
    let members = group_members(&standing, own);
    let far = join_all(members.iter().map(|id| how_far(&seat, own, *id))).await;
    let changed_ms = changed_ms(&node.home);
    let survivors: Vec<SurvivorView> = seat.group.with(|state| {
        let survivor = |(id, far): (&NodeId, Result<Option<LogPosition>, String>)| SurvivorView {
            id: id.to_string(),
            name: name_of(state, *id),
            is_this: *id == own,
            answered: far.is_ok(),
            term: far.as_ref().ok().and_then(|last| last.map(|last| last.term)),
            index: far.as_ref().ok().and_then(|last| last.map(|last| last.index)),
            trouble: far.err(),
            changed_ms: changed_ms.filter(|_| *id == own),
        };
        members.iter().zip(far).map(survivor).collect()
    });
    let survivors = in_order(survivors);
    Ok(RecoveryView {
        grid: grid_view(&membership),
        node: node.standing().name,
        has_quorum: has_quorum(node, &seat),
        others_were_asked: true,
        survivors,
        members: seat.group.with(|state| u32::try_from(state.nodes().count()).unwrap_or(u32::MAX)),
    })
}

/// This node first, then by name.
fn in_order(mut survivors: Vec<SurvivorView>) -> Vec<SurvivorView> {
    survivors.sort_by(|a, b| b.is_this.cmp(&a.is_this).then_with(|| a.name.cmp(&b.name)));
    survivors
}

fn group_members(standing: &Standing, own: NodeId) -> Vec<NodeId> {
    let others = standing.voters.iter().chain(standing.outgoing.iter().flatten()).chain(&standing.learners);
    let mut members: Vec<NodeId> = others.copied().collect();
    members.push(own);
    members.sort_unstable();
    members.dedup();
    members
}

async fn how_far(seat: &Seat, own: NodeId, id: NodeId) -> Result<Option<LogPosition>, String> {
    if id == own {
        return Ok(seat.group.progress().last);
    }
    match tokio::time::timeout(ANSWER_PATIENCE, seat.group.how_far(id)).await {
        Ok(Ok((_, last, _))) => Ok(last),
        Ok(Err(error)) => Err(error.reason),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Whether enough voters agree, as far as this member knows.
pub(crate) fn has_quorum(node: &Node, seat: &Seat) -> bool {
    if seat.group.standing().borrow().office == Office::Leader {
        return seat.group.holds_lease();
    }
    let leader = seat.group.standing().borrow().leader;
    leader.is_some_and(|leader| leader != node.membership().node)
        && seat.group.progress().silence < LEADER_SILENT
}

/// Recovers the grid on this node, whose daemon does not run.
pub fn recover(data_dir: &Path, grid_name: &str) -> Result<Recovered, DaemonError> {
    let home = DataDir::new(data_dir);
    home.membership()?;
    let _lock = home.lock()?;
    let membership = home.membership()?;
    let recovered = go_on_alone(&home, &membership, grid_name)?;
    let fence = orbit_core::grid::Fence { epoch: recovered.epoch, term: 0 };
    home.save_membership(&Membership { fence, ..membership })?;
    Ok(recovered)
}

/// Recovers the grid on this node while its daemon runs; it takes its seat again by itself.
pub(crate) async fn recover_running(node: &Arc<Node>, grid_name: &str) -> Result<Recovered, DaemonError> {
    let _one_at_a_time = node.seating.lock().await;
    let membership = node.membership();
    let Some(seat) = node.group().filter(|_| may_lead(&membership)) else {
        return Err(RecoverError::NoRecords { grid: membership.grid_name }.into());
    };
    if has_quorum(node, &seat) {
        return Err(RecoverError::HasQuorum { grid: membership.grid_name }.into());
    }
    check_name(&membership, grid_name)?;
    group::end(&seat).await;
    node.seat.send_replace(None);
    drop(seat);
    let (home, name) = (node.home.clone(), grid_name.to_owned());
    // Whatever came of it, the files are taken up again when the seating ends.
    files::blocking(move || go_on_alone(&home, &membership, &name)).await
}

fn check_name(membership: &Membership, given: &str) -> Result<(), RecoverError> {
    if membership.grid_name == given {
        return Ok(());
    }
    Err(RecoverError::OtherName { given: given.to_owned(), grid: membership.grid_name.clone() })
}

/// Whether its certificate allows it. A node that was made a star again may have old records.
fn may_lead(membership: &Membership) -> bool {
    MemberCertificate::parse(&membership.certificate).is_ok_and(|own| own.role.may_lead())
}

fn open(home: &DataDir, membership: &Membership) -> Result<files::Opened, DaemonError> {
    if !files::are_there(home) || !may_lead(membership) {
        return Err(RecoverError::NoRecords { grid: membership.grid_name.clone() }.into());
    }
    files::open(home)
}

fn peek(home: &DataDir, membership: &Membership) -> Result<GridState, DaemonError> {
    let state = files::peek(home)?.filter(|state| state.node(membership.node).is_some());
    state.ok_or_else(|| RecoverError::NoRecords { grid: membership.grid_name.clone() }.into())
}

/// Makes this node the only voter of a copy of the files, applies what its log holds, begins a new epoch, and puts the copy
/// in place. Blocks; nobody else uses the files.
fn go_on_alone(home: &DataDir, membership: &Membership, grid_name: &str) -> Result<Recovered, DaemonError> {
    check_name(membership, grid_name)?;
    wait_until_free(home, membership)?;
    let state = peek(home, membership)?;
    let scratch = home.scratch("recovering")?;
    let copied = copy_tree(&home.nucleus(), &scratch.nucleus(), &["backups", "incoming"]);
    copied.map_err(DaemonError::file("copy the records to", scratch.path()))?;
    let mut opened = open(&scratch, membership)?;
    catch_up(&mut opened)?;
    seed::alone(&opened.log, membership.node)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(DaemonError::Runtime)?;
    let before = state.header().map_or(0, |header| header.epoch).max(membership.fence.epoch);
    let begun = runtime.block_on(begin_epoch(opened, membership.node, before));
    // With it goes whatever still has a hand on the databases.
    drop(runtime);
    let (epoch, index) = begun?;
    files::keep_epoch(&scratch, epoch)?;
    let aside = take_place(home, &scratch)?;
    let gone = state.nodes().filter(|record| record.id != membership.node && record.role.may_lead());
    let mut votes_gone: Vec<String> = gone.map(|record| record.name.clone()).collect();
    votes_gone.sort();
    Ok(Recovered {
        grid: membership.grid_name.clone(),
        name: name_of(&state, membership.node),
        epoch,
        index,
        votes_gone,
        aside,
    })
}

/// Whoever had a hand in a seat that was given up a moment ago lets go of its databases soon.
fn wait_until_free(home: &DataDir, membership: &Membership) -> Result<(), DaemonError> {
    let deadline = Instant::now() + LET_GO_PATIENCE;
    loop {
        match open(home, membership) {
            Err(DaemonError::Store(StoreError::Locked { .. })) if Instant::now() < deadline => {
                std::thread::sleep(LET_GO_POLL);
            }
            opened => return opened.map(drop),
        }
    }
}

/// A snapshot that was received and not installed yet counts, too: it may be ahead of the log, which goes on behind it then.
fn catch_up(opened: &mut files::Opened) -> Result<(), DaemonError> {
    if let Some(pending) = opened.databases.pending_snapshot()? {
        opened.databases.install(&pending)?;
    }
    let applied = opened.databases.jobs_mark()?.position.min(opened.databases.universe_mark()?.position);
    let end = opened.log.last().or(opened.log.purged());
    if let Some(applied) = applied.filter(|_| end < applied) {
        opened.log.purge_to(applied)?;
    }
    Ok(())
}

/// Puts `nucleus/` aside, and the recovered copy in its place; nightly backups stay with it. Where the old one lies now.
fn take_place(home: &DataDir, scratch: &DataDir) -> Result<PathBuf, DaemonError> {
    let aside = home.replace_nucleus(scratch, "before-recover")?;
    let aside = aside.unwrap_or_else(|| home.nucleus());
    let (backups, kept) = (aside.join("backups"), home.nucleus().join("backups"));
    if backups.exists() && !kept.exists() {
        std::fs::rename(&backups, &kept).map_err(DaemonError::file("rename", backups))?;
    }
    Ok(aside)
}

/// Reaches nobody: what happens here is nobody else's business yet.
struct Alone;

impl Transport for Alone {
    fn call(&self, to: NodeId, _: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, Unreachable>> {
        Box::pin(async move { Err(Unreachable { node: to, reason: "this node recovers alone".to_owned() }) })
    }
}

async fn begin_epoch(opened: files::Opened, own: NodeId, before: u32) -> Result<(u32, u64), DaemonError> {
    let config = GroupConfig::new(own, u64::from_le_bytes(random()));
    let group = Group::start(config, opened.log, opened.databases, Arc::new(Alone)).await;
    let group = group.map_err(DaemonError::Start)?;
    let begun = elect_and_begin(&group, before).await;
    group.stop().await;
    begun
}

async fn elect_and_begin(group: &Group, before: u32) -> Result<(u32, u64), DaemonError> {
    let mut standing = group.standing();
    let settled = standing.wait_for(|now| matches!(now.office, Office::Leader | Office::Stopped));
    let not_elected = |reason: String| DaemonError::from(RecoverError::NotElected { reason });
    let settled = match tokio::time::timeout(REPLAY_PATIENCE, settled).await {
        Ok(Ok(now)) => now.clone(),
        Ok(Err(_)) => return Err(not_elected("the group ended".to_owned())),
        Err(_) => return Err(not_elected("it takes too long".to_owned())),
    };
    if settled.office == Office::Stopped {
        return Err(not_elected(settled.failure.unwrap_or_default()));
    }
    let now = now_ms();
    let before = group.with(|state| state.header().map_or(0, |header| header.epoch)).max(before);
    let epoch = epoch::after(before, now);
    group.execute(None, Command::BeginEpoch { epoch, now_ms: now }).await.map_err(DaemonError::Group)?;
    Ok((epoch, group.progress().applied.map_or(0, |applied| applied.index)))
}

/// Copies a tree into one that is there or not, durably.
fn copy_tree(from: &Path, to: &Path, without: &[&str]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if without.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let (source, destination) = (entry.path(), to.join(&name));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &destination, &[])?;
        } else if kind.is_file() {
            std::fs::copy(&source, &destination)?;
            std::fs::File::open(&destination)?.sync_all()?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &destination)?;
        }
    }
    std::fs::File::open(to)?.sync_all()
}

/// When the log was last written to, milliseconds since 1970.
fn changed_ms(home: &DataDir) -> Option<i64> {
    let entries = std::fs::read_dir(home.nucleus().join("raft")).ok()?;
    let times = entries.flatten().filter_map(|entry| entry.metadata().ok()?.modified().ok());
    let newest = times.max()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(newest.as_millis()).ok()
}

fn name_of(state: &GridState, id: NodeId) -> String {
    state.node(id).map_or_else(|| id.to_string(), |record| record.name.clone())
}

fn grid_view(membership: &Membership) -> GridView {
    GridView { id: membership.grid.to_string(), name: membership.grid_name.clone() }
}
