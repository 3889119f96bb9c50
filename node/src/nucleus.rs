//! The Nucleus: who belongs to the grid, who is heard, and what every star must know.
//!
//! **Not for**: file work. It asks stars and passes on what they say; no file passes through it.
//!
//! ```text
//!   enrol, renew, API ──▶ Command ──▶ Ledger (decide, store, absorb) ──▶ changed() ──▶ pulse streams ──▶ stars
//!   heartbeats ─────────▶ Registry (memory) ──▶ views ──▶ API
//! ```
//!
//! Reading order: [`ledger`], [`authority`], [`membership`], [`registry`], [`pulse`], [`views`], [`relay`].

pub mod authority;
pub mod ledger;
pub(crate) mod membership;
pub(crate) mod pulse;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod views;

use crate::daemon::data_dir::{DataDir, Membership};
use crate::daemon::load::LoadMeter;
use crate::daemon::shared::lock;
use crate::daemon::{DaemonError, Node, RunOptions};
use crate::standalone::error::chain;
use crate::standalone::state::now_ms;
use ledger::{Ledger, Outcome};
use orbit_core::grid::{Command, Fence};
use orbit_core::ids::NodeId;
use orbit_mesh::pki::Authority;
use registry::Registry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How often expired tokens and revocations are forgotten and counters are kept.
const TIDY_EVERY: Duration = Duration::from_mins(1);

/// Revocations kept beside the ledger, for the mesh; the ledger has them all, and is asked too.
const REVOKED_KEPT_MAX: usize = 50_000;

/// What a node has only while it acts as the Nucleus.
#[derive(Debug)]
pub struct Nucleus {
    pub(crate) ledger: Ledger,
    pub(crate) registry: Registry,
    pub(crate) fence: Fence,
    pub(crate) own: NodeId,
    directory: PathBuf,
    authority: Mutex<Arc<Authority>>,
    /// Held while a new authority takes over: each is certified by the one before.
    rotating: tokio::sync::Mutex<()>,
    lifetime_ms: i64,
    /// Counts up whenever stars must be told something.
    news: watch::Sender<u64>,
}

impl Nucleus {
    /// Opens the grid's state and the authority's key.
    pub(crate) fn open(
        home: &DataDir,
        membership: &Membership,
        options: RunOptions,
    ) -> Result<Self, DaemonError> {
        let lost = || DaemonError::NoRecords { path: home.jobs_db() };
        if !home.jobs_db().exists() {
            return Err(lost());
        }
        let ledger = Ledger::open(&home.jobs_db())?;
        if ledger.with(|state| state.node(membership.node).is_none()) {
            return Err(lost());
        }
        let authority = ledger.with(|state| authority::load_current(&home.nucleus(), state))?;
        let metered = ledger.metering().to_vec();
        Ok(Self {
            ledger,
            registry: Registry::new(metered, options.pulse_interval),
            fence: membership.fence,
            own: membership.node,
            directory: home.nucleus(),
            authority: Mutex::new(Arc::new(authority)),
            rotating: tokio::sync::Mutex::default(),
            lifetime_ms: options.certificate_lifetime_ms,
            news: watch::Sender::new(0),
        })
    }

    pub(crate) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&lock(&self.authority))
    }

    /// Carries out a command that stars must hear of: their pulse streams tell them at once, and this node's own mesh
    /// learns who is revoked.
    pub(crate) async fn execute(&self, node: &Node, command: Command) -> Outcome {
        let changes = self.ledger.execute(command).await?;
        if !changes.is_empty() {
            self.announce(node).await;
        }
        Ok(changes)
    }

    /// Brings the mesh and the stars up to the ledger's state.
    pub(crate) async fn announce(&self, node: &Node) {
        let changed = node
            .change_membership(|membership| {
                (membership.anchors, membership.revoked) =
                    self.ledger.with(|state| (pulse::anchors(state), state.revoked_newest(REVOKED_KEPT_MAX)));
            })
            .await;
        if let Err(error) = changed {
            tracing::error!(error = chain(&error), "cannot keep who is revoked");
        }
        let name = self
            .ledger
            .with(|state| state.node(self.own).map(|record| (record.name.clone(), record.is_draining)));
        if let Some((name, is_draining)) = name {
            node.note(|standing| {
                standing.name = name;
                standing.is_draining = is_draining;
            });
        }
        self.news.send_modify(|count| *count += 1);
    }
}

/// The Nucleus's own chores: its own heartbeat, and forgetting what has expired.
pub(crate) async fn keep_house(node: Arc<Node>) {
    let Some(nucleus) = &node.nucleus else { return };
    nucleus.announce(&node).await;
    let mut meter = LoadMeter::default();
    let mut beat = tokio::time::interval(node.options.pulse_interval);
    // The clock may be set in the first minute after the machine was started.
    let mut tidy = tokio::time::interval_at(tokio::time::Instant::now() + TIDY_EVERY, TIDY_EVERY);
    loop {
        tokio::select! {
            () = node.stop.cancelled() => break,
            _ = beat.tick() => pulse::own(&node, nucleus, &mut meter).await,
            _ = tidy.tick() => {
                nucleus.ledger.add_metering(nucleus.registry.unkept_metering());
                clean_up(&node, nucleus).await;
            }
        }
    }
    nucleus.ledger.add_metering(nucleus.registry.unkept_metering());
}

async fn clean_up(node: &Node, nucleus: &Nucleus) {
    let now_ms = now_ms();
    if !nucleus.ledger.with(|state| membership::is_plausible(state, now_ms)) {
        // What is forgotten by a wrong clock cannot be remembered again.
        tracing::warn!("nothing expired is forgotten: the clock does not fit the certificates");
        return;
    }
    let retired = nucleus.ledger.with(|state| membership::retired_anchors(state, &nucleus.registry, now_ms));
    let has_retired = !retired.is_empty();
    match nucleus.ledger.execute(Command::Tidy { now_ms, retired }).await {
        Ok(_) if has_retired => {
            nucleus.announce(node).await;
            nucleus.ledger.with(|state| authority::remove_unused(&nucleus.directory, state));
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = chain(&error), "cannot forget what has expired"),
    }
}
