//! [`SharedCache`]: the cache of hashes, open only while somebody hashes and a moment longer.
//!
//! One process at a time can have it open, and a run on the same machine wants it too: whoever cannot have it goes on
//! without.

use crate::local::manifest_cache::ManifestCache;
use crate::standalone::observer::{Observer, RunEvent};
use crate::standalone::state::{UNIVERSE_FILE, UniverseCache, now, open_universe};
use orbit_core::{Chunk, ContentHash, FileIdentity};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
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
    /// Something was stored since it was opened.
    is_changed: bool,
    /// Names what is in it. Another number means that something may have changed.
    state: u64,
    /// Its file, when that was its state.
    stamp: Option<Stamp>,
}

/// What changes when another process writes a file: inode, length, time.
type Stamp = (u64, u64, i64, i64);

impl Open {
    fn renew_state(&mut self) {
        self.state = (now().as_nanos() as u64).max(self.state + 1);
    }
}

impl SharedCache {
    pub fn new(data_dir: PathBuf, linger: Duration) -> Self {
        Self(Arc::new(Holder { data_dir, linger, open: Mutex::default() }))
    }

    /// Opens it, or joins those who use it. It blocks on the disk.
    pub fn lease(&self) -> Lease {
        let mut open = super::lock(&self.0.open);
        if open.cache.is_none() {
            self.look_at_file(&mut open);
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
        {
            if let Err(error) = cache.flush() {
                tracing::warn!(%error, "cannot cache hashes");
            }
            drop(cache);
            // Closing alone writes the file, too.
            open.stamp = self.stamp();
            if std::mem::take(&mut open.is_changed) {
                open.renew_state();
            }
        }
    }

    /// Whether there is one. None is made only to be looked into.
    pub fn is_there(&self) -> bool {
        self.stamp().is_some()
    }

    /// Names what is in it now: as long as the number is the same, so is the content.
    pub fn state(&self) -> u64 {
        let mut open = super::lock(&self.0.open);
        if open.cache.is_none() {
            self.look_at_file(&mut open);
        } else if open.is_changed {
            open.renew_state();
        }
        open.state
    }

    /// Another process may have written it.
    fn look_at_file(&self, open: &mut Open) {
        let stamp = self.stamp();
        if stamp != open.stamp || open.state == 0 {
            open.stamp = stamp;
            open.renew_state();
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        let of = |file: Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        std::fs::metadata(self.0.data_dir.join(UNIVERSE_FILE)).ok().map(of)
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

    /// What is in it, if it could be opened.
    pub fn universe(&self) -> Option<&UniverseCache> {
        self.cache.as_deref()
    }

    /// What the grid had hashed, it may know.
    fn share(&self, identity: &FileIdentity, root: ContentHash) {
        if let Some(cache) = &self.cache
            && cache.share(identity, root)
        {
            super::lock(&self.shared.0.open).is_changed = true;
        }
    }

    fn note<T>(&self, answer: Option<T>) -> Option<T> {
        self.answered.fetch_or(answer.is_some(), Ordering::Relaxed);
        answer
    }
}

impl ManifestCache for Lease {
    fn root(&self, identity: &FileIdentity) -> Option<ContentHash> {
        let root = self.note(self.cache.as_ref()?.root(identity))?;
        self.share(identity, root);
        Some(root)
    }

    fn chunks(&self, identity: &FileIdentity) -> Option<Vec<Chunk>> {
        let cache = self.cache.as_ref()?;
        let chunks = self.note(cache.chunks(identity))?;
        if let Some(root) = cache.root(identity) {
            self.share(identity, root);
        }
        Some(chunks)
    }

    fn store(&self, identity: &FileIdentity, root: ContentHash, chunks: Option<Vec<Chunk>>) {
        if let Some(cache) = &self.cache {
            cache.store(identity, root, chunks);
        }
        self.share(identity, root);
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
