//! Heartbeats, from the Nucleus's side: one stream for each star, and what it must know on it as soon as it changes.

use super::Nucleus;
use crate::daemon::Node;
use crate::daemon::load::LoadMeter;
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use orbit_core::grid::{Command, GridState, NodeRecord, Profile};
use orbit_core::ids::NodeId;
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::join::NucleusAddress;
use orbit_core::wire::pulse::{PULSE_BYTES_MAX, Pulse, PulseReply, Update};
use orbit_core::wire::{WireError, decode, encode};
use orbit_mesh::net::{Member, MeshStream};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::time::timeout;

/// Nodes told that are or may become the Nucleus.
pub(crate) const NUCLEI_MAX: usize = 8;
/// Addresses told of one Nucleus.
const ADDRESSES_MAX: usize = 16;
/// Revocations told to a star: 17 bytes each, and a frame has 64 KiB. Stars dial and obey the Nucleus only, which knows
/// them all, so what is left out lets nobody in.
const REVOKED_TOLD_MAX: usize = 2_000;
/// A star that does not take what it is told for so long is cut off; it will come back.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// A frame of the pulse protocol.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("a pulse message is far below 4 GiB");
    [&len.to_le_bytes(), message].concat()
}

/// Answers a star's heartbeats until its stream ends.
pub(crate) async fn serve(node: Arc<Node>, from: Member, stream: MeshStream) {
    let Some(nucleus) = node.nucleus() else { return };
    if nucleus.with(|state| state.node(from.node).is_none()) {
        return;
    }
    if let Err(error) = converse(&node, &nucleus, &from, stream).await {
        tracing::debug!(node = %from.node, error = chain(&error), "heartbeats ended");
    }
}

async fn converse(node: &Node, nucleus: &Nucleus, from: &Member, stream: MeshStream) -> io::Result<()> {
    let (mut incoming, mut outgoing) = tokio::io::split(stream);
    let mut news = nucleus.news.subscribe();
    let mut told = None;
    // What it said of itself, until it is stored.
    let mut said = None;
    let replaced = nucleus.registry.begin_stream(from.node);
    let patience = node.options.pulse_interval * 6;
    // A frame is read in pieces that can be dropped and taken up again, so that news need not wait for a heartbeat.
    let mut frame = PartialFrame::default();
    loop {
        tokio::select! {
            filled = timeout(patience, frame.fill(&mut incoming)) => {
                let mut pulse: Pulse = decode(filled.map_err(|_| io::ErrorKind::TimedOut)??)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if !nucleus.registry.may_come(from.node) {
                    return Err(io::Error::other("they come faster than is sane"));
                }
                let seq = pulse.seq;
                said = pulse.profile.take().or(said);
                describe(nucleus, from.node, &mut said).await;
                take_in(nucleus, from.node, pulse);
                frame.clear();
                answer(node, nucleus, from.node, Some(seq), &mut told, &mut outgoing).await?;
            }
            changed = news.changed() => {
                changed.map_err(|_| io::ErrorKind::UnexpectedEof)?;
                answer(node, nucleus, from.node, None, &mut told, &mut outgoing).await?;
            }
            () = replaced.cancelled() => return Ok(()),
            () = nucleus.ended.cancelled() => return Ok(()),
        }
    }
}

/// Stores what a node says of itself, if it is new. What comes too soon after the last waits in `said` for the next
/// heartbeat: each costs a write that is waited for.
async fn describe(nucleus: &Nucleus, id: NodeId, said: &mut Option<Profile>) {
    let is_new = |profile: &Profile| {
        nucleus.with(|state| state.node(id).is_some_and(|record| record.profile != *profile))
    };
    if said.as_ref().is_some_and(is_new)
        && nucleus.registry.may_describe(id)
        && let Some(profile) = said.take()
        && let Err(error) = nucleus.commit(None, Command::Describe { node: id, profile }).await
    {
        tracing::warn!(node = %id, error = chain(&error), "cannot keep what a node says of itself");
    }
}

fn take_in(nucleus: &Nucleus, id: NodeId, mut pulse: Pulse) {
    pulse.load.disks.truncate(32);
    nucleus.registry.heard(id, pulse);
}

/// Answers a heartbeat, or tells news if there are any for this star.
async fn answer(
    node: &Node,
    nucleus: &Nucleus,
    id: NodeId,
    seq: Option<u64>,
    told: &mut Option<Update>,
    outgoing: &mut WriteHalf<MeshStream>,
) -> io::Result<()> {
    let update = nucleus.with(|state| update_for(node, nucleus, state, id));
    // A node that was removed hears nothing more; the mesh cuts it off.
    let update = update.ok_or(io::ErrorKind::ConnectionAborted)?;
    let is_new = told.as_ref() != Some(&update);
    if seq.is_none() && !is_new {
        return Ok(());
    }
    let reply = PulseReply {
        seq,
        fence: nucleus.fence,
        now_ms: now_ms(),
        update: is_new.then(|| Box::new(update.clone())),
    };
    let frame = frame(&encode(&reply));
    let send = async {
        outgoing.write_all(&frame).await?;
        outgoing.flush().await
    };
    timeout(SEND_PATIENCE, send).await.map_err(|_| io::ErrorKind::TimedOut)??;
    *told = Some(update);
    Ok(())
}

fn update_for(node: &Node, nucleus: &Nucleus, state: &GridState, id: NodeId) -> Option<Update> {
    let record = state.node(id)?;
    Some(Update {
        name: record.name.clone(),
        is_draining: record.is_draining,
        anchors: anchors(state),
        revoked: state.revoked_newest(REVOKED_TOLD_MAX),
        nuclei: nuclei(node, nucleus, state),
        // It may not have been able to keep the last one that it was given, or never have got it.
        renew: record.certificate.authority != nucleus.authority().certificate().pin()
            || nucleus.registry.uses(id).is_some_and(|serial| serial != record.certificate.serial)
            // It is to vote, or not to vote any more.
            || super::authority::certified_role(&record.certificate) != Some(record.role),
    })
}

/// The authorities to trust, and what links each to the one before.
pub(crate) fn anchors(state: &GridState) -> Vec<Octets> {
    let documents = state.anchors().iter().flat_map(|anchor| [&anchor.der, &anchor.cross_signed]);
    documents.filter(|der| !der.is_empty()).map(|der| Octets(der.clone())).collect()
}

/// Where the Nucleus is, and those who may become it: itself first.
pub(crate) fn nuclei(node: &Node, nucleus: &Nucleus, state: &GridState) -> Vec<NucleusAddress> {
    let standing = nucleus.group().standing().borrow().clone();
    let ids = std::iter::once(nucleus.own).chain(standing.voters).chain(standing.learners);
    let mut told = BTreeSet::new();
    let records = ids.filter(|id| told.insert(*id)).filter_map(|id| state.node(id));
    records.take(NUCLEI_MAX).map(|record| address(node, record)).collect()
}

/// Where a member is.
pub(crate) fn address(node: &Node, record: &NodeRecord) -> NucleusAddress {
    let is_own = record.key == node.mesh.key();
    let addresses = if is_own { node.addresses() } else { record.profile.addresses.clone() };
    NucleusAddress {
        node: record.id,
        key: record.key,
        addresses: addresses.into_iter().take(ADDRESSES_MAX).collect(),
    }
}

/// The Nucleus's heartbeat to itself.
pub(super) async fn own(node: &Node, nucleus: &Nucleus, meter: &mut LoadMeter) {
    let mut load = meter.measure(&node.config.allowed_paths).await;
    load.calls_running = node.star.calls_running();
    load.jobs_running = node.jobs.count();
    let pulse = Pulse {
        now_ms: now_ms(),
        load,
        metering: node.star.metering(),
        serial: node.certificate().ok().map(|certificate| certificate.serial),
        ..Pulse::default()
    };
    describe(nucleus, nucleus.own, &mut Some(node.profile())).await;
    take_in(nucleus, nucleus.own, pulse);
}

/// A frame that arrives in pieces.
#[derive(Default)]
struct PartialFrame {
    bytes: Vec<u8>,
}

impl PartialFrame {
    /// Reads on until the frame is whole, and gives the message in it. Cancel-safe: what was read stays.
    async fn fill(&mut self, incoming: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<&[u8]> {
        loop {
            let wanted = match self.bytes.first_chunk::<4>() {
                None => 4,
                Some(len) => {
                    let len = u32::from_le_bytes(*len) as usize;
                    if len > PULSE_BYTES_MAX {
                        let error = WireError::TooLarge { len: len as u64, max: PULSE_BYTES_MAX };
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                    4 + len
                }
            };
            if self.bytes.len() >= 4 && self.bytes.len() == wanted {
                return Ok(&self.bytes[4..]);
            }
            let missing = (wanted - self.bytes.len()) as u64;
            if incoming.take(missing).read_buf(&mut self.bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn clear(&mut self) {
        // A star holds a stream for as long as it lives: it shall not hold more memory than a heartbeat needs.
        self.bytes.clear();
        self.bytes.shrink_to(1024);
    }
}
