//! This node's place in the group that elects the Nucleus: its [`Seat`], and how it is taken and given up.
//!
//! **Not for**: what the group decides (`consensus`), nor what the elected one does ([`nucleus`](crate::nucleus)).
//!
//! ```text
//!   founder, voter, learner: files in nucleus/ ─┐
//!   star: first stream of a Nucleus, seal key ──┴─▶ Seat { Group, seal key } ◀─ Transport ─▶ streams of the mesh
//!                                                     │ standing
//!                                                     ▼
//!                                       nucleus::office, nucleus_link
//! ```
//!
//! A star that nobody asked to learn has no seat, and pays nothing for this.
//!
//! Reading order: this file, [`files`], then `transport`, `link`, `dial` (outgoing) and `incoming`.

mod dial;
pub(crate) mod files;
mod frames;
pub(crate) mod incoming;
mod link;
mod transport;

use crate::daemon::seal::SealKey;
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node};
use crate::standalone::error::chain;
use orbit_consensus::{Group, GroupConfig, Office, Standing};
use orbit_core::grid::{DiskClass, Fence, Metered, Refusal, Role};
use orbit_core::ids::NodeId;
use orbit_core::wire::join::NucleusAddress;
use orbit_mesh::key::random;
use orbit_store::{CurrentUniverse, NucleusUniverse};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transport::MeshTransport;

/// How long a member of the group may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// Pause before a seat that was lost (mostly because a disk was full) is taken again.
const RETRY: Duration = Duration::from_secs(5);

/// A place in the group.
pub struct Seat {
    /// The member of the group that runs here.
    pub group: Group,
    /// Seals the authority's key.
    pub seal: SealKey,
    pub(crate) ended: CancellationToken,
    /// The epoch of the group: it speaks in no other one's name.
    pub(crate) epoch: u32,
    /// The chunks of what the stars hold, as this node has them; let go of when the seat ends, so that whoever holds the
    /// seat does not hold the file.
    universe: Mutex<Option<CurrentUniverse>>,
    transport: Arc<MeshTransport>,
    /// `nucleus/`
    directory: PathBuf,
}

impl Seat {
    /// The stars' counters, as they were kept last.
    pub(crate) async fn metering(&self) -> Result<Vec<Metered>, DaemonError> {
        let directory = self.directory.clone();
        files::blocking(move || files::metering(&directory)).await
    }

    /// The chunks of what the stars hold, as this node has them; none once the seat has ended. Whoever has it puts it down
    /// soon: the files cannot be opened anew until then.
    pub(crate) fn universe(&self) -> Option<NucleusUniverse> {
        lock(&self.universe).as_ref().map(CurrentUniverse::get)
    }
}

impl Seat {
    /// Where the others of the group are, by its records.
    pub(crate) fn members(&self, node: &Node) -> Vec<NucleusAddress> {
        let standing = self.group.standing().borrow().clone();
        let own = node.membership().node;
        let ids = standing.voters.iter().chain(&standing.learners).filter(|id| **id != own);
        self.group.with(|state| {
            let records = ids.filter_map(|id| state.node(*id));
            let located = records.filter(|record| !record.profile.addresses.is_empty());
            located.map(|record| crate::nucleus::pulse::address(node, record)).collect()
        })
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Takes the seat whose files are there, keeps it, and takes it again when it is lost. Runs until the node stops.
pub(crate) async fn keep(node: Arc<Node>) {
    let mut seats = node.seat.subscribe();
    loop {
        let wait = match node.group() {
            Some(seat) => {
                tokio::select! {
                    () = attend(&node, &seat) => {}
                    () = node.stop.cancelled() => return,
                }
                // Who gives it up takes it out of the slot in a moment.
                if !seat.ended.is_cancelled() {
                    stand_up(&node).await;
                }
                RETRY
            }
            None if is_to_sit(&node) => match sit_down(&node).await {
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "cannot take part in the group that elects the Nucleus"
                    );
                    RETRY
                }
            },
            None => Duration::MAX,
        };
        tokio::select! {
            () = node.stop.cancelled() => return,
            _ = seats.changed() => {}
            () = tokio::time::sleep(wait), if wait < Duration::MAX => {}
        }
    }
}

/// Whether there are files of a seat, and the certificate allows to use them.
fn is_to_sit(node: &Node) -> bool {
    !node.has_left()
        && files::are_there(&node.home)
        && node.certificate().is_ok_and(|own| own.role.may_lead())
}

/// Does what follows from how the group stands, until the seat is lost or not wanted any more.
async fn attend(node: &Arc<Node>, seat: &Arc<Seat>) {
    let mut standing = seat.group.standing();
    let own = node.membership().node;
    let mut certificates = tokio::time::interval(Duration::from_secs(1));
    loop {
        let now = standing.borrow_and_update().clone();
        if now.office == Office::Stopped {
            let reason = now.failure.unwrap_or_default();
            tracing::error!(reason, "this node's member of the group stopped");
            return;
        }
        seat.transport.keep(&to_keep(&now, own));
        seat.group.set_rank(rank(node));
        // Another leads, perhaps.
        node.peers_changed.notify_one();
        tokio::select! {
            changed = standing.changed() => if changed.is_err() { return },
            _ = certificates.tick() => {
                let epoch = node.fence().epoch;
                if epoch > seat.epoch {
                    give_up(node, epoch).await;
                    return;
                }
                // It was made a star again, and is out of the group.
                if !node.certificate().is_ok_and(|own| own.role.may_lead()) && !now.has(own) {
                    return;
                }
            }
            () = seat.ended.cancelled() => return,
        }
    }
}

/// To whom a way is kept open: a leader to all, a voter to the voters, so that none has to be found in an election.
fn to_keep(standing: &Standing, own: NodeId) -> BTreeSet<NodeId> {
    let voters = standing.voters.iter().chain(standing.outgoing.iter().flatten());
    let mut members: BTreeSet<NodeId> = match standing.office {
        Office::Leader => voters.chain(&standing.learners).copied().collect(),
        _ if standing.voters.contains(&own) => voters.copied().collect(),
        _ => BTreeSet::new(),
    };
    members.remove(&own);
    members
}

/// How many turns this node waits before it wants to lead: witnesses and slow disks let others go first.
fn rank(node: &Node) -> u32 {
    let by_role = node.certificate().map_or(0, |own| u32::from(own.role == Role::Witness));
    let by_disk = match node.disk.get() {
        Some(DiskClass::Unfit) => 2,
        Some(DiskClass::Slow) => 1,
        Some(DiskClass::Good | DiskClass::Unknown) | None => 0,
    };
    by_role + by_disk
}

/// Takes the seat whose files are there.
pub(crate) async fn sit_down(node: &Arc<Node>) -> Result<Arc<Seat>, DaemonError> {
    let _one_at_a_time = node.seating.lock().await;
    if let Some(seat) = node.group() {
        return Ok(seat);
    }
    start(node).await
}

/// Becomes a learner, as a Nucleus asked: keeps the seal key and starts with what is there, which may be nothing.
async fn learn(node: &Arc<Node>, key: &[u8; 32]) -> Result<Arc<Seat>, DaemonError> {
    let _one_at_a_time = node.seating.lock().await;
    if let Some(seat) = node.group() {
        return Ok(seat);
    }
    if node.has_left() {
        return Err(DaemonError::NotInGrid { data_dir: node.home.path().to_owned() });
    }
    let (home, key, epoch) = (node.home.clone(), SealKey::from_bytes(*key), node.fence().epoch);
    files::blocking(move || files::prepare_learner(&home, &key, epoch)).await?;
    start(node).await
}

async fn start(node: &Arc<Node>) -> Result<Arc<Seat>, DaemonError> {
    let home = node.home.clone();
    let opened = files::blocking(move || files::open(&home)).await?;
    let known = node.fence().epoch;
    let epoch = opened.epoch.unwrap_or(known);
    if epoch < known {
        drop(opened);
        return Err(refuse_old_files(node, epoch).await);
    }
    let transport = Arc::new(MeshTransport::new(node));
    let own = node.membership().node;
    let mut config = GroupConfig::new(own, u64::from_le_bytes(random()));
    let every = node.config.snapshot_every;
    (config.snapshot_every, config.entries_kept) = (every, (every / 2).min(config.entries_kept));
    let started = Group::start(config, opened.log, opened.databases, Arc::clone(&transport) as _).await;
    let group = started.map_err(DaemonError::Start)?;
    if let Err(error) = begin_epoch(node, epoch).await {
        cut_off(&group, &transport).await;
        return Err(error);
    }
    if node.fence().epoch > epoch {
        // It was heard of while this was started.
        cut_off(&group, &transport).await;
        return Err(refuse_old_files(node, epoch).await);
    }
    let seat = Seat {
        group,
        seal: opened.seal,
        ended: node.stop.child_token(),
        epoch,
        universe: Mutex::new(Some(opened.universe)),
        transport,
        directory: node.home.nucleus(),
    };
    let seat = Arc::new(seat);
    node.seat.send_replace(Some(Arc::clone(&seat)));
    Ok(seat)
}

/// Gives the seat up; its files stay.
pub(crate) async fn stand_up(node: &Node) {
    let _one_at_a_time = node.seating.lock().await;
    let seat = node.seat.send_replace(None);
    if let Some(seat) = seat {
        end(&seat).await;
    }
}

/// Ends a seat, whoever holds it.
pub(crate) async fn end(seat: &Seat) {
    seat.ended.cancel();
    lock(&seat.universe).take();
    cut_off(&seat.group, &seat.transport).await;
}

async fn cut_off(group: &Group, transport: &MeshTransport) {
    transport.close();
    if tokio::time::timeout(STOP_PATIENCE, group.stop()).await.is_err() {
        tracing::warn!("this node's member of the group does not end in good order");
        group.kill();
    }
}

/// A recovery or a restored backup begins a new epoch in the records: it is kept as this node's too, and with the files.
async fn begin_epoch(node: &Arc<Node>, epoch: u32) -> Result<(), DaemonError> {
    let home = node.home.clone();
    files::blocking(move || files::keep_epoch(&home, epoch)).await?;
    node.change_membership(|membership| {
        membership.fence = membership.fence.max(Fence { epoch, term: 0 });
    })
    .await
}

/// The files are of a group that was given up: they are put aside, and this node goes on as a star.
async fn refuse_old_files(node: &Arc<Node>, epoch: u32) -> DaemonError {
    let home = node.home.clone();
    match files::blocking(move || files::put_aside(&home)).await {
        Ok(()) => Refusal::OtherEpoch { theirs: epoch, ours: node.fence().epoch }.into(),
        Err(error) => error,
    }
}

/// Somebody of this grid who should know says that its epoch is this. If it is newer, the group in which this node has its
/// seat was given up: it must never decide anything again.
pub(crate) fn note_epoch(node: &Arc<Node>, epoch: u32) {
    if node.group().is_none_or(|seat| seat.epoch >= epoch) {
        return;
    }
    let task = Arc::clone(node);
    node.tasks.spawn(async move { give_up(&task, epoch).await });
}

async fn give_up(node: &Arc<Node>, epoch: u32) {
    let _one_at_a_time = node.seating.lock().await;
    let Some(seat) = node.group().filter(|seat| seat.epoch < epoch) else { return };
    let ours = seat.epoch;
    tracing::error!(
        ours,
        epoch,
        "the group of voters that this node belongs to was given up; it goes on as a star"
    );
    end(&seat).await;
    let home = node.home.clone();
    if let Err(error) = files::blocking(move || files::put_aside(&home)).await {
        tracing::error!(error = chain(&error), "cannot put the records of the old group aside");
    }
    let raised = node.change_membership(|membership| {
        membership.fence = membership.fence.max(Fence { epoch, term: 0 });
    });
    if let Err(error) = raised.await {
        tracing::error!(error = chain(&error), "cannot keep the grid's new epoch");
    }
    node.seat.send_replace(None);
}
