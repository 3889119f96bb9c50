//! The system protocol on a direct link: blocking, one call after the other, on the thread that the link has.
//!
//! ```text
//!  link ─┬─ reader, a thread: calls ──> this thread: Job, LocalSystem below a Jail
//!        └─ LinkWriter <──────────────────────┘ replies and their cargo, written where they are made
//! ```
//! The reader always reads, so that a prune or a stop is seen while a call runs.

use super::Shared;
use super::allowed::{NoPlace, Place};
use super::answer::{Asked, Job, Scene};
use super::counters::End;
use super::session::{Gone, Replies};
use super::squeeze::Squeeze;
use orbit_core::grid::Refusal;
use orbit_core::rel_path::display_name;
use orbit_core::wire::codec::{FRAME_HEAD_LEN, encode_frame, frame_len};
use orbit_core::wire::system::{Call, Cargo, Opened, Opening, Reply, WireSystemError};
use orbit_core::wire::{WireError, decode};
use orbit_core::{RelPath, wire};
use std::io::{self, Read, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Largest call, bytes.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Calls heard and not answered yet: an asker may send the next before the last is answered.
const CALLS_AHEAD: usize = 4;

/// The writing end of a link. What is sent is counted.
pub(super) struct LinkWriter {
    out: Mutex<Out>,
    shared: Arc<Shared>,
}

struct Out {
    stream: Box<dyn Write + Send>,
    squeeze: Squeeze,
}

impl LinkWriter {
    fn new(stream: Box<dyn Write + Send>, shared: Arc<Shared>) -> Self {
        Self { out: Mutex::new(Out { stream, squeeze: Squeeze::new() }), shared }
    }

    /// Sends a reply at once.
    pub fn send(&self, reply: &Reply) -> Result<(), Gone> {
        let frame = encode_frame(reply);
        let mut out = super::lock(&self.out);
        let sent = out.stream.write_all(&frame).and_then(|()| out.stream.flush());
        self.count(frame.len(), sent)
    }

    /// Sends a reply and its cargo. It may wait for what follows: the last reply to every call goes at once.
    pub fn send_with(&self, bytes: &[u8], reply: impl FnOnce(Cargo) -> Reply) -> Result<(), Gone> {
        let mut out = super::lock(&self.out);
        let Out { stream, squeeze } = &mut *out;
        let cargo = squeeze.pack(bytes).unwrap_or(bytes);
        let frame = encode_frame(&reply(Cargo { wire: cargo.len() as u32, bytes: bytes.len() as u32 }));
        let begun = Instant::now();
        let sent = stream.write_all(&frame).and_then(|()| stream.write_all(cargo));
        let len = frame.len() + cargo.len();
        squeeze.sent(len, begun.elapsed());
        self.count(len, sent)
    }

    fn count(&self, bytes: usize, sent: io::Result<()>) -> Result<(), Gone> {
        self.shared.counters.bytes_sent.fetch_add(bytes as u64, Relaxed);
        sent.map_err(|_| Gone)
    }
}

/// Serves a link to its end.
pub(super) fn serve(
    shared: &Arc<Shared>,
    mut reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    root: &[u8],
) -> End {
    let writer = Arc::new(LinkWriter::new(writer, Arc::clone(shared)));
    let scene = match open(shared, reader.as_mut(), &writer, root) {
        Ok(scene) => scene,
        Err(end) => return end,
    };
    let (hear, heard) = sync_channel(CALLS_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || listen(shared, reader.as_mut(), &hear));
        // Dropping the last handle on the writer cuts the link, which ends the reader.
        answer_calls(shared, writer, heard, scene)
    })
}

fn open(shared: &Shared, reader: &mut dyn Read, writer: &LinkWriter, root: &[u8]) -> Result<Scene, End> {
    let refuse = |refusal| {
        shared.counters.refused.fetch_add(1, Relaxed);
        let _gone = writer.send(&Reply::Refused(refusal));
        Err(End::Refused)
    };
    let frame = match read_frame(reader, &shared.counters.bytes_received) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Err(End::Closed),
        Err(_) => return Err(End::Wrong("a frame is too long")),
    };
    let opening: Opening = decode(&frame).map_err(|_| End::Wrong("the first frame is no opening"))?;
    let node = shared.name();
    if opening.path != root || opening.browse {
        let (path, root) = (display_name(&opening.path).into_owned(), display_name(root).into_owned());
        return refuse(Refusal::OutsideJail { node, path, allowed: vec![root] });
    }
    let mut opened = Opened { start: Vec::new(), node: node.clone(), ways: Vec::new() };
    let scene = match shared.allowed.find(&node, root, false) {
        Ok(Place::Inside { jail, start }) if start.is_root() => Scene::new(jail, None),
        Ok(Place::Inside { jail, start }) => {
            opened.start = start.as_bytes().to_vec();
            Scene::of_one(jail, start)
        }
        Ok(Place::Above(_)) => return Err(End::Refused),
        Err(NoPlace::Refused(refusal)) => return refuse(refusal),
        Err(NoPlace::Failed(error)) => {
            let _gone = writer.send(&Reply::Failed(WireSystemError::from(&error)));
            return Err(End::Refused);
        }
    };
    writer.send(&Reply::Opened(opened)).map_err(|_| End::Closed)?;
    Ok(scene)
}

/// A call, and what is said about it while it waits or runs.
type Heard = Result<(Call, Arc<Asked>), &'static str>;

/// Reads calls until the link ends, or what comes is none. What is said about the last call, it hears at once.
fn listen(shared: &Shared, reader: &mut dyn Read, hear: &SyncSender<Heard>) {
    let mut asked = Arc::<Asked>::default();
    loop {
        let heard = match read_frame(reader, &shared.counters.bytes_received) {
            Ok(None) => break,
            Err(_) => Err("a frame is too long"),
            Ok(Some(frame)) => match decode(&frame) {
                Ok(Call::Stop) => {
                    asked.stop();
                    continue;
                }
                Ok(Call::Want { wanted }) => {
                    asked.want(wanted);
                    continue;
                }
                Ok(Call::Prune { directory }) => match RelPath::new(directory) {
                    Ok(directory) => {
                        asked.prune(directory);
                        continue;
                    }
                    Err(_) => Err("what is to be pruned is no path"),
                },
                Ok(Call::Contents { .. } | Call::Manifests { .. }) => {
                    Err("a session about files was asked about contents")
                }
                Ok(call) => {
                    asked = Arc::default();
                    Ok((call, Arc::clone(&asked)))
                }
                Err(_) => Err("what came is no call"),
            },
        };
        let is_wrong = heard.is_err();
        if hear.send(heard).is_err() || is_wrong {
            break;
        }
    }
    // Nobody waits for an answer any more.
    asked.stop();
}

#[expect(clippy::needless_pass_by_value, reason = "that they are dropped ends the reader")]
fn answer_calls(
    shared: &Arc<Shared>,
    writer: Arc<LinkWriter>,
    heard: Receiver<Heard>,
    mut scene: Scene,
) -> End {
    while let Ok(call) = heard.recv() {
        let (call, asked) = match call {
            Ok(call) => call,
            Err(wrong) => return End::Wrong(wrong),
        };
        let _running = shared.counters.run();
        let (replies, shared) = (Replies::Link(Arc::clone(&writer)), Arc::clone(shared));
        let (next, last) = Job { scene, replies, asked, shared }.run(&call);
        scene = next;
        if last.is_none_or(|last| writer.send(&last).is_err()) {
            return End::Closed;
        }
    }
    End::Closed
}

/// Reads one frame; none if the link ends, at a frame's border or within.
fn read_frame(reader: &mut dyn Read, received: &AtomicU64) -> Result<Option<Vec<u8>>, WireError> {
    let mut head = [0; FRAME_HEAD_LEN];
    if reader.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let len = frame_len(head, CALL_BYTES_MAX.min(wire::MESSAGE_BYTES_MAX))?;
    let mut frame = Vec::new();
    // The length is only a claim: memory grows with what really comes.
    match reader.take(len as u64).read_to_end(&mut frame) {
        Ok(read) if read == len => {
            received.fetch_add((len + FRAME_HEAD_LEN) as u64, Relaxed);
            Ok(Some(frame))
        }
        _ => Ok(None),
    }
}
