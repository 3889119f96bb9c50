//! Conversations with the Nucleus about jobs, from the star's side.

use super::held::Held;
use super::{FrameError, FrameReader, write_frame};
use crate::daemon::Node;
use crate::standalone::error::chain;
use orbit_core::grid::{Fence, Refusal};
use orbit_core::ids::JobId;
use orbit_core::wire::job::{
    FAULTS_AT_ONCE, JOB_VERSION, JobHello, JobNote, JobOrder, JobProgress, PROGRESS_INTERVAL_MS,
};
use orbit_mesh::net::{Member, MeshStream};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, timeout};

/// How long the greeting may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves a stream that a member opened, to its end. Whoever is not the Nucleus is refused.
pub(crate) async fn serve(node: Arc<Node>, from: Member, mut stream: MeshStream) {
    if let Err(refusal) = judge(&node, &from).await {
        let told = async {
            write_frame(&mut stream, &JobNote::Refused(refusal)).await?;
            Ok::<_, FrameError>(stream.shutdown().await?)
        };
        if !matches!(timeout(PATIENCE, told).await, Ok(Ok(()))) {
            tracing::debug!("a refusal was not taken");
        }
        return;
    }
    serve_nucleus(node, stream).await;
}

/// Whether it is the Nucleus that asks, and none that was replaced. Its fence is kept before anything is done for it.
async fn judge(node: &Node, from: &Member) -> Result<(), Refusal> {
    let name = node.standing().name;
    if !from.is_nucleus {
        return Err(Refusal::NotNucleus { node: name });
    }
    admit(node, from.fence).await
}

async fn admit(node: &Node, fence: Fence) -> Result<(), Refusal> {
    let ours = node.fence();
    let node_name = || node.standing().name;
    if fence < ours {
        return Err(Refusal::OldTerm { node: node_name(), theirs: fence.term, ours: ours.term });
    }
    let kept = node.change_membership(|membership| membership.fence = membership.fence.max(fence)).await;
    kept.map_err(|error| Refusal::Failed { node: node_name(), message: chain(&error) })
}

/// Serves a stream of the Nucleus, which may be this node itself, to its end.
pub(crate) async fn serve_nucleus<S: AsyncRead + AsyncWrite + Send + Unpin>(node: Arc<Node>, stream: S) {
    let newer = node.jobs.begin_conversation();
    let served = tokio::select! {
        served = converse(&node, stream) => served,
        () = newer.cancelled() => Ok(()),
        () = node.stop.cancelled() => Ok(()),
    };
    if let Err(error) = served {
        tracing::debug!(error = chain(&error), "a conversation about jobs ended");
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Send + Unpin>(
    node: &Arc<Node>,
    stream: S,
) -> Result<(), FrameError> {
    let (incoming, mut outgoing) = tokio::io::split(stream);
    let mut orders = FrameReader::new(incoming);
    let hello = timeout(PATIENCE, orders.next::<JobHello>()).await;
    let hello = hello.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if let Err(refusal) = judge_hello(node, hello).await {
        write_frame(&mut outgoing, &JobNote::Refused(refusal)).await?;
        return Ok(outgoing.shutdown().await?);
    }
    write_frame(&mut outgoing, &JobNote::Welcome).await?;
    let mut news = node.jobs.news.subscribe();
    let mut told = Told::default();
    let mut named = Some(BTreeSet::new());
    let mut tick = tokio::time::interval(Duration::from_millis(PROGRESS_INTERVAL_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let with_progress = tokio::select! {
            order = orders.next() => {
                obey(node, order?, &mut named);
                false
            }
            changed = news.changed() => {
                changed.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                false
            }
            _ = tick.tick() => true,
        };
        let all = node.jobs.all();
        told.jobs.retain(|job, _| all.iter().any(|held| held.id == *job));
        for held in all {
            for note in told.news_of(&held, with_progress) {
                write_frame(&mut outgoing, &note).await?;
            }
        }
    }
}

async fn judge_hello(node: &Node, hello: JobHello) -> Result<(), Refusal> {
    if hello.version != JOB_VERSION {
        return Err(Refusal::Protocol { theirs: hello.version.into(), ours: JOB_VERSION.into() });
    }
    admit(node, hello.fence).await
}

/// Does what an order says. `named`: the jobs that were named before the list was complete.
fn obey(node: &Arc<Node>, order: JobOrder, named: &mut Option<BTreeSet<JobId>>) {
    match order {
        JobOrder::Want { job, attempt, wanted, spec } => {
            if let Some(named) = named {
                named.insert(job);
            }
            node.jobs.want(node, job, attempt, wanted, *spec);
        }
        JobOrder::Forget { job } => node.jobs.forget(node, job),
        JobOrder::Complete => {
            if let Some(named) = named.take() {
                node.jobs.forget_others(node, &named);
            }
        }
        JobOrder::Ticket { job, call, ticket } => {
            if let Some(held) = node.jobs.get(job) {
                held.take_ticket(call, ticket.map(|ticket| ticket.0));
            }
        }
    }
}

/// What was said on a stream.
#[derive(Debug, Default)]
struct Told {
    jobs: BTreeMap<JobId, ToldOfJob>,
}

#[derive(Debug, Default)]
struct ToldOfJob {
    attempt: u32,
    report_number: u64,
    faults: usize,
    calls: BTreeSet<u64>,
    progress: Option<JobProgress>,
}

impl Told {
    /// What is new of a job.
    fn news_of(&mut self, held: &Held, with_progress: bool) -> Vec<JobNote> {
        let told = self.jobs.entry(held.id).or_default();
        let (job, known) = (held.id, told.faults);
        let mut now = held.snapshot(known, FAULTS_AT_ONCE);
        if now.attempt != told.attempt {
            *told = ToldOfJob { attempt: now.attempt, ..ToldOfJob::default() };
            now = held.snapshot(0, FAULTS_AT_ONCE);
        }
        let attempt = now.attempt;
        let mut notes = Vec::new();
        if !now.faults.is_empty() {
            told.faults += now.faults.len();
            notes.push(JobNote::Faults { job, attempt, faults: now.faults });
        }
        if let Some(progress) = now.progress.filter(|_| with_progress)
            && told.progress.as_ref() != Some(&progress)
        {
            told.progress = Some(progress.clone());
            notes.push(JobNote::Progress { job, attempt, progress: Box::new(progress) });
        }
        if let Some((number, report)) = now.report
            && number != told.report_number
        {
            told.report_number = number;
            notes.push(JobNote::Report { job, attempt, report: Box::new(report) });
        }
        told.calls.retain(|call| now.calls.contains(call));
        for call in now.calls {
            if told.calls.insert(call) {
                notes.push(JobNote::NeedTicket { job, attempt, call });
            }
        }
        notes
    }
}
