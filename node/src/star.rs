//! [`StarService`]: answers the system protocol for the paths a star allows.
//!
//! ```text
//!  stream ─┬─ reader ──frames──> driver ──Job──> a blocking thread: LocalSystem below a Jail
//!          └─ writer <───────────────replies─────────────┘
//! ```
//! The reader always reads: a prune or a stop is seen while a call runs, and so is the end of the stream, which ends
//! the session at once. Replies go through a short bounded channel, so a slow asker slows the walk down and nothing
//! piles up. Everything is reached by the handles of the allowed directories: the text of a path is used once, to
//! choose which of them it lies in.
//!
//! What an asker can cause is bounded ([`StarLimits`]) and counted ([`StarService::metering`], [`StarService::ends`]):
//! sessions, calls that work the disk, time without a word, time without reading, length of frames.
//!
//! Reading order: [`allowed`], then `session` (the driver), `answer` (one call), `stream` (a scan's replies) and `contents`
//! (what voters ask).

pub mod allowed;
mod answer;
mod bulk;
mod cache;
mod contents;
mod counters;
mod frames;
mod jails;
mod link;
mod session;
mod squeeze;
mod stream;

use allowed::AllowedPaths;
use cache::SharedCache;
use counters::Counters;
pub use counters::Ends;
pub use jails::Jails;
pub(crate) use jails::Spot;
use orbit_core::grid::{Fence, Refusal};
use orbit_core::wire::pulse::Metering;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

/// What a [`StarService`] is made of.
#[derive(Clone, Debug)]
pub struct StarServiceConfig {
    /// The star's name, for messages.
    pub name: String,
    /// Absolute paths of the directories others may reach.
    pub allowed: Vec<PathBuf>,
    /// Where the cache of hashes lies.
    pub data_dir: PathBuf,
    /// Highest epoch and term seen so far.
    pub fence: Fence,
    /// Bounds.
    pub limits: StarLimits,
}

/// Bounds on what askers can cause.
#[derive(Clone, Copy, Debug)]
pub struct StarLimits {
    /// Sessions at once.
    pub sessions: u32,
    /// Streams at once that have not asked for anything yet; more are closed unheard.
    pub openings: usize,
    /// Calls at once that walk or hash; more wait.
    pub heavy: usize,
    /// How long the first frame may take.
    pub opening: Duration,
    /// How long a session may ask for nothing.
    pub idle: Duration,
    /// How long an asker may read nothing of what is sent to it.
    pub stall: Duration,
    /// How long the cache of hashes stays open after it was used: only one process can have it open.
    pub cache_linger: Duration,
}

impl Default for StarLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            sessions: 32,
            openings: 128,
            heavy: 2 * cores,
            opening: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            // A person may look at the first page for a while.
            stall: Duration::from_mins(5),
            cache_linger: Duration::from_secs(2),
        }
    }
}

/// The serving side of the system protocol. Clones are handles on one service.
#[derive(Clone)]
pub struct StarService(Arc<Shared>);

/// What all sessions share.
struct Shared {
    name: Mutex<String>,
    allowed: AllowedPaths,
    fence: Mutex<Fence>,
    cache: SharedCache,
    counters: Counters,
    limits: StarLimits,
    openings: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

impl StarService {
    /// A service for the allowed paths; none of them is opened yet.
    pub fn new(config: StarServiceConfig) -> Self {
        let StarServiceConfig { name, allowed, data_dir, fence, limits } = config;
        Self(Arc::new(Shared {
            name: Mutex::new(name),
            allowed: AllowedPaths::new(&allowed),
            fence: Mutex::new(fence),
            cache: SharedCache::new(data_dir, limits.cache_linger),
            counters: Counters::start(),
            limits,
            openings: Arc::new(Semaphore::new(limits.openings)),
            sessions: Arc::new(Semaphore::new(limits.sessions as usize)),
            heavy: Arc::new(Semaphore::new(limits.heavy)),
        }))
    }

    /// Serves one session on a stream, to its end.
    ///
    /// Whoever calls it has made sure that the stream comes from the Nucleus. Cancel-safe: a call that runs when the
    /// future is dropped is given up.
    pub async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) {
        self.serve_about(session::Topics::All, stream).await;
    }

    /// Serves one session to its end that may ask which contents the star hashed for the grid and what chunks they consist
    /// of, and nothing else: for a voter that indexes them. Cancel-safe.
    pub async fn serve_contents<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(&self, stream: S) {
        self.serve_about(session::Topics::Contents, stream).await;
    }

    /// Serves a direct link to its end, on this thread and one more. `root` is the path that its ticket names: no other is
    /// opened, and if it is a file, nothing else is read.
    pub fn serve_link(
        &self,
        reader: Box<dyn std::io::Read + Send>,
        writer: Box<dyn std::io::Write + Send>,
        root: &[u8],
    ) {
        let end = link::serve(&self.0, reader, writer, root);
        tracing::debug!(?end, "a direct link ended");
        self.0.counters.ended(end);
    }

    async fn serve_about<S>(&self, topics: session::Topics, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let end = session::serve(&self.0, stream, topics).await;
        tracing::debug!(?end, "a system session ended");
        self.0.counters.ended(end);
    }

    /// The allowed paths, for what this star does on its own.
    pub fn jails(&self) -> Jails {
        Jails::of(Arc::clone(&self.0))
    }

    /// What was done so far.
    pub fn metering(&self) -> Metering {
        self.0.counters.metering()
    }

    /// How sessions ended so far.
    pub fn ends(&self) -> Ends {
        self.0.counters.ends()
    }

    /// Calls being answered.
    pub fn calls_running(&self) -> u32 {
        self.0.counters.running()
    }

    /// Sessions that are open.
    pub fn sessions_open(&self) -> u32 {
        self.0.limits.sessions.saturating_sub(self.0.sessions.available_permits() as u32)
    }

    /// Refuses what is older than `fence` from now on.
    pub fn raise_fence(&self, fence: Fence) {
        let mut seen = lock(&self.0.fence);
        *seen = fence.max(*seen);
    }

    /// Highest epoch and term seen.
    pub fn fence(&self) -> Fence {
        *lock(&self.0.fence)
    }

    /// Another name for messages.
    pub fn set_name(&self, name: String) {
        *lock(&self.0.name) = name;
    }
}

impl Shared {
    fn name(&self) -> String {
        lock(&self.name).clone()
    }

    /// Takes note of the fence of whoever asks, or refuses it.
    fn admit(&self, theirs: Fence) -> Result<(), Refusal> {
        let mut seen = lock(&self.fence);
        if theirs < *seen {
            return Err(Refusal::OldTerm { node: self.name(), theirs: theirs.term, ours: seen.term });
        }
        *seen = theirs;
        Ok(())
    }
}

/// Nothing here is left half-changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
