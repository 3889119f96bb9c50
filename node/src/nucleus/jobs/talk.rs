//! The conversation with one star about its jobs.

use super::{FAULTS_MAX, LOOK};
use crate::daemon::Node;
use crate::jobs::{FrameError, FrameReader, write_frame};
use crate::nucleus::Nucleus;
use crate::standalone::error::chain;
use orbit_core::grid::Refusal;
use orbit_core::grid::job::{JobAct, JobMode, JobReport, Wanted};
use orbit_core::ids::{JobId, NodeId};
use orbit_core::wire::bytes::Octets;
use orbit_core::wire::job::{FAULTS_AT_ONCE, JOB_VERSION, JobHello, JobNote, JobOrder, JobSpec};
use orbit_mesh::net::Protocol;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};

/// How long the greeting may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a conversation is begun again.
const RETRY: Duration = Duration::from_millis(500);
/// A conversation about nothing is kept so long: the next job may come soon.
const IDLE: Duration = Duration::from_mins(1);
/// Bytes between this node and itself that wait to be read.
const PIPE_BYTES: usize = 64 << 10;

/// Talks with a star until it has had nothing to do for a while, or the office ends.
pub(super) async fn keep(node: Arc<Node>, nucleus: Arc<Nucleus>, star: NodeId) {
    loop {
        let talked = tokio::select! {
            talked = talk(&node, &nucleus, star) => talked,
            () = nucleus.ended.cancelled() => return,
        };
        let Err(error) = talked else { break };
        tracing::debug!(%star, error = chain(&error), "a conversation about jobs broke off");
        let name = nucleus.with(|state| state.node(star).map(|record| record.name.clone()));
        let Some(name) = name else { break };
        let reason = match &error {
            FrameError::Refused(refusal) => refusal.to_string(),
            _ => format!("{name} cannot be reached"),
        };
        nucleus.jobs.set_trouble(star, Some(&reason));
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = nucleus.ended.cancelled() => return,
        }
    }
    nucleus.jobs.set_trouble(star, None);
}

async fn talk(node: &Arc<Node>, nucleus: &Arc<Nucleus>, star: NodeId) -> Result<(), FrameError> {
    if star == nucleus.own {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        node.tasks.spawn(crate::jobs::serve::serve_nucleus(Arc::clone(node), far));
        return converse(node, nucleus, star, near).await;
    }
    let gone = || FrameError::from(io::Error::from(io::ErrorKind::NotConnected));
    let link = node.mesh.peers().into_iter().find(|link| link.node == star).ok_or_else(gone)?;
    let stream = node.mesh.open(link.peer, Protocol::Job).await.map_err(io::Error::other)?;
    converse(node, nucleus, star, stream).await
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    node: &Arc<Node>,
    nucleus: &Arc<Nucleus>,
    star: NodeId,
    stream: S,
) -> Result<(), FrameError> {
    let (incoming, mut outgoing) = tokio::io::split(stream);
    let mut notes = FrameReader::new(incoming);
    write_frame(&mut outgoing, &JobHello { version: JOB_VERSION, fence: nucleus.fence }).await?;
    let welcome = timeout(PATIENCE, notes.next::<JobNote>()).await;
    match welcome.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        JobNote::Welcome => nucleus.jobs.set_trouble(star, None),
        JobNote::Refused(refusal) => return Err(FrameError::Refused(refusal)),
        _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    }
    let mut changes = nucleus.jobs.orders.subscribe();
    let mut told = Told::default();
    let mut busy = Instant::now();
    for order in told.orders(nucleus, star) {
        write_frame(&mut outgoing, &order).await?;
    }
    write_frame(&mut outgoing, &JobOrder::Complete).await?;
    loop {
        tokio::select! {
            note = notes.next() => {
                if let Some(answer) = take_in(node, nucleus, star, note?).await? {
                    write_frame(&mut outgoing, &answer).await?;
                }
            }
            changed = changes.changed() => {
                changed.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            }
            // A member that was removed ends jobs too, and nobody says so.
            () = tokio::time::sleep(LOOK) => {}
        }
        for order in told.orders(nucleus, star) {
            write_frame(&mut outgoing, &order).await?;
        }
        if !told.0.is_empty() {
            busy = Instant::now();
        } else if busy.elapsed() > IDLE {
            return Ok(());
        }
    }
}

/// What the star was told of its jobs.
#[derive(Debug, Default)]
struct Told(BTreeMap<JobId, (u32, Wanted, JobSpec)>);

impl Told {
    /// What it has to be told now.
    fn orders(&mut self, nucleus: &Nucleus, star: NodeId) -> Vec<JobOrder> {
        let wanted: BTreeMap<JobId, (u32, Wanted, JobSpec)> = nucleus.with(|state| {
            let of_star = state.jobs().filter(|record| record.destination.node == star);
            let wanted = of_star.filter_map(|record| {
                let spec = JobSpec {
                    source: record.source.clone(),
                    destination: record.destination.clone(),
                    options: record.options.clone(),
                    is_asked: record.mode == JobMode::Ask,
                };
                Some((record.id, (record.attempt, record.wanted()?, spec)))
            });
            wanted.collect()
        });
        let over = self.0.keys().filter(|job| !wanted.contains_key(job));
        let mut orders: Vec<JobOrder> = over.map(|job| JobOrder::Forget { job: *job }).collect();
        let news = wanted.iter().filter(|(job, now)| self.0.get(job) != Some(now));
        orders.extend(news.map(|(job, (attempt, wanted, spec))| JobOrder::Want {
            job: *job,
            attempt: *attempt,
            wanted: *wanted,
            spec: Box::new(spec.clone()),
        }));
        self.0 = wanted;
        orders
    }
}

/// Takes in what a star says, and gives what it is answered.
async fn take_in(
    node: &Arc<Node>,
    nucleus: &Arc<Nucleus>,
    star: NodeId,
    note: JobNote,
) -> Result<Option<JobOrder>, FrameError> {
    let is_its = |job: JobId| {
        nucleus.with(|state| state.job(job).is_some_and(|record| record.destination.node == star))
    };
    match note {
        JobNote::Welcome | JobNote::Refused(_) => {
            return Err(io::Error::from(io::ErrorKind::InvalidData).into());
        }
        JobNote::Report { job, attempt, report } if is_its(job) => {
            keep_report(nucleus, job, attempt, report).await?;
        }
        JobNote::Progress { job, attempt, progress } if is_its(job) => {
            nucleus.jobs.note(job, attempt, |live| live.progress = Some(*progress));
        }
        JobNote::Faults { job, attempt, faults } if is_its(job) => nucleus.jobs.note(job, attempt, |live| {
            let room = FAULTS_MAX.saturating_sub(live.faults.len()).min(FAULTS_AT_ONCE);
            let new: Vec<_> = faults.into_iter().filter(|fault| !live.faults.contains(fault)).collect();
            live.faults.extend(new.into_iter().take(room));
        }),
        JobNote::NeedTicket { job, attempt, call } => {
            let ticket = ticket(node, nucleus, star, job, attempt).map(Octets);
            return Ok(Some(JobOrder::Ticket { job, call, ticket }));
        }
        JobNote::Report { .. } | JobNote::Progress { .. } | JobNote::Faults { .. } => {}
    }
    Ok(None)
}

/// Keeps a report, if it says anything new. What cannot be kept now is told again on the next stream.
async fn keep_report(
    nucleus: &Nucleus,
    job: JobId,
    attempt: u32,
    report: Box<JobReport>,
) -> Result<(), FrameError> {
    let act = JobAct::Report { attempt, report };
    let command = orbit_core::grid::Command::Job(orbit_core::grid::job::JobCommand {
        job,
        now_ms: crate::standalone::state::now_ms(),
        act: act.clone(),
    });
    match nucleus.with(|state| state.decide(&command)) {
        Ok(changes) if changes.is_empty() => return Ok(()),
        Err(refusal) => {
            tracing::warn!(%job, %refusal, "what a star says of a job cannot be kept");
            return Ok(());
        }
        Ok(_) => {}
    }
    nucleus.job(None, job, act).await.map(drop).map_err(|error| io::Error::other(error).into())
}

/// A ticket for the source of a job, for the star that executes it.
fn ticket(
    node: &Node,
    nucleus: &Nucleus,
    star: NodeId,
    job: JobId,
    attempt: u32,
) -> Result<Vec<u8>, Refusal> {
    let source = nucleus.with(|state| {
        let record = state.job(job).filter(|record| record.destination.node == star)?;
        let is_wanted = record.attempt == attempt && record.state.is_active();
        is_wanted.then(|| record.source.clone())
    });
    let source = source.ok_or_else(|| Refusal::UnknownJob { job: job.to_string() })?;
    crate::link::ticket::issue(node, nucleus, job, source.node, star, source.path.as_bytes())
}
