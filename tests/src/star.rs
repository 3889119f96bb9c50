//! [`Star`]: a star's service in this process, and streams to it through the kernel.

pub mod raw;

use orbit_core::RelPath;
use orbit_core::grid::Fence;
use orbit_node::remote::{Duplex, RemoteError, RemoteSystem, StarLink};
use orbit_node::star::{StarLimits, StarService, StarServiceConfig};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// A star that allows some paths. Dropping it ends its sessions.
pub struct Star {
    /// The service.
    pub service: StarService,
    /// Bytes that went through its streams.
    pub traffic: Arc<Traffic>,
    runtime: Option<Runtime>,
    data: tempfile::TempDir,
}

/// Bytes on the wire.
#[derive(Debug, Default)]
pub struct Traffic {
    /// To the star.
    pub sent: AtomicU64,
    /// From the star.
    pub received: AtomicU64,
}

impl Traffic {
    /// Bytes from the star so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes to the star so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Star {
    /// A star named `nas2` with the usual bounds.
    pub fn allowing(allowed: &[&Path]) -> Self {
        Self::with_limits(allowed, StarLimits::default())
    }

    /// A star with these bounds.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn with_limits(allowed: &[&Path], limits: StarLimits) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("starts a runtime");
        let data = tempfile::tempdir().expect("makes a directory");
        let service = StarService::new(StarServiceConfig {
            name: "nas2".to_owned(),
            allowed: allowed.iter().map(PathBuf::from).collect(),
            data_dir: data.path().to_owned(),
            fence: Fence::default(),
            limits,
        });
        Self { service, traffic: Arc::default(), runtime: Some(runtime), data }
    }

    /// Where its cache of hashes lies.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// A way to it.
    ///
    /// # Panics
    /// Never.
    pub fn link(&self) -> Arc<Link> {
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped").handle().clone();
        Arc::new(Link {
            service: self.service.clone(),
            traffic: Arc::clone(&self.traffic),
            runtime,
            is_voters: false,
        })
    }

    /// A direct link to it, with a ticket for this path.
    ///
    /// # Panics
    /// Never.
    pub fn direct(&self, root: &Path) -> Arc<DirectLink> {
        let root = root.as_os_str().as_bytes().to_vec();
        Arc::new(DirectLink { service: self.service.clone(), traffic: Arc::clone(&self.traffic), root })
    }

    /// The way of a voter that is not the Nucleus.
    ///
    /// # Panics
    /// Never.
    pub fn voters_link(&self) -> Arc<Link> {
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped").handle().clone();
        Arc::new(Link {
            service: self.service.clone(),
            traffic: Arc::clone(&self.traffic),
            runtime,
            is_voters: true,
        })
    }

    /// A system on one of its paths.
    pub fn open(&self, path: &Path) -> Result<(RemoteSystem, RelPath), RemoteError> {
        RemoteSystem::open(self.link(), path.as_os_str().as_bytes().to_vec())
    }
}

impl Drop for Star {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test that has a call hang fails by itself.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// A way to a [`Star`].
pub struct Link {
    service: StarService,
    traffic: Arc<Traffic>,
    runtime: Handle,
    is_voters: bool,
}

impl Link {
    /// A raw stream to the star: what an asker's socket is.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        far.set_nonblocking(true)?;
        let _inside = self.runtime.enter();
        let far = tokio::net::UnixStream::from_std(far)?;
        let service = self.service.clone();
        let is_voters = self.is_voters;
        drop(self.runtime.spawn(async move {
            if is_voters { service.serve_contents(far).await } else { service.serve(far).await }
        }));
        Ok(near)
    }
}

impl StarLink for Link {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(Box::new(Counted { stream: self.connect()?, traffic: Arc::clone(&self.traffic) }))
    }
}

/// A direct link to a [`Star`]: threads, as its two ends have.
pub struct DirectLink {
    service: StarService,
    traffic: Arc<Traffic>,
    root: Vec<u8>,
}

impl StarLink for DirectLink {
    fn open(&self) -> io::Result<Box<dyn Duplex>> {
        let (near, far) = UnixStream::pair()?;
        let (reader, writer) = (far.try_clone()?, WritingEnd(far));
        let (service, root) = (self.service.clone(), self.root.clone());
        std::thread::spawn(move || service.serve_link(Box::new(reader), Box::new(writer), &root));
        Ok(Box::new(Counted { stream: near, traffic: Arc::clone(&self.traffic) }))
    }
}

/// Dropped, it cuts the link in both directions.
struct WritingEnd(UnixStream);

impl Write for WritingEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for WritingEnd {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

struct Counted {
    stream: UnixStream,
    traffic: Arc<Traffic>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
