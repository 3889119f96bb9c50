//! At equal positions both databases are equal on all nodes, and they agree with each other.

use super::{Base, Broken};
use crate::group::databases::{Jobs, Universe};
use orbit_store::Mark;
use std::collections::BTreeMap;

const RULE: &str = "applied states are equal at equal positions";

/// What the first node had at each index.
#[derive(Debug, Default)]
pub struct EqualStates {
    by_index: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    term: u64,
    jobs: Option<(u64, String)>,
    universe: Option<(u64, String)>,
    /// Checksum of who holds which contents, whichever database said it first.
    contents: (u64, String),
}

impl EqualStates {
    /// A database is at a mark, with these checksums of everything in it and of the contents.
    pub fn one(&mut self, base: Base, who: &str, mark: &Mark, sum: u64, contents: u64) -> Vec<Broken> {
        let Some(position) = mark.position else { return Vec::new() };
        let index = position.index;
        let row = self.by_index.entry(index).or_insert_with(|| Row {
            term: position.term,
            jobs: None,
            universe: None,
            contents: (contents, format!("{base:?} of {who}")),
        });
        let mut broken = Vec::new();
        if row.term != position.term {
            broken.push((
                RULE,
                format!("{who}: entry {index} is of term {}, elsewhere {}", position.term, row.term),
            ));
        }
        let known = match base {
            Base::Jobs => &mut row.jobs,
            Base::Universe => &mut row.universe,
        };
        let (expected, first) = known.get_or_insert_with(|| (sum, who.to_owned()));
        if *expected != sum {
            broken.push((RULE, format!("{who}: {base:?} at {index} is not as that of {first}")));
        }
        let (expected, first) = &row.contents;
        if *expected != contents {
            broken.push((RULE, format!("{who}: contents in {base:?} at {index} are not those in {first}")));
        }
        broken
    }

    /// Both databases of a node.
    pub fn both(&mut self, who: &str, jobs: &Jobs, universe: &Universe) -> Vec<Broken> {
        let mut broken = self.one(Base::Jobs, who, &jobs.mark, jobs.sum(), jobs.contents_sum());
        broken.extend(self.one(Base::Universe, who, &universe.mark, universe.sum(), universe.contents_sum()));
        broken
    }

    /// Positions that were compared.
    pub fn compared(&self) -> usize {
        self.by_index.len()
    }
}
