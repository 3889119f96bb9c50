//! [`SharedCache`]: the cache of hashes, open only while somebody hashes and a moment longer.
//!
//! One process at a time can have it open, and a run on the same machine wants it too: whoever cannot have it goes on
//! without.

use crate::local::manifest_cache::ManifestCache;
use crate::standalone::observer::{Observer, RunEvent};
use crate::standalone::state::{UniverseCache, open_universe};
use orbit_core::{Chunk, ContentHash, FileIdentity};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The cache of one data directory.
#[derive(Clone)]
pub(super) struct SharedCache(Arc<Holder>);

struct Holder {
    data_dir: PathBuf,
    linger: Duration,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    cache: Option<Arc<UniverseCache>>,
    users: u32,
    /// Counts uses, so that who closes it can tell whether it was used again.
    uses: u64,
}

impl SharedCache {
    pub fn new(data_dir: PathBuf, linger: Duration) -> Self {
        Self(Arc::new(Holder { data_dir, linger, open: Mutex::default() }))
    }

    /// Opens it, or joins those who use it. It blocks on the disk.
    pub fn lease(&self) -> Lease {
        let mut open = super::lock(&self.0.open);
        if open.cache.is_none() {
            open.cache = open_universe(&self.0.data_dir, &Log).map(Arc::new);
        }
        open.users += 1;
        open.uses += 1;
        Lease { cache: open.cache.clone(), shared: self.clone(), answered: AtomicBool::new(false) }
    }

    /// Writes what was found out and closes it, unless somebody used it since. Who wants it meanwhile waits.
    fn close(&self, uses: u64) {
        let mut open = super::lock(&self.0.open);
        if open.users == 0
            && open.uses == uses
            && let Some(cache) = open.cache.take()
            && let Err(error) = cache.flush()
        {
            tracing::warn!(%error, "cannot cache hashes");
        }
    }

    #[cfg(test)]
    pub fn is_open(&self) -> bool {
        super::lock(&self.0.open).cache.is_some()
    }
}

/// The cache for one call.
pub(super) struct Lease {
    cache: Option<Arc<UniverseCache>>,
    shared: SharedCache,
    answered: AtomicBool,
}

impl Lease {
    /// Whether the answer came from the cache, and nothing was read.
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    fn note<T>(&self, answer: Option<T>) -> Option<T> {
        self.answered.fetch_or(answer.is_some(), Ordering::Relaxed);
        answer
    }
}

impl ManifestCache for Lease {
    fn root(&self, identity: &FileIdentity) -> Option<ContentHash> {
        self.note(self.cache.as_ref()?.root(identity))
    }

    fn chunks(&self, identity: &FileIdentity) -> Option<Vec<Chunk>> {
        self.note(self.cache.as_ref()?.chunks(identity))
    }

    fn store(&self, identity: &FileIdentity, root: ContentHash, chunks: Option<Vec<Chunk>>) {
        if let Some(cache) = &self.cache {
            cache.store(identity, root, chunks);
        }
    }
}

impl Drop for Lease {
    /// Has the cache closed soon unless somebody else uses it.
    fn drop(&mut self) {
        self.cache = None;
        let uses = {
            let mut open = super::lock(&self.shared.0.open);
            open.users -= 1;
            if open.users > 0 {
                return;
            }
            open.uses
        };
        let shared = self.shared.clone();
        let linger = self.shared.0.linger;
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !linger.is_zero() => drop(runtime.spawn(async move {
                tokio::time::sleep(linger).await;
                // Closing a database waits for the disk.
                drop(tokio::task::spawn_blocking(move || shared.close(uses)).await);
            })),
            _ => shared.close(uses),
        }
    }
}

/// Takes notices to the log: nobody is waiting for them here.
struct Log;

impl Observer for Log {
    fn event(&self, event: &RunEvent<'_>) {
        if let RunEvent::Notice(notice) = event {
            tracing::debug!(notice, "about the cache of hashes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standalone::state::UNIVERSE_FILE;
    use orbit_core::Timestamp;
    use orbit_store::Universe;
    use std::time::Instant;

    /// A version of a file that has not been touched for long.
    fn version(ino: u64) -> FileIdentity {
        let time = Timestamp { seconds: 1_000_000_000, nanos: 0 };
        FileIdentity { dev: 1, ino, size: 7, mtime: time, ctime: time }
    }

    fn hash(byte: u8) -> ContentHash {
        ContentHash::from_bytes([byte; 32])
    }

    fn until_closed(cache: &SharedCache) {
        let begun = Instant::now();
        while cache.is_open() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it stays open");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_closes_when_nobody_uses_it_and_remembers() {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let cache = SharedCache::new(directory.path().to_owned(), Duration::from_millis(100));
        assert!(!cache.is_open(), "it is opened when it is needed");
        let (one, two) = (cache.lease(), cache.lease());
        one.store(&version(1), hash(1), None);
        assert!(!one.has_answered());
        drop(one);
        two.store(&version(2), hash(2), None);
        assert!(cache.is_open());
        drop(two);
        assert!(cache.is_open(), "a moment longer");
        until_closed(&cache);
        // Another process could have it now.
        drop(Universe::open_or_replace(&directory.path().join(UNIVERSE_FILE)).expect("opens"));
        let again = cache.lease();
        assert_eq!((again.root(&version(1)), again.root(&version(2))), (Some(hash(1)), Some(hash(2))));
        assert_eq!(again.root(&version(3)), None);
        assert!(again.has_answered());
        drop(again);
        until_closed(&cache);
    }

    #[test]
    fn while_another_has_it_there_is_none_and_nothing_fails() {
        let directory = tempfile::tempdir().expect("a directory");
        let other = Universe::open_or_replace(&directory.path().join(UNIVERSE_FILE)).expect("opens");
        let cache = SharedCache::new(directory.path().to_owned(), Duration::ZERO);
        let lease = cache.lease();
        lease.store(&version(1), hash(1), None);
        assert_eq!(lease.root(&version(1)), None);
        assert!(!lease.has_answered() && !cache.is_open());
        drop((lease, other));
        let lease = cache.lease();
        lease.store(&version(1), hash(1), None);
        drop(lease);
        assert!(!cache.is_open());
        assert_eq!(cache.lease().root(&version(1)), Some(hash(1)));
    }
}
