//! [`Link`]: one stream to another member of the group, in one direction: opened, kept, and opened again.
//!
//! ```text
//!   call ─▶ asks ─▶ task ── frames ──▶ the other member
//!        ◀─ answer by id ◀── frames ──
//! ```
//! A call fails at once while it is known that nobody is there. What was sent on a stream that broke fails then; whether the
//! other acted is not known.

use super::dial;
use super::frames::{FrameError, read_frame, write_frame};
use crate::daemon::Node;
use crate::standalone::error::chain;
use orbit_core::ids::NodeId;
use orbit_core::wire::raft::{Lane, RAFT_BODY_BYTES_MAX, RaftFrame, RaftFrameKind};
use orbit_mesh::net::MeshStream;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Calls that wait to be sent. Each is at most 4 MiB, but a member has a few on their way and no more.
const WAITING_MAX: usize = 64;
/// Calls that wait for their answer on one stream.
const IN_FLIGHT_MAX: usize = 128;
/// Answers read ahead. They are handed on at once.
const ANSWERS_READ: usize = 16;
/// Pauses between attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(800);
/// How long the other may take nothing of what is sent.
const SEND_PATIENCE: Duration = Duration::from_secs(5);
/// A call that is not answered for so long makes the other be asked for a sign of life.
const PROBE_AFTER: Duration = Duration::from_millis(800);
/// Without any sign for so long the connection is dead.
const DEAD_AFTER: Duration = Duration::from_millis(2500);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A stream for what is large is closed when there was nothing large for so long.
const BULK_IDLE: Duration = Duration::from_secs(20);

/// A call on its way.
struct Ask {
    message: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

/// Whether there is a way.
#[derive(Clone, Debug)]
enum State {
    /// It is being opened for the first time, or again for the first time after it broke: calls wait.
    Trying,
    /// It is there.
    Up,
    /// It is not, for this reason; it is tried again now and then.
    Down(Arc<str>),
}

/// A handle; the link ends with the last one.
#[derive(Clone)]
pub(super) struct Link {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
}

impl Link {
    /// Begins to open a way.
    pub(super) fn open(node: &Arc<Node>, to: NodeId, lane: Lane, ended: &CancellationToken) -> Self {
        let (asks, waiting) = mpsc::channel(WAITING_MAX);
        let (tell, state) = watch::channel(State::Trying);
        let task = Task { node: Arc::downgrade(node), to, lane, waiting, tell, next_id: 0 };
        let ended = ended.clone();
        node.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task.run() => {}
            }
        });
        Self { asks, state }
    }

    /// Asks, and waits for the answer. Cancel-safe: the answer is thrown away then.
    pub(super) async fn call(self, message: Vec<u8>) -> Result<Vec<u8>, String> {
        if message.len() > RAFT_BODY_BYTES_MAX {
            return Err(format!("a message of {} bytes is too large", message.len()));
        }
        if let State::Down(reason) = &*self.state.borrow() {
            return Err(reason.to_string());
        }
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(Ask { message, answer }).map_err(|_| "too much waits to be sent".to_owned())?;
        answered.await.map_err(|_| match &*self.state.borrow() {
            State::Down(reason) => reason.to_string(),
            State::Trying | State::Up => "the connection broke".to_owned(),
        })
    }
}

struct Task {
    node: Weak<Node>,
    to: NodeId,
    lane: Lane,
    waiting: mpsc::Receiver<Ask>,
    tell: watch::Sender<State>,
    next_id: u64,
}

/// Why a stream ended.
enum Ended {
    /// Nobody holds the link any more.
    Unwanted,
    /// There was nothing to say on it.
    Idle,
    /// It broke.
    Broken(FrameError),
    /// No sign of life came.
    Dead,
}

impl Task {
    async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        let mut first = None;
        loop {
            if self.lane == Lane::Bulk && first.is_none() {
                first = self.waiting.recv().await;
                if first.is_none() {
                    return;
                }
            }
            let Some(node) = self.node.upgrade() else { return };
            let opened = dial::open(&node, self.to, self.lane).await;
            drop(node);
            match opened {
                Ok(stream) => {
                    pause = PAUSE_MIN;
                    self.tell.send_replace(State::Up);
                    match self.talk(stream, first.take()).await {
                        Ended::Unwanted => return,
                        Ended::Idle => self.tell.send_replace(State::Trying),
                        Ended::Broken(error) => {
                            tracing::debug!(to = %self.to, error = chain(&error), "a stream of the group broke");
                            self.tell.send_replace(State::Trying)
                        }
                        Ended::Dead => {
                            tracing::debug!(to = %self.to, "no sign of life from a member of the group");
                            self.hang_up().await;
                            self.tell.send_replace(State::Down("it gives no sign of life".into()))
                        }
                    };
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::debug!(to = %self.to, error = reason, "a member of the group is not reached");
                    self.tell.send_replace(State::Down(reason.into()));
                    first = None;
                    self.fail_waiting();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
            if self.waiting.is_closed() {
                return;
            }
        }
    }

    /// Lets those who came before it was known that nobody is there know it.
    fn fail_waiting(&mut self) {
        while self.waiting.try_recv().is_ok() {}
    }

    /// Gives up the connection as a whole: another one may get through.
    async fn hang_up(&self) {
        let Some(node) = self.node.upgrade() else { return };
        let link = node.mesh.peers().into_iter().find(|link| link.node == self.to);
        if let Some(link) = link {
            node.mesh.disconnect(link.peer).await;
        }
    }

    /// Sends calls and hands on answers until the stream ends.
    async fn talk(&mut self, stream: MeshStream, mut first: Option<Ask>) -> Ended {
        let (mut incoming, mut outgoing) = tokio::io::split(stream);
        let (read, mut answers) = mpsc::channel(ANSWERS_READ);
        let _reader = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let frame = read_frame(&mut incoming).await;
                let is_last = frame.is_err();
                if read.send(frame).await.is_err() || is_last {
                    return;
                }
            }
        }));
        let mut calls = Calls::default();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ask = if first.is_some() {
                first.take()
            } else {
                tokio::select! {
                    frame = answers.recv() => {
                        match frame {
                            Some(Ok(frame)) => calls.answered(frame),
                            Some(Err(error)) => return Ended::Broken(error),
                            None => return Ended::Broken(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                        }
                        None
                    }
                    ask = self.waiting.recv(), if calls.has_room() => match ask {
                        Some(ask) => Some(ask),
                        None => return Ended::Unwanted,
                    },
                    _ = look.tick() => match calls.look(self.lane) {
                        Look::Fine => None,
                        Look::Probe => Some(Ask { message: Vec::new(), answer: oneshot::channel().0 }),
                        Look::Idle => return Ended::Idle,
                        Look::Dead => return Ended::Dead,
                    },
                }
            };
            let Some(Ask { message, answer }) = ask else { continue };
            self.next_id += 1;
            calls.sent(self.next_id, answer);
            let frame = RaftFrame { id: self.next_id, kind: RaftFrameKind::Call, body: message };
            match timeout(SEND_PATIENCE, write_frame(&mut outgoing, &frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ended::Broken(error),
                Err(_) => return Ended::Dead,
            }
        }
    }
}

/// Calls on one stream that are not answered.
struct Calls {
    waiting: HashMap<u64, oneshot::Sender<Vec<u8>>>,
    /// When the stream was last quiet, or heard of: nothing is missed before that.
    heard: Instant,
    used: Instant,
    is_probed: bool,
}

impl Default for Calls {
    fn default() -> Self {
        let now = Instant::now();
        Self { waiting: HashMap::new(), heard: now, used: now, is_probed: false }
    }
}

enum Look {
    Fine,
    Probe,
    Idle,
    Dead,
}

impl Calls {
    fn has_room(&self) -> bool {
        self.waiting.len() < IN_FLIGHT_MAX
    }

    fn sent(&mut self, id: u64, answer: oneshot::Sender<Vec<u8>>) {
        if self.waiting.is_empty() {
            self.heard = Instant::now();
        }
        self.used = Instant::now();
        self.waiting.insert(id, answer);
    }

    fn answered(&mut self, frame: RaftFrame) {
        self.heard = Instant::now();
        self.is_probed = false;
        if frame.kind == RaftFrameKind::Answer
            && let Some(answer) = self.waiting.remove(&frame.id)
        {
            // Whoever asked may have given up.
            let _ = answer.send(frame.body);
        }
    }

    fn look(&mut self, lane: Lane) -> Look {
        let (silence, is_waiting) = (self.heard.elapsed(), !self.waiting.is_empty());
        // Those that nobody waits for are kept until now, so that a stream on which nothing comes back is noticed.
        if !is_waiting && lane == Lane::Bulk && self.used.elapsed() > BULK_IDLE {
            return Look::Idle;
        }
        if is_waiting && silence > DEAD_AFTER {
            return Look::Dead;
        }
        if is_waiting && silence > PROBE_AFTER && !self.is_probed {
            self.waiting.retain(|_, answer| !answer.is_closed());
            self.is_probed = true;
            return Look::Probe;
        }
        Look::Fine
    }
}
