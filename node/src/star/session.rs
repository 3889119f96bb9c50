//! One session: who reads, who drives, who writes.

use super::Shared;
use super::allowed::{NoPlace, Place};
use super::answer::{Asked, Job, Scene};
use super::contents::Inquiry;
use super::counters::End;
use super::frames::{SendFault, read_frame, write_all};
use super::link::LinkWriter;
use orbit_core::RelPath;
use orbit_core::grid::Refusal;
use orbit_core::wire::codec::encode_frame;
use orbit_core::wire::system::{Call, Cargo, Opened, Opening, Reply, WireSystemError};
use orbit_core::wire::{bytes::Octets, decode};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// Largest first frame, bytes: a path and little more. Many may be on their way from who knows whom.
const OPENING_BYTES_MAX: usize = 256 << 10;

/// Largest call, bytes. It holds one path, and a walk goes 16 384 levels deep.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Frames heard but not looked at yet. The driver looks at them at once, so more would only cost memory.
const FRAMES_HEARD: usize = 1;

/// Replies that wait to be written: the next is made while the last is sent, and that is all it takes.
const REPLIES_WAITING: usize = 3;

/// What a session may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// For the Nucleus: files, and the contents the star holds.
    All,
    /// For other voters: the contents.
    Contents,
}

/// What a session is about.
enum Topic {
    Files(Scene),
    /// With the session's place.
    Contents(Arc<OwnedSemaphorePermit>),
}

/// What the reader hands on: a frame, or that it was none.
type Heard = Result<Vec<u8>, &'static str>;

/// Serves a session to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin>(
    shared: &Arc<Shared>,
    stream: S,
    topics: Topics,
) -> End {
    let Ok(opening) = Arc::clone(&shared.openings).try_acquire_owned() else { return End::Crowded };
    let (mut reading, mut writing) = tokio::io::split(stream);
    let (heard, frames) = mpsc::channel(FRAMES_HEARD);
    let (replies, mut waiting) = mpsc::channel::<Vec<u8>>(REPLIES_WAITING);
    let counters = &shared.counters;
    let reader = async {
        let mut bytes_max = OPENING_BYTES_MAX;
        loop {
            let frame = match read_frame(&mut reading, bytes_max).await {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    counters.bytes_received.fetch_add(frame.len() as u64 + 4, Relaxed);
                    Ok(frame)
                }
                Err(_) => Err("a frame is too long"),
            };
            bytes_max = CALL_BYTES_MAX;
            let is_wrong = frame.is_err();
            if heard.send(frame).await.is_err() || is_wrong {
                break;
            }
        }
        drop(heard);
        std::future::pending::<()>().await;
    };
    let writer = async {
        while let Some(frame) = waiting.recv().await {
            write_all(&mut writing, &frame, shared.limits.stall).await?;
            counters.bytes_sent.fetch_add(frame.len() as u64, Relaxed);
        }
        Ok(())
    };
    let driver = Driver { shared, frames, replies: Replies::Stream(replies) };
    let speak = async {
        let driver = driver.drive(opening, topics);
        tokio::pin!(driver, writer);
        tokio::select! {
            end = &mut driver => match end {
                // Whoever is gone, or makes no sense, is told nothing more.
                End::Closed | End::Wrong(_) => end,
                // The last words are still written.
                _ => if writer.await == Err(SendFault::Stalled) { End::Stalled } else { end },
            },
            sent = &mut writer => if sent == Err(SendFault::Stalled) { End::Stalled } else { End::Closed },
        }
    };
    tokio::select! {
        end = speak => end,
        () = reader => End::Closed,
    }
}

/// Where replies go.
#[derive(Clone)]
pub(super) enum Replies {
    /// To the task that writes them to a stream of the mesh.
    Stream(mpsc::Sender<Vec<u8>>),
    /// To a direct link.
    Link(Arc<LinkWriter>),
}

/// Nobody takes replies any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl Replies {
    /// Sends a reply from a blocking thread; waits while the asker is slow.
    pub fn send(&self, reply: &Reply) -> Result<(), Gone> {
        match self {
            Self::Stream(waiting) => waiting.blocking_send(encode_frame(reply)).map_err(|_| Gone),
            Self::Link(writer) => writer.send(reply),
        }
    }

    /// The same, for a reply behind which its cargo follows: of the bytes, or compressed if that saves time on the way.
    pub fn send_with(&self, bytes: &[u8], reply: impl FnOnce(Cargo) -> Reply) -> Result<(), Gone> {
        match self {
            Self::Stream(waiting) => {
                let cargo = Cargo { wire: bytes.len() as u32, bytes: bytes.len() as u32 };
                let mut frame = encode_frame(&reply(cargo));
                frame.extend_from_slice(bytes);
                waiting.blocking_send(frame).map_err(|_| Gone)
            }
            Self::Link(writer) => writer.send_with(bytes, reply),
        }
    }

    async fn say(&self, reply: &Reply) -> Result<(), End> {
        match self {
            Self::Stream(waiting) => waiting.send(encode_frame(reply)).await.map_err(|_| End::Closed),
            // A direct link has no tasks.
            Self::Link(writer) => writer.send(reply).map_err(|_| End::Closed),
        }
    }
}

/// Decides what is done with each frame.
struct Driver<'s> {
    shared: &'s Arc<Shared>,
    frames: mpsc::Receiver<Heard>,
    replies: Replies,
}

impl Driver<'_> {
    async fn drive(mut self, waiting: OwnedSemaphorePermit, topics: Topics) -> End {
        let topic = match self.open(topics).await {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        drop(waiting);
        let ended = match topic {
            Topic::Files(scene) => self.answer_calls(scene).await,
            Topic::Contents(place) => self.answer_about_contents(place).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Hears the opening and finds the place it asks for.
    async fn open(&mut self, topics: Topics) -> Result<Topic, End> {
        let shared = Arc::clone(self.shared);
        let frame = self.hear(shared.limits.opening).await?;
        let opening: Opening = decode(&frame).map_err(|_| End::Wrong("the first frame is no opening"))?;
        let admitted = match topics {
            Topics::All => shared.admit(opening.fence),
            // Nothing is done for it that a voter which is not the Nucleus could get wrong.
            Topics::Contents if opening.path.is_empty() => Ok(()),
            Topics::Contents => Err(Refusal::NotNucleus { node: shared.name() }),
        };
        if let Err(refusal) = admitted {
            return Err(self.refuse(refusal).await);
        }
        let Ok(session) = Arc::clone(&shared.sessions).try_acquire_owned() else {
            let busy = Refusal::Busy { name: shared.name(), limit: shared.limits.sessions };
            return Err(self.refuse(busy).await);
        };
        let node = shared.name();
        // The permit goes with the thread too: a disk that hangs may hold it longer than anybody waits.
        let session = Arc::new(session);
        let permit = Arc::clone(&session);
        if opening.path.is_empty() {
            let opened = Opened { start: Vec::new(), node, ways: Vec::new() };
            self.replies.say(&Reply::Opened(opened)).await?;
            return Ok(Topic::Contents(session));
        }
        let found = spawn_blocking(move || {
            let found = shared.allowed.find(&node, &opening.path, opening.browse);
            drop(permit);
            found
        })
        .await;
        let mut opened = Opened { start: Vec::new(), node: self.shared.name(), ways: Vec::new() };
        match found.map_err(|error| panicked(&error))? {
            Ok(Place::Inside { jail, start }) => {
                opened.start = start.as_bytes().to_vec();
                self.replies.say(&Reply::Opened(opened)).await?;
                Ok(Topic::Files(Scene::new(jail, Some(session))))
            }
            Ok(Place::Above(ways)) => {
                opened.ways = ways.into_iter().map(Octets).collect();
                self.replies.say(&Reply::Opened(opened)).await?;
                // There is nothing to call.
                Err(End::Shown)
            }
            Err(NoPlace::Refused(refusal)) => Err(self.refuse(refusal).await),
            Err(NoPlace::Failed(error)) => {
                self.replies.say(&Reply::Failed(WireSystemError::from(&error))).await?;
                Err(End::Refused)
            }
        }
    }

    /// Answers one call after the other, until the session ends.
    async fn answer_calls(&mut self, mut scene: Scene) -> Result<Infallible, End> {
        loop {
            let frame = self.hear(self.shared.limits.idle).await?;
            match decode(&frame) {
                // They were meant for a scan that has ended meanwhile.
                Ok(Call::Prune { .. } | Call::Want { .. } | Call::Stop) => {}
                Ok(Call::Contents { .. } | Call::Manifests { .. }) => {
                    return Err(End::Wrong("a session about files was asked about contents"));
                }
                Ok(call) => {
                    let (shared, replies) = (Arc::clone(self.shared), self.replies.clone());
                    let job = move |call: &Call, asked| Job { scene, replies, asked, shared }.run(call);
                    scene = self.answer(call, job).await?;
                }
                Err(_) => return Err(End::Wrong("what came is no call")),
            }
        }
    }

    /// Likewise for a session about contents.
    async fn answer_about_contents(
        &mut self,
        mut place: Arc<OwnedSemaphorePermit>,
    ) -> Result<Infallible, End> {
        loop {
            let frame = self.hear(self.shared.limits.idle).await?;
            match decode(&frame) {
                Ok(Call::Stop) => {}
                Ok(call @ (Call::Contents { .. } | Call::Manifests { .. })) => {
                    let (shared, replies) = (Arc::clone(self.shared), self.replies.clone());
                    let inquiry =
                        move |call: &Call, asked| (place, Inquiry { replies, asked, shared }.answer(call));
                    place = self.answer(call, inquiry).await?;
                }
                Ok(_) => return Err(End::Wrong("a session about contents was asked about files")),
                Err(_) => return Err(End::Wrong("what came is no call")),
            }
        }
    }

    /// Has a call answered on a thread of its own, and hears meanwhile what else the asker says. What the job needs it gives
    /// back with the last reply.
    async fn answer<T: Send + 'static>(
        &mut self,
        call: Call,
        job: impl FnOnce(&Call, Arc<Asked>) -> (T, Option<Reply>) + Send + 'static,
    ) -> Result<T, End> {
        let shared = Arc::clone(self.shared);
        let _running = shared.counters.run();
        let asked = Arc::new(Asked::default());
        let _given_up = StopOnDrop(Arc::clone(&asked));
        let job = {
            let asked = Arc::clone(&asked);
            async {
                let heavy = if is_heavy(&call) {
                    Some(Arc::clone(&shared.heavy).acquire_owned().await)
                } else {
                    None
                };
                // The permit goes with the thread: it may outlive this future.
                spawn_blocking(move || (job(&call, asked), heavy).0).await
            }
        };
        tokio::pin!(job);
        loop {
            tokio::select! {
                done = &mut job => {
                    let (kept, last) = done.map_err(|error| panicked(&error))?;
                    self.replies.say(&last.ok_or(End::Closed)?).await?;
                    return Ok(kept);
                }
                heard = self.frames.recv() => {
                    let frame = heard.ok_or(End::Closed)?.map_err(End::Wrong)?;
                    match decode(&frame) {
                        Ok(Call::Prune { directory }) => match RelPath::new(directory) {
                            Ok(directory) => asked.prune(directory),
                            Err(_) => return Err(End::Wrong("what is to be pruned is no path")),
                        },
                        Ok(Call::Want { wanted }) => asked.want(wanted),
                        Ok(Call::Stop) => asked.stop(),
                        _ => return Err(End::Wrong("a call came before the last one was answered")),
                    }
                }
            }
        }
    }

    async fn hear(&mut self, deadline: Duration) -> Result<Vec<u8>, End> {
        let heard = timeout(deadline, self.frames.recv()).await.map_err(|_| End::Silent)?;
        heard.ok_or(End::Closed)?.map_err(End::Wrong)
    }

    async fn refuse(&self, refusal: Refusal) -> End {
        self.shared.counters.refused.fetch_add(1, Relaxed);
        self.replies.say(&Reply::Refused(refusal)).await.err().unwrap_or(End::Refused)
    }
}

/// Gives a call up when nobody waits for it any more.
struct StopOnDrop(Arc<Asked>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

const fn is_heavy(call: &Call) -> bool {
    matches!(
        call,
        Call::Scan { .. }
            | Call::ScanKnown { .. }
            | Call::HashRange { .. }
            | Call::Chunk { .. }
            | Call::Sketch
            | Call::Contents { .. }
            | Call::Manifests { .. }
    )
}

fn panicked(error: &JoinError) -> End {
    tracing::error!(%error, "a call of the system protocol panicked");
    End::Panicked
}
