//! [`run`]: the daemon itself, from the data directory to the last task.

use super::config::Config;
use super::data_dir::DataDir;
use super::error::DaemonError;
use super::shared::{Node, identity, is_reachable_from_elsewhere};
use super::{backup, events, nucleus_link, renewal};
use crate::api::server::ApiServer;
use crate::api::types::ThisNode;
use crate::group::files;
use crate::link::Links;
use crate::nucleus::authority::LIFETIME_MS;
use crate::standalone::error::chain;
use crate::star::{StarLimits, StarService, StarServiceConfig};
use orbit_consensus::{Verdict, disk_fitness};
use orbit_core::grid::DiskClass;
use orbit_mesh::net::{Limits, Mesh, MeshConfig};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the flag that asks for the end is looked at.
const STOP_POLL: Duration = Duration::from_millis(100);
/// How long addresses may take to be known; a machine without a network has none.
const ADDRESSES_PATIENCE: Duration = Duration::from_millis(300);
/// How long a node that votes alone may take to become the Nucleus before it counts as started all the same.
const OFFICE_PATIENCE: Duration = Duration::from_secs(6);
/// How long work in hand may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What tests shorten.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// How long certificates live that this node issues as the Nucleus, milliseconds.
    pub certificate_lifetime_ms: i64,
    /// Time between heartbeats.
    pub pulse_interval: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            certificate_lifetime_ms: LIFETIME_MS,
            pulse_interval: Duration::from_millis(orbit_core::wire::pulse::PULSE_INTERVAL_MS),
        }
    }
}

/// Runs the node of `data_dir` until `stop` is set. `ready` is called once, when the node listens, answers its API and,
/// unless it is the Nucleus, has begun to look for it. Blocks.
pub fn run(
    data_dir: &Path,
    stop: &Arc<AtomicBool>,
    ready: &mut dyn FnMut(&ThisNode),
) -> Result<(), DaemonError> {
    run_with(data_dir, RunOptions::default(), stop, ready)
}

/// [`run`] with other times.
pub fn run_with(
    data_dir: &Path,
    options: RunOptions,
    stop: &Arc<AtomicBool>,
    ready: &mut dyn FnMut(&ThisNode),
) -> Result<(), DaemonError> {
    super::allocator::give_memory_back();
    // Whatever is made from here on, the socket too, is this user's alone from its first moment.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let home = DataDir::new(data_dir);
    home.membership()?;
    let _lock = home.lock()?;
    // Read again: the one that had the lock before may have changed it.
    let membership = home.membership()?;
    let config = Config::load(&home.star_toml())?;
    let key = home.key()?;
    for path in config.allowed_paths.iter().filter(|path| !path.is_dir()) {
        tracing::warn!(path = %path.display(), "an allowed path is no directory now: is its disk mounted?");
    }
    // A grid that was founded by an orbit without a group: its only Nucleus takes the records over.
    if files::take_over(&home, membership.node)? {
        tracing::info!("the grid's records were taken over into nucleus/");
    }
    // Two threads carry the network; files are read by threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("orbit")
        .enable_all()
        .build()
        .map_err(DaemonError::Runtime)?;
    let ended = runtime.block_on(async {
        let listen = config.listen.iter().filter_map(|address| address.parse().ok()).collect();
        let links = Links::bind(&config.listen, config.link_port, key.clone())?;
        let mesh_config = MeshConfig {
            key,
            listen,
            mdns: config.mdns,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            limits: Limits::default(),
        };
        let (mesh, events) = Mesh::start(mesh_config, Some(identity(&membership, false)?)).await?;
        let star = StarService::new(StarServiceConfig {
            name: config.name.clone(),
            allowed: config.allowed_paths.clone(),
            data_dir: home.path().to_owned(),
            fence: membership.fence,
            limits: StarLimits::default(),
        });
        let cancel = CancellationToken::new();
        let node = Node::new(home.clone(), config, options, mesh, star, links, membership, cancel.clone());
        let node = Arc::new(node);
        let api = ApiServer::bind(&node)?;
        node.tasks.spawn(events::dispatch(Arc::clone(&node), events, api.member_streams()));
        node.tasks.spawn(api.serve(Arc::clone(&node)));
        node.tasks.spawn(crate::group::keep(Arc::clone(&node)));
        node.tasks.spawn(crate::nucleus::office::keep(Arc::clone(&node)));
        node.tasks.spawn(crate::link::keep(Arc::clone(&node)));
        node.tasks.spawn(nucleus_link::keep(Arc::clone(&node)));
        node.tasks.spawn(renewal::keep(Arc::clone(&node)));
        node.tasks.spawn(crate::nucleus::contents::fill::keep(Arc::clone(&node)));
        node.tasks.spawn(backup::keep(Arc::clone(&node)));
        node.tasks.spawn(crate::api::last_known::keep(Arc::clone(&node)));
        node.tasks.spawn(measure_disk(Arc::clone(&node)));
        wait_for_addresses(&node).await;
        wait_for_office(&node).await;
        ready(&crate::api::local::this_node(&node)?);
        wait_for_the_end(stop, &cancel).await;
        let reason = node.reason_to_end();
        end(node).await;
        reason.map_or(Ok(()), Err)
    });
    runtime.shutdown_timeout(STOP_PATIENCE);
    let _ = std::fs::remove_file(home.socket());
    ended
}

/// The system names the addresses of its interfaces a moment after the ports are open.
async fn wait_for_addresses(node: &Node) {
    let everywhere =
        node.config.listen.iter().any(|address| address.contains("/0.0.0.0/") || address.contains("/::/"));
    let is_told = || node.mesh.listen_addresses().iter().any(is_reachable_from_elsewhere);
    let deadline = tokio::time::Instant::now() + ADDRESSES_PATIENCE;
    while everywhere && !is_told() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node that votes alone is the Nucleus in a moment, and those who start it expect it to answer as one.
async fn wait_for_office(node: &Node) {
    let deadline = tokio::time::Instant::now() + OFFICE_PATIENCE;
    let votes_alone = || match node.group() {
        Some(seat) => {
            let voters = seat.group.standing().borrow().voters.clone();
            voters.is_empty() || (voters.len() == 1 && voters.contains(&node.membership().node))
        }
        None => files::are_there(&node.home) && node.certificate().is_ok_and(|own| own.role.may_lead()),
    };
    while node.nucleus().is_none() && votes_alone() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Measures once how quick the disk is on which this node's log would lie.
async fn measure_disk(node: Arc<Node>) {
    let path = node.home.path().to_owned();
    let measured = tokio::task::spawn_blocking(move || disk_fitness(&path)).await;
    match measured {
        Ok(Ok(fitness)) => {
            let class = match fitness.verdict() {
                Verdict::Good => DiskClass::Good,
                Verdict::Slow => DiskClass::Slow,
                Verdict::Unfit => DiskClass::Unfit,
            };
            let _ = node.disk.set(class);
        }
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "cannot measure the disk"),
        Err(error) => tracing::warn!(%error, "the disk was not measured"),
    }
}

async fn wait_for_the_end(stop: &AtomicBool, cancel: &CancellationToken) {
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(STOP_POLL) => {}
        }
    }
}

async fn end(node: Arc<Node>) {
    // Handed over in good order, the office is empty for a moment only.
    crate::nucleus::office::hand_over_at_the_end(&node).await;
    let seat = node.group();
    node.stop.cancel();
    node.jobs.stop();
    if let Some(seat) = seat {
        crate::group::end(&seat).await;
    }
    node.mesh.clone().shutdown().await;
    node.tasks.close();
    if tokio::time::timeout(STOP_PATIENCE, node.tasks.wait()).await.is_err() {
        tracing::warn!("some work did not end in time and was cut off");
    }
}
