//! The databases of the group's members, compared while nobody has them open.

use orbit_core::grid::{Change, Metered, Outcome};
use orbit_core::ids::{NodeId, RequestId};
use orbit_store::{Mark, NucleusStore};
use std::path::Path;

/// All that a member has applied. The mark of the universe is not compared: it moves only with contents, and before a
/// snapshot.
#[derive(Debug, PartialEq)]
pub struct Records {
    /// What `jobs.db` has applied, with the membership.
    pub jobs: Mark,
    /// The grid's records.
    pub grid: Vec<Change>,
    /// Requests that are remembered, with their answers, oldest first.
    pub requests: Vec<(u64, RequestId, Outcome)>,
    /// Counters of members.
    pub metering: Vec<Metered>,
    /// How many contents each member holds.
    pub contents: Vec<(NodeId, u64)>,
}

/// Reads the databases of a data directory whose daemon does not run.
///
/// # Panics
/// If there are none, or they cannot be read.
#[track_caller]
pub fn read(data_dir: &Path) -> Records {
    let shown = data_dir.display();
    let store = NucleusStore::open(&data_dir.join("nucleus"));
    let store = store.unwrap_or_else(|error| panic!("the records in {shown} cannot be read: {error:?}"));
    let store = store.unwrap_or_else(|| panic!("there are no records in {shown}"));
    let loaded = store.load().unwrap_or_else(|error| panic!("the records in {shown} are bad: {error:?}"));
    let universe = store.universe().get();
    let contents = loaded.state.nodes().map(|node| {
        let held = universe.held(node.id);
        let held = held.unwrap_or_else(|error| panic!("the universe in {shown} is bad: {error:?}"));
        (node.id, held.recorded())
    });
    let contents = contents.collect();
    Records {
        jobs: store.jobs_mark().clone(),
        grid: loaded.state.records(),
        requests: loaded.requests,
        metering: loaded.metering,
        contents,
    }
}

impl Records {
    /// What differs from another member's, for people. Nothing if they are the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut told = Vec::new();
        let mut compare = |what: &str, is_same: bool, here: String, there: String| {
            if !is_same {
                told.push(format!("{what}: {here} here, {there} there"));
            }
        };
        let mark =
            |mark: &Mark| format!("{:?} with {} bytes of membership", mark.position, mark.membership.len());
        compare("jobs.db", self.jobs == other.jobs, mark(&self.jobs), mark(&other.jobs));
        let (here, there) = first_difference(&self.grid, &other.grid);
        compare("records", self.grid == other.grid, here, there);
        let (here, there) = first_difference(&self.requests, &other.requests);
        compare("requests", self.requests == other.requests, here, there);
        let (here, there) = first_difference(&self.metering, &other.metering);
        compare("counters", self.metering == other.metering, here, there);
        let (here, there) = first_difference(&self.contents, &other.contents);
        compare("contents", self.contents == other.contents, here, there);
        told
    }

    /// Whether both have applied as much.
    pub fn is_level_with(&self, other: &Self) -> bool {
        self.jobs.position == other.jobs.position
    }
}

fn first_difference<T: PartialEq + std::fmt::Debug>(here: &[T], there: &[T]) -> (String, String) {
    let at = here.iter().zip(there).position(|(a, b)| a != b).unwrap_or(here.len().min(there.len()));
    let show = |rows: &[T]| match rows.get(at) {
        Some(row) => format!("{} rows, row {at} is {row:?}", rows.len()),
        None => format!("{} rows", rows.len()),
    };
    (show(here), show(there))
}
