//! A term has one leader, and at any moment at most one node may rely on being it.

use super::Broken;
use std::collections::BTreeMap;

/// Who led when.
#[derive(Debug, Default)]
pub struct Leaders {
    by_term: BTreeMap<u64, String>,
}

impl Leaders {
    /// A node leads in a term.
    pub fn leads(&mut self, who: &str, term: u64) -> Vec<Broken> {
        let known = self.by_term.entry(term).or_insert_with(|| who.to_owned());
        if known == who {
            return Vec::new();
        }
        vec![("a term has one leader", format!("term {term}: {known} and {who}"))]
    }

    /// These nodes hold a lease at the same moment.
    pub fn leases(&self, holders: &[(String, u64)]) -> Vec<Broken> {
        if holders.len() < 2 {
            return Vec::new();
        }
        vec![("one node at a time holds a lease", format!("{holders:?}"))]
    }

    /// How many terms had a leader.
    pub fn terms(&self) -> usize {
        self.by_term.len()
    }
}
