//! The state directory: writable, with sound databases, on a disk that is quick enough.

use super::Finding;
use super::place::{self, Scratch};
use crate::daemon::data_dir::DataDir;
use crate::standalone::error::chain;
use crate::standalone::state::{JOBS_FILE, UNIVERSE_FILE};
use crate::store_trouble::StoreTrouble;
use orbit_consensus::{Fitness, Verdict, disk_fitness};
use orbit_store::{JobsDb, JobsOptions, StoreError, Universe};
use std::path::Path;
use std::time::Duration;

/// What `jobs.db` is called here.
const JOBS: &str = "run database";
const SUBJECT: &str = "state directory";

/// `is_running`: a node runs with this directory, and may have its databases open.
pub(super) fn examine(directory: &Path, is_running: bool, found: &mut dyn FnMut(Finding)) {
    let name = directory.display();
    if !directory.exists() {
        let parent = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(directory);
        found(match Scratch::new(parent) {
            Ok(_) => Finding::ok(SUBJECT, format!("{name} is made when it is first needed")),
            Err(error) => Finding::fail(SUBJECT, format!("{name} cannot be made: {error}"), elsewhere()),
        });
        return;
    }
    match Scratch::new(directory) {
        Ok(_) => found(Finding::ok(SUBJECT, format!("{name} can be written"))),
        Err(error) => {
            return found(Finding::fail(SUBJECT, format!("{name} cannot be written: {error}"), elsewhere()));
        }
    }
    databases(directory, is_running, found);
    place::free_space("state space", directory, found);
    found(match disk_fitness(directory) {
        Ok(fitness) => fitness_finding(&fitness),
        Err(error) => Finding::warn("state disk", chain(&error), elsewhere()),
    });
}

fn elsewhere() -> String {
    "correct its permissions, or name another one: --data-dir DIR (or ORBIT_DATA_DIR)".to_owned()
}

fn databases(directory: &Path, is_running: bool, found: &mut dyn FnMut(Finding)) {
    let patience = Duration::from_secs(1);
    let options = JobsOptions { patience, ..JobsOptions::default() };
    let jobs = directory.join(JOBS_FILE);
    if jobs.exists() {
        let opened = JobsDb::open_with(&jobs, &options).and_then(JobsDb::close);
        found(database(JOBS, &jobs, opened));
    }
    let universe = directory.join(UNIVERSE_FILE);
    if universe.exists() {
        let opened = Universe::open(&universe).and_then(Universe::close);
        if is_running && matches!(opened, Err(StoreError::Locked { .. })) {
            return found(Finding::ok("universe", "in use by the node that runs here"));
        }
        found(database("universe", &universe, opened));
    }
}

/// Whether the grid's records are beside this database, in the directory of its Nucleus.
fn holds_grid(database: &Path) -> bool {
    database.parent().is_some_and(|directory| DataDir::new(directory).nucleus().exists())
}

fn database(subject: &'static str, path: &Path, opened: Result<(), StoreError>) -> Finding {
    let Err(error) = opened else {
        return Finding::ok(subject, format!("{} opens", path.display()));
    };
    let message = chain(&error);
    match StoreTrouble::from(&error) {
        StoreTrouble::Busy => {
            Finding::warn(subject, message, "it is in use by another run: look again afterwards")
        }
        StoreTrouble::Damaged if subject == JOBS && holds_grid(path) => {
            let fix = "put back a copy of it: this node is the Nucleus, and the grid's records are in it";
            Finding::fail(subject, message, fix)
        }
        StoreTrouble::Damaged => {
            let fix = format!(
                "mv {0} {0}.damaged (Orbit makes a new one; no file of yours is in it)",
                path.display()
            );
            Finding::fail(subject, message, fix)
        }
        StoreTrouble::Newer => Finding::fail(subject, message, "use the newer Orbit that wrote it"),
        _ => Finding::fail(subject, message, elsewhere()),
    }
}

fn fitness_finding(fitness: &Fitness) -> Finding {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let times =
        format!("small durable writes take {:.1} ms, at worst {:.1} ms", ms(fitness.p50), ms(fitness.p99));
    match fitness.verdict() {
        Verdict::Good => Finding::ok("state disk", format!("{times}: quick enough for a grid's voter too")),
        Verdict::Slow => Finding::warn(
            "state disk",
            format!("{times}: a grid's voter on it would be slow"),
            "keep the state on a solid-state disk: --data-dir DIR",
        ),
        Verdict::Unfit => Finding::warn(
            "state disk",
            format!("{times}: too slow for a grid's voter"),
            "keep the state on another disk: --data-dir DIR",
        ),
    }
}
