//! Standalone runs: no daemon, no port, no configuration. What only looks ([`scan`], [`hash`], [`dedup`]) can look at
//! stars of a grid as well, given a way there.
//!
//! A sync is a plan that is made and run at once; `orbit plan` keeps it in between, and a job of the grid (`job`) has its source elsewhere. Reading order: [`request`] (what is
//! asked), `trees` and `guards` (may it be done), `planning`, then `execute`, `run`, `stage`, `copy` and `commit` (it is done).

mod ahead;
mod commit;
mod copy;
mod dedup;
pub mod error;
mod execute;
mod guards;
mod inspect;
mod job;
mod limiter;
pub mod observer;
mod place;
mod planning;
mod plans;
pub mod progress;
pub mod request;
mod run;
mod stage;
pub mod state;
mod sync;
mod trees;

pub use dedup::{ChunkTotals, DedupOptions, DedupReport, DuplicateFile, DuplicateSet, Storage, dedup};
pub use error::{Guard, RunError};
pub use inspect::{HashRow, ScanRow, WalkRules, hash, scan};
pub use job::{JobSource, forget_plan, plan_from, run_from, tell_plan};
pub use place::{Place, StarPlace, browse};
pub use plans::{PlanReport, list_plans, make_plan, remove_plan, run_plan, show_plan};
pub use sync::{RunReport, dry_run, sync};

use observer::Observer;
use progress::Progress;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What every command is given.
#[derive(Clone)]
pub struct Context {
    /// Where `jobs.db` and the universe are.
    pub state_dir: PathBuf,
    /// Who hears what happens.
    pub observer: Arc<dyn Observer>,
    /// Live figures.
    pub progress: Arc<Progress>,
    /// Set by whoever wants the run to stop cleanly.
    pub stop: Arc<AtomicBool>,
}

/// What the process may do.
#[derive(Clone, Copy, Debug)]
struct Privilege {
    /// It may give files away and make device nodes.
    is_root: bool,
    uid: u32,
    /// Permission bits that are taken from what it creates.
    umask: u32,
}

impl Privilege {
    fn current() -> Self {
        use rustix::process::{geteuid, umask};
        // There is no call that only asks; what another thread creates in between is private for a moment.
        let mask = umask(rustix::fs::Mode::from_raw_mode(0o077));
        umask(mask);
        Self { is_root: geteuid().is_root(), uid: geteuid().as_raw(), umask: mask.as_raw_mode() }
    }
}

/// Threads for work that keeps a processor busy.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 8)
}
